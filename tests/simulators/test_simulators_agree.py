"""The plain simulator, Nengo core and NengoDL give the same spikes, readouts and counts from the same data."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    MaxPool,
    Pad,
    ReLU,
    Reshape,
    Select,
    Softmax,
    Transpose,
)
from snnrepro.simulators.nengo import layers as nengo_layers
from snnrepro.simulators.nengo import network as nengo_network
from snnrepro.simulators.nengo import views as nengo_views
from snnrepro.simulators.nengo.dl import NengoDLSimulator
from snnrepro.simulators.plain import Stepper, spike_trains
from snnrepro.spiking.network import SpikingNetwork
from snnrepro.spiking.neurons import IF, LIF, Population
from snnrepro.spiking.prepare import prepare
from snnrepro.spiking.step import population_state
from tests.helpers.spiking_strategies import Case, drawn_cases

SIMULATORS = ("nengo", "nengo-dl")


@pytest.fixture(scope="module", autouse=True)
def _needs(nengo_dl):
    """Every test here needs Nengo, most of them NengoDL."""


def _all_of(spiking, x, n_steps, simulator):
    """Return everything that a run gives, at every step, as comparable arrays by name."""
    run = spiking.run(x, n_steps, simulator, keep_steps=range(1, n_steps + 1))
    assert run.steps == tuple(range(1, n_steps + 1))
    assert run.n_neurons == {name: np.prod(spiking.network.shapes[name]) for name in spiking.populations}
    found = {"scores": run.scores_by_step, "operations": run.synaptic_operations, "macs": run.macs}
    return {**found, **{f"spikes of {name}": counts for name, counts in run.spike_counts.items()}}


def _differing(spiking, x, n_steps, simulator):
    """Return the names of what is not identical to the plain simulator's."""
    wanted, got = (_all_of(spiking, x, n_steps, one) for one in ("plain", simulator))
    assert wanted.keys() == got.keys()
    assert any(counts.any() for name, counts in wanted.items() if name.startswith("spikes")), "no neuron fires"
    assert all(wanted[name].dtype == got[name].dtype and wanted[name].shape == got[name].shape for name in wanted)
    return [name for name in wanted if not np.array_equal(wanted[name], got[name])]


def _nengos_trains(spiking, image, n_steps):
    """Return the output of every population in every step as Nengo core gives it."""
    import nengo

    written = nengo_network.build(spiking)
    written.input.output = image.reshape(-1).astype(np.float64)
    with written.network:
        probes = {name: nengo.Probe(ensemble.neurons) for name, ensemble in written.ensembles.items()}
    with nengo.Simulator(written.network, dt=spiking.dt, progress_bar=False, optimize=False) as simulator:
        simulator.run_steps(n_steps)
    return {
        name: simulator.data[probe].reshape(n_steps, *spiking.network.shapes[name]) for name, probe in probes.items()
    }


@settings(max_examples=60)
@given(drawn_cases())
def test_nengo_core_gives_the_plain_simulators_numbers_bit_for_bit(case):
    assert _differing(case.spiking, case.x, case.n_steps, "nengo") == []


@settings(max_examples=30)
@given(drawn_cases(max_images=1))
def test_nengo_core_gives_every_spike_in_its_step_and_place(case):
    wanted = spike_trains(case.spiking, case.x, case.n_steps)
    got = _nengos_trains(case.spiking, case.x[0], case.n_steps)
    assert any(train.any() for train in wanted.values())
    for name, train in wanted.items():
        np.testing.assert_array_equal(got[name], train[0], err_msg=name)


@settings(max_examples=5, phases=(Phase.explicit, Phase.generate))  # a graph is built for each
@given(drawn_cases(max_blocks=7))
def test_nengo_dl_gives_the_plain_simulators_numbers_bit_for_bit(case):
    assert _differing(case.spiking, case.x, case.n_steps, "nengo-dl") == []


@functools.lru_cache(maxsize=None)
def _cases(blocks, growths):
    """Return drawn cases, for what must be noticed on one of them; several faults look at the same."""
    found = []

    @settings(max_examples=60)
    @given(drawn_cases(blocks, max_images=1, growths=growths))
    def collect(case):
        found.append(case)

    collect()
    return found


