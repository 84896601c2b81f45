"""Charts of accuracy and of inference time against n_steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from snnrepro.report.figure import COLOURS, INK, MARKERS, WIDTH, Plot, draw
from snnrepro.report.names import decimal, model_name, seconds
from snnrepro.report.series import Point, System, accuracy_series, printed_series, seconds_series
from snnrepro.report.verdict import losses_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from snnrepro.thesis.results import Results

_LEFT, _RIGHT, _TOP, _BOTTOM = 0.5, 0.12, 0.28, 0.48  # inches around the axes
_HEIGHT = 2.5  # of the axes
_ENTRY = 0.155  # of one legend entry
_ACCURACY_TICKS = (0, 50, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9)
_NO_SYNAPSE = (0, (1, 1.2))  # dotted: the same colour as with a synapse


def accuracy_plot(results: Results, model: str) -> Plot | None:
    """Return accuracy against n_steps with 95 % intervals and the thesis's points; None if nothing was measured."""
    curves = accuracy_series(results, model)
    keras = next(iter(curves.pop(System("keras"), [])), None)
    printed = printed_series(results, model, "accuracy", "nengo-dl")
    if not (curves or keras or printed):
        return None

    def paint(figure: Figure) -> None:
        axes = _axes(figure, len(curves) + bool(printed) + (keras is not None))
        every = [point for points in (*curves.values(), [keras] if keras else []) for point in points]
        best = max([point.high for point in every] + [value for _, value in printed])
        _accuracy_scale(axes, best)
        if keras is not None:
            axes.axhspan(keras.low, keras.high, color=COLOURS["keras"], alpha=0.18, linewidth=0)
            axes.axhline(keras.percent, color=COLOURS["keras"], linestyle="--", label=f"Keras, {keras.percent:.2f} %")
        for system, points in curves.items():
            _errorbars(axes, system, points)
        if printed:
            _print_points(axes, printed, "NengoDL, printed", line=False)
        _n_steps_axis(axes, [p.n_steps for p in every if p.n_steps] + [n for n, _ in printed])
        axes.set_title(f"{model_name(model)}: accuracy, %")
        _legend(axes)

    parts = [f"Keras {keras.percent:.2f} %"] if keras else []
    parts += [f"{s.short_label}: " + _listed([(p.n_steps, f"{p.percent:.2f}") for p in ps]) for s, ps in curves.items()]
    parts += ["thesis, NengoDL: " + _listed([(n, f"{value:.2f}") for n, value in printed])] if printed else []
    alt = f"{model_name(model)}, accuracy in % against n_steps. " + "; ".join(parts) + "."
    return draw("accuracy", model, _total(len(parts)), paint, alt, _accuracy_caption(results, model))


def _accuracy_caption(results: Results, model: str) -> str:
    """Return what to see: what the thesis's recipe and ours lose to Keras at their longest presentations."""
    seen = [
        f"{decimal(points)} at n={n_steps} by the recipe “{recipe}”"
        for recipe in ("thesis", "balanced")
        for n_steps, points in losses_of(results, model, recipe)[-1:]
    ]
    lead = f"Points lost to Keras (dashed) on the same images: {', '.join(seen)}. " if seen else ""
    return (
        f"{lead}The axis widens towards 100 %. Bars, where wider than the marker, are 95 % Wilson intervals over the "
        "images of all seeds; open circles are the thesis’s printed figures."
    )


def time_plot(results: Results, model: str) -> Plot | None:
    """Return the seconds of 10,000 images against n_steps, thesis and here; None if nothing was measured."""
    curves = seconds_series(results, model)
    keras = next((value for _, value in curves.pop(System("keras"), [])), None)
    printed = printed_series(results, model, "inference", "nengo-dl")
    printed_keras = [value for _, value in printed_series(results, model, "inference", "keras")]
    if not curves and not printed:
        return None

    def paint(figure: Figure) -> None:
        axes = _axes(figure, len(curves) + bool(printed) + bool(printed_keras) + (keras is not None))
        axes.set_yscale("log")
        if printed:
            _print_points(axes, printed, "NengoDL, printed (GPU)", line=True)
        for system, points in curves.items():
            label = "event simulator here, balanced" if system.recipe else "NengoDL here"
            style: dict[str, Any] = {"color": COLOURS[system.colour], "marker": MARKERS[system.colour], "label": label}
            axes.plot([n for n, _ in points], [value for _, value in points], **style)
        for value in printed_keras:
            axes.axhline(value, color=INK, linestyle=":", linewidth=1.1, label="Keras, printed (GPU)")
        if keras is not None:
            axes.axhline(keras, color=COLOURS["keras"], linestyle="--", label="Keras here")
        every_n = [n for points in curves.values() for n, _ in points] + [n for n, _ in printed]
        _n_steps_axis(axes, every_n)
        _plain_log_ticks(axes)
        axes.set_title(f"{model_name(model)}: inference of 10,000 images, s")
        _legend(axes)

    parts = [f"{s.short_label}: " + _listed([(n, seconds(value)) for n, value in ps]) for s, ps in curves.items()]
    parts += [f"Keras here {seconds(keras)}"] if keras is not None else []
    parts += ["thesis, NengoDL: " + _listed([(n, seconds(value)) for n, value in printed])] if printed else []
    parts += [f"thesis, Keras {seconds(value)}" for value in printed_keras]
    alt = f"{model_name(model)}, seconds for 10,000 images against n_steps. " + "; ".join(parts) + "."
    return draw("time", model, _total(len(parts)), paint, alt, _time_caption(curves, keras))


