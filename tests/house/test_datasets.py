"""Data sets are found where they are, named, and refused when they are damaged."""

from __future__ import annotations

import gzip
import socket
import struct

import numpy as np
import pytest

from snnrepro import DataError, dataset_files, datasets
from snnrepro.files import sha256_of


def _arrays(n_train=6, n_test=4):
    rng = np.random.RandomState(0)
    return {
        "x_train": rng.randint(0, 256, (n_train, 28, 28)).astype(np.uint8),
        "y_train": rng.randint(0, 10, n_train),
        "x_test": rng.randint(0, 256, (n_test, 28, 28)).astype(np.uint8),
        "y_test": rng.randint(0, 10, n_test),
    }


def _npz(path, **changes):
    np.savez(path, **{**_arrays(), **changes})
    return path


def _idx(folder, arrays, packed=False):
    folder.mkdir(exist_ok=True)
    for name, file in zip(dataset_files.PARTS, dataset_files._IDX):
        array = arrays[name].astype(np.uint8)
        content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
        if packed:
            (folder / f"{file}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / file).write_bytes(content)
    return folder


def _same(data, arrays):
    for name, array in arrays.items():
        np.testing.assert_array_equal(getattr(data, name), array)


def test_an_npz_file_is_read_as_it_is(tmp_path):
    data = datasets.load_mnist(_npz(tmp_path / "mnist.npz"))
    _same(data, _arrays())
    assert not data.is_full
    assert data.describe().startswith("file mnist.npz (")  # its folder is the machine's own business
    assert "6 train / 4 test, not the full MNIST" in data.describe()


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_of_idx_files_gives_the_same_as_the_npz(tmp_path, packed):
    data = datasets.load_mnist(_idx(tmp_path / "idx", _arrays(), packed))
    _same(data, _arrays())


def test_the_full_set_is_known_by_its_pixels_whatever_the_file(tmp_path, monkeypatch):
    npz = datasets.load_mnist(_npz(tmp_path / "mnist.npz"))
    idx = datasets.load_mnist(_idx(tmp_path / "idx", _arrays()))
    content = idx.sha256
    monkeypatch.setattr(datasets, "FULL_MNIST", content)
    assert datasets.load_mnist(tmp_path / "mnist.npz").is_full
    assert datasets.load_mnist(tmp_path / "idx").is_full
    assert npz.sha256 != content, "a file's hash is that of the file"
    changed = _arrays()
    changed["x_test"][0, 5, 5] ^= 1
    assert not datasets.load_mnist(_npz(tmp_path / "changed.npz", **changed)).is_full


def test_without_a_source_the_full_mnist_is_inside_the_package(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("SNNREPRO_MNIST", raising=False)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("nothing is downloaded"))
    data = datasets.load_mnist()
    assert data.is_full
    assert data.sha256 == "06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64"
    assert (data.x_train.shape, data.x_test.shape) == ((60_000, 28, 28), (10_000, 28, 28))
    assert np.bincount(data.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # as published
    assert data.describe().startswith("MNIST inside snnrepro (")


def test_its_authors_and_its_licence_stand_beside_it():
    text = datasets.INSIDE.with_name("README.md").read_text(encoding="utf-8")
    for needed in ("LeCun", "Cortes", "Burges", "Attribution-ShareAlike 3.0", sha256_of(datasets.INSIDE)):
        assert needed in text


def test_the_argument_comes_before_the_environment_and_that_before_the_package(tmp_path, monkeypatch):
    monkeypatch.setenv("SNNREPRO_MNIST", str(_npz(tmp_path / "environment.npz", y_test=np.ones(4, int))))
    assert set(datasets.load_mnist().y_test) == {1}
    assert set(datasets.load_mnist(_npz(tmp_path / "argument.npz", y_test=np.full(4, 2))).y_test) == {2}


def test_kerass_own_file_is_taken_where_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    cached = tmp_path / "datasets" / "mnist.npz"
    cached.parent.mkdir()

    def download(module):
        assert module == "mnist"
        _npz(cached, y_test=np.zeros(4, int))

    monkeypatch.setattr(datasets, "_download", download)
    for source in ("Keras download", "Keras cache"):
        data = datasets.load_mnist("keras")
        assert data.source.startswith(source)
        assert not data.y_test.any()


def test_where_keras_has_none_and_cannot_download_it_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(datasets, "_download", lambda module: "no network")
    with pytest.raises(DataError, match=r"the download failed \(no network\); without --data keras"):
        datasets.load_mnist("keras")


FAULTS = {
    "labels out of range": ({"y_test": np.array([0, 1, 2, 10])}, "must lie from 0 to 9, got 0 to 10"),
    "negative labels": ({"y_train": np.array([0, 1, 2, 3, 4, -1])}, "must lie from 0 to 9, got -1 to 4"),
    "too few labels": ({"y_test": np.zeros(3, int)}, r"y_test must be 4 integers, got int\d+ \(3,\)"),
    "labels that are no integers": ({"y_test": np.zeros(4)}, "y_test must be 4 integers, got float64"),
    "wrong size": ({"x_test": np.zeros((4, 28, 27), np.uint8)}, r"uint8 \(n_images, 28, 28\), got uint8 \(4, 28, 27\)"),
    "wrong type": ({"x_test": np.zeros((4, 28, 28))}, "x_test must be uint8.*got float64"),
    "no images": ({"x_test": np.zeros((0, 28, 28), np.uint8), "y_test": np.zeros(0, int)}, "x_test must be uint8"),
    "pickled": ({"x_test": np.array([{}] * 4)}, "not a readable npz"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_arrays_that_are_no_digits_are_refused(tmp_path, fault):
    changes, message = FAULTS[fault]
    with pytest.raises(DataError, match=message) as refusal:
        datasets.load_mnist(_npz(tmp_path / "mnist.npz", **changes))
    assert "mnist.npz" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_truncated_npz_is_refused_at_every_length(tmp_path):
    whole = _npz(tmp_path / "mnist.npz").read_bytes()
    for length in range(0, len(whole), 997):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut\.npz"):
            datasets.load_mnist(tmp_path / "cut.npz")


def test_an_npz_without_the_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    with pytest.raises(DataError, match="x_train, y_train, x_test, y_test missing; it holds images"):
        datasets.load_mnist(tmp_path / "other.npz")


def test_damaged_idx_files_are_refused(tmp_path):
    folder = _idx(tmp_path / "idx", _arrays())
    file = folder / "t10k-images-idx3-ubyte"
    whole = file.read_bytes()
    for content, message in (
        (whole[:-1], "truncated"),
        (whole + b"x", "too long"),
        (whole[:10], "not an IDX"),
        (b"", "nothing"),
        (b"\x00\x00\x0d\x03" + whole[4:], "not an IDX file of bytes"),
    ):
        file.write_bytes(content)
        with pytest.raises(DataError, match=message):
            datasets.load_mnist(folder)
    file.unlink()
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte \(or t10k-images-idx3-ubyte\.gz\) is missing"):
        datasets.load_mnist(folder)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(whole)[:-20])
    with pytest.raises(DataError, match="gz"):
        datasets.load_mnist(folder)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        datasets.load_mnist(tmp_path / "nowhere.npz")


def test_pixels_lie_between_0_and_1_and_keep_their_order():
    images = _arrays()["x_train"]
    x = datasets.pixels(images)
    assert (x.dtype, x.shape) == (np.float32, (6, 28, 28, 1))
    np.testing.assert_allclose(x[..., 0] * 255, images, rtol=1e-6)
