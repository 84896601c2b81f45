"""What `inspect` prints: the layers of a network, as a table or as plain data."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.markup import escape

from snnrepro.cli.print import FOLDED, NUMBER, WHOLE, console, table_of
from snnrepro.network.formula import is_algebraic
from snnrepro.spiking.facts import ROLES, layer_facts

if TYPE_CHECKING:
    from snnrepro.network.graph import Network
    from snnrepro.spiking.facts import LayerFacts
    from snnrepro.spiking.piecewise import Fit

_WIDE = 110
"""Columns of a terminal from which on the table has borders, whole numbers and a column for the names."""
_UNITS = (("G", 1e9), ("M", 1e6), ("k", 1e3))


def layers_as_dict(network: Network, fitted: Mapping[str, Fit] | None, per_activation: int = 1) -> dict[str, Any]:
    """Return the model's numbers, its input, its layers with all that is known of them, and the sums."""
    facts, sources = layer_facts(network, fitted, per_activation), network.sources
    return {
        "model": {
            "opset": int(sources["opset"]) if "opset" in sources else None,
            "input_type": sources.get("input_type"),
            "weight_type": sources.get("weight_type"),
        },
        "input": {"name": network.input_name, "shape": list(network.input_shape)},
        "layers": [asdict(one) for one in facts],
        "parameters": sum(one.parameters for one in facts),
        "neurons": _sum_of_neurons(facts),
    }


def print_layers(network: Network, fitted: Mapping[str, Fit] | None, per_activation: int = 1) -> None:
    """Print one row per layer, as wide as the terminal is, and what the columns mean."""
    facts, screen = layer_facts(network, fitted, per_activation), console()
    wide = screen.width >= _WIDE
    number = _whole if wide else _short
    screen.print(_header(network))
    headings: dict[str, Any] = {"layer": FOLDED, "name": FOLDED} if wide else {"layer": FOLDED}
    headings.update({"output shape" if wide else "output": WHOLE, "parameters": NUMBER})
    headings.update({"multiply-adds": {"justify": "right"}, "neurons": NUMBER, "when": WHOLE})
    table = table_of(headings) if wide else table_of(headings, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    before = network.input_name
    names = ["input", escape(before)]
    table.add_row(*(names if wide else ["\n".join(names)]), _shape(network.input_shape, wide), "", "", "", "")
    for one in facts:
        reads = "" if list(one.inputs) == [before] else f"reads {escape(', '.join(one.inputs))}"
        names = [escape(_kind(one)), "\n".join(filter(None, (escape(one.name), reads)))]
        table.add_row(
            *(names if wide else ["\n".join(names)]),
            _shape(one.shape, wide),
            number(one.parameters) if one.parameters else "",
            number(one.multiply_adds) if one.multiply_adds else "",
            "fitted" if one.neurons is None else number(one.neurons) if one.neurons else "",
            one.role,
        )
        before = one.name
    screen.print(table)
    neurons = _sum_of_neurons(facts)
    counted = "neurons not known before functions are fitted" if neurons is None else f"{neurons:,} neurons"
    stays = " or stays as it is" if any(one.operators is not None for one in facts) else ""
    screen.print(f"{sum(one.parameters for one in facts):,} parameters, {counted}; every node can be converted{stays}")
    screen.print("when: " + "; ".join(f"{role}: {what}" for role, what in ROLES.items()))
    for line in _of_functions(facts):
        screen.print(escape(line))


def _sum_of_neurons(facts: Sequence[LayerFacts]) -> int | None:
    """Return how many neurons there are, None if a function is not fitted yet."""
    found = [one.neurons for one in facts if one.neurons is not None]
    return sum(found) if len(found) == len(facts) else None


def _header(network: Network) -> str:
    sources = network.sources
    if "opset" not in sources:
        return "archive of snnrepro, written before it kept the model's operator set and types"
    weights = sources["weight_type"]
    return f"ONNX operator set {sources['opset']}, input {sources['input_type']}, {weights or 'no'} weights"


def _kind(one: LayerFacts) -> str:
    """Return a layer's kind with its window."""
    parts = [one.layer if one.kernel is None else f"{one.layer} {'×'.join(map(str, one.kernel))}"]
    if one.strides is not None and set(one.strides) != {1}:
        same = len(set(one.strides)) == 1
        parts.append(f"stride {one.strides[0] if same else '×'.join(map(str, one.strides))}")
    if one.groups is not None and one.groups > 1:
        parts.append(f"{one.groups} groups")
    if one.operators is not None:
        parts += one.operators
    if one.rectifiers is not None:
        parts.append(f"{one.rectifiers} rectifiers, error {one.error_percent:.2g} %")
    return ", ".join(parts)


def _of_functions(facts: Sequence[LayerFacts]) -> list[str]:
    """Return a line for every formula: what becomes of it."""
    lines = []
    for formula, number in Counter(one.formula for one in facts if one.formula is not None).items():
        inside = "from the means of what it reads" if is_algebraic(formula) else "as rectifiers fitted to it"
        lines.append(f"{formula} ({number} layers): at the output as it is, inside {inside}")
    if any(one.neurons is None for one in facts):
        lines.append("fitted: functions become rectifiers on calibration images; with --calibration they are counted")
    return lines


def _shape(shape: Sequence[int], wide: bool) -> str:
    return (" × " if wide else "×").join(map(str, shape))


def _whole(number: int) -> str:
    return f"{number:,}"


def _short(number: int) -> str:
    """Return a number with three digits and its unit.

    Examples
    --------
    >>> [_short(number) for number in (0, 999, 1234, 56_789, 999_900, 123_456_789)]
    ['0', '999', '1.23k', '56.8k', '1.00M', '123M']
    """
    for unit, size in _UNITS:
        if number >= 0.9995 * size:
            scaled = number / size
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f}{unit}"
    return str(number)
