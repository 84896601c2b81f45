"""A Keras model written as ONNX by tf2onnx, the first hop of the road."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import re
import sys
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

import numpy as np

from snnrepro.arrays import constant
from snnrepro.errors import DependencyError, ModelError, UnsupportedError
from snnrepro.frameworks.quiet import quiet_stderr
from snnrepro.frameworks.tensorflow import import_tensorflow, keras_classes
from snnrepro.readers.choices import NOTHING, Choices
from snnrepro.readers.keras_graph import LightGraph, folded, light_graph
from snnrepro.readers.onnx import read_onnx

if TYPE_CHECKING:
    import onnx

    from snnrepro.arrays import AnyArray
    from snnrepro.network.graph import Network

OPSET = 12
"""The newest operator set that every stack of the matrix writes and reads (onnx 1.7 knows up to 12)."""

_SHAPE_UNKNOWN = (
    "this {name} model does not know the shape of its input; give it one: make keras.Input(shape=(...)) its first "
    "layer, or call model.build((None, ...)) with the shape of a batch of images"
)
_UNWRAPPED = "Dense works on every step of a sequence without TimeDistributed"
_NO_GRAPH = "a functional or a Sequential Keras model is needed, got {name}: make keras.Model(inputs, outputs) of it"


def to_onnx(model: Any) -> onnx.ModelProto:
    """Return a Keras model as ONNX, whichever Keras it is of: 2 or 3, ``keras``, ``tf.keras`` or ``tf_keras``.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, with an input of known shape; of Keras 3 one on the TensorFlow backend.

    Returns
    -------
    onnx.ModelProto
        At operator set `OPSET`.

    Raises
    ------
    DependencyError
        TensorFlow or tf2onnx is missing.
    ModelError
        The model has no input of known shape, or tf2onnx cannot write it.
    """
    from onnx import numpy_helper

    proto, kernels = _written(model)
    for name in list(kernels):
        proto.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(kernels.pop(name)), name))
    return proto


def _written(model: Any) -> tuple[onnx.ModelProto, dict[str, AnyArray]]:
    """Return a Keras model as ONNX without its kernels, and these by their names in it; errors as `to_onnx`."""
    name = f"{type(model).__module__}.{type(model).__name__}"
    if "Model" not in keras_classes(model):
        raise ModelError(f"a Keras model is needed, got {name}")
    inputs = _inputs(model)
    backend = _backend(model)
    if backend != "tensorflow":
        raise ModelError(
            f"Keras runs on the backend {backend!r} here, and only models on TensorFlow can be read from memory; "
            'run: model.export("model.onnx", format="onnx"), and load that file'
        )
    tf = import_tensorflow(keras_2=False)
    if importlib.util.find_spec("tf2onnx") is None:
        raise DependencyError("tf2onnx is not installed; run: pip install tf2onnx")
    with quiet_stderr():
        import tf2onnx
    # A function around the model: tf2onnx's from_keras knows neither Keras 3's Sequential nor the Keras that is not
    # behind tf.keras in this process.
    signature = [tf.TensorSpec(one.shape, one.dtype, name=_name(one)) for one in inputs]
    function = tf.function(lambda *given: model(_fed(model, given), training=False), input_signature=signature)
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # operators that it does not know are in the result, and refused by the reader
    eagerly = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)  # compiled calls inside (grouped convolutions) become part of the one graph
    try:
        with quiet_stderr(), _spelt_out(model):
            concrete = function.get_concrete_function()
            light = light_graph(concrete)
            if light is not None:
                try:
                    return _by_tf2onnx(concrete, light)
                except Exception:  # a rewriter that asks for the numbers of a kernel; it gets them, and raises again
                    light = None
            proto, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
            _keep_captured(proto, concrete)
    except Exception as error:  # whatever the model's layers or tf2onnx's many rewriters raise
        raise ModelError(
            f"tf2onnx {tf2onnx.__version__} cannot write this model ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]})"
        ) from error
    finally:
        tf.config.run_functions_eagerly(eagerly)
        logger.setLevel(level)
    return proto, {}


def _by_tf2onnx(concrete: Any, light: LightGraph) -> tuple[onnx.ModelProto, dict[str, AnyArray]]:
    """Return a traced model as tf2onnx writes it without its kernels, and these as it reads them."""
    import tf2onnx

    captured = {inner.name for _, inner in concrete.graph.captures}
    inputs = [tensor.name for tensor in concrete.inputs if tensor.dtype.name != "resource"]
    proto, _ = tf2onnx.convert.from_graph_def(
        light.definition,
        input_names=[*inputs, *light.kernels],
        output_names=[tensor.name for tensor in concrete.outputs],
        opset=OPSET,
        tensors_to_rename={name: name.split(":")[0] for name in inputs if name not in captured},
    )
    _keep_captured(proto, concrete)
    kernels = {name: constant(variable.numpy()) for name, variable in light.kernels.items()}
    return proto, folded(proto, kernels)


@contextlib.contextmanager
def _spelt_out(model: Any) -> Iterator[None]:
    """Let Keras 2's LayerNormalization write what it computes: fused, images become channels of one image."""
    fused = [layer for layer in _layers(model) if "LayerNormalization" in keras_classes(layer) and _is_fused(layer)]
    for layer in fused:
        layer._fused = False
    try:
        yield
    finally:
        for layer in fused:
            layer._fused = True


