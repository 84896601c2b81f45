"""Runs of pytest inside tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from snnrepro.checking import exports
from snnrepro.checking.results import Results, made_here, result_of
from snnrepro.checking.settings import Settings
from snnrepro.checking.subject import Subject
from tests.helpers import model_files
from tests.helpers.inner_pytest import COMMON


@pytest.fixture(scope="session")
def _loaded(tmp_path_factory):
    """Load all that a check loads: what is first imported inside pytester is forgotten, and not all can be twice."""
    folder = tmp_path_factory.mktemp("loaded")
    model, data = model_files.write(folder)
    subject = Subject(Settings("small", model, data, n_steps=3))
    assert subject.verification.comparisons
    assert subject.evaluation.loss.n_images
    exports.write(folder / "a.md", Results({"small": result_of(subject)}, made_here(folder)))


@pytest.fixture
def run(pytester, _loaded, monkeypatch):
    """Run pytest in an empty folder that holds a model, its images and what is written there."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):  # a pytest of its own is no worker of ours
        monkeypatch.delenv(name, raising=False)
    for name in ("CI", "BUILD_NUMBER"):  # with either, pytest's closing summary repeats every message whole
        monkeypatch.delenv(name, raising=False)
    # Where something has imported setuptools, its own copies are on the path, and a plugin of pytest is among them.
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if Path(folder).name != "_vendor"])
    model_files.write(pytester.path)

    def of(*arguments, how="inprocess"):
        return getattr(pytester, f"runpytest_{how}")(*COMMON, *arguments)

    return of
