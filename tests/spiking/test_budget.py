"""`max_loss` finds the fewest steps whose loss is within it as far as the images can tell, or says they cannot."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

import snnrepro
from snnrepro.errors import DataWarning
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Dense, ReLU, Sigmoid, Softmax
from snnrepro.network.task import Task
from snnrepro.spiking import fitting
from snnrepro.spiking.budget import STEPS_TRIED, cheapest
from snnrepro.spiking.neurons import CONSTANTS

CLASSES = Task("classes", (10,))


@dataclass(frozen=True)
class Fake:
    """A spiking network that answers what it is told."""

    n_steps: int
    answers: np.ndarray
    provenance: dict = field(default_factory=dict)

    def run(self, x):
        return SimpleNamespace(predictions=self.answers)


def _answers(rng, labels, wrong):
    """Return the labels with a share of other answers."""
    return np.where(rng.rand(len(labels)) < wrong, (labels + 1) % 10, labels)


def _draw(seed, n_images, lost):
    """Return labels, answers of a network that is right to 97 %, and of spiking ones that lose `lost(n_steps)`."""
    rng = np.random.RandomState(seed)
    labels = rng.randint(0, 10, n_images)
    trained = _answers(rng, labels, 0.03)
    unlucky = rng.rand(n_images)
    won = trained != labels

    def made_for(n_steps):
        share = lost(n_steps)
        answers = np.where(unlucky < share + 0.0006, (trained + 1) % 10, trained)
        answers = np.where(won & (unlucky > 0.98), labels, answers)  # 0.0006 are won back
        return Fake(n_steps, answers)

    return labels, trained, made_for


def _loses(n_steps):
    """What a good conversion loses: 0.0011 at 8 steps."""
    return 0.07 / n_steps**2


def _chosen(seed, n_images, max_loss):
    labels, trained, made_for = _draw(seed, n_images, _loses)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return cheapest(CLASSES, trained, np.zeros(n_images), labels, max_loss, made_for)


def test_one_image_more_or_less_does_not_multiply_the_steps():
    """With 500 images one is 0.2 points: where only one may be lost, it took 50 steps instead of 8."""
    steps = [_chosen(seed, 500, 0.2).n_steps for seed in range(50)]
    assert min(steps) >= 2, "the loss of one step, 7 points, shows even on 500 images"
    assert np.median(steps) <= 8
    assert np.mean(np.array(steps) > 15) <= 0.05


def test_many_images_find_the_steps_that_keep_the_budget():
    steps = {_chosen(seed, 100_000, 0.2).n_steps for seed in range(20)}
    assert {n for n in STEPS_TRIED if 5 <= n <= 8} >= steps, "6 steps lose 0.19 points"


def test_the_budget_is_kept_on_the_images_at_hand_and_typically_on_others():
    """Where a whole standard error more was accepted, a budget of 1 point took conversions that lost 1.75."""
    steps = np.array([_chosen(seed, 1000, 1.0).n_steps for seed in range(50)])
    assert np.median(100 * _loses(steps)) <= 1.0


class FakeOfFew(Fake):
    """One that is asked for the first images alone, too."""

    def run(self, x):
        return SimpleNamespace(predictions=self.answers[: len(x)])


def _guessed(n_images, max_loss, rough, near):
    """Return the steps found with guesses that lose what `rough` and `near` say, and the steps that were tried."""
    labels, trained, _ = _draw(5, n_images, _loses)
    tried = {"made": [], "rough": [], "near": []}

    def noting(kind, loses):
        made_for = _draw(5, n_images, loses)[2]

        def noted(n_steps):
            tried[kind].append(n_steps)
            return FakeOfFew(n_steps, made_for(n_steps).answers)

        return noted

    made_for, *guesses = (noting(*one) for one in (("made", _loses), ("rough", rough), ("near", near)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        found = cheapest(CLASSES, trained, np.zeros(n_images), labels, max_loss, made_for, tuple(guesses))
    return found.n_steps, tried


@pytest.mark.parametrize("factor", [0.0, 0.1, 0.5, 1.0, 1.3, 2.0, 10.0, 1000.0])
@pytest.mark.parametrize("max_loss", [0.2, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("n_images", [1000, 5000])
def test_a_rough_guess_that_misleads_leads_to_the_same_steps(factor, max_loss, n_images):
    labels, trained, made_for = _draw(5, n_images, _loses)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        wanted = cheapest(CLASSES, trained, np.zeros(n_images), labels, max_loss, made_for).n_steps
    found, tried = _guessed(n_images, max_loss, lambda n: factor * _loses(n), _loses)
    assert found == wanted
    assert tried["made"][-1:] == [wanted]
    assert len(tried["made"]) <= 2, "in full, besides what is returned, only what a rough guess was sure of"
    assert all(len(steps) == len({*steps}) for steps in tried.values()), "nothing is made twice"


def test_a_near_guess_that_promises_too_much_is_not_believed():
    wanted, _ = _guessed(1000, 1.0, _loses, _loses)
    found, tried = _guessed(1000, 1.0, _loses, lambda n: _loses(n + 1))
    assert found == wanted
    assert tried["made"] == [*range(tried["made"][0], wanted + 1)]
    assert len(tried["made"]) > 1, "the first of them was too few"


def test_no_guess_can_keep_a_budget_that_no_network_keeps():
    labels, trained, made_for = _draw(3, 1000, _loses)
    perfect = (lambda n_steps: Fake(n_steps, trained),) * 2
    with pytest.raises(snnrepro.ModelError, match="keeps the loss within 0 points on the 1000 calibration images"):
        cheapest(CLASSES, trained, np.zeros(1000), labels, 0, made_for, perfect)


@pytest.mark.parametrize("recipe", ["balanced", "rate"])
def test_what_is_found_is_what_that_number_of_steps_gives(recipe):
    network, x = _trained()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        found = snnrepro.convert(network, recipe, x, max_loss=1.0)
    again = snnrepro.convert(network, recipe, x, found.n_steps)
    for name, population in again.populations.items():
        for constant in CONSTANTS:
            np.testing.assert_array_equal(getattr(found.populations[name], constant), getattr(population, constant))
    np.testing.assert_array_equal(found.correction, again.correction)


def test_few_networks_are_made_in_full(monkeypatch):
    fitted, made = fitting.Fitting.fitted, []

    def noting(self, recipe, n_steps, progress, guess):
        made.append((guess, n_steps))
        return fitted(self, recipe, n_steps, progress, guess)

    monkeypatch.setattr(fitting.Fitting, "fitted", noting)
    network, x = _trained()
    n_steps = snnrepro.convert(network, "balanced", x, max_loss=1.0).n_steps
    below = max(n for n in STEPS_TRIED if n < n_steps)
    assert [n for guess, n in made if not guess] == [n_steps]
    assert below in [n for guess, n in made if guess == "near"]
    assert len(made) == len({*made}) < 10


def test_no_budget_at_all_is_kept_to_the_image():
    labels, trained, made_for = _draw(3, 1000, _loses)
    with pytest.raises(snnrepro.ModelError, match="keeps the loss within 0 points on the 1000 calibration images"):
        cheapest(CLASSES, trained, np.zeros(1000), labels, 0, made_for)
    cheapest(CLASSES, trained, np.zeros(1000), labels, 0, lambda n_steps: Fake(n_steps, trained))


def test_images_that_cannot_resolve_the_budget_are_said_with_how_many_can():
    labels, trained, made_for = _draw(0, 500, _loses)
    with pytest.warns(DataWarning, match=r"^500 images cannot resolve 0.2 points; [\d,]+ can: the loss on them is"):
        found = cheapest(CLASSES, trained, np.zeros(500), labels, 0.2, made_for)
    before, after = trained == labels, found.run(None).predictions == labels
    assert found.provenance["answers_lost"] == np.sum(before & ~after)
    assert found.provenance["answers_won"] == np.sum(after & ~before)
    assert found.provenance["points of accuracy"] == pytest.approx(100 * (before.mean() - after.mean()), abs=1e-3)
    assert found.provenance["loss_low"] < found.provenance["points of accuracy"] < found.provenance["loss_high"]
    assert found.provenance["loss_images"] == 500


def test_images_that_resolve_the_budget_bring_no_warning():
    labels, trained, made_for = _draw(0, 100_000, _loses)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cheapest(CLASSES, trained, np.zeros(100_000), labels, 0.2, made_for)


@pytest.mark.parametrize("mixed", ["drawn anew", "another order of classes", "one class too far"])
def test_labels_that_are_not_the_networks_are_refused(mixed):
    """One or two steps, "0.0 points", was what they gave."""
    labels, trained, made_for = _draw(1, 1000, _loses)
    wrong = {
        "drawn anew": np.random.RandomState(3).permutation(labels),
        "another order of classes": (3 * labels + 1) % 10,
        "one class too far": (labels + 1) % 10,
    }[mixed]
    with pytest.raises(
        snnrepro.DataError, match=r"own accuracy .* is no better than chance .*in the order of the images"
    ):
        cheapest(CLASSES, trained, np.zeros(1000), wrong, 0.2, made_for)


@pytest.mark.parametrize("n_kept", [2, 5, 8])
def test_labels_that_count_some_classes_in_another_order_are_refused(n_kept):
    """A few classes that keep their numbers are better than chance: three steps, "0.2 points", was what they gave."""
    labels, trained, made_for = _draw(1, 1000, _loses)
    order = np.r_[np.arange(n_kept), np.roll(np.arange(n_kept, 10), 1)]
    with pytest.raises(snnrepro.DataError, match=r"would be 9\d\.\d\d % if the classes were counted in another order"):
        cheapest(CLASSES, trained, np.zeros(1000), order[labels], 0.2, made_for)


def test_a_network_that_confuses_two_classes_is_not_taken_for_another_order():
    labels, trained, _ = _draw(1, 1000, _loses)
    confused = np.where((labels == 3) & (np.arange(1000) % 3 > 0), 5, trained)  # two thirds of a class
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        cheapest(CLASSES, confused, np.zeros(1000), labels, 0.5, lambda n_steps: Fake(n_steps, confused))


def test_what_always_answers_the_commonest_class_is_no_better_than_chance():
    labels = np.array([0] * 95 + [1] * 5)
    task = Task("binary", (1,))
    with pytest.raises(snnrepro.DataError, match=r"one answer for all images: 95.00 %"):
        cheapest(task, np.zeros(100, int), np.zeros(100), labels, 0.2, lambda n: Fake(n, labels))


def _trained(*behind, n_out=1, seed=0):
    """Return a network of one hidden layer, and images."""
    rng = np.random.RandomState(seed)
    nodes = [
        Node("hidden", ("x",), Dense(rng.normal(0, 1, (5, 40)), rng.normal(0, 0.3, 40))),
        Node("relu", ("hidden",), ReLU()),
        Node("out", ("relu",), Dense(rng.normal(0, 0.3, (40, n_out)), np.zeros(n_out))),
    ]
    for index, layer in enumerate(behind):
        nodes.append(Node(f"f{index}", (nodes[-1].name,), layer))
    return Network("x", (5,), tuple(nodes), {}), rng.normal(0, 1, (2000, 5)).astype(np.float32)


def _r2(values, wanted):
    return 1 - np.sum((values - wanted) ** 2) / np.sum((wanted - wanted.mean(axis=0)) ** 2)


@pytest.mark.parametrize("n_out", [1, 2])
def test_a_regression_gets_the_steps_that_its_r2_needs(n_out):
    """The argmax of one number is 0 whatever it is: one step, "0.0 points", with an R² of 0.28 instead of 0.999."""
    network, x = _trained(n_out=n_out)
    exact = network.forward(x).astype(np.float64)
    values = exact + np.random.RandomState(1).normal(0, 0.03 * exact.std(), exact.shape)
    spiking = snnrepro.convert(network, "balanced", (x, values), max_loss=1.0)
    before, after = (_r2(one, values) for one in (exact, spiking.run(x).scores))
    assert before > 0.99
    assert spiking.n_steps > 2
    assert 100 * (before - after) < 1.2
    assert spiking.provenance["points of R²"] == pytest.approx(100 * (before - after), abs=0.01)
    fewer = snnrepro.convert(network, "balanced", x, max(n for n in STEPS_TRIED if n < spiking.n_steps))
    assert 100 * (before - _r2(fewer.run(x).scores, values)) > 1.0
    np.testing.assert_array_equal(spiking.run(x[:3]).predictions, spiking.run(x[:3]).scores)


def test_a_regression_without_values_is_held_against_the_trained_network():
    network, x = _trained()
    spiking = snnrepro.convert(network, "balanced", x, max_loss=1.0)
    missing = 100 * (1 - _r2(spiking.run(x).scores, network.forward(x)))
    assert 0 < missing < 1.2
    assert spiking.provenance["points of answers that differ"] == pytest.approx(missing, abs=0.01)


@pytest.mark.parametrize("final", [(Sigmoid(),), ()], ids=["sigmoid", "logit"])
def test_a_binary_classifier_is_judged_by_its_one_score(final):
    network, x = _trained(*final)
    scores = network.forward(x)[:, 0]
    labels = (scores > (0.5 if final else 0)).astype(int)
    assert 0.1 < labels.mean() < 0.9, "labels of one kind would say nothing"
    spiking = snnrepro.convert(network, "balanced", (x, labels), max_loss=1.0)
    right = np.mean((spiking.run(x).scores[:, 0] > (0.5 if final else 0)) == labels)
    assert 0.98 < right <= 1
    np.testing.assert_array_equal(spiking.run(x).predictions, spiking.run(x).scores[:, 0] > (0.5 if final else 0))
    assert spiking.provenance["points of accuracy"] == pytest.approx(100 * (1 - right), abs=1e-3)


def test_a_task_that_is_named_is_kept_in_the_archive(tmp_path):
    network, x = _trained()
    spiking = snnrepro.convert(network, "balanced", x, 8, task="binary")
    spiking.save(tmp_path / "s.npz")
    again = snnrepro.load_spiking(tmp_path / "s.npz")
    assert again.task == "binary"
    assert set(again.run(x[:50]).predictions) == {0, 1}
    with pytest.raises(snnrepro.ModelError, match="task 'classes' does not fit an output of"):
        snnrepro.convert(network, "balanced", x, 8, task="classes")


def test_several_sigmoids_are_several_answers():
    network, x = _trained(Sigmoid(), n_out=3)
    labels = (network.forward(x) > 0.5).astype(int)
    spiking = snnrepro.convert(network, "balanced", (x, labels), max_loss=1.0)
    assert spiking.run(x).predictions.shape == labels.shape
    assert np.mean(spiking.run(x).predictions == labels) > 0.985


def test_progress_adds_up_to_the_whole():
    network, x = _trained(Softmax((0,)), n_out=3)
    for options in ({"n_steps": 4}, {"max_loss": 5.0}):
        done = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            snnrepro.convert(network, "balanced", x[:200], progress=done.append, **options)
        assert len(done) > 3
        assert sum(done) == pytest.approx(1)
