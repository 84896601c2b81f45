"""Arrays laid aside until they are needed again: in memory while all of them are few, in temporary files beyond."""

from __future__ import annotations

import tempfile
from threading import Lock
from typing import TYPE_CHECKING, Any, Hashable, Iterator

import numpy as np

if TYPE_CHECKING:
    from types import TracebackType

    from snnrepro.arrays import AnyArray


class Shelf:
    """Room for arrays, which lie on trays; when it closes, all of them are gone.

    Parameters
    ----------
    room : int
        Bytes that all arrays together may have in memory. A tray's file has no name, and its own pages are no memory
        of the process.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.lock = Lock()
        self._trays: list[Tray] = []

    def tray(self) -> Tray:
        """Return an empty tray."""
        self._trays.append(Tray(self))
        return self._trays[-1]

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for tray in self._trays:
            tray.clear()


class Tray:
    """Arrays by key that are put one after the other, by several threads, and cleared together."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._held: dict[Hashable, AnyArray] = {}
        self._written: dict[Hashable, tuple[int, Any, tuple[int, ...]]] = {}
        self._file: Any = None

    def put(self, key: Hashable, array: AnyArray) -> None:
        """Lay an array aside; it is not changed any more."""
        array = np.ascontiguousarray(array)
        with self._shelf.lock:
            if array.nbytes <= self._shelf.room:
                self._shelf.room -= array.nbytes
                self._held[key] = array
                return
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `clear`
            self._written[key] = self._file.seek(0, 2), array.dtype, array.shape
            self._file.write(array.reshape(-1).view(np.uint8).data)

    def get(self, key: Hashable) -> AnyArray:
        """Return an array as it was put."""
        with self._shelf.lock:
            if key in self._held:
                return self._held[key]
            start, dtype, shape = self._written[key]
            array: AnyArray = np.empty(shape, dtype)
            self._file.seek(start)
            self._file.readinto(array.reshape(-1).view(np.uint8).data)
            return array

    def items(self) -> Iterator[tuple[Any, AnyArray]]:
        """Return all arrays with their keys, one after the other."""
        return ((key, self.get(key)) for key in (*self._held, *self._written))

    def clear(self) -> None:
        """Let go of all arrays."""
        with self._shelf.lock:
            self._shelf.room += sum(array.nbytes for array in self._held.values())
            self._held.clear()
            self._written.clear()
            if self._file is not None:
                self._file.close()
                self._file = None
