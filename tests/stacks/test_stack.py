"""The installed TensorFlow, Keras, Nengo, NengoDL and tf2onnx work together, with the networks of the thesis.

This is what a cell of the tox matrix proves beyond our own use of them: conversion by `nengo_dl.Converter`, prediction,
training, freezing, saving and loading, and the same network on the Nengo core simulator.
"""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = [
    pytest.mark.slow,
    # The converter knows no Conv2DTranspose and says that it keeps Keras's layer as it is,
    pytest.mark.filterwarnings("ignore:Layer type .*Conv2DTranspose:UserWarning"),
    # and copies its initializer, unseeded.
    pytest.mark.filterwarnings("ignore:The initializer GlorotUniform is unseeded:UserWarning"),
    # Nengo solves for an ensemble's gains over a grid that includes the rate at which its LIF formula divides by 0.
    pytest.mark.filterwarnings("ignore:divide by zero encountered in log1p:RuntimeWarning"),
]

STEPS = 60


def _dense(layers):
    return (12, 12, 1), [
        layers.Flatten(),
        layers.Dense(8, activation="relu"),
        layers.Dense(6, activation="relu"),
        layers.Dense(4),
    ]


def _cnn(layers):
    return (12, 12, 1), [
        layers.Conv2D(3, 3, activation="relu"),
        layers.Conv2D(4, 3, strides=2, activation="relu"),
        layers.Flatten(),
        layers.Dense(4),
    ]


