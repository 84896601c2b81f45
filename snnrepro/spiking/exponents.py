"""Which power of two the weights of each output channel are multiples of: what their bits hold, and sums leave exact.

A float32 number holds every whole number up to 2**24. What a value of a step can be at most follows from the sizes of
the weights alone, whatever spikes come; times the steps it must stay within these whole numbers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.network.channels import channel_axis, collapsed, largest_of_outputs, per_axis
from snnrepro.spiking.fixed_point import LARGEST

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, IntArray
    from snnrepro.network.graph import Node
    from snnrepro.spiking.fixed_point import FixedPoint

EXACT = 2**24
"""Whole numbers up to it are exact in float32."""
FACTOR, FACTOR_BEFORE_WEIGHTS = 4095, 127
"""The largest whole number that a factor of a channel may be: what a spike stands for where it meets no weights."""
_LEAST = 7
"""Where the sums of a layer leave its largest weight a smaller whole number than this, it is refused."""
_TINY = 1e-30


class Value(NamedTuple):
    """What is known of a value: arrays of its shape.

    `scale` is how many units of the trained network 1 stands for, and 0 where the value is always 0; the value is a
    multiple of ``2.0 ** -grain``, and in a step its size is `bound` at most (None where exponents are given).
    """

    scale: AnyArray
    grain: AnyArray
    bound: AnyArray | None

    @property
    def finest(self) -> float:
        """The largest grain."""
        return float(self.grain.max())

    def steps(self, constants: AnyArray | float = 0.0, each: AnyArray | float = 0.0) -> float:
        """Return for how many steps sums of it are exact; besides it, what is there once, and in each step."""
        assert self.bound is not None
        left = EXACT * np.exp2(-self.grain) - constants
        return float((left / np.maximum(self.bound + each, _TINY)).min())


class Exponents:
    """The exponents of a network in fixed point: as given, or chosen when they are asked for.

    Parameters
    ----------
    fixed : FixedPoint
        How the network is rounded; of what is to be chosen, `exponents` may be empty.
    total : float or None
        The weights of all steps together, the last one 1: how often a value of a step adds up in a membrane; None where
        all exponents are given.

    Attributes
    ----------
    chosen : dict of str to numpy.ndarray
        As `FixedPoint.exponents`.
    spare : int
        By how many powers of two the sums of layers stay below what is exact.
    limits : dict of str to numpy.ndarray
        The largest grain of values, of their shape, where they are added up with others.
    problems : list of str
        What has too few bits.
    """

    def __init__(self, fixed: FixedPoint, total: float | None) -> None:
        self.chosen: dict[str, IntArray] = dict(fixed.exponents)
        self.total, self.spare = total, 1
        self.limits: dict[str, AnyArray] = {}
        self.problems: list[str] = []
        self._weights = fixed.weights

    def of_weights(self, node: Node, weights: AnyArray, read: Value, driven: bool) -> AnyArray:
        """Return those of a linear layer's output channels, for its weights with what a spike stands for in them."""
        layer: Any = node.layer
        if not self._is_given(node.name):
            largest, axis = largest_of_outputs(layer, np.abs(weights)), channel_axis(layer)
            largest = np.where(largest == 0, np.abs(layer.bias), largest)
            sums = of_one(in_sizes(replace(layer, weights=weights)), read.bound)
            room = _exponent(self._budget(driven), per_axis(sums, axis, np.max).reshape(-1)) - read.finest
            chosen = np.minimum(_exponent(LARGEST[self._weights], largest), room)
            self._note_few_bits(f"{type(layer).__name__} {node.name!r}", largest, chosen)
            if node.name in self.limits:
                chosen = np.minimum(chosen, per_axis(self.limits[node.name], axis, np.min).reshape(-1) - read.finest)
            self.chosen[node.name] = _whole(chosen)
        return self._of(node.name)

    def of_factor(
        self, name: str, scale: AnyArray, offset: AnyArray, read: Value, driven: bool, largest: int = FACTOR
    ) -> AnyArray:
        """Return those of a scale, no larger a whole number than `largest`, and an offset."""
        if not self._is_given(name):
            assert read.bound is not None
            sums = np.abs(scale) * read.bound + np.abs(offset)
            room = _exponent(self._budget(driven), sums) - read.grain
            chosen = np.minimum(_exponent(largest, np.abs(scale)), room)
            self._note_few_bits(f"the factors {name!r}", np.abs(scale), chosen)
            if name in self.limits:
                chosen = np.minimum(chosen, self.limits[name] - read.grain)
            same = tuple(axis for axis, size in enumerate(scale.shape) if size == 1)
            self.chosen[name] = collapsed(_whole(chosen.min(axis=same, keepdims=True)))
        return self._of(name)

    def of_rounded(self, name: str, read: Value) -> AnyArray:
        """Return those of a value that is rounded, so that it can be added up in all steps."""
        if not self._is_given(name):
            assert read.bound is not None
            exact = np.where(read.bound > 0, self.finest(read) - self.spare, np.inf)
            finest = np.minimum(per_axis(exact, 0, np.min), per_axis(read.grain, 0, np.max))
            self.chosen[name] = collapsed(_whole(finest))
        return self._of(name)

    def finest(self, value: Value, driven: bool = True) -> AnyArray:
        """Return the largest grains with which a value is exact, and half of the room is left.

        Added up in all steps, if it is `driven`: if spikes reach it.
        """
        assert self.total is not None
        assert value.bound is not None
        total = self.total if driven else 1.0
        return np.asarray(np.floor(np.log2(EXACT / 2 / np.maximum(total * value.bound, _TINY))))

    def _note_few_bits(self, what: str, largest: AnyArray, exponents: AnyArray) -> None:
        whole = np.where(largest > 0, largest * np.exp2(np.where(largest > 0, exponents, 0)), 0.0)
        if ((whole < _LEAST) & (whole != np.rint(whole))).any():
            self.problems.append(f"{what}: to be exact, its sums over all steps leave a weight less than four bits")

    def _budget(self, driven: bool) -> float:
        """Return the largest sum of a layer in a step, in units of its grain."""
        assert self.total is not None
        return float(EXACT / 2**self.spare / (self.total if driven else 1))

    def _is_given(self, name: str) -> bool:
        if self.total is None and name not in self.chosen:
            raise ModelError(f"fixed: the exponents of {name!r} are missing")
        return name in self.chosen

    def _of(self, name: str) -> AnyArray:
        return self.chosen[name].astype(np.float64)


def of_one(layer: Any, *parts: Any) -> Any:
    """Return what a layer gives for numbers of one image, 0 for a window of padding alone; None for None."""
    if parts[0] is None:
        return None
    value = np.asarray(layer(*(np.asarray(part, np.float64)[np.newaxis] for part in parts))[0], np.float64)
    return np.where(np.isfinite(value), value, 0.0)


def in_sizes(layer: Any) -> Any:
    """Return a linear layer with the sizes of its weights: of the sizes of what is read it gives the largest sums."""
    return replace(layer, weights=np.abs(layer.weights) * (1 + 1e-5), bias=np.abs(layer.bias) * (1 + 1e-5))


def _exponent(largest: float, size: AnyArray) -> AnyArray:
    """Return the largest exponents with which ``size * 2.0 ** exponent`` is at most `largest`; infinite for 0."""
    return np.where(size > 0, np.floor(np.log2(largest / np.maximum(size, _TINY))), np.inf)


def _whole(exponents: AnyArray) -> IntArray:
    """Return exponents as whole numbers; 0 for what is always 0, which any would do."""
    return np.where(np.isfinite(exponents), exponents, 0).astype(np.int64)
