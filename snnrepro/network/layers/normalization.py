"""Values divided by how large they are together: what layer, group and instance normalisation compute at run time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnrepro.network.layers.base import OverAxes
from snnrepro.network.padding import Shape

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class Normalize(OverAxes):
    """A value over its own mean size: ``y = d / sqrt(mean(d ** 2) + epsilon)``, ``d = x - mean(x)`` or `x` itself.

    The scale and the offset that a trained normalisation has behind it are an `Affine`. Where all is 0, it gives 0.

    In the spiking network its mean over the steps is what it gives for the mean of its inputs.

    Attributes
    ----------
    axes : tuple of int
        Those that the means run over, without the batch axis.
    epsilon : float
        Added to the mean.
    centred : bool
        Whether the mean is taken off first: a layer normalisation; without it, a root mean square normalisation.
    order : int
        2 as above; 1 for ``y = d / (mean(abs(d)) + epsilon)``.

    Examples
    --------
    >>> import numpy as np
    >>> from snnrepro.network.layers import Normalize
    >>> Normalize((0,), 0.0)(np.array([[1.0, 3.0], [5.0, 5.0]], np.float32))
    array([[-1.,  1.],
           [ 0.,  0.]], dtype=float32)
    """

    axes: tuple[int, ...]
    epsilon: float = 1e-5
    centred: bool = True
    order: int = 2

    def __post_init__(self) -> None:
        self._check_axes()
        self._check_number("epsilon")
        if self.epsilon < 0:
            self._refuse("epsilon", "a finite number from 0 on")
        if not isinstance(self.centred, bool):
            self._refuse("centred", "True or False")
        self._check_integer("order", 1)
        if self.order > 2:
            self._refuse("order", "1 or 2")

    def _shape(self, shape: Shape) -> Shape:
        self._check_within(shape)
        return shape

    def __call__(self, x: FloatArray) -> FloatArray:
        axes = tuple(axis + 1 for axis in self.axes)
        rest = x - x.mean(axis=axes, keepdims=True) if self.centred else x
        epsilon = np.float32(self.epsilon)
        if self.order == 1:
            size = np.abs(rest).mean(axis=axes, keepdims=True) + epsilon
        else:
            size = np.sqrt((rest * rest).mean(axis=axes, keepdims=True) + epsilon)
        normalized: FloatArray = np.divide(rest, size, out=np.zeros_like(rest), where=size > 0)
        return normalized
