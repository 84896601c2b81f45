"""MNIST, Fashion-MNIST and CIFAR-10: inside the package, the user's own files, or Keras's cache and download."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Callable

import numpy as np

from snnrepro.dataset_files import PARTS, read_cifar, read_idx_folder, read_npz
from snnrepro.errors import DataError, DependencyError, one_line
from snnrepro.files import sha256_of

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, ByteArray, FloatArray, IntArray

ENVIRONMENT = "SNNREPRO_MNIST"
FULL_MNIST = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"
"""SHA-256 over the four arrays of the full MNIST (see `_content`), whatever file they came in."""

INSIDE = Path(__file__).parent / "data" / "mnist.npz"
"""The full MNIST; ``README.md`` beside it names authors and licence."""
KERAS = "keras"
"""What stands for Keras's cache and download in the place of a path."""

_DOWNLOAD_TIMEOUT = 15  # seconds without an answer before the download counts as impossible


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images of ten classes with their labels.

    Attributes
    ----------
    x_train, x_test : numpy.ndarray
        uint8, ``(n_images, 28, 28)``, of CIFAR-10 ``(n_images, 32, 32, 3)``.
    y_train, y_test : numpy.ndarray
        int64, ``(n_images,)``, 0 to 9.
    source : str
        Where they come from, in words.
    sha256 : str
        Of the file (of the arrays' bytes, where there is no single file).
    is_full : bool or None
        Whether these are the 60,000 and 10,000 images of MNIST, byte for byte; None for another set.
    """

    x_train: ByteArray
    y_train: IntArray
    x_test: ByteArray
    y_test: IntArray
    source: str
    sha256: str
    is_full: bool | None

    def describe(self) -> str:
        """Return the source and the counts in one line."""
        kind = {True: ", full MNIST", False: ", not the full MNIST", None: ""}[self.is_full]
        return f"{self.source} ({len(self.x_train):,} train / {len(self.x_test):,} test{kind})"


@dataclass(frozen=True)
class _Kind:
    """A data set: the shape of its images, what reads its own files, what Keras calls it and keeps where.

    `files` names what is accepted, `otherwise` a way without Keras, `packed` how files end that `read` takes too.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[Path], dict[str, AnyArray]]
    files: str
    module: str
    cached: tuple[str, ...]
    otherwise: str
    packed: tuple[str, ...] = ()


_MNIST = _Kind(
    "MNIST",
    (28, 28),
    read_idx_folder,
    "an mnist.npz or a folder of IDX files",
    "mnist",
    ("mnist.npz",),
    "without --data keras, the MNIST inside the package is taken",
)
_FASHION_MNIST = _Kind(
    "Fashion-MNIST",
    (28, 28),
    read_idx_folder,
    "a folder of its IDX files or an npz",
    "fashion_mnist",
    ("fashion-mnist",),
    "give the folder of its four IDX files (https://github.com/zalandoresearch/fashion-mnist)",
)
_CIFAR10 = _Kind(
    "CIFAR-10",
    (32, 32, 3),
    read_cifar,
    "a folder of its batches, their .tar.gz or an npz",
    "cifar10",
    # Keras 3, Keras 2; where an archive of that name lies in the way, the folder gets another.
    (
        "cifar-10-batches-py-target/cifar-10-batches-py",
        "cifar-10-batches-py-target_extracted/cifar-10-batches-py",
        "cifar-10-batches-py",
        "cifar-10-batches-py.tar.gz",
    ),
    "give the folder of its batches or their .tar.gz (https://www.cs.toronto.edu/~kriz/cifar.html)",
    (".tar.gz", ".tgz", ".tar"),
)


def pixels(images: ByteArray) -> FloatArray:
    """Return images as a network reads them: float32 in [0, 1], ``(n_images, height, width, channels)``."""
    scaled = images.astype(np.float32).reshape(*images.shape, *[1] * (4 - images.ndim))
    scaled /= np.float32(255)
    return scaled


def load_mnist(path: str | Path | None = None) -> Dataset:
    """Load MNIST: the full set inside the package, unless another source is named.

    A source that is missing or damaged is an error, not a reason to take another.

    Parameters
    ----------
    path : str or Path, optional
        An ``mnist.npz`` with ``x_train``, ``y_train``, ``x_test``, ``y_test``; a folder of the four IDX files (plain
        or ``.gz``); or "keras": the file in Keras's cache, which Keras downloads if it is not there. If left out, what
        the environment variable ``SNNREPRO_MNIST`` names, and without it the file inside the package.

    Returns
    -------
    Dataset
        With its source and hash.

    Raises
    ------
    DataError
        The source is missing, truncated, or its arrays are not images and labels.

    Examples
    --------
    >>> from snnrepro.datasets import load_mnist
    >>> load_mnist().describe()
    'MNIST inside snnrepro (60,000 train / 10,000 test, full MNIST)'
    """
    source = path or os.environ.get(ENVIRONMENT)
    if not source:
        return replace(_read(_MNIST, INSIDE), source="MNIST inside snnrepro")
    return _load(_MNIST, source)


