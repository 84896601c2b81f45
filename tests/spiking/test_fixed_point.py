"""In fixed point every sum is exact: all simulators give the same spikes, whatever network, whatever order of sums."""

from __future__ import annotations

import functools
import importlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

import snnrepro
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import (
    Add,
    Affine,
    AveragePool,
    Conv,
    Dense,
    LeakyReLU,
    MaxPool,
    Multiply,
    Reduce,
    ReLU,
    Reshape,
    Sigmoid,
    Softmax,
)
from snnrepro.simulators import plain
from snnrepro.spiking import exponents
from snnrepro.spiking.neurons import IF
from snnrepro.spiking.recipes import Recipe
from snnrepro.verification import rate_values
from tests.helpers.spiking_strategies import image_networks

# Few images, and answers that are not learnt, are enough here.
pytestmark = pytest.mark.filterwarnings("ignore::snnrepro.DataWarning")

BLOCKS = ("conv", "conv_transpose", "average", "maximum", "residual", "concat", "select", "affine", "transpose")
RECIPES = {
    "rate": Recipe("rate", threshold="max"),
    "grows": Recipe("grows", IF(growth=1.1875), threshold="percentile"),
    "leaks": Recipe("leaks", IF(tau=0.01), threshold="percentile"),
    "to zero": Recipe("to zero", IF(reset="zero"), threshold="percentile"),
    "bursts": Recipe("bursts", IF(max_spikes=3), threshold="percentile"),
}


TOLERANCE = {"int8": 0.25, "int16": 0.15}
"""Relative, of a value behind several layers: one in a hundred is off by 0.07 and 0.04, most by a tenth of that."""


def _trained(network, rng):
    """Return the network with weights as training gives them: of all 24 bits, and unlike each other."""

    def trained(layer):
        changed = {
            field: value * rng.uniform(0.5, 1.5, value.shape) + 1e-3 * rng.normal(size=value.shape) * (value != 0)
            for field, value in vars(layer).items()
            if isinstance(value, np.ndarray)
        }
        return replace(layer, **changed)

    nodes = tuple(replace(node, layer=trained(node.layer)) for node in network.nodes)
    return replace(network, nodes=nodes)


@st.composite
def _conversions(draw, kinds=("int8", "int16"), recipes=tuple(RECIPES)):
    """Draw a network in fixed point in which neurons fire, and images for it."""
    rng = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    network = _trained(draw(image_networks(BLOCKS)), rng)
    x = rng.uniform(0, 1.3, (16, *network.input_shape)).astype(np.float32)
    assume(all(np.isfinite(value).all() for _, value in network.activations(x)))  # no maximum of padding alone
    recipe, n_steps = RECIPES[draw(st.sampled_from(recipes))], draw(st.integers(1, 12))
    try:
        spiking = snnrepro.convert(network, recipe, x, n_steps, weights=draw(st.sampled_from(kinds)), most_as_is=1)
    except snnrepro.ModelError as refusal:
        assume("take fewer steps" not in str(refusal))  # a guarantee that cannot be given
        raise
    assume(spiking.run(x[:4]).mean_spikes > 0)
    return spiking, x[:4]


def _all_of(spiking, x, simulator):
    run = spiking.run(x, simulator=simulator, keep_steps=range(1, spiking.n_steps + 1))
    counts = {f"spikes of {name}": of for name, of in run.spike_counts.items()}
    return {"operations": run.synaptic_operations, "macs": run.macs, **counts}, run.scores_by_step


def _differing(spiking, x, simulator):
    """Return the names of what is not identical to the plain simulator's."""
    (wanted, scores), (got, other) = (_all_of(spiking, x, one) for one in ("plain", simulator))
    assert any(counts.any() for name, counts in wanted.items() if name.startswith("spikes")), "no neuron fires"
    differing = [name for name in wanted if not np.array_equal(wanted[name], got[name])]
    if spiking.growth == 1:
        return differing + ["scores"] * (not np.array_equal(scores, other))
    np.testing.assert_allclose(other, scores, rtol=1e-5, atol=1e-5 * np.abs(scores).max())  # steps weigh 1 / growth
    return differing


