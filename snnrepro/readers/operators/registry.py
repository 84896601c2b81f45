"""The registry of ONNX operators, keyed by operator type.

A handler's keyword parameters *are* the operator's attributes with the specification's defaults
(https://onnx.ai/onnx/operators/); an attribute it does not name is refused. It gets the `Call`, then the node's inputs
in order, each an array (a constant), a `Variable` (computed at run time) or None (left out), and returns a constant, a
variable, or a list of variables for a node with several outputs. What is an attribute in one operator set and an input
in another comes as an input.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.network import formula as formulas
from snnrepro.network.graph import Node
from snnrepro.network.layers import (
    Add,
    Affine,
    Function,
    LeakyReLU,
    Reduce,
    ReLU,
    Reshape,
    Select,
    Sigmoid,
    Transpose,
)

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.network.layers import Layer


@dataclass(frozen=True)
class Variable:
    """A value computed at run time.

    Attributes
    ----------
    name : str
        Its name.
    shape : tuple of int
        Its shape without the batch axis.
    folded : int
        How many axes of `shape`, the first ones, the model holds in the batch axis: a Reshape to (batch * time,
        features) before the product of a matrix with every row, as Keras writes it.
    batch_axis : int
        Where the model holds the batch axis, if a Transpose has moved it.
    rectified : bool
        Whether it is known to be nowhere below 0.
    bound : float or None
        The value meant is the smaller of this and that number; only a Max with 0 may read it.
    root : Variable or None
        The value of the same shape that it is computed from number by number, if there is one.
    formula : str
        How: see `snnrepro.network.formula`.
    """

    name: str
    shape: tuple[int, ...]
    folded: int = 0
    batch_axis: int = 0
    rectified: bool = False
    bound: float | None = None
    root: Variable | None = None
    formula: str = "x"

    @property
    def rank(self) -> int:
        """Number of axes in ONNX's count, with the batch axis."""
        return len(self.shape) - self.folded + 1


@dataclass
class Call:
    """What a handler needs to know of the node that it reads, and where it puts the layers.

    Attributes
    ----------
    output : str
        Name of the node's first output.
    opset : int
        The model's operator set.
    batch : int
        The number that stands for the batch axis in shape arithmetic: the declared size, or a number that no model
        has where it is free.
    n_outputs : int
        How many outputs the node has.
    only_first : bool
        Whether nothing reads another output than the first.
    read_by : frozenset of str
        The types of the operators that read the first output; the empty one for the graph's own output.
    op_type : str
        The node's operator type.
    nodes : list of Node
        The layers added so far.
    """

    output: str
    opset: int
    batch: int
    n_outputs: int = 1
    only_first: bool = True
    read_by: frozenset[str] = frozenset()
    op_type: str = ""
    nodes: list[Node] = field(default_factory=list)

    def add(self, layer: Layer, *inputs: Variable) -> Variable:
        """Add a layer that reads `inputs` and return what it gives."""
        name = f"{self.output}#{len(self.nodes)}"
        shape = layer.output_shape(*(value.shape for value in inputs), name=self.output)
        self.nodes.append(Node(name, tuple(value.name for value in inputs), layer))
        rectified = _is_rectified(layer, inputs[0])
        root, formula = formula_of(layer, shape, inputs)
        return Variable(name, shape, inputs[0].folded, rectified=rectified, root=root, formula=formula)


def _is_rectified(layer: Layer, x: Variable) -> bool:
    """Whether what a layer gives is known to be nowhere below 0."""
    if isinstance(layer, Function):
        return formulas.is_never_negative(layer.formula)
    if isinstance(layer, Affine):
        return x.rectified and not np.any(layer.scale < 0) and not np.any(layer.offset < 0)
    keeps = isinstance(layer, (Reshape, Transpose, Select, Reduce))
    return isinstance(layer, ReLU) or (keeps and x.rectified)


def formula_of(layer: Layer, shape: tuple[int, ...], inputs: Sequence[Variable]) -> tuple[Variable | None, str]:
    """Return the one value that a layer's is computed from number by number, and how; (None, "x") if there is none."""
    roots = {value.root or value for value in inputs}
    outer = _outer_formula(layer, len(inputs))
    if len(roots) > 1 or not outer or any(value.shape != shape or value.bound is not None for value in inputs):
        return None, "x"
    composed = formulas.of(outer, *(value.formula for value in inputs))
    return (roots.pop(), composed) if len(composed) <= formulas.LONGEST // 2 else (None, "x")


def function(call: Call, text: str, x: Variable) -> Variable:
    """Return a function of `x`, as one of the value that `x` is itself a function of, where it can be.

    An algebraic function of what rectifiers give is not: it is computed from their spikes.
    """
    composed = formulas.of(text, x.formula)
    rectifies = formulas.is_algebraic(x.formula, bends=True) and not formulas.is_algebraic(x.formula)
    if x.root is None or len(composed) > formulas.LONGEST // 2 or (rectifies and formulas.is_algebraic(text)):
        return call.add(Function(text), x)
    return function_of_root(call, composed, x)


def function_of_root(call: Call, formula: str, x: Variable) -> Variable:
    """Return a function of what `x` is computed from number by number, or of itself."""
    return replace(call.add(Function(formula), x.root or x), folded=x.folded)


