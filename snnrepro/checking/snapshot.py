"""The exact spikes of a few images, as a small file that later conversions, versions and machines are held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from snnrepro.errors import ArchiveError, DataError
from snnrepro.inputs import checked_images
from snnrepro.network import archive
from snnrepro.simulators.plain import spike_trains
from snnrepro.spiking.network import SpikingNetwork
from snnrepro.spiking.run import Run

if TYPE_CHECKING:
    import zipfile
    from pathlib import Path

    from snnrepro.arrays import AnyArray, FloatArray

FORMAT = "snnrepro-spike-snapshot"
VERSION = 1


@dataclass(frozen=True, eq=False)
class SpikeSnapshot:
    """The spikes of every neuron in every step, on a few images.

    A snapshot is equal to a spiking network that fires exactly these spikes on these images, to a run of these images
    that has as many spikes in every population, and to a snapshot of the same spikes. In pytest a failing
    ``assert spiking == snapshot`` names the first spike that differs.

    Attributes
    ----------
    x : numpy.ndarray
        The images, float32, ``(n_images, *input_shape)``.
    spikes : mapping of str to numpy.ndarray
        By population, bool, ``(n_images, n_steps, n_neurons)``.

    Examples
    --------
    >>> import numpy as np, snnrepro as snn
    >>> from snnrepro.network.graph import Network, Node
    >>> from snnrepro.network.layers import Dense, ReLU
    >>> hidden = Node("hidden", ("x",), Dense(np.array([[1.0, -1.0]]), np.zeros(2)))
    >>> net = Network("x", (1,), (hidden, Node("relu", ("hidden",), ReLU())), {})
    >>> images = np.linspace(-1, 1, 100)[:, None]
    >>> spiking = snn.convert(net, calibration=images, n_steps=8)
    >>> snapshot = snn.SpikeSnapshot.take(spiking, images[:5])     # snapshot.save("spikes.npz")
    >>> spiking == snapshot, spiking.run(images[:5]) == snapshot
    (True, True)
    >>> snn.convert(net, recipe="rate", calibration=2 * images, n_steps=8) == snapshot
    False
    """

    x: FloatArray
    spikes: Mapping[str, AnyArray]

    @property
    def n_steps(self) -> int:
        """How many steps were simulated."""
        return int(next(iter(self.spikes.values())).shape[1])

    @staticmethod
    def take(spiking: SpikingNetwork, x: Any, n_steps: int | None = None) -> SpikeSnapshot:
        """Return the spikes of a spiking network, from the plain simulator.

        Parameters
        ----------
        spiking : SpikingNetwork
            What is simulated.
        x : array_like
            A few images, ``(n_images, *input_shape)``.
        n_steps : int, optional
            Time steps; `SpikingNetwork.n_steps` if left out.

        Raises
        ------
        DataError
            There are no images, or of another shape.
        """
        images = checked_images(x, spiking.network.input_shape)
        if not len(images):
            raise DataError("a snapshot needs at least one image")
        trains = spike_trains(spiking, images, spiking.n_steps if n_steps is None else n_steps)
        return SpikeSnapshot(
            images, {name: (train != 0).reshape(*train.shape[:2], -1) for name, train in trains.items()}
        )

    def save(self, path: str | Path) -> None:
        """Write it to an npz archive: a bit for each neuron and step, and the images."""
        arrays: dict[str, AnyArray] = {}
        populations = [
            {
                "name": name,
                "shape": list(train.shape),
                "spikes": archive.declare(np.packbits(train.reshape(-1)), f"spikes.{index}", arrays),
            }
            for index, (name, train) in enumerate(self.spikes.items())
        ]
        images = archive.declare(self.x, "x", arrays)
        archive.write(path, {"format": FORMAT, "version": VERSION, "x": images, "populations": populations}, arrays)

    @staticmethod
    def load(path: str | Path) -> SpikeSnapshot:
        """Read what `save` wrote.

        Raises
        ------
        ArchiveError
            The file is missing, damaged, foreign, or of a newer version.
        """
        return archive.read(path, FORMAT, VERSION, _rebuild)

    def difference(self, other: SpikeSnapshot | SpikingNetwork | Run) -> str:
        """Return where the other first differs, in a sentence, or nothing if it is equal."""
        if isinstance(other, Run):
            return self._counted_otherwise(other)
        if isinstance(other, SpikingNetwork):
            if tuple(other.network.input_shape) != self.x.shape[1:]:
                return f"the snapshot's images are {self.x.shape[1:]}, the network's {tuple(other.network.input_shape)}"
            other = SpikeSnapshot.take(other, self.x, self.n_steps)
        elif not np.array_equal(self.x, other.x):
            return "the images are not the same"
        if self._sizes() != {name: train.shape for name, train in other.spikes.items()}:
            return f"populations, images and steps are {self._sizes()} in the snapshot, others in the other"
        apart = {name: np.argwhere(train != other.spikes[name]) for name, train in self.spikes.items()}
        for name, places in apart.items():
            if len(places):
                image, step, neuron = (int(index) for index in places[places[:, 1].argmin()])
                fires = "fires" if self.spikes[name][image, step, neuron] else "is silent"
                return (
                    f"on image {image} neuron {neuron} of population {name!r} {fires} in step {step + 1} in the "
                    f"snapshot and not so here; {sum(map(len, apart.values())):,} spikes differ, of "
                    f"{sum(int(train.sum()) for train in self.spikes.values()):,} in the snapshot"
                )
        return ""

    def _counted_otherwise(self, run: Run) -> str:
        """Return where a run first counts other spikes."""
        if len(run.scores) != len(self.x) or run.n_steps != self.n_steps or set(run.n_neurons) != set(self.spikes):
            return (
                f"the snapshot has {len(self.x)} images, {self.n_steps} steps and {len(self.spikes)} populations, the "
                f"run {len(run.scores)}, {run.n_steps} and {len(run.n_neurons)}"
            )
        for name, train in self.spikes.items():
            wanted, got = train.sum(axis=(1, 2)), run.spike_counts[name]
            if not np.array_equal(wanted, got):
                image = int(np.flatnonzero(wanted != got)[0])
                return (
                    f"on image {image} population {name!r} fires {got[image]:,} spikes, in the snapshot "
                    f"{wanted[image]:,}; assert spiking == snapshot names the first of them"
                )
        return ""

    def _sizes(self) -> dict[str, tuple[int, ...]]:
        return {name: train.shape for name, train in self.spikes.items()}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (SpikeSnapshot, SpikingNetwork, Run)):
            return NotImplemented
        return not self.difference(other)

    __hash__ = None  # type: ignore[assignment]  # it is equal to what has another hash


def _rebuild(opened: zipfile.ZipFile, header: Mapping[str, Any]) -> SpikeSnapshot:
    spikes = {}
    for entry in header["populations"]:
        shape = tuple(entry["shape"])
        packed, size = archive.read_declared(opened, entry["spikes"]), int(np.prod(shape))
        if len(shape) != 3 or min(shape) < 1 or packed.shape != (-(-size // 8),):
            raise ArchiveError(f"the spikes of population {entry['name']!r} do not fit {shape}")
        spikes[str(entry["name"])] = np.unpackbits(packed)[:size].reshape(shape).astype(bool)
    x = archive.read_declared(opened, header["x"])
    if not spikes or any(train.shape[0] != len(x) for train in spikes.values()):
        raise ArchiveError("it has no spikes, or of other images than it holds")
    return SpikeSnapshot(x, spikes)
