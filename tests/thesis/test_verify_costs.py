"""`snnrepro.verify` takes what `load` takes, and fails where the answers do, at the layer that is to blame."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import onnx
import pytest

import snnrepro
from snnrepro import verification
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Add, Dense, Function, ReLU
from snnrepro.simulators.plain import Stepper, mean_outputs
from snnrepro.verification import verify
from tests.helpers.command_line import run_command
from tests.helpers.strategies import as_onnx

RNG = np.random.RandomState(0)
X = RNG.normal(size=(200, 6)).astype(np.float32)


def _network(widths=(20, 15, 12, 4)):
    nodes, source, n_in = [], "x", 6
    rng = np.random.RandomState(3)
    for index, n_out in enumerate(widths):
        nodes.append(Node(f"dense{index}", (source,), Dense(rng.normal(0, 0.5, (n_in, n_out)), np.zeros(n_out))))
        source = f"dense{index}"
        if index < len(widths) - 1:
            nodes.append(Node(f"relu{index}", (source,), ReLU()))
            source = f"relu{index}"
        n_in = n_out
    return Network("x", (6,), tuple(nodes), {})


def _fixed(batch):
    """Return the network as ONNX with a batch axis of fixed size, as PyTorch's exporters write it."""
    proto = as_onnx(_network())
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == ""
    return proto


@pytest.mark.parametrize("batch", [1, 3, 200, 500])
def test_a_model_of_a_fixed_batch_size_is_fed_in_pieces(batch, tmp_path):
    """One of them was a traceback of onnxruntime's; none of its images is left out, the last piece is filled up."""
    found = verify(_fixed(batch), None, X)
    assert found.passed
    assert [one.layer for one in found.comparisons if one.hop == "onnxruntime = forward"][:2] == ["dense0", "relu0"]
    onnx.save(_fixed(batch), str(tmp_path / "fixed.onnx"))
    np.savez(tmp_path / "x.npz", x=X)
    done = run_command("verify", tmp_path / "fixed.onnx", tmp_path / "x.npz")
    assert done.exit_code == 0, done.output


def test_a_fault_in_the_last_piece_is_seen(monkeypatch):
    original = Dense.__call__

    def faulty(layer, x):
        value = original(layer, x)
        value[-1] *= 1.001
        return value

    monkeypatch.setattr(Dense, "__call__", faulty)
    assert not verify(_fixed(3), None, X).passed


@pytest.mark.parametrize("kind", ["batch of 1", "a dictionary"])
def test_a_keras_model_of_a_fixed_batch_or_with_a_dictionary_of_outputs_is_compared(kind, tf):
    layers = tf.keras.layers
    image = tf.keras.Input((6,), batch_size=1 if kind == "batch of 1" else None)
    scores = layers.Dense(3)(layers.Dense(5, activation="relu")(image))
    model = tf.keras.Model(image, {"scores": scores} if kind == "a dictionary" else scores)
    found = verify(model, None, X[:5])
    assert found.comparisons[0].hop == "Keras = onnxruntime"
    assert found.passed


def test_what_costs_no_answers_agrees():
    network = _network()
    spiking = snnrepro.convert(network, "balanced", X, 60)
    found = verify(network, spiking, X)
    assert found.passed, found.first_difference
    costs = [one.cost for one in found.comparisons if one.cost is not None]
    assert len(costs) == 8
    assert max(costs) < 5
    assert all(one.cost is None for one in found.comparisons if "~" not in one.hop)


def test_the_cost_at_the_end_is_the_share_of_other_answers():
    network = _network()
    spiking = snnrepro.convert(network, "balanced", X, 3)
    found = verify(network, spiking, X)
    differ = np.mean(spiking.run(X).predictions != network.forward(X).argmax(axis=1))
    assert found.comparisons[-1].layer == "dense3"
    assert found.comparisons[-1].cost == pytest.approx(100 * differ)


def test_a_layer_that_costs_answers_is_named_though_its_numbers_are_alike():
    """Thresholds 40 % too high in one layer: its rates still correlate with its activations by more than 0.9."""
    network = _network()
    spiking = snnrepro.convert(network, "balanced", X, 60)
    # The channels get thresholds that are wrong by as much up as down: correlated, and of little use.
    wrong = np.where(np.arange(15) % 2, 1.6, 0.4).astype(np.float32)
    broken = replace(spiking.populations["relu1"], amplitude=spiking.populations["relu1"].amplitude * wrong)
    planted = replace(spiking, populations={**spiking.populations, "relu1": broken})
    found = verify(network, planted, X)
    assert not found.passed
    assert found.first_difference.layer == "relu1"
    assert found.first_difference.cost > 5
    allowed = verify(network, planted, X, max_cost=100.0, correlation=0.0)
    assert allowed.passed, "nothing but the cost and the correlation is judged"
    costs = {one.layer: one.cost for one in found.comparisons if one.hop == "forward ~ rates"}
    assert costs["relu0"] < 5 < costs["relu1"]


