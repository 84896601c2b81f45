"""The options that choose what is read of a model: sizes, output, constants."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Callable, Iterable, Sequence

import click
import numpy as np

from snnrepro.errors import ModelError, one_line

_SHAPE = click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="[NAME=]1,3,64,64",
    help="Sizes of an input's axes, the batch first; -1 or ? leaves one as the model declares it.",
)
_OUTPUT = click.option(
    "--output-name",
    "outputs",
    multiple=True,
    metavar="NAME",
    help="The value to compute: an output of MODEL or any inner one; several stand side by side.",
)
_SET = click.option(
    "--set",
    "constants",
    multiple=True,
    metavar="NAME=VALUE",
    help="Make an input a constant: a number, numbers with commas, or an .npy file.",
)


def choosing(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command; it gets them as `chosen`, the keywords of `snnrepro.load`."""

    @functools.wraps(command)
    def with_choices(
        *args: Any, shapes: Sequence[str], outputs: Sequence[str], constants: Sequence[str], **others: Any
    ) -> None:
        chosen = {
            "shapes": _once("--shape", map(_shape, shapes)),
            "outputs": list(outputs) or None,
            "constants": _once("--set", map(_constant, constants)),
        }
        command(*args, chosen=chosen, **others)

    return _SHAPE(_OUTPUT(_SET(with_choices)))


def _once(option: str, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any] | None:
    """Return values by name, None where there are none; a name given twice is refused."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ModelError(f"{option}: {f'input {name!r}' if name else 'the input without a name'} is given twice")
        found[name] = value
    return found or None


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Return name and sizes; the name may be left out."""
    name, _, sizes = text.rpartition("=")
    try:
        return name, tuple(-1 if size.strip() == "?" else int(size) for size in sizes.split(","))
    except ValueError:
        raise ModelError(
            f"--shape {text}: sizes with commas are needed, as --shape 1,3,64,64 or --shape NAME=1,3,64,64"
        ) from None


def _constant(text: str) -> tuple[str, Any]:
    """Return name and value."""
    name, _, value = text.partition("=")
    if not name or not value:
        raise ModelError(f"--set {text}: a name and a value are needed, as --set NAME=1")
    if value.endswith(".npy"):
        return name, _array(Path(value))
    try:
        found = [_number(part) for part in value.split(",")]
    except ValueError:
        raise ModelError(
            f"--set {text}: a number, numbers with commas or an .npy file is needed, as --set NAME=0.5,2"
        ) from None
    return name, found[0] if len(found) == 1 else found


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _array(path: Path) -> Any:
    try:
        return np.load(str(path), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ModelError(f"{path}: not an .npy file that can be read ({one_line(error)})") from None
