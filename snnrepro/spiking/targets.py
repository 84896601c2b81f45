"""What neurons are fitted to: the trained network's activations and answers, the same for all numbers of steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from snnrepro.network.layers import ReLU
from snnrepro.spiking.fit import COARSE
from snnrepro.spiking.run import layers_in_turn

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.spiking.schedule import Schedule
    from snnrepro.spiking.shelf import Shelf

_NUMBERS = 2**25
"""Numbers that the largest layer's steps should have, all images together: more images take longer."""
FEWEST_IMAGES = 256
_MOST_NUMBERS = 2**28
"""The same with the fewest images that make a calibration reliable; beyond, fewer still are used."""
SAMPLES = 4096
"""Image positions that a channel is fitted on."""


class Activations:
    """The trained network on calibration images; computed once for all numbers of steps that use as many of them.

    Parameters
    ----------
    schedule : Schedule
        The network, as `prepare` gives it.
    x : numpy.ndarray
        Calibration images, ``(n_images, *input_shape)``; the larger the layers and the more the steps, the fewer of
        them are used.
    shelf : Shelf
        Where the activations lie.
    """

    def __init__(self, schedule: Schedule, x: FloatArray, shelf: Shelf) -> None:
        self._schedule, self._x, self._shelf = schedule, x, shelf
        self._made: dict[tuple[int, int], Targets] = {}

    def enough(self, fewest: int = FEWEST_IMAGES, samples: int = SAMPLES) -> int:
        """Return how many images, at least `fewest`, give every rectifier so many samples."""
        shapes = self._schedule.network.shapes
        rectifiers = [node.name for node in self._schedule.nodes if isinstance(node.layer, ReLU)]
        return max(fewest, -(-samples // min(math.prod(shapes[name][1:]) for name in rectifiers)))

    def for_steps(self, n_steps: int, most: int | None = None, samples: int = SAMPLES) -> Targets:
        """Return the targets for so many steps, of `most` images and so many samples at most."""
        largest = max(math.prod(shape) for shape in self._schedule.network.shapes.values())
        fewest = min(FEWEST_IMAGES, _MOST_NUMBERS // (largest * n_steps))
        x = self._x[: max(_NUMBERS // (largest * n_steps), fewest, 8)][:most]
        if (len(x), samples) not in self._made:
            self._made[len(x), samples] = Targets(self._schedule, x, self._shelf, samples)
        return self._made[len(x), samples]


class Targets:
    """Samples of the trained activations of every rectifier, and the trained answers.

    Attributes
    ----------
    schedule : Schedule
        The network.
    x : numpy.ndarray
        The images, float32, ``(n_images, *input_shape)``.
    samples : dict of str to Samples
        Where each rectifier is looked at.
    """

    def __init__(self, schedule: Schedule, x: FloatArray, shelf: Shelf, samples: int) -> None:
        network = schedule.network
        self.schedule, self.x = schedule, x
        self.samples = {
            node.name: Samples(network.shapes[node.name], len(x), samples)
            for node in schedule.nodes
            if isinstance(node.layer, ReLU)
        }
        self._activations = {name: shelf.tray() for name in self.samples}
        self._answers = shelf.tray()
        # The images of one step, however many will be run: a matrix product of another size is rounded otherwise.
        self._blocks = layers_in_turn(schedule, x, 1, 1.0, shelf).blocks
        for images in self._blocks:
            for name, trained in network.activations(x[images]):
                if name in self.samples:
                    of_each = trained.reshape(*trained.shape[:2], -1)
                    self._activations[name].put(images.start, self.samples[name].of(of_each, images))
                if name == schedule.readout:
                    for place, answer in enumerate(trained, images.start):
                        self._answers.put(place, answer)

    def of(self, name: str) -> FloatArray:
        """Return what a rectifier gave, float32, ``(channels, n_samples)``."""
        samples = self.samples[name]
        blocks = {images.start: samples.runs(images) for images in self._blocks}
        targets = np.empty((self.schedule.network.shapes[name][0], samples.n), np.float32)
        for start, piece in self._activations[name].items():
            for place, own in blocks[start]:
                targets[:, place] = piece[:, own]
        return targets

    def answers(self, images: slice) -> FloatArray:
        """Return what stood at the readout, ``(n_images, *shape)``."""
        found: FloatArray = np.stack([self._answers.get(place) for place in range(images.start, images.stop)])
        return found


class Samples:
    """The positions of images that a layer is fitted on, spread so that all images take part.

    On the first of them, spread likewise, everything is tried; among those and among the rest they are in order.
    """

    def __init__(self, shape: tuple[int, ...], n_images: int, most: int) -> None:
        n_positions = math.prod(shape[1:])
        total = n_images * n_positions
        chosen = np.arange(total) if total <= most else np.random.RandomState(0).choice(total, most, False)
        parts = np.sort(chosen[:COARSE]), np.sort(chosen[COARSE:])
        self.n = len(chosen)
        self._image, self._position = np.divmod(np.concatenate(parts), n_positions)

    def runs(self, images: slice) -> list[tuple[slice, slice]]:
        """Return where the samples of some images lie among all samples, and where among their own."""
        first, rest = self._image[:COARSE], self._image[COARSE:]
        edges = images.start, images.stop
        (a, b), (c, d) = np.searchsorted(first, edges), np.searchsorted(rest, edges) + len(first)
        return [(slice(a, b), slice(0, b - a)), (slice(c, d), slice(b - a, b - a + d - c))]

    def of(self, values: AnyArray, images: slice) -> AnyArray:
        """Return the samples of values ``(n_images, channels, ..., n_positions)`` of some images, on the last axis."""
        (first, _), (rest, _) = self.runs(images)
        where = np.r_[first, rest]
        samples = values[self._image[where] - images.start, ..., self._position[where]]
        return np.moveaxis(samples, 0, -1)
