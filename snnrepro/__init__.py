"""Trained networks as spiking networks without retraining, and the tests that say what that costs.

The way of the data: load -> Network -> convert -> SpikingNetwork -> run -> Run -> metrics -> report. What is where,
from the ground up (a part imports only from parts above it):

- errors, arrays, inputs, metrics, files, compiling, simd, executors, dataset_files, datasets, user_images, environment;
  frameworks/ (TensorFlow, NengoDL: late).
- The core: network/ is what a trained network is (layers, graph, values, archive), readers/ where one comes from
  (Keras, ONNX, archives), spiking/ what it becomes (neurons, recipes, calibration, the spiking network and its run).
- simulators/ run it (event, plain, nengo, nengo-dl); verification compares every hop; energy is a model of what a chip
  would take; autopsy/ says where the accuracy goes; study/ searches for the front of what conversions cost; checking/
  is what tests of anyone's own model assert, and the pytest plugin.
- The reproduction: thesis/ holds the printed tables, measures them anew and judges; report/ shows the figures as a page
  and as text; cli/ is the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "load": "snnrepro.readers.load",
    "load_spiking": "snnrepro.spiking.archive",
    "convert": "snnrepro.spiking.convert",
    "Recipe": "snnrepro.spiking.recipes",
    "SpikingNetwork": "snnrepro.spiking.network",
    "verify": "snnrepro.verification",
    "explain": "snnrepro.autopsy.explain",
    "SpikeSnapshot": "snnrepro.checking.snapshot",
    "assert_loss_within": "snnrepro.checking.assertions",
    "assert_same_spikes": "snnrepro.checking.assertions",
    "assert_weights_identical": "snnrepro.checking.assertions",
    "assert_verified": "snnrepro.checking.assertions",
    "Network": "snnrepro.network.graph",
    "SnnReproError": "snnrepro.errors",
    "ModelError": "snnrepro.errors",
    "UnsupportedError": "snnrepro.errors",
    "ArchiveError": "snnrepro.errors",
    "DataError": "snnrepro.errors",
    "DataWarning": "snnrepro.errors",
    "DependencyError": "snnrepro.errors",
}

__all__ = [
    "ArchiveError",
    "DataError",
    "DataWarning",
    "DependencyError",
    "ModelError",
    "Network",
    "Recipe",
    "SnnReproError",
    "SpikeSnapshot",
    "SpikingNetwork",
    "UnsupportedError",
    "assert_loss_within",
    "assert_same_spikes",
    "assert_verified",
    "assert_weights_identical",
    "convert",
    "explain",
    "load",
    "load_spiking",
    "verify",
]

if TYPE_CHECKING:
    from snnrepro.autopsy.explain import explain
    from snnrepro.checking.assertions import (
        assert_loss_within,
        assert_same_spikes,
        assert_verified,
        assert_weights_identical,
    )
    from snnrepro.checking.snapshot import SpikeSnapshot
    from snnrepro.errors import (
        ArchiveError,
        DataError,
        DataWarning,
        DependencyError,
        ModelError,
        SnnReproError,
        UnsupportedError,
    )
    from snnrepro.network.graph import Network
    from snnrepro.readers.load import load
    from snnrepro.spiking.archive import load_spiking
    from snnrepro.spiking.convert import convert
    from snnrepro.spiking.network import SpikingNetwork
    from snnrepro.spiking.recipes import Recipe
    from snnrepro.verification import verify


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that ``import snnrepro`` loads nothing heavy."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'snnrepro' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_PUBLIC[name]), name)
