"""Images and labels as users hand them in, or one sentence on what is wrong with them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.errors import DataError, one_line

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray, IntArray


def checked_images(x: Any, input_shape: tuple[int, ...]) -> FloatArray:
    """Return images as float32 in C order, ``(n_images, *input_shape)``.

    Parameters
    ----------
    x : array_like
        Numbers, ``(n_images, *input_shape)``; none of them NaN or infinite.
    input_shape : tuple of int
        Of one image.

    Raises
    ------
    DataError
        They have another shape, are no numbers, or one of them is not finite: the first is named.

    Examples
    --------
    >>> from snnrepro.inputs import checked_images
    >>> checked_images([[1, 2], [3, 4]], (2,)).dtype
    dtype('float32')
    >>> checked_images([[1.0, 2.0], [3.0, float("nan")]], (2,))
    Traceback (most recent call last):
    snnrepro.errors.DataError: image 1 holds nan at (1,); numbers that are neither NaN nor infinite are needed
    """
    expected = f"(n_images, {', '.join(map(str, input_shape))})"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy before 1.24 makes objects of lists of unlike lengths, and warns
            array = np.asarray(x)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"an array of {array.dtype}")
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused below
            images: FloatArray = np.asarray(array, dtype=np.float32, order="C")
    except (TypeError, ValueError) as error:
        raise DataError(f"images must be numbers {expected}, got {type(x).__name__}: {one_line(error)}") from error
    if images.shape[1:] != tuple(input_shape) or images.ndim != len(input_shape) + 1:
        raise DataError(f"the network's input is {expected}, got {images.shape}")
    with np.errstate(invalid="ignore"):
        finite = bool(np.isfinite(images.sum(dtype=np.float64)))  # finite float32 numbers never overflow it
    if not finite:
        image, *place = map(int, np.argwhere(~np.isfinite(images))[0])
        number = images[(image, *place)]
        raise DataError(
            f"image {image} holds {number} at {tuple(place)}; numbers that are neither NaN nor infinite are needed"
        )
    return images


def checked_labels(labels: Any, n_images: int, n_classes: int) -> IntArray:
    """Return labels as int64, ``(n_images,)``.

    Parameters
    ----------
    labels : array_like
        Whole numbers from 0 to `n_classes` - 1, one per image.
    n_images, n_classes : int
        How many images there are, and how many scores the network gives for each.

    Raises
    ------
    DataError
        They are not as many, no whole numbers, or one names no class: the first is named.

    Examples
    --------
    >>> from snnrepro.inputs import checked_labels
    >>> checked_labels([0, 3, 1], 3, n_classes=3)
    Traceback (most recent call last):
    snnrepro.errors.DataError: label 1 is 3; the network has 3 scores, so its classes are 0 to 2
    """
    array = np.asarray(labels)
    if array.shape != (n_images,) or array.dtype.kind not in "iu":
        raise DataError(f"{n_images} labels are needed, whole numbers, got {array.dtype} {array.shape}")
    if n_classes < 2:
        raise DataError(
            "the network has one score for an image, which is no class: its answers cannot be compared with labels; "
            "leave the labels out, or give it one score per class"
        )
    wrong = np.flatnonzero((array < 0) | (array >= n_classes))
    if len(wrong):
        raise DataError(
            f"label {wrong[0]} is {array[wrong[0]]}; the network has {n_classes} scores, so its classes are "
            f"0 to {n_classes - 1}"
        )
    return array.astype(np.int64)
