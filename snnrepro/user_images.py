"""Images and labels in the forms that people have them in: files, folders, pairs, batches one after the other."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, Iterator, NamedTuple, Sequence

import numpy as np

from snnrepro.errors import DataError, DependencyError, one_line
from snnrepro.files import opened_npz, read_array
from snnrepro.inputs import numbers

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray

NAMES = {
    "train": (("x", "y"), ("x_train", "y_train"), ("images", "labels"), ("arr_0", "arr_1"), ("x_test", "y_test")),
    "test": (("x", "y"), ("x_test", "y_test"), ("images", "labels"), ("arr_0", "arr_1"), ("x_train", "y_train")),
}
"""The names of images and labels in an npz file, the first that are there."""

IMAGE_FILES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

MOST_NUMBERS = 2**28
"""Numbers taken of what gives images one after the other (1 GB as float32): it may never end."""

_IN_PARTS = "give it in parts (itertools.islice, Dataset.take), or as a file that is mapped (.npy)"
_WHAT_TO_WRITE = "write them with numpy.savez(path, x=images, y=labels)"


class FolderImages:
    """Image files as an array ``(n_images, ...)`` of which only the slices that are asked for are read.

    Parameters
    ----------
    files : sequence of Path
        The images, in this order.

    Attributes
    ----------
    shape : tuple of int
        ``(n_images, ...)``; the first image says of what size they are.
    dtype : numpy.dtype
        Of the first image.

    Raises
    ------
    DataError
        A file is no image, or of another size: when it is read.
    DependencyError
        scikit-image is missing.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        first = _read_image(files[0])
        self.shape, self.dtype = (len(files), *first.shape), first.dtype

    @property
    def ndim(self) -> int:
        """How many axes there are, that of the images included."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, some: slice) -> AnyArray:
        images = [np.empty((0, *self.shape[1:]), self.dtype)]
        for file in self._files[some]:
            image = _read_image(file)
            if image.shape != self.shape[1:]:
                raise DataError(
                    f"{file}: all images must have one size; this one is {image.shape}, others {self.shape[1:]}"
                )
            images.append(image[np.newaxis])
        return np.concatenate(images)

    def __array__(self, *options: Any, **more: Any) -> AnyArray:
        return np.asarray(self[:], *options)


def read_images(path: Path, part: str = "test") -> tuple[Any, AnyArray | None]:
    """Return the images of a file or folder, ``(n_images, ...)``, and their labels, or None where there are none.

    Parameters
    ----------
    path : Path
        An npz file whose arrays have names of `NAMES`; an npy file of images alone, which is mapped, not read; or a
        folder with one folder of image files for each class, which are read as slices of them are asked for (see
        `FolderImages`), and whose labels count the folders in the order of their names, from 0 on.
    part : str
        "train" or "test": which of both is taken where a file holds both.

    Raises
    ------
    DataError
        It is missing, damaged, or holds no images: the message says what it holds.
    DependencyError
        Image files are to be read and scikit-image is missing.
    """
    x: Any
    y: AnyArray | None
    if path.is_dir():
        x, y = _of_folder(path)
    elif not path.is_file():
        raise DataError(f"{path}: no such file; images in an .npz or .npy file or in a folder of classes are needed")
    elif path.suffix == ".npy":
        x, y = _of_npy(path), None
    else:
        x, y = _of_npz(path, part)
    if x.dtype.kind not in "fiub" or x.ndim < 2 or not len(x):
        raise DataError(f"{path}: images must be numbers (n_images, ...), got {x.dtype} {x.shape}")
    if y is not None and y.ndim and len(y) != len(x):
        raise DataError(f"{path}: it has {len(x)} images and {len(y)} labels")
    return x, y


class Apart(NamedTuple):
    """Images that neurons are fitted on, others that a conversion is judged on, and the labels of both or None."""

    fitted: AnyArray
    fitted_labels: AnyArray | None
    judged: AnyArray
    judged_labels: AnyArray | None


def apart(x: Any, y: Any, most_fitted: int, most_judged: int) -> Apart:
    """Return images that fit neurons and others that judge, drawn by lot: half of them or so many.

    Parameters
    ----------
    x : array_like
        ``(n_images, ...)``; of more images than are needed, some evenly spread are taken.
    y : array_like or None
        Labels.
    most_fitted, most_judged : int
        How many of either are enough.

    Raises
    ------
    DataError
        There are fewer than two images.
    """
    step = max(1, -(-len(x) // (most_fitted + most_judged)))
    images, labels = np.asarray(x[::step]), None if y is None else np.asarray(y[::step])
    if len(images) < 2:
        raise DataError("one image cannot both fit neurons and judge them: more images are needed")
    fitted = np.zeros(len(images), bool)
    drawn = np.random.RandomState(0).permutation(len(images))  # every other one may be of every other class
    fitted[drawn[: min(most_fitted, len(images) // 2)]] = True
    parts = (images[fitted], images[~fitted])
    of_parts = (None, None) if labels is None else (labels[fitted], labels[~fitted])
    return Apart(parts[0], of_parts[0], parts[1], of_parts[1])


def is_one_set(path: Path) -> bool:
    """Return whether `read_images` gives the same images for both parts: all but an npz file that holds both."""
    if path.suffix == ".npy" or not path.is_file():
        return True
    with opened_npz(path) as archive:
        held = {name[: -len(".npy")] for name in archive.namelist()}
    first, second = (next((images for images, _ in NAMES[part] if images in held), None) for part in ("train", "test"))
    return first == second


def gathered(given: Any, input_shape: tuple[int, ...], most: int | None = None) -> tuple[Any, Any]:
    """Return images and labels (or None) of what was given for them.

    Parameters
    ----------
    given : Any
        Images; a pair of images and labels, as a tuple or a list; or what gives images, pairs, or batches of either one
        after the other: a ``tf.data.Dataset``, a PyTorch DataLoader, a generator.
    input_shape : tuple of int
        Of one image: it tells an image from a batch.
    most : int, optional
        Of what gives one after the other, so many images are enough: it is asked for no more. Default: all are taken.

    Raises
    ------
    DataError
        It gives nothing, more than `MOST_NUMBERS` numbers, or what cannot be put together.
    """
    there = at_once(given, input_shape)
    if there is not None:
        return there
    kind = type(given).__name__
    images, labels = [], []
    total = 0
    for batch, wanted in batches(given, input_shape):
        images.append(batch)
        labels.append(wanted)
        total += len(batch)
        if total * math.prod(input_shape) > MOST_NUMBERS:
            most_taken = total - len(batch)
            raise DataError(f"this {kind} gives more than {most_taken} images, too many for one call; {_IN_PARTS}")
        if most is not None and total >= most:
            break
    try:
        x = np.concatenate(images)
        return x, None if labels[0] is None else np.concatenate([one for one in labels if one is not None])
    except ValueError as error:
        raise DataError(f"what this {kind} gives cannot be put together: {one_line(error)}") from error


def at_once(given: Any, input_shape: tuple[int, ...]) -> tuple[Any, Any] | None:
    """Return images and labels (or None) that are there at once; None if they are given one after the other."""
    if isinstance(given, tuple) and len(given) == 2:
        return given
    if isinstance(given, list) and len(given) == 2 and _are_images_and_labels(given[0], given[1], input_shape):
        return given[0], given[1]
    if isinstance(given, (list, np.ndarray)) or not isinstance(given, Iterable) or hasattr(given, "__array__"):
        return given, None
    if isinstance(given, (str, bytes, dict)):
        raise DataError(f"images must be numbers, got {type(given).__name__}")
    return None


def batches(given: Iterable[Any], input_shape: tuple[int, ...]) -> Iterator[tuple[AnyArray, AnyArray | None]]:
    """Yield the batches ``(n_images, ...)`` that are given one after the other, and their labels or None.

    A single image is a batch of one. Parameters and errors as `gathered`.
    """
    as_numpy = getattr(given, "as_numpy_iterator", None)
    is_empty = True
    for item in given if as_numpy is None else as_numpy():
        is_empty = False
        pair = item if isinstance(item, (tuple, list)) and len(item) == 2 else (item, None)
        batch, wanted = numbers(pair[0], "images"), None if pair[1] is None else numbers(pair[1], "labels")
        if batch.ndim not in (len(input_shape), len(input_shape) + 1):
            kind = type(given).__name__
            raise DataError(f"images {input_shape} or batches of them are needed, this {kind} gives {batch.shape}")
        if batch.ndim == len(input_shape):  # a single image
            batch, wanted = batch[np.newaxis], None if wanted is None else wanted[np.newaxis]
        yield batch, wanted
    if is_empty:
        raise DataError(f"images are needed, and this {type(given).__name__} gives none")


def _are_images_and_labels(images: Any, labels: Any, input_shape: tuple[int, ...]) -> bool:
    try:
        shapes = np.shape(images), np.shape(labels)
    except ValueError:  # lists of unlike lengths
        return False
    return bool(shapes[0][1:] == tuple(input_shape) and shapes[1][:1] == shapes[0][:1])


def _of_npy(path: Path) -> AnyArray:
    try:
        array: AnyArray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a readable npy file ({one_line(error)})") from error
    return array


def _of_npz(path: Path, part: str) -> tuple[AnyArray, AnyArray | None]:
    with opened_npz(path) as archive:
        held = [name[: -len(".npy")] for name in archive.namelist() if name.endswith(".npy")]
        for images, labels in NAMES[part]:
            if images in held:
                return read_array(archive, images), read_array(archive, labels) if labels in held else None
    names = ", ".join(dict.fromkeys(name for pair in NAMES[part] for name in pair))
    raise DataError(f"{path}: it holds {', '.join(held) or 'nothing'}, and none of {names}; {_WHAT_TO_WRITE}")


def _of_folder(path: Path) -> tuple[FolderImages, AnyArray]:
    classes = sorted(folder for folder in path.iterdir() if folder.is_dir())
    files = [
        (file, label)
        for label, folder in enumerate(classes)
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in IMAGE_FILES
    ]
    if not files:
        held = ", ".join(sorted(entry.name for entry in path.iterdir())[:5]) or "nothing"
        raise DataError(
            f"{path}: a folder of image files ({', '.join(IMAGE_FILES)}) per class is needed; it holds {held}"
        )
    return FolderImages([file for file, _ in files]), np.array([label for _, label in files])


def _read_image(file: Path) -> AnyArray:
    try:
        from skimage.io import imread
    except ImportError as error:
        raise DependencyError("scikit-image is not installed; run: pip install scikit-image") from error
    try:
        with file.open("rb") as opened:  # its readers leave a file open that they cannot read
            return np.asarray(imread(opened))
    except Exception as error:  # whatever the readers of many formats raise
        raise DataError(f"{file}: not a readable image ({one_line(error)})") from error
