"""A network's layers, and a verification of them, on a terminal."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from snnrepro.network.graph import Network, Node
    from snnrepro.verification import Verification


def layers_as_dict(network: Network) -> dict[str, Any]:
    """Return input, layers with their output shapes and numbers of parameters, and the total."""
    layers = [
        {
            "name": node.name,
            "layer": type(node.layer).__name__,
            "inputs": list(node.inputs),
            "shape": list(network.shapes[node.name]),
            "parameters": _parameters(node),
        }
        for node in network.nodes
    ]
    return {
        "input": {"name": network.input_name, "shape": list(network.input_shape)},
        "layers": layers,
        "parameters": sum(_parameters(node) for node in network.nodes),
    }


def print_layers(network: Network, console: Console) -> None:
    """Print one row a layer: name, kind, what it reads, output shape, parameters."""
    table = Table()
    table.add_column("layer", no_wrap=True)
    for heading in ("name", "reads"):
        table.add_column(heading, overflow="fold")
    table.add_column("output shape", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_row("input", escape(network.input_name), "", _shape(network.input_shape), "")
    for node in network.nodes:
        row = (escape(node.name), escape(", ".join(node.inputs)), _shape(network.shapes[node.name]))
        table.add_row(type(node.layer).__name__, *row, f"{_parameters(node):,}")
    console.print(table)
    console.print(f"{sum(_parameters(node) for node in network.nodes):,} parameters; every node can be converted")


def print_verification(found: Verification, console: Console) -> None:
    """Print one row a comparison, and the first layer that differs."""
    table = Table()
    for heading in ("hop", "layer"):
        table.add_column(heading, overflow="fold")
    for heading in ("max error", "relative", "Pearson r"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for one in found.comparisons:
        verdict = "[green]agrees[/green]" if one.agrees else "[bold red]differs[/bold red]"
        numbers = (f"{one.max_error:.2g}", f"{one.relative_error:.2g}", f"{one.pearson:.6f}")
        table.add_row(one.hop, escape(one.layer), *numbers, verdict)
    console.print(table)
    first = found.first_difference
    if first is None:
        console.print(f"[bold green]all {len(found.comparisons)} comparisons agree[/bold green]")
    else:
        console.print(f"[bold red]the first difference: {escape(first.layer)} ({first.hop})[/bold red]")


def _parameters(node: Node) -> int:
    values = (getattr(node.layer, field.name) for field in fields(node.layer))
    return sum(value.size for value in values if isinstance(value, np.ndarray))


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
