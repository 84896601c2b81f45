"""A curved function inside a network is as many neurons as an error bound asks for; everything else stays as it is."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

import snnrepro
from snnrepro.errors import ArchiveError, DataError, DataWarning
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Conv, Dense, Function, ReLU, Reshape, Sigmoid
from snnrepro.spiking.evaluate import evaluate
from snnrepro.spiking.functions import fits, with_functions, with_rectifiers
from snnrepro.spiking.piecewise import BOUND, MOST_TERMS, fit

CURVES = {
    "tanh(x)": np.tanh,
    "sigmoid(x)": special.expit,
    "x * sigmoid(x)": lambda x: x * special.expit(x),
    "0.5 * x * (1.0 + erf(x / 1.4142135623730951))": lambda x: x * special.ndtr(x),
    "x * min(max(x / 6.0 + 0.5, 0.0), 1.0)": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "max(x, 0.0) + exp(min(x, 0.0)) - 1.0": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "softplus(x)": lambda x: np.logaddexp(x, 0),
    "x * tanh(softplus(x))": lambda x: x * np.tanh(np.logaddexp(x, 0)),
}


@settings(max_examples=30)
@given(st.sampled_from(sorted(CURVES)), st.floats(0.2, 5), st.floats(-3, 3), st.integers(0, 100))
def test_a_fit_keeps_its_bound_on_the_data_and_says_so(formula, spread, centre, seed):
    x = np.random.RandomState(seed).normal(centre, spread, 3000)
    y = CURVES[formula](x)
    fitted = fit(formula, x)
    error = np.sqrt(np.mean((fitted(x) - y) ** 2)) / y.std()
    assert error == pytest.approx(fitted.error, rel=1e-3, abs=1e-5)
    assert error <= BOUND or len(fitted.knots) == MOST_TERMS
    assert (fitted.low, fitted.high) == pytest.approx((x.min(), x.max()))
    between = np.linspace(x.min(), x.max(), 777)
    assert np.abs(fitted(between) - CURVES[formula](between)).max() <= 1.05 * fitted.largest + 1e-3 * y.std()
    assert fitted.knots or spread < 1  # not vacuous: it is curved


@pytest.mark.parametrize("formula", CURVES)
def test_a_fit_has_no_more_terms_than_its_bound_asks_for(formula):
    x = np.random.RandomState(1).normal(0, 2, 3000)
    n_terms = [len(fit(formula, x, bound).knots) for bound in (0.1, 0.03, 0.01)]
    assert n_terms == sorted(n_terms)
    assert n_terms[0] < n_terms[-1] <= 8


def test_the_bends_of_what_is_piecewise_linear_are_found():
    x = np.random.RandomState(1).uniform(-3, 3, 5000)
    fitted = fit("max(x, 0.5) - 2.0 * max(x - 1.0, 0.0)", x)
    assert fitted.error < 1e-6
    assert fitted.knots[:2] == pytest.approx([0.5, 1.0], abs=1e-4)


def test_a_function_that_is_constant_on_the_data_has_no_terms():
    fitted = fit("max(x, 0.0) * x", np.linspace(-3, -1, 50))
    assert (fitted.knots, fitted.slope, fitted.offset) == ((), 0.0, 0.0)


CURVED = (Function("x * sigmoid(x)"), Function("tanh(x)"))


def _network(layers=CURVED, last=None):
    """Return a network of a convolution and two dense layers, with these between them."""
    rng = np.random.RandomState(0)
    nodes = (
        Node(
            "conv",
            ("x",),
            Conv(rng.normal(size=(4, 2, 3, 2)) / 2, rng.normal(size=4) / 4, (1, 2), (1, 1), ((1, 0), (0, 1))),
        ),
        Node("first", ("conv",), layers[0]),
        Node("flat", ("first",), Reshape((4 * 6 * 3,))),
        Node("hidden", ("flat",), Dense(rng.normal(size=(72, 20)) / 4, rng.normal(size=20) / 4)),
        Node("second", ("hidden",), layers[1]),
        Node("y", ("second",), Dense(rng.normal(size=(20, 5)), np.zeros(5))),
    )
    return Network("x", (2, 7, 5), nodes if last is None else (*nodes, Node("last", ("y",), last)), {})


IMAGES = np.random.RandomState(7).normal(0, 1, (300, 2, 7, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def spiking():
    return snnrepro.convert(_network(), calibration=IMAGES, n_steps=32)


def test_a_network_of_functions_answers_as_it_was_trained(spiking):
    trained = _network().forward(IMAGES)
    scores = spiking.run(IMAGES).scores
    assert trained.std() > 0.5
    assert np.corrcoef(scores.ravel(), trained.ravel())[0, 1] > 0.998
    shuffled = np.random.RandomState(0).permutation(len(scores))
    assert np.corrcoef(scores[shuffled].ravel(), trained.ravel())[0, 1] < 0.5  # the planted fault


def test_the_terms_are_neurons_and_are_counted(spiking):
    n_terms = {name: len(one.knots) for name, one in spiking.functions.items()}
    assert set(n_terms) == {"first", "second"}
    assert min(n_terms.values()) > 1
    assert sum(spiking.n_neurons.values()) == 72 * n_terms["first"] + 20 * n_terms["second"]
    run = spiking.run(IMAGES[:5])
    assert run.spike_counts.keys() == {f"{name}/{k}" for name, n in n_terms.items() for k in range(n)}
    assert (run.synaptic_operations > 0).all()


@pytest.mark.parametrize("simulator", ["plain", "nengo"])
def test_every_simulator_gives_its_spikes(spiking, simulator):
    if simulator == "nengo":
        pytest.importorskip("nengo")
    event, other = (spiking.run(IMAGES[:6], 12, simulator=name) for name in ("event", simulator))
    assert sum(int(counts.sum()) for counts in event.spike_counts.values()) > 1000
    for name, counts in event.spike_counts.items():
        differ = np.abs(counts.astype(int) - other.spike_counts[name]).sum()
        assert differ <= 1e-3 * counts.sum() + 1, name  # sums in another order: a spike on the verge comes later
    np.testing.assert_allclose(event.scores, other.scores, atol=0.05)


def test_the_trained_network_is_still_there_with_its_functions(spiking):
    trained = spiking.trained
    assert [node.layer.formula for node in trained.nodes if isinstance(node.layer, Function)] == [
        "x * sigmoid(x)",
        "tanh(x)",
    ]
    np.testing.assert_allclose(trained.forward(IMAGES), _network().forward(IMAGES), rtol=1e-5, atol=1e-5)
    assert np.abs(spiking.network.forward(IMAGES) - _network().forward(IMAGES)).max() > 1e-3  # the fit is another one


def test_accuracy_is_compared_with_the_trained_network_not_with_its_fit(spiking):
    labels = _network().forward(IMAGES).argmax(axis=1)
    found = evaluate(spiking, spiking.run(IMAGES), IMAGES, labels)
    assert found.trained.percent == 100.0


def test_rectifiers_in_and_out_again_is_the_same_network():
    network = _network()
    fitted = fits(network, IMAGES)
    again = with_functions(with_rectifiers(network, fitted), fitted)
    assert [(node.name, node.inputs, type(node.layer)) for node in again.nodes] == [
        (node.name, node.inputs, type(node.layer)) for node in network.nodes
    ]


def test_an_archive_keeps_the_fits(spiking, tmp_path):
    spiking.save(tmp_path / "s.npz")
    again = snnrepro.load_spiking(tmp_path / "s.npz")
    assert again.functions == spiking.functions
    np.testing.assert_array_equal(again.run(IMAGES[:9]).scores, spiking.run(IMAGES[:9]).scores)


@pytest.mark.parametrize(
    ("field", "value"),
    [("formula", "x.real"), ("factors", [1.0]), ("knots", "text"), ("slope", None), ("error", "1"), ("unknown", 1)],
)
def test_an_archive_with_a_damaged_fit_is_refused(spiking, tmp_path, field, value):
    spiking.save(tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as archive:
        arrays = dict(archive)
    name = next(key for key in arrays if arrays[key].dtype == np.uint8)
    header = json.loads(arrays[name].tobytes())
    header["functions"]["first"][field] = value
    arrays[name] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(tmp_path / "damaged.npz", **arrays)
    assert zipfile.is_zipfile(tmp_path / "damaged.npz")
    with pytest.raises(ArchiveError):
        snnrepro.load_spiking(tmp_path / "damaged.npz")


def test_a_function_at_the_output_is_computed_from_the_readout():
    network = _network((ReLU(), ReLU()), last=Function("tanh(x)"))
    spiking = snnrepro.convert(network, calibration=IMAGES, n_steps=16)
    assert spiking.functions == {}
    assert spiking.readout == "y"
    assert np.abs(spiking.run(IMAGES).scores).max() <= 1


def test_a_sigmoid_inside_is_fitted_and_one_at_the_output_is_not():
    spiking = snnrepro.convert(_network((Sigmoid(), ReLU()), last=Sigmoid()), calibration=IMAGES, n_steps=8)
    assert [one.formula for one in spiking.functions.values()] == ["sigmoid(x)"]
    assert spiking.readout == "y"


def test_what_is_not_defined_for_the_images_is_refused_by_the_nodes_name():
    with pytest.raises(
        DataError, match=r"Function 'first': sqrt\(x\) is no finite number for \d+ of 150 calib.* epsilon"
    ):
        snnrepro.convert(_network((Function("sqrt(x)"), ReLU())), calibration=IMAGES)
    with pytest.raises(DataError, match=r"Function 'first': log\(x\) is no finite number at -\d"):
        snnrepro.convert(_network((Function("log(x)"), ReLU())), calibration=IMAGES)


def test_without_images_a_function_cannot_be_fitted():
    with pytest.raises(DataError, match="'first': functions are fitted on calibration images"):
        snnrepro.convert(_network(), "thesis")


def test_a_function_that_rectifiers_do_not_fit_is_warned_of():
    with pytest.warns(
        DataWarning, match=r"of 1 functions 1 are not fitted within 1 % by 12 rectifiers each; the worst is 'first'"
    ):
        fits(_network((Function("sin(9.0 * x)"), ReLU())), IMAGES)


def test_fitting_tells_its_progress_and_a_network_without_functions_tells_none():
    told = {"functions": [], "none": []}
    fits(_network(), IMAGES, told["functions"].append)
    fits(_network((ReLU(), ReLU())), IMAGES, told["none"].append)
    assert told["none"] == []
    assert len(told["functions"]) > len(CURVED)  # the images, and each function
    assert min(told["functions"]) > 0
    assert sum(told["functions"]) == pytest.approx(1)
