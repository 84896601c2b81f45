"""An archive gives back what was saved, bit for bit, and notices every change."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import snnrepro
from snnrepro.network import archive
from tests.helpers.strategies import dense_networks, image_networks


def _bytes(network):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.npz"
        network.save(path)
        return path.read_bytes()


def _same(first, second):
    assert (first.input_name, first.input_shape) == (second.input_name, second.input_shape)
    assert dict(first.sources) == dict(second.sources)
    assert [(n.name, n.inputs, type(n.layer)) for n in first.nodes] == [
        (n.name, n.inputs, type(n.layer)) for n in second.nodes
    ]
    for one, other in zip(first.nodes, second.nodes):
        for name, value in vars(one.layer).items():
            if isinstance(value, np.ndarray):
                assert value.tobytes() == getattr(other.layer, name).tobytes()
                assert value.dtype == np.float32
                assert not getattr(other.layer, name).flags.writeable
            else:
                assert value == getattr(other.layer, name)


@given(st.one_of(dense_networks(), image_networks().map(snnrepro.load)))
def test_what_is_loaded_is_bit_for_bit_what_was_saved(network):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.npz"
        network.save(path)
        _same(network, snnrepro.load(path))


@given(dense_networks(max_layers=2))
def test_the_same_network_gives_the_same_bytes(network):
    assert _bytes(network) == _bytes(network)


@given(st.data())
def test_a_changed_byte_is_noticed(data):
    network = data.draw(dense_networks(max_layers=2))
    content = bytearray(_bytes(network))
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as file:
        info = file.getinfo("1.weights.npy")
    # The last bytes of the member are the array's numbers, behind the member's own header.
    end = info.header_offset + 30 + len(info.filename) + 20 + info.file_size
    position = data.draw(st.integers(end - 8, end - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(snnrepro.ArchiveError, match=r"1\.weights"):
        _load(bytes(content))


def _load(content):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.npz"
        path.write_bytes(content)
        return snnrepro.load(path)


@pytest.fixture
def network():
    from snnrepro.network.graph import Network, Node
    from snnrepro.network.layers import Dense

    return Network("x", (2,), (Node("y", ("x",), Dense(np.ones((2, 3)), np.arange(3))),), {})


def _rewritten(network, change):
    """Return the archive's bytes with its header changed, everything else (zip checksums too) in order."""
    with zipfile.ZipFile(io.BytesIO(_bytes(network))) as file:
        arrays = {name[:-4]: np.load(io.BytesIO(file.read(name))) for name in file.namelist()}
    header = json.loads(arrays["header"].tobytes().decode())
    change(header, arrays)
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


FAULTS = {
    "newer": (lambda header, arrays: header.update(version=archive.VERSION + 1), "pip install --upgrade snnrepro"),
    "foreign": (lambda header, arrays: header.update(format="other"), "format 'other'"),
    "unknown layer": (lambda header, arrays: header["nodes"][0].update(layer="Attention"), "unknown layer 'Attention'"),
    "missing array": (lambda header, arrays: arrays.pop("0.bias"), "declared but missing"),
    "changed number": (lambda header, arrays: arrays.update({"0.bias": np.zeros(3, np.float32)}), "SHA-256"),
    "wrong shape": (lambda header, arrays: arrays.update({"0.bias": np.zeros((3, 1), np.float32)}), r"\(3, 1\)"),
    "wrong size": (
        lambda header, arrays: arrays.update({"0.bias": np.zeros(4000, np.float32)}),
        "where 12 are declared",
    ),
    "pickle": (lambda header, arrays: arrays.update({"0.bias": np.array([{}] * 3)}), "damaged|declared"),
    "unknown input": (lambda header, arrays: header["nodes"][0].update(inputs=["z"]), "which no node before it gives"),
    "missing key": (lambda header, arrays: header.pop("input"), "damaged"),
    "unknown field": (lambda header, arrays: header["nodes"][0]["fields"].update(gain=1), "damaged"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_archive_is_refused_by_name(network, fault):
    change, message = FAULTS[fault]
    with pytest.raises(snnrepro.ArchiveError, match=message):
        _load(_rewritten(network, change))


def test_the_untouched_archive_of_the_faults_above_is_read(network):
    _same(network, _load(_rewritten(network, lambda header, arrays: None)))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not an archive at all", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_archive_is_refused(content):
    with pytest.raises(snnrepro.ArchiveError, match="not a readable npz archive"):
        _load(content)


def test_a_truncated_archive_is_refused(network):
    whole = _bytes(network)
    for length in range(0, len(whole), 37):
        with pytest.raises(snnrepro.ArchiveError):
            _load(whole[:length])


def test_arrays_beyond_the_declared_ones_are_not_read(network):
    def add(header, arrays):
        arrays["extra"] = np.array([object()], dtype=object)

    _same(network, _load(_rewritten(network, add)))


def test_a_missing_archive_is_said():
    with pytest.raises(snnrepro.ArchiveError, match="no such file"):
        snnrepro.load("nowhere.npz")
