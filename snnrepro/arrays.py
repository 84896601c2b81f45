"""What an array is in this package: read-only float32 in C order for weights, plain NumPy everywhere else."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # numpy.typing came with NumPy 1.20; the thesis's stack has 1.19
    import numpy.typing as npt

    AnyArray = npt.NDArray[Any]
    FloatArray = npt.NDArray[np.float32]
    IntArray = npt.NDArray[np.int64]
    Int32Array = npt.NDArray[np.int32]
    ByteArray = npt.NDArray[np.uint8]
    WordArray = npt.NDArray[np.unsignedinteger[Any]]


def frozen(values: Any) -> FloatArray:
    """Return `values` as a read-only float32 array in C order, bit for bit where they are float32 already.

    Later writes to the caller's array do not change it: it is a copy, unless nothing could be written to `values`
    itself (a read-only array that is not a view of a writeable one).

    Parameters
    ----------
    values : array_like
        Weights of any shape.

    Returns
    -------
    numpy.ndarray
        float32, C order, ``writeable`` false.
    """
    if isinstance(values, np.ndarray) and values.dtype == np.float32 and _is_constant(values):
        return values
    array = np.array(values, dtype=np.float32, order="C", copy=True)
    array.setflags(write=False)
    return array


def constant(array: AnyArray) -> AnyArray:
    """Return a new array, to which nobody else writes, as a read-only one: `frozen` need not copy it."""
    array.setflags(write=False)
    return array


def nearest_multiple(values: AnyArray, unit: AnyArray) -> AnyArray:
    """Return the nearest multiples of `unit`; of two as near, the even one. With powers of two they are exact."""
    multiples: AnyArray = np.rint(values / unit) * unit
    return multiples


def pieces(
    x: AnyArray, numbers_per_image: int, most_numbers: int, most_images: int, even: bool = False
) -> list[AnyArray]:
    """Cut a batch of images into pieces of bounded memory; at least one piece, of at least one image if there is one.

    Parameters
    ----------
    x : numpy.ndarray
        ``(n_images, ...)``.
    numbers_per_image : int
        How many numbers the work on an image takes.
    most_numbers, most_images : int
        How many of either a piece may have.
    even : bool
        Whether the pieces are as large as each other, so that the last one is not much smaller.
    """
    size = max(1, min(most_images, most_numbers // max(1, numbers_per_image)))
    if even:
        size = -(-len(x) // max(1, -(-len(x) // size)))
    return [x[start : start + size] for start in range(0, max(1, len(x)), max(1, size))]


def forget(array: Any) -> None:
    """Give back the memory in which a file lies that was mapped read-only; where it is read again, it comes again.

    What such an array has read stays in memory until another process needs it, as if it were taken by this one.
    """
    while isinstance(array, np.ndarray) and not isinstance(array.base, mmap.mmap):
        array = array.base
    # Of any other map the system would throw away what was written to it.
    if isinstance(array, np.memmap) and array.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        mapped: Any = array.base
        mapped.madvise(mmap.MADV_DONTNEED)


def _is_constant(array: AnyArray) -> bool:
    """Whether an array is aligned, in C order, and neither it nor what it is a view of can be written to."""
    if not array.flags.c_contiguous or not array.flags.aligned or not array.dtype.isnative:
        return False
    owner: Any = array
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable:
            return False
        owner = owner.base
    return owner is None or isinstance(owner, bytes)
