"""The graph of an ONNX model read node by node: weights are found by following the nodes, never by name or order."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Iterable, Mapping, Sequence

import numpy as np

from snnrepro.errors import ModelError, UnsupportedError, one_line
from snnrepro.network.graph import Network, Node
from snnrepro.network.joined import joined
from snnrepro.network.layers import FieldError, Function, LeakyReLU, ReLU, Reshape, Select, Sigmoid
from snnrepro.network.rewrite import fold_affines, fuse_activations, fuse_transposed_affines
from snnrepro.readers.attributes import UNSUPPORTED, attributes_of
from snnrepro.readers.branches import with_branches
from snnrepro.readers.constants import FREE_BATCH, LARGEST_COMPUTED, OTHER_BATCH, check_known, evaluate_constant
from snnrepro.readers.left import Left, left
from snnrepro.readers.numbers import opset_of
from snnrepro.readers.operators import HANDLERS, MOVABLE, ROW_WISE, Call, Variable, handle
from snnrepro.readers.part import Parts
from snnrepro.readers.signature import only_input, require_outputs
from snnrepro.readers.stand_ins import CAN_INFER, inferred
from snnrepro.readers.values import Value, Values
from snnrepro.readers.walk import has_graph

if TYPE_CHECKING:
    import onnx

    from snnrepro.arrays import AnyArray
    from snnrepro.network.padding import Shape
    from snnrepro.readers.onnx_file import Tensors

_PART_ROOM = 2**16  # numbers of a constant that a part is simplified by: shape arithmetic
_NUMBERS_PER_INDEX = 100  # one of Python's takes ten times the memory of a float32, and far more time
_NEURONS = (Function, LeakyReLU, ReLU, Sigmoid)


class GraphReader:
    """Reads the nodes of a model in order, and knows of every value what it is.

    Parameters
    ----------
    model : onnx.ModelProto
        The model.
    tensors : Tensors
        Reads the tensors in attributes.
    initializers : dict
        The constants that it holds; the dict is emptied.
    several : bool
        Whether it may have several outputs, which then stand side by side.
    """

    def __init__(
        self, model: onnx.ModelProto, tensors: Tensors, initializers: dict[str, AnyArray], several: bool
    ) -> None:
        graph = model.graph
        held = sum(array.size for array in initializers.values())
        self._tensors = tensors
        self._opset = opset_of(model)
        self._input, self._batch, self._unreadable = only_input(graph, initializers)
        require_outputs(graph, self._input.name, several)
        self._initializers = dict(initializers)
        initializers.clear()
        # The model's own functions; since onnx 1.10.
        self._functions = {(function.domain, function.name) for function in getattr(model, "functions", ())}
        self._held = held
        self._damaged = False  # whether a layer cannot be built of the numbers that it is given, or of so many
        self._look_at(model)

    def _look_at(self, model: onnx.ModelProto) -> None:
        self._model, self._graph = model, model.graph
        # For every name the types of the operators that read it; the empty type for the graph's output.
        self._readers: dict[str, set[str]] = {value.name: {""} for value in model.graph.output}
        for proto in model.graph.node:
            for name in proto.input:
                self._readers.setdefault(name, set()).add(proto.op_type)
        self._begin()

    def _begin(self) -> None:
        self._branches: dict[int, onnx.GraphProto] = {}  # by the place of an If, what its constant condition chooses
        self._values = Values({**self._initializers, "": None, self._input.name: self._input}, self._batch)
        # How many numbers the arrays of the layers still to come may have: a tied weight is copied where a layer needs
        # it transposed or scaled.
        self._layer_room = LARGEST_COMPUTED + 4 * self._held

    def network(self, sources: dict[str, str]) -> Network:
        """Return the model as a network."""
        nodes = self._all_nodes()
        names, source = [value.name for value in self._graph.output], self._input
        outputs = [self._output(name) for name in names]
        output = outputs[0]
        if len(names) > 1:
            given = dict(zip(names, outputs))
            nodes += joined(
                {name: value.shape for name, value in given.items()},
                {name: value.name for name, value in given.items()},
            )
            output = Variable(nodes[-1].name, ())
        self._values.clear()  # the layers have what they need of the constants
        self._initializers.clear()
        if output.name == source.name:  # nothing but Identity, Dropout and the like
            nodes = [Node(names[0], (source.name,), Reshape(source.shape))]
        else:
            nodes = _leading_to([output.name], nodes)
        shapes = dict(Network(source.name, source.shape, tuple(nodes), {}).shapes)
        nodes = fuse_activations(fold_affines(fuse_transposed_affines(nodes, shapes), shapes), shapes)
        return Network(source.name, source.shape, tuple(nodes), sources)

    def _output(self, name: str) -> Variable:
        output = self._values.get(name)
        if not isinstance(output, Variable) or name == self._input.name:
            names = [value.name for value in self._graph.output]
            raise ModelError(
                f"one output, computed from the input, is needed; the model's outputs are {reprlib.repr(names)}"
            )
        if output.folded:
            raise ModelError(f"output {name!r}: the batch axis must stay first, a Reshape has put other axes into it")
        return output

    def _all_nodes(self) -> list[Node]:
        """Return the layers of all nodes, the ends that cannot be read left as they are; or name all in the way."""
        nodes, first = self._nodes(Left())
        while self._branches:
            self._look_at(with_branches(self._model, self._branches))
            nodes, first = self._nodes(Left())
        unread, problems = dict(first), first
        # A part computes one image at a time.
        may_leave = CAN_INFER and not self._damaged and self._batch in (1, FREE_BATCH)
        if problems and may_leave:
            self._parts = Parts(self._model, self._input, self._initializers, self._computed)
        while problems:
            ends = left(self._graph, unread, self._values.is_constant) if may_leave else None
            if ends is None:
                raise self._refusal(first)
            self._begin()
            nodes, problems = self._nodes(ends)
            if not problems:
                try:
                    return self._cut(nodes)
                except ModelError as error:
                    problems = {place: f"{problem}; {error}" for place, problem in first.items()}
            if problems.keys() <= unread.keys():
                raise self._refusal({**first, **problems})
            unread.update(problems)
        return nodes

    def _cut(self, nodes: list[Node]) -> list[Node]:
        """Return the layers that the outputs need, with those that only ONNX computes: neurons must be among them."""
        for output in (value.name for value in self._graph.output):
            if output not in self._values:
                nodes.append(self._part(output))
        needed = _leading_to((self._output(value.name).name for value in self._graph.output), nodes)
        if not any(isinstance(node.layer, _NEURONS) for node in needed):
            raise ModelError("it cannot be left to onnxruntime either: nothing would spike")
        return [self._part(node.name) if isinstance(node.layer, _Uncut) else node for node in needed]

    def _computed(self, proto: onnx.NodeProto, inputs: Sequence[AnyArray | None]) -> dict[str, AnyArray]:
        """Return the outputs of a node that reads constants, for one image."""
        return evaluate_constant(
            proto, inputs, attributes_of(proto, self._opset, self._tensors), self._opset, 1, _PART_ROOM
        )

    def _refusal(self, problems: Mapping[int, str]) -> ModelError:
        lines = [problems[place] for place in sorted(problems)]
        if self._unreadable:
            return ModelError(self._unreadable)
        return UnsupportedError(lines, _hint(self._graph, lines))

    def _part(self, name: str) -> Node:
        """Return what computes a value as ONNX computes it, from what is read here."""
        given = {self._input.name: self._input}
        if name not in self._values:  # behind the neurons
            given = {key: value for key, value in self._values.items() if isinstance(value, Variable)}
        layer, read = self._parts.part(name, given)
        for key in read:
            if given[key].folded or given[key].batch_axis or given[key].bound is not None:
                raise ModelError(f"it cannot be left to onnxruntime either: {key!r} is not held as it is in the model")
        self._values[name] = Variable(name, layer.shape)
        return Node(name, tuple(given[key].name for key in read), layer)

    def _nodes(self, ends: Left) -> tuple[list[Node], dict[int, str]]:
        """Return the layers of all nodes but those of the tail, and what is wrong with each that cannot be read."""
        nodes: list[Node] = []
        problems: dict[int, str] = {}
        later = {name: index for index, proto in enumerate(self._graph.node) for name in proto.output}
        strange = {self._input.name} if self._unreadable else set()  # what no layer can read, only what is left
        failed = dict.fromkeys(strange, True)  # name -> whether it would be computed at run time
        shapes: dict[str, Shape] | None = None  # of what stands in for what failed
        for index, proto in enumerate(self._graph.node):
            if index in ends.tail:
                continue
            # What nothing gives would be computed at run time too, for all that is known.
            reads_computed = any(failed.get(name, not self._values.is_constant(name)) for name in proto.input)
            computed = reads_computed or has_graph(proto)
            outputs = dict.fromkeys(filter(None, proto.output), computed and proto.op_type != "Shape")
            try:
                missing = [name for name in proto.input if name not in self._values and name not in failed]
                if missing:
                    behind = [name for name in missing if later.get(name, -1) >= index]
                    hint = f"; {behind} come behind it: nodes must be in order, without a cycle" if behind else ""
                    raise ModelError(f"it reads {missing}, which nothing before it gives{hint}")
                twice = [name for name in proto.output if name and (name in self._values or name in failed)]
                if twice:
                    raise ModelError(f"its outputs {twice} are assigned twice")
                branch = self._branch(proto)
                if branch is not None:
                    self._branches[index] = branch
                    failed.update(dict.fromkeys(outputs, True))
                elif index in ends.head:
                    nodes += self._head(proto, strange)
                    failed.update(dict.fromkeys(strange, True))
                elif failed.keys().isdisjoint(proto.input):
                    nodes += self._checked(proto)
                else:  # it reads a node that is in the list of problems already
                    self._check_supported(proto, computed)
                    if not computed:
                        check_known(proto)
                    failed.update(outputs)
                    if not strange.isdisjoint(proto.input):
                        raise ModelError("it reads what is not float32")
            except ModelError as error:
                self._damaged |= isinstance(error, FieldError)
                label = f"{proto.op_type} {proto.name or f'#{index}'!r}"
                problems[index] = f"{label}: {error}"
                if shapes is None:
                    shapes = inferred(self._model, self._values, self._input, self._batch)
                for name, at_run_time in outputs.items():
                    if at_run_time and name in shapes and name not in self._values:
                        self._values[name] = Variable(name, shapes[name])
                    else:
                        failed[name] = at_run_time
        return nodes, problems

    def _branch(self, proto: onnx.NodeProto) -> onnx.GraphProto | None:
        """Return the graph that an If computes whose condition is a constant."""
        condition = self._values.get(proto.input[0]) if proto.op_type == "If" and len(proto.input) == 1 else None
        if not isinstance(condition, np.ndarray) or condition.dtype != bool or condition.size != 1:
            return None
        wanted = "then_branch" if condition.item() else "else_branch"
        return next((attribute.g for attribute in proto.attribute if attribute.name == wanted), None)

    def _head(self, proto: onnx.NodeProto, strange: set[str]) -> list[Node]:
        """Return the parts that give a node's outputs as ONNX computes them; what no layer can read is `strange`."""
        nodes = []
        for name in filter(None, proto.output):
            try:
                shape = self._parts.shape(name, any_type=False)
            except ModelError:
                strange.add(name)
                continue
            self._values[name] = Variable(name, shape)
            nodes.append(Node(name, (self._input.name,), _Uncut(shape)))
        return nodes

    def _checked(self, proto: onnx.NodeProto) -> list[Node]:
        """Return a node's layers; whatever goes wrong in a handler is a ModelError."""
        try:
            with np.errstate(all="ignore"):  # a layer refuses what is not finite
                nodes = self._layers(proto)
            self._layer_room -= sum(map(_size, nodes))
            if self._layer_room < 0:
                self._damaged = True
                raise ModelError("with it, the layers would have several times the numbers that the model holds")
        except ModelError:
            raise
        except MemoryError as error:
            raise ModelError(f"its result does not fit into memory ({one_line(error)})") from error
        except Exception as error:  # a handler trusts its arguments; those of a hostile model are anything
            raise ModelError(
                f"its attributes or inputs are not what the operator's specification says ({one_line(error)})"
            ) from error
        return nodes

    def _check_supported(self, proto: onnx.NodeProto, computed: bool) -> None:
        if proto.domain not in ("", "ai.onnx") or (proto.domain, proto.op_type) in self._functions:
            raise ModelError(f"{UNSUPPORTED} (it is of the domain {proto.domain!r} or a function of the model's own)")
        if computed and proto.op_type not in HANDLERS:
            raise ModelError(UNSUPPORTED)

    def _layers(self, proto: onnx.NodeProto) -> list[Node]:
        """Return the layers of a node, none where its value is a constant, and keep the values that it gives."""
        computed = not all(map(self._values.is_constant, proto.input))
        self._check_supported(proto, computed)
        outputs = [name for name in proto.output if name]
        if not outputs or outputs != list(proto.output[: len(outputs)]) or len(set(outputs)) < len(outputs):
            raise ModelError(f"its outputs {reprlib.repr(list(proto.output))} must be named, each differently")
        attributes = attributes_of(proto, self._opset, self._tensors)
        if not computed:
            self._values.compute(proto, attributes, self._opset)
            return []
        inputs = self._values.inputs(proto)
        _check_batch_axis(proto, inputs)
        only_first = not any(name in self._readers for name in outputs[1:])
        read_by = frozenset(self._readers.get(outputs[0], ()))
        call = Call(outputs[0], self._opset, self._batch, len(outputs), only_first, read_by, proto.op_type)
        result = handle(proto.op_type, call, inputs, attributes)
        renamed: dict[str, str] = {}
        for name, value in zip(outputs, result if isinstance(result, list) else [result]):
            if isinstance(value, Variable) and any(node.name == value.name for node in call.nodes):
                renamed[value.name] = name
                value = replace(value, name=name)
            self._values[name] = value
            if isinstance(value, np.ndarray):  # of a Shape
                other = handle(proto.op_type, replace(call, batch=OTHER_BATCH), inputs, attributes)
                self._values.differs(name, value, other)
        return [
            Node(renamed.get(node.name, node.name), tuple(renamed.get(name, name) for name in node.inputs), node.layer)
            for node in call.nodes
        ]