@settings(max_examples=100)
@given(_conversions())
def test_the_event_simulator_gives_the_plain_ones_spikes_on_every_network(case):
    assert _differing(*case, "event") == []


@settings(max_examples=30)
@given(_conversions())
def test_nengo_core_gives_the_plain_ones_spikes_on_every_network(nengo_dl, case):
    assert _differing(*case, "nengo") == []


@settings(max_examples=4, phases=(Phase.explicit, Phase.generate))  # a graph is built for each
@given(_conversions())
def test_nengo_dl_gives_the_plain_ones_spikes_on_every_network(nengo_dl, case):
    assert _differing(*case, "nengo-dl") == []


@settings(max_examples=60)
@given(_conversions(recipes=("rate", "grows", "bursts")))  # others jump where a potential meets the threshold
def test_rounding_changes_little_on_every_network(case):
    """In endless time the rounded network gives nearly what the same neurons give with float32 weights."""
    spiking, x = case
    rounded, exact = (rate_values(one, x) for one in (spiking, replace(spiking, fixed=None)))
    assert rounded.keys() == exact.keys()
    for name, value in exact.items():
        off = np.linalg.norm(rounded[name] - value)
        assert off <= TOLERANCE[spiking.weights] * np.linalg.norm(value) + 0.01, name


RNG = np.random.RandomState(5)
PADS = ((1, 1), (1, 1))


