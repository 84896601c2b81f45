"""The commands and examples of README and documentation are those that are run."""

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
    assert lines[0].endswith(" && python -m pytest -n 2 --dist loadfile")  # all of them, on two cores
    assert "<!-- test command -->" in (root / ".ci" / "run").read_text(encoding="utf-8")


def test_the_readme_is_read_in_minutes(readme):
    assert len(readme.splitlines()) <= 120


@pytest.mark.parametrize(("page", "at_least"), [("README.md", 6), ("docs/convert.md", 6), ("docs/check.md", 6)])
def test_the_examples_give_what_is_written(root, page, at_least, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (root / page).read_text(encoding="utf-8")
    examples = doctest.DocTestParser().get_doctest(text, {}, page, page, 0)
    assert len(examples.examples) >= at_least
    assert doctest.DocTestRunner(verbose=False).run(examples).failed == 0


def test_no_page_has_an_example_that_no_test_runs(root):
    tested = {"convert.md", "check.md"}
    with_examples = {path.name for path in (root / "docs").glob("*.md") if ">>> " in path.read_text(encoding="utf-8")}
    assert with_examples == tested


def test_every_command_that_is_shown_exists(root):
    from snnrepro.cli import main

    shown = set()
    for path in [root / "README.md", *(root / "docs").glob("*.md")]:
        for block in re.findall(r"```sh\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            shown |= {tuple(line.split("#")[0].split()) for line in block.splitlines() if line.startswith("snnrepro ")}
    assert len(shown) > 8
    for _, name, *arguments in shown:
        command = main.commands[name]
        accepted = {flag for parameter in command.params for flag in parameter.opts}
        assert {each for each in arguments if each.startswith("-")} <= accepted, (name, arguments)


def test_every_link_between_pages_leads_somewhere(root):
    for path in [root / "README.md", root / "CONTRIBUTING.md", *(root / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


@pytest.mark.parametrize(
    "module",
    [
        "snnrepro.network.graph",
        "snnrepro.readers.load",
        "snnrepro.verification",
        "snnrepro.autopsy.explain",
        "snnrepro.checking.assertions",
        "snnrepro.energy",
        "snnrepro.checking.changes",
        "snnrepro.checking.snapshot",
        "snnrepro.metrics",
        "snnrepro.datasets",
        "snnrepro.inputs",
        "snnrepro.thesis.timing",
        "snnrepro.spiking.neurons",
        "snnrepro.spiking.convert",
        "snnrepro.spiking.archive",
        "snnrepro.spiking.parts",
        "snnrepro.executors",
    ],
)
def test_the_examples_in_the_docstrings_run(module, monkeypatch):
    import importlib

    monkeypatch.delenv("SNNREPRO_MNIST", raising=False)
    done = doctest.testmod(importlib.import_module(module), optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert done.attempted > 0
    assert done.failed == 0


def test_nothing_names_a_path_of_the_machine_it_was_written_on(root):
    home = os.path.expanduser("~")
    for path in [*root.glob("*.*"), *root.glob("snnrepro/**/*.py"), *root.glob("tests/**/*.py")]:
        if path.is_file() and path.name != "conftest.py" and home != "/":
            assert f"{home}/" not in path.read_text(encoding="utf-8", errors="ignore"), path
