"""Files: written whole or not at all, hashed, and arrays read out of npz archives without pickle."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Iterator

import numpy as np

if TYPE_CHECKING:
    import zipfile

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


def read_array(archive: zipfile.ZipFile, name: str) -> AnyArray:
    """Return one array of an opened npz archive; pickled objects are refused.

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
    ValueError, zipfile.BadZipFile, EOFError
        It is damaged, or holds objects.
    """
    with archive.open(f"{name}.npy") as file:
        array: AnyArray = np.lib.format.read_array(file, allow_pickle=False)
    return array
