"""The answers between the trained network and the spiking one: one layer after the other, one cause after the other."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Mapping, Sequence, Union

import numpy as np

from snnrepro.autopsy.costs import Channel, LayerCost, Part
from snnrepro.autopsy.replay import most_output, replayed, with_even_input

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.metrics import Loss
    from snnrepro.network.graph import Node
    from snnrepro.network.task import Task
    from snnrepro.spiking.network import SpikingNetwork
    from snnrepro.spiking.run import Progress

    Values = Union[Mapping[str, FloatArray], "_Rows"]

NUMBERS = 2**25
"""Numbers that the values of the images looked at together have, on all sides (128 MB)."""
_POINTS = 2000
"""Pairs of activation and output kept of each layer for a plot."""
_CHANNELS = 5
"""Channels of each layer that are named."""
_FLIPPED, _TRIED = 32, 8
"""Images of a part whose answer a layer changes, and the channels farthest off, on which single channels are tried."""


def numbers_per_image(spiking: SpikingNetwork) -> int:
    """Return how many numbers all values of an image take: those of two networks and two sides of the neurons."""
    network = spiking.network
    return 3 * sum(map(math.prod, network.shapes.values())) + 4 * sum(spiking.n_neurons.values())


class Stages:
    """The answers at every stage between the trained network and the spiking one, over the images so far.

    A stage is a pair of a layer's name and a cause: what stands in the place of the trained activations until there.
    """

    def __init__(self, spiking: SpikingNetwork, task: Task) -> None:
        self._spiking, self._task = spiking, task
        self._answers: dict[tuple[str, str], list[AnyArray]] = {}
        self._leads: dict[tuple[str, str], list[AnyArray]] = {}
        self._if_exact: dict[str, list[AnyArray]] = {}
        self._until_here: dict[str, list[AnyArray]] = {}
        self._channels: dict[str, list[AnyArray]] = {}
        self._mended: dict[str, Counter[int]] = {}
        self.scatter: dict[str, tuple[AnyArray, AnyArray]] = {}

    @property
    def trained_answers(self) -> AnyArray:
        """The trained network's answers."""
        return np.concatenate(self._answers["", "trained"])

    def add(self, x: FloatArray, progress: Progress) -> None:
        """Take some images."""
        spiking, network, nodes = self._spiking, self._spiking.network, self._spiking.schedule.nodes
        names = [node.name for node in nodes if node.name in spiking.populations]
        share = 1 / (1 + 3 * len(names))
        simulated = replayed(spiking, x)
        trained = dict(spiking.trained.activations(x))
        self._stage("", "trained", trained[spiking.readout])
        values = {network.input_name: x, **dict(network.activations(x))}
        exact = {name: values[name] for name in names}
        if spiking.functions:
            self._stage("fits of functions", "functions", values[spiking.readout])
        progress(share)
        for node in nodes:
            if node.name not in names:
                continue
            key = next(reversed(self._answers))
            z, before = values[node.inputs[0]], values[node.name]
            sides = {
                "clipping": np.minimum(before, most_output(spiking.populations[node.name], spiking.dt)),
                "quantisation": with_even_input(spiking, node.name, z),
                "timing": simulated.outputs[node.name],
            }
            for cause, value in sides.items():
                changed = _with(nodes, values, node.name, value)
                self._stage(node.name, cause, changed.get(spiking.readout, values[spiking.readout]))
            self._try_channels(node.name, key, values, before, simulated.outputs[node.name])
            values.update(changed)
            self._keep_some(node.name, exact[node.name], before, simulated.outputs[node.name])
            progress(share)
        self._stage("readout", "readout", simulated.readout, simulated.scores)
        for place, name in enumerate(names):
            alone = {name: np.maximum(simulated.inputs[name], 0)}
            self._if_exact.setdefault(name, []).append(self._task.answers(replayed(spiking, x, alone).scores))
            progress(share)
            until = {one: exact[one] for one in names[: place + 1]}
            self._until_here.setdefault(name, []).append(self._task.answers(replayed(spiking, x, until).scores))
            progress(share)

    def _stage(self, name: str, cause: str, readout: FloatArray, scores: FloatArray | None = None) -> None:
        """Keep what would be answered."""
        self._answers.setdefault((name, cause), []).append(
            self._answered(readout) if scores is None else self._task.answers(scores)
        )
        if self._task.name == "classes":
            self._leads.setdefault((name, cause), []).append(readout.reshape(len(readout), -1))

    def _answered(self, readout: FloatArray) -> AnyArray:
        tail = self._spiking.tail
        return self._task.answers(readout if tail is None else tail.forward(readout))

    def _try_channels(
        self,
        name: str,
        key: tuple[str, str],
        values: Mapping[str, FloatArray],
        before: FloatArray,
        outputs: FloatArray,
    ) -> None:
        """Count which channels, exact, would each give images back the answer that the layer takes from them."""
        trained = self._answers["", "trained"][-1]
        right, left = (_same(self._answers[of][-1], trained) for of in (key, (name, "timing")))
        rows = np.flatnonzero(right & ~left)[:_FLIPPED]
        counts = self._mended.setdefault(name, Counter())
        if not len(rows):
            return
        apart = np.abs(outputs[rows] - before[rows]).reshape(len(rows), before.shape[1], -1).sum(axis=(0, 2))
        of_rows = _Rows(values, rows)
        for channel in np.argsort(-apart)[:_TRIED]:
            mended = outputs[rows]
            mended[:, channel] = before[rows, channel]
            changed = _with(self._spiking.schedule.nodes, of_rows, name, mended)
            readout = self._spiking.readout
            answers = self._answered(changed[readout] if readout in changed else of_rows[readout])
            counts[int(channel)] += int(_same(answers, trained[rows]).sum())

    def _keep_some(self, name: str, activations: FloatArray, before: FloatArray, outputs: FloatArray) -> None:
        """Keep some pairs for a plot, and the error that each channel adds to what it inherits."""
        a, b = activations.reshape(-1), outputs.reshape(-1)
        if name not in self.scatter:
            some = np.random.RandomState(0).permutation(a.size)[:_POINTS]
            self.scatter[name] = a[some], b[some]
        apart = (outputs - before).reshape(*before.shape[:2], -1)
        self._channels.setdefault(name, []).append(np.abs(apart).sum(axis=(0, 2)))

    def layers(self, labels: AnyArray | None) -> tuple[tuple[LayerCost, ...], Loss]:
        """Return what each layer costs, and all of them."""
        task, keys = self._task, list(self._answers)
        answers = {key: np.concatenate(one) for key, one in self._answers.items()}
        trained, final = answers[keys[0]], answers[keys[-1]]
        wanted = trained if labels is None else labels
        margins = self._margins(trained)
        by_layer: dict[str, list[tuple[tuple[str, str], tuple[str, str]]]] = {}
        for before, key in zip(keys, keys[1:]):
            by_layer.setdefault(key[0], []).append((before, key))
        flips = _flipped(answers, keys)
        costs = []
        for name, own in by_layer.items():
            first, last = own[0][0], own[-1][1]
            alone, until = (
                None if name not in side else np.concatenate(side[name]) for side in (self._if_exact, self._until_here)
            )
            costs.append(
                LayerCost(
                    name,
                    task.loss(answers[first], answers[last], wanted),
                    tuple(
                        Part(key[1], task.loss(answers[before], answers[key], wanted), margins[before] - margins[key])
                        for before, key in own
                    ),
                    task.loss(trained, answers[first], wanted).points,
                    None if alone is None else task.loss(final, alone, wanted),
                    None if until is None else task.loss(trained, until, wanted),
                    flips.get(name, 0),
                    self._worst_channels(name),
                )
            )
        return tuple(costs), task.loss(trained, final, wanted)

    def _margins(self, trained: AnyArray) -> dict[tuple[str, str], float]:
        """Return the mean lead of the trained network's answers at every stage; nan where answers are no classes."""
        if not self._leads:
            return dict.fromkeys(self._answers, math.nan)
        found = {}
        rows = np.arange(len(trained))
        for key, some in self._leads.items():
            scores = np.concatenate(some).astype(np.float64)
            own = scores[rows, trained]
            scores[rows, trained] = -np.inf
            found[key] = float(np.mean(own - scores.max(axis=1)))
        return found

    def _worst_channels(self, name: str) -> tuple[Channel, ...]:
        """Return the channels that flip most answers, and then those that are farthest from what they stand for."""
        if name not in self._channels:
            return ()
        apart = np.sum(self._channels[name], axis=0)
        total = float(apart.sum())
        if total == 0.0:
            return ()
        counts = self._mended[name]
        order = sorted(range(len(apart)), key=lambda channel: (-counts[channel], -apart[channel]))
        return tuple(Channel(one, float(apart[one]) / total, counts[one]) for one in order[:_CHANNELS])


