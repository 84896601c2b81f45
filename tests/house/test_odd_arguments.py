"""No public call lets a bare TypeError, ValueError, AttributeError or OSError through, whatever it is given."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import snnrepro
from tests.helpers.event_cases import small
from tests.helpers.strategies import model_proto

ODD = [None, 5, -1, 7.5, float("nan"), "a", b"a", [1], ["a"], {}, (1, 2, 3), object(), np.zeros((2, 2)), True]
SPIKING, X = small()
NETWORK = SPIKING.network
MODEL = model_proto([helper.make_node("Relu", ["x"], ["y"])], [], "x", (3,), "y")

CALLS = {
    "load": snnrepro.load,
    "load, shapes": lambda odd: snnrepro.load(MODEL, shapes=odd),
    "load, outputs": lambda odd: snnrepro.load(MODEL, outputs=odd),
    "load, constants": lambda odd: snnrepro.load(MODEL, constants=odd),
    "load, one shape": lambda odd: snnrepro.load(MODEL, shapes={"x": odd}),
    "load, one constant": lambda odd: snnrepro.load(MODEL, constants={"x": odd}),
    "load_spiking": snnrepro.load_spiking,
    "forward": NETWORK.forward,
    "convert, model": lambda odd: snnrepro.convert(odd, "balanced", X, 4),
    "convert, recipe": lambda odd: snnrepro.convert(NETWORK, odd, X, 4),
    "convert, images": lambda odd: snnrepro.convert(NETWORK, "balanced", odd, 4),
    "convert, labels": lambda odd: snnrepro.convert(NETWORK, "balanced", (X, odd), 4),
    "convert, steps": lambda odd: snnrepro.convert(NETWORK, "balanced", X, odd),
    "convert, max_loss": lambda odd: snnrepro.convert(NETWORK, "balanced", X, max_loss=odd),
    "convert, seed": lambda odd: snnrepro.convert(NETWORK, "thesis", None, 4, seed=odd),
    "convert, task": lambda odd: snnrepro.convert(NETWORK, "balanced", X, 4, task=odd),
    "run, images": lambda odd: SPIKING.run(odd, 4),
    "run, steps": lambda odd: SPIKING.run(X, odd),
    "run, simulator": lambda odd: SPIKING.run(X, 4, odd),
    "run, keep_steps": lambda odd: SPIKING.run(X, 4, keep_steps=odd),
    "run, early_exit": lambda odd: SPIKING.run(X, 4, early_exit=odd),
    "verify, model": lambda odd: snnrepro.verify(odd, None, X),
    "verify, spiking": lambda odd: snnrepro.verify(NETWORK, odd, X),
    "verify, images": lambda odd: snnrepro.verify(NETWORK, SPIKING, odd),
}


@pytest.mark.filterwarnings("ignore::snnrepro.errors.DataWarning")  # six images are few
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: type(odd).__name__)
@pytest.mark.parametrize("call", CALLS)
def test_an_odd_argument_is_taken_or_refused_in_words(call, odd):
    try:
        CALLS[call](odd)
    except snnrepro.SnnReproError as error:
        words = str(error)
    else:
        words = "taken as it is"
    assert len(words.split()) > 2


@pytest.mark.parametrize("path", [None, 5, "folder"])
@pytest.mark.parametrize("what", [SPIKING, NETWORK], ids=["spiking network", "network"])
def test_what_cannot_be_written_is_refused_in_words(what, path, tmp_path):
    with pytest.raises(snnrepro.ArchiveError, match="cannot be written"):
        what.save(tmp_path if path == "folder" else path)
    assert not list(tmp_path.iterdir())
