"""Every layer that has no neurons, written with Nengo's connections and transforms."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Callable, Mapping

import numpy as np

from snnrepro.network.indexing import PADDING
from snnrepro.network.layers import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    OnnxPart,
    Pad,
    Reduce,
    Round,
)
from snnrepro.network.padding import same_pads
from snnrepro.simulators.nengo.views import View, matrix, whole

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, FloatArray
    from snnrepro.network.graph import Node
    from snnrepro.network.layers import Pads
    from snnrepro.spiking.network import SpikingNetwork


_IMAGES = 256
"""Of which a part's value is remembered: as many as are simulated together."""


class LayerWriter:
    """Writes layers into the Nengo network that is open.

    Parameters
    ----------
    spiking : SpikingNetwork
        Whose layers are written.

    Attributes
    ----------
    input : nengo.Node
        The image.
    values : dict of str to View
        Every value written so far, by node.
    weights, biases : dict of str to nengo.Connection
        As in `NengoNetwork`.
    """

    def __init__(self, spiking: SpikingNetwork) -> None:
        import nengo

        network, self.nengo = spiking.network, nengo
        self.spiking, self.shapes = spiking, network.shapes
        self.input = nengo.Node(np.zeros(math.prod(network.input_shape)))
        self.one = nengo.Node([1.0])
        self.values: dict[str, View] = {network.input_name: whole(self.input, network.input_shape)}
        self.weights: dict[str, Any] = {}
        self.biases: dict[str, Any] = {}

    def write_layer(self, node: Node, target: Any) -> None:
        """Add what a layer gives to `target`, a Nengo object as large as its value."""
        _WRITERS[type(node.layer)](self, node, target)

    def connect(self, source: Any, target: Any, synapse: Any = None, **options: Any) -> Any:
        """Add what `source` gives to `target`; in the same step without a synapse."""
        return self.nengo.Connection(source, target, synapse=synapse, **options)

    def connect_entries(self, source: Any, indices: AnyArray, target: Any, positions: AnyArray | None = None) -> None:
        """Add entries of `source` (`PADDING` for none) to the entries `positions` of `target`: all, if left out."""
        positions = np.arange(len(indices)) if positions is None else positions
        kept = indices != PADDING
        if kept.any():
            pre, post = source[indices[kept].tolist()], target
            if kept.sum() < target.size_in or not np.array_equal(positions, np.arange(target.size_in)):
                post = target[positions[kept].tolist()]
            self.connect(pre, post)

    def picked(self, view: View) -> Any:
        """Return a Nengo object, or a slice of one, that is the flattened value."""
        indices, source = view.indices.reshape(-1), view.source
        n = indices.size
        if (indices != PADDING).all():
            if np.array_equal(indices, np.arange(indices[0], indices[0] + n)):
                return source if n == source.size_out else source[int(indices[0]) : int(indices[0]) + n]
            return source[indices.tolist()]
        padded = self.nengo.Node(size_in=n)
        self.connect_entries(source, indices, padded)
        return padded

    def constant(self, values: AnyArray, target: Any) -> None:
        """Add a constant, one number per entry of `target`."""
        if np.any(values):
            self.connect(self.one, target, transform=np.reshape(values, (-1, 1)))

    def _dense(self, node: Node, target: Any) -> None:
        layer: Any = node.layer
        view = self.values[node.inputs[0]]
        if len(view.shape) > 1:  # over the last axis: a convolution with a kernel of 1, its channels moved in front
            n_out = layer.weights.shape[1]
            rows = View(view.source, view.indices.reshape(-1, view.shape[-1]).T[:, np.newaxis])
            convolved = self.nengo.Node(size_in=math.prod(self.shapes[node.name]))
            kernel = layer.weights[np.newaxis, np.newaxis]
            self._convolve(node.name, rows, kernel, (1, 1), ((0, 0), (0, 0)), convolved)
            back = np.arange(convolved.size_in).reshape(n_out, -1).T
            self.connect(self.picked(View(convolved, back)), target)
        else:
            source = self.picked(view)
            if len(np.unique(view.indices)) < view.indices.size:  # Nengo has no matrix behind repeated entries
                source = self.nengo.Node(size_in=view.indices.size)
                self.connect(self.picked(view), source)
            self.weights[node.name] = self.connect(source, target, transform=layer.weights.T)
        self._bias(node, target, axis=-1)

    def _bias(self, node: Node, target: Any, axis: int) -> None:
        """Add the bias of a linear layer, one number a channel, as a connection that can be read back."""
        layer: Any = node.layer
        shape = self.shapes[node.name]
        bias = layer.bias[:, np.newaxis]
        if len(shape) == 1:
            self.biases[node.name] = self.connect(self.one, target, transform=bias)
            return
        channels = self.nengo.Node(size_in=len(bias))
        self.biases[node.name] = self.connect(self.one, channels, transform=bias)
        per_channel = [1] * len(shape)
        per_channel[axis] = len(bias)
        view = View(channels, np.arange(len(bias)).reshape(per_channel)).broadcast(shape)
        self.connect(self.picked(view), target)

    def _convolution(self, node: Node, target: Any) -> None:
        layer: Any = node.layer
        n_axes = layer.weights.ndim - 2
        self._bias(node, target, axis=0)
        dilated = any(k > 1 and d > 1 for k, d in zip(layer.weights.shape[2:], layer.dilations))
        if layer.groups > 1 or dilated or n_axes > 2:
            self._sparse(node, target)
            return
        flat = n_axes == 1  # one spatial axis: an image of one row
        view = self.values[node.inputs[0]]
        if flat:
            view = View(view.source, view.indices[:, np.newaxis])
        weights = layer.weights[:, :, np.newaxis] if flat else layer.weights
        strides: tuple[int, ...] = (1, *layer.strides) if flat else layer.strides
        pads: Pads = ((0, 0), *layer.pads) if flat else layer.pads
        if isinstance(layer, Conv):
            self._convolve(node.name, view, weights.transpose(2, 3, 1, 0), strides, pads, target)
            return
        reach = weights.shape[2:]
        inner: Pads = tuple((k - 1 - before, k - 1 - after) for k, (before, after) in zip(reach, pads))
        kernel = weights.transpose(2, 3, 0, 1)[::-1, ::-1]
        self._convolve(node.name, view.spread(strides), kernel, (1, 1), inner, target)

    def _convolve(
        self, name: str, view: View, kernel: FloatArray, strides: tuple[int, ...], pads: Pads, target: Any
    ) -> None:
        """Connect a view of an image to `target` by a convolution, the kernel's axes (height, width, in, out)."""
        size, ones = kernel.shape[:2], (1,) * len(strides)
        # Nengo 3.1 has no "same" for a kernel smaller than its stride.
        fits = any(map(any, pads)) and all(k >= stride for k, stride in zip(size, strides))
        same = fits and pads == same_pads(view.shape[1:], size, strides, ones, upper=True)
        if not same:
            view = view.moved(Pad(((0, 0), *pads)))
        transform = self.nengo.Convolution(
            n_filters=kernel.shape[3],
            input_shape=view.shape,
            kernel_size=size,
            strides=strides,
            padding="same" if same else "valid",
            channels_last=False,
            init=kernel,
        )
        self.weights[name] = self.connect(self.picked(view), target, transform=transform)

    def _sparse(self, node: Node, target: Any) -> None:
        layer: Any = node.layer
        view = self.values[node.inputs[0]]
        linear = matrix(layer, view.shape, self.shapes[node.name]).of(view, view.source.size_out)
        # One 0 more than needed: NengoDL (3.4 to 3.6) cannot compare a matrix of ones alone with the identity.
        indices = np.stack([np.append(linear.rows, 0), np.append(linear.columns, 0)], axis=1)
        transform = self.nengo.Sparse(linear.shape, indices=indices, init=np.append(linear.values, np.float32(0)))
        self.connect(view.source, target, transform=transform)

    def _affine(self, node: Node, target: Any) -> None:
        layer: Any = node.layer
        shape = self.shapes[node.name]
        view = self.values[node.inputs[0]].broadcast(shape)
        scale = np.broadcast_to(layer.scale, shape).reshape(-1)
        self.connect(self.picked(view), target, transform=scale)
        self.constant(np.broadcast_to(layer.offset, shape), target)

    def _add(self, node: Node, target: Any) -> None:
        for name in node.inputs:
            view = self.values[name].broadcast(self.shapes[node.name])
            self.connect(self.picked(view), target)

    def _concat(self, node: Node, target: Any) -> None:
        layer: Any = node.layer
        positions = np.arange(math.prod(self.shapes[node.name])).reshape(self.shapes[node.name])
        start = 0
        for name in node.inputs:
            view = self.values[name]
            end = start + view.shape[layer.axis]
            taken = np.take(positions, np.arange(start, end), axis=layer.axis)
            self.connect_entries(view.source, view.indices.reshape(-1), target, taken.reshape(-1))
            start = end

    def _pad(self, node: Node, target: Any) -> None:
        layer: Any = node.layer
        view = self.values[node.inputs[0]].moved(layer)
        self.connect(self.picked(view), target)
        image = whole(None, self.shapes[node.inputs[0]]).moved(layer)
        self.constant(np.where(image.indices == PADDING, np.float32(layer.value), 0), target)

    def _part(self, node: Node, target: Any) -> None:
        """Compute what depends on the image alone, and Nengo has no object for; of each image once, not every step."""
        layer: Any = node.layer
        views = [self.values[name] for name in node.inputs]
        sizes = [view.indices.size for view in views]

        @lru_cache(maxsize=_IMAGES)
        def value(image: bytes) -> AnyArray:
            numbers = np.split(np.frombuffer(image, np.float32), np.cumsum(sizes)[:-1])
            result: AnyArray = layer(*(part.reshape(1, *view.shape) for part, view in zip(numbers, views)))
            return result.reshape(-1)

        computed = self.nengo.Node(
            lambda _, x: value(x.astype(np.float32).tobytes()), size_in=sum(sizes), size_out=target.size_in
        )
        start = 0
        for view, size in zip(views, sizes):
            self.connect(self.picked(view), computed[start : start + size])
            start += size
        self.connect(computed, target)


