"""The README's commands and examples are those that are run."""

from __future__ import annotations

import doctest
import os
import re

import pytest


@pytest.fixture
def readme(root):
    return (root / "README.md").read_text(encoding="utf-8")


def test_ci_runs_the_readmes_test_command(root, readme):
    """`.ci/run` takes the line below the marker; there must be exactly one, and it must run the tests."""
    block = re.search(r"<!-- test command -->\n```sh\n(.*?)```", readme, re.DOTALL)
    lines = block.group(1).strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("pip install")
    assert lines[0].endswith("python -m pytest")
    assert "<!-- test command -->" in (root / ".ci" / "run").read_text(encoding="utf-8")


def test_the_examples_give_what_the_readme_says(readme, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = doctest.DocTestParser().get_doctest(readme, {}, "README", "README.md", 0)
    assert len(examples.examples) > 5
    assert doctest.DocTestRunner(verbose=False).run(examples).failed == 0


@pytest.mark.parametrize(
    "module",
    [
        "snnrepro.network.graph",
        "snnrepro.readers.load",
        "snnrepro.verification",
        "snnrepro.metrics",
        "snnrepro.spiking.neurons",
        "snnrepro.spiking.convert",
        "snnrepro.spiking.archive",
    ],
)
def test_the_examples_in_the_docstrings_run(module):
    import importlib

    done = doctest.testmod(importlib.import_module(module), optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert done.attempted > 0
    assert done.failed == 0


def test_nothing_names_a_path_of_the_machine_it_was_written_on(root):
    home = os.path.expanduser("~")
    for path in [*root.glob("*.*"), *root.glob("snnrepro/**/*.py"), *root.glob("tests/**/*.py")]:
        if path.is_file() and path.name != "conftest.py" and home != "/":
            assert f"{home}/" not in path.read_text(encoding="utf-8", errors="ignore"), path
