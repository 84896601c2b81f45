"""A file is written whole or not at all, and an npz file is read or refused."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from snnrepro import DataError
from snnrepro.files import opened_npz, read_array, sha256_of, written_whole


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old")

    def interrupted():
        with written_whole(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_a_finished_write_takes_the_old_files_place(tmp_path):
    path = tmp_path / "new" / "results.json"
    with written_whole(path) as file:
        file.write(b"whole")
    assert path.read_bytes() == b"whole"
    assert sha256_of(path) == hashlib.sha256(b"whole").hexdigest()


def _first(path):
    with opened_npz(path) as archive:
        return read_array(archive, "first")


def test_an_array_is_read_as_numpy_wrote_it(tmp_path):
    array = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    np.savez(tmp_path / "a.npz", first=array)
    np.testing.assert_array_equal(_first(tmp_path / "a.npz"), array)


def test_whatever_is_wrong_with_an_npz_file_is_one_line(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, first=np.arange(5))
    whole = path.read_bytes()
    for content in [*(whole[:length] for length in range(len(whole))), whole.replace(b"\x03\x00", b"\x04\x00")]:
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.npz cannot be read: not a readable npz archive") as refusal:
            _first(path)
        assert "\n" not in str(refusal.value)
    np.savez(path, second=np.arange(5))
    for wrong in (path, tmp_path, tmp_path / "nowhere.npz"):
        with pytest.raises(DataError, match="not a readable npz archive"):
            _first(wrong)
