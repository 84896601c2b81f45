"""What an array is in this package: read-only float32 in C order for weights, plain NumPy everywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # numpy.typing came with NumPy 1.20; the thesis's stack has 1.19
    import numpy.typing as npt

    AnyArray = npt.NDArray[Any]
    FloatArray = npt.NDArray[np.float32]
    IntArray = npt.NDArray[np.int64]
    ByteArray = npt.NDArray[np.uint8]


def frozen(values: Any) -> FloatArray:
    """Return a read-only float32 copy of `values` in C order, bit for bit where they are float32 already.

    Parameters
    ----------
    values : array_like
        Weights of any shape.

    Returns
    -------
    numpy.ndarray
        float32, C order, ``writeable`` false.
    """
    array = np.array(values, dtype=np.float32, order="C", copy=True)
    array.setflags(write=False)
    return array
