"""A running Dask cluster does the work of the command line: the same results, whatever becomes of a worker."""

from __future__ import annotations

import importlib.util
import json
import signal
import sys
import time

import numpy as np
import pytest

from snnrepro.frameworks.dask import INSTALL, cluster
from tests.helpers.command_line import run_command
from tests.helpers.dask_cluster import cluster_of
from tests.helpers.runs import differing, sent_by_threes

needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="Dask is not installed (extra: distributed)"
)
# Not of this package: sockets of a connection that the other side has closed.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    with cluster_of(tmp_path_factory.mktemp("cluster"), 2) as started:
        yield started


@pytest.fixture
def many(monkeypatch):
    return sent_by_threes(monkeypatch)


@needs_dask
def test_two_workers_give_what_this_process_gives(many, two_workers):
    spiking, x = many
    for options in ({}, {"early_exit": 0.1}, {"simulator": "plain", "keep_steps": (2, 9)}):
        with cluster(two_workers.address) as executor:
            got = spiking.run(x, 9, executor=executor, **options)
        assert differing(spiking.run(x, 9, **options), got) == []


@needs_dask
def test_a_worker_that_is_killed_costs_nothing_but_time(many, tmp_path):
    from distributed import Client

    spiking, x = many
    done = []
    with cluster_of(tmp_path, 0) as started:
        victim = started.add_worker()
        started.add_worker()
        with Client(started.address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
            places = {pid: address for address, pid in client.run(_pid).items()}

            def kill(share):
                done.append(share)
                if len(done) == 2:
                    assert client.processing()[places[victim.pid]], "it had nothing to do"
                    victim.send_signal(signal.SIGKILL)

            got = spiking.run(x, 300, "plain", executor=client.get_executor(), progress=kill)
            assert list(client.scheduler_info()["workers"]) == [a for pid, a in places.items() if pid != victim.pid]
    assert len(done) == 17
    assert differing(spiking.run(x, 300, "plain"), got) == []


def _pid():
    import os

    return os.getpid()


@pytest.fixture
def files(many, tmp_path):
    spiking, x = many
    spiking.save(tmp_path / "spiking.npz")
    np.savez(tmp_path / "data.npz", x=x, y=spiking.network.forward(x).argmax(axis=1))
    return tmp_path


@needs_dask
def test_the_command_gives_the_same_figures_and_files(files, two_workers):
    arguments = ["run", files / "spiking.npz", files / "data.npz", "--json", "-o"]
    here = run_command(*arguments, files / "here.npz")
    there = run_command(*arguments, files / "there.npz", "--scheduler", two_workers.address)
    assert there.exit_code == 0, there.output
    assert json.loads(there.stdout) == json.loads(here.stdout)
    with np.load(files / "here.npz") as wanted, np.load(files / "there.npz") as got:
        assert wanted.files == got.files
        for name in wanted.files:
            np.testing.assert_array_equal(wanted[name], got[name])


def _refused(files, address, command="run"):
    arguments = [files / "spiking.npz", files / "data.npz"] if command == "run" else ["-o", files / "results"]
    start = time.monotonic()
    done = run_command(command, *arguments, "--scheduler", address)
    assert done.exit_code == 2, done.output
    assert time.monotonic() - start < 60
    lines = [line for line in done.stderr.splitlines() if not line.startswith("data: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@needs_dask
@pytest.mark.parametrize("command", ["run", "reproduce"])
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "tcp://no-such-host.invalid:8786"])
def test_a_scheduler_that_does_not_answer_is_one_sentence(files, address, command):
    assert f"{address}: no scheduler answers" in _refused(files, address, command)


@needs_dask
@pytest.mark.parametrize("address", ["nonsense", "tcp://host", "tcp://host:port", ""])
def test_what_is_no_address_is_one_sentence(files, address):
    assert "an address such as tcp://host:8786 is needed" in _refused(files, address)


@needs_dask
def test_a_scheduler_without_workers_is_one_sentence(files, tmp_path, monkeypatch):
    monkeypatch.setattr("snnrepro.frameworks.dask._TIMEOUT", 2)
    with cluster_of(tmp_path, 0) as started:
        assert f"has no workers; run: dask worker {started.address}" in _refused(files, started.address)


def test_without_dask_a_sentence_says_how_to_install_it(files, monkeypatch):
    for name in ("dask", "distributed"):
        monkeypatch.setitem(sys.modules, name, None)
    assert INSTALL in _refused(files, "tcp://127.0.0.1:8786")
