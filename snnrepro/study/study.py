"""A study: conversions tried one after the other, kept in a database that many machines may share."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Callable, Sequence

import numpy as np

from snnrepro.errors import DataError, SnnReproError
from snnrepro.frameworks.optuna import import_optuna, opened
from snnrepro.inputs import checked_images
from snnrepro.network.archive import digest
from snnrepro.network.task import task_of
from snnrepro.spiking.convert import convert
from snnrepro.study.space import FIRST, VERSION, Choice, choice, suggested

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.network.graph import Network
    from snnrepro.user_images import Apart

STORAGE = "sqlite:///snnrepro-tune.db"
"""Where studies are kept, if nothing else is said: a file where the command is run."""

OBJECTIVES = ("loss", "n_steps", "operations")
"""All are better if they are smaller: points lost to the trained network, time steps, synaptic operations per image."""


@dataclass(frozen=True)
class Point:
    """A conversion of a study that is on its front: none is better by one objective and as good by the others.

    Attributes
    ----------
    trial : int
        Its number in the study.
    choice : Choice
        What it converts by.
    loss, low, high : float
        What it loses to the trained network on the images that judged it, in points, with the 95 % interval.
    operations, spikes : float
        Per image.
    """

    trial: int
    choice: Choice
    loss: float
    low: float
    high: float
    operations: float
    spikes: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers and words."""
        found = asdict(self)
        return {**found, "choice": str(self.choice), "n_steps": self.choice.n_steps}


def search(
    network: Network,
    images: Apart,
    n_trials: int,
    storage: str = STORAGE,
    name: str = "snnrepro",
    max_steps: int = 32,
    task: str | None = None,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> list[Point]:
    """Try conversions until a study has so many trials, and return its front.

    A study that is there goes on where it stopped; what was killed is tried no more. Several processes or machines may
    work on one at the same time.

    Parameters
    ----------
    network : Network
        The trained network.
    images : Apart
        Images that neurons are fitted on, and others that judge (see `snnrepro.user_images.apart`); no test images.
    n_trials : int
        How many trials the study has in the end.
    storage : str
        Any database of Optuna's.
    name : str
        Of the study.
    max_steps : int
        Most time steps that are tried.
    task : str, optional
        What the scores mean, if the output does not say so.
    seed : int
        Of the sampler.
    progress : callable, optional
        Called with the fraction of the work done since the last call.

    Raises
    ------
    DependencyError
        Optuna, or the database's driver, is not installed.
    SnnReproError
        The database cannot be opened.
    DataError
        The study there is of another network, of other images or of another space.
    """
    optuna = import_optuna()
    if n_trials < 1 or max_steps < 2:
        raise DataError(f"at least one trial and two steps are needed, got {n_trials} and {max_steps}")
    shape = network.input_shape
    fitted, judged = checked_images(images.fitted, shape), checked_images(images.judged, shape)
    meaning = task_of(network, task, images.judged_labels)
    labels = None if images.judged_labels is None else meaning.labels(images.judged_labels, len(judged))
    trained = meaning.answers(network.forward(judged))
    wanted = trained if labels is None else labels
    chance = meaning.merit(meaning.by_chance(wanted), wanted).percent
    done = progress or (lambda _: None)

    def tried(trial: Any) -> tuple[float, float, float]:
        chosen = suggested(trial, max_steps)
        earlier = _same_as(trial, optuna)
        if earlier is not None:
            done(1 / n_trials)
            for key, value in {**earlier.user_attrs, "same_as": earlier.number}.items():
                trial.set_user_attr(key, value)
            return tuple(earlier.values)
        try:
            spiking = convert(network, chosen.recipe, fitted, chosen.n_steps, task=task)
            run = spiking.run(judged)
        except SnnReproError as error:
            trial.set_user_attr("refused", str(error)[:500])
            raise optuna.TrialPruned from error
        finally:
            done(1 / n_trials)
        answers = meaning.answers(run.scores)
        if meaning.merit(answers, wanted).percent <= chance:
            trial.set_user_attr("refused", "no better than one answer for all images")
            raise optuna.TrialPruned
        loss = meaning.loss(trained, answers, labels)
        for key, value in {"low": loss.low, "high": loss.high, "spikes": run.mean_spikes}.items():
            trial.set_user_attr(key, float(value))
        return float(loss.points), float(chosen.n_steps), float(run.synaptic_operations.mean())

    with opened(storage) as database:
        study = optuna.create_study(
            storage=database, study_name=name, directions=["minimize"] * len(OBJECTIVES), load_if_exists=True
        )
        study.sampler = optuna.samplers.TPESampler(
            seed=seed + len(study.trials)
        )  # or it would draw the first ones again
        _require_same(study, network, fitted, judged)
        ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
        before = len(study.get_trials(deepcopy=False, states=ended))
        done(min(before, n_trials) / n_trials)
        if not study.trials:
            for params in FIRST:
                if params["n_steps"] <= max_steps:
                    study.enqueue_trial(params, skip_if_exists=True)
        if before < n_trials:
            enough = optuna.study.MaxTrialsCallback(n_trials, states=ended)
            study.optimize(tried, n_trials=n_trials - before, callbacks=[enough])
        return _front(study)


def front_of(storage: str, name: str, network: Network | None = None) -> list[Point]:
    """Return the front of a study that is there.

    Parameters
    ----------
    storage, name : str
        As of `search`.
    network : Network, optional
        What the study must be of.

    Raises
    ------
    DataError
        There is no study of that name, or it is of another network.
    """
    optuna = import_optuna()
    with opened(storage) as database:
        try:
            study = optuna.load_study(storage=database, study_name=name)
        except KeyError:
            there = ", ".join(optuna.get_all_study_names(database)) or "none"
            raise DataError(f"there is no study {name!r}; studies there: {there}") from None
        if network is not None and study.user_attrs.get("network") != digest(network):
            raise DataError(f"the study {name!r} is of another network than this one")
        return _front(study)


def picked(front: Sequence[Point], trial: int | None = None, max_loss: float | None = None) -> Point:
    """Return one point of a front: that of a trial, or the one with the fewest operations within a loss.

    Parameters
    ----------
    front : sequence of Point
        What there is.
    trial : int, optional
        Its number.
    max_loss : float, optional
        In points; without it, and without a trial, the smallest loss is taken.

    Raises
    ------
    DataError
        There is no such point; the message says what there is.
    """
    if not front:
        raise DataError("the study has no finished trial")
    if trial is not None:
        for point in front:
            if point.trial == trial:
                return point
        raise DataError(f"trial {trial} is not on the front; on it: {', '.join(str(point.trial) for point in front)}")
    if max_loss is None:
        return min(front, key=lambda point: (point.loss, point.operations))
    within = [point for point in front if point.loss <= max_loss]
    if not within:
        least = min(point.loss for point in front)
        raise DataError(f"no trial loses at most {max_loss:g} points; the least is {least:.2f}")
    return min(within, key=lambda point: point.operations)


def _same_as(trial: Any, optuna: Any) -> Any:
    """Return the ended trial that tried the same, or None."""
    complete = trial.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    return next((one for one in complete if one.params == trial.params and "same_as" not in one.user_attrs), None)


def _front(study: Any) -> list[Point]:
    """Return the points of a study's front, the fewest steps first."""
    points = []
    for trial in study.best_trials:
        if "same_as" in trial.user_attrs:
            continue
        loss, _, operations = trial.values
        about = trial.user_attrs
        points.append(
            Point(trial.number, choice(trial.params), loss, about["low"], about["high"], operations, about["spikes"])
        )
    return sorted(points, key=lambda point: (point.choice.n_steps, point.operations, point.trial))


def _require_same(study: Any, network: Network, fitted: AnyArray, judged: AnyArray) -> None:
    """Note what a new study is of, and refuse to go on with one of something else."""
    of_images = hashlib.sha256(np.ascontiguousarray(fitted).tobytes())
    of_images.update(np.ascontiguousarray(judged).tobytes())
    wanted = {"network": digest(network), "images": of_images.hexdigest(), "space": VERSION}
    for key, value in wanted.items():
        there = study.user_attrs.get(key)
        if there is None:
            study.set_user_attr(key, value)
        elif there != value:
            kind = {"network": "another network", "images": "other images", "space": "another version's space"}[key]
            raise DataError(f"the study {study.study_name!r} is of {kind}; give this one another name (--study)")