def _conv(out, inner, strides=(1, 1), size=3):
    weights = RNG.normal(0, 1 / np.sqrt(inner * size * size), (out, inner, size, size))
    pads = ((size // 2, size // 2),) * 2
    return Conv(weights, RNG.normal(0, 0.05, out), strides, (1, 1), pads)


def _dense(n_in, n_out, spread=1.0):
    columns = np.exp(spread * RNG.normal(size=n_out))  # outputs of very different sizes
    return Dense(RNG.normal(0, 1 / np.sqrt(n_in), (n_in, n_out)) * columns, RNG.normal(0, 0.05, n_out) * columns)


def _chain(shape, *layers):
    nodes, before = [], "x"
    for index, layer in enumerate(layers):
        nodes.append(Node(f"{index}", (before,), layer))
        before = f"{index}"
    return Network("x", shape, tuple(nodes), {})


def _residual():
    nodes = (
        Node("first", ("x",), _conv(4, 3)),
        Node("a", ("first",), ReLU()),
        Node("inner", ("a",), _conv(4, 4)),
        Node("b", ("inner",), ReLU()),
        Node("outer", ("b",), _conv(4, 4)),
        Node("sum", ("outer", "a"), Add()),  # what a spike stands for meets no weights on the way
        Node("c", ("sum",), ReLU()),
        Node("smaller", ("c",), _conv(6, 4, (2, 2))),
        Node("shortcut", ("c",), _conv(6, 4, (2, 2), 1)),
        Node("sum of two", ("smaller", "shortcut"), Add()),
        Node("d", ("sum of two",), ReLU()),
        Node("mean", ("d",), Reduce("mean", (1, 2))),  # of 12 numbers
        Node("flat", ("mean",), Reshape((6,))),
        Node("scores", ("flat",), _dense(6, 5)),
        Node("y", ("scores",), Softmax((0,))),
    )
    return Network("x", (3, 7, 5), nodes, {})


NETWORKS = {
    "dense": lambda: _chain((9,), _dense(9, 20), ReLU(), _dense(20, 11), ReLU(), _dense(11, 4)),
    "residual": _residual,
    "pools": lambda: _chain(
        (2, 9, 8),
        _conv(5, 2),
        ReLU(),
        MaxPool((2, 2), (2, 2), (1, 1), ((0, 0), (0, 0))),
        _conv(4, 5),
        ReLU(),
        AveragePool((3, 3), (1, 1), (1, 1), PADS, ((0, 0), (0, 0))),  # of 4, 6 or 9 numbers
        _conv(3, 4),
        ReLU(),
        AveragePool((3, 2), (3, 2), (1, 1), ((0, 0), (0, 0)), ((0, 0), (0, 0))),
        Reshape((6,)),
        _dense(6, 3),
    ),
    "leaky, nothing behind the neurons": lambda: _chain((6,), _dense(6, 8), LeakyReLU(0.1), Affine(0.7, 0.3), ReLU()),
    "means of rows": lambda: _chain((3, 5), _dense(5, 6), ReLU(), Reduce("mean", (0,)), _dense(6, 4)),
}


@functools.lru_cache(maxsize=None)
def _network(name):
    RNG.seed(len(name))  # whatever was built before it
    return NETWORKS[name]()


@functools.lru_cache(maxsize=None)
def _converted(name, weights, recipe="rate", n_steps=9):
    network = _network(name)
    x = np.random.RandomState(1).uniform(-0.3, 1, (64, *network.input_shape)).astype(np.float32)
    return snnrepro.convert(network, RECIPES.get(recipe, recipe), x, n_steps, weights=weights, most_as_is=1), x


@pytest.mark.parametrize("weights", ["int8", "int16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_strategies_do_not_draw_is_exact_too(name, weights):
    assert _differing(*_converted(name, weights, "balanced"), "event") == []


def _in_whole_numbers(spiking, x):
    """Return the spikes of each layer of a dense network, computed in 64-bit whole numbers from its archive's."""
    image = np.rint(np.clip(x, -spiking.fixed.most, spiking.fixed.most) / spiking.fixed.unit).astype(np.int64)
    spikes = np.repeat(image[:, np.newaxis], spiking.n_steps, axis=1)
    unit_in, amplitude, counts = spiking.fixed.unit, 1.0, {}
    for node in spiking.schedule.nodes:
        if isinstance(node.layer, Dense):
            unit = 2.0 ** -spiking.fixed.exponents[node.name]
            stands_for = np.broadcast_to(amplitude, len(node.layer.weights))[:, np.newaxis]
            whole = np.rint(node.layer.weights.astype(np.float64) * stands_for / unit).astype(np.int64)
            z = spikes @ whole + np.rint(node.layer.bias / (unit * unit_in)).astype(np.int64)
            unit = unit * unit_in
            rounded = spiking.fixed.exponents.get(f"{node.name}/rounded")
            if rounded is not None:
                coarse = 2.0**-rounded
                z, unit = np.rint(z * (unit / coarse)).astype(np.int64), coarse
        elif isinstance(node.layer, ReLU):
            population = spiking.populations[node.name]
            held = {name: getattr(population, name) / unit for name in ("threshold", "subtracted", "initial_potential")}
            assert all((value == np.rint(value)).all() for value in held.values())
            v = np.broadcast_to(held["initial_potential"].astype(np.int64), z[:, 0].shape).copy()
            spikes = np.empty_like(z)
            for step in range(spiking.n_steps):
                v += z[:, step]
                spikes[:, step] = v >= held["threshold"]
                v -= spikes[:, step] * held["subtracted"].astype(np.int64)
            counts[node.name] = spikes.sum(axis=(1, 2))
            unit_in, amplitude = 1.0, population.amplitude.astype(np.float64)
    return counts


@pytest.mark.parametrize("weights", ["int8", "int16"])
def test_spikes_are_those_of_64_bit_whole_numbers(weights):
    spiking, x = _converted("dense", weights)
    wanted, run = _in_whole_numbers(spiking, x), spiking.run(x)
    assert len(wanted) == 2
    assert all(counts.any() for counts in wanted.values())
    for name, counts in wanted.items():
        np.testing.assert_array_equal(run.spike_counts[name], counts)


@pytest.mark.parametrize(("weights", "largest"), [("int8", 127), ("int16", 32767)])
@pytest.mark.parametrize("name", NETWORKS)
def test_weights_are_whole_numbers_of_their_bits_times_a_power_of_two_for_each_output(name, weights, largest):
    spiking, _ = _converted(name, weights)
    found = 0
    for node in spiking.simulated.network.nodes:
        if isinstance(node.layer, (Dense, Conv)) and node.name in spiking.fixed.exponents:
            outputs = node.layer.weights.T if isinstance(node.layer, Dense) else node.layer.weights
            whole = outputs.reshape(len(outputs), -1) * 2.0 ** spiking.fixed.exponents[node.name][:, np.newaxis]
            np.testing.assert_array_equal(whole, np.rint(whole))
            assert np.abs(whole).max() <= largest
            found = max(found, np.abs(whole).max())
    assert found > largest / 4 if weights == "int8" else found > 127  # sums may leave fewer than all bits


def test_no_weight_is_further_from_the_trained_one_than_half_a_unit():
    spiking, _ = _converted("dense", "int8")
    amplitude = np.ones(9)
    for node in spiking.schedule.nodes:
        if isinstance(node.layer, Dense):
            simulated = next(one for one in spiking.simulated.network.nodes if one.name == node.name)
            off = np.abs(simulated.layer.weights - node.layer.weights * amplitude[:, np.newaxis])
            half = 0.5 * 2.0 ** -spiking.fixed.exponents[node.name]
            assert off.max() > 0
            assert (off <= half * (1 + 1e-5)).all()
        elif isinstance(node.layer, ReLU):
            amplitude = spiking.populations[node.name].amplitude


def test_neurons_are_fitted_to_the_rounded_weights():
    """What is fitted errs less than what is rounded after fitting, where rounding is coarse."""
    fitted, x = _converted("dense", "int8", "balanced", 16)
    trained, _ = _converted("dense", "float32", "balanced", 16)
    after = Recipe("after", fit=lambda schedule, x, n_steps: trained.populations)
    rounded = snnrepro.convert(fitted.trained, after, x, 16, weights="int8")
    wanted = fitted.trained.forward(x)
    errors = [np.square(one.run(x).scores - wanted).mean() for one in (fitted, rounded)]
    assert errors[0] < errors[1]


def test_the_trained_network_and_what_is_compared_with_it_stay_as_they_were():
    (spiking, x), (trained, _) = _converted("residual", "int16"), _converted("residual", "float32")
    assert spiking.weights == "int16"
    assert trained.weights == "float32"
    assert spiking.trained.forward(x).tobytes() == trained.trained.forward(x).tobytes()
    rounded, exact = plain.mean_outputs(spiking, x), plain.mean_outputs(trained, x)
    assert rounded.keys() == exact.keys()
    for name, train in plain.spike_trains(spiking, x, spiking.n_steps).items():
        np.testing.assert_allclose(train.mean(axis=1), rounded[name], rtol=1e-5, atol=1e-6, err_msg=name)
    for name, value in exact.items():  # in the units of the trained network
        assert np.corrcoef(value.ravel(), rounded[name].ravel())[0, 1] > 0.99, name


@pytest.mark.parametrize("name", NETWORKS)
def test_an_archive_gives_the_same_network(name, tmp_path):
    spiking, x = _converted(name, "int8")
    spiking.save(tmp_path / "one.npz")
    again = snnrepro.load_spiking(tmp_path / "one.npz")
    assert again.fixed.weights == "int8"
    assert again.run(x).scores.tobytes() == spiking.run(x).scores.tobytes()
    again.save(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_an_archive_without_an_exponent_is_refused_by_the_nodes_name(tmp_path):
    spiking, _ = _converted("dense", "int8")
    fewer = {name: one for name, one in spiking.fixed.exponents.items() if name != "2"}
    replace(spiking, fixed=replace(spiking.fixed, exponents=fewer)).save(tmp_path / "less.npz")
    with pytest.raises(snnrepro.ArchiveError, match=r"less\.npz: .*the exponents of '2' are missing"):
        snnrepro.load_spiking(tmp_path / "less.npz")


def test_more_steps_than_are_certainly_exact_are_refused():
    spiking, x = _converted("dense", "int16")
    most = spiking.fixed.most_steps
    assert spiking.n_steps <= most
    with pytest.raises(snnrepro.DataError, match=f"n_steps={most + 1}: .*int16 weights are certainly exact for {most}"):
        spiking.run(x, most + 1)


def _product():
    nodes = (
        Node("first", ("x",), _dense(4, 3)),
        Node("a", ("first",), ReLU()),
        Node("gate", ("a",), Sigmoid()),
        Node("odd product", ("a", "gate"), Multiply()),
        Node("scores", ("odd product",), _dense(3, 2)),
    )
    return Network("x", (4,), nodes, {})


def test_an_early_exit_and_other_workers_give_the_same():
    spiking, x = _converted("residual", "int8")
    run, certain = spiking.run(x), spiking.run(x, early_exit="certain")
    np.testing.assert_array_equal(certain.predictions, run.predictions)
    with ThreadPoolExecutor(1) as executor:
        assert spiking.run(x, executor=executor).scores.tobytes() == run.scores.tobytes()


@pytest.mark.parametrize("name", ["dense", "residual", "leaky, nothing behind the neurons"])
def test_verification_sees_the_rounded_weights(name):
    """In endless time neurons give what the rounded network does: near the trained one, and not the same."""
    (spiking, x), (trained, _) = _converted(name, "int8"), _converted(name, "float32")
    few = replace(spiking, populations=trained.populations), trained
    rounded, exact = (rate_values(one, x) for one in few)
    assert rounded.keys() == exact.keys()
    for value, other in zip(rounded.values(), exact.values()):
        assert 0 < np.abs(value - other).max() < 0.2 * np.abs(other).max()


def test_what_rounded_weights_lose_is_not_blamed_on_neurons():
    spiking, x = _converted("dense", "int8")
    with pytest.raises(snnrepro.ModelError, match="weights='float32'"):
        snnrepro.explain(spiking, x)


@pytest.mark.parametrize(
    ("network", "more", "said"),
    [
        (_product, {}, "Multiply 'odd product'"),
        (NETWORKS["dense"], {"recipe": "thesis"}, "'thesis' has Nengo's LIF"),
        (NETWORKS["dense"], {"weights": "int4"}, "float32, int8, int16, got 'int4'"),
        (
            lambda: _chain((5,), _dense(5, 300), ReLU(), _dense(300, 2, 0.0)),
            {"n_steps": 2**17},
            "take fewer steps, or weights='float32'",
        ),
    ],
)
def test_what_cannot_be_exact_is_refused_with_what_to_do(network, more, said):
    network = network()
    x = np.random.RandomState(0).uniform(0, 1, (16, *network.input_shape)).astype(np.float32)
    recipe = Recipe("max", threshold="max")
    with pytest.raises(snnrepro.ModelError, match=said):
        snnrepro.convert(network, calibration=x, **{"recipe": recipe, "n_steps": 4, "weights": "int16", **more})


def test_what_cannot_be_exact_is_refused_before_functions_are_fitted(monkeypatch):
    # Not `from snnrepro.spiking import convert`: that is the function.
    convert = importlib.import_module("snnrepro.spiking.convert")
    x = np.random.RandomState(0).uniform(0, 1, (16, 4)).astype(np.float32)
    monkeypatch.setattr(convert, "fits", lambda *_: pytest.fail("functions were fitted"))
    with pytest.raises(snnrepro.ModelError, match=r"(?s)Sigmoid 'gate'.*Multiply 'odd product'"):
        snnrepro.convert(_product(), "rate", x, 4, weights="int8")


def test_it_would_be_noticed_if_sums_left_what_is_exact(monkeypatch):
    """The same with weights of 23 bits, and 40 bits for their sums, which float32 does not hold: simulators differ."""
    RNG.seed(3)
    network = _chain((3, 9, 8), _conv(16, 3), ReLU(), _conv(8, 16), ReLU(), Reshape((576,)), _dense(576, 4))
    x = np.random.RandomState(0).uniform(-0.3, 1, (1000, 3, 9, 8)).astype(np.float32)
    differing = {}
    for held in (24, 40):
        monkeypatch.setattr(exponents, "EXACT", 2**held)
        monkeypatch.setitem(exponents.LARGEST, "int16", {24: 2**15 - 1, 40: 2**23}[held])
        spiking = snnrepro.convert(network, RECIPES["rate"], x[:200], 9, weights="int16")
        differing[held] = _differing(spiking, x, "event")
    assert differing[24] == []
    assert differing[40]


def test_rounded_weights_are_not_trained(nengo_dl):
    from snnrepro.simulators.nengo.dl import train

    spiking, x = _converted("dense", "int8")
    with pytest.raises(snnrepro.ModelError, match="int8 weights are not trained"):
        train(spiking, x, np.zeros(len(x), int), settings=None, seed=0)
