"""Figures of merit: accuracy with its interval, likeness of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
