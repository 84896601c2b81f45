"""A recipe of another package is found by its name, and one that fits by itself fits."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import snnrepro
from snnrepro import ModelError, Recipe
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Dense, ReLU
from snnrepro.spiking import recipes
from snnrepro.spiking.neurons import IF, LIF, Population
from tests.helpers.command_line import run_command

RNG = np.random.RandomState(0)
NODES = (
    Node("first", ("x",), Dense(RNG.standard_normal((3, 7)).astype(np.float32), np.zeros(7, np.float32))),
    Node("fires", ("first",), ReLU()),
    Node("scores", ("fires",), Dense(RNG.standard_normal((7, 4)).astype(np.float32), np.zeros(4, np.float32))),
)
NETWORK = Network("x", (3,), NODES, {})
IMAGES = RNG.standard_normal((200, 3)).astype(np.float32)

PACKAGE = '''
import numpy as np
from snnrepro import Recipe
from snnrepro.spiking.neurons import IF, Population

def bursts(schedule, x, n_steps):
    """Populations of up to four spikes a step, from the largest activation of each layer."""
    made = {}
    for name, values in schedule.network.activations(x):
        if name == "fires":
            top = np.maximum(values.max(axis=0), 1e-3)
            made[name] = Population(IF(max_spikes=4), top, top, initial_potential=top / 2, bias=0 * top)
    return made

recipe = Recipe("others", fit=bursts)
number = 3
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package of someone else's that brings recipes, good and bad."""
    (tmp_path / "others_recipes.py").write_text(PACKAGE, encoding="utf-8")
    about = tmp_path / "others_recipes-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: others-recipes\nVersion: 1.0\n", encoding="utf-8")
    lines = ["others = others_recipes:recipe", "number = others_recipes:number", "gone = others_recipes:gone"]
    lines.append("balanced = others_recipes:recipe")
    (about / "entry_points.txt").write_text("\n".join(["[snnrepro.recipes]", *lines]), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    recipes._from_outside.cache_clear()
    yield
    sys.modules.pop("others_recipes", None)
    recipes._from_outside.cache_clear()


@pytest.mark.usefixtures("package")
def test_a_recipe_that_a_package_brings_is_taken_by_its_name():
    spiking = snnrepro.convert(NETWORK, "others", IMAGES, 8)
    assert spiking.provenance["recipe"] == "others"
    population = spiking.populations["fires"]
    assert population.neuron.max_spikes == 4
    np.testing.assert_allclose(population.threshold, dict(NETWORK.activations(IMAGES))["fires"].max(axis=0), rtol=1e-5)
    run, trained = spiking.run(IMAGES), NETWORK.forward(IMAGES)
    assert np.corrcoef(run.scores.reshape(-1), trained.reshape(-1))[0, 1] > 0.95
    by_definition = spiking.run(IMAGES, simulator="plain")
    np.testing.assert_allclose(run.scores, by_definition.scores, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("package")
def test_no_package_takes_the_place_of_our_own_recipe():
    assert recipes.recipe_named("balanced") is recipes.RECIPES["balanced"]
    assert recipes.recipe_names() == (*recipes.RECIPES, "others", "number", "gone")


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("number", r"entry point 'others_recipes:number' \(snnrepro\.recipes\) must be a snnrepro\.Recipe, got int"),
        ("gone", "entry point 'others_recipes:gone' .* cannot be loaded: .*gone"),
        ("nowhere", "recipe 'nowhere' is none of thesis, balanced, .*others, number, gone"),
    ],
)
def test_what_is_no_recipe_is_refused_by_its_origin(name, message):
    with pytest.raises(ModelError, match=message):
        snnrepro.convert(NETWORK, name, IMAGES, 8)


FAULTS = {
    "nothing": (lambda *_: None, "got NoneType"),
    "another rectifier": (lambda *_: {"else": 1}, r"for each of fires; got \['else'\]"),
    "no population": (lambda *_: {"fires": 1}, r"for each of fires; got \['fires'\]"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fit_that_gives_no_populations_is_refused(fault):
    fit, message = FAULTS[fault]
    with pytest.raises(ModelError, match=f"the recipe 'mine': its fit must give a Population .*{message}"):
        snnrepro.convert(NETWORK, Recipe("mine", LIF(), fit=fit), IMAGES, 8)
    with pytest.raises(ModelError, match="fit must be callable"):
        Recipe("mine", fit=3)


def test_an_own_fits_growth_weighs_the_steps_and_its_readout_is_corrected():
    def fit(schedule, x, n_steps):
        assert (len(x), n_steps) == (200, 6)
        top = np.full(7, 4.0)
        return {
            "fires": Population(IF(growth=1.2), threshold=top, amplitude=top, initial_potential=top / 2, bias=0 * top)
        }

    spiking = snnrepro.convert(NETWORK, Recipe("mine", fit=fit), IMAGES, 6)
    assert spiking.growth == 1.2
    missing = NETWORK.forward(IMAGES) - spiking.run(IMAGES).scores
    assert np.abs(missing).max() > 0.1
    np.testing.assert_allclose(missing.mean(axis=0), 0, atol=1e-4)


def test_the_command_line_lists_recipes_by_the_same_names():
    done = run_command("convert", "--help")
    for name in recipes.RECIPES:
        assert name in done.stdout
