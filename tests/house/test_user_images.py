"""Images and labels are taken in the forms that people have them in, or refused in a sentence on what was given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import snnrepro
from snnrepro import user_images
from snnrepro.user_images import gathered, read_images
from tests.helpers.command_line import run_command
from tests.helpers.event_cases import small

X = np.random.RandomState(0).rand(30, 4, 3).astype(np.float32)
Y = np.arange(30) % 3


def _batches(size, labelled):
    for start in range(0, 30, size):
        batch = X[start : start + size]
        yield (batch, Y[start : start + size]) if labelled else batch


@given(st.integers(1, 31), st.booleans())
def test_batches_one_after_the_other_are_put_together(size, labelled):
    x, y = gathered(_batches(size, labelled), (4, 3))
    np.testing.assert_array_equal(x, X)
    if labelled:
        np.testing.assert_array_equal(y, Y)
    else:
        assert y is None


def test_single_images_one_after_the_other_are_put_together():
    x, y = gathered(((image, label) for image, label in zip(X, Y)), (4, 3))
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    np.testing.assert_array_equal(gathered((image for image in X), (4, 3))[0], X)


def _endless():
    while True:
        yield X


@given(st.integers(1, 200))
def test_what_never_ends_is_left_where_some_images_are_enough(most):
    assert most <= len(gathered(_endless(), (4, 3), most)[0]) < most + 30


def test_what_never_ends_is_refused_where_all_images_are_asked_for(monkeypatch):
    """Answers for the first 20,000 images of more were given as if they were all."""
    monkeypatch.setattr(user_images, "MOST_NUMBERS", 1000 * 12)
    with pytest.raises(snnrepro.DataError, match=r"gives more than 990 images, .* give it in parts"):
        gathered(_endless(), (4, 3))
    assert len(gathered(iter([X] * 33), (4, 3))[0]) == 990  # as many as fit are taken


@pytest.mark.parametrize("pair", [(X, Y), [X, Y], [X.tolist(), Y.tolist()]])
def test_a_pair_is_images_and_labels(pair):
    x, y = gathered(pair, (4, 3))
    np.testing.assert_array_equal(np.float32(x), X)
    np.testing.assert_array_equal(y, Y)


@pytest.mark.parametrize("images", [X, X.tolist(), list(X), X[:2].tolist()])
def test_images_alone_have_no_labels(images):
    x, y = gathered(images, (4, 3))
    assert y is None
    np.testing.assert_array_equal(np.float32(x), X[: len(images)])


def test_a_dataset_of_tensorflow_is_read(tf):
    for dataset in (tf.data.Dataset.from_tensor_slices((X, Y)), tf.data.Dataset.from_tensor_slices((X, Y)).batch(7)):
        x, y = gathered(dataset, (4, 3))
        np.testing.assert_array_equal(x, X)
        np.testing.assert_array_equal(y, Y)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ((one for one in ()), "images are needed, and this generator gives none"),
        ((np.zeros((2, 4, size)) for size in (3, 2)), "what this generator gives cannot be put together"),
        ("images.npz", "images must be numbers, got str"),
        ({"x": X}, "images must be numbers, got dict"),
    ],
)
def test_what_gives_no_images_is_refused(images, message):
    with pytest.raises(snnrepro.DataError, match=message):
        gathered(images, (4, 3))


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (("x", "y"), "test"),
        (("x_test", "y_test"), "test"),
        (("x_train", "y_train"), "train"),
        (("images", "labels"), "test"),
        (("arr_0", "arr_1"), "test"),
        (("x_test", "y_test"), "train"),
    ],
)
def test_the_usual_names_in_an_npz_file_are_known(names, part, tmp_path):
    np.savez(tmp_path / "data.npz", **dict(zip(names, (X, Y))))
    x, y = read_images(tmp_path / "data.npz", part)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


def test_of_a_file_with_both_parts_the_one_is_taken_that_is_asked_for(tmp_path):
    np.savez(tmp_path / "both.npz", x_train=X[:20], y_train=Y[:20], x_test=X[20:], y_test=Y[20:])
    assert len(read_images(tmp_path / "both.npz", "train")[0]) == 20
    assert len(read_images(tmp_path / "both.npz", "test")[0]) == 10


def test_an_npy_file_is_mapped(tmp_path):
    np.save(tmp_path / "images.npy", X)
    x, y = read_images(tmp_path / "images.npy")
    assert isinstance(x, np.memmap)
    assert y is None
    np.testing.assert_array_equal(x, X)


def test_a_folder_of_class_folders_is_read_in_the_order_of_their_names(tmp_path):
    io = pytest.importorskip("skimage.io", reason="scikit-image is not installed (extra: images)")
    images = np.random.RandomState(1).randint(0, 255, (6, 5, 7, 3)).astype(np.uint8)
    for index, image in enumerate(images):
        folder = tmp_path / ("zebra" if index % 2 else "ant")
        folder.mkdir(exist_ok=True)
        io.imsave(str(folder / f"{index}.png"), image, check_contrast=False)
    x, y = read_images(tmp_path)
    np.testing.assert_array_equal(x, images[[0, 2, 4, 1, 3, 5]])
    assert y.tolist() == [0, 0, 0, 1, 1, 1]
    io.imsave(str(tmp_path / "ant" / "9.png"), images[0, :4], check_contrast=False)
    x, _ = read_images(tmp_path)
    np.testing.assert_array_equal(x[:3], images[[0, 2, 4]])
    with pytest.raises(snnrepro.DataError, match=r"9\.png: all images must have one size; this one is \(4, 7, 3\)"):
        np.asarray(x)
    (tmp_path / "ant" / "9.png").write_bytes(b"no image")
    with pytest.raises(snnrepro.DataError, match=r"9\.png: not a readable image"):
        np.asarray(read_images(tmp_path)[0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": X, "b": Y}, r"it holds a, b, and none of x, y, .*; write them with numpy.savez"),
        ({"x": X, "y": Y[:7]}, "it has 30 images and 7 labels"),
        ({"x": np.array(["a", "b"])}, r"images must be numbers \(n_images, ...\)"),
        ({"x": Y}, r"images must be numbers \(n_images, ...\), got int"),
    ],
)
def test_a_file_without_images_is_refused_with_what_it_holds(content, message, tmp_path):
    np.savez(tmp_path / "data.npz", **content)
    with pytest.raises(snnrepro.DataError, match=message):
        read_images(tmp_path / "data.npz")


def test_a_folder_without_images_is_refused_with_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").write_text("no images")
    with pytest.raises(snnrepro.DataError, match=r"folder of image files .* per class is needed; it holds notes\.txt"):
        read_images(tmp_path)
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(snnrepro.DataError, match="not a readable npy file"):
        read_images(tmp_path / "broken.npy")


@pytest.fixture(scope="module")
def keras_files(tf, tmp_path_factory):
    """A model of Keras 2 in every form that it writes."""
    folder = tmp_path_factory.mktemp("models")
    layers = tf.keras.layers
    image = tf.keras.Input((4, 3))
    model = tf.keras.Model(image, layers.Dense(3)(layers.Dense(8, activation="relu")(layers.Flatten()(image))))
    model.save(str(folder / "model.h5"))
    tf.keras.models.save_model(model, str(folder / "saved"), save_format="tf")
    return folder, model.predict(X, verbose=0)


@pytest.mark.parametrize("name", ["model.h5", "saved"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")  # Keras prefers its own format
def test_files_of_keras_are_loaded(name, keras_files):
    folder, wanted = keras_files
    np.testing.assert_allclose(snnrepro.load(folder / name).forward(X), wanted, atol=1e-5)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_path_is_converted_and_a_dataset_calibrates(tf, keras_files, tmp_path):
    folder, wanted = keras_files
    dataset = tf.data.Dataset.from_tensor_slices((X, wanted.argmax(axis=1))).batch(8)
    spiking = snnrepro.convert(str(folder / "model.h5"), calibration=dataset, n_steps=60)
    np.testing.assert_allclose(spiking.run(tf.data.Dataset.from_tensor_slices(X)).scores, wanted, atol=0.2)
    np.savez(tmp_path / "x.npz", x_test=X, y_test=np.eye(3)[wanted.argmax(axis=1)])
    done = run_command("convert", folder / "model.h5", "-o", tmp_path / "s.npz", "--calibration", tmp_path / "x.npz")
    assert done.exit_code == 0, done.output
    assert "trained network: accuracy 100.00 %" in done.stdout
    done = run_command("run", tmp_path / "s.npz", tmp_path / "x.npz")
    assert "trained network: accuracy 100.00 %" in done.stdout
    assert "lost by conversion: " in done.stdout


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.h5", b"not HDF5", "not a Keras model that can be read"),
        ("m.keras", b"not a zip", "not a Keras model that can be read"),
        (
            "m.pt",
            b"",
            r"an .onnx file, an .npz archive, a model of Keras \(.keras, .h5, a SavedModel folder\) is needed",
        ),
        ("none.h5", None, "no such file"),
        ("folder", "folder", "a folder without saved_model.pb is no SavedModel"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(name, content, message, tf, tmp_path):
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(snnrepro.ModelError, match=message) as refusal:
        snnrepro.load(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("n_steps", ["8", 7.5, 0, -1, True, None, [8]])
def test_odd_numbers_of_steps_are_refused_by_every_call(n_steps):
    spiking, x = small()
    for simulator in ("event", "plain"):
        if n_steps is not None:
            with pytest.raises(snnrepro.SnnReproError, match="n_steps must be"):
                spiking.run(x, n_steps, simulator)
    if n_steps is not None:
        with pytest.raises(snnrepro.SnnReproError, match="n_steps must be"):
            snnrepro.convert(spiking.network, "thesis", n_steps=n_steps)
    for keep_steps in ([1.5], ["1"], [0], [9, 8]):
        with pytest.raises(snnrepro.DataError, match=r"keep_steps|steps to keep"):
            spiking.run(x, 9, keep_steps=keep_steps)
