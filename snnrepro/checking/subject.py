"""A model under check: read, converted and run once, whatever number of tests ask for it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import numpy as np

from snnrepro.checking.settings import Settings
from snnrepro.errors import SnnReproError
from snnrepro.network.graph import Network
from snnrepro.readers.load import load
from snnrepro.spiking.convert import MOST_IMAGES as MOST_CALIBRATING
from snnrepro.spiking.convert import convert
from snnrepro.spiking.evaluate import evaluate
from snnrepro.spiking.images import looked_at
from snnrepro.user_images import apart, gathered, is_one_set, read_images
from snnrepro.verification import verify

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.spiking.evaluate import Evaluation
    from snnrepro.spiking.network import SpikingNetwork
    from snnrepro.spiking.run import Run
    from snnrepro.verification import Verification

_COMPARED = 100
"""Images on which every layer is compared."""


class Images(NamedTuple):
    """Images ``(n_images, ...)``, and their labels or None."""

    x: AnyArray
    y: AnyArray | None


class UnusableError(SnnReproError):
    """What a test needs could not be made; it says so in full once, and then in a line."""


class Subject:
    """A model under check; everything is made when it is first asked for, and kept.

    Parameters
    ----------
    settings : Settings
        Which model, which images, and how it is converted.

    Attributes
    ----------
    figures : dict of str to Any
        What checks measured of it.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.figures: dict[str, Any] = {}
        self._made: dict[str, Any] = {}

    @property
    def network(self) -> Network:
        """The trained network."""
        return self._once("read", self._network)  # type: ignore[no-any-return]

    @property
    def images(self) -> tuple[Images, Images]:
        """The images that neurons are fitted on, and those that it is judged on: none are both."""
        return self._once("images", self._images)  # type: ignore[no-any-return]

    @property
    def spiking(self) -> SpikingNetwork:
        """The spiking network."""
        return self._once("convert", self._spiking)  # type: ignore[no-any-return]

    @property
    def run(self) -> Run:
        """Its run on the images that it is judged on."""
        return self._once("run", self._run)[0]  # type: ignore[no-any-return]

    @property
    def seconds(self) -> float:
        """How long that run took."""
        return self._once("run", self._run)[1]  # type: ignore[no-any-return]

    @property
    def evaluation(self) -> Evaluation:
        """How good it is, beside the trained network."""
        return self._once("judge", lambda: evaluate(self.spiking, self.run, *self.images[1]))  # type: ignore[no-any-return]

    @property
    def verification(self) -> Verification:
        """Every hop compared, layer by layer."""
        return self._once("verify", self._verification)  # type: ignore[no-any-return]

    @property
    def judged(self) -> Evaluation | None:
        """The evaluation, if there is one yet."""
        evaluation = self._made.get("judge")
        return None if isinstance(evaluation, Exception) else evaluation

    def few(self, most: int) -> AnyArray:
        """Return at most so many of the images that it is judged on, evenly spread."""
        x = self.images[1].x
        return x[:: looked_at(len(x), most).step]

    def _once(self, what: str, make: Callable[[], Any]) -> Any:
        made = self._made.get(what)
        if isinstance(made, UnusableError):
            raise made
        if isinstance(made, Exception):
            raise UnusableError(f"{str(made).splitlines()[0]} (see the first failure)")
        if made is None:
            try:
                made = self._made[what] = make()
            except UnusableError as error:
                self._made[what] = error
                raise
            except SnnReproError as error:
                self._made[what] = error
                raise UnusableError(str(error)) from error
        return made

    def _network(self) -> Network:
        settings = self.settings
        if isinstance(settings.model, Network):
            return settings.model
        return load(settings.model, settings.shapes, settings.outputs, settings.constants)

    def _images(self) -> tuple[Images, Images]:
        settings, shape = self.settings, self.network.input_shape
        calibration = settings.calibration
        if calibration is None and isinstance(settings.data, (str, Path)) and not is_one_set(Path(settings.data)):
            calibration = settings.data
        if calibration is not None:
            fitted = _spread(_given(calibration, shape, "train"), MOST_CALIBRATING)
            return fitted, _spread(_given(settings.data, shape, "test"), settings.n_images)
        parts = apart(*_given(settings.data, shape, "test"), MOST_CALIBRATING, settings.n_images)
        return Images(parts.fitted, parts.fitted_labels), Images(parts.judged, parts.judged_labels)

    def _spiking(self) -> SpikingNetwork:
        settings, (x, y) = self.settings, self.images[0]
        max_loss = settings.max_loss if settings.n_steps is None else None
        given = x if y is None else (x, y)
        return convert(
            self.network,
            settings.recipe,
            given,
            settings.n_steps,
            max_loss,
            task=settings.task,
            weights=settings.weights,
            neurons_per_activation=settings.neurons_per_activation,
        )

    def _run(self) -> tuple[Run, float]:
        spiking, (_, judged) = self.spiking, self.images
        spiking.run(self.few(1))  # the first run plans and compiles
        begun = time.perf_counter()
        run = spiking.run(judged.x)
        return run, time.perf_counter() - begun

    def _verification(self) -> Verification:
        settings = self.settings
        chosen = {"shapes": settings.shapes, "outputs": settings.outputs, "constants": settings.constants}
        return verify(settings.model, self.spiking, self.few(_COMPARED), **chosen)


def _given(data: Any, shape: tuple[int, ...], part: str) -> Images:
    if isinstance(data, (str, Path)):
        return Images(*read_images(Path(data), part))
    x, y = gathered(data, shape)
    return Images(np.asarray(x), None if y is None else np.asarray(y))


def _spread(images: Images, most: int) -> Images:
    """Return at most so many of the images, evenly spread; they are read, where they were mapped."""
    step = looked_at(len(images.x), most).step
    return Images(np.asarray(images.x[::step]), None if images.y is None else images.y[::step])
