"""A few images through the networks of a reproduction, for its pictures: spikes, rates, reconstructions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snnrepro.files import written_whole
from snnrepro.metrics import ssim
from snnrepro.simulators.plain import mean_outputs, spike_trains
from snnrepro.thesis.cells import JUDGED_SYNAPSE, Cell

if TYPE_CHECKING:
    from pathlib import Path

    from snnrepro.arrays import AnyArray
    from snnrepro.spiking.network import SpikingNetwork
    from snnrepro.thesis.experiment import Experiment

N_NEURONS = 128
"""Neurons of a population whose spikes are shown."""

N_POINTS = 1_000
"""Neurons and images of a population whose mean output is put beside the trained activation."""

N_RECONSTRUCTIONS = 8

_N_STEPS = {"dense": 60, "cnn": 15}
_N_IMAGES = {"dense": 20, "cnn": 2}


def take(experiment: Experiment) -> dict[str, AnyArray]:
    """Return arrays by name, of the first seed of an experiment's model.

    Returns
    -------
    dict of str to numpy.ndarray
        ``{model}.{recipe}.raster.{population}``: uint8, ``(n_steps, n_neurons)``, spikes of one test image;
        ``{model}.{recipe}.activation.{population}`` and ``….rate.{population}``: float32, the trained network's output
        and the mean output of the same spiking neurons; ``{model}.image``, ``{model}.label``;
        ``autoencoder.images.{original | keras | recipe}``: float32, ``(n_images, 28, 28)``, and
        ``autoencoder.ssim.{…}``: likeness of each to the original.
    """
    return _reconstructions(experiment) if experiment.model == "autoencoder" else _neurons(experiment, experiment.model)


def write(samples: dict[str, AnyArray], path: Path) -> None:
    """Write the arrays to an npz file, whole or not at all."""
    with written_whole(path) as file:
        np.savez_compressed(file, **samples)  # type: ignore[arg-type]  # the stub names a flag among them


def _cells(experiment: Experiment, n_steps: int) -> list[Cell]:
    seed = experiment.workload.seeds[0]
    recipes = [*((recipe, None) for recipe in experiment.workload.recipes), ("thesis", JUDGED_SYNAPSE)]
    return [Cell(experiment.model, "converted", "inference", seed, n_steps, *recipe) for recipe in recipes]


def _neurons(experiment: Experiment, model: str) -> dict[str, AnyArray]:
    x = experiment.test_images(_N_IMAGES[model])
    arrays: dict[str, AnyArray] = {
        f"{model}.image": x[0, :, :, 0],
        f"{model}.label": np.array(experiment.data.y_test[0]),
    }
    for cell in _cells(experiment, _N_STEPS[model]):
        spiking = experiment.spiking(cell)
        trains = spike_trains(spiking, x[:1], cell.n_steps)
        for index, train in enumerate(trains.values(), start=1):
            spikes = (train[0].reshape(cell.n_steps, -1) != 0).astype(np.uint8)
            arrays[f"{model}.{cell.recipe}.raster.relu{index}"] = spikes[:, _some(spikes.shape[1], N_NEURONS)]
        arrays.update(_scatter(model, cell, spiking, x))
    return arrays


def _scatter(model: str, cell: Cell, spiking: SpikingNetwork, x: AnyArray) -> dict[str, AnyArray]:
    trained, mean = dict(spiking.network.activations(x)), mean_outputs(spiking, x)
    arrays: dict[str, AnyArray] = {}
    for index, name in enumerate(spiking.populations, start=1):
        shown = _some(trained[name].size, N_POINTS)
        for kind, values in (("activation", trained[name]), ("rate", mean[name])):
            arrays[f"{model}.{cell.recipe}.{kind}.relu{index}"] = values.reshape(-1)[shown].astype(np.float32)
    return arrays


def _reconstructions(experiment: Experiment) -> dict[str, AnyArray]:
    x = experiment.test_images(N_RECONSTRUCTIONS)
    images = {"original": x, "keras": experiment.networks.keras(experiment.workload.seeds[0]).predict(x, verbose=0)}
    for cell in _cells(experiment, max(experiment.workload.n_steps)):
        images[cell.recipe] = experiment.spiking(cell).run(x).scores.reshape(x.shape)
    arrays = {f"autoencoder.images.{name}": pixels.reshape(len(x), 28, 28) for name, pixels in images.items()}
    for name, pixels in images.items():
        if name != "original":
            arrays[f"autoencoder.ssim.{name}"] = ssim(x, pixels)
    return arrays


def _some(total: int, n_wanted: int) -> AnyArray:
    """Return positions spread over all, always the same ones."""
    return np.sort(np.random.RandomState(0).permutation(total)[:n_wanted])
