"""Files: written whole or not at all, hashed, and arrays read out of npz archives without pickle."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Iterator

import numpy as np

from snnrepro.errors import DataError, one_line

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray


@contextlib.contextmanager
def written_whole(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a binary file beside `path` that takes its place only if the block ends without an exception.

    Parameters
    ----------
    path : str or Path
        The file to write; its folder is made if it is missing.

    Yields
    ------
    file object
        Open for writing bytes.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=str(target.parent), prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(beside, 0o666 & ~umask)  # mkstemp makes it private; an ordinary file is as readable as others
        os.replace(beside, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        raise


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


UNREADABLE = (OSError, EOFError, NotImplementedError, zipfile.BadZipFile)
"""What zipfile raises where a file is no zip archive, or a damaged one."""


@contextlib.contextmanager
def opened_npz(path: str | Path) -> Iterator[zipfile.ZipFile]:
    """Open an npz file for `read_array`.

    Raises
    ------
    DataError
        It cannot be opened, or the block finds an array missing or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (*UNREADABLE, KeyError, ValueError, MemoryError) as error:
        raise DataError(f"{path} cannot be read: not a readable npz archive ({one_line(error)})") from error


# What numpy writes before an array's bytes; an object, a structure or anything to be evaluated does not fit.
_NPY = re.compile(
    r"\{'descr': '([<>|=]?[a-zA-Z][0-9]{0,4})', 'fortran_order': (True|False), 'shape': \(([0-9L, ]*)\),? *\}\s*"
)
_NPY_HEADER = 4096  # bytes; numpy's own is 128


def read_array(archive: zipfile.ZipFile, name: str) -> AnyArray:
    """Return one array of an opened npz archive; nothing is allocated that the member does not hold.

    Parameters
    ----------
    archive : zipfile.ZipFile
        The opened npz file.
    name : str
        The array's name, without ``.npy``.

    Raises
    ------
    KeyError
        There is no such array.
    ValueError
        It is damaged, holds objects, or does not have the bytes that its header declares.
    """
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"compressed by method {info.compress_type}; only stored or deflated arrays are read")
    try:
        with archive.open(info) as file:
            dtype, in_fortran_order, shape, offset = _npy_header(file)
            n_bytes = dtype.itemsize * math.prod(shape)
            if n_bytes != info.file_size - offset:
                raise ValueError(
                    f"its header declares {dtype} {shape}, {n_bytes} bytes; it has {info.file_size - offset}"
                )
            content = file.read()
    except (zlib.error, RuntimeError, *UNREADABLE) as error:  # RuntimeError: encrypted
        raise ValueError(str(error)) from error
    if len(content) != n_bytes:
        raise ValueError(f"{len(content)} bytes, its header declares {n_bytes}")
    array: AnyArray = np.frombuffer(content, dtype).reshape(shape, order="F" if in_fortran_order else "C")
    return array


def _npy_header(file: IO[bytes]) -> tuple[Any, bool, tuple[int, ...], int]:
    """Return type, whether it is in Fortran order, shape, and where the array's bytes begin."""
    start = file.read(12)
    major = start[6] if len(start) == 12 and start[:6] == b"\x93NUMPY" else 0
    if major not in (1, 2, 3):
        raise ValueError("not an npy array")
    offset = 10 if major == 1 else 12
    length = int.from_bytes(start[8:offset], "little")
    if length > _NPY_HEADER:
        raise ValueError(f"its header has {length} bytes, at most {_NPY_HEADER} are accepted")
    header = start[offset:] + file.read(length - (12 - offset))
    match = _NPY.fullmatch(header.decode("latin-1"))
    if match is None:
        raise ValueError(f"its header does not describe a plain array (objects are not read): {header[:80]!r}")
    sizes = [size.strip().rstrip("L") for size in match.group(3).split(",") if size.strip()]
    if len(sizes) > 32 or any(not size.isdigit() or len(size) > 18 for size in sizes):
        raise ValueError(f"its header declares a shape that no array has: ({match.group(3)[:80]})")
    dtype = np.dtype(match.group(1))
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError(f"type {dtype} cannot be read")
    return dtype, match.group(2) == "True", tuple(int(size) for size in sizes), offset + length
