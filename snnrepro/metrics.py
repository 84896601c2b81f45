"""Figures of merit: accuracy with its interval, likeness of images."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Mapping

import numpy as np

from snnrepro.errors import DataError, DependencyError

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, IntArray


@dataclass(frozen=True)
class Accuracy:
    """Share of right answers.

    Attributes
    ----------
    percent : float
        In %.
    low, high : float
        Ends of Wilson's 95 % interval of the binomial distribution, in %.
    n_images : int
        Of how many images.
    """

    percent: float
    low: float
    high: float
    n_images: int

    def __str__(self) -> str:
        return f"{self.percent:.2f} % ({self.low:.2f}–{self.high:.2f}, {self.n_images:,} images)"


def accuracy(predictions: IntArray, labels: IntArray) -> Accuracy:
    """Return the share of predictions that are the label, with its 95 % interval (Wilson 1927; through SciPy).

    Parameters
    ----------
    predictions, labels : numpy.ndarray
        ``(n_images,)``.

    Raises
    ------
    DataError
        There are none, or not equally many.

    Examples
    --------
    >>> print(accuracy(np.array([1, 2, 3, 3]), np.array([1, 2, 3, 4])))
    75.00 % (30.06–95.44, 4 images)
    """
    if np.shape(predictions) != np.shape(labels) or np.ndim(labels) != 1 or not len(labels):
        raise DataError(
            f"equally many predictions and labels are needed, got {np.shape(predictions)} and {np.shape(labels)}"
        )
    right = int(np.count_nonzero(np.asarray(predictions) == np.asarray(labels)))
    percent = 100.0 * right / len(labels)
    return Accuracy(percent, *interval(percent, len(labels)), len(labels))


def interval(percent: float, n_images: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of an accuracy in %, in %.

    Parameters
    ----------
    percent : float
        Share of right answers, in %.
    n_images : int
        Of how many.
    """
    from scipy.stats import binomtest

    found = binomtest(round(percent * n_images / 100), n_images).proportion_ci(0.95, method="wilson")
    return 100.0 * float(found.low), 100.0 * float(found.high)


@dataclass(frozen=True)
class Merit:
    """How good answers are, by the figure of merit of a task.

    Attributes
    ----------
    name : str
        Of the figure: "accuracy", "R²", ...
    percent : float
        Its value in %: 100 is the best there is.
    low, high : float
        Ends of its 95 % interval over the images, in %.
    n_images : int
        Of how many images.
    also : mapping of str to float
        Other figures of the same answers, in their own units.
    """

    name: str
    percent: float
    low: float
    high: float
    n_images: int
    also: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        others = "".join(f", {name} {value:.4g}" for name, value in self.also.items())
        return f"{self.name} {Accuracy(self.percent, self.low, self.high, self.n_images)}{others}"


@dataclass(frozen=True)
class Loss:
    """What one network's answers are worse than another's to the same images.

    Attributes
    ----------
    points : float
        The difference of their figures of merit in %: below 0 where they are better.
    low, high : float
        Ends of its 95 % interval.
    n_images : int
        Of how many images.
    standard_error : float
        Of `points`.
    lost, won : int or None
        Images that only the first, and only the second answered right; None where an answer is neither right nor wrong.
    """

    points: float
    low: float
    high: float
    n_images: int
    standard_error: float
    lost: int | None = None
    won: int | None = None

    def needed_images(self, points: float) -> int:
        """Return about how many such images can tell a loss of `points` from none (95 %), two digits of it."""
        needed = self.n_images * (1.96 * self.standard_error / points) ** 2 if points > 0 else math.inf
        if not math.isfinite(needed):
            return sys.maxsize
        unit: int = 10 ** max(0, len(str(int(needed))) - 2)
        return math.ceil(needed / unit) * unit

    def __str__(self) -> str:
        counted = "" if self.lost is None else f": {self.lost:,} answers lost, {self.won:,} won"
        return f"{self.points:.2f} points ({self.low:.2f} to {self.high:.2f}){counted}"


