"""A few images through the networks of a reproduction, for its pictures: spikes, rates, reconstructions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snnrepro.files import written_whole
from snnrepro.metrics import ssim
from snnrepro.network.forward import activations
from snnrepro.simulators.plain import mean_outputs, spike_trains
from snnrepro.thesis.cells import Cell

if TYPE_CHECKING:
    from pathlib import Path

    from snnrepro.arrays import AnyArray
    from snnrepro.spiking.network import SpikingNetwork
    from snnrepro.thesis.road import Road

N_NEURONS = 128
"""Neurons of a population whose spikes are shown."""

N_POINTS = 1_000
"""Neurons and images of a population whose mean output is put beside the trained activation."""

N_RECONSTRUCTIONS = 8

_N_STEPS = {"dense": 60, "cnn": 15}
_N_IMAGES = {"dense": 20, "cnn": 2}


def take(road: Road) -> dict[str, AnyArray]:
    """Return arrays by name, of the first seed of a road's model.

    Returns
    -------
    dict of str to numpy.ndarray
        ``{model}.{recipe}.raster.{population}``: uint8, ``(n_steps, n_neurons)``, spikes of one test image;
        ``{model}.{recipe}.activation.{population}`` and ``….rate.{population}``: float32, the trained network's output
        and the mean output of the same spiking neurons; ``{model}.image``, ``{model}.label``;
        ``autoencoder.images.{original | keras | recipe}``: float32, ``(n_images, 28, 28)``, and
        ``autoencoder.ssim.{…}``: likeness of each to the original.
    """
    return _reconstructions(road) if road.model == "autoencoder" else _neurons(road, road.model)


def write(samples: dict[str, AnyArray], path: Path) -> None:
    """Write the arrays to an npz file, whole or not at all."""
    with written_whole(path) as file:
        np.savez_compressed(file, **samples)  # type: ignore[arg-type]  # the stub names a flag among them


def _cells(road: Road, n_steps: int) -> list[Cell]:
    seed = road.workload.seeds[0]
    fitted = [Cell(road.model, "converted", "inference", seed, n_steps, recipe) for recipe in road.workload.recipes]
    synapse = road.workload.synapses[0]
    return [*fitted, Cell(road.model, "converted", "inference", seed, n_steps, "thesis", synapse)]


def _neurons(road: Road, model: str) -> dict[str, AnyArray]:
    x = road.test_images(_N_IMAGES[model])
    found: dict[str, AnyArray] = {f"{model}.image": x[0, :, :, 0], f"{model}.label": np.array(road.data.y_test[0])}
    for cell in _cells(road, _N_STEPS[model]):
        spiking = road.spiking(cell)
        trains = spike_trains(spiking, x[:1], cell.n_steps)
        for index, train in enumerate(trains.values(), start=1):
            spikes = (train[0].reshape(cell.n_steps, -1) != 0).astype(np.uint8)
            found[f"{model}.{cell.recipe}.raster.relu{index}"] = spikes[:, _some(spikes.shape[1], N_NEURONS)]
        found.update(_scatter(model, cell, spiking, x))
    return found


def _scatter(model: str, cell: Cell, spiking: SpikingNetwork, x: AnyArray) -> dict[str, AnyArray]:
    trained, spoken = dict(activations(spiking.network, x)), mean_outputs(spiking, x)
    found: dict[str, AnyArray] = {}
    for index, name in enumerate(spiking.populations, start=1):
        chosen_ = _some(trained[name].size, N_POINTS)
        for kind, values in (("activation", trained[name]), ("rate", spoken[name])):
            found[f"{model}.{cell.recipe}.{kind}.relu{index}"] = values.reshape(-1)[chosen_].astype(np.float32)
    return found


def _reconstructions(road: Road) -> dict[str, AnyArray]:
    x = road.test_images(N_RECONSTRUCTIONS)
    images = {"original": x, "keras": road.keras(road.workload.seeds[0]).predict(x, verbose=0)}
    for cell in _cells(road, max(road.workload.n_steps)):
        images[cell.recipe] = road.spiking(cell).run(x).scores.reshape(x.shape)
    found = {f"autoencoder.images.{name}": given.reshape(len(x), 28, 28) for name, given in images.items()}
    for name, given in images.items():
        if name != "original":
            found[f"autoencoder.ssim.{name}"] = ssim(x, given)
    return found


def _some(total: int, n_wanted: int) -> AnyArray:
    """Return positions spread over all, always the same ones."""
    return np.sort(np.random.RandomState(0).permutation(total)[:n_wanted])