def _above_not_at(neurons):
    original = neurons.SignedIF.step

    def step(self, dt, current, output, potential):
        original(self, dt, current - 2.0**-16, output, potential)
        potential += 2.0**-16

    return neurons.SignedIF, "step", step


def _without_growth(neurons):
    original = neurons.Maximum.__init__
    return neurons.Maximum, "__init__", lambda self, label, n, growth: original(self, label, n, min(growth, 1.0))


def _with_padding(neurons):
    return neurons, "OUTSIDE", 0.0


def _no_reset_to_zero(neurons):
    original = neurons.SignedIF.__init__
    return neurons.SignedIF, "__init__", lambda self, *args: original(self, *args[:-2], "subtract", args[-1])


def _one_spike(neurons):
    original = neurons.SignedIF.__init__
    return neurons.SignedIF, "__init__", lambda self, *args: original(self, *args[:-1], 1)


def _lower_padding(neurons):
    original = nengo_layers.same_pads
    return nengo_layers, "same_pads", lambda *args, upper: original(*args, upper=False)


def _kernel_not_turned(neurons):
    original = nengo_layers.LayerWriter._convolve

    def convolve(self, name, view, kernel, *rest):
        transposed = isinstance(next(n for n in self.spiking.network.nodes if n.name == name).layer, ConvTranspose)
        original(self, name, view, kernel[::-1, ::-1] if transposed else kernel, *rest)

    return nengo_layers.LayerWriter, "_convolve", convolve


def _groups_mixed(neurons):
    original = nengo_layers.matrix

    def mixed(layer, *shapes):
        if isinstance(layer, Conv) and layer.groups > 1:
            layer = replace(layer, weights=layer.weights[::-1])
        return original(layer, *shapes)

    return nengo_layers, "matrix", mixed


def _pads_not_counted(neurons):
    original = nengo_layers.matrix

    def uncounted(layer, *shapes):
        if isinstance(layer, AveragePool):
            layer = replace(layer, counted=tuple((0, 0) for _ in layer.counted))
        return original(layer, *shapes)

    return nengo_layers, "matrix", uncounted


def _no_constant(neurons):
    return nengo_layers.LayerWriter, "constant", lambda self, values, target: None


def _no_bias(neurons):
    original = nengo_layers.LayerWriter._bias

    def bias(self, node, target, axis):
        zero = replace(node, layer=replace(node.layer, bias=np.zeros_like(node.layer.bias)))
        original(self, zero, target, axis)

    return nengo_layers.LayerWriter, "_bias", bias


def _wrong_transpose(neurons):
    original = nengo_views.View.moved

    def moved(self, layer):
        return original(self, Transpose(tuple(np.argsort(layer.axes))) if isinstance(layer, Transpose) else layer)

    return nengo_views.View, "moved", moved


FAULTS = {
    _above_not_at: ("conv",),
    _no_reset_to_zero: ("conv",),
    _one_spike: ("conv",),
    _without_growth: ("maximum",),
    _with_padding: ("maximum",),
    _lower_padding: ("conv",),
    _kernel_not_turned: ("conv_transpose",),
    _groups_mixed: ("conv",),
    _pads_not_counted: ("average",),
    _no_constant: ("affine", "pad"),
    _no_bias: ("conv",),
    _wrong_transpose: ("transpose",),
}
"""What is broken, and which layers show it."""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_a_planted_fault_is_noticed(monkeypatch, fault):
    from snnrepro.simulators.nengo import neurons as nengo_neurons

    monkeypatch.setattr(*fault(nengo_neurons))
    cases = [_below_zero(), _odd_row_in_front(), *_cases(FAULTS[fault], (1.5,) if fault is _without_growth else (1.0,))]
    assert any(_notices(case) for case in cases)


def _below_zero():
    """Return a case with a maximum over numbers below 0 and padding."""
    one, ones = np.ones(()), (1, 1)
    nodes = (
        Node("relu", ("image",), ReLU()),
        Node("negated", ("relu",), Affine(-one, 0 * one)),
        Node("max", ("negated",), MaxPool((2, 2), ones, ones, ((1, 0), (0, 1)))),
    )
    populations = {"relu": Population(IF(), one, one, one / 2, 0 * one)}
    spiking = SpikingNetwork(Network("image", (1, 3, 2), nodes, {}), "max", populations)
    return Case(spiking, np.full((1, 1, 3, 2), 0.5, np.float32), 3)


