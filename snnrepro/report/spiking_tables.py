"""What conversion keeps and what it costs: accuracy by recipe, likeness of images, operations."""

from __future__ import annotations

from statistics import mean
from typing import Any, Iterable, Mapping

from snnrepro.report.series import System
from snnrepro.report.table import Cell, Table, table, without_empty
from snnrepro.report.wording import (
    NOTHING,
    RANGE,
    count,
    decimal,
    model_name,
    models_of,
    recipe_name,
    seconds,
    span,
    system_name,
)


def converted_table(document: Mapping[str, Any], model: str) -> Table | None:
    """Return accuracy, loss to Keras and seconds of every recipe at every n_steps; None if nothing was converted."""
    summaries = [one for one in document["converted"] if one["model"] == model]
    summaries.sort(key=lambda one: System("converted", one["recipe"], one["synapse"]).place)
    groups = {f"recipe {recipe_name(one['recipe'], one['synapse'])}": list(_by_n_steps(one)) for one in summaries}
    groups = {name: rows for name, rows in groups.items() if rows}
    if not groups:
        return None
    headings = ("n|", "accuracy %", RANGE, "points lost", "s for 10,000")
    return without_empty(table(f"{model_name(model)}: converted without retraining", headings, groups), RANGE)


def _by_n_steps(summary: Mapping[str, Any]) -> Iterable[list[Cell]]:
    parts = {name: {int(n): value for n, value in summary.get(name, {}).items()} for name in _CONVERTED}
    for n_steps in sorted(set().union(*parts.values())):
        accuracy, between, loss, time = (parts[name].get(n_steps) for name in _CONVERTED)
        lowest_highest = NOTHING if between is None or between[0] == between[1] else span(between)
        yield [str(n_steps), decimal(accuracy), lowest_highest, decimal(loss), seconds(time)]


_CONVERTED = ("accuracy", "range", "loss", "seconds")


def ssim_table(document: Mapping[str, Any]) -> Table | None:
    """Return the mean likeness of images, original, Keras's and the spiking network's; None if none was measured."""
    found: dict[tuple[str, str, int], dict[str, list[float]]] = {}
    for one in document["measured"]:
        cell = one["cell"]
        name = recipe_name(cell["recipe"], cell["synapse"]) if cell["recipe"] else system_name(cell["system"])
        for pair, value in one["ssim"].items():
            found.setdefault((cell["model"], name, cell["n_steps"]), {}).setdefault(pair, []).append(value)
    if not found:
        return None
    pairs = ["original~keras", "original~snn", "keras~snn"]
    pairs += sorted({pair for by_pair in found.values() for pair in by_pair} - set(pairs))
    pairs = [pair for pair in pairs if any(pair in by_pair for by_pair in found.values())]
    groups: dict[str, list[list[Cell]]] = {}
    for (model, name, n_steps), by_pair in found.items():
        values = [decimal(mean(by_pair[pair]), 4) if pair in by_pair else NOTHING for pair in pairs]
        groups.setdefault(model_name(model), []).append([_at(name, n_steps), *values])
    return table("Mean SSIM over the images and seeds", ("|", *map(_pair_name, pairs)), groups)


def _pair_name(pair: str) -> str:
    names = {"keras": "Keras", "snn": "spiking"}
    return " – ".join(names.get(part, part) for part in pair.split("~"))


def _at(name: str, n_steps: int) -> str:
    return f"{name}, n={n_steps}" if n_steps else name


def operations_table(document: Mapping[str, Any]) -> Table | None:
    """Return spikes and synaptic operations an image beside the trained network's; None if there are none."""
    groups: dict[str, list[list[Cell]]] = {}
    for model in models_of(document):
        macs = [
            one["macs"] for one in document["measured"] if one["cell"]["model"] == model and one["macs"] is not None
        ]
        trained = mean(macs) if macs else None
        rows = [_operations(*counted, trained) for counted in _counted(document, model)]
        if rows:
            own: list[Cell] = ["Keras: multiply-accumulates", NOTHING, NOTHING, count(trained), decimal(1.0)]
            groups[model_name(model)] = [own, *rows] if trained else rows
    if not groups:
        return None
    return table("Operations per image", ("|", "n", "spikes", "operations", "over Keras’s"), groups)


def _operations(name: str, n_steps: int, spikes: float | None, synops: float | None, macs: float | None) -> list[Cell]:
    share = decimal(synops / macs) if synops is not None and macs else NOTHING
    return [name, str(n_steps), count(spikes), count(synops), share]


def _counted(document: Mapping[str, Any], model: str) -> list[tuple[str, int, float | None, float | None]]:
    """Return name, n_steps, mean spikes and mean synaptic operations of every network whose spikes were counted."""
    found: dict[tuple[str, int], dict[str, list[float]]] = {}
    for one in document["measured"]:
        cell = one["cell"]
        name = recipe_name(cell["recipe"], cell["synapse"]) if cell["recipe"] else system_name(cell["system"])
        for key in ("spikes_per_image", "synaptic_operations"):
            if cell["model"] == model and one[key] is not None:
                found.setdefault((name, cell["n_steps"]), {}).setdefault(key, []).append(one[key])
    return [
        (name, n_steps, _mean(by_key.get("spikes_per_image")), _mean(by_key.get("synaptic_operations")))
        for (name, n_steps), by_key in found.items()
    ]


def _mean(values: list[float] | None) -> float | None:
    return mean(values) if values else None
