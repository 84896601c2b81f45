"""Images and labels as users hand them in, or one sentence on what is wrong with them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.errors import DataError, one_line

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray, IntArray


def checked_images(x: Any, input_shape: tuple[int, ...], first: int = 0) -> FloatArray:
    """Return images as float32 in C order, ``(n_images, *input_shape)``.

    Parameters
    ----------
    x : array_like
        Numbers, ``(n_images, *input_shape)``; none of them NaN or infinite.
    input_shape : tuple of int
        Of one image.
    first : int
        Which image of the whole `x` begins with, where it is a part: an error names its images as those of the whole.

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
    try:
        array = _as_array(x)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"an array of {array.dtype}")
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused below
            images: FloatArray = np.asarray(array, dtype=np.float32, order="C")
    except (TypeError, ValueError) as error:
        expected = _batch_of(input_shape)
        raise DataError(f"images must be numbers {expected}, got {type(x).__name__}: {one_line(error)}") from error
    require_shape(images.shape, input_shape)
    if not _are_finite(images):
        image, *place = map(int, np.argwhere(~np.isfinite(images))[0])
        number = images[(image, *place)]
        raise DataError(
            f"image {first + image} holds {number} at {tuple(place)}; "
            "numbers that are neither NaN nor infinite are needed"
        )
    return images


def require_shape(shape: tuple[int, ...], input_shape: tuple[int, ...]) -> None:
    """Refuse a batch whose images are not of `input_shape`."""
    if shape[1:] != tuple(input_shape) or len(shape) != len(input_shape) + 1:
        raise DataError(f"the network's input is {_batch_of(input_shape)}, got {shape}")


def checked_labels(labels: Any, n_images: int, n_classes: int, space: tuple[int, ...] = ()) -> IntArray:
    """Return labels as int64, ``(n_images, *space)``.

    Parameters
    ----------
    labels : array_like
        Whole numbers from 0 to `n_classes` - 1, in whatever type: ``(n_images, *space)``, with one more axis of size 1,
        or one-hot, ``(n_images, *space, n_classes)``.
    n_images, n_classes : int
        How many images and how many classes there are.
    space : tuple of int
        What has a label in an image: nothing but the image itself if left out.

    Raises
    ------
    DataError
        They are not as many, no whole numbers, or one names no class: the first is named.

    Examples
    --------
    >>> from snnrepro.inputs import checked_labels
    >>> checked_labels([[0, 0, 1], [1, 0, 0]], 2, n_classes=3)
    array([2, 0])
    >>> checked_labels([0, 3, 1], 3, n_classes=3)
    Traceback (most recent call last):
    snnrepro.errors.DataError: label 1 is 3; the network has 3 classes, 0 to 2
    """
    array, expected = numbers(labels, "labels"), (n_images, *space)
    if array.shape == (*expected, n_classes) and _is_one_hot(array):
        return np.asarray(array.argmax(axis=-1), np.int64)
    if array.shape == (*expected, 1):
        array = array[..., 0]
    if array.shape != expected:
        raise DataError(
            f"labels must be whole numbers {expected}, or one-hot {(*expected, n_classes)}, got {array.shape}"
        )
    with np.errstate(invalid="ignore"):
        wrong = np.argwhere((array != np.floor(array)) | (array < 0) | (array >= n_classes) | ~np.isfinite(array))
    if len(wrong):
        place = tuple(map(int, wrong[0]))
        where = place[0] if not space else place
        raise DataError(f"label {where} is {array[place]}; the network has {n_classes} classes, 0 to {n_classes - 1}")
    return array.astype(np.int64)


def checked_values(values: Any, n_images: int, shape: tuple[int, ...]) -> FloatArray:
    """Return the values that a network should give, as float32, ``(n_images, *shape)``.

    Parameters
    ----------
    values : array_like
        As many finite numbers; axes of size 1 may be left out.
    n_images : int
        How many images there are.
    shape : tuple of int
        Of one image's values.

    Raises
    ------
    DataError
        They are no numbers, not as many, or not finite: the first is named.
    """
    array = numbers(values, "values")

    def long_axes(sizes: tuple[int, ...]) -> list[int]:
        return [size for size in sizes if size != 1]

    if array.shape[:1] != (n_images,) or long_axes(array.shape[1:]) != long_axes(shape):
        raise DataError(f"the network gives values {(n_images, *shape)}, and those given beside are {array.shape}")
    result: FloatArray = array.reshape(n_images, *shape).astype(np.float32)
    if not np.isfinite(result).all():
        image, *place = map(int, np.argwhere(~np.isfinite(result))[0])
        raise DataError(f"the value of image {image} at {tuple(place)} is {result[(image, *place)]}, no finite number")
    return result


def numbers(given: Any, what: str) -> AnyArray:
    """Return numbers or booleans as an array, or refuse what is none."""
    try:
        array = _as_array(given)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} must be numbers, got {type(given).__name__}: {one_line(error)}") from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what} must be numbers, got an array of {array.dtype} {array.shape}")
    return array.astype(np.uint8) if array.dtype.kind == "b" else array


def _batch_of(input_shape: tuple[int, ...]) -> str:
    """Return the shape of a batch in words."""
    return f"(n_images, {', '.join(map(str, input_shape))})"


def _are_finite(images: FloatArray) -> bool:
    """Say whether no number is NaN or infinite; each is looked at only where their sum does not show it.

    Not a matrix product: BLAS's threads would go on waiting for the next one, and take the simulator's cores.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        total = images.sum()  # large finite numbers can overflow it
    return bool(np.isfinite(total) or np.isfinite(images).all())


def _as_array(given: Any) -> AnyArray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy before 1.24 makes objects of lists of unlike lengths, and warns
        return np.asarray(given)


def _is_one_hot(array: AnyArray) -> bool:
    return array.shape[-1] > 1 and bool((((array == 0) | (array == 1)).all()) and (array.sum(axis=-1) == 1).all())
