"""`load`: one door for every kind of trained network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnrepro.errors import ModelError
from snnrepro.frameworks.tensorflow import keras_classes, load_keras
from snnrepro.network import archive
from snnrepro.readers.choices import Choices, choices

if TYPE_CHECKING:
    from snnrepro.network.graph import Network


def load(model: Any, shapes: Any = None, outputs: Any = None, constants: Any = None) -> Network:
    """Read a trained network.

    Parameters
    ----------
    model : str, Path, onnx.ModelProto or keras.Model
        An ``.onnx`` file, an ``.npz`` archive written by `Network.save`, a ``.keras`` or ``.h5`` file or SavedModel
        folder of Keras, or a model in memory. A Keras model (of Keras 2 or 3) is functional or Sequential and knows the
        shape of its input. Files of Keras may hold code: load those that you trust only.
    shapes : mapping, sequence of int or None
        The sizes of the input's axes, the batch first, by its name or, where it is the only one, alone:
        ``{"image": (1, 3, 64, 96)}``. They are needed where the model leaves an axis free, and may contradict none;
        -1 or None leaves an axis as it is declared.
    outputs : str, sequence of str or None
        The name of the value that the network gives: an output of the model or any inner value. What it does not need
        is not looked at. It may be left out where the model has one output. Several stand side by side in the network's
        output, each flattened, in this order; `Network.shapes` has their shapes.
    constants : mapping or None
        Inputs that become constants, numbers or arrays by name: all but the image. One number fills the declared shape.

    Returns
    -------
    Network
        The typed graph; its `forward` gives what the model gives.

    Raises
    ------
    ModelError
        It cannot be read or converted; the message names every node that is in the way, or the inputs and outputs to
        choose from.
    DependencyError
        A Keras model was given and TensorFlow or tf2onnx is missing.

    Examples
    --------
    >>> load("no-such-file.onnx")
    Traceback (most recent call last):
    ...
    snnrepro.errors.ModelError: no-such-file.onnx: no such file

    A model of free size with two outputs:

    >>> from onnx import TensorProto, helper
    >>> nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Hardmax", ["x"], ["z"])]
    >>> x, y, z = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, "w"]) for name in "xyz")
    >>> model = helper.make_model(helper.make_graph(nodes, "two", [x], [y, z]))
    >>> load(model, shapes=(-1, 3, 5), outputs="y").output_shape
    (3, 5)
    """
    chosen = choices(shapes, outputs, constants)
    if isinstance(model, (str, Path)):
        if Path(model).suffix == ".npz":
            chosen.refused_for(f"{model}: an archive")
            return archive.load(model)
        if Path(model).suffix == ".onnx":
            return _read_onnx(model, chosen)
        return _read_keras(load_keras(_keras_path(Path(model))), chosen)
    if type(model).__module__.startswith("onnx"):
        return _read_onnx(model, chosen)
    if keras_classes(model):
        return _read_keras(model, chosen)
    raise ModelError(f"{_NEEDED}, an onnx.ModelProto or a Keras model is needed, got {type(model).__name__}")


def _keras_path(path: Path) -> Path:
    """Return the path of a model of Keras that is there, or say what is."""
    if path.is_dir():
        if (path / "saved_model.pb").exists():
            return path
        raise ModelError(f"{path}: a folder without saved_model.pb is no SavedModel; {_NEEDED} is needed")
    if path.suffix not in (".keras", ".h5", ".hdf5"):
        raise ModelError(f"{path}: {_NEEDED} is needed")
    if not path.is_file():
        raise ModelError(f"{path}: no such file; {_NEEDED} is needed")
    return path


_NEEDED = "an .onnx file, an .npz archive, a model of Keras (.keras, .h5, a SavedModel folder)"


def _read_keras(model: Any, chosen: Choices) -> Network:
    from snnrepro.readers.keras import read_keras

    return read_keras(model, chosen)


def _read_onnx(model: Any, chosen: Choices) -> Network:
    from snnrepro.readers.onnx import read_onnx

    return read_onnx(model, chosen)
