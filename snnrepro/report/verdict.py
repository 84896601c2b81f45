"""What stands at the top of a report: the count of verdicts, what failed, what it means, what conversion loses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

from snnrepro.report.wording import QUANTITIES, decimal, figure_name, model_name, models_of, quantity

OUTCOMES = ("pass", "fail", "not judged")


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
        What conversion without retraining loses, one sentence a model.
    """

    outcome: str
    counts: Mapping[str, int]
    meaning: str
    failures: tuple[str, ...]
    losses: tuple[str, ...]


def overall(document: Mapping[str, Any]) -> Overall:
    """Count a document's verdicts and say what they mean."""
    verdicts = [one["verdict"]["outcome"] for one in (*document["lines"], *document["trends"])]
    counts = {outcome: verdicts.count(outcome) for outcome in OUTCOMES}
    outcome = "fail" if counts["fail"] else "pass" if counts["pass"] else "not judged"
    failures = [*map(_failed_line, document["lines"]), *map(_failed_trend, document["trends"])]
    losses = [loss for loss in (_loss(document, model) for model in models_of(document)) if loss]
    return Overall(outcome, counts, _meaning(outcome, counts), tuple(filter(None, failures)), tuple(losses))


def _meaning(outcome: str, counts: Mapping[str, int]) -> str:
    judged = counts["pass"] + counts["fail"]
    rest = f" {counts['not judged']} more could not be judged; the reasons are below." if counts["not judged"] else ""
    if outcome == "pass":
        every = "The one figure that could be judged here lies within its bounds."
        if judged > 1:
            every = f"All {judged} figures and trends that could be judged here lie within their bounds."
        return every + rest
    if outcome == "fail":
        lie = "lies" if counts["fail"] == 1 else "lie"
        return (
            f"{counts['fail']} of the figures and trends that could be judged here ({judged}) {lie} outside the "
            f"bounds: this run does not reproduce the thesis there.{rest}"
        )
    return "Nothing could be judged here: this run neither supports nor contradicts the thesis."


def _failed_line(line: Mapping[str, Any]) -> str:
    if line["verdict"]["outcome"] != "fail":
        return ""
    row, unit = line["row"], line["row"]["unit"]
    what = f"{model_name(row['model'])}, {QUANTITIES.get(row['quantity'], row['quantity'])}, {figure_name(row)}"
    printed, measured = quantity(row["value"], unit), quantity(line["measured"], unit)
    return f"{what}: thesis {printed} {unit}, measured {measured} {unit}, allowed {line['verdict']['why']}"


def _failed_trend(one: Mapping[str, Any]) -> str:
    if one["verdict"]["outcome"] != "fail":
        return ""
    trend = one["trend"]
    statistic = f"{trend['statistic'].replace('_', ' ')} {decimal(one['statistic'], 3)}"
    return f"{model_name(trend['model'])}, {trend['name']}: {statistic}, needed {one['verdict']['why']}"


def _loss(document: Mapping[str, Any], model: str) -> str:
    """Return what converting a model loses by the thesis's recipe (its first synapse is judged), and by ours."""
    theirs, ours = losses_of(document, model, "thesis"), losses_of(document, model, "balanced")
    if not theirs and not ours:
        return ""
    parts = []
    if theirs:
        printed = [
            line["row"]["value"]
            for line in document["lines"]
            if line["row"]["model"] == model and line["row"]["quantity"] == "accuracy_loss"
        ]
        n_steps, points = theirs[-1]
        beside = f" (thesis: about {printed[0]:g})" if printed else ""
        parts.append(f"the thesis’s recipe loses {decimal(points)} points of accuracy to Keras at n={n_steps}{beside}")
    if ours:
        (first, at_first), *rest = ours
        more = [f"{decimal(points)} at {n_steps}" for n_steps, points in rest]
        listed = ", ".join([f"{decimal(at_first)} at n={first}", *more])
        parts.append(f"the recipe “balanced” loses {listed}")
    return f"{model_name(model)}: " + "; ".join(parts) + "."


def losses_of(document: Mapping[str, Any], model: str, recipe: str) -> list[tuple[int, float]]:
    """Return n_steps and points lost to Keras on the same images, of a recipe's first summary."""
    for one in document["converted"]:
        if one["model"] == model and one["recipe"] == recipe and one["loss"]:
            return sorted((int(n_steps), points) for n_steps, points in one["loss"].items())
    return []
