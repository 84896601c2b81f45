"""What runs of pytest inside tests are given: see the fixture `run` of tests/checking/conftest.py."""

from __future__ import annotations

from tests.helpers import model_files

CHECKS = 7
"""Checks of a model where Nengo's two simulators are left out."""

# Nengo's own pytest plugin uses a hook argument that pytest 9 removed; its simulators have tests of their own.
BESIDE = ("-p", "no:nengo", "-p", "no:cacheprovider", "-k", "not nengo")
COMMON = (*BESIDE, "-p", "no:benchmark")
MODEL = ("--snn-model", "small.onnx", "--snn-data", "data.npz", "--snn-n-steps", str(model_files.N_STEPS))
BUDGET = ("--snn-max-loss", "5")
