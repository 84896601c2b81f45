"""A model as it computes one image: what is constant then, of what shape and type the other values are, its parts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from snnrepro.errors import ModelError, one_line
from snnrepro.frameworks.onnxruntime import session
from snnrepro.network.layers import OnnxPart
from snnrepro.readers.left import WEIGHTED
from snnrepro.readers.signature import declared
from snnrepro.readers.stand_ins import infer
from snnrepro.readers.walk import has_graph, needed, without_graph

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.network.padding import Shape
    from snnrepro.readers.operators import Variable

Computed = Callable[["onnx.NodeProto", "Sequence[AnyArray | None]"], "Mapping[str, AnyArray]"]
"""Gives the outputs of a node by name for its inputs, all of them constants; a ModelError where it cannot."""

_RECURRENT = frozenset(("GRU", "LSTM", "RNN"))
_NEITHER = "it cannot be left to onnxruntime either"


@dataclass(frozen=True)
class _Value:
    """What is known of a value: its type, and its shape with the batch axis, or None."""

    kind: int
    shape: Shape | None


class Parts:
    """Cuts parts out of a model that onnxruntime computes, one image at a time.

    Parameters
    ----------
    model : onnx.ModelProto
        The model; its initializers are not looked at.
    source : Variable
        Its input.
    constants : mapping of str to numpy.ndarray
        Its initializers.
    computed : callable
        See `Computed`; of large results it may refuse to be asked.
    """

    def __init__(
        self, model: onnx.ModelProto, source: Variable, constants: Mapping[str, AnyArray], computed: Computed
    ) -> None:
        self._model, self._source = model, source
        self._constants = dict(constants)
        kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
        self._input = helper.make_tensor_value_info(source.name, kinds[source.name], (1, *source.shape))
        self._values: dict[str, _Value] = {}
        while self._fold(computed):
            pass

    def shape(self, name: str, any_type: bool = True) -> Shape:
        """Return the shape of a value, without the batch axis.

        Raises
        ------
        ModelError
            It is not known, or has no batch axis in front, or the value is no float32 and should be.
        """
        known = self._values.get(name, _Value(TensorProto.UNDEFINED, None))
        shape = known.shape or _declared_shape(self._model.graph, name)
        if shape is not None and shape[:1] != (1,) and any_type and 1 in shape:  # of an output it may be another one
            batch = shape.index(1)
            shape = (1, *shape[:batch], *shape[batch + 1 :])
        if shape is None or shape[:1] != (1,):
            where = "is not known before it is computed" if shape is None else f"{shape} has no batch axis in front"
            raise ModelError(f"{_NEITHER}: the shape of {name!r} {where}")
        if not any_type and known.kind != TensorProto.FLOAT:
            raise ModelError(f"{_NEITHER}: {name!r} is not float32")
        return shape[1:]

    def part(self, output: str, given: Mapping[str, Variable]) -> tuple[OnnxPart, list[str]]:
        """Return the part that computes one value, and what it reads, by name.

        Parameters
        ----------
        output : str
            The value.
        given : mapping of str to Variable
            What is computed outside of the part.

        Raises
        ------
        ModelError
            Its shape is not known, onnxruntime does not compute it, or it holds numbers that are none.
        """
        shape = self.shape(output)
        nodes, names = needed(self._model.graph, [output], {**self._constants, **given})
        held = {name: self._constants[name] for name in sorted(names) if name in self._constants}
        read = [name for name in given if name in names and name not in held]
        inputs = [
            self._input
            if name == self._source.name
            else helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, *given[name].shape))
            for name in read
        ]
        kind = self._values.get(output, _Value(0, None)).kind or TensorProto.FLOAT
        small = without_graph(self._model)
        small.graph.CopyFrom(
            helper.make_graph(
                nodes,
                "part",
                inputs,
                [helper.make_tensor_value_info(output, kind, None)],
                [numpy_helper.from_array(np.array(array, order="C"), name) for name, array in held.items()],
            )
        )
        whole = small.SerializeToString(deterministic=True)
        _check(whole, held)
        return OnnxPart(
            np.frombuffer(whole, np.uint8), tuple(given[name].shape for name in read), shape, self._multiply_adds(nodes)
        ), read

    def _fold(self, computed: Computed) -> bool:
        """Infer shapes, and with them compute what is constant for one image; whether anything more was."""
        nodes = [
            node for node in self._model.graph.node if not self._constants.keys() >= set(filter(None, node.output))
        ]
        found = infer(self._model, nodes, self._input, self._constants)
        self._values = {name: _Value(*known) for name, known in found.items()}
        more = False
        for node in nodes:
            shape = self._values.get(node.input[0], _Value(0, None)).shape if node.op_type == "Shape" else None
            try:
                if shape is not None:
                    attributes = {attribute.name: attribute.i for attribute in node.attribute}
                    sizes = np.array(shape, np.int64)[attributes.get("start", 0) : attributes.get("end")]
                    self._constants[node.output[0]] = sizes
                elif has_graph(node) or not all(name in self._constants for name in node.input if name):
                    continue
                else:
                    inputs = [self._constants[name] if name else None for name in node.input]
                    self._constants.update(computed(node, inputs))
                more = True
            except ModelError:
                continue
        return more

    def _multiply_adds(self, nodes: Sequence[onnx.NodeProto]) -> int:
        """Return the multiply-accumulate operations of one image, of nodes whose shapes are known."""

        def size(name: str) -> Shape:
            held = self._constants.get(name)
            return tuple(held.shape) if held is not None else self._values.get(name, _Value(0, None)).shape or ()

        total = 0
        for node in nodes:
            sizes = [size(name) for name in (*node.input, *node.output[:1])]
            if node.op_type in WEIGHTED and len(sizes) > 2:
                source, weights, target = sizes[0], sizes[1], sizes[-1]
                if node.op_type == "Conv":
                    total += math.prod(target) * math.prod(weights[1:])
                elif node.op_type == "ConvTranspose":
                    total += math.prod(source) * math.prod(weights[1:])
                else:
                    total += math.prod(target) * (source[-1] if source else 0)
            elif node.op_type in _RECURRENT and len(sizes) > 3 and sizes[0]:
                total += sizes[0][0] * (math.prod(sizes[1]) + math.prod(sizes[2]))
        return total


def _check(model: bytes, held: Mapping[str, AnyArray]) -> None:
    """Refuse a part that onnxruntime does not compute, or only to NaN; nothing is computed here."""
    strange = [name for name, array in held.items() if array.dtype.kind == "f" and np.isnan(array).any()]
    if strange:
        raise ModelError(f"{_NEITHER}: {strange[0]!r} holds NaN")
    try:
        session(model, as_written=True, n_threads=1)
    except Exception as error:  # onnxruntime's exceptions share no public base class
        raise ModelError(f"{_NEITHER} ({one_line(error)})") from error


def _declared_shape(graph: onnx.GraphProto, name: str) -> Shape | None:
    """Return what the model itself says of a value, where inference knows nothing (behind a Loop, say)."""
    for value in (*graph.output, *graph.value_info):
        sizes = declared(value) if value.name == name else None
        if sizes and None not in sizes[1:] and sizes[0] in (None, 1):
            return (1, *(size for size in sizes[1:] if size))
    return None