def _odd_row_in_front():
    """Return a case with a convolution padded by one row, in front of the image: Nengo's "same" has it behind."""
    one = np.ones(())
    conv = Conv(np.arange(9.0).reshape(1, 1, 3, 3) / 8, np.zeros(1), (2, 2), (1, 1), ((1, 0), (1, 0)))
    nodes = (Node("relu", ("image",), ReLU()), Node("conv", ("relu",), conv))
    populations = {"relu": Population(IF(), one, one, one / 2, 0 * one)}
    spiking = SpikingNetwork(Network("image", (1, 6, 4), nodes, {}), "conv", populations)
    return Case(spiking, (np.arange(24.0).reshape(1, 1, 6, 4) / 32).astype(np.float32), 3)


def _notices(case):
    try:
        return bool(_differing(case.spiking, case.x, case.n_steps, "nengo"))
    except (ValueError, RuntimeWarning):  # a shape that no longer fits, a division by 0
        return True


def _trained_like(seed, neuron, **settings):
    """Return a small convolutional network with weights of every size, and neurons one constant a channel."""
    rng = np.random.RandomState(seed)

    def normal(*shape):
        return rng.normal(0, 1.5 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)

    def bias(n):
        return rng.uniform(-0.1, 0.3, n).astype(np.float32)

    same, ones = ((1, 1), (1, 1)), (1, 1)
    nodes = (
        Node("c1", ("image",), Conv(normal(4, 2, 3, 3), bias(4), ones, ones, same)),
        Node("r1", ("c1",), ReLU()),
        Node("c2", ("r1",), Conv(normal(4, 1, 3, 3), bias(4), ones, ones, same, groups=4)),
        Node("r2", ("c2",), ReLU()),
        Node("sum", ("r1", "r2"), Add()),
        Node("both", ("sum", "r2"), Concat(0)),
        Node("pool", ("both",), MaxPool((2, 2), (2, 2), ones, ((0, 0), (0, 1)))),
        Node("c3", ("pool",), Conv(normal(6, 8, 3, 3), bias(6), (2, 2), ones, ((2, 1), (1, 1)))),
        Node("r3", ("c3",), ReLU()),
        Node("up", ("r3",), Select((None, (0, 0, 1), None))),
        Node("border", ("up",), Pad(((0, 0), (0, 0), (1, 0)))),
        Node("mean", ("border",), AveragePool((3, 2), ones, ones, ((0, 0), (0, 0)), ((0, 0), (0, 0)))),
        Node("flat", ("mean",), Reshape((12,))),
        Node("d", ("flat",), Dense(4 * normal(10, 12).T, bias(10))),
        Node("softmax", ("d",), Softmax((0,))),
    )
    prepared = prepare(Network("image", (2, 6, 5), nodes, {}))
    populations = {}
    for name in ("r1", "r2", "r3"):
        channels = prepared.network.shapes[name][0]
        amplitude = rng.uniform(0.4, 1.1, (channels, 1, 1))
        initial = rng.uniform(0, 0.6, (channels, 1, 1))
        drive = np.full(1, neuron.bias if isinstance(neuron, LIF) else 0.01)
        populations[name] = Population(neuron, amplitude * 0.9, amplitude, initial, drive)
    spiking = SpikingNetwork(prepared.network, prepared.readout, populations, **settings)
    # Or one class would answer every image.
    mean = np.log(spiking.run(_images(50), 10, "plain").scores).mean(axis=0)
    return replace(spiking, correction=-mean)


def _images(n_images):
    rng = np.random.RandomState(0)
    return (rng.rand(n_images, 2, 6, 5) * rng.rand(n_images, 2, 1, 1)).astype(np.float32)