def _autoencoder(layers):
    return (12, 12, 1), [
        layers.Conv2D(3, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2D(2, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2DTranspose(2, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2DTranspose(3, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2D(1, 3, padding="same"),
    ]


@pytest.fixture(scope="module", params=[_dense, _cnn, _autoencoder], ids=lambda build: build.__name__[1:])
def model(request, tf, nengo_dl):
    tf.keras.backend.clear_session()
    tf.random.set_seed(0)
    shape, layers = request.param(tf.keras.layers)
    x = image = tf.keras.Input(shape)
    for layer in layers:
        x = layer(x)
    return tf.keras.Model(image, x)


@pytest.fixture
def x(model):
    return np.random.RandomState(0).rand(6, *model.input_shape[1:]).astype(np.float32)


@pytest.fixture
def converted(model, tf, nengo_dl):
    """The model with its rectifiers as Nengo's, so that its answer can be compared with Keras's."""
    import nengo

    return nengo_dl.Converter(
        model, swap_activations={tf.keras.activations.relu: nengo.RectifiedLinear()}, inference_only=False
    )


def _input(converted):
    return converted.inputs[converted.model.inputs[0]]


def _output(converted):
    return converted.outputs[converted.model.outputs[0]]


def _flat(images, steps):
    return np.tile(images.reshape(len(images), 1, -1), (1, steps, 1))


def test_the_converted_network_answers_as_keras_does(model, converted, nengo_dl, x):
    wanted = model.predict(x, verbose=0).reshape(len(x), -1)
    assert np.ptp(wanted, axis=0).max() > 0.01
    with nengo_dl.Simulator(converted.net, minibatch_size=3, progress_bar=False) as simulator:
        got = simulator.predict({_input(converted): _flat(x, 1)}, verbose=0)[_output(converted)][:, -1]
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_it_trains_freezes_saves_and_loads(model, converted, tf, nengo_dl, x, tmp_path):
    probe = _output(converted)
    n_out = int(np.prod(model.output_shape[1:]))
    with nengo_dl.Simulator(converted.net, minibatch_size=3, progress_bar=False, seed=0) as simulator:
        simulator.compile(tf.keras.optimizers.Adam(0.02), loss="mse")
        history = simulator.fit(
            {_input(converted): _flat(x, 1)}, {probe: np.ones((len(x), 1, n_out))}, epochs=15, verbose=0
        ).history["loss"]
        assert history[-1] < history[0]
        trained = simulator.predict({_input(converted): _flat(x, 1)}, verbose=0)[probe]
        simulator.save_params(str(tmp_path / "parameters"))
        simulator.freeze_params(converted.net)
    with nengo_dl.Simulator(converted.net, minibatch_size=3, progress_bar=False, seed=1) as frozen:
        np.testing.assert_allclose(
            frozen.predict({_input(converted): _flat(x, 1)}, verbose=0)[probe], trained, atol=1e-4
        )
    other = nengo_dl.Converter(model, swap_activations=converted.swap_activations, inference_only=False)
    other_probe = _output(other)
    with nengo_dl.Simulator(other.net, minibatch_size=3, progress_bar=False, seed=2) as loaded:
        before = loaded.predict({_input(other): _flat(x, 1)}, verbose=0)[other_probe]
        loaded.load_params(str(tmp_path / "parameters"))
        after = loaded.predict({_input(other): _flat(x, 1)}, verbose=0)[other_probe]
    assert np.abs(before - trained).max() > 1e-3
    np.testing.assert_allclose(after, trained, atol=1e-4)


def test_nengo_core_spikes_as_nengo_dl_does(model, tf, nengo_dl, x):
    import nengo

    if any(isinstance(layer, tf.keras.layers.Conv2DTranspose) for layer in model.layers):
        pytest.skip("the converter leaves Conv2DTranspose to Keras, which Nengo core cannot run")
    converted = nengo_dl.Converter(
        model,
        swap_activations={tf.keras.activations.relu: nengo.LIF()},
        scale_firing_rates=300,
        inference_only=True,
    )
    probe = _output(converted)
    converted.net.seed = 5
    with nengo_dl.Simulator(converted.net, minibatch_size=1, progress_bar=False) as deep:
        got = deep.predict({_input(converted): _flat(x[:1], STEPS)}, verbose=0)[probe][0]
        deep.freeze_params(converted.net)
    _input(converted).output = x[0].reshape(-1)
    with nengo.Simulator(converted.net, progress_bar=False) as core:
        core.run_steps(STEPS)
    assert np.abs(got).max() > 1e-3
    np.testing.assert_allclose(core.data[probe], got, atol=1e-4)


def test_tf2onnx_writes_what_onnxruntime_answers_as_keras(model, x):
    import onnxruntime

    from snnrepro.readers.keras import to_onnx

    session = onnxruntime.InferenceSession(to_onnx(model).SerializeToString(), providers=["CPUExecutionProvider"])
    got = session.run(None, {session.get_inputs()[0].name: x})[0]
    np.testing.assert_allclose(got, model.predict(x, verbose=0), atol=1e-5)


def test_a_transposed_convolution_built_by_hand_answers_as_kerass(tf, nengo_dl):
    import nengo

    if not hasattr(nengo, "ConvolutionTranspose"):
        pytest.skip(f"Nengo {nengo.__version__} has no ConvolutionTranspose (it came with Nengo 3.2)")
    rng = np.random.RandomState(0)
    image, kernel = rng.rand(1, 4, 3, 2).astype(np.float32), rng.normal(size=(3, 3, 5, 2)).astype(np.float32)
    wanted = tf.nn.conv2d_transpose(image, kernel, (1, 9, 7, 5), strides=2, padding="VALID").numpy()
    with nengo.Network() as network:
        source = nengo.Node(image.ravel())
        transform = nengo.ConvolutionTranspose(
            5, (4, 3, 2), strides=(2, 2), kernel_size=(3, 3), padding="valid", init=kernel.transpose(0, 1, 3, 2)
        )
        sink = nengo.Node(size_in=transform.output_shape.size)
        nengo.Connection(source, sink, transform=transform, synapse=None)
        probe = nengo.Probe(sink)
    for simulator_type in (nengo.Simulator, nengo_dl.Simulator):
        with simulator_type(network, progress_bar=False) as simulator:
            simulator.run_steps(1)
            np.testing.assert_allclose(simulator.data[probe].reshape(-1), wanted.ravel(), atol=1e-4)
