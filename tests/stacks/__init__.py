"""What the cells of the tox matrix declare, hold and gave.

``python -m tests.stacks`` writes the table of cells in docs/versions.md from what their last runs left in ``.tox``.
``python -m tests.stacks lock CELL`` resolves anew what the pins of a cell, whose environment exists, bring along.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
BROUGHT = "# What these bring along, resolved in one go for Linux on x86-64 (python -m tests.stacks lock CELL)."
LOWEST = "py38-lowest"
NOT_DECLARED = frozenset({"snnrepro", "pip", "uv", "wheel"})  # ours, and what makes environments
COLUMNS = {
    "TensorFlow": "tensorflow",
    "Nengo": "nengo",
    "NengoDL": "nengo-dl",
    "tf2onnx": "tf2onnx",
    "onnx": "onnx",
    "NumPy": "numpy",
    "Numba": "numba",
}
HEADING = ["cell", "Python", *COLUMNS, "run on", "outcome"]
_FIRST, _LAST = "<!-- matrix: python -m tests.stacks -->", "<!-- end of matrix -->"


def cells():
    """Return the names of the cells in the order of tox.ini."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    names = (name.strip() for name in tox["tox"]["env_list"].split(","))
    return [name for name in names if name not in ("lint", "docs")]


def file_of(cell):
    """Return where a cell says what it holds."""
    return ROOT / "tests" / "stacks" / f"{cell}.txt"


def python_of(cell):
    """Return the version of Python that a cell's name stands for, such as ``"3.8"``."""
    return f"3.{re.match(r'py3([0-9]+)-', cell).group(1)}"


def canonical(name):
    """Return a package's name as the index compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def versions(text):
    """Return the versions that a constraints file declares, by package."""
    found = {}
    for line in text.splitlines():
        requirement = line.partition("#")[0].strip()
        name, _, version = requirement.partition("==")
        if requirement and (not version or canonical(name) in found):
            raise ValueError(f"not one package==version for each package: {line!r}")
        if requirement:
            found[canonical(name)] = version
    return found


def declared(cell):
    """Return the versions that a cell declares, by package."""
    return versions(file_of(cell).read_text(encoding="utf-8"))


def drift(declared, installed):
    """Return a line for each package that is installed in a version other than the declared one.

    A declared package that is missing is no drift: a resolution for one platform constrains the others too.
    """
    return [
        f"{name} is {version}, declared: {declared.get(name, 'nothing')}"
        for name, version in sorted(installed.items())
        if name not in NOT_DECLARED and declared.get(name) != version
    ]


def lock(cell):
    """Resolve a cell in one go and write what comes along below its own pins."""
    own = file_of(cell).read_text(encoding="utf-8").partition(BROUGHT)[0].rstrip() + "\n"
    extras = ["test", "all"] if cell == LOWEST else ["test", "images", "report"]
    options = ["--resolution=lowest-direct"] if cell == LOWEST else []
    if "setuptools" in versions(own):  # for NengoDL's source
        options.append("--no-build-isolation-package=nengo-dl")
    file_of(cell).write_text(own, encoding="utf-8")
    environment = ROOT / ".tox" / cell
    command = ["uv", "--no-config", "pip", "compile", "--quiet", "--no-header", "--no-annotate", *options]
    command += [f"--python={environment / 'bin' / 'python'}", *(f"--extra={extra}" for extra in extras)]
    command += ["pyproject.toml", str(file_of(cell))]
    resolved = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    pinned = versions(own)
    brought = [line for line in resolved.splitlines() if canonical(line.partition("==")[0]) not in pinned]
    file_of(cell).write_text("\n".join([own.rstrip(), "", BROUGHT, *brought, ""]), encoding="utf-8")


def is_whole(arguments):
    """Return whether pytest runs all tests with these arguments: only then does the outcome stand for the cell."""
    harmless = r"-[qvs]+|-n=?\d*|\d+|--dist(=\w+)?|load\w*|-p=?|no:\w+|--durations=\d+|--junitxml=.*"
    return all(re.fullmatch(harmless, argument) for argument in arguments)


def outcome(xml):
    """Return the day and the outcome of a cell's run, which it left in JUnit's format."""
    suite = ElementTree.fromstring(xml).find("testsuite")
    counts = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    told = [(passed, "passed"), (counts["skipped"], "skipped")]
    told += [(counts["failures"], "failed"), (counts["errors"], "errors")]
    text = ", ".join(f"{number:,} {what}" for number, what in told if number or what == "passed")
    return suite.get("timestamp")[:10], text


def row(cell, python=None, xml=None):
    """Return the table's row of a cell: its Python and what its run left; without them it was not run."""
    holds = declared(cell)
    day, text = ("–", "not run") if xml is None else outcome(xml)
    return [f"`{cell}`", python or python_of(cell), *(holds[package] for package in COLUMNS.values()), day, text]


def row_of_last_run(cell):
    """Return the table's row of a cell whose environment is there and has been run, or None."""
    environment = ROOT / ".tox" / cell
    if not (environment / "outcome.xml").exists():
        return None
    made_with = (environment / "pyvenv.cfg").read_text(encoding="utf-8")
    python = re.search(r"^version(?:_info)? *= *([0-9.]+)", made_with, re.MULTILINE).group(1)
    return row(cell, python, (environment / "outcome.xml").read_text(encoding="utf-8"))


def rows(page):
    """Return the rows that the table in docs/versions.md has, by the cell's name in backquotes."""
    _, _, rest = page.partition(_FIRST)
    lines = [line.strip("|").split("|") for line in rest.partition(_LAST)[0].strip().splitlines()[2:]]
    return {line[0].strip(): [part.strip() for part in line] for line in lines}


def with_table(page, new):
    """Return the page with a row for each cell: its `new` one, the one that is there, or one that says "not run"."""
    run = {name: line for name, line in rows(page).items() if line[-1] != "not run"}
    there = {**run, **{each[0]: each for each in new}}
    shown = [there.get(f"`{cell}`", row(cell)) for cell in cells()]
    table = ["| " + " | ".join(line) + " |" for line in [HEADING, *shown]]
    table.insert(1, "|---" * len(HEADING) + "|")
    before, _, rest = page.partition(_FIRST)
    return "\n".join([before + _FIRST, *table, _LAST]) + rest.partition(_LAST)[2]


def main(arguments):
    """Do what the module's first lines say."""
    if arguments[:1] == ["lock"]:
        for cell in arguments[1:]:
            lock(cell)
        return
    new = {cell: row_of_last_run(cell) for cell in cells()}
    page = ROOT / "docs" / "versions.md"
    text = with_table(page.read_text(encoding="utf-8"), filter(None, new.values()))
    page.write_text(text, encoding="utf-8")
    for cell, found in new.items():
        print(f"{cell}: {found[-1] if found else 'no run found, its row is as it was'}")
