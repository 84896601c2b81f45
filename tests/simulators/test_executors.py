"""What executors' workers simulate is what is simulated here, bit for bit; where they fail, a sentence says so."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

import snnrepro
from snnrepro import executors
from snnrepro.spiking import parts, run
from tests.helpers.runs import differing, sent_by_threes


@pytest.fixture
def many(monkeypatch):
    return sent_by_threes(monkeypatch)


@pytest.fixture(scope="module")
def processes():
    # Spawned, as on other systems: a fork of a process with threads may hang.
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        yield executor


class Counting:
    """An executor that runs each task when its result is asked for, and counts those that wait."""

    def __init__(self):
        self.waiting, self.most, self.sent = 0, 0, []

    def submit(self, function, *arguments):
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        self.sent.append(arguments)
        future = Future()
        original = future.result

        def result():
            self.waiting -= 1
            future.set_result(function(*arguments))
            return original()

        future.result = result
        return future


@pytest.mark.parametrize("simulator", ["event", "plain"])
def test_processes_give_what_this_process_gives(many, processes, simulator):
    spiking, x = many
    options = {"simulator": simulator, "keep_steps": (2, 9)}
    whole, done = spiking.run(x, 9, **options), []
    assert differing(whole, spiking.run(x, 9, executor=processes, progress=done.append, **options)) == []
    assert (len(done), sum(done)) == (17, pytest.approx(1))
    assert differing(whole, spiking.run(iter(x), 9, executor=processes, **options)) == []
    none = spiking.run(x[:0], 9, executor=processes, **options)
    assert none.scores.shape == (0, 3)


def test_processes_stop_images_early_as_this_process_does(many, processes):
    spiking, x = many
    assert differing(spiking.run(x, 9, early_exit=0.1), spiking.run(x, 9, early_exit=0.1, executor=processes)) == []


def test_results_in_another_order_would_be_noticed(many, monkeypatch):
    spiking, x = many
    original = run.in_order
    monkeypatch.setattr(run, "in_order", lambda *arguments: reversed(list(original(*arguments))))
    with ThreadPoolExecutor(2) as threads:
        assert "scores_by_step" in differing(spiking.run(x, 9), spiking.run(x, 9, executor=threads))


def test_few_parts_are_sent_ahead_and_the_network_is_unpacked_once(many, monkeypatch):
    spiking, x = many
    monkeypatch.setattr(executors, "MOST_TASKS", 4)
    run._received.cache_clear()
    counting = Counting()
    assert differing(spiking.run(x, 9), spiking.run(x, 9, executor=counting)) == []
    assert (counting.most, len(counting.sent)) == (4, 17)
    assert run._received.cache_info().misses == 1
    monkeypatch.setattr(executors, "MOST_BYTES", 10)  # however large a network is, two parts are on their way
    counting = Counting()
    spiking.run(x, 9, executor=counting)
    assert counting.most == 2


def test_images_are_taken_as_results_come_back(many, monkeypatch):
    spiking, x = many
    monkeypatch.setattr(executors, "MOST_TASKS", 4)
    given, counting = [], Counting()
    waiting = []
    spiking.run(((given.append(None), waiting.append(counting.waiting), image)[2] for image in x), executor=counting)
    assert len(given) == 50
    assert max(waiting) == 4


def test_images_are_checked_before_they_are_sent(many):
    spiking, x = many
    x[7, 0, 3, 1] = np.nan
    counting = Counting()
    with pytest.raises(snnrepro.DataError, match=r"^image 7 holds nan at \(0, 3, 1\)"):
        spiking.run(x, 9, executor=counting)
    assert [len(arguments[1]) for arguments in counting.sent] == [3, 3]
    for bad, message in ((x[0], "network's input is"), (None, "images must be numbers")):
        with pytest.raises(snnrepro.DataError, match=message):
            spiking.run(bad, 9, executor=Counting())


def _die(*_):
    os._exit(1)


def _fail(*_):
    raise OSError("no such\ndisk")


def _refuse(*_):
    raise snnrepro.ModelError("this layer cannot be run")


def test_workers_that_die_are_one_sentence(many, monkeypatch):
    spiking, x = many
    monkeypatch.setattr(run, "_run_sent", _die)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        for _ in range(2):  # the pool is broken from then on
            with pytest.raises(snnrepro.SnnReproError, match=r"^a worker failed") as refusal:
                spiking.run(x, 9, executor=executor)
            assert "\n" not in str(refusal.value)
            assert isinstance(refusal.value.__cause__, BrokenExecutor)


def test_what_a_worker_raises_is_one_sentence_and_its_own_refusals_stay(many, processes, monkeypatch):
    spiking, x = many
    monkeypatch.setattr(run, "_run_sent", _fail)
    with pytest.raises(snnrepro.SnnReproError, match=r"^a worker failed \(OSError: no such disk\)"):
        spiking.run(x, 9, executor=processes)
    monkeypatch.setattr(run, "_run_sent", _refuse)
    with pytest.raises(snnrepro.ModelError, match=r"^this layer cannot be run$"):
        spiking.run(x, 9, executor=processes)


def _cannot_convert(*_):
    raise snnrepro.UnsupportedError(["Gelu: curved", "If: unknown"], "train with ReLU")


def test_a_refusal_with_a_list_stays_what_it_is_on_its_way_here(many, processes, monkeypatch):
    spiking, x = many
    monkeypatch.setattr(run, "_run_sent", _cannot_convert)
    with pytest.raises(snnrepro.UnsupportedError, match=r"converted:\n  Gelu: curved\n  If: unknown\ntrain") as refusal:
        spiking.run(x, 9, executor=processes)
    assert refusal.value.problems == ("Gelu: curved", "If: unknown")


def test_what_is_no_executor_is_refused(many):
    spiking, x = many
    with pytest.raises(snnrepro.ModelError, match=r"executor must be one of concurrent.futures, or like one, got int"):
        spiking.run(x, 9, executor=2)
    with ThreadPoolExecutor(1) as closed:
        pass
    with pytest.raises(snnrepro.SnnReproError, match=r"^a worker failed"):
        spiking.run(x, 9, executor=closed)


def test_parts_are_no_larger_elsewhere_than_here():
    assert run.SENT_NUMBERS < parts.MOST_NUMBERS
