"""A run beside the trained network on the same images: how good both are, and what conversion lost."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.arrays import pieces
from snnrepro.network.task import task_of
from snnrepro.spiking.parts import in_parts

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.metrics import Loss, Merit
    from snnrepro.network.task import Task
    from snnrepro.spiking.network import SpikingNetwork
    from snnrepro.spiking.run import Progress, Run

_NUMBERS = 2**20
"""Numbers of the images that the trained network answers between two signs of progress (4 MB)."""


@dataclass(frozen=True)
class Evaluation:
    """How good a spiking network's answers are.

    Attributes
    ----------
    task : Task
        What they mean.
    spiking, trained : Merit or None
        How good they are, and the trained network's; None without labels.
    loss : Loss or None
        What is lost to the trained network; without labels, the share of what is not its answer. None where the trained
        network was left out.
    counts : numpy.ndarray or None
        Of each image what the figure of merit is computed from, float64, ``(n_images, k)``: see `Task.counts`. None
        where the trained network was left out.
    """

    task: Task
    spiking: Merit | None
    trained: Merit | None
    loss: Loss | None
    counts: AnyArray | None = field(default=None, repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers."""
        parts = {"merit": self.spiking, "trained": self.trained, "loss": self.loss}
        described = {name: None if part is None else asdict(part) for name, part in parts.items()}
        is_accuracy = self.task.figure == "accuracy"
        return {"task": self.task.name, "accuracy": described["merit"] if is_accuracy else None, **described}


def evaluate(
    spiking: SpikingNetwork, run: Run, x: Any, labels: Any, trained: bool = True, progress: Progress | None = None
) -> Evaluation:
    """Judge a run.

    Parameters
    ----------
    spiking : SpikingNetwork
        What was run.
    run : Run
        Its run on `x`.
    x : array_like
        The images; of a mapped file or a `FolderImages`, only parts are held.
    labels : array_like or None
        As the task takes them.
    trained : bool
        Whether the trained network, which the spiking one holds, answers the images too.
    progress : callable, optional
        Called with the fraction of the work done since the last call.

    Raises
    ------
    DataError
        The labels are not as many, or name no class.
    """
    meaning = task_of(spiking.network, spiking.task, labels)
    wanted = None if labels is None else meaning.labels(labels, len(x))
    answers = meaning.answers(run.scores)
    merit = None if wanted is None else meaning.merit(answers, wanted)
    done = progress or (lambda _: None)
    if not trained or not len(x):
        done(1.0)
        return Evaluation(meaning, merit, None, None)
    network = spiking.trained
    answered = []
    for part in in_parts(x, spiking.network.input_shape):
        for some in pieces(part.images, math.prod(spiking.network.input_shape), _NUMBERS, len(part.images)):
            answered.append(meaning.answers(network.forward(some)))
            done(part.share * len(some) / len(part.images))
    before: AnyArray = np.concatenate(answered)
    of_trained = None if wanted is None else meaning.merit(before, wanted)
    loss = meaning.loss(before, answers, wanted)
    return Evaluation(meaning, merit, of_trained, loss, meaning.counts(answers, before if wanted is None else wanted))
