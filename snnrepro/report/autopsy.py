"""An autopsy for people: a table for the terminal, and a page with charts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from snnrepro.autopsy.costs import CAUSES, rank
from snnrepro.files import written_whole
from snnrepro.report.figure import INK, draw
from snnrepro.report.templates import rendered

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure
    from rich.console import Console

    from snnrepro.autopsy.costs import LayerCost
    from snnrepro.autopsy.explain import Autopsy
    from snnrepro.metrics import Loss
    from snnrepro.report.figure import Plot

_COLOURS = {
    "functions": "#b0609b",
    "clipping": "#d55e00",
    "quantisation": "#1a7fc0",
    "timing": "#009270",
    "readout": "#8f7a00",
}
_BAR = 0.2  # inches of a layer's bar


def rows(autopsy: Autopsy) -> list[list[str]]:
    """Return a heading and a row for each layer, in points; and the margin in logits."""
    table = [["layer", "points", *CAUSES, "margin", "inherited", "if exact", "flips"]]
    for layer in autopsy.layers:
        parts = {part.cause: part.loss.points for part in layer.parts}
        other = [f"{parts[cause]:.2f}" if cause in parts else "" for cause in CAUSES]
        exact = "" if layer.if_exact is None else f"{layer.if_exact.points:+.2f}"
        margin = "" if layer.margin != layer.margin else f"{layer.margin:.3f}"
        table.append(
            [layer.name, f"{layer.loss.points:.2f}", *other, margin, f"{layer.inherited:.2f}", exact, str(layer.flips)]
        )
    return table


def sentences(autopsy: Autopsy) -> list[str]:
    """Return what there is to see, in words."""
    kind = "of the answers" if autopsy.figure == "answers" else f"of {autopsy.figure}"
    told = [
        f"lost to the trained network at {autopsy.n_steps} steps, on {autopsy.n_images:,} images: "
        f"{_amount(autopsy.total)} {kind}"
    ]
    worst = autopsy.worst
    amount = f"{_amount(worst.worst.loss)}" if worst.worst.loss.low > 0 else "no more points than chance"
    told.append(f"most is lost in {worst.name}, by {worst.worst.cause}: {amount}{_margin_of(worst)}")
    if worst.channels:
        told.append(
            f"its worst channels (share of its own error, answers back if it alone were exact): {_channels(worst)}"
        )
    first = autopsy.first_flip
    if first is not None:
        told.append(f"the first layer at which answers change for good: {first.name} ({first.flips:,} images)")
    best = autopsy.cheapest_cure
    if best is not None:
        told.append(
            f"cheapest of what was tried and wins back half of it: {best.what}, with {best.operations:,.0f} operations "
            f"per image and {_amount(best.loss)} lost on these images; judge it on others"
        )
    elif autopsy.cures:
        told.append(
            "nothing that was tried wins back half of it" if autopsy.total.points > 0 else "there is no loss to cure"
        )
    return told


def _amount(loss: Loss) -> str:
    return f"{loss.points:.2f} points ({loss.low:.2f} to {loss.high:.2f})"


def _margin_of(layer: LayerCost) -> str:
    margin = layer.worst.margin
    return "" if margin != margin else f"; the margin falls by {margin:.3f} logits"


def _channels(layer: LayerCost) -> str:
    """Return channels with their share of the layer's own error, and the answers that each alone gives back."""
    return ", ".join(f"{one.number} ({100 * one.share:.0f} %, {one.flips})" for one in layer.channels)


def print_autopsy(autopsy: Autopsy, console: Console) -> None:
    """Print the table of the layers, that of the cures, and what there is to see."""
    console.print(_table(rows(autopsy)))
    if autopsy.cures:
        console.print(_table(cure_rows(autopsy)))
    for sentence in sentences(autopsy):
        console.print(sentence, markup=False)