TRAINED_LIKE = {
    "integrate-and-fire": (IF(), {}),
    "leaky, filtered": (IF(tau=0.02), {"synapse": 0.002, "readout_synapse": 0.01}),
    "weighted spikes": (IF(growth=1.3, max_spikes=2), {}),
    "LIF": (LIF(max_rate=300.0), {"readout_synapse": 0.1}),
}


@pytest.mark.parametrize("kind", TRAINED_LIKE)
@pytest.mark.parametrize(("simulator", "n_images"), [("nengo", 20), ("nengo-dl", 1000)])
def test_networks_with_weights_of_every_size_answer_the_same(kind, simulator, n_images):
    neuron, settings = TRAINED_LIKE[kind]
    spiking, x, n_steps = _trained_like(3, neuron, **settings), _images(n_images), 10
    wanted, got = (spiking.run(x, n_steps, one, keep_steps=(1, 6, 10)) for one in ("plain", simulator))
    assert len(np.unique(wanted.predictions)) > 2
    assert 0.05 < wanted.sparsity < 0.99
    assert np.mean(wanted.predictions_by_step == got.predictions_by_step) >= 0.999
    # A spike at the very threshold may come a step later where sums are rounded otherwise.
    off = np.abs(wanted.scores_by_step - got.scores_by_step).reshape(n_images, -1).max(axis=1)
    assert np.mean(off < 1e-4) >= 0.99
    for name, counts in wanted.spike_counts.items():
        assert np.mean(counts == got.spike_counts[name]) >= 0.99
    # Nor is it always 0 what a maximum gains where two inputs are as large as each other.
    np.testing.assert_allclose(got.synaptic_operations, wanted.synaptic_operations, rtol=0.01)
    assert np.mean(wanted.synaptic_operations == got.synaptic_operations) >= 0.8
    np.testing.assert_array_equal(wanted.macs, got.macs)


def test_populations_that_nengo_dl_runs_in_one_call_keep_their_own_constants():
    """Two chains side by side, as large as each other: NengoDL merges what they have in common."""
    rng = np.random.RandomState(0)

    def dyadic(*shape):
        return rng.randint(-2, 4, shape).astype(np.float32) / 2

    ones, none = (1, 1), ((0, 0), (0, 0))
    nodes, populations = [], {}
    for name, neuron, size in [
        ("a", IF(growth=1.5, max_spikes=2), (2, 2)),
        ("b", IF(growth=1.5, reset="zero"), (1, 4)),
    ]:
        nodes += [
            Node(f"{name}/conv", ("image",), Conv(dyadic(3, 2, 1, 1), dyadic(3), ones, ones, none)),
            Node(f"{name}/relu", (f"{name}/conv",), ReLU()),
            Node(f"{name}/max", (f"{name}/relu",), MaxPool(size, size, ones, none)),
            Node(f"{name}/flat", (f"{name}/max",), Reshape((12,))),
        ]
        amplitude = 2.0 ** rng.randint(-1, 2, (3, 1, 1))
        populations[f"{name}/relu"] = Population(neuron, amplitude, amplitude, amplitude / 2, dyadic(3, 1, 1) / 4)
    network = Network("image", (2, 4, 4), (*nodes, Node("sum", ("a/flat", "b/flat"), Add())), {})
    spiking = SpikingNetwork(network, "sum", populations)
    x = np.abs(dyadic(3, 2, 4, 4))
    stepper = Stepper(spiking, x)
    wanted = np.stack([stepper.step() for _ in range(4)], axis=1)
    assert all(0 < np.mean(output != 0) < 1 for output in stepper.outputs.values())
    for merge in (True, False):
        with NengoDLSimulator(spiking, 3, merge) as simulator:
            np.testing.assert_array_equal(simulator.run(x, 4, keep_steps=range(1, 5)), wanted)


def test_a_grouped_convolution_of_ones_runs_where_nengo_dl_takes_a_square_matrix_for_the_identity():
    ones = np.ones((2, 1, 1, 2), np.float32)
    layer = Conv(ones, np.zeros(2), (1, 1), (1, 1), ((0, 0), (0, 1)), groups=2)
    nodes = (Node("relu", ("image",), ReLU()), Node("conv", ("relu",), layer))
    one = np.ones(())
    spiking = SpikingNetwork(
        Network("image", (2, 3, 3), nodes, {}), "conv", {"relu": Population(IF(), one, one, one / 2, 0 * one)}
    )
    x = np.random.RandomState(0).randint(0, 4, (2, 2, 3, 3)) / np.float32(4)
    assert _differing(spiking, x, 3, "nengo-dl") == []


