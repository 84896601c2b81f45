"""A file is written whole or not at all."""

from __future__ import annotations

import hashlib

import pytest

from snnrepro.files import sha256_of, written_whole


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
