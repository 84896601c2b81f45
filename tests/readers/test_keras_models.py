"""Functional and Sequential models of Keras 2 and Keras 3 are read as they are: the same answers, the same weights.

One process has one Keras behind ``tf.keras``: here it is Keras 2. The models of Keras 3 are made and read by one child
process, which runs this file and leaves images, answers, weights and our archives in a folder.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import snnrepro
from snnrepro.errors import DependencyError
from snnrepro.frameworks.quiet import quiet_stderr
from snnrepro.frameworks.tensorflow import import_tensorflow
from snnrepro.network.layers import Conv, ConvTranspose, Dense
from snnrepro.readers import operators

TOLERANCE = 1e-5
"""Relative to the largest number of the answer: float32 sums in another order."""

N_IMAGES = 6
CHAINS = ("dense", "cnn-112", "cnn-122", "autoencoder", "depthwise", "rows", "bounded", "slopes", "grouped")
SINCE = {
    "grouped": ((2, 10), "an older TensorFlow computes it on a GPU only"),
    "rows": (
        (2, 6),
        "an older Keras writes a softmax over the last of three axes as Exp and ReduceSum, which are not read",
    ),
}
ROUTES = ("Keras 2 functional", "Keras 2 Sequential", "Keras 3 functional", "Keras 3 Sequential")


def chain(layers, name):
    """Return the shape of an image and layers in a row: the thesis's networks made small, and two of other layers.

    Images are neither square nor even. Two Dense layers are square and every kernel is: with swapped axes all still
    fits, and only the numbers can tell.
    """

    def cnn(*strides):
        convolutions = [layers.Conv2D(4, 3, strides=stride, activation="relu") for stride in strides]
        return (13, 9, 2), [*convolutions, layers.Flatten(), layers.Dense(5, activation="softmax")]

    if name == "dense":
        hidden = [layers.Dense(7, activation="relu") for _ in range(2)]
        return (5, 3, 1), [layers.Flatten(), *hidden, layers.Dense(4, activation="softmax")]
    if name.startswith("cnn"):
        return cnn(*(int(stride) for stride in name[-3:]))
    if name == "autoencoder":
        same = {"strides": 2, "padding": "same", "activation": "relu"}
        return (9, 7, 1), [
            layers.Conv2D(4, 3, **same),
            layers.Conv2D(3, 3, **same),
            layers.Conv2DTranspose(3, 3, **same),
            layers.Conv2DTranspose(4, 3, **same),
            layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
        ]
    if name == "depthwise":
        return (7, 9, 3), [
            layers.ZeroPadding2D(((1, 0), (0, 2))),
            layers.DepthwiseConv2D(3, depth_multiplier=2),
            layers.ReLU(max_value=6.0),
            layers.DepthwiseConv2D(3, strides=2, padding="same"),
            layers.LeakyReLU(0.2),
            layers.AveragePooling2D(3, strides=2, padding="same"),
            layers.Reshape((-1, 6)),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(3),
        ]
    if name == "rows":  # Dense over the last of several axes
        return (6, 5, 2), [
            layers.Dense(7, activation="relu"),
            layers.Dense(7, activation="relu"),
            layers.Reshape((30, 7)),
            layers.Dense(3, activation="softmax"),
        ]
    if name == "bounded":
        bounded = [layers.ReLU(max_value=3.0), layers.Dense(7), layers.ReLU(max_value=0.5), layers.Flatten()]
        return (7, 9, 3), [layers.Conv2D(4, 3), *bounded, layers.Dense(3)]
    if name == "slopes":
        shared, each = layers.PReLU(shared_axes=[1, 2]), [layers.PReLU() for _ in range(2)]
        return (7, 9, 3), [layers.Conv2D(4, 3), shared, layers.Conv2D(4, 3), each[0], layers.Flatten(), each[1]]
    return (7, 9, 4), [layers.Conv2D(6, 3, groups=2), layers.Flatten(), layers.Dense(3)]


def functional(keras, name):
    """Return a chain as a functional model."""
    shape, layers = chain(keras.layers, name)
    x = image = keras.Input(shape, name="image")
    for layer in layers:
        x = layer(x)
    return keras.Model(image, x)


def sequential(keras, name):
    """Return a chain as a Sequential model."""
    shape, layers = chain(keras.layers, name)
    return keras.Sequential([keras.Input(shape), *layers])


def residual(keras):
    """Return a functional model with a skip connection, two branches, and every other layer that is to be read."""
    layers = keras.layers
    x = image = keras.Input((11, 7, 3), name="image")
    x = layers.Conv2D(6, (3, 2), padding="same", use_bias=False)(x)
    x = skip = layers.ReLU(max_value=6.0)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.PReLU(shared_axes=[1, 2])(layers.BatchNormalization()(x))
    x = layers.Conv2D(6, 1)(x)
    x = layers.BatchNormalization()(layers.add([x, skip]))
    left = layers.MaxPooling2D(2)(x)
    right = layers.ZeroPadding2D(((1, 0), (0, 2)))(x)
    right = layers.LeakyReLU(0.1)(layers.Conv2D(5, (2, 3), strides=2, padding="same")(right))
    right = layers.AveragePooling2D(3, strides=2, padding="same")(right)
    right = layers.Cropping2D(((1, 0), (0, 0)))(layers.UpSampling2D((2, 1))(right))
    x = layers.Dropout(0.3)(layers.concatenate([left, right]))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.Flatten()(layers.Reshape((2, 4))(layers.GlobalAveragePooling2D()(x)))
    return keras.Model(image, layers.Dense(5)(x))


def trained(model):
    """Return the model with weights as after training: none is 0 or 1, variances are positive."""
    rng = np.random.RandomState(0)
    for layer in model.layers:
        shapes = [weight.shape for weight in layer.get_weights()]
        if type(layer).__name__ == "BatchNormalization":
            layer.set_weights([rng.uniform(0.5, 1.5, shape) for shape in shapes])
        else:
            spread = [max(1.0, np.prod(shape[:-1])) ** -0.5 for shape in shapes]
            layer.set_weights([rng.normal(0.1, scale, shape) for scale, shape in zip(spread, shapes)])
    return model


def kernels_of_keras(model):
    """Return the kernels and biases of a chain in its order, axes as ONNX has them."""
    found = []
    for layer in model.layers:
        weights = layer.get_weights()
        kind = type(layer).__name__
        if kind == "PReLU":  # slopes
            continue
        if kind == "DepthwiseConv2D":  # (H, W, in, multiplier)
            height, width, *channels = weights[0].shape
            weights[0] = weights[0].transpose(2, 3, 0, 1).reshape(int(np.prod(channels)), 1, height, width)
        elif kind in ("Conv2D", "Conv2DTranspose"):  # (H, W, in, out), and (H, W, out, in)
            weights[0] = weights[0].transpose(3, 2, 0, 1)
        found += weights
    return found


def kernels_of(network):
    """Return the same of our graph, by the order of its nodes."""
    layers = [node.layer for node in network.nodes if isinstance(node.layer, (Dense, Conv, ConvTranspose))]
    return [array for layer in layers for array in (layer.weights, layer.bias)]


def differing(wanted, arrived):
    """Return the places where an array did not arrive bit for bit."""
    assert len(wanted) == len(arrived) > 0
    return [
        place
        for place, (one, other) in enumerate(zip(wanted, arrived))
        if one.shape != other.shape or np.ascontiguousarray(one).tobytes() != np.ascontiguousarray(other).tobytes()
    ]


def relative_error(answers, wanted):
    """Return the largest difference relative to the largest number; answers must vary from image to image."""
    assert answers.shape == wanted.shape
    largest = np.abs(wanted).max()
    assert np.ptp(wanted, axis=0).max() > 1e-2 * largest, "every image has the same answer"
    return np.abs(answers - wanted).max() / largest


def images_for(model):
    return np.random.RandomState(1).uniform(-1, 1, (N_IMAGES, *model.inputs[0].shape[1:])).astype(np.float32)


def answers_of_keras(model, x):
    with quiet_stderr():  # TensorFlow counts how many models were traced
        return model.predict(x, verbose=0)


def read_one(model, path):
    """Read a model and write images, Keras's answers, ours, the weights of both, and our archive beside `path`."""
    x = images_for(model)
    arrays = {"x": x, "wanted": answers_of_keras(model, x)}
    arrays.update({f"wanted.{index}": array for index, array in enumerate(kernels_of_keras(model))})
    try:
        network = snnrepro.load(model)
    except snnrepro.ModelError as error:
        path.with_suffix(".refused").write_text(str(error))
        return
    network.save(path.with_suffix(".network.npz"))
    arrays["answers"] = network.forward(x)
    arrays.update({f"arrived.{index}": array for index, array in enumerate(kernels_of(network))})
    np.savez(path.with_suffix(".npz"), **arrays)


