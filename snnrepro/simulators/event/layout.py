"""How the neurons of a layer lie in memory here: channels last, padded to whole words of the masks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray, WordArray

_COSTS = {16: 1.5, 32: 1.0, 64: 0.95}
"""Time per lane by lanes of a vector: narrow ones have too few sums under way, wide ones too much weight in cache."""
_COSTS_OF_ONE_POSITION = {16: 1.5, 32: 1.2, 64: 1.0}
"""The same where each weight is used once per step anyway."""


@dataclass(frozen=True)
class Layout:
    """The order of a value's numbers: positions in C order, at each its channels.

    Attributes
    ----------
    shape : tuple of int
        The value's shape without the batch.
    axis : int
        Which of its axes counts channels: the first after a convolution, the last after a dense layer.
    padded : bool
        Whether channels are padded to whole words; numbers that are only read are not.
    """

    shape: tuple[int, ...]
    axis: int
    padded: bool = True

    @cached_property
    def positions(self) -> tuple[int, ...]:
        """The other axes."""
        return self.shape[: self.axis] + self.shape[self.axis + 1 :]

    @cached_property
    def n_positions(self) -> int:
        """How many positions there are."""
        return math.prod(self.positions)

    @cached_property
    def width(self) -> int:
        """How many positions a row has."""
        return self.positions[-1] if self.positions else 1

    @cached_property
    def n_rows(self) -> int:
        """How many rows there are."""
        return math.prod(self.positions[:-1])

    @cached_property
    def lanes(self) -> int:
        """Channels of a word: of 16, 32 and 64 those that waste least."""
        n = self.shape[self.axis]
        costs = _COSTS if self.n_positions > 1 else _COSTS_OF_ONE_POSITION
        return min(costs, key=lambda lanes: -(-n // lanes) * lanes * costs[lanes])

    @cached_property
    def channels(self) -> int:
        """Channels of a position, with their padding."""
        n = self.shape[self.axis]
        return -(-n // self.lanes) * self.lanes if self.padded else n

    @cached_property
    def word(self) -> np.dtype[Any]:
        """The type of a word of the masks."""
        return np.dtype(f"uint{self.lanes}")

    def masks(self, n: int, n_steps: int) -> WordArray:
        """Return room for the spikes of `n` images, ``(n, n_steps, n_positions, words of a position)``."""
        return np.empty((n, n_steps, self.n_positions, self.channels // self.lanes), self.word)

    @property
    def size(self) -> int:
        """Numbers of the layer, padding included."""
        return self.n_positions * self.channels

    def pack(self, values: AnyArray, padding: float = 0.0) -> FloatArray:
        """Return values ``(..., *shape)`` in this order, ``(..., n_positions, channels)``, float32 in C order."""
        lead = values.shape[: values.ndim - len(self.shape)]
        last = values.transpose(self._moved(len(lead))).reshape(*lead, self.n_positions, self.shape[self.axis])
        if self.channels == self.shape[self.axis]:
            return np.ascontiguousarray(last, dtype=np.float32)
        padded = np.full((*lead, self.n_positions, self.channels), padding, np.float32)
        padded[..., : self.shape[self.axis]] = last
        return padded

    def unpack(self, values: FloatArray) -> FloatArray:
        """Return values in this order, ``(..., n_positions, channels)``, as ``(..., *shape)``: a view if possible."""
        lead = values.shape[:-2]
        last = values[..., : self.shape[self.axis]].reshape(*lead, *self.positions, self.shape[self.axis])
        axes = list(range(last.ndim - 1))
        axes.insert(len(lead) + self.axis, last.ndim - 1)
        return last.transpose(axes)

    def _moved(self, n_lead: int) -> list[int]:
        """Return the order of axes that moves the channels of a value behind `n_lead` other axes to its end."""
        axes = list(range(n_lead + len(self.shape)))
        axes.append(axes.pop(n_lead + self.axis))
        return axes


def layout_of(shape: tuple[int, ...], axis: int, padded: bool = True) -> Layout:
    """Return the layout of a value with channels on axis 0 or -1; a single number is one channel."""
    shape = shape or (1,)
    return Layout(shape, axis % len(shape), padded)
