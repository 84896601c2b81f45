"""What a model's own runtime gives for images: onnxruntime's values of an ONNX or Keras model, and Keras's output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Mapping

import numpy as np

from snnrepro.arrays import pieces
from snnrepro.errors import DataError
from snnrepro.frameworks.onnxruntime import numpy_type, session
from snnrepro.frameworks.tensorflow import keras_classes
from snnrepro.network.layers import OnnxPart

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.network.graph import Network
    from snnrepro.readers.choices import Choices

_LARGE = 2**16
"""Bytes of a weight from which on it lies beside the model that onnxruntime reads, and is mapped instead of copied."""
_PAGE = 2**12
"""Bytes that a mapped weight's place is a multiple of."""


def has_runtime(model: Any) -> bool:
    """Whether a model is ONNX, or one of Keras, and not a network that was read."""
    if isinstance(model, (str, Path)):
        return Path(model).suffix == ".onnx"
    return type(model).__module__.startswith("onnx") or bool(keras_classes(model))


def values_of(
    model: Any, chosen: Choices, network: Network, folder: Path
) -> Callable[[FloatArray], dict[str, FloatArray]]:
    """Return what computes, by onnxruntime, the values of the network's layers that the model has too.

    Parameters
    ----------
    model : str, Path, onnx.ModelProto or keras.Model
        A model that `has_runtime`.
    chosen : Choices
        What is chosen of it.
    network : Network
        What `load` made of it.
    folder : Path
        Where its weights lie as long as values are computed.
    """
    import onnx

    proto = _onnx_of(model, chosen)
    graph = proto.graph
    outputs = {value.name for value in graph.output}
    computed = {name for node in graph.node for name in node.output}
    compared = [node.name for node in network.nodes if node.name in computed]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in compared if name not in outputs)
    constants = {tensor.name for tensor in graph.initializer}
    _lay_beside(graph, folder / "weights")
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    del proto, graph  # what was cleared of it goes with it
    opened = session(str(path), as_written=True)
    source = next(value for value in opened.get_inputs() if value.name not in constants)

    def call(batch: FloatArray) -> dict[str, FloatArray]:
        values = zip(compared, opened.run(compared, {source.name: _as_read(batch, source.type)}))
        return {name: np.reshape(value, (len(batch), *network.shapes[name])) for name, value in values}

    # Where parts are left as they are, a batch axis may stand anywhere: one image at a time, as they are computed.
    left = any(isinstance(node.layer, OnnxPart) for node in network.nodes)
    return lambda x: _in_pieces(call, x, 1 if left else source.shape[0] if source.shape else None)


def _lay_beside(graph: Any, path: Path) -> None:
    """Move large weights from a graph to a file beside it."""
    from onnx import TensorProto

    with path.open("wb") as file:
        for tensor in graph.initializer:
            if len(tensor.raw_data) < _LARGE:
                continue
            file.seek(-(-file.tell() // _PAGE) * _PAGE)
            entries = {"location": path.name, "offset": file.tell(), "length": len(tensor.raw_data)}
            file.write(tensor.raw_data)
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in entries.items():
                tensor.external_data.add(key=key, value=str(value))


def _onnx_of(model: Any, chosen: Choices) -> Any:
    """Return a model as ONNX, what is chosen of it, in float32."""
    import onnx
    from onnx.external_data_helper import load_external_data_for_model

    from snnrepro.readers.float16 import as_float32, computes_float16
    from snnrepro.readers.narrow import narrow

    folder = None
    if isinstance(model, onnx.ModelProto):
        proto = onnx.ModelProto()
        proto.CopyFrom(model)
    elif isinstance(model, (str, Path)):
        proto, folder = onnx.load(str(model), load_external_data=False), Path(model).resolve().parent
    else:
        from snnrepro.readers.keras import to_onnx

        proto = to_onnx(model)
    narrow(proto, chosen)
    if folder is not None:
        load_external_data_for_model(proto, str(folder))
    if computes_float16(proto.graph):
        as_float32(proto.graph, weights=True)
    return proto


def keras_output(model: Any, x: FloatArray, constants: Mapping[str, AnyArray]) -> FloatArray:
    """Return a Keras model's output; one of several by name is taken out."""
    from snnrepro.readers.keras import answers

    fixed = model.inputs[0].shape[0]

    def call(batch: FloatArray) -> dict[str, FloatArray]:
        output = answers(model, batch, constants)
        while isinstance(output, (dict, list, tuple)) and len(output) == 1:
            output = next(iter(output.values() if isinstance(output, dict) else output))
        return {"": np.asarray(output)}

    return _in_pieces(call, x, fixed)[""]


def _as_read(x: FloatArray, kind: str) -> AnyArray:
    """Return images in the type that the model reads, as onnxruntime calls it; it must hold them exactly."""
    dtype = numpy_type(kind)
    with np.errstate(all="ignore"):
        images: AnyArray = x.astype(dtype)
    if not np.array_equal(images, x):
        raise DataError(f"the model reads {dtype.name}, which does not hold every number of the images")
    return images


def _in_pieces(call: Callable[[FloatArray], dict[str, FloatArray]], x: FloatArray, fixed: Any) -> dict[str, FloatArray]:
    """Return what `call` gives for images; a model of a fixed batch size gets so many at a time, the last filled up."""
    if not isinstance(fixed, int) or fixed < 1 or fixed == len(x):
        return call(x)
    parts = []
    for part in pieces(x, 1, len(x), fixed):
        filled = np.concatenate([part, np.repeat(part[-1:], fixed - len(part), axis=0)])
        parts.append({name: value[: len(part)] for name, value in call(filled).items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
