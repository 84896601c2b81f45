"""Train the networks of CIFAR-10 that recipes are compared on: a ResNet-20 and a VGG, in PyTorch, resumable.

``python -m benchmarks.train_cifar10 resnet20 cifar10-jpeg.npz out`` writes ``out/resnet20.onnx`` and, read from it,
``out/resnet20.npz``, an archive of `Network.save`, with ``out/resnet20.json``, its record. The ResNet-20 took 100
minutes on two cores that other work shared; Keras with TensorFlow takes more than twice as long (an epoch of whole
images 397 s, this 176). A run that was broken off goes on after the last whole epoch.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.cifar10 import SEED, normalised, read, split
from snnrepro import load

SETTINGS = {"resnet20": {"epochs": 30, "rate": 0.2}, "vgg9": {"epochs": 16, "rate": 0.1}}
SIZES = ((0.35, 20), (0.65, 26), (1.0, 32))
"""Up to which share of the epochs images are how large: small ones first take half the time."""
BATCH, DECAY, SMOOTHING, WARM_UP = 128, 5e-4, 0.05, 0.15
"""Images a step, decay of the weights, label smoothing, share of the steps in which the rate of learning rises."""


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
    size = next(size for share, size in SIZES if progress < share)
    if size == images.shape[-1]:
        return images
    return functional.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)


def convolved(inner, width, size=3, stride=1):
    """Return a convolution and its batch normalisation."""
    convolution = nn.Conv2d(inner, width, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(width))


class Block(nn.Module):
    """Two convolutions around which a shortcut leads, a convolution itself where the shape changes."""

    def __init__(self, inner, width, stride):
        super().__init__()
        self.path = nn.Sequential(convolved(inner, width, 3, stride), nn.ReLU(), convolved(width, width))
        self.shortcut = nn.Identity() if stride == 1 else convolved(inner, width, 1, stride)

    def forward(self, x):
        return functional.relu(self.path(x) + self.shortcut(x))


def resnet20():
    """Return the ResNet-20 of He et al. 2016, section 4.2."""
    blocks, inner = [], 16
    for width, first in ((16, 1), (32, 2), (64, 2)):
        for stride in (first, 1, 1):
            blocks.append(Block(inner, width, stride))
            inner = width
    return nn.Sequential(
        convolved(3, 16), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inner, 10)
    )


def vgg9():
    """Return seven convolutions and two dense layers, average pooling between them."""
    stages, inner = [], 3
    for widths in ((64, 64), (128, 128), (256, 256, 256)):
        for width in widths:
            stages += [convolved(inner, width), nn.ReLU()]
            inner = width
        stages.append(nn.AvgPool2d(2))
    stages[-1] = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(*stages, nn.Flatten(), nn.Dropout(0.3), nn.Linear(inner, 256), nn.ReLU(), nn.Linear(256, 10))


MODELS = {"resnet20": resnet20, "vgg9": vgg9}


def tensor(images):
    """Return images as PyTorch reads them, channels first."""
    return torch.from_numpy(normalised(images)).permute(0, 3, 1, 2)


def accuracy(model, images, labels):
    """Return how many of the images the model answers right, in %."""
    model.eval()
    with torch.no_grad():
        answers = [model(tensor(images[at : at + 500])).argmax(1).numpy() for at in range(0, len(images), 500)]
    return round(100 * float(np.mean(np.concatenate(answers) == labels)), 2)


def train(name, data, folder):
    """Train a network, or go on with it, and return it with its record."""
    settings = SETTINGS[name]
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / f"{name}.pt"
    x, y, x_test, y_test = data  # the test images are looked at once, when all is done
    held, seen = split(len(x))
    steps, epochs = len(seen) // BATCH, settings["epochs"]
    torch.manual_seed(SEED)
    model = MODELS[name]().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), settings["rate"], 0.9, nesterov=True, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings["rate"], steps * epochs, pct_start=WARM_UP, cycle_momentum=False
    )
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    history = []
    if state.exists():
        saved = torch.load(state, weights_only=True)
        history = saved.pop("epochs")
        for part, values in saved.items():
            parts[part].load_state_dict(values)
    while len(history) < epochs:
        epoch, began, right = len(history), time.monotonic(), 0
        rng = np.random.default_rng((SEED, epoch))
        torch.manual_seed(epoch)
        model.train()
        for rows in rng.permutation(seen)[: steps * BATCH].reshape(steps, BATCH):
            images = resized(tensor(augmented(x[rows], rng)), epoch / epochs)
            labels = torch.from_numpy(y[rows])
            scores = model(images)
            optimizer.zero_grad()
            functional.cross_entropy(scores, labels, label_smoothing=SMOOTHING).backward()
            optimizer.step()
            schedule.step()
            right += int((scores.argmax(1) == labels).sum())
        history.append(
            {
                "training_accuracy": round(100 * right / (steps * BATCH), 2),
                "held_out_accuracy": accuracy(model, x[held], y[held]),
                "seconds": round(time.monotonic() - began, 1),
            }
        )
        print(epoch, history[-1], flush=True)
        beside = state.with_suffix(".part")
        torch.save({"epochs": history, **{part: value.state_dict() for part, value in parts.items()}}, beside)
        beside.replace(state)
    return model, {"settings": settings, "epochs": history, "test_accuracy": accuracy(model, x_test, y_test)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(SETTINGS))
    parser.add_argument("data", help="where CIFAR-10 is, see benchmarks.cifar10.read")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    data, called = read(given.data)
    model, record = train(given.name, data, given.folder)
    written = given.folder / f"{given.name}.onnx"
    torch.onnx.export(
        model.eval(),
        (torch.zeros(1, 3, 32, 32),),
        str(written),
        dynamo=False,
        input_names=["images"],
        output_names=["scores"],
        dynamic_axes={"images": {0: "n"}, "scores": {0: "n"}},
    )
    load(written).save(written.with_suffix(".npz"))
    written.with_suffix(".json").write_text(json.dumps({"data": called, **record}, indent=1))
    print(f"{record['test_accuracy']} % of the test images")
