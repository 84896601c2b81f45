"""`load`: one door for every kind of trained network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnrepro.errors import ModelError
from snnrepro.frameworks.tensorflow import keras_classes
from snnrepro.network import archive

if TYPE_CHECKING:
    from snnrepro.network.graph import Network


def load(model: Any) -> Network:
    """Read a trained network.

    Parameters
    ----------
    model : str, Path, onnx.ModelProto or keras.Model
        An ``.onnx`` file, an ``.npz`` archive written by `Network.save`, or a model in memory. A Keras model (of
        Keras 2 or 3) is functional or Sequential and knows the shape of its input.

    Returns
    -------
    Network
        The typed graph; its `forward` gives what the model gives.

    Raises
    ------
    ModelError
        It cannot be read or converted; the message names every node that is in the way.
    DependencyError
        A Keras model was given and TensorFlow or tf2onnx is missing.

    Examples
    --------
    >>> load("no-such-file.onnx")
    Traceback (most recent call last):
    ...
    snnrepro.errors.ModelError: no-such-file.onnx: no such file
    """
    if isinstance(model, (str, Path)):
        if Path(model).suffix == ".npz":
            return archive.load(model)
        if Path(model).suffix == ".onnx":
            return _read_onnx(model)
        raise ModelError(f"{model}: an .onnx file or an .npz archive is needed")
    if type(model).__module__.startswith("onnx"):
        return _read_onnx(model)
    if keras_classes(model):
        from snnrepro.readers.keras import read_keras

        return read_keras(model)
    raise ModelError(
        f"an .onnx file, an .npz archive, an onnx.ModelProto or a Keras model is needed, got {type(model).__name__}"
    )


def _read_onnx(model: Any) -> Network:
    from snnrepro.readers.onnx import read_onnx

    return read_onnx(model)
