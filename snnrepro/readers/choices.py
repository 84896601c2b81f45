"""What is chosen of a model before it is read: the sizes of free axes, the output, inputs that are constants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Iterable, Mapping

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.inputs import numbers
from snnrepro.network.padding import LARGEST

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray

FREE = -1
"""Stands for the size of an axis that a choice leaves as the model declares it."""

_MOST = 8  # names that a message lists


@dataclass(frozen=True)
class Choices:
    """What is chosen of a model; nothing, if left out.

    Attributes
    ----------
    shapes : mapping
        The sizes of inputs' axes by name, the batch first; that of the only input has an empty name.
    outputs : tuple of str
        The values that are computed: outputs of the model, or any inner ones; none, if its own are.
    constants : mapping
        The values of inputs by name.
    """

    shapes: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    constants: Mapping[str, AnyArray]

    def __bool__(self) -> bool:
        return bool(self.shapes or self.outputs or self.constants)

    def refused_for(self, what: str) -> None:
        """Refuse any choice for what was read before."""
        if self:
            raise ModelError(
                f"{what} takes no shapes, outputs or constants: they are chosen when the model is read for the first "
                "time, from its .onnx file or from Keras"
            )


NOTHING = Choices({}, (), {})


def choices(shapes: Any = None, outputs: Any = None, constants: Any = None) -> Choices:
    """Return what is chosen of a model, checked as far as it can be without the model.

    Parameters
    ----------
    shapes : mapping, sequence of int or None
        The shapes of inputs by name, or that of the only input.
    outputs : str, sequence of str or None
        The names of the values to compute.
    constants : mapping or None
        Numbers or arrays by the name of an input.

    Raises
    ------
    ModelError, DataError
        They are no shapes, names or numbers.

    Examples
    --------
    >>> choices((None, 3, 64, 64), ["logits"]).shapes
    {'': (-1, 3, 64, 64)}
    >>> choices(outputs=["boxes", "boxes"])
    Traceback (most recent call last):
    snnrepro.errors.ModelError: outputs are chosen by name, each once; got 'boxes', 'boxes'
    """
    by_name = shapes if isinstance(shapes, Mapping) else {} if shapes is None else {"": shapes}
    if constants is not None and not isinstance(constants, Mapping):
        raise ModelError(f"constants are numbers or arrays by the name of an input, got {type(constants).__name__}")
    return Choices(
        {_name(name): _sizes(sizes) for name, sizes in by_name.items()},
        _outputs(outputs),
        {_name(name): numbers(value, f"the constant {name!r}") for name, value in (constants or {}).items()},
    )


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise ModelError(f"an input is named by a str, got {type(name).__name__}")
    return name


def _outputs(outputs: Any) -> tuple[str, ...]:
    if outputs is None:
        return ()
    if isinstance(outputs, str):
        return (outputs,)
    if not isinstance(outputs, (list, tuple)) or not all(isinstance(name, str) for name in outputs):
        raise ModelError(f"an output is chosen by its name, got {type(outputs).__name__}")
    if not outputs or len(set(outputs)) < len(outputs):
        raise ModelError(f"outputs are chosen by name, each once; got {listed(outputs)}")
    return tuple(outputs)


def _sizes(sizes: Any) -> tuple[int, ...]:
    if isinstance(sizes, (list, tuple)) and sizes:
        found = tuple(FREE if size is None else size for size in sizes)
        if all(_is_size(size) for size in found):
            return tuple(map(int, found))
    raise ModelError(
        f"a shape is one whole number from 1 on for each axis, the batch first, as (1, 3, 64, 64), {FREE} or None for "
        f"an axis as the model declares it; got {sizes if isinstance(sizes, (list, tuple)) else type(sizes).__name__}"
    )


def _is_size(size: Any) -> bool:
    whole = isinstance(size, (int, np.integer)) and not isinstance(size, bool)
    return whole and (size == FREE or 1 <= size <= LARGEST)


def listed(names: Iterable[str]) -> str:
    """Return the first names for a message, none at length."""
    names = list(names)
    shown = ", ".join(repr(name if len(name) <= 80 else f"{name[:40]}...{name[-37:]}") for name in names[:_MOST])
    return (shown or "none") + (f" and {len(names) - _MOST} more" if len(names) > _MOST else "")


def near(name: str, known: Iterable[str]) -> str:
    """Return the known names that are most like one, or all, for a message."""
    known = sorted(filter(None, known))
    alike = get_close_matches(name, known, n=5)
    return f"near: {listed(alike)}" if alike else f"there are: {listed(known)}"


def sized(name: str, declared: tuple[int | None, ...] | None, given: tuple[int, ...]) -> tuple[int | None, ...]:
    """Return the sizes of an input's axes with those that are given; None is free.

    Parameters
    ----------
    name : str
        Of the input.
    declared : tuple of (int or None) or None
        What the model says; None if it says nothing.
    given : tuple of int
        What is chosen.

    Raises
    ------
    ModelError
        They contradict each other.
    """
    declared = (None,) * len(given) if declared is None else declared
    fits = len(declared) == len(given) and all(
        FREE in (size, one) or size == one for size, one in zip((one or FREE for one in declared), given)
    )
    if not fits:
        raise ModelError(
            f"input {name!r}: the shape {written(given)} is chosen, the model declares {written(declared)}"
        )
    return tuple(size or (None if one == FREE else one) for size, one in zip(declared, given))


def written(sizes: Iterable[int | None]) -> str:
    """Return sizes for a message."""
    return "(" + ", ".join("?" if size in (None, FREE) else str(size) for size in sizes) + ")"


def filled(name: str, value: AnyArray, dtype: np.dtype[Any], declared: tuple[int | None, ...] | None) -> AnyArray:
    """Return the value of an input that becomes a constant, of the type and shape that the model declares.

    One number fills the shape, a list is given it; axes that are free are then of size 1.

    Parameters
    ----------
    name : str
        Of the input.
    value : numpy.ndarray
        What is given.
    dtype : numpy.dtype
        The declared type.
    declared : tuple of (int or None) or None
        The declared shape.

    Raises
    ------
    ModelError
        It does not fit the shape, or the type cannot hold it.
    """
    where = f"the constant {name!r}"
    with np.errstate(all="ignore"):
        cast = value.astype(dtype)
    if dtype.kind != "f" and not np.array_equal(cast, value):
        raise ModelError(f"{where}: the model declares {dtype.name}, which does not hold {value.reshape(-1)[:3]}")
    if declared is None:
        return cast
    shape = tuple(size or 1 for size in declared)
    if len(shape) == cast.ndim and all(size in (None, one) for size, one in zip(declared, cast.shape)):
        return cast
    if cast.size == 1 and math.prod(shape) <= LARGEST:
        return np.full(shape, cast.reshape(()))
    if cast.ndim == 1 and cast.size == math.prod(shape):
        return cast.reshape(shape)
    raise ModelError(f"{where} has the shape {cast.shape}, the model declares {written(declared)}")