def read_all(keras, folder, names):
    """Read every model of one Keras by both routes."""
    for name in names:
        read_one(trained(functional(keras, name)), folder / f"functional {name}")
        read_one(trained(sequential(keras, name)), folder / f"Sequential {name}")
    read_one(trained(residual(keras)), folder / "functional residual")


def said(model):
    """Return what is said of a model that cannot be read."""
    with pytest.raises(snnrepro.ModelError) as refusal:
        snnrepro.load(model)
    return str(refusal.value)


def refusals(keras):
    """Return what is said of every model of a kind that cannot be read."""
    import tensorflow as tf

    class Subclassed(keras.Model):
        def call(self, x):
            return x

    one, other = keras.Input((2,)), keras.Input((2,))
    stepped = {"activation": tf.math.floor}
    inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="stepped", **stepped)])
    outer = keras.layers.Dense(2, name="stepped_2", **stepped)
    return {
        "stepped": said(keras.Sequential([keras.Input((2,)), outer, inner])),
        "unbuilt": said(keras.Sequential([keras.layers.Dense(3)])),
        "subclassed": said(Subclassed()),
        "two inputs": said(keras.Model([one, other], keras.layers.add([one, other]))),
        "layer": said(keras.layers.Dense(3)),
    }


def built_later(keras):
    """Return how far the answers of Sequential models are off that get their shapes from `build` and from a call."""
    x = np.random.RandomState(2).uniform(-1, 1, (N_IMAGES, 5, 3)).astype(np.float32)
    errors = []
    for build in (lambda model: model.build((None, 5, 3)), lambda model: model(x)):
        model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
        build(model)
        errors.append(float(relative_error(snnrepro.load(model).forward(x), answers_of_keras(model, x))))
    return errors


