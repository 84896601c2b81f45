"""What takes a while shows how much of it is done, and how long the rest takes, on a terminal."""

from __future__ import annotations

import functools
import io
import shutil
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from rich.progress import TimeRemainingColumn

import snnrepro
from snnrepro import verification
from snnrepro.cli import main
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Dense, Function
from snnrepro.spiking import parts
from snnrepro.spiking.evaluate import evaluate
from snnrepro.thesis import cells
from tests.helpers.command_line import run_command

printing = import_module("snnrepro.cli.print")

COMMANDS = {
    "convert": "convert MODEL -o OUT.npz --calibration DATA --n-steps 6",
    "convert, thesis": "convert MODEL -o OUT.npz --recipe thesis --n-steps 6",
    "convert, max loss": "convert MODEL -o OUT.npz --calibration BARE --max-loss 20",
    "run": "run SPIKING DATA",
    "run, to a file": "run SPIKING DATA -o OUT.npz",
    "run, plain": "run SPIKING DATA --simulator plain",
    "run, early exit": "run SPIKING DATA --early-exit 1.0",
    "run, alone": "run SPIKING DATA --no-trained",
    "tune": "tune MODEL DATA --trials 2 --storage sqlite:///FOLDER/tune.db",
    "verify": "verify MODEL DATA",
    "report": "report RESULTS",
    "verify, explained": "verify MODEL DATA --explain --n-steps 4",
    "verify, spiking": "verify MODEL DATA --recipe balanced --n-steps 6",
}
BARS = {
    "convert": ["converting", "simulating", "judging"],
    "run": ["simulating", "judging"],
    "tune": ["searching"],
    "verify": ["comparing"],
    "verify, explained": ["converting", "explaining"],
    "report": ["drawing"],
}
QUICK = {
    "inspect": "reads a model",
    "compare": "reads two files of figures",
    "doctor": "imports what is installed",
}
"""The commands without a bar: what they do takes a second or two, and is no loop over images."""


@pytest.fixture(scope="module")
def files(root, tmp_path_factory):
    """Return the paths of a model, of images with labels and without, and of its spiking network."""
    folder = tmp_path_factory.mktemp("files")
    model = root / "tests" / "data" / "models" / "cnn-torchscript.onnx"
    network = snnrepro.load(model)
    x = np.random.RandomState(0).rand(40, *network.input_shape).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=network.forward(x).reshape(40, -1).argmax(axis=1))
    np.savez(folder / "bare.npz", x=x)
    snnrepro.convert(network, "balanced", x, 6).save(folder / "spiking.npz")
    paths = {"MODEL": model, "DATA": "data.npz", "BARE": "bare.npz", "SPIKING": "spiking.npz"}
    (folder / "results").mkdir()
    shutil.copy(str(root / "benchmarks" / "reference" / "results.json"), str(folder / "results"))
    return {**{word: folder / path for word, path in paths.items()}, "RESULTS": folder / "results"}


@pytest.fixture
def bars(monkeypatch):
    """Pretend to be a terminal, and return the bars that are shown: words, columns, total, and what was added."""
    shown = []

    class Noted(printing.Progress):
        def add_task(self, description, total=None, **options):
            shown.append((description, self.columns, total, []))
            return super().add_task(description, total=total, **options)

        def update(self, task_id, *, advance=None, **options):
            shown[-1][-1].append(advance)
            super().update(task_id, advance=advance, **options)

    output = io.StringIO()
    monkeypatch.setattr(printing, "Console", functools.partial(Console, file=output, force_terminal=True))
    monkeypatch.setattr(printing, "Progress", Noted)
    return shown


def _problem(bar):
    """Return what is wrong with a bar, or nothing."""
    _, columns, total, added = bar
    if not any(isinstance(column, TimeRemainingColumn) for column in columns):
        return "no time left"
    if not any("percentage" in getattr(column, "text_format", "") for column in columns):
        return "no percentage"
    if min(added, default=0) < 0:
        return "it goes back"
    if np.cumsum(added).max(initial=0) > total * (1 + 1e-6):
        return "more than the whole"
    return "" if sum(added) == pytest.approx(total) else "less than the whole"


def _run(kind, files, folder):
    if kind == "report":
        pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: report)")
    if kind == "tune":
        pytest.importorskip("optuna", reason="Optuna is not installed (extra: tune)")
    words = COMMANDS[kind].replace("OUT", str(folder / "out")).replace("FOLDER", str(folder)).split()
    return run_command(*(files.get(word, word) for word in words))


@pytest.mark.parametrize("kind", COMMANDS)
def test_every_bar_reaches_the_whole_and_shows_the_time_left(kind, files, bars, tmp_path):
    done = _run(kind, files, tmp_path)
    assert done.exit_code in (0, 1), done.output
    assert {bar[0]: problem for bar in bars for problem in [_problem(bar)] if problem} == {}
    wanted = BARS.get(kind, BARS[kind.split(",")[0]])
    if kind == "convert, thesis":
        wanted = wanted[:1]
    if kind == "verify, spiking":
        wanted = ["converting", *wanted]
    assert [bar[0] for bar in bars] == wanted