def lost_and_won(before: AnyArray, after: AnyArray) -> Loss:
    r"""Return how many answers were right before and not after, and the other way round, and what that loses.

    The interval is Agresti and Min's for matched proportions (Statistics in Medicine 24, 729-740, 2005): Wald's with
    half an answer more in each of the four counts, so that no difference at all still has an error.

    Parameters
    ----------
    before, after : numpy.ndarray
        bool, ``(n_images,)``: which answers are right.

    Examples
    --------
    >>> print(lost_and_won(np.array([True, True, False, True]), np.array([True, False, False, False])))
    50.00 points (-16.57 to 83.23): 2 answers lost, 0 won
    """
    lost, won = int(np.sum(before & ~after)), int(np.sum(after & ~before))
    n = len(before)
    centre = (lost - won) / (n + 2)
    error = math.sqrt(max((lost + won + 1) - (lost - won) ** 2 / (n + 2), 0.0)) / (n + 2)
    ends = (max(-1.0, centre - 1.96 * error), min(1.0, centre + 1.96 * error))
    return Loss(100 * (lost - won) / n, 100 * ends[0], 100 * ends[1], n, 100 * error, lost, won)


def resampled(figure: Callable[[AnyArray], AnyArray], counts: AnyArray) -> tuple[float, float, float]:
    """Return the 95 % interval of a figure over images drawn anew, and its standard error (bootstrap, through SciPy).

    Parameters
    ----------
    figure : callable
        Gives the figure for sums over images, ``(..., k) -> (...)``.
    counts : numpy.ndarray
        What is summed, ``(n_images, k)``.
    """
    from scipy.stats import bootstrap

    if len(counts) < 2:
        return -math.inf, math.inf, math.inf

    def statistic(images: AnyArray, axis: int = -1) -> AnyArray:
        return figure(counts[images].sum(axis=-2))

    found = bootstrap(
        (np.arange(len(counts)),),
        statistic,
        n_resamples=_RESAMPLES,
        batch=max(1, _NUMBERS // counts.size),
        method="percentile",
        random_state=np.random.RandomState(0),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high), float(found.standard_error)


_RESAMPLES = 1000
_NUMBERS = 2**23


def ssim(first: AnyArray, second: AnyArray, data_range: float = 1.0) -> AnyArray:
    r"""Return the structural similarity of pairs of images, float64, ``(n_images,)``.

    .. math:: \frac{2 \mu_a \mu_b + C_1}{\mu_a^2 + \mu_b^2 + C_1} \cdot
              \frac{2 \sigma_{ab} + C_2}{\sigma_a^2 + \sigma_b^2 + C_2}

    averaged over windows of 7 x 7, with :math:`C_1 = (0.01 L)^2` and :math:`C_2 = (0.03 L)^2` (Wang et al., IEEE Trans.
    Image Process. 13(4), 2004), through scikit-image.

    Parameters
    ----------
    first, second : numpy.ndarray
        ``(n_images, height, width)``, or with a last axis of one channel.
    data_range : float
        L, the pixels' range: 1 for [0, 1], 255 for bytes.

    Raises
    ------
    DataError
        The shapes differ.
    DependencyError
        scikit-image is missing.
    """
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise DependencyError("scikit-image is not installed; run: pip install scikit-image") from error
    a, b = (np.asarray(images, np.float64) for images in (first, second))
    if a.shape != b.shape or a.ndim not in (3, 4) or (a.ndim == 4 and a.shape[-1] != 1):
        raise DataError(f"images of one channel and equal shape are needed, got {a.shape} and {b.shape}")
    pairs = zip(a.reshape(a.shape[:3]), b.reshape(b.shape[:3]))
    options = {"data_range": data_range, "K1": 0.01, "K2": 0.03}
    return np.array([structural_similarity(one, other, **options) for one, other in pairs])