_WRITERS: Mapping[type, Callable[[LayerWriter, Any, Any], None]] = {
    Dense: LayerWriter._dense,
    Conv: LayerWriter._convolution,
    ConvTranspose: LayerWriter._convolution,
    AveragePool: LayerWriter._sparse,
    Reduce: LayerWriter._sparse,
    Affine: LayerWriter._affine,
    Add: LayerWriter._add,
    Concat: LayerWriter._concat,
    Pad: LayerWriter._pad,
    OnnxPart: LayerWriter._part,
    Round: LayerWriter._part,
}


def layers_of(
    spiking: SpikingNetwork, weights: Mapping[str, Any], biases: Mapping[str, Any], held: Callable[[Any], AnyArray]
) -> dict[str, Any]:
    """Return the layers, by name, whose weights and biases a simulator holds in Nengo's axes.

    Parameters
    ----------
    spiking : SpikingNetwork
        Gives everything else of each layer.
    weights, biases : mapping of str to nengo.Connection
        By node, as in `NengoNetwork`.
    held : callable
        Gives the weights of a connection.
    """
    layers: dict[str, Any] = {node.name: node.layer for node in spiking.network.nodes if node.name in weights}
    return {
        name: replace(
            layer, weights=_layers_axes(layer, held(weights[name])), bias=np.asarray(held(biases[name]))[:, 0]
        )
        for name, layer in layers.items()
    }


def _layers_axes(layer: Any, held: AnyArray) -> AnyArray:
    if isinstance(layer, Dense):
        return held[0, 0] if held.ndim == 4 else held.T
    kernel = held.transpose(3, 2, 0, 1) if isinstance(layer, Conv) else held[::-1, ::-1].transpose(2, 3, 0, 1)
    return kernel.reshape(layer.weights.shape)
