"""An ONNX model, from a file or in memory, read as a network."""

from __future__ import annotations

import re
import reprlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from snnrepro.errors import ModelError, UnsupportedError, one_line
from snnrepro.readers.choices import NOTHING, Choices
from snnrepro.readers.constants import FREE_BATCH
from snnrepro.readers.float16 import as_float32, computes_float16
from snnrepro.readers.graph_reader import GraphReader
from snnrepro.readers.narrow import narrow
from snnrepro.readers.numbers import numbers_of
from snnrepro.readers.onnx_file import Tensors, parse

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.network.graph import Network


def read_onnx(
    model: str | Path | onnx.ModelProto, chosen: Choices = NOTHING, beside: dict[str, AnyArray] | None = None
) -> Network:
    """Read an ONNX model.

    Parameters
    ----------
    model : str, Path or onnx.ModelProto
        A file, or the model itself.
    chosen : Choices
        What is chosen of it: sizes of free axes, the output, inputs that are constants.
    beside : dict of str to numpy.ndarray, optional
        Constants that a model in memory reads and does not hold; the dict is emptied.

    Returns
    -------
    Network
        The same graph; weights are bit for bit those of the model where nothing was folded into them.

    Raises
    ------
    UnsupportedError
        Nodes cannot be converted: all of them are named, each with its reason.
    ModelError
        The file is missing or no ONNX model, or its graph is none that can be converted.
    """
    where = f"{model}: " if isinstance(model, (str, Path)) else ""
    try:
        if isinstance(model, onnx.ModelProto):
            return _read_model(model, chosen, {} if beside is None else beside)
        if not isinstance(model, (str, Path)):
            raise ModelError(f"an .onnx file or an onnx.ModelProto is needed, got {type(model).__name__}")
        return _read_file(Path(model), chosen)
    except ModelError as error:
        if isinstance(error, UnsupportedError):
            error.problems = tuple(map(_without_stand_in, error.problems))
        error.args = (f"{where}{_without_stand_in(str(error))}",)
        raise
    except MemoryError as error:
        raise ModelError(f"{where}its weights do not fit into memory ({one_line(error)})") from error
    except Exception as error:  # text that is none, numbers beyond C's: protobuf and onnx raise what they like
        raise ModelError(f"{where}not an ONNX model that can be read ({one_line(error)})") from error


def _read_model(given: onnx.ModelProto, chosen: Choices, beside: dict[str, AnyArray]) -> Network:
    model = given
    if chosen or computes_float16(given.graph, beside):
        model = onnx.ModelProto()
        model.CopyFrom(given)
    tensors, sources = Tensors(None), numbers_of(given, beside)
    return GraphReader(model, tensors, _chosen(model, chosen, tensors, beside), bool(chosen.outputs)).network(sources)


def _read_file(path: Path, chosen: Choices) -> Network:
    model, sha256 = parse(path)
    tensors, sources = Tensors(path.parent), {"file": path.name, "sha256": sha256, **numbers_of(model)}
    initializers = _chosen(model, chosen, tensors, {})
    # The protobuf message keeps its own copy of every initializer, as one block that is freed as a whole.
    del model.graph.initializer[:]
    rest = onnx.ModelProto()
    rest.CopyFrom(model)
    del model
    return GraphReader(rest, tensors, initializers, bool(chosen.outputs)).network(sources)


def _chosen(
    model: onnx.ModelProto, chosen: Choices, tensors: Tensors, beside: dict[str, AnyArray]
) -> dict[str, AnyArray]:
    """Change a model in place to what is chosen of it, computed in float32, and return its constants."""
    narrow(model, chosen)
    half = computes_float16(model.graph, beside)
    if half:
        as_float32(model.graph, weights=False)
    arrays = {**_initializers(model.graph, tensors), **beside}
    beside.clear()
    if not half:
        return arrays
    return {name: array.astype(np.float32) if array.dtype == np.float16 else array for name, array in arrays.items()}


def _without_stand_in(message: str) -> str:
    """Return a message with "batch" for the number that stands for a free batch axis, "3*batch" for its multiples."""

    def named(found: re.Match[str]) -> str:
        times, power = int(found[0]), 0
        while times and times % FREE_BATCH == 0:
            times, power = times // FREE_BATCH, power + 1
        return "*".join([str(times)] * (times != 1 or not power) + ["batch"] * power)

    return re.sub(r"\b\d{7,20}\b", named, message)


def _initializers(graph: onnx.GraphProto, tensors: Tensors) -> dict[str, AnyArray]:
    sparse = [tensor.values.name for tensor in graph.sparse_initializer]
    if sparse:
        raise ModelError(f"sparse initializers are not supported: {reprlib.repr(sparse)}; write them as dense ones")
    values: dict[str, AnyArray] = {}
    for tensor in graph.initializer:
        if not tensor.name or tensor.name in values:
            raise ModelError(f"initializer {tensor.name!r}: {'assigned twice' if tensor.name else 'it has no name'}")
        values[tensor.name] = tensors.read(tensor)
    return values