def load_fashion_mnist(path: str | Path = KERAS) -> Dataset:
    """Load Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): clothes in the format of MNIST.

    Parameters
    ----------
    path : str or Path
        A folder of the four IDX files (plain or ``.gz``), an npz with ``x_train``, ``y_train``, ``x_test``,
        ``y_test``, or "keras": what is in Keras's cache, which Keras downloads if it is not there.

    Returns
    -------
    Dataset
        With its source and hash.

    Raises
    ------
    DataError
        The source is missing, truncated, or its arrays are not images and labels.

    Examples
    --------
    >>> from snnrepro.datasets import load_fashion_mnist, pixels
    >>> x = pixels(load_fashion_mnist("fashion").x_train)  # doctest: +SKIP
    """
    return _load(_FASHION_MNIST, path)


def load_cifar10(path: str | Path = KERAS) -> Dataset:
    """Load CIFAR-10 (Krizhevsky 2009): colour images of 32 by 32 pixels.

    Parameters
    ----------
    path : str or Path
        The folder of its batches (``cifar-10-batches-py`` or ``-bin``) or their ``.tar.gz``, an npz with ``x_train``,
        ``y_train``, ``x_test``, ``y_test`` (channels last), or "keras": what is in Keras's cache, which Keras
        downloads if it is not there. Of pickled batches nothing is read but arrays: no code in them runs.

    Returns
    -------
    Dataset
        With its source and hash.

    Raises
    ------
    DataError
        The source is missing, truncated, or its arrays are not images and labels.

    Examples
    --------
    >>> from snnrepro.datasets import load_cifar10, pixels
    >>> x = pixels(load_cifar10("cifar-10-python.tar.gz").x_train)  # doctest: +SKIP
    """
    return _load(_CIFAR10, path)


def source_of(path: str | Path | None = None) -> str | None:
    """Return what another process must be told to load the same MNIST: a whole path, "keras", or None."""
    source = path or os.environ.get(ENVIRONMENT)
    return os.path.abspath(source) if source and str(source) != KERAS else source and KERAS


def _load(kind: _Kind, source: str | Path) -> Dataset:
    return _of_keras(kind) if str(source) == KERAS else _read(kind, Path(source))


def _read(kind: _Kind, path: Path, origin: str = "file") -> Dataset:
    if path.is_dir():
        return _checked(kind, kind.read(path), f"{origin} {path.name}", str(path), None)
    if not path.exists():
        raise DataError(f"{path}: no such file; {kind.files} is needed")
    read = kind.read if path.name.endswith(kind.packed) else read_npz
    return _checked(kind, read(path), f"{origin} {path.name}", str(path), sha256_of(path))


def _checked(kind: _Kind, arrays: dict[str, AnyArray], source: str, where: str, sha256: str | None) -> Dataset:
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if x.dtype != np.uint8 or x.shape[1:] != kind.shape or not len(x):
            shape = ", ".join(map(str, ("n_images", *kind.shape)))
            raise DataError(f"{where}: x_{part} must be uint8 ({shape}), got {x.dtype} {x.shape}")
        y = y.reshape(-1) if y.shape == (len(x), 1) else y  # as Keras has CIFAR's
        if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
            raise DataError(f"{where}: y_{part} must be {len(x)} integers, got {y.dtype} {y.shape}")
        if y.min() < 0 or y.max() > 9:
            raise DataError(f"{where}: the labels y_{part} must lie from 0 to 9, got {y.min()} to {y.max()}")
        arrays[f"y_{part}"] = y.astype(np.int64)
    content = _content(arrays)
    is_full = content == FULL_MNIST if kind is _MNIST else None
    return Dataset(**arrays, source=source, sha256=sha256 or content, is_full=is_full)


def _content(arrays: dict[str, AnyArray]) -> str:
    """SHA-256 over the arrays' bytes, labels as one byte each: the same whatever the container."""
    digest = hashlib.sha256()
    for name in PARTS:
        digest.update(arrays[name].astype(np.uint8).tobytes())
    return digest.hexdigest()


def _of_keras(kind: _Kind) -> Dataset:
    """Return what Keras has in its cache, downloaded if need be."""
    cache = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"

    def cached() -> Path | None:
        return next((cache / name for name in kind.cached if (cache / name).exists()), None)

    found = cached()
    if found is not None:
        return _read(kind, found, "Keras cache")
    problem = _download(kind.module)
    found = cached()
    if found is None:
        raise DataError(
            f"no {kind.name} of Keras: none is cached in {cache / kind.cached[0]}, and the download failed "
            f"({problem or 'no file came'}); {kind.otherwise}"
        )
    return _read(kind, found, "Keras download")


def _download(module: str) -> str | None:
    """Have Keras download a data set into its cache; return why it could not be, or None."""
    try:
        from snnrepro.frameworks.tensorflow import import_tensorflow

        tf = import_tensorflow()
    except DependencyError as error:
        return str(error)
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            getattr(tf.keras.datasets, module).load_data()
    except Exception as error:  # Keras raises a bare Exception where the network is missing
        return one_line(error)
    finally:
        socket.setdefaulttimeout(timeout)
    return None
