"""A Keras model written as ONNX by tf2onnx, the first hop of the road."""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING, Any

from snnrepro.errors import DependencyError, ModelError
from snnrepro.frameworks.quiet import quiet_stderr
from snnrepro.frameworks.tensorflow import import_tensorflow
from snnrepro.readers.onnx import read_onnx

if TYPE_CHECKING:
    import onnx

    from snnrepro.network.graph import Network

OPSET = 12
"""The newest operator set that every stack of the matrix writes and reads (onnx 1.7 knows up to 12)."""


def to_onnx(model: Any) -> onnx.ModelProto:
    """Return a Keras 2 model as ONNX.

    Parameters
    ----------
    model : tf.keras.Model
        Functional or Sequential, built.

    Returns
    -------
    onnx.ModelProto
        At operator set `OPSET`.

    Raises
    ------
    DependencyError
        TensorFlow or tf2onnx is missing.
    ModelError
        tf2onnx cannot write this model.
    """
    tf = import_tensorflow()
    if importlib.util.find_spec("tf2onnx") is None:
        raise DependencyError("tf2onnx is not installed; run: pip install tf2onnx")
    with quiet_stderr():
        import tf2onnx
    if not isinstance(model, tf.keras.Model) or not model.built:
        raise ModelError(f"a built Keras 2 model is needed, got {type(model).__module__}.{type(model).__name__}")
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        signature = [
            tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name.split(":")[0]) for tensor in model.inputs
        ]
        with quiet_stderr():
            proto, _ = tf2onnx.convert.from_keras(model, input_signature=signature, opset=OPSET)
    finally:
        logger.setLevel(level)
    return proto


def read_keras(model: Any) -> Network:
    """Return a Keras 2 model as a network, by way of ONNX; errors as `to_onnx` and `read_onnx`."""
    return read_onnx(to_onnx(model))
