"""MNIST and its sources: the file inside the package, the user's own, or Keras's cache and download."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import math
import os
import socket
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snnrepro.errors import DataError, DependencyError, one_line
from snnrepro.files import opened_npz, read_array, sha256_of

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
_IDX_FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


@dataclass(frozen=True, eq=False)
class Mnist:
    """Images and labels of handwritten digits.

    Attributes
    ----------
    x_train, x_test : numpy.ndarray
        uint8, ``(n_images, 28, 28)``.
    y_train, y_test : numpy.ndarray
        int64, ``(n_images,)``, 0 to 9.
    source : str
        Where they come from, in words.
    sha256 : str
        Of the file (of the arrays' bytes, where there is no single file).
    is_full : bool
        Whether these are the 60,000 and 10,000 images of MNIST, byte for byte.
    """

    x_train: ByteArray
    y_train: IntArray
    x_test: ByteArray
    y_test: IntArray
    source: str
    sha256: str
    is_full: bool

    def describe(self) -> str:
        """Return the source and the counts in one line."""
        kind = "full MNIST" if self.is_full else "not the full MNIST"
        return f"{self.source} ({len(self.x_train):,} train / {len(self.x_test):,} test, {kind})"


def pixels(images: ByteArray) -> FloatArray:
    """Return images as a network reads them: float32 in [0, 1], ``(n_images, 28, 28, 1)``."""
    scaled = images.astype(np.float32)[..., np.newaxis]
    scaled /= np.float32(255)
    return scaled


def load_mnist(path: str | Path | None = None) -> Mnist:
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
    Mnist
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
        return replace(read_mnist(INSIDE), source="MNIST inside snnrepro")
    return _of_keras() if str(source) == KERAS else read_mnist(Path(source))


def source_of(path: str | Path | None = None) -> str | None:
    """Return what another process must be told to load the same: a whole path, "keras", or None."""
    source = path or os.environ.get(ENVIRONMENT)
    return os.path.abspath(source) if source and str(source) != KERAS else source and KERAS


def read_mnist(path: Path, origin: str = "file") -> Mnist:
    """Read an ``mnist.npz`` or a folder of IDX files; parameters, result and errors as `load_mnist`."""
    if path.is_dir():
        arrays = {name: _read_idx(path, file) for name, file in _IDX_FILES.items()}
        return _checked(arrays, f"{origin} {path.name}", str(path), None)
    if not path.exists():
        raise DataError(f"{path}: no such file; an mnist.npz or a folder of IDX files is needed")
    with opened_npz(path) as archive:
        names = [Path(name).stem for name in archive.namelist()]
        missing = [name for name in _IDX_FILES if name not in names]
        if missing:
            raise DataError(f"{path}: {', '.join(missing)} missing; it holds {', '.join(names) or 'nothing'}")
        arrays = {name: read_array(archive, name) for name in _IDX_FILES}
    return _checked(arrays, f"{origin} {path.name}", str(path), sha256_of(path))


def _checked(arrays: dict[str, AnyArray], source: str, where: str, sha256: str | None) -> Mnist:
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if x.dtype != np.uint8 or x.ndim != 3 or x.shape[1:] != (28, 28) or not len(x):
            raise DataError(f"{where}: x_{part} must be uint8 (n_images, 28, 28), got {x.dtype} {x.shape}")
        if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
            raise DataError(f"{where}: y_{part} must be {len(x)} integers, got {y.dtype} {y.shape}")
        if y.min() < 0 or y.max() > 9:
            raise DataError(f"{where}: the labels y_{part} must lie from 0 to 9, got {y.min()} to {y.max()}")
    content = _content(arrays)
    labels = {name: arrays[name].astype(np.int64) for name in ("y_train", "y_test")}
    return Mnist(**{**arrays, **labels}, source=source, sha256=sha256 or content, is_full=content == FULL_MNIST)


def _content(arrays: dict[str, AnyArray]) -> str:
    """SHA-256 over the arrays' bytes, labels as one byte each: the same whatever the container."""
    digest = hashlib.sha256()
    for name in _IDX_FILES:
        digest.update(arrays[name].astype(np.uint8).tobytes())
    return digest.hexdigest()


def _read_idx(folder: Path, name: str) -> AnyArray:
    """Read one IDX file (http://yann.lecun.com/exdb/mnist/): two zeros, type 8 = uint8, axes, sizes, then the bytes."""
    path = folder / name
    packed = folder / f"{name}.gz"
    try:
        content = gzip.decompress(packed.read_bytes()) if packed.exists() and not path.exists() else path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{folder}: {name} (or {name}.gz) is missing") from error
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{packed}: not a readable gzip file ({one_line(error)})") from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or len(content) < 4 + 4 * content[3]:
        raise DataError(f"{path}: not an IDX file of bytes (it begins with {content[:4].hex() or 'nothing'})")
    shape = struct.unpack(f">{content[3]}I", content[4 : 4 + 4 * content[3]])
    body = content[4 + 4 * content[3] :]
    expected = math.prod(shape)
    if len(body) != expected:
        raise DataError(f"{path}: truncated or too long; {expected} bytes are declared, it has {len(body)}")
    return np.frombuffer(body, np.uint8).reshape(shape)


def _of_keras() -> Mnist:
    """Return what Keras has in its cache, downloaded if need be."""
    cached = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets" / "mnist.npz"
    if cached.exists():
        return read_mnist(cached, "Keras cache")
    problem = _download()
    if not cached.exists():
        raise DataError(
            f"no MNIST of Keras: none is cached in {cached}, and the download failed ({problem or 'no file came'}); "
            "without --data keras, the MNIST inside the package is taken"
        )
    return read_mnist(cached, "Keras download")


def _download() -> str | None:
    """Have Keras download MNIST into its cache; return why it could not be, or None."""
    try:
        from snnrepro.frameworks.tensorflow import import_tensorflow

        tf = import_tensorflow()
    except DependencyError as error:
        return str(error)
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            tf.keras.datasets.mnist.load_data()
    except Exception as error:  # Keras raises a bare Exception where the network is missing
        return one_line(error)
    finally:
        socket.setdefaulttimeout(timeout)
    return None
