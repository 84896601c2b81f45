"""Means and maxima: over windows, or over whole axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.network.layers.base import Layer, OverAxes
from snnrepro.network.padding import Pads, Shape, padded, window, windows

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class _Pool(Layer):
    """What layers over windows have in common."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads

    def __post_init__(self) -> None:
        self._check_whole("kernel", 1)
        if not self.kernel:
            self._refuse("kernel", "at least one whole number, one per spatial axis")
        self._check_whole("strides", 1, len(self.kernel))
        self._check_whole("dilations", 1, len(self.kernel))
        self._check_pads("pads", len(self.kernel), least=0)

    def _shape(self, shape: Shape) -> Shape:
        if len(shape) != len(self.kernel) + 1:
            raise ModelError(
                f"kernel {self.kernel}, strides {self.strides}, dilations {self.dilations} and pads {self.pads} "
                f"do not fit {shape[1:]}"
            )
        return (shape[0], *map(window, shape[1:], self.kernel, self.strides, self.dilations, self.pads))

    def _windows(self, x: FloatArray) -> FloatArray:
        return windows(x, self.kernel, self.strides, self.dilations)

    @property
    def _inside(self) -> tuple[int, ...]:
        """The axes of `_windows` that run over a window."""
        return tuple(range(-len(self.kernel), 0))


@dataclass(frozen=True, eq=False)
class MaxPool(_Pool):
    """Maximum over windows; padding never wins.

    Attributes
    ----------
    kernel, strides, dilations : tuple of int
        One per spatial axis.
    pads : tuple of (int, int)
        Rows before and after.
    """

    def __call__(self, x: FloatArray) -> FloatArray:
        largest: FloatArray = self._windows(padded(x, self.pads, -np.inf)).max(axis=self._inside)
        return largest


@dataclass(frozen=True, eq=False)
class AveragePool(_Pool):
    """Mean over windows; fields as `MaxPool`, and one more.

    Attributes
    ----------
    counted : tuple of (int, int)
        How many zeros of the pads count in the mean's denominator: all, none, or (with ONNX's ceil_mode, whose extra
        rows never count) the declared ones.
    """

    counted: Pads

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_pads("counted", len(self.kernel), least=0)
        if any(some > every for pairs in zip(self.counted, self.pads) for some, every in zip(*pairs)):
            self._refuse("counted", f"no more than the pads {self.pads} on each side")

    def __call__(self, x: FloatArray) -> FloatArray:
        mean: FloatArray = self._windows(padded(x, self.pads, 0.0)).sum(axis=self._inside) / self.counts(x.shape[2:])
        return mean

    def counts(self, space: Shape) -> FloatArray:
        """Return how many numbers each window's mean is of, ``(1, 1, *windows)``, for a value of this size in space."""
        counted = padded(np.ones((1, 1, *space), np.float32), self.counted, 1.0)
        rest: Pads = tuple((b - c, a - d) for (b, a), (c, d) in zip(self.pads, self.counted))
        counts: FloatArray = self._windows(padded(counted, rest, 0.0)).sum(axis=self._inside)
        return counts


_FEW = 4
"""Numbers of an axis whose mean is taken entry by entry."""


@dataclass(frozen=True, eq=False)
class Reduce(OverAxes):
    """Mean or maximum over whole axes, which stay as axes of size 1.

    Attributes
    ----------
    kind : str
        "mean" or "max".
    axes : tuple of int
        Without the batch axis.
    """

    kind: str
    axes: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.kind not in ("mean", "max"):
            self._refuse("kind", "'mean' or 'max'")
        self._check_axes()

    def _shape(self, shape: Shape) -> Shape:
        self._check_within(shape)
        return tuple(1 if axis in self.axes else size for axis, size in enumerate(shape))

    def __call__(self, x: FloatArray) -> FloatArray:
        axes = tuple(axis + 1 for axis in self.axes)
        if self.kind == "max":
            largest: FloatArray = x.max(axis=axes, keepdims=True)
            return largest
        if len(axes) == 1 and x.shape[axes[0]] <= _FEW:  # NumPy takes five times as long for it
            parts = np.split(x, x.shape[axes[0]], axis=axes[0])
            return sum(parts[1:], parts[0]) / np.float32(len(parts))
        mean: FloatArray = x.mean(axis=axes, keepdims=True)
        return mean