def test_every_command_has_a_bar_or_a_reason_for_none():
    assert {kind.split(",")[0] for kind in COMMANDS} | {"reproduce"} | QUICK.keys() == main.commands.keys()


def test_the_bar_of_a_reproduction_is_like_the_others(bars):
    """That each of its cells is told whole is tested where one is reproduced: see test_command_line.py."""
    workloads = cells.workloads("quick", ["dense"])
    with printing.cells_progress(workloads) as advance:
        for cell in cells.cells("dense", workloads["dense"]):
            advance(cell, 1.0)
    assert [_problem(bar) for bar in bars] == [""]


@pytest.mark.parametrize("kind", [kind for kind in COMMANDS if kind != "report"])
def test_nothing_is_shown_where_no_terminal_is(kind, files, tmp_path):
    done = _run(kind, files, tmp_path)
    shown = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
    assert (shown, "left:" in done.stdout) == ([], False)


@pytest.mark.parametrize(
    ("columns", "added", "problem"),
    [
        ((), [1.0], "no time left"),
        ((TimeRemainingColumn(),), [1.0], "no percentage"),
        (None, [0.5, 0.4], "less than the whole"),
        (None, [0.9, 0.2], "more than the whole"),
        (None, [0.9, 0.2, -0.1], "it goes back"),
        (None, [0.25, 0.75], ""),
    ],
)
def test_a_bar_that_says_something_else_is_noticed(bars, columns, added, problem):
    with printing.progress_bar("working") as advance:
        for fraction in added:
            advance(fraction)
    bar = bars[0] if columns is None else (bars[0][0], columns, *bars[0][2:])
    assert _problem(bar) == problem


def test_the_time_left_is_written(monkeypatch):
    output = io.StringIO()
    monkeypatch.setattr(
        printing, "Console", functools.partial(Console, file=output, force_terminal=True, width=100, color_system=None)
    )
    with printing.progress_bar("working") as advance:
        advance(0.25)
    assert "working" in output.getvalue()
    assert " 25 %" in output.getvalue()
    assert "left: " in output.getvalue()


CALLS = {
    "convert": lambda made, **options: snnrepro.convert(made.network, "balanced", made.x, 6, **options),
    "convert, thesis": lambda made, **options: snnrepro.convert(made.network, "thesis", n_steps=6, **options),
    "convert, max loss": lambda made, **options: snnrepro.convert(
        made.network, "balanced", made.x, max_loss=20, **options
    ),
    "convert, functions": lambda made, **options: snnrepro.convert(made.curved, "balanced", made.flat, 6, **options),
    "convert, functions, max loss": lambda made, **options: snnrepro.convert(
        made.curved, "balanced", made.flat, max_loss=50, **options
    ),
    "run": lambda made, **options: made.spiking.run(made.x, **options),
    "run_parts": lambda made, **options: list(made.spiking.run_parts(made.x, **options)),
    "verify": lambda made, **options: snnrepro.verify(made.model, made.spiking, made.x, **options),
    "verify, trained": lambda made, **options: snnrepro.verify(made.network, None, made.x, **options),
    "verify, functions": lambda made, **options: snnrepro.verify(
        made.curved, snnrepro.convert(made.curved, "rate", made.flat, 3), made.flat, **options
    ),
    "evaluate": lambda made, **options: evaluate(made.spiking, made.spiking.run(made.x), made.x, made.y, **options),
}


def _curved():
    """Return a small network with two functions that rectifiers are fitted to."""
    rng = np.random.RandomState(2)
    nodes, source, n_in = [], "x", 6
    for place, (n_out, formula) in enumerate(((9, "tanh(x)"), (7, "x * sigmoid(x)"), (3, None))):
        nodes.append(Node(f"dense{place}", (source,), Dense(rng.normal(size=(n_in, n_out)), np.zeros(n_out))))
        if formula:
            nodes.append(Node(f"curve{place}", (nodes[-1].name,), Function(formula)))
        source, n_in = nodes[-1].name, n_out
    return Network("x", (6,), tuple(nodes), {})


@pytest.mark.parametrize("in_pieces", [False, True], ids=["at once", "in pieces"])
@pytest.mark.parametrize("kind", CALLS)
def test_what_takes_a_progress_in_python_is_told_the_whole(kind, in_pieces, files, monkeypatch):
    if in_pieces:
        monkeypatch.setattr(verification, "_NUMBERS", 1)
        monkeypatch.setattr(parts, "MOST_NUMBERS", 1)
    data = np.load(files["DATA"])
    made = SimpleNamespace(
        model=files["MODEL"],
        network=snnrepro.load(files["MODEL"]),
        spiking=snnrepro.load_spiking(files["SPIKING"]),
        x=data["x"],
        y=data["y"],
        curved=_curved(),
        flat=np.random.RandomState(0).normal(size=(40, 6)).astype(np.float32),
    )
    added = []
    CALLS[kind](made, progress=added.append)
    assert min(added) >= 0
    assert max(np.cumsum(added)) <= 1 + 1e-6
    assert sum(added) == pytest.approx(1)
