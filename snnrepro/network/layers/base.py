"""What every layer is: fields that are checked when it is built, an output shape, and a value."""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Callable, ClassVar, NoReturn

import numpy as np

from snnrepro.arrays import frozen
from snnrepro.errors import ModelError
from snnrepro.network.padding import LARGEST, Shape

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray


class FieldError(ModelError, ValueError):
    """A layer cannot be built of what it is given."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of a trained network: immutable data.

    A class checks its fields in ``__post_init__`` with the methods below, which also keep an array as read-only
    float32 in C order and whole numbers as a tuple. Its rule of shapes is `_shape`, its value `__call__`.
    """

    reads_several: ClassVar[bool] = False
    """Whether it reads one or more values, not exactly one."""

    def __call__(self, *args: Any, **kwargs: Any) -> FloatArray:
        """Return the layer's value, float32, ``(n_images, *shape)``, for those that it reads, batch axis first."""
        raise NotImplementedError(f"{type(self).__name__} has no value")

    def _shape(self, *args: Any, **kwargs: Any) -> Shape:
        """Return the output's shape for those that the layer reads, or refuse them; here it is the same."""
        shape: Shape = args[0]
        return shape

    def output_shape(self, *shapes: Shape, name: str | None = None) -> Shape:
        """Return the shape of the layer's value for the shapes that it reads, without the batch axis.

        Parameters
        ----------
        *shapes : tuple of int
            The shapes it reads, without the batch axis.
        name : str or None
            The node's name, for the message.

        Raises
        ------
        ModelError
            The layer cannot take these shapes.
        """
        try:
            if not shapes or (len(shapes) > 1 and not self.reads_several):
                raise ModelError(f"{'at least ' if self.reads_several else ''}one input is needed, got {len(shapes)}")
            shape = self._shape(*shapes)
            if any(size < 1 for size in shape):
                raise ModelError(f"{shapes[0]} leaves nothing: the result would be {shape}")
            if math.prod(shape) > LARGEST:
                raise ModelError(f"the result {shape} has more than {LARGEST} numbers for one image")
        except ModelError as error:
            where = type(self).__name__ + ("" if name is None else f" {name!r}")
            raise ModelError(f"{where}: {error}") from error
        return shape

    def _refuse(self, field: str, accepted: str) -> NoReturn:
        value = getattr(self, field)
        given = f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else reprlib.repr(value)
        raise FieldError(f"{field} of {type(self).__name__} is {given}; accepted is {accepted}")

    def _keep(self, field: str, value: Any) -> None:
        object.__setattr__(self, field, value)

    def _check_array(self, field: str, accepted: str, fits: Callable[[Shape], bool] = lambda shape: True) -> None:
        """Keep an array of finite numbers whose shape fits."""
        value = getattr(self, field)
        try:
            with np.errstate(over="ignore"):
                array = frozen(value)
        except (TypeError, ValueError):  # text, lists of different lengths
            self._refuse(field, accepted)
        is_number = np.asarray(value).dtype.kind in "biuf"  # which digits as text and None are not
        self._keep(field, array if is_number else value)
        if not is_number or not array.size or not fits(array.shape):
            self._refuse(field, accepted)
        if not np.isfinite(array).all():
            raise FieldError(f"{field} of {type(self).__name__} hold NaN or infinite numbers; accepted are finite ones")

    def _check_bias(self, size: int) -> None:
        self._check_array("bias", f"an array of shape {(size,)}, one number per output", lambda shape: shape == (size,))

    def _check_whole(self, field: str, least: int, n: int | None = None) -> None:
        """Keep a tuple of whole numbers: `n` of them, or any number of them."""
        numbers = whole_numbers(getattr(self, field), least)
        if numbers is None or n not in (None, len(numbers)):
            many = "" if n is None else f"{n} "
            self._refuse(field, f"a tuple of {many}whole numbers of at least {least} and no more than {LARGEST}")
        self._keep(field, numbers)

    def _check_integer(self, field: str, least: int) -> None:
        numbers = whole_numbers((getattr(self, field),), least)
        if numbers is None:
            self._refuse(field, f"a whole number of at least {least} and no more than {LARGEST}")
        self._keep(field, numbers[0])

    def _check_pads(self, field: str, n: int | None = None, least: int = -LARGEST) -> None:
        """Keep pairs of whole numbers: `n` of them, or any number of them."""
        pairs = getattr(self, field)
        pads = [whole_numbers(pair, least) or () for pair in pairs] if isinstance(pairs, (tuple, list)) else None
        if pads is None or n not in (None, len(pads)) or any(len(pair) != 2 for pair in pads):
            many = "" if n is None else f"{n} "
            numbers = f"of at least {least} and no more than {LARGEST}"
            self._refuse(field, f"a tuple of {many}pairs (before, after) of whole numbers {numbers}, one per axis")
        self._keep(field, tuple(pads))

    def _check_number(self, field: str, above: float = -math.inf) -> None:
        """Keep a number that is finite in float32."""
        value = getattr(self, field)
        with np.errstate(over="ignore"):
            is_number = isinstance(value, Real) and not isinstance(value, bool) and np.isfinite(np.float32(value))
        if not is_number or not np.float32(value) > above:
            self._refuse(field, "a finite number" + (f" above {above:g}" if math.isfinite(above) else ""))
        self._keep(field, value if type(value) in (int, float) else float(value))


class OverAxes(Layer):
    """A layer that runs over whole axes; without the batch axis, as everywhere."""

    axes: tuple[int, ...]

    def _check_axes(self) -> None:
        axes = whole_numbers(self.axes, 0)
        if not axes or len(set(axes)) < len(axes):
            self._refuse("axes", "a tuple of axes from 0 on, without the batch axis, at least one and each once")
        self._keep("axes", axes)

    def _check_within(self, shape: Shape) -> None:
        if max(self.axes) >= len(shape):
            raise ModelError(f"axes {self.axes} of {shape}")


def whole_numbers(values: Any, least: int) -> tuple[int, ...] | None:
    """Return whole numbers from `least` to `LARGEST` as a tuple, or None if they are not that."""
    if not isinstance(values, (tuple, list)):
        return None
    if not all(type(value) is int for value in values):  # a tuple of millions of Python's own is kept as it is
        if not all(isinstance(value, Integral) and not isinstance(value, bool) for value in values):
            return None
        values = [int(value) for value in values]
    if values and not least <= min(values) <= max(values) <= LARGEST:
        return None
    return tuple(values)