def of_several_inputs(keras):
    """Return by how a model takes its inputs how far its answers are off, all but the image being constants.

    They are a list or, of Keras 3, a dictionary whose order is not that of its names' letters.
    """
    x = np.random.RandomState(2).uniform(-1, 1, (N_IMAGES, 5, 3)).astype(np.float32)
    constants = {"scale": np.array([[2.0, -1.0, 0.5]], np.float32), "above": np.float32(0.25)}
    inputs = [keras.Input((3,), name="scale"), keras.Input((5, 3), name="photo"), keras.Input((1,), name="above")]
    row, photo, above = inputs
    scaled = keras.layers.multiply([photo, keras.layers.Reshape((1, 3))(row)])
    shifted = keras.layers.add([keras.layers.Flatten()(scaled), above])
    output = keras.layers.Dense(4)(keras.layers.Dense(7, activation="relu")(shifted))
    fed = {"scale": np.repeat(constants["scale"], N_IMAGES, 0), "photo": x, "above": np.full((N_IMAGES, 1), 0.25, "f")}
    errors = {}
    ways = {"list": inputs, "dictionary": dict(zip(("scale", "photo", "above"), inputs))}
    for way, given in ways.items():
        model = trained(keras.Model(given, output))
        wanted = np.asarray(model([*fed.values()] if way == "list" else fed))
        errors[way] = float(relative_error(snnrepro.load(model, constants=constants).forward(x), wanted))
        assert snnrepro.verify(model, None, x, constants=constants).passed
    return errors


