"""The thesis's networks in Keras (tables 3-1 and 3-2), untrained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

from snnrepro.frameworks.tensorflow import import_tensorflow, seed_everything
from snnrepro.network.layers import Conv, ConvTranspose, Dense
from snnrepro.thesis.tables import model_settings

if TYPE_CHECKING:
    from snnrepro.network.graph import Network

INPUT_SHAPE = (28, 28, 1)


def keras_dense(seed: int) -> Any:
    """Return the dense network of table 3-1 in Keras, untrained: Dense 32, 64, 128 with ReLU, Dense 10 with softmax."""
    tf = import_tensorflow()
    seed_everything(tf, seed)
    units = model_settings("dense")["dense_units"]
    layers = tf.keras.layers
    x = image = tf.keras.Input(INPUT_SHAPE, name="image")
    x = layers.Flatten()(x)
    for n_out in units[:-1]:
        x = layers.Dense(n_out, activation="relu")(x)
    return tf.keras.Model(image, layers.Dense(units[-1], activation="softmax")(x))


def keras_cnn(seed: int, strides: Sequence[int] | None = None) -> Any:
    """Return the CNN of table 3-1 in Keras, untrained: three convolutions with ReLU, Dense 10 with softmax.

    Parameters
    ----------
    seed : int
        Of the initial weights.
    strides : sequence of int, optional
        Of the convolutions; 1, 2, 2 if left out.
    """
    tf = import_tensorflow()
    seed_everything(tf, seed)
    sizes = model_settings("cnn")
    layers = tf.keras.layers
    x = image = tf.keras.Input(INPUT_SHAPE, name="image")
    for filters, stride in zip(sizes["filters"], strides or sizes["strides"]):
        x = layers.Conv2D(filters, sizes["kernel"], strides=stride, activation="relu")(x)
    x = layers.Flatten()(x)
    return tf.keras.Model(image, layers.Dense(sizes["dense_units"][-1], activation="softmax")(x))


def keras_autoencoder(seed: int) -> Any:
    """Return the autoencoder of table 3-2 in Keras, untrained; a sigmoid gives pixels in [0, 1]."""
    tf = import_tensorflow()
    seed_everything(tf, seed)
    sizes = model_settings("autoencoder")
    layers = tf.keras.layers
    x = image = tf.keras.Input(INPUT_SHAPE, name="image")
    options = {"strides": sizes["strides"], "padding": "same", "activation": "relu"}
    for filters in sizes["filters"]:
        x = layers.Conv2D(filters, sizes["kernel"], **options)(x)
    for filters in sizes["transposed_filters"]:
        x = layers.Conv2DTranspose(filters, sizes["kernel"], **options)(x)
    return tf.keras.Model(image, layers.Conv2D(1, sizes["kernel"], padding="same", activation="sigmoid")(x))


def keras_model(model: str, seed: int, strides: Sequence[int] | None = None) -> Any:
    """Return one of the thesis's networks by its name in ``tables.toml``; `strides` are those of the CNN."""
    if model == "cnn":
        return keras_cnn(seed, strides)
    return {"dense": keras_dense, "autoencoder": keras_autoencoder}[model](seed)


def set_weights(model: Any, network: Network) -> Any:
    """Give a Keras model of these the weights of the network that was read from it, and return it.

    Keras has the axes of a kernel before the channels, and the channels that a layer reads before those it gives; in a
    transposed convolution it is the other way round, there and here.
    """
    layers = [node.layer for node in network.nodes if isinstance(node.layer, (Dense, Conv, ConvTranspose))]
    arrays = []
    for layer in layers:
        arrays += [layer.weights if isinstance(layer, Dense) else layer.weights.transpose(2, 3, 1, 0), layer.bias]
    model.set_weights(arrays)
    return model
