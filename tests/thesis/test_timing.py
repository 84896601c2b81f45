"""A time is taken in turn and repeated, and a busy machine spoils no verdict: it is not judged, never failed."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from snnrepro.thesis import judge, tables
from snnrepro.thesis.timing import spread_of, timed_in_turn

EVERY_N = tables.settings()["n_steps"]
TRENDS = [trend for trend in tables.trends("dense") if trend.quantity == "pace"]


def _steps(n_steps):
    """Do the same work in every step, as a simulator does; some hundredths of a second in 60 of them."""
    x = np.random.RandomState(0).rand(50_000)
    for _ in range(n_steps):
        np.sort(x, kind="heapsort")


def test_every_size_is_timed_in_every_round_after_one_that_does_not_count():
    done, now = [], [0.0]

    def work(size):
        done.append(size)
        now[0] += size * (100.0 if len(done) <= 3 else 1.0)

    rounds = []
    times = timed_in_turn(work, [1, 15, 60], 4, clock=lambda: now[0], round_done=lambda: rounds.append(len(done)))
    assert done == [1, 15, 60] * 5
    assert times == {1: [1.0] * 4, 15: [15.0] * 4, 60: [60.0] * 4}
    assert rounds == [3, 6, 9, 12, 15]


def test_the_spread_is_that_of_the_fastest_third_of_the_repeats():
    times = {1: [0.1, 9.0, 9.0], 15: [1.0, 1.2, 7.0, 7.0, 7.0, 7.0], 60: [4.0, 4.2, 4.4, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0]}
    assert spread_of({60: times[60]}) == pytest.approx(0.1)  # the third of nine
    assert spread_of(times) == pytest.approx(0.2)  # that of 15; a step takes less than a tenth of the longest
    assert spread_of({60: [4.0]}) == float("inf")


def test_the_clock_is_the_process_s_own_time():
    times = timed_in_turn(lambda _: time.sleep(0.2), [1], 1)
    assert times[1][0] < 0.1


@pytest.fixture
def two_busy_loops():
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


@pytest.mark.slow
def test_beside_two_busy_loops_no_timing_fails_in_twenty_runs(two_busy_loops):
    outcomes = []
    for _ in range(20):
        times = timed_in_turn(_steps, EVERY_N, 3)
        pace, spread = [(n, min(repeats)) for n, repeats in times.items()], spread_of(times)
        outcomes += [judge.judge_trend(trend, pace, spread)[1] for trend in TRENDS]
    assert len(outcomes) == 80
    assert not [verdict.why for verdict in outcomes if verdict.outcome == judge.FAIL]


def test_what_is_no_constant_work_per_step_still_fails():
    times = timed_in_turn(lambda n: time.sleep(n**2 * 5e-5), EVERY_N, 3, clock=time.perf_counter)
    pace = [(n, min(repeats)) for n, repeats in times.items()]
    failed = [trend for trend in TRENDS if judge.judge_trend(trend, pace, 0.0)[1].outcome == judge.FAIL]
    assert {trend.statistic for trend in failed} == {"ratio", "r_squared"}