def _outer_formula(layer: Layer, n_inputs: int) -> str:
    """Return a layer as a formula of what it reads, or nothing where it has constants for each channel, or moves."""
    if isinstance(layer, Function):
        return layer.formula
    if isinstance(layer, Sigmoid):
        return "sigmoid({})"
    if isinstance(layer, ReLU):
        rectified = "max({}, 0.0)"
        return rectified if layer.maximum is None else f"min({rectified}, {formulas.number(layer.maximum)})"
    if isinstance(layer, LeakyReLU) and layer.slope.size == 1:
        return f"max(x, 0.0) + {formulas.number(layer.slope.item())} * min(x, 0.0)"
    if isinstance(layer, Add):
        return " + ".join(["{}"] * n_inputs)
    if isinstance(layer, Affine) and layer.scale.size == layer.offset.size == 1:
        scale, offset = layer.scale.item(), layer.offset.item()
        scaled = "{}" if scale == 1 else f"{formulas.number(scale)} * {{}}"
        return scaled if offset == 0 else f"{scaled} + {formulas.number(offset)}"
    return ""


Handler = Callable[..., Any]

HANDLERS: dict[str, Handler] = {}

ROW_WISE: set[str] = set()
"""The operators that compute every row by itself: their one variable may have axes folded into the batch axis."""
MOVABLE = frozenset({"GatherND", "Transpose"})
"""The operators whose variable may have its batch axis elsewhere, as PyTorch takes entries of two axes at once."""

EITHER: dict[str, Sequence[str]] = {}
"""The inputs of an operator that are attributes in some operator sets."""


def handles(op_type: str, row_wise: bool = False, either: Sequence[str] = ()) -> Callable[[Handler], Handler]:
    """Register a handler for an operator type; a second one for the same type is an error.

    Parameters
    ----------
    op_type : str
        ONNX's name of the operator.
    row_wise : bool
        Whether its handler reads a variable whose batch axis holds other axes too.
    either : sequence of str
        The inputs that are attributes in some operator sets; the handler gets them as inputs all the same.
    """

    def register(handler: Handler) -> Handler:
        if op_type in HANDLERS:
            raise ValueError(f"ONNX operator {op_type}: a handler is registered already")
        HANDLERS[op_type] = handler
        EITHER[op_type] = either
        if row_wise:
            ROW_WISE.add(op_type)
        return handler

    return register


def handle(op_type: str, call: Call, inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    """Return what the handler of an operator type makes of a node, or refuse what it does not know of it."""
    handler, either = HANDLERS[op_type], EITHER[op_type]
    parameters = list(inspect.signature(handler).parameters.values())[1:]  # the first is the call
    keywords = {parameter.name: parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    unknown = sorted(set(attributes).difference(keywords, either))
    missing = sorted(name for name, one in keywords.items() if one.default is one.empty and name not in attributes)
    if unknown or missing:
        raise ModelError(f"attributes not supported: {unknown}, missing: {missing}")
    positional = [parameter for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    least = sum(parameter.default is parameter.empty for parameter in positional)
    many = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    if len(inputs) < least or (len(inputs) > len(positional) and not many):
        raise ModelError(f"it has {len(inputs)} inputs, from {least} to {len(positional)} are accepted")
    given = {parameter.name: value for parameter, value in zip(positional, inputs)}
    as_inputs = {name: attributes[name] for name in either if name in attributes and given.get(name) is None}
    others = {name: value for name, value in attributes.items() if name in keywords}
    if as_inputs:
        return handler(call, **{**given, **as_inputs}, **others)
    return handler(call, *inputs, **others)


def variable(value: Any, what: str = "its input") -> Variable:
    """Return `value` if it is computed at run time, or refuse it."""
    if not isinstance(value, Variable):
        raise ModelError(f"{what} must be computed at run time, it is {'left out' if value is None else 'a constant'}")
    return value


def constant(value: Any, what: str) -> AnyArray:
    """Return `value` if it is a constant, or refuse it."""
    if isinstance(value, Variable):
        raise ModelError(f"{what} must be a constant, it is computed at run time from {value.name!r}")
    if value is None:
        raise ModelError(f"{what} is missing")
    return np.asarray(value)


def weights(value: Any, what: str) -> AnyArray:
    """Return `value` if it is a constant of floating-point numbers, or refuse it; it is shared, never write to it."""
    array = constant(value, what)
    if array.dtype not in (np.float32, np.float16):
        raise ModelError(f"{what} must be float32 (or float16, which it holds exactly), got {array.dtype}")
    return array.astype(np.float32, copy=False)


def number(value: Any, what: str) -> float:
    """Return a constant (or an attribute) of one floating-point number, or refuse it."""
    return value if isinstance(value, float) else float(weights(value, what).reshape(()))


def integers(value: Any, what: str) -> list[int]:
    """Return a constant (or an attribute) of whole numbers as a list, or refuse it."""
    array = constant(value, what)
    if array.dtype.kind not in "iu":
        raise ModelError(f"{what} must be whole numbers, got {array.dtype}")
    return [int(number) for number in array.reshape(-1)]


def inner_axis(axis: int, rank: int, what: str = "axis") -> int:
    """Return an ONNX axis as one without the batch axis, which it must not be.

    Parameters
    ----------
    axis : int
        As in the model; below 0 it counts from the end.
    rank : int
        Number of axes with the batch axis.
    what : str
        For the message.
    """
    if not -rank <= axis < rank:
        raise ModelError(f"{what} {axis} of a value with {rank} axes")
    if axis % rank == 0:
        raise ModelError(f"{what} {axis} is the batch axis, which must be left as it is")
    return axis % rank - 1


def per_image(values: AnyArray, rank: int, what: str) -> AnyArray:
    """Return a constant without its batch axis, for a value of `rank` axes; it must be the same for every image."""
    if values.ndim > rank or (values.ndim == rank and values.shape[0] != 1):
        raise ModelError(f"{what} of shape {values.shape} is not the same for every image of a value with {rank} axes")
    return values[0] if values.ndim == rank else values
