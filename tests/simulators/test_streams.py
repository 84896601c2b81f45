"""Images that come in parts, of whatever kind, are answered as if all had been there: bit for bit, and checked."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import snnrepro
from snnrepro.spiking import parts, run
from snnrepro.spiking.evaluate import evaluate
from snnrepro.spiking.images import described
from snnrepro.spiking.parts import in_parts
from tests.helpers.event_cases import small
from tests.helpers.runs import differing
from tests.helpers.spiking_strategies import drawn_cases


def _batches(x, sizes):
    """Yield batches of these sizes in one buffer, as some loaders do, and one image at a time for a size of 0."""
    start, buffer = 0, np.empty_like(x)
    for size in [*sizes, len(x)]:
        batch = buffer[: len(x[start : start + max(size, 1)])]
        batch[:] = x[start : start + max(size, 1)]
        yield batch[0] if size == 0 and len(batch) else batch
        start += len(batch)


def _forms(x, sizes, folder):
    np.save(folder / "x.npy", x)
    return {
        "array": x,
        "mapped": np.load(folder / "x.npy", mmap_mode="r"),
        "list": x.tolist(),
        "generator": _batches(x, sizes),
        "pairs": ((batch.copy(), np.zeros(len(batch))) for batch in np.array_split(x, 2) if len(batch)),
    }


@settings(max_examples=25)
@given(case=drawn_cases(max_images=5), images_of_a_part=st.integers(1, 4), sizes=st.lists(st.integers(0, 3)))
@pytest.mark.parametrize("simulator", ["event", "plain"])
def test_parts_give_what_the_whole_gives(tmp_path_factory, simulator, case, images_of_a_part, sizes):
    whole = case.spiking.run(case.x, case.n_steps, simulator, keep_steps=range(1, case.n_steps + 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "MOST_NUMBERS", images_of_a_part * case.x[0].size)
        for kind, images in _forms(case.x, sizes, tmp_path_factory.mktemp("images")).items():
            got = case.spiking.run(images, case.n_steps, simulator, keep_steps=range(1, case.n_steps + 1))
            assert differing(whole, got) == [], kind


def _many(n_images=50):
    spiking, _ = small()
    x = np.random.RandomState(1).rand(n_images, *spiking.network.input_shape).astype(np.float32)
    return spiking, x


@pytest.fixture
def three_a_part(monkeypatch):
    spiking, x = _many()
    monkeypatch.setattr(parts, "MOST_NUMBERS", 3 * x[0].size)
    return spiking, x


@pytest.mark.parametrize("options", [{}, {"early_exit": 0.1}, {"keep_steps": (2, 5)}])
def test_weights_of_every_size_are_no_exception(options, monkeypatch):
    spiking, x = _many()
    whole = spiking.run(x, 9, **options)
    monkeypatch.setattr(parts, "MOST_NUMBERS", 3 * x[0].size)
    assert differing(whole, spiking.run(x, 9, **options)) == []
    evaluation = evaluate(spiking, whole, x, whole.predictions).as_dict()
    monkeypatch.undo()
    assert evaluation == evaluate(spiking, whole, x, whole.predictions).as_dict()


def test_a_part_that_is_left_out_or_turned_round_is_noticed(three_a_part, monkeypatch):
    spiking, x = three_a_part
    whole, joined = spiking.run(x, 9), run.Run.joined
    monkeypatch.setattr(run.Run, "joined", staticmethod(lambda runs: joined(runs[::-1])))
    assert "scores_by_step" in differing(whole, spiking.run(x, 9))
    monkeypatch.setattr(run.Run, "joined", staticmethod(lambda runs: joined(runs[:-1])))
    assert "scores_by_step" in differing(whole, spiking.run(x, 9))


def test_a_buffer_that_is_filled_again_is_noticed(monkeypatch):
    x = np.arange(12.0, dtype=np.float32).reshape(6, 2)
    copied = [part.images for part in in_parts(_batches(x, [1, 1, 1]), (2,), 8)]
    np.testing.assert_array_equal(np.concatenate(copied), x)
    monkeypatch.setattr(np, "may_share_memory", lambda *_: False)
    kept = [part.images for part in in_parts(_batches(x, [1, 1, 1]), (2,), 8)]
    assert not np.array_equal(np.concatenate(kept), x)


class Asked:
    """What can be cut, like an HDF5 data set, and keeps what was asked for."""

    def __init__(self, x):
        self._x, self.shape, self.dtype, self.asked = x, x.shape, x.dtype, []

    def __len__(self):
        return len(self._x)

    def __getitem__(self, some):
        found = self._x[some]
        self.asked.append(len(found))
        return found

    def __array__(self, *_, **__):
        raise AssertionError("all of it was asked for")


def test_of_what_can_be_cut_only_slices_are_read(three_a_part):
    spiking, x = three_a_part
    asked = Asked(x)
    assert differing(spiking.run(x, 5), spiking.run(asked, 5)) == []
    assert asked.asked == [3, *[1] * 50, *[3] * 15, 2]  # a thousand of them, evenly spread, show what they are like
    evaluate(spiking, spiking.run(x, 5), asked, None)
    assert asked.asked[67:] == [3] * 16 + [2]


def test_what_comes_one_after_the_other_is_asked_for_as_parts_are_run(three_a_part, monkeypatch):
    spiking, x = three_a_part
    given, ran = [], []
    original = run._run

    def noted(spiking, images, *rest):
        ran.append((len(given), len(images)))
        return original(spiking, images, *rest)

    monkeypatch.setattr(run, "_run", noted)
    spiking.run((given.append(None) or image for image in x), 5)
    assert ran == [(number, 3) for number in range(3, 49, 3)] + [(50, 2)]


@pytest.mark.parametrize("place", [0, 4, 49])
def test_an_image_is_named_by_its_place_in_the_whole(three_a_part, place):
    spiking, x = three_a_part
    x[place, 0, 3, 1] = np.nan
    for images in (x, x.astype(np.float64), iter(x), iter(np.array_split(x, 7))):
        with warnings.catch_warnings(), pytest.raises(snnrepro.DataError, match=rf"^image {place} holds nan at \(0, 3"):
            spiking.run(images, 5)


def test_what_does_not_fit_is_refused_before_anything_is_run(three_a_part, monkeypatch):
    spiking, x = three_a_part
    monkeypatch.setattr(run, "_run", None)
    for images, shape in ((x[:, :, :-1], r"\(50, 1, 6, 8\)"), (np.zeros(50), r"\(50,\)")):
        with pytest.raises(snnrepro.DataError, match=rf"the network's input is \(n_images, 1, 7, 8\), got {shape}"):
            spiking.run(images)
    with pytest.raises(snnrepro.DataError, match="images are needed, and this generator gives none"):
        spiking.run(one for one in ())


def test_no_images_in_whatever_form_are_answered_with_none(three_a_part):
    spiking, x = three_a_part
    for images in (x[:0], iter([x[:0], x[:0]])):
        found = spiking.run(images, 5)
        assert found.scores.shape == (0, 3)
        assert found.sparsity == 1.0


def test_images_unlike_those_of_the_calibration_are_warned_of_once(three_a_part):
    spiking, x = three_a_part
    spiking = replace(spiking, provenance={"images": described(x)})
    for images in (255 * x, iter(255 * x)):
        with pytest.warns(snnrepro.DataWarning, match="leave the range") as found:
            spiking.run(images, 5)
        assert len(found) == 1
        assert found[0].filename == __file__
    spiking.run(x, 5)


def test_progress_adds_up_where_the_number_is_known(three_a_part, tf):
    spiking, x = three_a_part
    dataset = tf.data.Dataset.from_tensor_slices(x)
    for images, total in ((x, 1), (list(x), 1), (dataset.batch(7), 1), (dataset, 1), (iter(x), 0)):
        done = []
        spiking.run(images, 5, progress=done.append)
        assert sum(done) == pytest.approx(total)


@pytest.mark.parametrize("mode", ["r", "c", "r+"])
def test_a_mapped_file_stays_what_it_is(three_a_part, tmp_path, mode):
    """What was written to a private map would be lost if its memory were given back."""
    spiking, x = three_a_part
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode=mode)
    wanted = x.copy()
    if mode != "r":
        mapped[7] = wanted[7] = 0.5
    whole = spiking.run(wanted, 5)
    assert differing(whole, spiking.run(mapped, 5)) == []
    assert differing(spiking.run(wanted[3:40], 5), spiking.run(mapped[3:40], 5)) == []
    np.testing.assert_array_equal(mapped, wanted)
