"""What stands at the top of a report: the count of verdicts, what failed, what it means, what conversion loses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Mapping

from snnrepro.report.names import OUTCOMES, QUANTITIES, decimal, figure_name, model_name, quantity
from snnrepro.thesis.cells import JUDGED_SYNAPSE
from snnrepro.thesis.judge import FAIL, NOT_JUDGED, PASS

if TYPE_CHECKING:
    from snnrepro.thesis.comparisons import Comparison, TrendComparison
    from snnrepro.thesis.results import Results


@dataclass(frozen=True)
class Overall:
    """The verdict on a whole reproduction.

    Attributes
    ----------
    outcome : str
        "fail" if anything failed, "not judged" if nothing could be judged, otherwise "pass".
    counts : dict
        How many verdicts of each outcome.
    meaning : str
        One sentence.
    failures : tuple of str
        Every figure and trend that failed, with its numbers.
    losses : tuple of str
        What conversion without retraining loses, one sentence per model.
    """

    outcome: str
    counts: Mapping[str, int]
    meaning: str
    failures: tuple[str, ...]
    losses: tuple[str, ...]


def overall(results: Results) -> Overall:
    """Count a reproduction's verdicts and say what they mean."""
    outcomes = [verdict.outcome for verdict in results.verdicts]
    counts = {outcome: outcomes.count(outcome) for outcome in OUTCOMES}
    outcome = FAIL if counts[FAIL] else PASS if counts[PASS] else NOT_JUDGED
    failures = [_failed_figure(one) for one in results.comparisons if one.verdict.outcome == FAIL]
    failures += [_failed_trend(one) for one in results.trends if one.verdict.outcome == FAIL]
    losses = tuple(filter(None, (_loss(results, model) for model in results.models)))
    return Overall(outcome, counts, _meaning(outcome, counts), tuple(failures), losses)


def _meaning(outcome: str, counts: Mapping[str, int]) -> str:
    judged = counts[PASS] + counts[FAIL]
    rest = f" {counts[NOT_JUDGED]} more could not be judged; the reasons are below." if counts[NOT_JUDGED] else ""
    if outcome == PASS:
        if judged == 1:
            return "The one figure that could be judged here lies within its bounds." + rest
        return f"All {judged} figures and trends that could be judged here lie within their bounds." + rest
    if outcome == FAIL:
        lie = "lies" if counts[FAIL] == 1 else "lie"
        return (
            f"{counts[FAIL]} of the figures and trends that could be judged here ({judged}) {lie} outside the "
            f"bounds: this run does not reproduce the thesis there.{rest}"
        )
    return "Nothing could be judged here: this run neither supports nor contradicts the thesis."


def _failed_figure(comparison: Comparison) -> str:
    printed, unit = comparison.printed, comparison.printed.unit
    what = f"{model_name(printed.model)}, {QUANTITIES[printed.quantity]}, {figure_name(printed)}"
    values = f"thesis {quantity(printed.value, unit)} {unit}, measured {quantity(comparison.measured, unit)} {unit}"
    return f"{what}: {values}, allowed {comparison.verdict.why}"


def _failed_trend(comparison: TrendComparison) -> str:
    trend = comparison.trend
    statistic = f"{trend.statistic.replace('_', ' ')} {decimal(comparison.statistic, 3)}"
    return f"{model_name(trend.model)}, {trend.name}: {statistic}, needed {comparison.verdict.why}"


def _loss(results: Results, model: str) -> str:
    """Return what converting a model loses by the thesis's recipe, and by ours."""
    theirs, ours = losses_of(results, model, "thesis"), losses_of(results, model, "balanced")
    parts = []
    if theirs:
        figures = [one.printed for one in results.comparisons if one.printed.model == model]
        beside = "".join(f" (thesis: about {one.value:g})" for one in figures if one.quantity == "accuracy_loss")
        n_steps, points = theirs[-1]
        parts.append(f"the thesis’s recipe loses {decimal(points)} points of accuracy to Keras at n={n_steps}{beside}")
    if ours:
        listed = ", ".join(f"{decimal(points)} at {n_steps}" for n_steps, points in ours)
        parts.append(f"the recipe “balanced” loses {listed.replace(' at ', ' at n=', 1)}")
    return f"{model_name(model)}: {'; '.join(parts)}." if parts else ""


def losses_of(results: Results, model: str, recipe: str) -> list[tuple[int, float]]:
    """Return n_steps and points lost to Keras on the same images; of the thesis's recipe, with the judged synapse."""
    wanted = (model, recipe, JUDGED_SYNAPSE if recipe == "thesis" else None)
    own = [one.loss for one in results.converted if (one.model, one.recipe, one.synapse) == wanted]
    return sorted(own[0].items()) if own else []
