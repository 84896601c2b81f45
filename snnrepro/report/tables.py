"""The tables of a report: figures beside the thesis's, trends, conversions, likeness of images, operations."""

from __future__ import annotations

from collections import defaultdict
from statistics import mean
from typing import TYPE_CHECKING, Iterable

from snnrepro.report.names import (
    NOTHING,
    QUANTITIES,
    STATISTICS,
    at,
    count,
    decimal,
    figure_name,
    model_name,
    quantity,
    recipe_name,
    seconds,
    span,
    system_name,
)
from snnrepro.report.series import System
from snnrepro.report.table import RANGE, Column, Entry, Judged, Notes, Table, table, text
from snnrepro.thesis.judge import NOT_JUDGED

if TYPE_CHECKING:
    from snnrepro.thesis.cells import Cell
    from snnrepro.thesis.comparisons import Comparison, Converted
    from snnrepro.thesis.judge import Verdict
    from snnrepro.thesis.results import Results


_ALL_IMAGES = 10_000


def printed_tables(results: Results, model: str) -> list[Table]:
    """Return one table per quantity: every printed figure of a model, measured beside it, with its verdict."""
    by_quantity: dict[str, list[Comparison]] = defaultdict(list)
    for comparison in results.comparisons:
        if comparison.printed.model == model:
            by_quantity[comparison.printed.quantity].append(comparison)
    return [_printed(model, name, comparisons) for name, comparisons in by_quantity.items()]


def _printed(model: str, name: str, comparisons: list[Comparison]) -> Table:
    notes = Notes()
    conditions = ", 10,000 images" if name == "inference" else ""
    title = f"{model_name(model)}: {QUANTITIES[name]}, {comparisons[0].printed.unit}{conditions}"
    columns = (text("system"), Column("n"), Column("thesis"), Column("measured"), RANGE, text("verdict"))
    rows = [_figure(comparison, notes) for comparison in comparisons]
    # On how many images figures rest that do not rest on all 10,000.
    counts = {system_name(one.printed.system): one.n_images for one in comparisons if one.n_images}
    if any(n_images != _ALL_IMAGES for n_images in counts.values()):
        notes.add("Images: " + ", ".join(f"{system} {n_images:,}" for system, n_images in counts.items()) + ".")
    return table(title, columns, {"": rows}, notes)


def _figure(comparison: Comparison, notes: Notes) -> list[Entry]:
    printed = comparison.printed
    return [
        system_name(printed.system),
        str(printed.n_steps or NOTHING),
        quantity(printed.value, printed.unit),
        quantity(comparison.measured, printed.unit),
        span(comparison.values, printed.unit),
        _judged(comparison.verdict, printed.reason, notes),
    ]


def _judged(verdict: Verdict, reason: str, notes: Notes) -> Judged:
    """Return a verdict's entry: the bound stands in it, the reason in a note."""
    if verdict.outcome == NOT_JUDGED:
        return Judged(NOT_JUDGED, note=notes.letter(f"Not judged: {verdict.why}."))
    return Judged(verdict.outcome, verdict.why, notes.letter(reason if reason.endswith(".") else f"{reason}."))


def trends_table(results: Results) -> Table | None:
    """Return what must hold on any machine, with the statistic measured; None without trends."""
    notes = Notes()
    groups: dict[str, list[list[Entry]]] = defaultdict(list)
    for comparison in results.trends:
        trend = comparison.trend
        what = f"{trend.name} ({STATISTICS.get(trend.statistic, trend.statistic)})"
        verdict = _judged(comparison.verdict, trend.reason, notes)
        groups[model_name(trend.model)].append([what, decimal(comparison.statistic, 3), verdict])
    columns = (text(), Column("measured"), text("verdict"))
    return table("What must hold on any machine", columns, groups, notes) if groups else None


def not_judged_table(results: Results) -> Table | None:
    """Return why figures were not judged, and which; None if all were."""
    names: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))  # by reason, by what they share
    for comparison in results.comparisons:
        if comparison.verdict.outcome == NOT_JUDGED:
            printed = comparison.printed
            shared = f"{model_name(printed.model)}, {QUANTITIES[printed.quantity]}"
            names[comparison.verdict.why][shared].append(figure_name(printed))
    for trend in results.trends:
        if trend.verdict.outcome == NOT_JUDGED:
            names[trend.verdict.why][model_name(trend.trend.model)].append(trend.trend.name)
    rows = [
        [
            why,
            str(sum(map(len, by_shared.values()))),
            "; ".join(f"{shared}: {_shorter(figures)}" for shared, figures in by_shared.items()),
        ]
        for why, by_shared in names.items()
    ]
    return table("Not judged, and why", (text("why"), Column("figures"), text("which")), {"": rows}) if rows else None


