"""What a layer of a conversion costs, by cause."""

from __future__ import annotations

import math
from dataclasses import dataclass

from snnrepro.metrics import Loss

CAUSES = ("clipping", "quantisation", "timing")
"""Clipping: activations above what a neuron can fire. Quantisation: few steps tell few values apart, and thresholds may
not fit. Timing: spikes that come unevenly; the same number of them, evenly spread, would be right."""


@dataclass(frozen=True)
class Part:
    """What one layer costs by one cause.

    Attributes
    ----------
    cause : str
        One of `CAUSES`; "functions" for fits of curved functions, "readout" for the readout's filter and correction.
    loss : Loss
        In points of the task's figure of merit, beside what stood before it.
    margin : float
        What the answers' lead over the next best ones loses by it, mean over the images, in logits; nan where answers
        are no classes.
    """

    cause: str
    loss: Loss
    margin: float


@dataclass(frozen=True)
class Channel:
    """What one channel of a layer adds to what it inherits.

    Attributes
    ----------
    number : int
        From 0 on.
    share : float
        Its share of the layer's own error.
    flips : int
        Of some images whose answer the layer changes, how many had the trained answer again if this channel alone were
        exact.
    """

    number: int
    share: float
    flips: int


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs.

    Attributes
    ----------
    name : str
        Of the population, or of the readout.
    loss : Loss
        What it costs by all causes; the points of all layers sum to those of the whole.
    parts : tuple of Part
        By cause; their points and margins sum to the layer's.
    inherited : float
        Points lost before it: by the layers that it reads.
    if_exact : Loss or None
        What would be won back if this layer alone were exact, below 0; None for the readout.
    if_exact_until_here : Loss or None
        What is lost if this layer and all before it are exact.
    flips : int
        Images whose answer changes here, and is not the trained network's from here on.
    channels : tuple of Channel
        Those that flip most answers, and then those that are farthest from what they stand for.
    """

    name: str
    loss: Loss
    parts: tuple[Part, ...]
    inherited: float = 0.0
    if_exact: Loss | None = None
    if_exact_until_here: Loss | None = None
    flips: int = 0
    channels: tuple[Channel, ...] = ()

    @property
    def margin(self) -> float:
        """What margin it costs by all causes."""
        return sum(part.margin for part in self.parts)

    @property
    def worst(self) -> Part:
        """The part that costs most; see `rank`."""
        return max(self.parts, key=rank)


def rank(cost: Part | LayerCost) -> tuple[float, float]:
    """Return by what costs are put in order: points, where they are more than chance, and then the margin."""
    margin = -math.inf if math.isnan(cost.margin) else cost.margin
    return (cost.loss.points if cost.loss.low > 0 else 0.0), margin
