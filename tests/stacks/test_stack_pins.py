"""A cell of the tox matrix holds exactly what it declares, and docs/versions.md says what was declared and run."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from importlib import metadata

import pytest

from tests import stacks

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11
    import tomli as tomllib

CELL = os.environ.get("SNNREPRO_CELL")
NAMED = {
    *stacks.COLUMNS.values(),
    "onnxruntime",
    "llvmlite",
    "scipy",
    "protobuf",
    "scikit-image",
    "pytest",
    "hypothesis",
}


def _installed():
    # Not all of sys.path: pkg_resources puts there what setuptools carries with it.
    folder = sysconfig.get_paths()["purelib"]
    return {stacks.canonical(each.metadata["Name"]): each.version for each in metadata.distributions(path=[folder])}


@pytest.mark.skipif(not CELL, reason="this is no cell of the tox matrix")
def test_a_cell_holds_exactly_what_it_declares():
    installed = _installed()
    assert installed.keys() > NAMED
    assert stacks.drift(stacks.declared(CELL), installed) == []
    assert platform.python_version().startswith(f"{stacks.python_of(CELL)}.")


def test_a_drift_is_named():
    declared = stacks.versions("# the cell's\nnumpy==1.19.5\nnengo_dl==3.4.0  # why\n\nnumba==0.56.4\n")
    assert stacks.drift(declared, {"numpy": "1.19.5", "nengo-dl": "3.4.0", "snnrepro": "0.1.0"}) == []
    assert stacks.drift(declared, {"numpy": "1.24.4", "numba": "0.56.4", "llvmlite": "0.39.1"}) == [
        "llvmlite is 0.39.1, declared: nothing",
        "numpy is 1.24.4, declared: 1.19.5",
    ]


@pytest.mark.parametrize("text", ["numpy>=1.19", "numpy", "numpy==1.19.5\nNumPy==1.19.5"])
def test_a_file_that_leaves_a_version_open_is_refused(text):
    with pytest.raises(ValueError, match="not one package==version"):
        stacks.versions(text)


@pytest.mark.parametrize("cell", stacks.cells())
def test_every_cell_declares_all_that_matters(cell):
    assert stacks.declared(cell).keys() > NAMED


def test_no_file_is_left_of_a_cell_that_is_gone():
    assert sorted(path.stem for path in stacks.file_of("").parent.glob("*.txt")) == sorted(stacks.cells())


def test_the_cell_of_the_thesis_holds_the_libraries_that_the_thesis_names():
    printed = {"tensorflow": "2.4.0", "onnx": "1.7.0", "nengo": "3.1.0", "nengo-dl": "3.4.0"}
    printed.update({"tf2onnx": "1.10.1", "numpy": "1.19.5"})
    assert printed.items() <= stacks.declared("py38-thesis").items()


def test_the_lowest_cell_holds_pyprojects_own_lower_bounds(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    requirements = project["dependencies"].copy()
    for extra in ("nengo", "images", "report", "test"):
        requirements += extras[extra]
    bounds = {}
    for requirement in requirements:
        name, bound, marker = re.fullmatch(r"([\w-]+)>=([\d.]+)(?:,<[\d.]+)?(?:; *(.*))?", requirement).groups()
        if marker != "python_version >= '3.9'":  # the cell is of Python 3.8
            bounds[stacks.canonical(name)] = bound
    declared = stacks.declared(stacks.LOWEST)
    assert len(bounds) > 15
    held = {name: declared[name] for name in bounds}
    assert {name: _trimmed(version) for name, version in held.items()} == {
        name: _trimmed(bound) for name, bound in bounds.items()
    }


def _trimmed(version):
    return re.sub(r"(\.0)+$", "", version)


OUTCOME = """<?xml version="1.0"?><testsuites><testsuite name="pytest" errors="0" failures="{failures}" skipped="30"
tests="1030" time="1" timestamp="2026-11-25T20:45:00.1+00:00"></testsuite></testsuites>"""


def test_the_table_is_written_from_the_cells_own_results(root):
    page = (root / "docs" / "versions.md").read_text(encoding="utf-8")
    row = stacks.row("py38-thesis", "3.8.18", OUTCOME.format(failures=0))
    assert row[:3] == ["`py38-thesis`", "3.8.18", "2.4.0"]
    assert row[-2:] == ["2026-11-25", "1,000 passed, 30 skipped"]
    assert stacks.row("py38-thesis", "3.8.18", OUTCOME.format(failures=2))[-1] == "998 passed, 30 skipped, 2 failed"
    written = stacks.with_table(page, [row])
    assert stacks.rows(written) == {**stacks.rows(page), "`py38-thesis`": row}
    assert stacks.with_table(written, []) == written
    assert stacks.row("py38-thesis")[-2:] == ["–", "not run"]


@pytest.mark.skipif(bool(CELL), reason="the table is written from what this run gives")
def test_the_table_shows_every_cell_with_the_versions_that_it_declares(root):
    rows = stacks.rows((root / "docs" / "versions.md").read_text(encoding="utf-8"))
    assert list(rows) == [f"`{cell}`" for cell in stacks.cells()]
    for cell in stacks.cells():
        shown = dict(zip(stacks.HEADING, rows[f"`{cell}`"]))
        declared = stacks.declared(cell)
        assert {name: shown[name] for name in stacks.COLUMNS} == {
            name: declared[package] for name, package in stacks.COLUMNS.items()
        }
        assert shown["Python"].startswith(stacks.python_of(cell))
        assert shown["outcome"] == "not run" or re.fullmatch(r"[\d,]+ passed, \d+ skipped", shown["outcome"])


def test_the_workflow_runs_every_cell(root):
    workflow = (root / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    assert re.findall(r"- (py3\d+-\w+)", workflow) == stacks.cells()


WHOLE = ["--junitxml=o.xml -q", "--junitxml=o.xml -q -n 2 --dist loadfile", "-vv -n2 -p no:cacheprovider --durations=9"]
SOME = [
    "-q -m 'not slow'",
    "-k dense",
    "tests/network",
    "-x",
    "--lf",
    "--maxfail=1",
    "--deselect tests/a.py",
    "-q --co",
]


@pytest.mark.parametrize(("arguments", "whole"), [*((a, True) for a in WHOLE), *((a, False) for a in SOME)])
def test_only_a_run_of_all_tests_stands_for_a_cell(arguments, whole):
    assert stacks.is_whole(shlex.split(arguments)) == whole


@pytest.mark.parametrize("selection", [[], ["-k", "nothing"], ["-x"]])
def test_a_run_of_some_tests_leaves_no_outcome(selection, root, tmp_path):
    folder = tmp_path / "checkout"
    (folder / "tests" / "stacks").mkdir(parents=True)
    (folder / "tests" / "__init__.py").touch()
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(root / name, folder)
    shutil.copy(root / "tests" / "stacks" / "__init__.py", folder / "tests" / "stacks")
    (folder / "tests" / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
    command = [sys.executable, "-m", "pytest", "--junitxml=out.xml", "-q", *selection]
    environment = {**os.environ, "SNNREPRO_CELL": "py38-thesis", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert (folder / "out.xml").exists() == (not selection)
