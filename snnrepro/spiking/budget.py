"""The fewest time steps whose loss is within a budget, as far as the images at hand can tell."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from snnrepro.errors import DataError, DataWarning, ModelError

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.metrics import Loss
    from snnrepro.network.task import Task
    from snnrepro.spiking.network import SpikingNetwork

STEPS_TRIED = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 128)
"""The numbers of steps among which the smallest is found."""

_STRIDE = 3
"""How far apart the numbers are that are tried first, 4, 8, 15, 30 and 60, until one is enough."""

_GUESSED_ON = 1000
"""Images that guesses are judged on."""

CHANCE = 2
"""Images lost and not won back that say nothing. With 500 images one is 0.2 points: where that was the budget, a
conversion that loses 0.1 points got 20 steps and more one time in ten instead of 8. A whole standard error, tried too,
typically exceeded the budget twice to threefold."""


def cheapest(
    task: Task,
    trained: AnyArray,
    x: FloatArray,
    labels: AnyArray | None,
    max_loss: float,
    made_for: Callable[[int], SpikingNetwork],
    guesses: tuple[Callable[[int], SpikingNetwork], Callable[[int], SpikingNetwork]] | None = None,
) -> SpikingNetwork:
    """Return the network with the fewest steps that loses at most `max_loss` points on these images.

    A net loss of `CHANCE` images is within every budget but zero: it is none that these images can tell. Where there
    are guesses, the search begins at a rough one and goes on with near ones: what is returned keeps the loss, and the
    next smaller number of steps does not, by its near guess or itself.

    Parameters
    ----------
    task : Task
        What the answers mean.
    trained : numpy.ndarray
        The trained network's answers to `x`.
    x, labels : numpy.ndarray, numpy.ndarray or None
        Images; without labels the trained network's answers stand for them.
    max_loss : float
        In points of the task's figure of merit.
    made_for : callable
        Returns the spiking network for a number of steps.
    guesses : (callable, callable), optional
        Return networks that are made in a fraction of the time: a rough guess, and one that most often is what
        `made_for` returns (or `made_for` itself, where there is nothing between).

    Raises
    ------
    DataError
        The trained network itself answers no better than one answer for all images would.
    ModelError
        No number of steps is enough.
    """
    if labels is not None:
        require_better_than_chance(task, trained, labels)
    tried = _Tries(task, trained, x, labels, max_loss, made_for)
    if guesses is None:
        chosen = _smallest(tried.within)
    else:
        few = slice(_GUESSED_ON)
        rough = _Tries(task, trained[few], x[few], None if labels is None else labels[few], max_loss, guesses[0])
        near = tried if guesses[1] is made_for else _Tries(task, trained, x, labels, max_loss, guesses[1])
        chosen = _smallest(lambda index: rough.within(index, errors=-1))  # it loses rather more than what it stands for
        if chosen > 0 and not rough.within(chosen, errors=1):
            chosen = near.first_within(chosen)
        while chosen > 0 and near.within(chosen - 1):
            chosen -= 1
        while chosen < len(STEPS_TRIED) - 1 and not tried.within(chosen):
            chosen = near.first_within(chosen + 1)
    if not tried.within(chosen):
        raise ModelError(
            f"no number of steps up to {STEPS_TRIED[-1]} keeps the loss within {max_loss:g} points on the "
            f"{len(x)} calibration images; the least was {tried.least}"
        )
    loss, spiking = tried.loss(chosen), tried.spiking(chosen)
    warn_if_unresolved(loss, max_loss, stacklevel=5)
    provenance = {**spiking.provenance, "max_loss": max_loss, **described(task, loss, labels is not None)}
    return replace(spiking, provenance=provenance)


class _Tries:
    """Networks for the numbers of `STEPS_TRIED`, and what they lose; each is made when it is first asked for."""

    def __init__(
        self,
        task: Task,
        trained: AnyArray,
        x: FloatArray,
        labels: AnyArray | None,
        max_loss: float,
        made_for: Callable[[int], SpikingNetwork],
    ) -> None:
        self._task, self._trained, self._x, self._labels = task, trained, x, labels
        self._max_loss, self._made_for = max_loss, made_for
        self._made: dict[int, tuple[Loss, SpikingNetwork]] = {}

    def loss(self, index: int) -> Loss:
        """Return what the network for one of the numbers loses."""
        if index not in self._made:
            spiking = self._made_for(STEPS_TRIED[index])
            answers = spiking.run(self._x).predictions
            self._made[index] = self._task.loss(self._trained, answers, self._labels), spiking
        return self._made[index][0]

    def spiking(self, index: int) -> SpikingNetwork:
        """Return the network whose loss was asked for."""
        return self._made[index][1]

    def within(self, index: int, errors: float = 0) -> bool:
        """Whether the loss, so many standard errors added, is within the budget, as far as the images can tell."""
        return is_within(self.loss(index), self._max_loss, errors)

    def first_within(self, index: int) -> int:
        """Return the place of the first number from `index` on that is within the budget, or the last."""
        while index < len(STEPS_TRIED) - 1 and not self.within(index):
            index += 1
        return index

    @property
    def least(self) -> Loss:
        """The smallest of the losses."""
        return min((loss for loss, _ in self._made.values()), key=lambda loss: loss.points)


def _smallest(within: Callable[[int], bool]) -> int:
    """Return the place of the smallest number of `STEPS_TRIED` that is enough, or the last, by halving."""
    low, high = 0, len(STEPS_TRIED) - 1
    for index in range(_STRIDE, high, _STRIDE):  # few steps first: many cost more than all of these
        if within(index):
            high = index
            break
        low = index + 1
    while low < high:
        middle = (low + high) // 2
        if within(middle):
            high = middle
        else:
            low = middle + 1
    return low


def is_within(loss: Loss, most: float, errors: float = 0) -> bool:
    """Whether a loss, so many standard errors added, is within a budget, as far as the images can tell.

    A net loss of `CHANCE` images is within every budget but zero.
    """
    by_chance = most > 0 and loss.lost is not None and loss.won is not None and loss.lost - loss.won <= CHANCE
    return (loss.points + errors * loss.standard_error if errors else loss.points) <= most or by_chance


def warn_if_unresolved(loss: Loss, most: float, stacklevel: int = 3) -> None:
    """Warn where so few images cannot tell a loss of `most` points from none; `stacklevel` is that of a warning."""
    if most > 0 and loss.needed_images(most) > loss.n_images:
        warnings.warn(_unresolved(loss, most), DataWarning, stacklevel=stacklevel)


def described(task: Task, loss: Loss, labelled: bool) -> dict[str, Any]:
    """Return a loss as a provenance has it: numbers by what they are."""
    kind = f"of {task.figure}" if labelled else "of answers that differ"
    interval = {"loss_low": round(loss.low, 3), "loss_high": round(loss.high, 3), "loss_images": loss.n_images}
    counted = {} if loss.lost is None else {"answers_lost": loss.lost, "answers_won": loss.won}
    return {f"points {kind}": round(loss.points, 3), **interval, **counted}


def require_better_than_chance(task: Task, answers: AnyArray, labels: AnyArray) -> None:
    """Refuse labels to which the trained network's own answers say nothing, or that count the classes otherwise.

    Raises
    ------
    DataError
        One answer for all images is as good, or drawing lots may be; or the answers would be right far more often if
        the classes were counted in another order.
    """
    merit, constant = task.merit(answers, labels), task.merit(task.by_chance(labels), labels)
    lots = 100.0 / task.n_classes if task.name == "classes" else 0.0
    if merit.percent <= constant.percent or merit.low <= lots:
        raise DataError(
            f"the trained network's own {merit} on these labels is no better than chance (one answer for all images: "
            f"{constant.percent:.2f} %): no loss can be measured; are the labels in the order of the images, and the "
            "classes in that of the network's scores, from 0 on?"
        )
    reordered = _in_best_order(answers, labels, task.n_classes) if task.name == "classes" else 0.0
    if reordered > merit.percent + _ANOTHER_ORDER:
        raise DataError(
            f"the trained network's own {merit} on these labels would be {reordered:.2f} % if the classes were counted "
            "in another order: they must be in that of the network's scores, from 0 on"
        )


_ANOTHER_ORDER = 10.0
"""Points that the best order of the classes gains at most where the order is right and the network confuses some."""


def _in_best_order(answers: AnyArray, labels: AnyArray, n_classes: int) -> float:
    """Return the accuracy, per cent, with the classes counted in the order that is best for it."""
    from scipy.optimize import linear_sum_assignment

    counts = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(counts, (answers.astype(np.int64), labels.astype(np.int64)), 1)
    return 100.0 * float(counts[linear_sum_assignment(counts, maximize=True)].sum()) / len(labels)


def _unresolved(loss: Loss, max_loss: float) -> str:
    needed = loss.needed_images(max_loss)
    enough = f"; {needed:,} can" if needed < 10**9 else ""
    return (
        f"{loss.n_images:,} images cannot resolve {max_loss:g} points{enough}: the loss on them is {loss.points:.2f}, "
        f"on others {loss.low:.2f} to {loss.high:.2f}"
    )
