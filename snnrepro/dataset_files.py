"""Data sets as their authors give them: files of IDX bytes, CIFAR's batches, npz archives."""

from __future__ import annotations

import gzip
import io
import math
import pickle
import struct
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.errors import DataError, one_line
from snnrepro.files import opened_npz, read_array

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, ByteArray, IntArray

PARTS = ("x_train", "y_train", "x_test", "y_test")
"""Images and labels, in training and test set, by the names that an npz archive has them under."""
_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
_CIFAR = (3, 32, 32)
"""Shape of an image in CIFAR's files."""


def read_npz(path: Path) -> dict[str, AnyArray]:
    """Return the arrays of an npz archive that has `PARTS`."""
    with opened_npz(path) as archive:
        names = [Path(name).stem for name in archive.namelist()]
        missing = [name for name in PARTS if name not in names]
        if missing:
            raise DataError(f"{path}: {', '.join(missing)} missing; it holds {', '.join(names) or 'nothing'}")
        return {name: read_array(archive, name) for name in PARTS}


def read_idx_folder(folder: Path) -> dict[str, AnyArray]:
    """Return the arrays of a folder with the four IDX files of MNIST, plain or ``.gz``."""
    return {part: _read_idx(folder, name) for part, name in zip(PARTS, _IDX)}


def _read_idx(folder: Path, name: str) -> AnyArray:
    """Read one IDX file (http://yann.lecun.com/exdb/mnist/): two zeros, type 8 = uint8, axes, sizes, then the bytes."""
    path = folder / name
    packed = folder / f"{name}.gz"
    try:
        content = gzip.decompress(packed.read_bytes()) if packed.exists() and not path.exists() else path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{folder}: {name} (or {name}.gz) is missing") from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{packed}: not a readable gzip file ({one_line(error)})") from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or len(content) < 4 + 4 * content[3]:
        raise DataError(f"{path}: not an IDX file of bytes (it begins with {content[:4].hex() or 'nothing'})")
    shape = struct.unpack(f">{content[3]}I", content[4 : 4 + 4 * content[3]])
    body = content[4 + 4 * content[3] :]
    expected = math.prod(shape)
    if len(body) != expected:
        raise DataError(f"{path}: truncated or too long; {expected} bytes are declared, it has {len(body)}")
    return np.frombuffer(body, np.uint8).reshape(shape)


def read_cifar(path: Path) -> dict[str, AnyArray]:
    """Return the arrays of CIFAR-10's batches: a folder of them, pickled or ``.bin``, or their ``.tar.gz``."""
    batches = _batches_of_folder(path) if path.is_dir() else _batches_of_tar(path)
    missing = [name for name in _BATCHES if name not in batches]
    if missing:
        raise DataError(f"{path}: {', '.join(missing)} missing (CIFAR-10's batches, or the same with .bin)")
    read = [_batch(batches[name], f"{path}: {name}") for name in _BATCHES]
    x, y = (np.concatenate(arrays) for arrays in zip(*read[:-1]))
    return dict(zip(PARTS, (x, y, *read[-1])))


def _batches_of_folder(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.stem in _BATCHES}


def _batches_of_tar(path: Path) -> dict[str, bytes]:
    try:
        with tarfile.open(path) as archive:
            found = {PurePosixPath(member.name).stem: member for member in archive if member.isfile()}
            return {
                name: member.read()
                for name, member in ((name, archive.extractfile(found[name])) for name in _BATCHES if name in found)
                if member is not None
            }
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{path}: not a readable tar archive ({one_line(error)})") from error


def _batch(content: bytes, where: str) -> tuple[ByteArray, IntArray]:
    """Return images, channels last, and labels of a batch: pickled, or a byte of the label before each image's."""
    size = math.prod(_CIFAR)
    try:
        if content[:1] == b"\x80":  # a pickle says its protocol; no label is 128
            found = _Arrays(io.BytesIO(content), encoding="bytes").load()
            images, labels = np.asarray(found[b"data"]), np.asarray(found[b"labels"])
        else:
            rows = np.frombuffer(content, np.uint8).reshape(-1, 1 + size)
            images, labels = rows[:, 1:], rows[:, 0]
        images = images.reshape(-1, *_CIFAR).transpose(0, 2, 3, 1)
    except Exception as error:  # what a damaged pickle raises is anything
        raise DataError(f"{where}: not a batch of CIFAR-10 ({one_line(error)})") from error
    return np.ascontiguousarray(images), labels


class _Arrays(pickle.Unpickler):
    """Reads pickles of arrays, and of nothing that could run code."""

    _NEEDED = (
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("_codecs", "encode"),
    )

    def find_class(self, module: str, name: str) -> Any:
        """Return what makes an array."""
        if (module, name) not in self._NEEDED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        if name == "_reconstruct":
            return np.zeros(0).__reduce__()[0]  # NumPy moved it; so it is found in every version
        return super().find_class(module, name)