@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize("n_images", [0, 1, 3])
def test_any_number_of_images_runs_and_progress_adds_up(simulator, n_images, monkeypatch):
    from snnrepro.simulators.nengo import dl as nengo_dl

    spiking = _trained_like(0, IF())
    per_image = 4 * sum(np.prod(shape) for shape in spiking.network.shapes.values()) + 4 * 70
    monkeypatch.setattr(nengo_dl, "_NUMBERS", 2 * per_image)  # two images a minibatch: the third fills no minibatch
    x, done = _images(n_images), []
    run = spiking.run(x, 4, simulator, keep_steps=(2, 4), progress=done.append)
    assert run.scores_by_step.shape == (n_images, 2, 10)
    assert {counts.shape for counts in run.spike_counts.values()} == {(n_images,)}
    if n_images:
        wanted = spiking.run(x, 4, "plain", keep_steps=(2, 4))
        np.testing.assert_allclose(run.scores_by_step, wanted.scores_by_step, atol=1e-5)
        np.testing.assert_array_equal(run.synaptic_operations, wanted.synaptic_operations)
    assert sum(done) == pytest.approx(1.0 if n_images else 0.0)
    assert len(done) == {"nengo": n_images, "nengo-dl": (n_images + 1) // 2}[simulator]


@settings(max_examples=25)
@given(
    tau_rc=st.sampled_from([0.005, 0.02, 0.05]),
    tau_ref=st.sampled_from([0.001, 0.002, 0.0035]),
    min_voltage=st.sampled_from([0.0, -1.0]),
    seed=st.integers(0, 1000),
)
def test_the_lif_neuron_is_nengos_own_step_by_step(tau_rc, tau_ref, min_voltage, seed):
    import nengo

    dt, n = 0.001, 50
    rng = np.random.RandomState(seed)
    neuron = LIF(tau_rc, tau_ref, min_voltage=min_voltage)
    amplitude = np.float32(neuron.amplitude / dt)
    start = rng.rand(n).astype(np.float32)
    state = population_state(Population(neuron, np.ones(()), amplitude, start, neuron.bias * np.ones(())), dt, (1, n))
    model = nengo.LIF(tau_rc, tau_ref, min_voltage=min_voltage, amplitude=neuron.amplitude)
    voltage, refractory, output = start.copy(), np.zeros(n, np.float32), np.zeros(n, np.float32)
    fired = 0
    for _ in range(60):
        z = rng.normal(1.0, 2.0, n).astype(np.float32)
        got = state.step(z[np.newaxis])[0]
        model.step(dt, np.float32(neuron.gain) * z + np.float32(neuron.bias), output, voltage, refractory)
        np.testing.assert_allclose(got, output, rtol=1e-6)
        np.testing.assert_allclose(state.potential[0], voltage, atol=1e-5)
        fired += np.count_nonzero(got)
    assert fired > 10


def test_neurons_of_nengos_lif_with_amplitudes_of_their_own_agree():
    one = np.ones(())
    nodes = (
        Node("d1", ("x",), Dense(np.eye(3) * 2, np.ones(3))),
        Node("r", ("d1",), ReLU()),
        Node("d2", ("r",), Dense(np.ones((3, 2)) * [[1, -1]], np.zeros(2))),
    )
    network = Network("x", (3,), nodes, {})
    population = Population(LIF(), one, np.array([1.0, 2.0, 4.0]), one / 2, LIF().bias * one)
    spiking = SpikingNetwork(network, "d2", {"r": population})
    x = np.random.RandomState(0).rand(4, 3).astype(np.float32)
    wanted, got = (spiking.run(x, 30, one) for one in ("plain", "nengo"))
    assert wanted.spike_counts["r"].min() > 3
    np.testing.assert_array_equal(wanted.spike_counts["r"], got.spike_counts["r"])
    np.testing.assert_allclose(wanted.scores, got.scores, atol=1e-5)