def _is_fused(layer: Any) -> bool:
    return getattr(layer, "_fused", None) is True


def _keep_captured(proto: onnx.ModelProto, concrete: Any) -> None:
    """Make constants of what layers hold beside their weights: tf2onnx makes further inputs of the model of them.

    An adapted Normalization's mean and variance are such, and tensors that a Lambda reads from outside.
    """
    from onnx import numpy_helper

    captured = {inner.name: outer for outer, inner in concrete.graph.captures if outer.dtype.name != "resource"}
    inputs = [value for value in proto.graph.input if value.name not in captured]
    known = {value.name for value in proto.graph.input} - {value.name for value in inputs}
    proto.graph.initializer.extend(numpy_helper.from_array(captured[name].numpy(), name) for name in sorted(known))
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)


def read_keras(model: Any, chosen: Choices = NOTHING) -> Network:
    """Return a Keras model as a network, by way of ONNX; errors as `to_onnx` and `read_onnx`, with layers' names."""
    proto, kernels = _written(model)
    try:
        return read_onnx(proto, chosen, kernels)
    except UnsupportedError as error:
        layers = {layer.name: type(layer).__name__ for layer in _layers(model)}
        hint = "\n".join(filter(None, (_UNWRAPPED if "TimeDistributed" in layers.values() else "", error.hint)))
        raise UnsupportedError([_with_layer(problem, layers) for problem in error.problems], hint) from error


def _layers(model: Any) -> Iterator[Any]:
    """Return the layers of a model and of the models inside it."""
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _layers(layer)


def _with_layer(problem: str, layers: dict[str, str]) -> str:
    """Return a problem with the innermost Keras layer whose name is part of the node's; Keras 3 adds a number to it."""
    node, reason = problem.split(": ", 1)
    for part in reversed(node.strip("'").split("/")[:-1]):
        name = part if part in layers else re.sub(r"_\d+$", "", part)
        if name in layers:
            return f"{node} (Keras layer {name!r}, {layers[name]}): {reason}"
    return problem


def answers(model: Any, x: AnyArray, constants: Mapping[str, AnyArray]) -> Any:
    """Return what a Keras model gives for images, its other inputs being constants, one of size 1 for all images."""
    given = []
    for one in _inputs(model):
        value = constants.get(_name(one))
        shape = (len(x), *(1 if size is None else int(size) for size in tuple(one.shape)[1:]))
        given.append(x if value is None else np.broadcast_to(value, shape).astype(_numpy_type(one.dtype)))
    return model(_fed(model, given), training=False)


def _fed(model: Any, given: Sequence[Any]) -> Any:
    """Return values for a model's inputs, in order, as the model takes them: one, or a list or dictionary of them."""
    from tensorflow import nest

    return given[0] if len(given) == 1 else nest.pack_sequence_as(model.input, list(given))


def _name(symbolic: Any) -> str:
    """Return the name of a model's input; old versions of Keras 2 add the number of the output that it is."""
    return str(symbolic.name).split(":")[0]


def _numpy_type(dtype: Any) -> str:
    """Return NumPy's name of the type of a symbolic input, which Keras 3 has as text."""
    return str(getattr(dtype, "name", dtype))


def _inputs(model: Any) -> list[Any]:
    """Return the symbolic inputs of a functional or built Sequential model."""
    inputs = getattr(model, "inputs", None)  # Keras 3 has no such attribute before the model is built
    if inputs:
        return list(inputs)
    raise ModelError(
        (_SHAPE_UNKNOWN if "Sequential" in keras_classes(model) else _NO_GRAPH).format(name=type(model).__name__)
    )


def _backend(model: Any) -> str:
    """Return the backend of the model's Keras; that of Keras 2 is TensorFlow."""
    keras = sys.modules.get("keras")
    of_this_keras = any(cls.__module__.split(".")[0] == "keras" for cls in type(model).__mro__)
    if keras is None or not of_this_keras or int(str(keras.__version__).split(".")[0]) < 3:
        return "tensorflow"
    return str(keras.backend.backend())
