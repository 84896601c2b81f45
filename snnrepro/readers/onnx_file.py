"""An ONNX file and its tensors: nothing is allocated before its declared size is checked against what is there."""

from __future__ import annotations

import hashlib
import math
import re
import reprlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from snnrepro.errors import ModelError, one_line
from snnrepro.network.padding import LARGEST

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray

_LARGEST_FILE = 2**31 - 1  # protobuf's own limit
_MOST_AXES = 32  # NumPy's, before 2.0
PLAIN = {
    TensorProto.FLOAT: "<f4",
    TensorProto.DOUBLE: "<f8",
    TensorProto.FLOAT16: "<f2",
    TensorProto.INT8: "<i1",
    TensorProto.INT16: "<i2",
    TensorProto.INT32: "<i4",
    TensorProto.INT64: "<i8",
    TensorProto.UINT8: "<u1",
    TensorProto.UINT16: "<u2",
    TensorProto.UINT32: "<u4",
    TensorProto.UINT64: "<u8",
    TensorProto.BOOL: "|b1",
}
"""Numbers that lie in a file as they lie in memory, least significant byte first; the others are few and small."""


def parse(path: Path) -> tuple[onnx.ModelProto, str]:
    """Return the model in a file, and the SHA-256 of the file's bytes.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    onnx.ModelProto, str
        The model as it stands there, its external data not read.

    Raises
    ------
    ModelError
        There is no such file, it cannot be read, or it holds no ONNX model.
    """
    try:
        if not path.is_file():
            raise ModelError("no such file" if not path.exists() else "not a file (a folder, a pipe or a device)")
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            raise ModelError(f"{size} bytes; an ONNX file has at most {_LARGEST_FILE}, larger weights lie beside it")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise ModelError(f"not a readable file ({error})") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except MemoryError:
        raise
    except Exception as error:  # protobuf's DecodeError has moved between its versions
        raise ModelError(f"not a readable ONNX model ({one_line(error)})") from error
    if not model.graph.node:
        raise ModelError("not an ONNX model, or one without nodes")
    return model, hashlib.sha256(content).hexdigest()


class Tensors:
    """Reads tensors; data that lie beside the model are read from its own folder only, each piece once.

    Parameters
    ----------
    folder : Path or None
        The model's folder; None for a model in memory, which has no files beside it.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._pieces: dict[tuple[str, int, int], bytes] = {}
        self._taken: dict[str, int] = {}

    def read(self, tensor: onnx.TensorProto) -> AnyArray:
        """Return a tensor's values, without a copy where the file holds them as they lie in memory.

        Parameters
        ----------
        tensor : onnx.TensorProto
            An initializer, or an attribute's value.

        Returns
        -------
        numpy.ndarray
            Of the declared shape and type; read-only where it is no copy.

        Raises
        ------
        ModelError
            The data are not there, not where they may be, or not what the declared shape needs.
        """
        where = f"tensor {tensor.name!r}"
        shape = tuple(tensor.dims)
        if len(shape) > _MOST_AXES or any(size < 0 for size in shape) or math.prod(shape) > LARGEST:
            raise ModelError(
                f"{where}: the declared shape {reprlib.repr(list(shape))} is too large or not a shape "
                f"(accepted: up to {_MOST_AXES} axes of 0 or more, {LARGEST} numbers)"
            )
        plain = PLAIN.get(tensor.data_type)
        external = tensor.data_location == TensorProto.EXTERNAL
        try:
            if plain and (external or (tensor.HasField("raw_data") and not tensor.HasField("segment"))):
                dtype = np.dtype(plain)
                n_bytes = math.prod(shape) * dtype.itemsize
                content = self._beside(tensor, n_bytes) if external else tensor.raw_data
                if len(content) != n_bytes:
                    raise ModelError(
                        f"the shape {reprlib.repr(list(shape))} of {dtype.name} needs {n_bytes} bytes, "
                        f"it has {len(content)}"
                    )
                array: AnyArray = np.frombuffer(content, dtype).reshape(shape)
                return array.astype(dtype.newbyteorder("="), copy=False)
            if external:
                raise ModelError(f"data of type {tensor.data_type} are not read from another file")
            values: AnyArray = numpy_helper.to_array(tensor)
        except ModelError as error:
            raise ModelError(f"{where}: {error}") from error
        except MemoryError:
            raise
        except Exception as error:  # each onnx version raises its own kind for data that do not fit the shape
            raise ModelError(f"{where}: its data do not fit its shape and type ({one_line(error)})") from error
        return values

    def _beside(self, tensor: onnx.TensorProto, n_bytes: int) -> bytes:
        """Return the bytes of a tensor whose data lie in another file."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        offset, length = (
            _whole(entries.get(key, str(default))) for key, default in (("offset", 0), ("length", n_bytes))
        )
        if not location or offset is None or length is None:
            raise ModelError(f"its external data have no readable location, offset or length: {reprlib.repr(entries)}")
        if self._folder is None:
            raise ModelError(f"its data lie in {location!r} beside the model; load the model from its file")
        if length != n_bytes:
            raise ModelError(f"its external data have {length} bytes, the declared shape needs {n_bytes}")
        try:
            folder = self._folder.resolve()
            file = (folder / location).resolve()
            if Path(location).is_absolute() or folder not in file.parents:
                raise ModelError(f"its data lie in {location!r}, outside the model's folder")
            if not file.is_file():
                raise ModelError(f"its data file {location!r} is missing")
            piece = (str(file), offset, length)
            if piece not in self._pieces:
                size = file.stat().st_size
                # All pieces together: overlapping ones would fill the memory from a small file.
                self._taken[piece[0]] = self._taken.get(piece[0], 0) + length
                if offset + length > size or self._taken[piece[0]] > size:
                    raise ModelError(f"bytes {offset} to {offset + length} of {location!r}, which has {size}")
                with file.open("rb") as data:
                    data.seek(offset)
                    self._pieces[piece] = data.read(length)
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a loop of symbolic links, before 3.13
            raise ModelError(f"its data file {location!r} cannot be read ({one_line(error)})") from error
        return self._pieces[piece]


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None
