"""Fashion-MNIST and CIFAR-10 are read in every form that they come in, and no code in a pickled batch runs."""

from __future__ import annotations

import gzip
import pickle
import struct
import tarfile

import numpy as np
import pytest

from snnrepro import DataError, datasets
from snnrepro.datasets import load_cifar10, load_fashion_mnist

N_BATCH = 7
NAMES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
DRAWN = np.random.RandomState(3)
ROWS = DRAWN.randint(0, 256, (6, N_BATCH, 3072)).astype(np.uint8)
LABELS = DRAWN.randint(0, 10, (6, N_BATCH))


def image(row):
    """A row of CIFAR is 1,024 reds, greens and blues, each 32 rows of 32 (https://www.cs.toronto.edu/~kriz/cifar.html)."""
    wanted = np.empty((32, 32, 3), np.uint8)
    for place, value in enumerate(row):
        wanted[place % 1024 // 32, place % 32, place // 1024] = value
    return wanted


def pickled(folder, protocol=2):
    folder.mkdir(parents=True)
    for name, rows, labels in zip(NAMES, ROWS, LABELS):
        batch = {
            b"batch_label": b"a batch",
            b"labels": labels.tolist(),
            b"data": rows,
            b"filenames": [b"a.png"] * N_BATCH,
        }
        (folder / name).write_bytes(pickle.dumps(batch, protocol=protocol))
    return folder


def binary(folder):
    folder.mkdir(parents=True)
    for name, rows, labels in zip(NAMES, ROWS, LABELS):
        content = b"".join(bytes([label]) + row.tobytes() for label, row in zip(labels, rows))
        (folder / f"{name}.bin").write_bytes(content)
    return folder


def packed(folder):
    path = folder.parent / f"{folder.name}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, "cifar-10-batches")
    return path


def npz(path):
    x = np.stack([image(row) for row in ROWS.reshape(-1, 3072)])
    y = LABELS.reshape(-1, 1)  # as Keras has them
    np.savez(path, x_train=x[: 5 * N_BATCH], y_train=y[: 5 * N_BATCH], x_test=x[5 * N_BATCH :], y_test=y[5 * N_BATCH :])
    return path


FORMS = {
    "pickled": lambda folder: pickled(folder / "batches"),
    "pickled by a newer Python": lambda folder: pickled(folder / "batches", 4),
    "binary": lambda folder: binary(folder / "batches"),
    "packed": lambda folder: packed(pickled(folder / "batches")),
    "packed binary": lambda folder: packed(binary(folder / "batches")),
    "npz": lambda folder: npz(folder / "cifar.npz"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_cifar10_gives_the_same_images_upright_and_in_order(tmp_path, form):
    data = load_cifar10(FORMS[form](tmp_path))
    assert data.x_train.shape == (5 * N_BATCH, 32, 32, 3)
    assert data.x_test.dtype == np.uint8
    for index in (0, N_BATCH - 1, 3 * N_BATCH + 2):
        np.testing.assert_array_equal(data.x_train[index], image(ROWS.reshape(-1, 3072)[index]))
    np.testing.assert_array_equal(data.x_test[2], image(ROWS[5, 2]))
    np.testing.assert_array_equal(np.concatenate([data.y_train, data.y_test]), LABELS.reshape(-1))
    assert data.y_train.dtype == np.int64
    assert "full" not in data.describe()
    assert "(35 train / 7 test)" in data.describe()


def test_kerass_own_cache_is_found_as_keras_2_and_keras_3_keep_it(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "_download", lambda module: "no network")
    for number, name in enumerate(
        ("cifar-10-batches-py", "cifar-10-batches-py-target/cifar-10-batches-py", "cifar-10-batches-py.tar.gz")
    ):
        home = tmp_path / str(number)
        monkeypatch.setenv("KERAS_HOME", str(home))
        with pytest.raises(DataError, match=r"no CIFAR-10 of Keras.*\(no network\); give the folder of its batches"):
            load_cifar10()
        folder = pickled(home / "datasets" / name.replace(".tar.gz", ""))
        if name.endswith(".gz"):
            packed(folder)
        assert load_cifar10().source.startswith("Keras cache")


def test_no_code_in_a_pickled_batch_runs(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    folder = pickled(tmp_path / "batches")
    hostile = pickle.dumps({b"data": Hostile(), b"labels": []}, protocol=2)
    pickle.loads(hostile)[b"data"].close()
    assert (tmp_path / "ran").exists(), "it would run"
    (tmp_path / "ran").unlink()
    (folder / "data_batch_3").write_bytes(hostile)
    with pytest.raises(DataError, match=r"data_batch_3: not a batch of CIFAR-10 \(\w+: it asks for \w+\.open"):
        load_cifar10(folder)
    assert not (tmp_path / "ran").exists()


def test_damaged_batches_are_refused_by_name(tmp_path):
    folder = pickled(tmp_path / "batches")
    whole = (folder / "test_batch").read_bytes()
    for length in (0, 1, 2, 50, 300, len(whole) // 2, len(whole) - 1):
        (folder / "test_batch").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"test_batch: not a batch|x_test must be") as refusal:
            load_cifar10(folder)
        assert "\n" not in str(refusal.value)
    (folder / "test_batch").unlink()
    (folder / "data_batch_4").unlink()
    with pytest.raises(DataError, match="data_batch_4, test_batch missing"):
        load_cifar10(folder)


def test_an_archive_of_which_batches_are_cut_off_is_refused_at_every_length(tmp_path):
    whole = packed(pickled(tmp_path / "batches")).read_bytes()
    cut = tmp_path / "cut.tar.gz"
    for length in range(0, len(whole) * 9 // 10, len(whole) // 23):  # at its end are zeros that nobody needs
        cut.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut\.tar\.gz"):
            load_cifar10(cut)


def test_labels_of_another_number_of_classes_are_refused(tmp_path):
    folder = binary(tmp_path / "batches")
    content = bytearray((folder / "test_batch.bin").read_bytes())
    content[0] = 10
    (folder / "test_batch.bin").write_bytes(bytes(content))
    with pytest.raises(DataError, match="y_test must lie from 0 to 9"):
        load_cifar10(folder)


def test_grey_images_are_no_cifar10_and_colours_no_fashion_mnist(tmp_path):
    x, y = np.zeros((2, 28, 28), np.uint8), np.zeros(2, int)
    np.savez(tmp_path / "grey.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(DataError, match=r"uint8 \(n_images, 32, 32, 3\), got uint8 \(2, 28, 28\)"):
        load_cifar10(tmp_path / "grey.npz")
    with pytest.raises(DataError, match=r"uint8 \(n_images, 28, 28\), got uint8 \(35, 32, 32, 3\)"):
        load_fashion_mnist(npz(tmp_path / "colours.npz"))


def test_fashion_mnist_is_read_from_kerass_cache_and_from_a_folder(tmp_path, monkeypatch):
    folder = tmp_path / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True)
    drawn = {"train-images-idx3": DRAWN.randint(0, 256, (5, 28, 28)), "train-labels-idx1": np.arange(5)}
    drawn.update({"t10k-images-idx3": DRAWN.randint(0, 256, (3, 28, 28)), "t10k-labels-idx1": np.array([9, 0, 4])})
    for name, array in drawn.items():
        header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    for data in (load_fashion_mnist(), load_fashion_mnist(folder)):
        np.testing.assert_array_equal(data.x_train, drawn["train-images-idx3"])
        np.testing.assert_array_equal(data.y_test, [9, 0, 4])
        assert data.describe().endswith("fashion-mnist (5 train / 3 test)")


def test_colours_become_pixels_with_their_three_channels():
    images = np.stack([image(row) for row in ROWS[0]])
    x = datasets.pixels(images)
    assert (x.dtype, x.shape) == (np.float32, (N_BATCH, 32, 32, 3))
    np.testing.assert_allclose(x * 255, images, rtol=1e-6)