def captured(keras):
    """Return how far the answers of a model are off whose layers hold constants beside their weights."""
    import tensorflow as tf

    x = np.random.RandomState(2).uniform(-1, 7, (N_IMAGES, 5)).astype(np.float32)
    factors = tf.constant(np.random.RandomState(3).uniform(1, 2, 8).astype(np.float32))
    chained = [keras.layers.Dense(8, activation="relu"), keras.layers.Lambda(lambda value: value * factors)]
    if hasattr(keras.layers, "Normalization"):  # since TensorFlow 2.6
        normalization = keras.layers.Normalization(axis=-1)
        normalization.adapt(x)
        chained.insert(0, normalization)
    model = keras.Sequential([keras.Input((5,)), *chained, keras.layers.Dense(3)])
    return float(relative_error(snnrepro.load(model).forward(x), answers_of_keras(model, x)))


def in_keras_3(folder):
    """Make and read every model in a process that imports Keras 3 first, as a user of Keras 3 does."""
    with quiet_stderr():  # what these imports say is theirs
        import keras
        import tensorflow as tf
    read_all(keras, folder, CHAINS)
    report = {"refusals": refusals(keras), "built later": built_later(keras), "captured": captured(keras)}
    report["several inputs"] = of_several_inputs(keras)
    with quiet_stderr():
        import tf_keras
    read_one(trained(sequential(tf_keras, "cnn-112")), folder / "tf_keras cnn-112")
    report["tf.keras"] = tf.keras.__version__
    wrapped = keras.layers.TimeDistributed(keras.layers.Dense(2, "relu"))
    x = np.random.RandomState(2).uniform(-1, 1, (N_IMAGES, 3, 2)).astype(np.float32)
    model = keras.Sequential([keras.Input((3, 2)), wrapped])
    report["wrapped"] = float(relative_error(snnrepro.load(model).forward(x), answers_of_keras(model, x)))
    hidden = keras.layers.Dense(2, "relu")
    report["wrapped inside"] = said(keras.Sequential([keras.Input((3, 2)), hidden, wrapped, keras.layers.Dense(1)]))
    model = functional(keras, "dense")
    keras.backend.backend = lambda: "jax"  # the others need packages of their own
    report["another backend"] = said(model)
    (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    in_keras_3(Path(sys.argv[1]))


@pytest.fixture(scope="module")
def keras_2(keras, tmp_path_factory):
    """A folder with what `read_all` writes, of Keras 2."""
    folder = tmp_path_factory.mktemp("keras_2")
    read_all(keras, folder, _known_to(import_tensorflow()))
    return folder


def _known_to(tf):
    version = tuple(int(part) for part in tf.__version__.split(".")[:2])
    return [name for name in CHAINS if version >= SINCE.get(name, ((0,), ""))[0]]


@pytest.fixture(scope="module")
def keras_3(tmp_path_factory, root):
    """A folder with what `in_keras_3` writes."""
    tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed (extra: nengo)")
    pytest.importorskip("tf2onnx", reason="tf2onnx is not installed (extra: nengo)")
    if tuple(int(part) for part in tf.__version__.split(".")[:2]) < (2, 16):
        pytest.skip(f"TensorFlow {tf.__version__} has Keras 2 only; Keras 3 comes with TensorFlow 2.16")
    folder = tmp_path_factory.mktemp("keras_3")
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.readers.test_keras_models", str(folder)],
        capture_output=True,
        text=True,
        cwd=str(root),
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder / "output").write_text(done.stdout + done.stderr)
    return folder


def stored(request, route, name):
    """Return the arrays and the archived network of one model."""
    version, kind = route.rsplit(" ", 1)
    folder = request.getfixturevalue(version.lower().replace(" ", "_"))
    path = folder / f"{kind} {name}"
    if path.with_suffix(".refused").exists():
        pytest.fail(path.with_suffix(".refused").read_text())
    if not path.with_suffix(".npz").exists():
        pytest.skip(f"{name}: {SINCE[name][1]}")
    with np.load(path.with_suffix(".npz")) as arrays:
        return dict(arrays), snnrepro.load(path.with_suffix(".network.npz"))


