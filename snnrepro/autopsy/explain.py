"""Where the accuracy of a conversion goes: for every layer what it costs, and by what."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Mapping

from snnrepro.arrays import pieces
from snnrepro.autopsy.costs import LayerCost, rank
from snnrepro.autopsy.cures import Cure, cheapest, tried
from snnrepro.autopsy.stages import NUMBERS, Stages, numbers_per_image
from snnrepro.errors import DataError, ModelError
from snnrepro.inputs import checked_images
from snnrepro.metrics import Loss
from snnrepro.network.task import task_of
from snnrepro.spiking.images import warn_of_unlike
from snnrepro.spiking.run import within
from snnrepro.user_images import gathered

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.spiking.network import SpikingNetwork
    from snnrepro.spiking.run import Progress


@dataclass(frozen=True)
class Autopsy:
    """Where the accuracy of a conversion goes.

    Attributes
    ----------
    figure : str
        In whose points losses are: the task's figure of merit, or "answers" without labels.
    n_images, n_steps : int
        What was simulated.
    total : Loss
        What the spiking network loses to the trained one.
    layers : tuple of LayerCost
        In order; what fits of functions cost comes first, what the readout costs last.
    cures : tuple of Cure
        What was tried, and what it loses; none without calibration images.
    scatter : mapping of str to (numpy.ndarray, numpy.ndarray)
        By population, some of the trained activations and of the mean outputs that stand for them.
    """

    figure: str
    n_images: int
    n_steps: int
    total: Loss
    layers: tuple[LayerCost, ...]
    cures: tuple[Cure, ...] = ()
    scatter: Mapping[str, tuple[AnyArray, AnyArray]] = field(default_factory=dict, compare=False)

    @property
    def worst(self) -> LayerCost:
        """The layer that costs most: by points, where they are more than chance, and then by the margin."""
        return max(self.layers, key=rank)

    @property
    def first_flip(self) -> LayerCost | None:
        """The first layer at which an answer changes for good."""
        return next((layer for layer in self.layers if layer.flips), None)

    @property
    def cheapest_cure(self) -> Cure | None:
        """Of what was tried and wins back half of the loss at least, what takes the fewest operations."""
        return cheapest(self.cures, self.total)

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers."""
        best = self.cheapest_cure
        return {
            **{name: getattr(self, name) for name in ("figure", "n_images", "n_steps")},
            "total": asdict(self.total),
            "layers": [{"margin": one.margin, **asdict(one)} for one in self.layers],
            "cures": [asdict(cure) for cure in self.cures],
            "cheapest_cure": None if best is None else best.what,
        }


def explain(
    spiking: SpikingNetwork,
    x: Any,
    labels: Any = None,
    calibration: Any = None,
    progress: Progress | None = None,
) -> Autopsy:
    """Say where the accuracy of a conversion goes: by layer, by cause, and what would win it back.

    Layer after layer, the mean outputs of the simulated neurons take the place of the trained activations, and all
    behind is as trained; what that changes is what the layer costs. On the way from the one to the other stand the
    activations that are not above what neurons can fire (clipping), and what the neurons give for the same input evenly
    spread (quantisation; from there to the simulation: timing). So the parts sum to the whole. Errors that a layer
    inherits count where they arose.

    Parameters
    ----------
    spiking : SpikingNetwork
        What `snnrepro.convert` made.
    x : array_like
        A hundred images or some more, ``(n_images, *input_shape)``.
    labels : array_like, optional
        As its task takes them; without them the trained network's answers stand for them.
    calibration : array_like, optional
        Images like those that it was calibrated on: with them cures are tried.
    progress : callable, optional
        Called with the fraction of the work done since the last call.

    Returns
    -------
    Autopsy
        Losses by layer and cause, the layer at which answers change first, and the cheapest cure.

    Raises
    ------
    DataError
        There are no images, or `x` or the labels do not fit.
    ModelError
        Its weights are rounded, or it has several neurons for each activation.

    Examples
    --------
    >>> import numpy as np, snnrepro as snn
    >>> from snnrepro.network.graph import Network, Node
    >>> from snnrepro.network.layers import Dense, ReLU
    >>> hidden = Node("hidden", ("x",), Dense(np.array([[1.0, -1.0]]), np.zeros(2)))
    >>> net = Network("x", (1,), (hidden, Node("relu", ("hidden",), ReLU())), {})
    >>> images = np.random.RandomState(0).uniform(-1, 1, (300, 1))
    >>> spiking = snn.convert(net, calibration=images, n_steps=2)
    >>> autopsy = snn.explain(spiking, images)
    >>> [layer.name for layer in autopsy.layers]
    ['relu', 'readout']
    >>> abs(sum(layer.loss.points for layer in autopsy.layers) - autopsy.total.points) < 1e-9
    True
    """
    if spiking.fixed is not None:
        raise ModelError(
            f"what {spiking.weights} weights lose is not told apart from what neurons lose: explain a conversion with "
            "weights='float32'"
        )
    if spiking.neurons_per_activation > 1:
        raise ModelError(
            f"what each of {spiking.neurons_per_activation} neurons for an activation loses is not told apart: explain "
            "a conversion with neurons_per_activation=1"
        )
    given, own = gathered(x, spiking.network.input_shape)
    labels = own if labels is None else labels
    images = checked_images(given, spiking.network.input_shape)
    if not len(images):
        raise DataError("at least one image is needed, got none")
    warn_of_unlike(images, spiking.provenance.get("images"))
    task = task_of(spiking.network, spiking.task, labels)
    wanted = None if labels is None else task.labels(labels, len(images))
    done = progress or (lambda _: None)
    replays = within(done, 0.5 if calibration is not None else 1.0)
    found = Stages(spiking, task)
    for part in pieces(images, numbers_per_image(spiking), NUMBERS, len(images), even=True):
        found.add(part, within(replays, len(part) / len(images)))
    layers, total = found.layers(wanted)
    figure = "answers" if wanted is None else task.figure
    cures: tuple[Cure, ...] = ()
    if calibration is not None:
        neurons = [layer for layer in layers if layer.name in spiking.populations]
        worst = max(neurons, key=rank).name if neurons else None
        cures = tried(spiking, images, wanted, found.trained_answers, task, calibration, worst, within(done, 0.5))
    return Autopsy(figure, len(images), spiking.n_steps, total, layers, cures, found.scatter)