def _hint(graph: onnx.GraphProto, problems: list[str]) -> str:
    """Return what would help, a line each."""
    kinds = {proto.op_type for proto in graph.node}
    lines = []
    if kinds & _RECURRENT:
        lines.append(f"recurrent layers ({', '.join(sorted(kinds & _RECURRENT))}) cannot be converted: train without")
    if any(UNSUPPORTED in problem for problem in problems):
        lines.append(f"supported: {', '.join(sorted(HANDLERS))}")
    return "\n".join(lines)


_RECURRENT = frozenset(("GRU", "LSTM", "Loop", "RNN", "Scan"))


@dataclass(frozen=True, eq=False)
class _Uncut(Reshape):
    """Stands for a part that is cut out of the model only if it is needed."""

    def _shape(self, shape: Shape) -> Shape:
        return self.shape


def _size(node: Node) -> int:
    """Return how many numbers a layer keeps."""
    size = sum(value.size for value in vars(node.layer).values() if isinstance(value, np.ndarray))
    if isinstance(node.layer, Select):
        size += _NUMBERS_PER_INDEX * sum(len(indices) for indices in node.layer.indices if indices is not None)
    return size


def _check_batch_axis(proto: onnx.NodeProto, inputs: list[Value]) -> None:
    """Refuse an operator that does not compute every row by itself, where the batch axis is not as it was."""
    variables = [value for value in inputs if isinstance(value, Variable)]
    if any(value.batch_axis for value in variables) and proto.op_type not in MOVABLE:
        raise ModelError("the batch axis must stay first: a Transpose has moved it")
    alike = len({(value.folded, value.shape) for value in variables}) == 1
    if any(value.folded for value in variables) and (proto.op_type not in ROW_WISE or not alike):
        raise ModelError(
            f"the batch axis must stay first: a Reshape has put other axes into it, and until one puts them back only "
            f"these can follow, with constants: {', '.join(sorted(ROW_WISE))}"
        )


def _leading_to(outputs: Iterable[str], nodes: Iterable[Node]) -> list[Node]:
    """Return the nodes that the outputs need, in order."""
    needed = set(outputs)
    kept: list[Node] = []
    for node in reversed(list(nodes)):
        if node.name in needed:
            needed.update(node.inputs)
            kept.append(node)
    return kept[::-1]