def cure_rows(autopsy: Autopsy) -> list[list[str]]:
    """Return a heading and a row for everything that was tried."""
    table = [["tried", "steps", "points lost", "95 %", "operations"]]
    for cure in autopsy.cures:
        interval = f"{cure.loss.low:.2f} to {cure.loss.high:.2f}"
        table.append([cure.what, str(cure.n_steps), f"{cure.loss.points:.2f}", interval, f"{cure.operations:,.0f}"])
    return table


def _table(content: list[list[str]]) -> Table:
    table = Table()
    for column, heading in enumerate(content[0]):
        table.add_column(heading, overflow="fold", justify="left" if column == 0 else "right")
    for row in content[1:]:
        table.add_row(*map(escape, row))
    return table


def layers_plot(autopsy: Autopsy) -> Plot:
    """Return a bar for each layer: what each cause costs, in logits of the margin, or in points without one."""
    layers = autopsy.layers
    has_margin = all(layer.margin == layer.margin for layer in layers)
    causes = [cause for cause in _COLOURS if any(part.cause == cause for layer in layers for part in layer.parts)]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        places = range(len(layers))
        above, below = [0.0] * len(layers), [0.0] * len(layers)
        for cause in causes:
            values = [
                sum(part.margin if has_margin else part.loss.points for part in layer.parts if part.cause == cause)
                for layer in layers
            ]
            left = [above[place] if value >= 0 else below[place] for place, value in enumerate(values)]
            axes.barh(places, values, left=left, color=_COLOURS[cause], label=cause, height=0.75)
            for place, value in enumerate(values):
                side = above if value >= 0 else below
                side[place] += value
        axes.set_yticks(list(places))
        axes.set_yticklabels([layer.name if len(layer.name) < 28 else f"…{layer.name[-26:]}" for layer in layers])
        axes.invert_yaxis()
        axes.margins(x=0.04)
        axes.axvline(0, color=INK, linewidth=0.6)
        axes.set_title("what each layer costs: " + ("margin, logits" if has_margin else "points"))
        figure.legend(loc="lower center", ncol=len(causes), fontsize=7)
        figure.tight_layout(rect=(0, 0.25 / (1.0 + _BAR * len(layers)), 1, 1))

    alt = "; ".join(f"{layer.name} {layer.loss.points:.2f} points" for layer in layers)
    return draw("autopsy", "layers", 1.0 + _BAR * len(layers), paint, alt, "What each layer costs, by cause.")


def scatter_plot(autopsy: Autopsy) -> Plot | None:
    """Return the mean outputs of the neurons against the trained activations, in the layer that costs most."""
    known = [layer for layer in autopsy.layers if layer.name in autopsy.scatter]
    if not known:
        return None
    name = max(known, key=rank).name
    activations, outputs = autopsy.scatter[name]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(activations, outputs, ".", color=_COLOURS["quantisation"], markersize=2, alpha=0.5)
        most = float(max(activations.max(), outputs.max(), 1e-9))
        axes.plot([0, most], [0, most], color=INK, linewidth=0.6)
        axes.set_xlabel("trained activation")
        axes.set_ylabel(f"mean output in {autopsy.n_steps} steps")
        axes.set_title(name if len(name) < 45 else f"…{name[-43:]}")
        figure.tight_layout()

    alt = f"Mean outputs of the neurons of {name} against the trained activations."
    return draw("autopsy", "rates", 3.2, paint, alt, "On the line, the neurons give what they stand for.")


def write_page(autopsy: Autopsy, path: Path, title: str) -> None:
    """Write the page, charts inside.

    Raises
    ------
    DependencyError
        matplotlib or Jinja2 is missing.
    """
    content = {
        "title": title,
        "sentences": sentences(autopsy),
        "tables": [rows(autopsy), *([cure_rows(autopsy)] if autopsy.cures else [])],
        "plots": [plot for plot in (layers_plot(autopsy), scatter_plot(autopsy)) if plot is not None],
    }
    with written_whole(path) as file:
        file.write(rendered("autopsy.html.jinja", content).encode())
