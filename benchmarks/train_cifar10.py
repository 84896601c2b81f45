"""Train the networks of CIFAR-10 that recipes are to be compared on: a ResNet-20 and a VGG, in Keras, resumable.

``python benchmarks/train_cifar10.py resnet20 cifar10-jpeg.npz out`` writes ``out/resnet20.npz``, an archive of
`Network.save`, and ``out/resnet20.json``, its record. A ResNet-20 takes three hours on two cores that do nothing else,
a VGG ten. A run that was broken off goes on after the last whole epoch.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from pathlib import Path

import numpy as np

from snnrepro import load

SEED = 0
HELD_OUT = 1000
"""Training images that no network sees: settings are chosen on them."""
SETTINGS = {"resnet20": {"epochs": 32, "rate": 0.2}, "vgg9": {"epochs": 24, "rate": 0.1}}
SIZES = ((0.35, 20), (0.65, 26), (1.0, 32))
"""Up to which share of the epochs images are how large: small ones first take half the time and cost no accuracy."""
BATCH, DECAY, SMOOTHING = 128, 5e-3, 0.05
"""The weights' decay is apart from the gradient's momentum (0.9), which would multiply it by ten."""
_MEAN, _SPREAD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)  # of the channels, over the training images


def read(path):
    """Return the images, uint8, and labels of the training and the test set; JPEG copies are decoded."""
    from PIL import Image

    with np.load(path) as file:
        jpeg, offset, label, is_test = (file[name] for name in ("jpeg", "offset", "label", "is_test"))
    images = np.stack(
        [
            np.asarray(Image.open(io.BytesIO(jpeg[start:end].tobytes())).convert("RGB"))
            for start, end in zip(offset, offset[1:])
        ]
    )
    is_test, label = is_test.astype(bool), label.astype(np.int64)
    return images[~is_test], label[~is_test], images[is_test], label[is_test]


def normalised(images):
    """Return images as the networks read them."""
    return ((images / np.float32(255) - np.float32(_MEAN)) / np.float32(_SPREAD)).astype(np.float32)


def augmented(images, rng):
    """Return the images shifted by up to four pixels and mirrored at random."""
    n, size = len(images), images.shape[1]
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="reflect")
    down, right = rng.integers(0, 9, (2, n))
    rows = (down[:, None] + np.arange(size))[:, :, None]
    columns = right[:, None] + np.arange(size)
    columns = np.where(rng.random((n, 1)) < 0.5, columns, columns[:, ::-1])[:, None, :]
    return padded[np.arange(n)[:, None, None], rows, columns]


def resized(images, progress):
    """Return the images in the size that is trained on at this share of the epochs."""
    import tensorflow as tf

    size = next(size for share, size in SIZES if progress < share)
    return images if size == images.shape[1] else tf.image.resize(images, (size, size), antialias=True).numpy()


def resnet20(size=None):
    """Return the ResNet-20 of He et al. 2016, section 4.2, its shortcuts by convolution where the shape changes."""
    from keras import Input, Model, layers

    def convolved(x, width, size, stride=1):
        x = layers.Conv2D(width, size, stride, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
        return layers.BatchNormalization(momentum=0.9)(x)

    images = x = Input((size, size, 3))
    x = layers.ReLU()(convolved(x, 16, 3))
    for width, first in ((16, 1), (32, 2), (64, 2)):
        for stride in (first, 1, 1):
            inner = layers.ReLU()(convolved(x, width, 3, stride))
            inner = convolved(inner, width, 3)
            shortcut = x if stride == 1 else convolved(x, width, 1, stride)
            x = layers.ReLU()(layers.Add()([inner, shortcut]))
    x = layers.GlobalAveragePooling2D()(x)
    return Model(images, layers.Dense(10)(x))


def vgg9(size=None):
    """Return seven convolutions and two dense layers, average pooling between them."""
    from keras import Input, Model, layers

    images = x = Input((size, size, 3))
    for widths in ((64, 64), (128, 128), (256, 256, 256)):
        for width in widths:
            x = layers.Conv2D(width, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
            x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.AveragePooling2D(2)(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.3)(x)
    x = layers.ReLU()(layers.Dense(256)(x))
    return Model(images, layers.Dense(10)(x))


MODELS = {"resnet20": resnet20, "vgg9": vgg9}


def train(name, data, folder):
    """Train a network, or go on with it, and return it with the accuracy on the test images, in %."""
    import keras
    import tensorflow as tf

    settings = SETTINGS[name]
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / f"{name}.state.keras"
    record = folder / f"{name}.json"
    x, y, x_test, y_test = data  # the test images are looked at once, when all is done
    order = np.random.default_rng(SEED).permutation(len(x))
    held, seen = order[:HELD_OUT], order[HELD_OUT:]
    steps = len(seen) // BATCH
    keras.utils.set_random_seed(SEED)
    if state.exists():
        model = keras.models.load_model(state)
        history = json.loads(record.read_text())["epochs"]
    else:
        model = MODELS[name]()
        history = []
        total = steps * settings["epochs"]
        rate = keras.optimizers.schedules.CosineDecay(
            1e-3, int(0.85 * total), alpha=1e-3, warmup_target=settings["rate"], warmup_steps=int(0.15 * total)
        )
        model.compile(
            keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=DECAY),
            keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=SMOOTHING),
            metrics=["accuracy"],
        )
    while len(history) < settings["epochs"]:
        epoch, began = len(history), time.monotonic()
        rng = np.random.default_rng((SEED, epoch))
        rows = rng.permutation(seen)[: steps * BATCH]
        images = resized(normalised(augmented(x[rows], rng)), epoch / settings["epochs"])
        fitted = model.fit(images, tf.one_hot(y[rows], 10), batch_size=BATCH, shuffle=False, verbose=0)
        scores = model.predict(normalised(x[held]), verbose=0)
        history.append(
            {
                "training_accuracy": round(100 * fitted.history["accuracy"][-1], 2),
                "held_out_accuracy": round(100 * float(np.mean(scores.argmax(1) == y[held])), 2),
                "seconds": round(time.monotonic() - began, 1),
            }
        )
        print(epoch, history[-1], flush=True)
        model.save(state)
        record.write_text(json.dumps({"settings": settings, "epochs": history}, indent=1))
    whole = MODELS[name](x.shape[1])
    whole.set_weights(model.get_weights())
    scores = whole.predict(normalised(x_test), verbose=0)
    return whole, round(100 * float(np.mean(scores.argmax(1) == y_test)), 2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(SETTINGS))
    parser.add_argument("data", type=Path, help="cifar10-jpeg.npz")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    model, accuracy = train(given.name, read(given.data), given.folder)
    load(model).save(given.folder / f"{given.name}.npz")
    record = given.folder / f"{given.name}.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "test_accuracy": accuracy}, indent=1))
    print(f"{accuracy} % of the test images")
