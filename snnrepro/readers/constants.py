"""Nodes whose inputs are all constants, computed once by onnxruntime: shape arithmetic, scaled weights.

A constant node is computed while the model is read, so it must neither fill the memory nor end the process: only
operators in `KNOWN` are computed, each after a bound of its result's size, found from its inputs alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence, cast

import numpy as np

from snnrepro.errors import ModelError, one_line
from snnrepro.frameworks.onnxruntime import model_of, session
from snnrepro.network.padding import broadcast

if TYPE_CHECKING:
    import onnx

    from snnrepro.arrays import AnyArray

    Arrays = Sequence[AnyArray]

FREE_BATCH = 1_000_003
"""Stands for a free batch axis in shape arithmetic: a prime that no model has as a size."""

OTHER_BATCH = 999_983
"""Stands for it too: a constant that differs between both depends on the size of the batch."""

LARGEST_COMPUTED = 2**28
"""Constants that nodes compute have at most this many numbers in all; the largest VGG declares 144 million."""


def evaluate_constant(
    proto: onnx.NodeProto,
    inputs: Sequence[AnyArray | None],
    attributes: Mapping[str, Any],
    opset: int,
    batch: int,
    room: int = LARGEST_COMPUTED,
) -> dict[str, AnyArray]:
    """Return the outputs of a node by name, its inputs being constants.

    What is as long as the batch and the same for every image (zeros of the input's shape, say) is a view of its one
    row, however long: see `one_row`.

    Parameters
    ----------
    proto : onnx.NodeProto
        The node.
    inputs : sequence of numpy.ndarray or None
        Its inputs in order; None for one that is left out.
    attributes : mapping
        Its attributes, tensors as arrays.
    opset : int
        The model's operator set.
    batch : int
        The size of the batch axis, or `FREE_BATCH`.
    room : int
        How many numbers its outputs may have.

    Raises
    ------
    ModelError
        onnxruntime cannot compute it, its declared result is too large, or its operator is not in `KNOWN`.
    """
    if proto.op_type == "Constant":
        return {proto.output[0]: _constant(attributes)}
    check_known(proto)
    rows = _for_one_row(proto.op_type, inputs, attributes, batch)
    repeated = any(row is not array for row, array in zip(rows, inputs))
    if repeated and proto.op_type == "Shape" and not attributes:
        return {proto.output[0]: np.array(np.shape(cast("AnyArray", inputs[0])), np.int64)}
    present = [array for array in rows if array is not None]
    if any(array.dtype.kind not in "fiub" for array in present):
        raise ModelError("only constants of numbers and truth values are computed")
    size = KNOWN[proto.op_type](present, attributes)
    if size > room:
        raise ModelError(f"its declared result has up to {size} numbers, all constants together may have {room}")
    if proto.op_type == "ConstantOfShape":  # by far the most frequent, and trivial: no session for it
        results = {proto.output[0]: _constant_of_shape(attributes, present[0])}
    else:
        if proto.op_type in ("Div", "Mod"):
            _check_division(*present)
        results = _run(proto, rows, opset)
    if repeated:
        return {name: np.broadcast_to(row, (batch, *row.shape[1:])) for name, row in results.items()}
    return results


def one_row(array: AnyArray, batch: int) -> AnyArray:
    """Return the one row of a constant as long as the batch that is a view of it, the same for every image, or all."""
    return array[:1] if _is_repeated(array, batch) else array


def _is_repeated(array: AnyArray, batch: int) -> bool:
    return batch > 1 and array.ndim > 0 and array.shape[0] == batch and array.strides[0] == 0


def _for_one_row(
    op_type: str, inputs: Sequence[AnyArray | None], attributes: Mapping[str, Any], batch: int
) -> Sequence[AnyArray | None]:
    """Return the inputs that give one row of a result as long as the batch; the inputs themselves if none is."""
    present = [array for array in inputs if array is not None]
    rank = max((array.ndim for array in present), default=0)
    long = [array for array in present if _is_repeated(array, batch)]
    if long:
        by_row = op_type == "Shape" or (
            op_type in _ELEMENTWISE.split()
            and all(array.ndim == rank for array in long)
            and all(array.ndim < rank or len(one_row(array, batch)) == 1 for array in present)
        )
        if by_row or _keeps_rows(op_type, inputs, attributes, batch):
            return [None if array is None else one_row(array, batch) for array in inputs]
        reshaped = _reshaped_row(present, batch) if op_type == "Reshape" and not attributes.get("allowzero") else None
        if reshaped is not None:
            return reshaped
    if op_type in ("ConstantOfShape", "Expand", "Tile") and batch > 1:
        *data, sizes = present
        first, *rest = _whole(sizes) or [0]
        if first == batch and all(array.ndim <= len(rest) or array.shape[0] == 1 for array in data):
            return [*data, np.array([1, *rest], np.int64)]
    return inputs


def _keeps_rows(op_type: str, inputs: Sequence[AnyArray | None], attributes: Mapping[str, Any], batch: int) -> bool:
    """Whether a node reduces each row of its first input by itself."""
    data, *others = inputs
    if not op_type.startswith("Reduce") or data is None or not _is_repeated(data, batch):
        return False
    given = attributes.get("axes", ()) if not others or others[0] is None else others[0]
    axes = _whole(np.asarray(given, np.int64))
    return bool(axes) and all(axis % data.ndim for axis in axes)


def _reshaped_row(inputs: Arrays, batch: int) -> Arrays | None:
    """Return the inputs of a Reshape for one row, where it leaves the rows apart."""
    if not _is_repeated(inputs[0], batch):
        return None
    data, sizes = inputs
    first, *rest = _whole(sizes) or [-2]
    if first in (0, batch) or (first == -1 and math.prod(rest) == math.prod(data.shape[1:])):
        return [one_row(data, batch), np.array([1, *rest], np.int64)]
    return None


def check_known(proto: onnx.NodeProto) -> None:
    """Refuse a node that cannot be computed on constants."""
    if proto.op_type != "Constant" and proto.op_type not in KNOWN:
        raise ModelError(f"on constants, only these operators are computed: {', '.join(sorted(KNOWN))}")


def _run(proto: onnx.NodeProto, inputs: Sequence[AnyArray | None], opset: int) -> dict[str, AnyArray]:
    present = {name: array for name, array in zip(proto.input, inputs) if array is not None}
    try:
        model = model_of(proto, present, _oldest_of_same_meaning(proto.op_type, opset))
        results = session(model, as_written=True, n_threads=1).run(None, {})
    except Exception as error:  # onnxruntime's exceptions share no public base class
        raise ModelError(f"its constant value cannot be computed ({one_line(error)})") from error
    return dict(zip((name for name in proto.output if name), results))


def _oldest_of_same_meaning(op_type: str, opset: int) -> int:
    """Return the first operator set that defines the operator as `opset` does: an older onnxruntime knows it, too."""
    from onnx import defs

    if not defs.has(op_type):
        return opset
    newest = 20 if op_type in _ONLY_MORE_TYPES.split() else defs.onnx_opset_version()
    since = int(defs.get_schema(op_type, min(opset, newest), "").since_version)
    return max(since, 7)  # the oldest that onnxruntime promises to compute


def _constant(attributes: Mapping[str, Any]) -> AnyArray:
    for name, value in attributes.items():
        if name == "value":
            array: AnyArray = value
            return array
        if name in ("value_float", "value_floats"):
            return np.array(value, np.float32)
        if name in ("value_int", "value_ints"):
            return np.array(value, np.int64)
    raise ModelError("it has no value that can be read (accepted: value, value_float(s), value_int(s))")


def _constant_of_shape(attributes: Mapping[str, Any], shape: AnyArray) -> AnyArray:
    fill = attributes.get("value", np.zeros(1, np.float32))
    if fill.size != 1:
        raise ModelError(f"its value must be one number, got {fill.size}")
    return np.broadcast_to(fill.reshape(()), [int(size) for size in shape.reshape(-1)])  # written once, by the layer


def _check_division(dividend: AnyArray, divisor: AnyArray) -> None:
    """Refuse what the processor traps: a whole number by 0, or the least one by -1, ends the process in onnxruntime."""
    if divisor.dtype.kind not in "iu":
        return
    least = np.iinfo(dividend.dtype).min
    if not np.all(divisor) or (least < 0 and np.any(dividend == least) and np.any(divisor == -1)):
        raise ModelError(f"whole numbers divided by 0, or {least} by -1")


def _whole(array: AnyArray) -> list[int]:
    if array.dtype.kind not in "iu":
        raise ModelError(f"whole numbers are needed, got {array.dtype}")
    return [int(number) for number in array.reshape(-1)]


def _shape(array: AnyArray) -> tuple[int, ...]:
    shape = tuple(_whole(array))
    if any(size < 0 for size in shape):
        raise ModelError(f"{list(shape)} is not a shape")
    return shape


def _padded(inputs: Arrays, attributes: Mapping[str, Any]) -> int:
    pads = _whole(inputs[1] if len(inputs) > 1 else np.asarray(attributes["pads"]))
    return math.prod(size + sum(map(abs, pads)) for size in inputs[0].shape)


def _range(inputs: Arrays, attributes: Mapping[str, Any]) -> int:
    start, limit, delta = (array.reshape(-1)[0].item() for array in inputs)
    if not delta or not all(math.isfinite(number) for number in (start, limit, delta)):
        raise ModelError(f"from {start} to {limit} in steps of {delta} is not a range")
    count: int = math.ceil((limit - start) / delta)
    return max(0, count)


def _gathered(inputs: Arrays, attributes: Mapping[str, Any]) -> int:
    data, indices = inputs
    return int(indices.size * (data.size // max(1, data.shape[attributes.get("axis", 0)])))


_ELEMENTWISE = (
    "Abs Add And Cast Ceil Clip Cos Div Equal Erf Exp EyeLike Floor Greater GreaterOrEqual Identity IsInf IsNaN "
    "LeakyRelu Less LessOrEqual Log Max Mean Min Mod Mul Neg Not Or Pow Reciprocal Relu Round Sigmoid Sign Sin Softmax "
    "Sqrt Sub Sum Tanh Where Xor"
)
_NO_LARGER = (
    "ArgMax ArgMin BatchNormalization Concat CumSum DequantizeLinear Flatten InstanceNormalization LayerNormalization "
    "ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Reshape ScatterElements "
    "ScatterND Slice Split Squeeze Transpose Trilu Unsqueeze"
)

_ONLY_MORE_TYPES = "Cast ConstantOfShape Flatten Identity Pad Reshape Shape Size Squeeze Transpose Unsqueeze"
"""Operators of which every operator set after 20 has another definition only for types that NumPy does not know."""

KNOWN: dict[str, Callable[[Arrays, Mapping[str, Any]], int]] = {
    **dict.fromkeys(_ELEMENTWISE.split(), lambda inputs, _: math.prod(broadcast(*(array.shape for array in inputs)))),
    **dict.fromkeys(_NO_LARGER.split(), lambda inputs, _: sum(array.size for array in inputs)),
    **dict.fromkeys(("Gemm", "MatMul"), lambda inputs, _: int(inputs[0].size * inputs[1].size)),
    "ConstantOfShape": lambda inputs, _: math.prod(_shape(inputs[0])),
    "Expand": lambda inputs, _: math.prod(broadcast(inputs[0].shape, _shape(inputs[1]))),
    "Gather": _gathered,
    "NonZero": lambda inputs, _: inputs[0].size * max(1, inputs[0].ndim),
    "Pad": _padded,
    "Range": _range,
    "Shape": lambda inputs, _: inputs[0].ndim,
    "Size": lambda inputs, _: 1,
    "Tile": lambda inputs, _: inputs[0].size * math.prod(map(abs, _whole(inputs[1]))),
}
"""The operators that are computed on constants: name -> a bound of how many numbers the result has."""
