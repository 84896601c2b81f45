"""The thesis's figures beside the measured ones, the trends, and what was not judged."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

from snnrepro.report.table import Cell, Judged, Notes, Table, table, without_empty
from snnrepro.report.wording import (
    NOTHING,
    QUANTITIES,
    RANGE,
    decimal,
    figure_name,
    model_name,
    quantity,
    span,
    system_name,
)

_UNITS = {"%": "%", "s": "s", "points": "points"}


def printed_tables(document: Mapping[str, Any], model: str) -> list[Table]:
    """Return one table a quantity: every printed figure of a model, measured beside it, with its verdict."""
    by_quantity: dict[str, list[Mapping[str, Any]]] = {}
    for line in document["lines"]:
        if line["row"]["model"] == model:
            by_quantity.setdefault(line["row"]["quantity"], []).append(line)
    return [_printed(model, name, lines) for name, lines in by_quantity.items()]


def _printed(model: str, name: str, lines: list[Mapping[str, Any]]) -> Table:
    notes = Notes()
    unit = lines[0]["row"]["unit"]
    what = QUANTITIES.get(name, name.replace("_", " "))
    conditions = ", 10,000 images" if name == "inference" else ""
    title = f"{model_name(model)}: {what}, {_UNITS.get(unit, unit)}{conditions}"
    rows = [_line(line, notes) for line in lines]
    notes.add(_images(lines))
    return without_empty(
        table(title, ("system|", "n", "thesis", "measured", RANGE, "verdict|"), {"": rows}, notes), RANGE
    )


def _images(lines: list[Mapping[str, Any]]) -> str:
    """Return on how many images figures rest that do not rest on all 10,000."""
    counts = {system_name(line["row"]["system"]): line.get("n_images") for line in lines if line.get("n_images")}
    if all(n_images == 10_000 for n_images in counts.values()):
        return ""
    return "Images: " + ", ".join(f"{system} {n_images:,}" for system, n_images in counts.items()) + "."


def _line(line: Mapping[str, Any], notes: Notes) -> list[Cell]:
    row = line["row"]
    measured, values = quantity(line["measured"], row["unit"]), line["values"]
    printed = quantity(row["value"], row["unit"])
    system = system_name(row["system"], row.get("recipe") or "", row.get("synapse"))
    return [
        system,
        str(row["n_steps"] or NOTHING),
        printed,
        measured,
        span(values, row["unit"]),
        _judged(line["verdict"], row, notes),
    ]


def _judged(verdict: Mapping[str, str], judged: Mapping[str, Any], notes: Notes) -> Judged:
    """Return a verdict's cell: the bound stands in it, the reasons in a note."""
    reason = str(judged.get("reason") or "")
    if verdict["outcome"] == "not judged":
        return Judged("not judged", note=notes.letter(_sentence(f"Not judged: {verdict['why']}")))
    return Judged(verdict["outcome"], verdict["why"], notes.letter(_sentence(reason)))


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def trends_table(document: Mapping[str, Any]) -> Table | None:
    """Return what must hold on any machine, with the statistic measured; None without trends."""
    if not document["trends"]:
        return None
    notes = Notes()
    groups: dict[str, list[list[Cell]]] = {}
    for one in document["trends"]:
        trend, verdict = one["trend"], one["verdict"]
        what = f"{trend['name']} ({_statistic(trend['statistic'])})"
        row: list[Cell] = [what, decimal(one["statistic"], 3), _judged(verdict, trend, notes)]
        groups.setdefault(model_name(trend["model"]), []).append(row)
    return table("What must hold on any machine", ("|", "measured", "verdict|"), groups, notes)


def _statistic(name: str) -> str:
    known = {"r_squared": "R² of a straight line", "spread": "largest distance from the median, over the median"}
    return known.get(name, name.replace("_", " "))


def not_judged_table(document: Mapping[str, Any]) -> Table | None:
    """Return why figures were not judged, and which; None if all were."""
    by_reason: dict[str, list[str]] = {}
    for line in document["lines"]:
        if line["verdict"]["outcome"] == "not judged":
            row = line["row"]
            what = f"{model_name(row['model'])}, {QUANTITIES.get(row['quantity'], row['quantity'])}"
            by_reason.setdefault(line["verdict"]["why"], []).append(f"{what}: {figure_name(row)}")
    for one in document["trends"]:
        if one["verdict"]["outcome"] == "not judged":
            name = f"{model_name(one['trend']['model'])}: {one['trend']['name']}"
            by_reason.setdefault(one["verdict"]["why"], []).append(name)
    if not by_reason:
        return None
    rows: list[list[Cell]] = [[why, str(len(names)), _together(names)] for why, names in by_reason.items()]
    return table("Not judged, and why", ("why|", "figures", "which|"), {"": rows})


def _together(names: Iterable[str]) -> str:
    """Return names of the form "a: b" with what they share said once."""
    shared: dict[str, list[str]] = {}
    for name in names:
        head, _, tail = name.partition(": ")
        shared.setdefault(head, []).append(tail)
    return "; ".join(f"{head}: {_shorter(tails)}" for head, tails in shared.items())


def _shorter(tails: list[str]) -> str:
    """Return "Keras, NengoDL, n=1, 15, 30" for Keras and NengoDL at three n_steps."""
    said, words = "", []
    for tail in tails:
        system, _, n_steps = tail.partition(", n=")
        words.append(n_steps if n_steps and system == said else tail)
        said = system
    return ", ".join(words)