def numbered(arrays, what):
    found = [name for name in arrays if name.startswith(f"{what}.")]
    return [arrays[f"{what}.{index}"] for index in range(len(found))]


@pytest.mark.parametrize("name", [*CHAINS, "residual"])
@pytest.mark.parametrize("route", ROUTES)
def test_a_model_answers_as_in_keras(request, route, name):
    if name == "residual" and route.endswith("Sequential"):
        pytest.skip("a Sequential model has no skip connections")
    arrays, archived = stored(request, route, name)
    assert relative_error(arrays["answers"], arrays["wanted"]) <= TOLERANCE
    np.testing.assert_array_equal(archived.forward(arrays["x"]), arrays["answers"])


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("route", ROUTES)
def test_every_weight_arrives_bit_for_bit_in_memory_and_in_the_archive(request, route, name):
    arrays, archived = stored(request, route, name)
    wanted = numbered(arrays, "wanted")
    assert differing(wanted, numbered(arrays, "arrived")) == []
    assert differing(wanted, kernels_of(archived)) == []


AS_ONE = {
    "rows": ["Dense", "ReLU", "Dense", "ReLU", "Reshape", "Dense", "Softmax"],
    "bounded": ["Conv", "ReLU 3.0", "Dense", "ReLU 0.5", "Reshape", "Dense"],
    "slopes": ["Conv", "LeakyReLU", "Conv", "LeakyReLU", "Reshape", "LeakyReLU"],
}


@pytest.mark.parametrize("name", AS_ONE)
@pytest.mark.parametrize("route", ROUTES)
def test_a_layer_of_keras_that_onnx_spells_out_is_one_layer(request, route, name):
    _, archived = stored(request, route, name)
    kinds = []
    for node in archived.nodes:
        maximum = getattr(node.layer, "maximum", None)
        kinds.append(type(node.layer).__name__ + (f" {maximum}" if maximum else ""))
    assert [kind for kind in kinds if kind != "Transpose"] == AS_ONE[name]


