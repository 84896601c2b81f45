"""Recipes of other people's papers, written from the papers for `Recipe(fit=...)`: what ours are compared with.

All three answer from thresholds per channel and leave the weights as they are; none reads a label.
"""

from __future__ import annotations

import numpy as np

from snnrepro import Recipe
from snnrepro.network.convolve import convolve, evaluate_nodes
from snnrepro.network.graph import last_reads
from snnrepro.network.layers import ReLU
from snnrepro.spiking.neurons import IF, ChannelConstants
from snnrepro.spiking.step import population_state

BATCH = 100
"""Images that set the thresholds, where a paper takes one batch, and the biases."""
SMALL, UPDATES = 10, 400
"""Images of a batch after which thresholds are balanced, and how often they are."""
FRACTIONS = np.linspace(0.02, 1, 50)
"""Of the largest activation: thresholds that are tried."""
_LEAST = 1e-6


def of_channels(values):
    """Return values ``(n_images, n_channels, ...)`` as ``(n_channels, everything else)``."""
    return np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)


def activations_of(schedule, x):
    """Return what each rectifier of the trained network gives, by its name."""
    values = evaluate_nodes(schedule.nodes, {schedule.network.input_name: x})
    return {node.name: values[node.name] for node in schedule.nodes if isinstance(node.layer, ReLU)}


def populations(schedule, thresholds, neuron=None, bias=None):
    """Return neurons whose spikes are as large as their threshold, from half of which they start."""
    made = {}
    for name, threshold in thresholds.items():
        threshold = threshold.astype(np.float32)
        constant = np.zeros_like(threshold) if bias is None else bias[name].astype(np.float32)
        constants = ChannelConstants(threshold, threshold, threshold, threshold / 2, constant)
        shape = schedule.network.shapes[name]
        made[name] = constants.population(neuron or IF(), (shape[0], *[1] * (len(shape) - 1)))
    return made


def balanced_locally(schedule, x, n_steps):
    """Local threshold balancing: a threshold rises by twice the mean of what lies above it, batch after batch.

    Bu, Li and Yu, arXiv 2409.03368; activations are clipped at the thresholds reached, so that later layers see what
    they will. SpikingJelly's example takes 390 batches of 128 images; of 1,000 images these are 400 of ten. The paper's
    delayed evaluation is left out: its steps would count.
    """
    thresholds = {}

    def clipped(name, z):
        activations = np.maximum(z, 0)
        flat = of_channels(activations)
        before = thresholds.get(name, np.zeros(len(flat)))
        over = np.maximum(flat - before[:, None], 0).mean(axis=1)
        thresholds[name] = np.maximum(before + 2 * over, _LEAST)
        return np.minimum(activations, thresholds[name].reshape(-1, *[1] * (z.ndim - 2)).astype(np.float32))

    for _ in range(UPDATES * SMALL // len(x) or 1):
        for at in range(0, len(x), SMALL):
            values = {schedule.network.input_name: x[at : at + SMALL]}
            for node in schedule.nodes:
                inputs = [values[name] for name in node.inputs]
                is_rectifier = isinstance(node.layer, ReLU)
                values[node.name] = clipped(node.name, *inputs) if is_rectifier else convolve(node.layer, *inputs)
    return populations(schedule, thresholds)


def of_least_error(activations, n_steps):
    """Return the threshold per channel at which `n_steps` spikes, rounded to the nearest, err least."""
    flat = of_channels(activations)
    tried = np.maximum(FRACTIONS[:, None] * flat.max(axis=1), _LEAST)
    errors = [
        np.square(
            np.clip(np.floor(flat * n_steps / at[:, None] + 0.5), 0, n_steps) * at[:, None] / n_steps - flat
        ).mean(axis=1)
        for at in tried
    ]
    return tried[np.argmin(errors, axis=0), np.arange(len(flat))]


def calibrated(schedule, x, n_steps):
    """SNN calibration, light: thresholds of the least squared error, then each layer's bias, in order.

    Li, Deng, Dong, Gong and Gu, ICML 2021 (arXiv 2106.06984): what a channel fires too little in the mean,
    given the spikes of the layers before it, is added to its input of every step.
    """
    activations = activations_of(schedule, x[:BATCH])
    wanted = {name: of_channels(values).mean(axis=1) for name, values in activations.items()}
    thresholds = {name: of_least_error(values, n_steps) for name, values in activations.items()}
    bias = {name: np.zeros_like(values) for name, values in thresholds.items()}
    values = {schedule.network.input_name: [x[:BATCH]] * n_steps}

    def fired(name, z):
        own = populations(schedule, {name: thresholds[name]}, bias=bias)[name]
        state = population_state(own, 0.001, z[0].shape)
        return [state.step(of_step) for of_step in z]

    for node, done in zip(schedule.nodes, last_reads(schedule.nodes)):
        inputs = [values[name] for name in node.inputs]
        if isinstance(node.layer, ReLU):
            too_few = wanted[node.name] - of_channels(sum(fired(node.name, inputs[0])) / n_steps).mean(axis=1)
            bias[node.name] = too_few
            values[node.name] = fired(node.name, inputs[0])
        else:
            values[node.name] = [convolve(node.layer, *of_step) for of_step in zip(*inputs)]
        for name in done:
            del values[name]
    return populations(schedule, thresholds, bias=bias)


def in_bursts(schedule, x, n_steps):
    """Up to four spikes a step, at the 99.9th percentile of each channel.

    Li and Zeng, IJCAI 2022 (arXiv 2204.13271): what is left above the threshold is fired in the same step.
    """
    activations = activations_of(schedule, x[:BATCH])
    thresholds = {
        name: np.maximum(np.percentile(of_channels(values), 99.9, axis=1), _LEAST + 1e-3 * values.max())
        for name, values in activations.items()
    }
    return populations(schedule, thresholds, IF(max_spikes=4))


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("local threshold balancing", fit=balanced_locally, corrects_readout=False),
        Recipe("SNN calibration, light", fit=calibrated, corrects_readout=False),
        Recipe("bursts of 4", fit=in_bursts, corrects_readout=False),
    )
}
