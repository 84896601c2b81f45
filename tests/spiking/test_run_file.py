"""Results written part by part are those of the whole run, and a file is there when all of it is written."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pytest

import snnrepro
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Dense, ReLU, Reshape
from snnrepro.spiking import parts
from snnrepro.spiking.run_file import write_run
from snnrepro.user_images import read_images
from tests.helpers.command_line import run_command
from tests.helpers.event_cases import dyadic, with_neurons
from tests.helpers.runs import differing


@pytest.fixture
def three_a_part(monkeypatch):
    """A network, and twenty images of bytes, three of which are run together."""
    rng = np.random.RandomState(0)
    nodes = [
        Node("flat", ("x",), Reshape((30,))),
        Node("first", ("flat",), Dense(dyadic(rng, 30, 8), np.zeros(8))),
        Node("a/b", ("first",), ReLU()),
        Node("y", ("a/b",), Dense(dyadic(rng, 8, 3), np.zeros(3))),
    ]
    monkeypatch.setattr(parts, "MOST_NUMBERS", 3 * 30)
    return with_neurons(Network("x", (6, 5), tuple(nodes), {})), rng.randint(0, 256, (20, 6, 5)).astype(np.uint8)


def _as_numpy_writes_it(run, path):
    """Write a whole run as `numpy.savez` does."""
    np.savez(
        path,
        scores=run.scores,
        predictions=run.predictions,
        steps=np.array(run.steps),
        steps_used=run.steps_used,
        synaptic_operations=run.synaptic_operations,
        macs=run.macs,
        **{f"spike_counts/{name.replace('/', '_')}": counts for name, counts in run.spike_counts.items()},
    )
    return path


def _differing(first, second):
    """Return the names of the arrays that two npz files do not have in common."""
    with np.load(first) as one, np.load(second) as other:
        assert set(one.files) == set(other.files)
        assert len(one.files) > 6
        return [
            name
            for name in one.files
            if (one[name].dtype, one[name].shape) != (other[name].dtype, other[name].shape)
            or not np.array_equal(one[name], other[name])
        ]


def _folder(x, path):
    """Write images as a folder of two classes, so that they keep their order."""
    io = pytest.importorskip("skimage.io", reason="scikit-image is not installed (extra: images)")
    for index, image in enumerate(x):
        folder = path / ("ant" if index < len(x) // 2 else "zebra")
        folder.mkdir(parents=True, exist_ok=True)
        io.imsave(str(folder / f"{index:02}.png"), image, check_contrast=False)
    return path


FORMS = {
    "array": lambda x, folder: x,
    "generator": lambda x, folder: iter(x),
    "batches": lambda x, folder: iter(np.array_split(x, 7)),
    "folder": lambda x, folder: read_images(_folder(x, folder))[0],
}


@pytest.mark.parametrize("options", [{}, {"early_exit": 0.5}, {"simulator": "plain"}], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_in_parts_is_what_is_written_at_once(three_a_part, tmp_path, form, options):
    spiking, x = three_a_part
    wanted = _as_numpy_writes_it(spiking.run(x, 9, **options), tmp_path / "wanted.npz")
    written = write_run(spiking.run_parts(FORMS[form](x, tmp_path / "x"), 9, **options), tmp_path / "got.npz")
    assert _differing(wanted, tmp_path / "got.npz") == []
    assert differing(spiking.run(x, 9, **options), written) == []
    assert sorted(path.name for path in tmp_path.glob("*.npz")) == ["got.npz", "wanted.npz"]


def test_a_part_that_is_left_out_or_changed_is_noticed(three_a_part, tmp_path):
    spiking, x = three_a_part
    wanted = _as_numpy_writes_it(spiking.run(x, 9), tmp_path / "wanted.npz")
    runs = list(spiking.run_parts(x, 9))
    assert len(runs) == 7
    write_run(runs[:-1], tmp_path / "got.npz")
    assert {"scores", "macs"} <= set(_differing(wanted, tmp_path / "got.npz"))
    runs[3] = replace(runs[3], spike_counts={"a/b": runs[3].spike_counts["a/b"] + 1})
    write_run(runs, tmp_path / "got.npz")
    assert _differing(wanted, tmp_path / "got.npz") == ["spike_counts/a_b"]


def test_parts_joined_are_the_run(three_a_part):
    spiking, x = three_a_part
    runs = list(spiking.run_parts(x, 9, keep_steps=(2, 5)))
    assert [len(run.scores) for run in runs] == [3, 3, 3, 3, 3, 3, 2]
    assert differing(spiking.run(x, 9, keep_steps=(2, 5)), snnrepro.spiking.run.Run.joined(runs)) == []


def test_a_part_is_run_when_it_is_asked_for_and_let_go_of_when_it_is_written(three_a_part, tmp_path):
    spiking, x = three_a_part
    taken, alive = [], []

    def images():
        for image in x:
            taken.append(1)
            yield image

    def watched():
        made = []
        for run in spiking.run_parts(images(), 9):
            made.append(weakref.ref(run))
            alive.append(sum(one() is not None for one in made))
            assert len(taken) == min(3 * len(made), len(x))
            yield run
            del run

    write_run(watched(), tmp_path / "run.npz")
    assert len(alive) == 7
    assert max(alive) <= 2, "the part at hand, and the one before until it is replaced"


def test_what_is_refused_is_refused_before_a_part_is_asked_for(three_a_part):
    spiking, x = three_a_part
    for arguments, options in (((x[:, :-1],), {}), ((x, 0), {}), ((x,), {"simulator": "none"})):
        with pytest.raises(snnrepro.SnnReproError):
            spiking.run_parts(*arguments, **options)


def test_a_run_that_is_interrupted_leaves_the_file_as_it_was(three_a_part, tmp_path):
    spiking, x = three_a_part

    def interrupted():
        yield from x[:10]
        raise KeyboardInterrupt

    for before in ([], [b"the first"]):
        for content in before:
            (tmp_path / "run.npz").write_bytes(content)
        with pytest.raises(KeyboardInterrupt):
            write_run(spiking.run_parts(interrupted(), 9), tmp_path / "run.npz")
        assert [path.read_bytes() for path in tmp_path.iterdir()] == before


def test_no_images_are_written_as_none(three_a_part, tmp_path):
    spiking, x = three_a_part
    written = write_run(spiking.run_parts(x[:0], 9), tmp_path / "run.npz")
    assert differing(spiking.run(x[:0], 9), written) == []
    with np.load(tmp_path / "run.npz") as file:
        assert file["scores"].shape == (0, 3)


def test_where_nothing_can_be_written_is_said_in_one_sentence_and_before_the_work(three_a_part, tmp_path):
    spiking, x = three_a_part
    (tmp_path / "file").write_text("in the way")

    def never():
        raise AssertionError("a part was run")
        yield

    for path, message in ((tmp_path, "is a folder"), (tmp_path / "file" / "run.npz", "cannot be written")):
        with pytest.raises(snnrepro.SnnReproError, match=message):
            write_run(never(), path)
    spiking.save(tmp_path / "spiking.npz")
    np.save(tmp_path / "x.npy", x)
    done = run_command("run", tmp_path / "spiking.npz", tmp_path / "x.npy", "-o", tmp_path / "file" / "run.npz")
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_the_command_writes_what_it_judges(three_a_part, tmp_path):
    spiking, x = three_a_part
    spiking.save(tmp_path / "spiking.npz")
    folder = _folder(x, tmp_path / "x")
    said = [
        run_command("run", tmp_path / "spiking.npz", folder, "--n-steps", 9, "--json", *more).stdout
        for more in ([], ["-o", tmp_path / "run.npz"])
    ]
    assert said[0] == said[1] != ""
    wanted = _as_numpy_writes_it(spiking.run(x, 9), tmp_path / "wanted.npz")
    assert _differing(wanted, tmp_path / "run.npz") == []


def test_an_interrupted_command_says_so_and_leaves_no_file(three_a_part, tmp_path, monkeypatch):
    spiking, x = three_a_part
    spiking.save(tmp_path / "spiking.npz")
    np.save(tmp_path / "x.npy", x)
    original, calls = snnrepro.spiking.run._run, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(snnrepro.spiking.run, "_run", interrupted)
    (tmp_path / "out").mkdir()
    done = run_command("run", tmp_path / "spiking.npz", tmp_path / "x.npy", "-o", tmp_path / "out" / "run.npz")
    assert done.exit_code == 130
    assert "no file is left half written" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []
