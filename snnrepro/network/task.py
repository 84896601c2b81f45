"""What a network's scores mean: its task decides what it answers, which labels it takes, and how good an answer is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrepro.errors import DataError, ModelError
from snnrepro.inputs import checked_labels, checked_values, numbers
from snnrepro.metrics import Loss, Merit, interval, lost_and_won, resampled
from snnrepro.network.joined import outputs_of
from snnrepro.network.layers import OnnxPart, Reshape, Sigmoid, Softmax, Transpose

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.network.graph import Network

TASKS = ("classes", "binary", "multilabel", "values", "map", "labels")
"""classes: one of several classes, a score for each. binary: yes or no, one score. multilabel: several of those.
values: numbers, such as a regression's or an image's pixels. map: a class for every place of an image.
labels: the output is the answer, the number of a class (an ArgMax's)."""


@dataclass(frozen=True)
class Task:
    """What the scores of a network mean.

    Attributes
    ----------
    name : str
        One of `TASKS`.
    shape : tuple of int
        Of the scores of one image.
    threshold : float
        From which score on the answer is yes: 0.5 behind a sigmoid, 0 for logits.
    axis : int
        Of `shape`, along which the classes of a map lie.
    n_labels : int
        How many classes there may be, where the output is the number of one.
    """

    name: str
    shape: tuple[int, ...]
    threshold: float = 0.0
    axis: int = 0
    n_labels: int = 0

    @property
    def n_classes(self) -> int:
        """How many classes a label may name."""
        if self.name == "classes":
            return math.prod(self.shape)
        if self.name == "labels":
            return self.n_labels
        return max(2, self.shape[self.axis]) if self.name == "map" else 2

    @property
    def space(self) -> tuple[int, ...]:
        """What has an answer of its own in an image: nothing but the image, each label, or each place."""
        if self.name == "multilabel":
            return (math.prod(self.shape),)
        if self.name == "map":
            return self.shape[: self.axis] + self.shape[self.axis + 1 :]
        one = self.name in ("classes", "binary") or (self.name == "labels" and math.prod(self.shape) == 1)
        return () if one else self.shape

    def answers(self, scores: AnyArray) -> AnyArray:
        """Return the answers for scores ``(..., *shape)``: ``(..., *space)``.

        int64: of equal scores the lowest class; of "binary" and "multilabel" 0 or 1. Of "values" the scores themselves.
        """
        lead = scores.shape[: scores.ndim - len(self.shape)]
        if self.name == "values":
            return scores
        if self.name == "labels":
            return np.rint(scores).astype(np.int64).reshape(*lead, *self.space)
        if self.name == "classes":
            return np.asarray(scores.reshape(*lead, math.prod(self.shape)).argmax(axis=-1), np.int64)
        if self.name == "map" and self.shape[self.axis] > 1:
            return np.asarray(scores.argmax(axis=len(lead) + self.axis), np.int64)
        return np.asarray(scores.reshape(*lead, *self.space) > self.threshold, np.int64)

    def labels(self, labels: Any, n_images: int) -> AnyArray:
        """Return labels as they are compared with `answers`, ``(n_images, *space)``, or refuse them.

        Raises
        ------
        DataError
            They are not as many, or name no class: the first is named.
        """
        if self.name == "values":
            return checked_values(labels, n_images, self.shape)
        return checked_labels(labels, n_images, self.n_classes, self.space)

    def merit(self, answers: AnyArray, labels: AnyArray) -> Merit:
        """Return how good answers are, beside labels that `labels` gave.

        The accuracy, of "multilabel" that of all labels; of "values" the coefficient of determination R², with the root
        of the mean squared error beside it; of "map" the mean over the classes of intersection over union.

        Raises
        ------
        DataError
            There are no images, or all values are the same.
        """
        counts, n_images = self.counts(answers, labels), len(labels)
        percent = float(self._figure(counts.sum(axis=0)))
        if not self.space:
            return Merit(self.figure, percent, *interval(percent, n_images), n_images)
        low, high, _ = resampled(self._figure, counts)
        also = {"RMSE": math.sqrt(counts[:, 0].sum() / labels.size)} if self.name == "values" else {}
        return Merit(self.figure, percent, low, high, n_images, also)

    def loss(self, before: AnyArray, after: AnyArray, labels: AnyArray | None = None) -> Loss:
        """Return what the answers `after` are worse than those `before`, in points of the figure of merit.

        Without labels the answers `before` stand for them: the loss is then what differs.
        """
        labels = before if labels is None else labels
        return self.loss_of_counts(self.counts(before, labels), self.counts(after, labels))

    def loss_of_counts(self, first: AnyArray, second: AnyArray) -> Loss:
        """Return the same from what `counts` gives of the answers before and after."""
        if not self.space:
            return lost_and_won(first[:, 0] > 0, second[:, 0] > 0)
        half = first.shape[1]

        def worse(sums: AnyArray) -> AnyArray:
            difference: AnyArray = self._figure(sums[..., :half]) - self._figure(sums[..., half:])
            return difference

        both = np.concatenate([first, second], axis=1)
        low, high, error = resampled(worse, both)
        return Loss(float(worse(both.sum(axis=0))), low, high, len(first), error)

    def by_chance(self, labels: AnyArray) -> AnyArray:
        """Return the answers of which every image, label or place has the same, the best such one there is."""
        if self.name == "values":
            return np.broadcast_to(labels.mean(axis=0, dtype=np.float64), labels.shape)
        over = None if self.name == "map" else 0
        counts = np.stack([np.sum(labels == one, axis=over) for one in range(self.n_classes)])
        return np.broadcast_to(counts.argmax(axis=0), labels.shape)

    @property
    def figure(self) -> str:
        """The name of the figure of merit."""
        return _FIGURES[self.name]

    def counts(self, answers: AnyArray, labels: AnyArray) -> AnyArray:
        """Return what the figure of merit is computed from, by image: float64, ``(n_images, k)``.

        Of images with one answer each: whether it is right, and 1.

        Raises
        ------
        DataError
            There are no images, or all values are the same.
        """
        if not len(labels):
            raise DataError("there are no images to judge")
        n_images = len(labels)
        if self.name == "values":
            wrong = (answers.astype(np.float64) - labels).reshape(n_images, -1)
            varied = (labels - labels.mean(axis=0, dtype=np.float64)).reshape(n_images, -1)
            if not varied.any():
                raise DataError("all values are the same: nothing says how good an answer is")
            return np.stack([np.sum(wrong**2, axis=1), np.sum(varied**2, axis=1)], axis=1)
        right = (answers == labels).reshape(n_images, -1)
        if self.name != "map":
            return np.stack([right.sum(axis=1), np.full(n_images, right.shape[1])], axis=1).astype(np.float64)
        given, true = answers.reshape(n_images, -1), labels.reshape(n_images, -1)
        both, either = [], []
        for one in range(self.n_classes):
            both.append(np.sum((given == one) & (true == one), axis=1))
            either.append(np.sum((given == one) | (true == one), axis=1))
        return np.stack([*both, *either], axis=1).astype(np.float64)

    def _figure(self, sums: AnyArray) -> AnyArray:
        """Return the figure of merit in % for sums over images of what `counts` gives, ``(..., k)``."""
        half = sums.shape[-1] // 2
        first, second = sums[..., :half], sums[..., half:]
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = first / second
        percent: AnyArray = 100.0 * (np.nanmean(shares, axis=-1) if self.name != "values" else 1.0 - shares[..., 0])
        return percent


_FIGURES = {
    "classes": "accuracy",
    "binary": "accuracy",
    "multilabel": "accuracy of all labels",
    "values": "R²",
    "map": "mean IoU",
    "labels": "accuracy",
}


def task_of(network: Network, name: str | None = None, labels: Any = None) -> Task:
    """Return the task of a network: the one that is named, or the one that its output and the labels suggest.

    A softmax, or several scores without one, are classes; a softmax or labels for every place of an image make a map.
    What an ArgMax gives are labels. One sigmoid is binary, and one number without it too if the labels are 0 and 1
    alone; several sigmoids are multilabel. All else are values, and so are several outputs side by side.

    Parameters
    ----------
    network : Network
        Whose output is looked at.
    name : str, optional
        One of `TASKS`.
    labels : array_like, optional
        Given with the images.

    Raises
    ------
    ModelError
        The name is no task, or not one that the output's shape permits.

    Examples
    --------
    >>> import numpy as np
    >>> from snnrepro.network.graph import Network, Node
    >>> from snnrepro.network.layers import Dense, Sigmoid
    >>> dense = Node("dense", ("x",), Dense(np.ones((2, 1)), np.zeros(1)))
    >>> task_of(Network("x", (2,), (dense, Node("p", ("dense",), Sigmoid())), {})).name
    'binary'
    """
    shape = tuple(network.output_shape)
    final = _final(network)
    n_labels = _n_labels(network)
    suggested = "labels" if n_labels else _suggested(network, shape, final, labels)
    if name is not None and not (isinstance(name, str) and name in TASKS):
        raise ModelError(f"task {name!r} is none of {', '.join(TASKS)}")
    chosen = suggested if name is None else name
    n_long = sum(size > 1 for size in shape)
    fits = {
        "classes": n_long == 1,
        "binary": n_long == 0,
        "multilabel": n_long == 1,
        "values": True,
        "map": len(shape) > 1,
        "labels": n_labels > 0,
    }
    if not fits[chosen]:
        possible = ", ".join(task for task in TASKS if fits[task])
        raise ModelError(f"task {chosen!r} does not fit an output of {shape}: it can be {possible}")
    return Task(chosen, shape, 0.5 if isinstance(final, Sigmoid) else 0.0, _class_axis(network), n_labels)


def _n_labels(network: Network) -> int:
    """Return how many classes there are at most where the output is an ArgMax over them, else 0."""
    last = network.nodes[-1].layer if network.nodes else None
    if not isinstance(last, OnnxPart) or last.operators[-1] not in ("ArgMax", "ArgMin"):
        return 0
    return max(math.prod(shape) for shape in last.reads)


def _final(network: Network) -> Any:
    """Return the sigmoid or softmax that the output comes from, with nothing but movements behind it, or None."""
    by_name = {node.name: node for node in network.nodes}
    node = by_name.get(network.nodes[-1].name) if network.nodes else None
    while node is not None and isinstance(node.layer, (Reshape, Transpose)):
        node = by_name.get(node.inputs[0])
    return node.layer if node is not None and isinstance(node.layer, (Sigmoid, Softmax)) else None


def _suggested(network: Network, shape: tuple[int, ...], final: Any, labels: Any) -> str:
    n_long = sum(size > 1 for size in shape)
    given = None if labels is None else numbers(labels, "labels")
    whole = given is not None and given.dtype.kind in "biu"
    if outputs_of(network):
        return "values"
    if n_long > 1:
        return "map" if isinstance(final, Softmax) or (whole and given is not None and given.ndim > 1) else "values"
    if n_long == 1:
        if isinstance(final, Sigmoid):
            return "multilabel"
        as_values = given is not None and given.dtype.kind == "f" and given.shape[1:] == shape and not _whole(given)
        return "values" if as_values and final is None else "classes"
    yes_or_no = given is not None and given.dtype.kind in "biuf" and bool(np.isin(given, (0, 1)).all())
    return "binary" if isinstance(final, Sigmoid) or yes_or_no else "values"


def _whole(numbers: AnyArray) -> bool:
    with np.errstate(invalid="ignore"):
        return bool((numbers == np.floor(numbers)).all())


def _class_axis(network: Network) -> int:
    """Return along which axis the classes of a map lie: the last softmax's, or else the (first) shortest."""
    shape, last = network.output_shape, network.nodes[-1].layer if network.nodes else None
    if isinstance(last, Softmax) and len(last.axes) == 1:
        return int(last.axes[0])
    return int(np.argmin(shape)) if shape else 0
