"""Charts of single images and neurons: spikes in time, rate against activation, reconstructions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

import numpy as np

from snnrepro.report.figure import COLOURS, INK, WIDTH, Plot, draw
from snnrepro.report.names import model_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from snnrepro.arrays import AnyArray

    Samples = Mapping[str, AnyArray]

_RECIPES = ("thesis", "balanced", "balanced-lif")
_SHOWN = ("thesis", "balanced")
_MOST_POINTS = 1200  # in one scatter: more say no more, and the page stays small
_MOST_IMAGES = 6


def by_population(samples: Samples, model: str, kind: str) -> dict[str, dict[str, AnyArray]]:
    """Return the arrays ``{model}.{recipe}.{kind}.{population}`` by population and recipe, in the file's order."""
    arrays: dict[str, dict[str, AnyArray]] = {}
    for name, values in samples.items():
        parts = name.split(".", 3)
        if len(parts) == 4 and parts[0] == model and parts[1] in _RECIPES and parts[2] == kind:
            arrays.setdefault(parts[3], {})[parts[1]] = values
    return arrays


def raster_plot(samples: Samples, model: str) -> Plot | None:
    """Return which neuron spiked when on one image, by population, one column per recipe; None if none was kept."""
    populations = by_population(samples, model, "raster")
    recipes = _present(populations)
    if not recipes:
        return None
    shown = samples.get(f"{model}.image")
    above = 0.0 if shown is None else 0.65
    height = above + 0.45 + 1.15 * len(populations) + 0.3

    def paint(figure: Figure) -> None:
        if shown is not None:
            box = (0.62 / WIDTH, (height - 0.6) / height, 0.55 / WIDTH, 0.55 / height)
            _image(figure.add_axes(box), shown)
            figure.text(1.25 / WIDTH, (height - 0.33) / height, digit.replace(" of ", "") or "the image")
        for axes, population, recipe in _panels(figure, height, above, populations, recipes, "step"):
            spikes = populations[population][recipe].T > 0
            _spikes(axes, spikes, COLOURS[recipe])
            if axes.get_ylabel():
                axes.set_ylabel(f"{axes.get_ylabel()}{len(spikes)} neurons")

    counted = [
        f"{recipe} " + ", ".join(f"{_short(name)} {_total(arrays, recipe)}" for name, arrays in populations.items())
        for recipe in recipes
    ]
    digit = f" of the digit {int(samples[f'{model}.label'])}" if f"{model}.label" in samples else ""
    spikes = f"Spikes shown, by recipe and layer: {'; '.join(counted)}."
    alt = f"{model_name(model)}: spikes on one image{digit}, neurons against steps. {spikes}"
    caption = (
        f"{model_name(model)}, one image{digit}: a mark is a spike of a neuron (of at most 128 per layer) in a step; "
        f"rows that stay empty cost nothing. {spikes}"
    )
    return draw("spikes", model, height, paint, alt, caption)


def rate_plot(samples: Samples, model: str) -> Plot | None:
    """Return spiking output against trained activation, by population, one column per recipe; None if none was kept."""
    pairs = _pairs(samples, model)
    recipes = _present(pairs)
    if not recipes:
        return None
    height = 0.45 + 1.5 * len(pairs) + 0.3
    errors: dict[str, list[str]] = {recipe: [] for recipe in recipes}
    for population, by_recipe in pairs.items():
        for recipe in recipes:
            if recipe in by_recipe:
                errors[recipe].append(f"{_short(population)} {_relative_error(*by_recipe[recipe]):.2f}")

    def paint(figure: Figure) -> None:
        for axes, population, recipe in _panels(figure, height, 0.0, pairs, recipes, "trained activation"):
            _scatter(axes, pairs[population].values(), pairs[population][recipe], COLOURS[recipe])
            if axes.get_ylabel():
                axes.set_ylabel(f"{axes.get_ylabel()}spiking output")

    listed = "; ".join(f"{recipe}: {', '.join(values)}" for recipe, values in errors.items())
    alt = f"{model_name(model)}: mean output of spiking neurons against the trained activation, by layer and recipe. "
    alt += f"Root mean square error over that of the activations: {listed}."
    caption = (
        f"{model_name(model)}: a point is one neuron on one image; on the line the spiking neuron says what the "
        f"trained one does. Root mean square error over root mean square activation: {listed}."
    )
    return draw("rates", model, height, paint, alt, caption)


def image_plot(samples: Samples, model: str = "autoencoder") -> Plot | None:
    """Return originals beside their reconstructions, with the SSIM of each; None if none was kept."""
    prefix = f"{model}.images."
    columns = [name for name in ("original", "keras", *_RECIPES) if prefix + name in samples]
    columns = [name for name in columns if name != "balanced-lif" or "balanced" not in columns]
    if len(columns) < 2:
        return None
    n_images = min(_MOST_IMAGES, *(len(samples[prefix + name]) for name in columns))
    side = (WIDTH - 0.1) / len(columns)
    height = 0.34 + n_images * (side + 0.1)
    names = {"keras": "Keras"}

    def paint(figure: Figure) -> None:
        for row in range(n_images):
            for column, name in enumerate(columns):
                bottom = height - 0.3 - (row + 1) * (side + 0.1) + 0.14
                box = (
                    (0.05 + column * side + 0.03) / WIDTH,
                    bottom / height,
                    (side - 0.06) / WIDTH,
                    (side - 0.06) / height,
                )
                axes = figure.add_axes(box)
                _image(axes, samples[prefix + name][row])
                if row == 0:
                    axes.set_title(names.get(name, name), loc="center", pad=3)
                ssim = _ssim(samples, model, name, row)
                if ssim:
                    axes.set_xlabel(ssim, labelpad=1.5, fontsize=8)

    kept = {name: samples[f"{model}.ssim.{name}"] for name in columns[1:] if f"{model}.ssim.{name}" in samples}
    means = [f"{names.get(name, name)} {float(np.mean(values)):.3f} ({len(values)})" for name, values in kept.items()]
    likeness = f"Mean SSIM to the original (over images): {', '.join(means)}." if means else ""
    alt = f"{model_name(model)}: {n_images} images and their reconstructions ({', '.join(columns)}). {likeness}".strip()
    caption = f"Each row is one test image; below each reconstruction its SSIM to the original. {likeness}".strip()
    return draw("images", model, height, paint, alt, caption)


