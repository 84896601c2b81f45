"""Images part by part: however many there are, only a part of them is held, and each is checked before it is used."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

from snnrepro.arrays import forget
from snnrepro.inputs import checked_images, require_shape
from snnrepro.spiking.images import looked_at
from snnrepro.user_images import at_once, batches

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray

MOST_NUMBERS = 2**24
"""Numbers of a part (64 MB): less than what simulators hold beside it."""


@dataclass(frozen=True)
class Part:
    """Some of the images.

    Attributes
    ----------
    images : numpy.ndarray
        float32, ``(n_images, *input_shape)``, checked.
    share : float
        Of all there are; 0 where nobody knows how many will come.
    """

    images: FloatArray
    share: float


def in_parts(given: Any, input_shape: tuple[int, ...], most_numbers: int | None = None) -> Iterator[Part]:
    """Yield the images in parts; at least one part, if it is an empty one.

    Parameters
    ----------
    given : Any
        As `SpikingNetwork.run` takes it; of what can be cut (an array, a mapped file, an HDF5 data set) slices are
        read, and what gives images one after the other is asked for no more than a part.
    input_shape : tuple of int
        Of one image.
    most_numbers : int, optional
        That a part has, if it has more than one image; `MOST_NUMBERS` if left out.

    Raises
    ------
    DataError
        They are no images of this shape, or not finite: the first is named, when its part is reached.

    Examples
    --------
    >>> import numpy as np
    >>> from snnrepro.spiking.parts import in_parts
    >>> parts = in_parts(np.ones((5, 3), np.uint8), (3,), most_numbers=6)
    >>> [(part.images.shape, part.share) for part in parts]
    [((2, 3), 0.4), ((2, 3), 0.4), ((1, 3), 0.2)]
    """
    size = max(1, (most_numbers or MOST_NUMBERS) // max(1, math.prod(input_shape)))
    there = at_once(given, input_shape)
    if there is None:
        yield from _of_batches(given, input_shape, size)
        return
    images = there[0] if _can_be_cut(there[0]) else checked_images(there[0], input_shape)
    shape = tuple(images.shape)
    if not shape or shape[0] <= size:
        yield Part(checked_images(images, input_shape), 1.0)
        return
    require_shape(shape, input_shape)
    yield from _of_array(images, input_shape, size)


def sample(given: Any, first: Part) -> FloatArray:
    """Return a few images that show what all are like, float32, ``(n_images, *input_shape)``.

    Parameters
    ----------
    given : Any
        As `in_parts` takes it: of what can be cut, they are evenly spread, and need not be finite.
    first : Part
        The first of its parts, which shows it where nothing can be cut.
    """
    images: Any = (at_once(given, first.images.shape[1:]) or (None, None))[0]
    if first.share == 1 or not _can_be_cut(images):
        return first.images
    few = []
    with np.errstate(over="ignore"):
        for place in looked_at(len(images)):
            few.append(np.array(images[place : place + 1], np.float32))
            forget(images)  # with an image the system maps a lot of what lies around it
    return np.concatenate(few)


def _can_be_cut(images: Any) -> bool:
    return all(hasattr(images, name) for name in ("shape", "dtype", "__getitem__"))


def _of_array(images: Any, input_shape: tuple[int, ...], size: int) -> Iterator[Part]:
    n_images = int(images.shape[0])
    for start in range(0, n_images, size):
        part = checked_images(images[start : start + size], input_shape, start)
        yield Part(part, len(part) / n_images)
        forget(images)


def _of_batches(given: Any, input_shape: tuple[int, ...], size: int) -> Iterator[Part]:
    n_items, since = _length(given), 0
    n_images, held = 0, [np.empty((0, *input_shape), np.float32)]

    def cut() -> Iterator[Part]:
        images = np.concatenate(held)
        share = since / n_items if n_items else 0.0
        for start in range(0, len(images), size):
            part = images[start : start + size]
            yield Part(part, share * len(part) / len(images))

    for batch, _ in batches(given, input_shape):
        images = checked_images(batch, input_shape, n_images)
        since, n_images = since + 1, n_images + len(images)
        held.append(images.copy() if np.may_share_memory(images, batch) else images)  # many fill one array again
        if sum(map(len, held)) >= size:
            yield from cut()
            since, held = 0, held[:1]
    if n_images:
        yield from cut()
    else:  # nothing but empty batches
        yield Part(held[0], 1.0)


def _length(given: Any) -> int | None:
    """Return how many batches will come, or None."""
    try:
        return len(given)
    except TypeError:  # a generator; a tf.data.Dataset that does not know it or never ends
        return None