# The places are those of the kernels: 0, 2, 4, ...; a flipped or turned kernel has the shape of the right one.
PLANTED = {
    "kernels of Conv turned": ("cnn-112", "Conv", lambda kernel: kernel.swapaxes(2, 3), [0, 2, 4]),
    "kernels of ConvTranspose turned": ("autoencoder", "ConvTranspose", lambda kernel: kernel.swapaxes(2, 3), [4, 6]),
    "kernels of ConvTranspose flipped": (
        "autoencoder",
        "ConvTranspose",
        lambda kernel: kernel[..., ::-1, ::-1],
        [4, 6],
    ),
    "its channels swapped": ("autoencoder", "ConvTranspose", lambda kernel: kernel[:, ::-1], [4, 6]),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_noticed_by_the_weights_and_by_the_answers(keras, monkeypatch, fault):
    name, op_type, spoil, places = PLANTED[fault]
    original = operators.HANDLERS[op_type]

    @functools.wraps(original)  # the reader checks a node's attributes against the handler's
    def spoilt(call, x, kernel, *rest, **attributes):
        return original(call, x, spoil(kernel), *rest, **attributes)

    model = trained(functional(keras, name))
    x = images_for(model)
    monkeypatch.setitem(operators.HANDLERS, op_type, spoilt)
    network = snnrepro.load(model)
    assert differing(kernels_of_keras(model), kernels_of(network)) == places
    assert relative_error(network.forward(x), answers_of_keras(model, x)) > 1e-2


def test_reading_keras_3_is_silent_and_leaves_tf_keras_as_the_user_has_it(keras_3):
    assert (keras_3 / "output").read_text() == ""
    assert json.loads((keras_3 / "report.json").read_text())["tf.keras"].startswith("3.")


def test_a_model_of_keras_2_is_read_where_tf_keras_is_keras_3(keras_3):
    with np.load(keras_3 / "tf_keras cnn-112.npz") as arrays:
        assert relative_error(arrays["answers"], arrays["wanted"]) <= TOLERANCE


def test_a_sequential_model_is_read_once_its_shapes_are_known(keras, request):
    assert max(built_later(keras)) <= TOLERANCE


def test_constants_that_layers_hold_beside_their_weights_are_read(keras):
    """An adapted Normalization made further inputs of the model: "one input is needed, the model has 4"."""
    assert captured(keras) <= TOLERANCE


def test_so_are_those_of_keras_3(keras_3):
    assert json.loads((keras_3 / "report.json").read_text())["captured"] <= TOLERANCE


def test_so_is_one_of_keras_3(keras_3):
    assert max(json.loads((keras_3 / "report.json").read_text())["built later"]) <= TOLERANCE


def test_a_wrapped_dense_layer_of_keras_3_is_read_at_an_end_and_told_inside_that_it_needs_no_wrapper(keras_3):
    report = json.loads((keras_3 / "report.json").read_text())
    said = report["wrapped inside"]
    assert report["wrapped"] <= TOLERANCE
    assert "(Keras layer 'time_distributed', TimeDistributed): the batch axis must stay first" in said
    assert "Dense works on every step of a sequence without TimeDistributed" in said


def _check_refusals(said):
    assert "keras.Input(shape=(...))" in said["unbuilt"]
    assert "model.build((None, ...))" in said["unbuilt"]
    assert "keras.Model(inputs, outputs)" in said["subclassed"]
    assert "(Keras layer 'stepped', Dense): this operator is not supported" in said["stepped"]
    assert "(Keras layer 'stepped_2', Dense): this operator is not supported" in said["stepped"]
    assert said["two inputs"].startswith("one input is needed, the model has 2: ")
    assert "set all but the image to constants: --set NAME=VALUE" in said["two inputs"]
    assert "a Keras model is needed, got" in said["layer"]
    assert "Dense" in said["layer"]


def test_a_model_that_cannot_be_read_says_what_to_do(keras):
    _check_refusals(refusals(keras))


def test_so_does_one_of_keras_3(keras_3):
    _check_refusals(json.loads((keras_3 / "report.json").read_text())["refusals"])


def test_a_model_of_keras_3_on_another_backend_says_what_to_do(keras_3):
    said = json.loads((keras_3 / "report.json").read_text())["another backend"]
    assert "backend 'jax'" in said
    assert 'model.export("model.onnx", format="onnx")' in said


@pytest.mark.parametrize("which", ["keras", "keras_3"])
def test_a_model_of_several_inputs_is_read_where_all_but_the_image_are_constants(which, request):
    found = request.getfixturevalue(which)
    if which == "keras":
        errors = of_several_inputs(found)
    else:
        errors = json.loads((found / "report.json").read_text())["several inputs"]
    assert errors.keys() == {"list", "dictionary"}
    assert max(errors.values()) < TOLERANCE


def test_what_tf2onnx_raises_is_one_error_and_leaves_no_setting_behind(keras, monkeypatch):
    import tf2onnx

    tf = import_tensorflow()
    logger = logging.getLogger("tf2onnx")
    before = logger.level, tf.config.functions_run_eagerly()

    def fail(*args, **kwargs):
        raise KeyError("the reason")

    model = functional(keras, "dense")
    for function in ("from_graph_def", "from_function"):
        monkeypatch.setattr(tf2onnx.convert, function, fail)
    with pytest.raises(snnrepro.ModelError, match=r"tf2onnx .* cannot write this model .*the reason"):
        snnrepro.load(model)
    assert (logger.level, tf.config.functions_run_eagerly()) == before


def test_a_missing_tf2onnx_is_named_with_the_command_that_mends_it(keras, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "tf2onnx" else real(name, *rest)
    )
    with pytest.raises(DependencyError, match="pip install tf2onnx"):
        snnrepro.load(functional(keras, "dense"))