def _time_caption(curves: Mapping[System, Sequence[tuple[int, float]]], keras: float | None) -> str:
    """Return what to see: how many times Keras's time each simulator takes at its longest presentation."""
    seen = []
    for system, points in curves.items():
        if keras and points:
            n_steps, value = points[-1]
            name = "the event simulator" if system.recipe else "NengoDL"
            seen.append(f"{name} takes {_times(value / keras)} Keras’s time here at n={n_steps}")
    words = ", ".join(seen)
    return (words[:1].upper() + words[1:] + ". " if words else "") + (
        "The axis is logarithmic: linear growth in n_steps looks curved. The thesis’s seconds are those of its GPU."
    )


def _times(ratio: float) -> str:
    return f"{ratio:.0f} times" if ratio >= 9.5 else f"{ratio:.2g} times"


def _total(entries: int) -> float:
    return _TOP + _HEIGHT + _BOTTOM + _ENTRY * math.ceil(entries / 2) + 0.06


def _axes(figure: Figure, entries: int) -> Axes:
    """Return axes of one size whatever the legend below them needs."""
    height = _total(entries)
    below = height - _TOP - _HEIGHT
    inside = WIDTH - _LEFT - _RIGHT
    return figure.add_axes((_LEFT / WIDTH, below / height, inside / WIDTH, _HEIGHT / height))


def _legend(axes: Axes) -> None:
    anchor = (-(_LEFT - 0.04) / (WIDTH - _LEFT - _RIGHT), -(_BOTTOM - 0.04) / _HEIGHT)
    options = {"handlelength": 2.0, "columnspacing": 1.0, "labelspacing": 0.35, "borderpad": 0.3}
    axes.legend(loc="upper left", bbox_to_anchor=anchor, ncol=2, borderaxespad=0.0, **options)


def _errorbars(axes: Axes, system: System, points: Sequence[Point]) -> None:
    colour, marker = COLOURS.get(system.colour, INK), MARKERS.get(system.colour, "x")
    below = [point.percent - point.low for point in points]
    above = [point.high - point.percent for point in points]
    bare = system.recipe == "thesis" and system.synapse is None
    axes.errorbar(
        [point.n_steps for point in points],
        [point.percent for point in points],
        yerr=[below, above],
        color=colour,
        marker=marker,
        markerfacecolor="none" if bare else colour,
        linestyle=_NO_SYNAPSE if bare else "-",
        elinewidth=1.0,
        capsize=2.0,
        label=system.label,
    )


def _print_points(axes: Axes, printed: Sequence[tuple[int, float]], label: str, line: bool) -> None:
    axes.plot(
        [n_steps for n_steps, _ in printed],
        [value for _, value in printed],
        color=INK,
        marker=MARKERS["thesis print"],
        markersize=7,
        markerfacecolor="none",
        linestyle=":" if line else "none",
        linewidth=1.1,
        label=label,
        zorder=4,
    )


def _accuracy_scale(axes: Axes, best: float) -> None:
    """Let the distance to 100 % set the height: 93 and 97 % stand as far apart as 50 and 80 % do."""
    import numpy as np

    nearest = max(100 - best, 0.05)
    top = 100 - nearest / 1.3

    def height(percent: Any) -> Any:
        return -np.log10(np.maximum(100.0 - np.asarray(percent, float), 1e-3))

    axes.set_yscale("function", functions=(height, lambda value: 100.0 - 10.0 ** -np.asarray(value, float)))
    ticks = [tick for tick in _ACCURACY_TICKS if tick <= top]
    axes.set_ylim(0, top)
    axes.set_yticks(ticks)
    axes.set_yticklabels([f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def _n_steps_axis(axes: Axes, every_n: Sequence[int]) -> None:
    ticks = sorted(set(every_n))
    axes.set_xticks(ticks)
    axes.set_xticklabels([str(tick) for tick in ticks])
    axes.set_xlim(0, max([*ticks, 1]) * 1.03)
    axes.set_xlabel("n_steps")
    axes.grid(True, color=INK, alpha=0.12, linewidth=0.5)
    axes.set_axisbelow(True)


def _plain_log_ticks(axes: Axes) -> None:
    """Write 0.1, 1, 10 instead of powers, whose raised digits are too small to read."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.yaxis.set_major_locator(LogLocator(base=10))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _listed(pairs: Sequence[tuple[int, str]]) -> str:
    return ", ".join(f"n={n_steps} {value}" for n_steps, value in pairs)