def _shorter(figures: Iterable[str]) -> str:
    """Return "Keras, NengoDL, n=1, 15, 30" for Keras and NengoDL at three n_steps."""
    said, words = "", []
    for figure in figures:
        system, _, n_steps = figure.partition(", n=")
        words.append(n_steps if n_steps and system == said else figure)
        said = system
    return ", ".join(words)


def converted_table(results: Results, model: str) -> Table | None:
    """Return accuracy, loss to Keras and seconds of every recipe at every n_steps; None if nothing was converted."""
    own = [one for one in results.converted if one.model == model]
    own.sort(key=lambda one: System("converted", one.recipe, one.synapse).rank)
    groups = {f"recipe {recipe_name(one.recipe, one.synapse)}{_images(one)}": _by_n_steps(one) for one in own}
    columns = (text("n"), Column("accuracy %"), RANGE, Column("points lost"), Column("s for 10,000"))
    return table(f"{model_name(model)}: converted without retraining", columns, groups) if groups else None


def _images(converted: Converted) -> str:
    return "" if converted.n_images == _ALL_IMAGES else f" ({converted.n_images:,} images)"


def _by_n_steps(converted: Converted) -> list[list[Entry]]:
    return [
        [
            str(n),
            decimal(converted.accuracy[n]),
            span(sorted(set(converted.range[n]))),
            decimal(converted.loss[n]),
            seconds(converted.seconds.get(n)),
        ]
        for n in sorted(converted.accuracy)
    ]


def _network_name(cell: Cell) -> str:
    return recipe_name(cell.recipe, cell.synapse) if cell.recipe else system_name(cell.system)


SSIM_PAIRS = {
    "original~keras": "original – Keras",
    "original~snn": "original – spiking",
    "keras~snn": "Keras – spiking",
}


def ssim_table(results: Results) -> Table | None:
    """Return the mean likeness of images, original, Keras's and the spiking network's; None if none was measured."""
    by_network: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in results.measured:
        for pair, ssim in one.ssim.items():
            by_network[one.cell.model, at(_network_name(one.cell), one.cell.n_steps)][pair].append(ssim)
    groups: dict[str, list[list[Entry]]] = defaultdict(list)
    for (model, name), by_pair in by_network.items():
        groups[model_name(model)].append([name, *(decimal(_mean(by_pair.get(pair)), 4) for pair in SSIM_PAIRS)])
    columns = (text(), *map(Column, SSIM_PAIRS.values()))
    return table("Mean SSIM over the images and seeds", columns, groups) if groups else None


def operations_table(results: Results) -> Table | None:
    """Return spikes and synaptic operations per image beside the trained network's; None if there are none."""
    spikes: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    synops: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    macs: dict[str, list[float]] = defaultdict(list)
    for one in results.measured:
        network = one.cell.model, _network_name(one.cell), one.cell.n_steps
        if one.macs is not None:
            macs[one.cell.model].append(one.macs)
        if one.spikes_per_image is not None and one.synaptic_operations is not None:
            spikes[network].append(one.spikes_per_image)
            synops[network].append(one.synaptic_operations)
    groups: dict[str, list[list[Entry]]] = defaultdict(list)
    for network in spikes:
        model, name, n_steps = network
        trained, operations = _mean(macs.get(model)), mean(synops[network])
        rows = groups[model_name(model)]
        if trained and not rows:
            rows.append(["Keras: multiply-accumulates", NOTHING, NOTHING, count(trained), decimal(1.0)])
        share = operations / trained if trained else None
        rows.append([name, str(n_steps), count(mean(spikes[network])), count(operations), decimal(share)])
    columns = (text(), Column("n"), Column("spikes"), Column("operations"), Column("over Keras’s"))
    return table("Operations per image", columns, groups) if groups else None


def _mean(values: list[float] | None) -> float | None:
    return mean(values) if values else None
