"""A study finds the front of accuracy, latency and operations, goes on where it stopped, and is shared by machines."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

import snnrepro as snn
from snnrepro.errors import DataError, DependencyError, SnnReproError
from snnrepro.frameworks.optuna import opened
from snnrepro.spiking.neurons import IF
from snnrepro.study import space, study
from snnrepro.user_images import apart
from tests.helpers import model_files, postgres
from tests.helpers.command_line import run_command

optuna = pytest.importorskip("optuna", reason="Optuna is not installed (extra: tune)")

TRAINED = model_files.network()
X, Y = model_files.images(TRAINED, 600)
IMAGES = apart(X, Y, 300, 300)


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path / 'tune.db'}"


def _trials(storage):
    with opened(storage) as database:
        return optuna.load_study(storage=database, study_name="snnrepro").trials


def _states(storage):
    return [trial.state.name for trial in _trials(storage)]


def _ended(storage):
    return sum(state in ("COMPLETE", "PRUNED") for state in _states(storage))


def test_what_is_on_the_front_is_beaten_by_nothing(storage):
    front = study.search(TRAINED, IMAGES, 12, storage, max_steps=24)
    trials = [trial for trial in _trials(storage) if trial.values]
    assert len(_states(storage)) == 12
    assert len(trials) > 6
    assert len(front) > 1
    values = np.array([trial.values for trial in trials])
    for trial in trials:
        beaten = np.all(values <= trial.values, axis=1) & np.any(values < trial.values, axis=1)
        if "same_as" not in trial.user_attrs:
            assert (trial.number in {point.trial for point in front}) is not bool(beaten.any())
    steps = [point.choice.n_steps for point in front]
    assert steps == sorted(steps)
    assert max(values[:, 1]) <= 24


def test_a_point_is_what_its_conversion_gives(storage):
    point = study.picked(study.search(TRAINED, IMAGES, 5, storage))
    spiking = snn.convert(TRAINED, point.choice.recipe, IMAGES.fitted, point.choice.n_steps)
    run = spiking.run(IMAGES.judged)
    trained = TRAINED.forward(IMAGES.judged).argmax(axis=1)
    lost = np.mean(trained == IMAGES.judged_labels) - np.mean(run.predictions == IMAGES.judged_labels)
    assert point.loss == pytest.approx(100 * lost)
    assert point.operations == pytest.approx(run.synaptic_operations.mean())
    assert point.low <= point.loss <= point.high


def test_images_that_fit_do_not_judge():
    fitted, judged = ({image.tobytes() for image in side} for side in (IMAGES.fitted, IMAGES.judged))
    assert len(fitted) == len(judged) == 300
    assert not fitted & judged


def test_a_study_goes_on_where_it_stopped(storage):
    study.search(TRAINED, IMAGES, 4, storage)
    before = _trials(storage)
    study.search(TRAINED, IMAGES, 4, storage)
    assert len(_states(storage)) == 4
    study.search(TRAINED, IMAGES, 7, storage)
    after = _trials(storage)
    assert len(after) == 7
    assert [trial.params for trial in after[:4]] == [trial.params for trial in before]
    assert len({json.dumps(trial.params, sort_keys=True) for trial in after}) > 5, "not the same ones again"


def _search_slowly(storage):
    """Search in a process of its own that tells when its third trial has begun, and never ends it."""
    tried = study.convert

    def hanging(*arguments, **options):
        if _states(storage).count("COMPLETE") == 2:
            time.sleep(600)
        return tried(*arguments, **options)

    study.convert = hanging
    study.search(TRAINED, IMAGES, 5, storage)


@pytest.mark.skipif(os.name != "posix", reason="a process is killed as on Unix")
def test_a_killed_search_goes_on(storage):
    process = multiprocessing.get_context("spawn").Process(target=_search_slowly, args=(storage,))
    process.start()
    for _ in range(600):
        time.sleep(0.2)
        try:
            if _states(storage)[:3] == ["COMPLETE", "COMPLETE", "RUNNING"]:
                break
        except (KeyError, SnnReproError, optuna.exceptions.StorageInternalError):
            continue
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert _states(storage)[:3] == ["COMPLETE", "COMPLETE", "RUNNING"]
    front = study.search(TRAINED, IMAGES, 5, storage)
    assert _ended(storage) == 5
    assert all(point.trial != 2 for point in front)


def _search(storage, n_trials):
    study.search(TRAINED, IMAGES, n_trials, storage)


def _searched_by_two(storage):
    """Return how many trials two processes at the same study have ended."""
    study.search(TRAINED, IMAGES, 1, storage)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_search, args=(storage, 8)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    return _ended(storage)


@pytest.mark.slow
def test_two_processes_share_a_study(storage):
    assert 8 <= _searched_by_two(storage) <= 9  # both may be at the last one


@pytest.mark.slow
def test_a_postgresql_server_serves_many(tmp_path):
    if postgres.why_not():
        pytest.skip(postgres.why_not())
    driver = next((one for one in ("psycopg", "psycopg2") if importlib.util.find_spec(one)), None)
    if driver is None:
        pytest.skip("no driver of PostgreSQL is installed: pip install psycopg[binary]")
    with postgres.server(tmp_path) as address:
        storage = f"postgresql+{driver}://{address}"
        assert 8 <= _searched_by_two(storage) <= 9
        front = study.front_of(storage, "snnrepro", TRAINED)
        assert study.picked(front).loss == min(point.loss for point in front)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"network": model_files.network(seed=5)}, "is of another network"),
        ({"images": apart(X + 1, Y, 300, 300)}, "is of other images"),
    ],
)
def test_a_study_of_something_else_is_not_gone_on_with(storage, changed, told):
    study.search(TRAINED, IMAGES, 1, storage)
    given = {"network": TRAINED, "images": IMAGES, **changed}
    with pytest.raises(DataError, match=told):
        study.search(given["network"], given["images"], 3, storage)
    assert _states(storage).count("COMPLETE") == 1


def test_what_cannot_be_converted_is_pruned_and_counts(storage, monkeypatch):
    def refusing(network, recipe, images, n_steps, task=None):
        raise snn.ModelError("not this one")

    monkeypatch.setattr(study, "convert", refusing)
    assert study.search(TRAINED, IMAGES, 3, storage) == []
    assert _states(storage) == ["PRUNED"] * 3
    with pytest.raises(DataError, match="no finished trial"):
        study.picked([])


def test_what_was_tried_before_is_not_tried_again(storage, monkeypatch):
    params = [dict(space.FIRST[0])] * 3
    tried = []
    convert = study.convert
    monkeypatch.setattr(study, "FIRST", tuple(params))
    monkeypatch.setattr(study, "convert", lambda *given, **named: tried.append(given) or convert(*given, **named))
    with opened(storage) as database:  # that a sampler draws the same again is up to it: ask for it
        made = optuna.create_study(storage=database, study_name="snnrepro", directions=["minimize"] * 3)
        for _ in range(3):
            made.enqueue_trial(params[0])
    front = study.search(TRAINED, IMAGES, 3, storage)
    assert len(tried) == 1
    assert [trial.values for trial in _trials(storage)] == [_trials(storage)[0].values] * 3
    assert [point.trial for point in front] == [0]


def test_what_answers_no_better_than_chance_is_on_no_front(storage, monkeypatch):
    class Constant:
        def run(self, x):
            return snn.convert(TRAINED, "rate", IMAGES.fitted, 1).run(0 * x)

    monkeypatch.setattr(study, "convert", lambda *given, **named: Constant())
    with pytest.warns(snn.DataWarning):
        assert study.search(TRAINED, IMAGES, 2, storage) == []
    assert [trial.user_attrs["refused"] for trial in _trials(storage)[:2]] == [
        "no better than one answer for all images"
    ] * 2


def test_every_choice_of_the_space_is_a_recipe():
    sampled = optuna.create_study(directions=["minimize"] * 3, sampler=optuna.samplers.RandomSampler(0))
    seen = []
    for _ in range(60):
        trial = sampled.ask()
        chosen = space.suggested(trial, 32)
        assert str(space.choice(trial.params)) == str(chosen)
        assert 2 <= chosen.n_steps <= 32
        assert isinstance(chosen.recipe.neuron, IF)
        seen.append(str(chosen))
    words = " ".join(seen)
    assert all(word in words for word in ("weighted spikes", "rate", "leak 20 ms", "synapse 5 ms", "% thresholds"))
    with pytest.raises(DataError, match="no parameters of a study of snnrepro"):
        space.choice({"x": 1})


def test_the_cheapest_within_a_loss_is_picked():
    def point(trial, loss, operations):
        chosen = space.choice({"n_steps": 4, "code": "rate", "threshold": "fitted", "synapse_ms": 0})
        return study.Point(trial, chosen, loss, loss - 1, loss + 1, operations, 1.0)

    front = [point(0, 3.0, 10.0), point(4, 1.0, 30.0), point(7, 0.0, 90.0)]
    assert study.picked(front).trial == 7
    assert study.picked(front, max_loss=1.0).trial == 4
    assert study.picked(front, trial=0).trial == 0
    with pytest.raises(DataError, match=r"trial 5 is not on the front; on it: 0, 4, 7"):
        study.picked(front, trial=5)
    with pytest.raises(DataError, match=r"at most -1 points; the least is 0\.00"):
        study.picked(front, max_loss=-1)


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////no/such/folder/tune.db", "postgresql+none://me:secret@x/y"])
def test_a_database_that_cannot_be_opened_is_one_line_without_its_password(url):
    with pytest.raises((SnnReproError, DependencyError)) as failure, opened(url):
        pass
    told = str(failure.value)
    assert told.startswith(url.replace("me:secret", "me:***"))
    assert "secret" not in told


def test_the_commands_search_draw_and_convert(tmp_path, storage):
    model, data = model_files.write(tmp_path)
    arguments = ("tune", model, data, "--storage", storage, "--trials", "4", "--max-steps", "16")
    done = run_command(*arguments, "-o", tmp_path / "front.svg")
    assert done.exit_code == 0, done.output
    assert "points to the trained network on 150 images that fitted nothing" in " ".join(done.stdout.split())
    assert "</svg>" in (tmp_path / "front.svg").read_text(encoding="utf-8")
    front = json.loads(run_command(*arguments, "--json").stdout)["front"]
    one = front[0]
    convert = ("convert", model, "-o", tmp_path / "out.npz", "--calibration", data, "--from-study", storage)
    done = run_command(*convert, "--trial", one["trial"])
    assert done.exit_code == 0, done.output
    assert f"trial {one['trial']}: {one['n_steps']} steps, {one['choice']}" in done.stdout
    spiking = snn.load_spiking(tmp_path / "out.npz")
    assert (spiking.n_steps, spiking.provenance["recipe"]) == (one["n_steps"], "tuned by a study")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--trial", "0"], "add --from-study STORAGE"),
        (["--from-study", "STORAGE", "--study", "none"], "there is no study 'none'; studies there: none"),
        (["--from-study", "STORAGE", "--n-steps", "4"], "not both"),
    ],
)
def test_a_conversion_from_no_study_is_refused(tmp_path, storage, arguments, told):
    model, data = model_files.write(tmp_path)
    words = [storage if word == "STORAGE" else word for word in arguments]
    done = run_command("convert", model, "-o", tmp_path / "out.npz", "--calibration", data, *words)
    assert done.exit_code == 2
    assert told in done.stderr
    assert not (tmp_path / "out.npz").exists()