class _Rows:
    """Values of some of the images, cut out when they are asked for."""

    def __init__(self, values: Mapping[str, FloatArray], rows: AnyArray) -> None:
        self._values, self._rows = values, rows

    def __getitem__(self, name: str) -> FloatArray:
        some: FloatArray = self._values[name][self._rows]
        return some


def _same(answers: AnyArray, others: AnyArray) -> AnyArray:
    """Return of which images the answers are the same, bool, ``(n_images,)``."""
    return np.asarray((answers == others).reshape(len(answers), -1).all(axis=1))


def _with(nodes: Sequence[Node], values: Values, name: str, value: FloatArray) -> dict[str, FloatArray]:
    """Return every value that is another where one of a network's values is replaced."""
    changed = {name: value}
    for node in nodes:
        if node.name != name and not changed.keys().isdisjoint(node.inputs):
            read = (changed[source] if source in changed else values[source] for source in node.inputs)
            changed[node.name] = node.layer(*read)
    return changed


def _flipped(answers: Mapping[tuple[str, str], AnyArray], keys: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return by layer how many images get another answer than the trained network's there, and never again that one."""
    trained = answers[keys[0]]
    same = np.stack([_same(answers[key], trained) for key in keys])
    lost = ~same[-1]
    last_same = len(keys) - 1 - np.argmax(same[::-1], axis=0)
    counts: dict[str, int] = {}
    for index in last_same[lost]:
        name = keys[index + 1][0]
        counts[name] = counts.get(name, 0) + 1
    return counts
