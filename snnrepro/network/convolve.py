"""Convolutions of very many images at once, through onnxruntime: several times as fast as the layers themselves.

Those are NumPy alone, so that they can be compared with onnxruntime; this is for calibration, which convolves every
time step of hundreds of images, and for what the event simulator does not compute on events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterable, Mapping
from weakref import WeakKeyDictionary

import numpy as np

from snnrepro.frameworks.onnxruntime import model_of, session
from snnrepro.network.layers import Conv, ConvTranspose

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray
    from snnrepro.network.graph import Node

_sessions: WeakKeyDictionary[Conv | ConvTranspose, Any] = WeakKeyDictionary()
_OPSET = 12  # what every onnxruntime of the matrix runs


def convolve(layer: Any, *x: FloatArray) -> FloatArray:
    """Return what a layer gives for its inputs, up to rounding.

    Parameters
    ----------
    layer : Layer
        Of any kind; only convolutions without negative pads take the other way.
    *x : numpy.ndarray
        float32, ``(n_images, ...)``.
    """
    if not isinstance(layer, (Conv, ConvTranspose)) or min(min(pair) for pair in layer.pads) < 0 or not len(x[0]):
        value: FloatArray = layer(*x)
        return value
    result: FloatArray = _session(layer).run(None, {"x": np.ascontiguousarray(x[0], np.float32)})[0]
    return result


def evaluate_nodes(nodes: Iterable[Node], values: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Return `values` and those of `nodes`, computed from them in order."""
    known = dict(values)
    for node in nodes:
        known[node.name] = convolve(node.layer, *(known[name] for name in node.inputs))
    return known


def _session(layer: Conv | ConvTranspose) -> Any:
    """Return a layer in onnxruntime, made once for as long as the layer lives."""
    if layer not in _sessions:
        _sessions[layer] = _new_session(layer)
    return _sessions[layer]


def _new_session(layer: Conv | ConvTranspose) -> Any:
    from onnx import TensorProto, helper

    attributes = {
        "kernel_shape": layer.weights.shape[2:],
        "strides": layer.strides,
        "dilations": layer.dilations,
        "pads": [pair[0] for pair in layer.pads] + [pair[1] for pair in layer.pads],
        "group": layer.groups,
    }
    node = helper.make_node(type(layer).__name__, ["x", "w", "b"], ["y"], **attributes)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None] * layer.weights.ndim)
    return session(model_of(node, {"w": layer.weights, "b": layer.bias}, _OPSET, [x]))
