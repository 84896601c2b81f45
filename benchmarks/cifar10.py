"""CIFAR-10 as benchmarks read it, and how its training images are divided."""

from __future__ import annotations

import io

import numpy as np

from snnrepro.datasets import load_cifar10

SEED = 0
HELD_OUT = 1000
"""Training images that no network sees: settings are chosen on them."""
CALIBRATION = 1000
"""Training images, without their labels, that neurons are fitted on."""
_MEAN, _SPREAD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)  # of the channels, over the training images


def read(path):
    """Return the images, uint8, and labels of the training and the test set, and what to call them.

    Parameters
    ----------
    path : str
        What `load_cifar10` takes, or an npz of JPEG copies: image i is ``jpeg[offset[i]:offset[i + 1]]``, its class
        ``label[i]``, and ``is_test[i]`` says whether it is a test image.
    """
    if str(path).endswith(".npz"):
        with np.load(path) as file:
            if "jpeg" in file:
                return _decoded(*(file[name] for name in ("jpeg", "offset", "label", "is_test")))
    data = load_cifar10(path)
    return (data.x_train, data.y_train, data.x_test, data.y_test), data.describe()


def _decoded(jpeg, offset, label, is_test):
    from PIL import Image

    images = np.stack(
        [
            np.asarray(Image.open(io.BytesIO(jpeg[start:end].tobytes())).convert("RGB"))
            for start, end in zip(offset, offset[1:])
        ]
    )
    is_test, label = is_test.astype(bool), label.astype(np.int64)
    return (images[~is_test], label[~is_test], images[is_test], label[is_test]), "CIFAR-10, JPEG copies"


def normalised(images):
    """Return images as the networks read them."""
    return ((images / np.float32(255) - np.float32(_MEAN)) / np.float32(_SPREAD)).astype(np.float32)


def split(n_images):
    """Return the places of the training images that no network sees, and of the others."""
    order = np.random.default_rng(SEED).permutation(n_images)
    return order[:HELD_OUT], order[HELD_OUT:]


def for_conversion(path):
    """Return the calibration images, the test images and their labels, channels first, and what to call the data."""
    (x, _, x_test, y_test), called = read(path)
    _, seen = split(len(x))
    images = (np.ascontiguousarray(normalised(part).transpose(0, 3, 1, 2)) for part in (x[seen[:CALIBRATION]], x_test))
    return (*images, y_test, called)
