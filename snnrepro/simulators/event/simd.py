"""Vectors of 16, 32 or 64 float32 numbers as values of Numba code: sums stay in registers whatever loop is around them.

LLVM makes one AVX-512 register of 16 lanes, two of AVX, four of SSE or NEON. A vector has as many lanes as the words of
a mask have bits: an array of uint16, uint32 or uint64 words says which. Nothing is checked: indices lie inside the
array and are not negative, arrays are flat and contiguous.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

_FLOAT, _INT, _BYTE = ir.FloatType(), ir.IntType(32), ir.IntType(8)


class _VectorType(types.Type):  # type: ignore[misc]  # Numba has no types
    def __init__(self, lanes: int) -> None:
        super().__init__(name=f"float32x{lanes}")
        self.lanes = lanes
        self.floats = ir.VectorType(_FLOAT, lanes)
        self.bits = ir.VectorType(ir.IntType(1), lanes)


@register_model(_VectorType)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]  # likewise
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, numba_type.floats)


_VECTORS = {lanes: _VectorType(lanes) for lanes in (16, 32, 64)}


def _place(context: Any, builder: Any, array_type: Any, where: Any, pointee: Any) -> Any:
    array, index = where
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), pointee.as_pointer())


def _splat(builder: Any, number: Any, of: Any) -> Any:
    undefined = ir.Constant(of, ir.Undefined)
    one = builder.insert_element(undefined, number, ir.Constant(_INT, 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(_INT, of.count), [0] * of.count))


@intrinsic
def at(_: Any, array: Any, index: Any) -> Any:
    """Return ``array[index]``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(array)(context, builder, arguments[0]).data
        return builder.load(builder.gep(data, [arguments[1]]))

    return array.dtype(array, types.intp), generate


@intrinsic
def load(_: Any, array: Any, index: Any, words: Any) -> Any:
    """Return the float32 numbers of `array` from `index` on, as many as `words` have bits."""
    vector = _VECTORS[words.dtype.bitwidth]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_place(context, builder, array, arguments[:2], vector.floats), align=4)

    return vector(array, types.intp, words), generate


@intrinsic
def store(_: Any, array: Any, index: Any, value: Any) -> Any:
    """Write a vector to `array` from `index` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _place(context, builder, array, arguments[:2], value.floats), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), generate


@intrinsic
def fill(_: Any, number: Any, words: Any) -> Any:
    """Return a vector of one number, float32."""
    vector = _VECTORS[words.dtype.bitwidth]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _splat(builder, arguments[0], vector.floats)

    return vector(types.float32, words), generate


@intrinsic
def plus(_: Any, u: Any, v: Any) -> Any:
    """Return ``u + v``."""
    return u(u, u), lambda context, builder, signature, arguments: builder.fadd(*arguments)


@intrinsic
def minus(_: Any, u: Any, v: Any) -> Any:
    """Return ``u - v``."""
    return u(u, u), lambda context, builder, signature, arguments: builder.fsub(*arguments)


@intrinsic
def times_plus(_: Any, u: Any, v: Any, w: Any) -> Any:
    """Return ``u * v + w``, rounded once where the machine does both at once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        name = f"llvm.fmuladd.v{u.lanes}f32"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(u.floats, [u.floats] * 3), name)
        return builder.call(function, arguments)

    return u(u, u, u), generate


@intrinsic
def reaches(_: Any, u: Any, v: Any) -> Any:
    """Return where ``u >= v``, one bit a lane, the first lane lowest."""
    word = types.Integer.from_bitwidth(u.lanes, signed=False)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(builder.fcmp_ordered(">=", *arguments), ir.IntType(u.lanes))

    return word(u, u), generate


@intrinsic
def differs(_: Any, u: Any, v: Any) -> Any:
    """Return where ``u != v``, one bit a lane, the first lane lowest."""
    word = types.Integer.from_bitwidth(u.lanes, signed=False)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(builder.fcmp_unordered("!=", *arguments), ir.IntType(u.lanes))

    return word(u, u), generate


@intrinsic
def choose(_: Any, word: Any, u: Any, v: Any) -> Any:
    """Return `u` where the bit of the lane is set in `word`, `v` elsewhere."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(builder.bitcast(arguments[0], u.bits), arguments[1], arguments[2])

    return u(types.Integer.from_bitwidth(u.lanes, signed=False), u, u), generate


@intrinsic
def population_count(_: Any, word: Any) -> Any:
    """Return how many bits of an unsigned integer are set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.cast(builder, builder.ctpop(arguments[0]), word, types.intp)

    return types.intp(word), generate


@intrinsic
def copy_32(_: Any, source: Any, start: Any, target: Any, place: Any, shift: Any, factor: Any) -> Any:
    """Write ``(source[start : start + 32] + shift) * factor`` to `target` from `place` on, all int32."""
    ints = ir.VectorType(_INT, 32)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        read = builder.load(_place(context, builder, source, arguments[:2], ints), align=4)
        written = builder.mul(
            builder.add(read, _splat(builder, arguments[4], ints)), _splat(builder, arguments[5], ints)
        )
        builder.store(written, _place(context, builder, target, arguments[2:4], ints), align=4)
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp, types.int32, types.int32), generate


@intrinsic
def copy_8_bytes(_: Any, source: Any, start: Any, target: Any, place: Any, shift: Any) -> Any:
    """Write ``source[start : start + 8] + shift`` (uint8) to `target` (int32) from `place` on."""
    small, ints = ir.VectorType(_BYTE, 8), ir.VectorType(_INT, 8)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        read = builder.load(_place(context, builder, source, arguments[:2], small), align=1)
        written = builder.add(builder.zext(read, ints), _splat(builder, arguments[4], ints))
        builder.store(written, _place(context, builder, target, arguments[2:4], ints), align=4)
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp, types.int32), generate


@intrinsic
def put(_: Any, array: Any, index: Any, value: Any) -> Any:
    """Write ``array[index] = value``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(array)(context, builder, arguments[0]).data
        builder.store(arguments[2], builder.gep(data, [arguments[1]]))
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), generate


@intrinsic
def lowest_bit(_: Any, word: Any) -> Any:
    """Return which is the lowest bit that is set of an unsigned integer that is not 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))
        return context.cast(builder, found, word, types.intp)

    return types.intp(word), generate


@intrinsic
def patterns(_: Any, a: Any, b: Any, c: Any, d: Any, target: Any) -> Any:
    """Write for each lane of four words ``a + 2 * b + 4 * c + 8 * d`` of its bits to `target`, uint8."""
    bits, small = ir.VectorType(ir.IntType(1), a.bitwidth), ir.VectorType(_BYTE, a.bitwidth)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total = ir.Constant(small, [0] * small.count)
        for step in range(4):
            lanes = builder.zext(builder.bitcast(arguments[step], bits), small)
            total = builder.or_(total, builder.shl(lanes, ir.Constant(small, [step] * small.count)))
        first = ir.Constant(ir.IntType(64), 0)
        builder.store(total, _place(context, builder, target, (arguments[4], first), small), align=1)
        return context.get_dummy_value()

    return types.void(a, a, a, a, target), generate


@intrinsic
def hidden(_: Any, number: Any) -> Any:
    """Return an integer such that the compiler knows nothing of it: a loop that counts so is not unrolled."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        return builder.asm(ir.FunctionType(kind, [kind]), "", "=r,0", arguments, True)

    return number(number), generate