@pytest.fixture(scope="module")
def deep():
    """A network of eleven layers at so few steps that what they give is less and less alike."""
    network = _network((*[40] * 10, 6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", snnrepro.DataWarning)  # random weights answer mostly one class
        return network, snnrepro.convert(network, "balanced", X, 4)


def _first(deep, populations, **options):
    network, spiking = deep
    with_them = replace(spiking, populations={**spiking.populations, **populations})
    return verify(network, with_them, X, max_cost=100.0, **options)


def test_errors_that_grow_from_layer_to_layer_are_no_fault(deep):
    found = _first(deep, {})
    assert found.passed, found.first_difference
    by_spikes = [one.pearson for one in found.comparisons if one.hop == "forward ~ spikes"]
    assert min(by_spikes) < 0.9 < by_spikes[0], "a bound for all layers alike would not do"


@pytest.mark.parametrize("layer", ["relu2", "relu5", "relu8"])
def test_a_jump_of_the_errors_is_a_fault_and_named_whatever_it_costs(deep, layer):
    own = deep[1].populations[layer]
    wrong = np.where(np.arange(40) % 2, 1.8, 0.2).astype(np.float32)
    found = _first(deep, {layer: replace(own, amplitude=own.amplitude * wrong)})
    assert found.first_difference.layer == layer
    assert _first(deep, {layer: own}).passed


@pytest.mark.parametrize("n_steps", [1, 12])
def test_rates_at_endlessly_many_steps_are_judged_only_where_the_spikes_are_off_too(n_steps):
    """What a spike subtracts matters not in one step, and without end it does; channels get several kinds of it."""
    network = _network()
    spiking = snnrepro.convert(network, "balanced", X, n_steps)
    own = spiking.populations["relu1"]
    off = replace(own, subtracted=own.subtracted * np.where(np.arange(15) % 2, 5, 0.2).astype(np.float32))
    planted = replace(spiking, populations={**spiking.populations, "relu1": off})
    found = [
        {(one.hop, one.layer): one for one in verify(network, made, X, correlation=0.75, max_cost=100.0).comparisons}
        for made in (spiking, planted)
    ]
    before, after = (of["forward ~ rates", "relu1"] for of in found)
    assert after.pearson < 0.8 < before.pearson
    assert found[1]["forward ~ spikes", "relu1"].agrees == after.agrees == (n_steps == 1)


def test_a_regression_is_judged_by_what_it_explains():
    network = _network((20, 15, 1))
    found = verify(network, snnrepro.convert(network, "balanced", X, 2), X)
    good = verify(network, snnrepro.convert(network, "balanced", X, 100), X)
    assert good.comparisons[-1].cost < 1 < found.comparisons[-1].cost
    assert good.passed


def test_no_images_are_refused():
    with pytest.raises(snnrepro.DataError, match="at least one image"):
        verify(_network(), None, X[:0])


def test_the_table_shows_the_costs(tmp_path):
    network = _network()
    network.save(tmp_path / "net.npz")
    np.savez(tmp_path / "x.npz", x=X)
    done = run_command("verify", tmp_path / "net.npz", tmp_path / "x.npz", "--recipe", "balanced", "--n-steps", "60")
    assert "costs, points" in done.stdout
    assert done.exit_code == 0, done.output


def test_comparing_image_by_image_says_the_same(monkeypatch):
    network = _network()
    spiking = snnrepro.convert(network, "rate", X, n_steps=4)
    whole = verify(as_onnx(network), spiking, X).comparisons
    monkeypatch.setattr(verification, "_NUMBERS", 1)
    monkeypatch.setattr(verification, "_LINE", 3)
    pieces = verify(as_onnx(network), spiking, X).comparisons
    assert [(one.hop, one.layer, one.agrees, one.cost) for one in whole] == [
        (one.hop, one.layer, one.agrees, one.cost) for one in pieces
    ]
    for one, other in zip(whole, pieces):
        # BLAS adds a row up otherwise than a matrix.
        assert other.max_error == pytest.approx(one.max_error, abs=1e-5)
        assert other.pearson == pytest.approx(one.pearson, abs=1e-6)
    assert min(one.pearson for one in whole) < 0.999


def test_the_moments_of_parts_are_those_of_the_whole(monkeypatch):
    rng = np.random.RandomState(0)
    first = (rng.normal(size=(50, 7)) + 1000).astype(np.float32)
    second = (first + rng.normal(size=first.shape)).astype(np.float32)
    monkeypatch.setattr(verification, "_LINE", 11)
    found = verification.compare("hop", "layer", first, second, 0.0)
    expected = np.corrcoef(first.ravel().astype(np.float64), second.ravel().astype(np.float64))[0, 1]
    assert found.pearson == pytest.approx(expected, rel=1e-9)
    assert found.max_error == np.abs(first.astype(np.float64) - second).max()


def _curved():
    """Return the network with a function in the place of each rectifier."""
    network = _network()
    nodes = [
        replace(node, layer=Function("tanh(x)")) if node.name.startswith("relu") else node for node in network.nodes
    ]
    return Network("x", (6,), tuple(nodes), {})


def test_what_fits_cost_is_a_hop_of_its_own():
    network = _curved()
    spiking = snnrepro.convert(network, "rate", X, 30)
    found = verify(network, spiking, X)
    assert found.passed, found.first_difference
    hops = list(dict.fromkeys(one.hop for one in found.comparisons))
    assert hops == ["forward = npz round trip", "forward = converted", "forward ~ fit", "fit ~ rates", "fit ~ spikes"]
    fitted = {one.layer: one for one in found.comparisons if one.hop == "forward ~ fit"}
    assert list(fitted) == ["relu0", "relu1", "relu2", "dense3"]
    # The oracle: the function's own values beside the sum of rectifiers that the network holds.
    exact, sums = (dict(one.activations(X)) for one in (network, spiking.network))
    for name, one in fitted.items():
        assert one.max_error == pytest.approx(np.abs(exact[name] - sums[name]).max(), rel=1e-3)
        assert 1e-3 < one.max_error < 1.0, "a fit is close, and is no equality"
    answers = [values["dense3"].argmax(axis=1) for values in (exact, sums)]
    assert fitted["dense3"].cost == pytest.approx(100 * np.mean(answers[0] != answers[1]))


def test_a_bad_fit_is_noticed_and_named():
    """The rectifiers of one function bend the wrong way; the neurons are right for them, and only the fit is wrong."""
    network = _curved()
    fine = snnrepro.convert(network, "rate", X, 30)
    assert fine.functions["relu1"].knots
    nodes = []
    for node in fine.network.nodes:
        if node.name.startswith("relu1/") and node.name.endswith("/scaled"):
            node = replace(node, layer=replace(node.layer, scale=-node.layer.scale))
        nodes.append(node)
    planted = replace(fine, network=replace(fine.network, nodes=tuple(nodes)))
    found = verify(network, planted, X)
    assert (found.first_difference.hop, found.first_difference.layer) == ("forward ~ fit", "relu1")
    before = next(one for one in found.comparisons if (one.hop, one.layer) == ("forward ~ fit", "relu0"))
    assert before.agrees, "the fit before it is right"
    rates = [one for one in found.comparisons if one.hop == "fit ~ rates" and one.layer.startswith("relu1/")]
    assert rates
    assert min(one.pearson for one in rates) > 0.9, "rates are compared with the fit, whatever it is worth"


@pytest.mark.parametrize("same_names", [True, False])
def test_a_spiking_network_of_another_model_is_noticed(same_names):
    network = _network()
    spiking = snnrepro.convert(network, "rate", X, 30)
    scale = Node("dense3", ("unscaled",), Dense(np.eye(4) * 1.01, np.zeros(4)))
    other = [replace(node, name="unscaled") if node.name == "dense3" else node for node in network.nodes] + [scale]
    if not same_names:
        renamed = {node.name: f"{node.name}/other" for node in other}
        other = [Node(renamed[one.name], tuple(renamed.get(i, i) for i in one.inputs), one.layer) for one in other]
    found = verify(Network("x", (6,), tuple(other), {}), spiking, X)
    assert found.first_difference.hop == "forward = converted"
    assert found.first_difference.layer == other[-1].name
    assert found.first_difference.relative_error == pytest.approx(0.01, rel=0.02)
    assert verify(network, spiking, X).passed


def test_forgetting_what_is_read_changes_no_value():
    """Of a network with a branch, where a value is read twice, in several steps."""
    branch = Node("sum", ("dense3", "dense3b"), Add())
    nodes = (*_network().nodes, Node("dense3b", ("relu1",), Dense(np.ones((15, 4)) * 0.1, np.zeros(4))), branch)
    spiking = snnrepro.convert(Network("x", (6,), nodes, {}), "balanced", X, 5)
    kept, lean = Stepper(spiking, X), Stepper(spiking, X, keep=False)
    for _ in range(5):
        np.testing.assert_array_equal(lean.step(), kept.step())
    assert kept.values.keys() > lean.values.keys()
    np.testing.assert_array_equal(mean_outputs(spiking, X)["sum"], spiking.run(X, simulator="plain").scores)