def _image(axes: Axes, pixels: AnyArray) -> None:
    image = np.clip(np.asarray(pixels, float).reshape(28, 28), 0, 1)
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="none", aspect="auto")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _ssim(samples: Samples, model: str, name: str, row: int) -> str:
    values = samples.get(f"{model}.ssim.{name}")
    return f"{float(values[row]):.3f}" if values is not None and row < len(values) else ""


def _present(populations: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the recipes to show: the thesis's beside balanced, or whichever there is."""
    there = [recipe for recipe in _RECIPES if any(recipe in arrays for arrays in populations.values())]
    return [recipe for recipe in there if recipe in _SHOWN] or there


def _panels(
    figure: Figure,
    height: float,
    above: float,
    populations: Mapping[str, Mapping[str, Any]],
    recipes: Sequence[str],
    x_label: str,
) -> Iterator[tuple[Axes, str, str]]:
    """Yield axes, population (a row) and recipe (a column), where there is anything to draw; words are at the edges."""
    left, right, top, bottom, between = 0.62, 0.08, 0.3 + above, 0.42, 0.22
    n_rows, n_columns = len(populations), len(recipes)
    width = (WIDTH - left - right - between * (n_columns - 1)) / n_columns
    tall = (height - top - bottom - between * (n_rows - 1)) / n_rows
    for row, (population, by_recipe) in enumerate(populations.items()):
        for column, recipe in enumerate(recipes):
            if recipe not in by_recipe:
                continue
            x, y = left + column * (width + between), bottom + (n_rows - 1 - row) * (tall + between)
            axes = figure.add_axes((x / WIDTH, y / height, width / WIDTH, tall / height))
            axes.tick_params(length=2.5, labelsize=7.5)
            axes.set_title(recipe if row == 0 else "")
            axes.set_xlabel(x_label if row == n_rows - 1 else "")
            axes.set_ylabel(f"{_short(population)}\n" if column == 0 else "")
            yield axes, population, recipe


def _spikes(axes: Axes, spikes: AnyArray, colour: str) -> None:
    """Draw spikes as an image, transparent where none is: thousands of marks would make a large file."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    pixels = np.zeros((*spikes.shape, 4), np.uint8)
    pixels[spikes] = (red, green, blue, 255)
    n_neurons, n_steps = spikes.shape
    axes.imshow(
        pixels, interpolation="none", aspect="auto", origin="lower", extent=(0.5, n_steps + 0.5, -0.5, n_neurons - 0.5)
    )
    axes.set_xlim(0, n_steps + 1)
    axes.set_yticks([])


def _pairs(samples: Samples, model: str) -> dict[str, dict[str, tuple[AnyArray, AnyArray]]]:
    """Return (activation, rate) by population and recipe, where both were kept."""
    activations, rates = (by_population(samples, model, kind) for kind in ("activation", "rate"))
    pairs: dict[str, dict[str, tuple[AnyArray, AnyArray]]] = {}
    for population, by_recipe in activations.items():
        for recipe, activation in by_recipe.items():
            rate = rates.get(population, {}).get(recipe)
            if rate is not None and activation.size and activation.size == rate.size:
                pairs.setdefault(population, {})[recipe] = (activation.ravel(), rate.ravel())
    return pairs


def _scatter(axes: Axes, every: Any, pair: tuple[AnyArray, AnyArray], colour: str) -> None:
    # Both recipes on the same scale, or their distance to the line could not be compared.
    highest = max(float(np.max(values)) for one in every for values in one) or 1.0
    activation, rate = (values[:: max(1, len(values) // _MOST_POINTS)] for values in pair)
    # An image inside the SVG, not thousands of elements.
    axes.scatter(activation, rate, s=4, color=colour, alpha=0.5, linewidths=0, rasterized=True)
    axes.plot([0, highest], [0, highest], color=INK, linewidth=0.7, alpha=0.7)
    axes.set_xlim(-0.03 * highest, 1.03 * highest)
    axes.locator_params(nbins=4)


def _relative_error(activation: AnyArray, rate: AnyArray) -> float:
    scale = float(np.sqrt(np.mean(np.square(activation, dtype=float))))
    return float(np.sqrt(np.mean(np.square(activation.astype(float) - rate)))) / scale if scale else float("nan")


def _total(arrays: Mapping[str, AnyArray], recipe: str) -> str:
    return f"{int(np.sum(arrays[recipe] > 0)):,}" if recipe in arrays else "–"


def _short(population: str) -> str:
    """Return the end of a population's name: a node's path is too long for an axis."""
    name = population.rstrip("/").split("/")
    last = name[-1] if len(name) == 1 or name[-1].lower() not in {"relu", "relu:0"} else name[-2]
    return last if len(last) <= 16 else f"…{last[-15:]}"


SAMPLE_PLOTS = (raster_plot, rate_plot, image_plot)
"""The charts of kept samples, in the report's order: each of the samples and a model, and None if there are none."""
