"""What the tests of the simulators draw: spiking networks whose arithmetic is exact in float32, in any order of sums.

Weights, thresholds, amplitudes and images are small multiples of a power of two, so that two simulators that do the
same give the same numbers bit for bit, and a spike is never a matter of rounding. `is_exact` says whether a case keeps
within float32's 24 bits; `drawn_cases` draws only such that do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Function,
    MaxPool,
    Multiply,
    Pad,
    Reduce,
    ReLU,
    Reshape,
    Select,
    Sigmoid,
    Softmax,
    Transpose,
)
from snnrepro.network.layers import LeakyReLU as Leaky
from snnrepro.network.padding import same_pads
from snnrepro.simulators.plain import Stepper
from snnrepro.spiking.network import SpikingNetwork
from snnrepro.spiking.neurons import IF, Population
from snnrepro.spiking.prepare import prepare

BLOCKS = ("conv", "conv_transpose", "average", "maximum", "residual", "concat", "select", "pad", "affine", "transpose")
"""What may stand between two layers of neurons; "running" may, too, where few steps keep it exact."""

HEADS = ("image", "flat", "flat", "rows")
"""What may stand at the end: the image itself, or a dense layer over all of it ("flat") or over its rows."""


@dataclass(frozen=True, eq=False)
class Case:
    """A spiking network, images for it, and for how many steps its arithmetic is exact."""

    spiking: SpikingNetwork
    x: np.ndarray
    n_steps: int


@st.composite
def drawn_cases(
    draw,
    blocks=BLOCKS,
    max_blocks=4,
    max_images=3,
    growths=(1.0, 1.0, 1.25, 1.5),
    max_steps=6,
    heads=HEADS,
    per_activation=1,
):
    """Draw a `Case` in which neurons fire, at some step and not all of them at every step.

    Parameters
    ----------
    blocks : sequence of str
        Which kinds of layers stand between the neurons, of `BLOCKS`.
    growths : sequence of float
        Of which one is drawn; above 1 only four steps are, for their bits.
    heads : sequence of str
        Which of `HEADS` may stand at the end; only "flat" gives a score for each class.
    per_activation : int
        How many neurons stand for each activation: a power of two, or their mean is not exact.
    """
    growth = draw(st.sampled_from(growths))
    network = draw(image_networks(blocks, max_blocks, heads))
    spiking = draw(spiking_networks(network, growth, per_activation))
    n_steps = draw(st.integers(2, max_steps if growth == 1 else min(4, max_steps)))
    n_images = draw(st.integers(1, max_images))
    x = _dyadic(_rng(draw), (n_images, *network.input_shape), 0, 4, 4)
    assume(_fires(spiking.simulated, x, n_steps) and is_exact(spiking.simulated, x, n_steps))
    return Case(spiking, x, n_steps)


@st.composite
def spiking_networks(draw, network, growth=1.0, per_activation=1):
    """Draw integrate-and-fire neurons of one growth for a trained network, most with constants one a channel."""
    prepared = prepare(network)
    rng = _rng(draw)
    populations = {}
    for node in prepared.network.nodes:
        if isinstance(node.layer, ReLU):
            channels, *space = prepared.network.shapes[node.name]
            shape = (per_activation * channels, *space)
            populations[node.name] = draw(_populations(rng, shape, growth))
    correction = None
    if draw(st.booleans()):
        correction = _dyadic(rng, prepared.network.shapes[prepared.readout], -2, 2, 4)
    return SpikingNetwork(
        prepared.network,
        prepared.readout,
        populations,
        correction=correction,
        neurons_per_activation=per_activation,
    )


@st.composite
def _populations(draw, rng, shape, growth):
    reset = draw(st.sampled_from(["subtract", "subtract", "zero"]))
    max_spikes = 1 if reset == "zero" else draw(st.sampled_from([1, 1, 2]))
    per_neuron = draw(st.integers(0, 3)) == 0
    constants = shape if per_neuron else (shape[0], *[1] * (len(shape) - 1))
    # Powers of two: with several spikes a step their number is a quotient.
    amplitude = 2.0 ** rng.randint(-2, 2, constants)
    threshold = amplitude * rng.choice([0.5, 1.0, 1.0], constants)
    initial = amplitude * rng.choice([0.0, 0.5, 0.25], constants)
    bias = np.zeros(constants) if draw(st.booleans()) else _dyadic(rng, constants, -1, 2, 8)
    subtracted = amplitude * rng.choice([1.0, 1.0, 0.5, 2.0], constants)
    return Population(IF(None, growth, reset, max_spikes), threshold, amplitude, initial, bias, subtracted)


@st.composite
def image_networks(draw, blocks=BLOCKS, max_blocks=4, heads=HEADS):
    """Draw a trained network over small images, channels first, that are neither square nor symmetric.

    A chain of blocks with residual connections inside; between them rectifiers, leaky ones among them; at the end a
    dense layer with or without a softmax, or the image itself with or without a sigmoid.
    """
    drawing = _Drawing(draw)
    kinds = draw(st.lists(st.sampled_from(blocks), min_size=1, max_size=max_blocks))
    if draw(st.integers(0, 3)):
        drawing.conv()
        drawing.rectifier()
    for kind in kinds:
        getattr(drawing, kind)()
        if draw(st.integers(0, 2)):
            drawing.rectifier()
    if not drawing.has_neurons:
        drawing.rectifier()
    drawing.head(heads)
    return Network("image", drawing.input_shape, tuple(drawing.nodes), {})


class _Drawing:
    """A network that grows at its end: the value drawn last, its shape, the nodes so far."""

    def __init__(self, draw):
        self.draw, self.rng = draw, _rng(draw)
        self.input_shape = (draw(st.integers(1, 3)), draw(st.integers(2, 6)), draw(st.integers(2, 5)))
        self.nodes = []
        self.value = "image"
        self.has_neurons = False

    @property
    def shape(self):
        return (
            Network("image", self.input_shape, tuple(self.nodes), {}).shapes[self.value]
            if self.nodes
            else self.input_shape
        )

    def add(self, layer, *inputs):
        name = f"{type(layer).__name__.lower()}/{len(self.nodes)}:0"
        self.nodes.append(Node(name, inputs or (self.value,), layer))
        self.value = name

    def weights(self, *shape):
        return _dyadic(self.rng, shape, -2, 3, 2) * (self.rng.rand(*shape) < 0.7)

    def bias(self, n):
        return np.zeros(n) if self.draw(st.booleans()) else _dyadic(self.rng, (n,), -1, 2, 4)

    def rectifier(self):
        self.has_neurons = True
        if self.draw(st.integers(0, 3)) == 0:
            shape = self.draw(st.sampled_from([(), (self.shape[0], 1, 1)]))
            self.add(Leaky(np.full(shape, 0.25)))
        else:
            self.add(ReLU())

    def windows(self, largest_pad=2, smallest_pad=0, kernels=(1, 2, 3)):
        """Return kernel, strides, dilations and pads, of windows that fit at least once."""
        axes = []
        for size in self.shape[1:]:
            kernel, stride = self.draw(st.sampled_from(kernels)), self.draw(st.integers(1, 2))
            dilation = self.draw(st.sampled_from([1, 1, 2]))
            least = max(smallest_pad, 1 - size) if size > 2 else 0
            most = min(largest_pad, kernel - 1) if largest_pad is None else largest_pad
            pad = tuple(self.draw(st.integers(least, most)) for _ in range(2))
            if size + sum(pad) < dilation * (kernel - 1) + 1:
                kernel, dilation, pad = 1, 1, (0, 0)
            axes.append((kernel, stride, dilation, pad))
        return tuple(zip(*axes))

    def conv(self):
        channels = self.shape[0]
        groups = self.draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
        out = groups * self.draw(st.integers(1, max(1, 4 // groups)))
        kernel, strides, dilations, pads = self.windows(smallest_pad=-1)
        if self.draw(st.integers(0, 2)) == 0:
            pads = same_pads(self.shape[1:], kernel, strides, dilations, upper=self.draw(st.booleans()))
        self.add(Conv(self.weights(out, channels // groups, *kernel), self.bias(out), strides, dilations, pads, groups))

    def conv_transpose(self):
        channels, *space = self.shape
        if math.prod(self.shape) > 60:
            return
        groups = self.draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
        per_group = self.draw(st.integers(1, max(1, 4 // groups)))
        kernel, strides, dilations, pads = zip(*(self._transposed_axis(size) for size in space))
        weights = self.weights(channels, per_group, *kernel)
        self.add(ConvTranspose(weights, self.bias(groups * per_group), strides, dilations, pads, groups))

    def _transposed_axis(self, size):
        kernel, stride, dilation = (self.draw(st.integers(1, most)) for most in (3, 2, 2))
        full = (size - 1) * stride + dilation * (kernel - 1) + 1
        before = self.draw(st.integers(0, min(1, full - 1)))
        # Below 0: rows of bias alone, as ONNX's output_padding gives.
        after = self.draw(st.integers(1 - stride, min(1, full - 1 - before)))
        return kernel, stride, dilation, (before, after)

    def average(self):
        if self.draw(st.integers(0, 3)) == 0 and _is_power(math.prod(self.shape[1:])):
            self.add(Reduce("mean", (1, 2)))
            return
        kernel, strides, dilations, pads = self.windows(1, kernels=(1, 2))
        self.add(AveragePool(kernel, strides, dilations, pads, pads))

    def maximum(self):
        if self.draw(st.integers(0, 3)) == 0:
            self.add(Reduce("max", self.draw(st.sampled_from([(1, 2), (2,), (0,)]))))
            return
        if self.draw(st.booleans()):
            self.affine()  # below 0 too, where padding must not win
        kernel, strides, dilations, _ = self.windows(0)
        fits = zip(self.shape[1:], kernel, dilations)
        # A pad below the dilation leaves something of the image in every window.
        pads = tuple((self.draw(st.integers(0, min(k - 1, 1))), 0) if d == 1 else (0, 0) for _, k, d in fits)
        self.add(MaxPool(kernel, strides, dilations, pads))

    def residual(self):
        before, channels = self.value, self.shape[0]
        self.add(Conv(self.weights(channels, channels, 3, 3), self.bias(channels), (1, 1), (1, 1), ((1, 1), (1, 1))))
        if self.draw(st.booleans()):
            self.rectifier()
        self.add(Add(), before, self.value)

    def concat(self):
        before = self.value
        if self.draw(st.booleans()):
            self.rectifier()
        else:
            self.affine()
        self.add(Concat(self.draw(st.integers(0, 2))), *self.draw(st.permutations([before, self.value])))

    def select(self):
        indices = []
        for size in self.shape:
            kinds = [None, tuple(range(0, size, 2)), tuple(range(size))[::-1]]
            if math.prod(self.shape) <= 60:  # nearest-neighbour upsampling
                kinds.append(tuple(np.repeat(np.arange(size), 2).tolist()))
            indices.append(self.draw(st.sampled_from(kinds)))
        self.add(Select(tuple(indices)))

    def pad(self):
        pads = tuple(tuple(self.draw(st.integers(-1 if size > 2 else 0, 1)) for _ in range(2)) for size in self.shape)
        self.add(Pad(pads, self.draw(st.sampled_from([0.0, 0.5]))))

    def running(self):
        """Add a product of two values, or a square: exact where the sum of the steps' weights is a power of two."""
        if self.draw(st.booleans()):
            self.add(Function("x * x"))
        else:
            before = self.value
            self.affine()
            self.add(Multiply(), *self.draw(st.permutations([before, self.value])))

    def affine(self):
        shape = self.draw(st.sampled_from([(), (self.shape[0], 1, 1), (1, 1, self.shape[2]), self.shape]))
        self.add(Affine(_dyadic(self.rng, shape, -2, 3, 2), _dyadic(self.rng, shape, -1, 2, 4)))

    def transpose(self):
        self.add(Transpose(tuple(self.draw(st.permutations(range(3))))))

    def head(self, kinds):
        kind = self.draw(st.sampled_from(kinds))
        if kind == "flat":
            self.add(Reshape((math.prod(self.shape),)))
        if kind != "image":
            n = self.shape[-1]
            self.add(Dense(self.weights(n, 3), self.bias(3)))
        if self.draw(st.integers(0, 2)) == 0:
            self.add(Sigmoid() if kind == "image" else Softmax((len(self.shape) - 1,)))


def is_exact(spiking, x, n_steps):
    """Whether every value of every step is a multiple of 2^-14, small enough for the sums on the way to fit too."""
    stepper = Stepper(spiking, x)
    for _ in range(n_steps):
        stepper.step()
        for value in stepper.values.values():
            scaled = value * np.float32(2**14)
            if np.any(scaled != np.rint(scaled)) or np.abs(scaled).max(initial=0) > 2**20:
                return False
    return True


def _fires(spiking, x, n_steps):
    """Whether some neuron fires, and some neuron does not in some step."""
    stepper = Stepper(spiking, x)
    fired, silent = False, False
    for _ in range(n_steps):
        stepper.step()
        for output in stepper.outputs.values():
            fired, silent = fired or bool(output.any()), silent or not output.all()
    return fired and silent


def _rng(draw):
    return np.random.RandomState(draw(st.integers(0, 2**32 - 1)))


def _dyadic(rng, shape, low, high, parts):
    """Return multiples of ``1 / parts`` from ``low / parts`` up to below ``high / parts``, float32."""
    return (rng.randint(low, high, shape) / parts).astype(np.float32)


def _is_power(n):
    return n & (n - 1) == 0
