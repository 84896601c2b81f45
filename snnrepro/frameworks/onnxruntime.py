"""onnxruntime: one node, or a model, made ready to compute; imported late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

if TYPE_CHECKING:
    import onnx

    from snnrepro.arrays import AnyArray

_IR_VERSION = 7  # what every onnxruntime of the matrix reads


def model_of(
    node: onnx.NodeProto, constants: Mapping[str, AnyArray], opset: int, inputs: Sequence[onnx.ValueInfoProto] = ()
) -> onnx.ModelProto:
    """Return one node as a model; its other inputs are constants, by name."""
    import onnx
    from onnx import helper, numpy_helper

    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    weights = [numpy_helper.from_array(np.array(array, order="C"), name) for name, array in constants.items()]
    graph = helper.make_graph([node], "node", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = min(model.ir_version, _IR_VERSION)
    return model


def session(model: onnx.ModelProto | bytes | str, as_written: bool = False, n_threads: int = 0) -> Any:
    """Return an onnxruntime.InferenceSession that says nothing.

    Parameters
    ----------
    model : onnx.ModelProto, bytes or str
        The model, as such or serialised, or the path of its file.
    as_written : bool
        Whether every node is computed as it stands in the model, none merged with another.
    n_threads : int
        How many threads compute; 0 for one per core.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False  # it keeps for every session the most that one call ever took
    options.intra_op_num_threads = options.inter_op_num_threads = n_threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it takes the cores from what comes next
    if as_written:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = model if isinstance(model, (str, bytes)) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def numpy_type(kind: str) -> np.dtype[Any]:
    """Return NumPy's name of a type of numbers as onnxruntime calls it.

    Examples
    --------
    >>> numpy_type("tensor(float)"), numpy_type("tensor(int64)")
    (dtype('float32'), dtype('int64'))
    """
    name = kind[len("tensor(") : -1]
    return np.dtype({"float": "float32", "double": "float64"}.get(name, name))
