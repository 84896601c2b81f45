"""A part of an ONNX model that stays as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from snnrepro.arrays import constant
from snnrepro.errors import ModelError, one_line
from snnrepro.network.layers.base import Layer, whole_numbers
from snnrepro.network.padding import LARGEST, Shape

if TYPE_CHECKING:
    from snnrepro.arrays import ByteArray, FloatArray

_SESSIONS: WeakKeyDictionary[OnnxPart, Any] = WeakKeyDictionary()
_GRAPHS: WeakKeyDictionary[OnnxPart, Any] = WeakKeyDictionary()
"""Kept apart from the layers, which are data."""


@dataclass(frozen=True, eq=False)
class OnnxPart(Layer):
    """A part of an ONNX model before the first neurons or behind the last ones, computed by onnxruntime.

    It computes one image at a time, so that an image has the same answer in every batch. Of the spiking network it is
    what is computed once: from the image, or from the readout.

    Attributes
    ----------
    model : numpy.ndarray
        The ONNX model that is the part, serialised: uint8, one axis. Its inputs, in order, are what the layer reads,
        with a batch axis of 1 in front, as its one output has; whole numbers come as such and go as float32.
    reads : tuple of tuple of int
        The shapes of what it reads, without the batch axis.
    shape : tuple of int
        Of its value, without the batch axis.
    multiply_adds : int
        Of one image, in its linear and recurrent operators.
    """

    model: ByteArray
    reads: tuple[tuple[int, ...], ...]
    shape: tuple[int, ...]
    multiply_adds: int = 0

    reads_several = True

    def __post_init__(self) -> None:
        model = self.model
        if not isinstance(model, np.ndarray) or model.dtype != np.uint8 or model.ndim != 1 or not model.size:
            self._refuse("model", "a serialised ONNX model, a uint8 array with one axis")
        self._keep("model", constant(model.copy()))
        given = self.reads
        reads = [whole_numbers(shape, 1) for shape in given] if isinstance(given, (tuple, list)) and given else [None]
        if None in reads:
            self._refuse("reads", f"a tuple of shapes, each of whole numbers from 1 to {LARGEST}")
        self._keep("reads", tuple(reads))
        self._check_whole("shape", 1)
        self._check_integer("multiply_adds", 0)

    def _shape(self, *shapes: Shape) -> Shape:
        if shapes != self.reads:
            raise ModelError(f"values of {list(self.reads)} are needed, got {list(shapes)}")
        return self.shape

    @property
    def operators(self) -> tuple[str, ...]:
        """The types of its operators, in order."""
        return tuple(node.op_type for node in self._graph.node)

    @property
    def parameters(self) -> int:
        """How many numbers its constants have."""
        return sum(math.prod(tensor.dims) for tensor in self._graph.initializer)

    @property
    def _graph(self) -> Any:
        if self not in _GRAPHS:
            import onnx

            graph = onnx.load_model_from_string(self.model.tobytes()).graph
            for tensor in graph.initializer:  # the numbers, which `model` has: shapes are enough here
                tensor.ClearField("raw_data")
            _GRAPHS[self] = graph
        return _GRAPHS[self]

    def __call__(self, *values: FloatArray) -> FloatArray:
        from snnrepro.frameworks.onnxruntime import numpy_type

        answers = np.empty((len(values[0]), *self.shape), np.float32)
        try:
            session = self._session()
            inputs = [(given.name, numpy_type(given.type)) for given in session.get_inputs()]
            for place in range(len(answers)):
                feed: dict[str, Any] = {
                    name: value[place : place + 1].astype(dtype) for (name, dtype), value in zip(inputs, values)
                }
                (answer,) = session.run(None, feed)
                answers[place] = np.reshape(answer, self.shape)
        except Exception as error:  # onnxruntime's exceptions share no public base class
            raise ModelError(f"onnxruntime cannot compute a part of the model ({one_line(error)})") from error
        return answers

    def _session(self) -> Any:
        if self not in _SESSIONS:
            from snnrepro.frameworks.onnxruntime import session

            _SESSIONS[self] = session(self.model.tobytes(), n_threads=1)
        return _SESSIONS[self]
