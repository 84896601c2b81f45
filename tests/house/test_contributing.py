"""What contributors are told holds: linters of one version everywhere, files and names that exist."""

from __future__ import annotations

import re

import pytest


def _pins(text):
    return re.findall(r'"((?:ruff|mypy)==[^"]+)"', text)


def test_pre_commit_runs_the_linters_of_pyproject(root):
    wanted = _pins((root / "pyproject.toml").read_text(encoding="utf-8"))
    pinned = _pins((root / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert len(wanted) == 2
    assert set(pinned) == set(wanted)


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md"])
def test_the_files_that_are_named_exist(root, name):
    text = (root / name).read_text(encoding="utf-8")
    paths = re.findall(
        r"`((?:tests|benchmarks|snnrepro|\.ci)/[\w./]+|(?:network|readers|spiking|simulators|thesis)/[\w./]*)`", text
    )
    assert len(paths) > 1
    for path in (path.replace("CELL", "py38-thesis") for path in paths):
        assert (root / path).exists() or (root / "snnrepro" / path).exists(), path


@pytest.mark.parametrize(
    ("told", "folder", "defined"),
    [
        ("`RECIPES`", "spiking", "\nRECIPES = {"),
        ("`SIMULATORS`", "spiking", "\nSIMULATORS = {"),
        ("`@handles(", "readers", "\ndef handles("),
    ],
)
def test_the_registries_that_are_named_exist(root, told, folder, defined):
    assert told in (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    modules = (root / "snnrepro" / folder).rglob("*.py")
    assert sum(defined in module.read_text(encoding="utf-8") for module in modules) == 1
