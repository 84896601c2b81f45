"""Vectors of 16, 32 or 64 numbers as values of Numba code: sums stay in registers whatever loop is around them.

They are float32, or int16, of which twice as many are in a register. LLVM makes one AVX-512 register of 16 float32
lanes, two of AVX, four of SSE or NEON. A vector has as many lanes as the words of
a mask have bits: an array of uint16, uint32 or uint64 words says which. Nothing is checked: indices lie inside the
array and are not negative, arrays are flat and contiguous.

The parameters of an intrinsic are Numba's types of what it is called with; its docstring speaks of the values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Tuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

if TYPE_CHECKING:
    from llvmlite.ir import IRBuilder, Value
    from numba.core.base import BaseContext
    from numba.core.typing import Signature
    from numba.core.typing.context import BaseContext as Typing
    from numba.types import Array, Type

    Emitted = Tuple[Signature, Callable[..., Value]]

Vector = Any
"""A vector in Numba code, for which Python has no type."""

_FLOAT, _INT, _SHORT, _BYTE = ir.FloatType(), ir.IntType(32), ir.IntType(16), ir.IntType(8)


class _VectorType(types.Type):  # type: ignore[misc]  # Numba has no types
    def __init__(self, lanes: int, whole: bool = False) -> None:
        super().__init__(name=f"{'int16' if whole else 'float32'}x{lanes}")
        self.lanes, self.whole = lanes, whole
        self.floats = ir.VectorType(_FLOAT, lanes)
        self.numbers = ir.VectorType(_SHORT, lanes) if whole else self.floats
        self.bits = ir.VectorType(ir.IntType(1), lanes)
        self.word = types.Integer.from_bitwidth(lanes, signed=False)


@register_model(_VectorType)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]  # likewise
    def __init__(self, manager: object, numba_type: _VectorType) -> None:
        super().__init__(manager, numba_type, numba_type.numbers)


_VECTORS = {lanes: _VectorType(lanes) for lanes in (16, 32, 64)}
_WHOLE = {lanes: _VectorType(lanes, whole=True) for lanes in (16, 32, 64)}


def _vector_of(array: Array, words: Array) -> _VectorType:
    """Return the type of a vector of an array's numbers."""
    return (_WHOLE if array.dtype == types.int16 else _VECTORS)[words.dtype.bitwidth]


@dataclass(frozen=True)
class _Code:
    """Where an intrinsic writes its code."""

    context: BaseContext
    builder: IRBuilder

    def pointer(self, kind: Array, array: Value, index: Value, pointee: ir.Type | None = None) -> Value:
        """Return where number `index` of an array is, as a pointer to `pointee`."""
        data = self.context.make_array(kind)(self.context, self.builder, array).data
        pointer = self.builder.gep(data, [index])
        return pointer if pointee is None else self.builder.bitcast(pointer, pointee.as_pointer())

    def splat(self, number: Value, kind: ir.VectorType) -> Value:
        """Return a vector of one number."""
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(undefined, number, ir.Constant(_INT, 0))
        return self.builder.shuffle_vector(
            first, undefined, ir.Constant(ir.VectorType(_INT, kind.count), [0] * kind.count)
        )

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """Return ``a * b + c``."""
        kind = ir.FunctionType(a.type, [a.type] * 3)
        name = f"llvm.fmuladd.v{a.type.count}f32"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), [a, b, c])


def _emitted(signature: Signature, emit: Callable[..., Value]) -> Emitted:
    """Return what `intrinsic` wants: a signature, and what writes the code for the values of its arguments."""

    def generate(context: BaseContext, builder: IRBuilder, _: Signature, values: tuple[Value, ...]) -> Value:
        value = emit(_Code(context, builder), *values)
        return context.get_dummy_value() if signature.return_type == types.void else value

    return signature, generate


@intrinsic
def at(_: Typing, array: Array, index: Type) -> Emitted:
    """Return ``array[index]``."""
    return _emitted(
        array.dtype(array, types.intp), lambda code, source, i: code.builder.load(code.pointer(array, source, i))
    )


@intrinsic
def put(_: Typing, array: Array, index: Type, value: Type) -> Emitted:
    """Write ``array[index] = value``."""
    return _emitted(
        types.void(array, types.intp, array.dtype),
        lambda code, target, i, number: code.builder.store(number, code.pointer(array, target, i)),
    )


@intrinsic
def load(_: Typing, array: Array, index: Type, words: Array) -> Emitted:
    """Return the numbers of `array`, float32 or int16, from `index` on, as many as `words` have bits."""
    vector = _vector_of(array, words)
    align = 2 if vector.whole else 4
    return _emitted(
        vector(array, types.intp, words),
        lambda code, source, i, _: code.builder.load(code.pointer(array, source, i, vector.numbers), align=align),
    )


@intrinsic
def nothing(_: Typing, array: Array, words: Array) -> Emitted:
    """Return a vector of zeros of the type of an array's numbers."""
    vector = _vector_of(array, words)
    return _emitted(vector(array, words), lambda *_: ir.Constant(vector.numbers, None))


@intrinsic
def in_units(_: Typing, u: _VectorType, units: Array, index: Type) -> Emitted:
    """Return a vector as float32 numbers: int16 ones times `units` from `index` on, the others as they are."""
    vector = _VECTORS[u.lanes]

    def emit(code: _Code, numbers: Value, array: Value, i: Value) -> Value:
        if not u.whole:
            return numbers
        unit = code.builder.load(code.pointer(units, array, i, u.floats), align=4)
        return code.builder.fmul(code.builder.sitofp(numbers, u.floats), unit)

    return _emitted(vector(u, units, types.intp), emit)


@intrinsic
def store(_: Typing, array: Array, index: Type, value: _VectorType) -> Emitted:
    """Write a vector to `array` from `index` on."""
    return _emitted(
        types.void(array, types.intp, value),
        lambda code, target, i, v: code.builder.store(
            v, code.pointer(array, target, i, value.numbers), align=2 if value.whole else 4
        ),
    )


@intrinsic
def splat(_: Typing, number: Type, words: Array) -> Emitted:
    """Return a vector of one number, float32."""
    vector = _VECTORS[words.dtype.bitwidth]
    return _emitted(vector(types.float32, words), lambda code, value, _: code.splat(value, vector.floats))


@intrinsic
def add(_: Typing, u: _VectorType, v: _VectorType) -> Emitted:
    """Return ``u + v``; of int16 numbers, none of which may leave their range."""
    return _emitted(u(u, u), lambda code, a, b: (code.builder.add if u.whole else code.builder.fadd)(a, b))


@intrinsic
def sub(_: Typing, u: _VectorType, v: _VectorType) -> Emitted:
    """Return ``u - v``."""
    return _emitted(u(u, u), lambda code, a, b: code.builder.fsub(a, b))


@intrinsic
def fma(_: Typing, u: _VectorType, v: _VectorType, w: _VectorType) -> Emitted:
    """Return ``u * v + w``, rounded once where the machine does both at once."""
    return _emitted(u(u, u, u), lambda code, a, b, c: code.fma(a, b, c))


@intrinsic
def to_multiple(_: Typing, u: _VectorType, unit: _VectorType) -> Emitted:
    """Return the nearest multiple of `unit`, a power of two; of two as near, the even one."""

    def emit(code: _Code, number: Value, of: Value) -> Value:
        kind = ir.FunctionType(u.floats, [u.floats])
        nearest = cgutils.get_or_insert_function(code.builder.module, kind, f"llvm.rint.v{u.lanes}f32")
        ints = ir.VectorType(_INT, u.lanes)
        of_one = code.splat(ir.Constant(_INT, 254 << 23), ints)  # bits of 2 ** -k are these less those of 2 ** k
        inverse = code.builder.bitcast(code.builder.sub(of_one, code.builder.bitcast(of, ints)), u.floats)
        return code.builder.fmul(code.builder.call(nearest, [code.builder.fmul(number, inverse)]), of)

    return _emitted(u(u, u), emit)


@intrinsic
def ge(_: Typing, u: _VectorType, v: _VectorType) -> Emitted:
    """Return where ``u >= v``, one bit per lane, the first lane lowest."""
    word = ir.IntType(u.lanes)
    return _emitted(u.word(u, u), lambda code, a, b: code.builder.bitcast(code.builder.fcmp_ordered(">=", a, b), word))


@intrinsic
def ne(_: Typing, u: _VectorType, v: _VectorType) -> Emitted:
    """Return where ``u != v``, one bit per lane, the first lane lowest."""
    word = ir.IntType(u.lanes)
    return _emitted(
        u.word(u, u), lambda code, a, b: code.builder.bitcast(code.builder.fcmp_unordered("!=", a, b), word)
    )


@intrinsic
def select(_: Typing, word: Type, u: _VectorType, v: _VectorType) -> Emitted:
    """Return `u` where the bit of the lane is set in `word`, `v` elsewhere."""
    return _emitted(
        u(u.word, u, u), lambda code, bits, a, b: code.builder.select(code.builder.bitcast(bits, u.bits), a, b)
    )


@intrinsic
def select_ge(_: Typing, u: _VectorType, v: _VectorType, a: _VectorType, b: _VectorType) -> Emitted:
    """Return `a` where ``u >= v``, `b` elsewhere."""
    return _emitted(
        u(u, u, u, u),
        lambda code, x, y, yes, no: code.builder.select(code.builder.fcmp_ordered(">=", x, y), yes, no),
    )


@intrinsic
def popcount(_: Typing, word: Type) -> Emitted:
    """Return how many bits of an unsigned integer are set."""
    return _emitted(
        types.intp(word), lambda code, bits: code.context.cast(code.builder, code.builder.ctpop(bits), word, types.intp)
    )


@intrinsic
def lowest_bit(_: Typing, word: Type) -> Emitted:
    """Return which is the lowest bit that is set of an unsigned integer that is not 0."""

    def emit(code: _Code, bits: Value) -> Value:
        lowest = code.builder.cttz(bits, ir.Constant(ir.IntType(1), 1))
        return code.context.cast(code.builder, lowest, word, types.intp)

    return _emitted(types.intp(word), emit)


@intrinsic
def copy_32(_: Typing, source: Array, start: Type, target: Array, first: Type, shift: Type, factor: Type) -> Emitted:
    """Write ``(source[start : start + 32] + shift) * factor`` to `target` from `first` on, all int32."""
    ints = ir.VectorType(_INT, 32)

    def emit(code: _Code, a: Value, i: Value, b: Value, j: Value, added: Value, times: Value) -> Value:
        read = code.builder.load(code.pointer(source, a, i, ints), align=4)
        moved = code.builder.mul(code.builder.add(read, code.splat(added, ints)), code.splat(times, ints))
        return code.builder.store(moved, code.pointer(target, b, j, ints), align=4)

    return _emitted(types.void(source, types.intp, target, types.intp, types.int32, types.int32), emit)


@intrinsic
def copy_8_bytes(_: Typing, source: Array, start: Type, target: Array, first: Type, shift: Type) -> Emitted:
    """Write ``source[start : start + 8] + shift`` (uint8) to `target` (int32) from `first` on."""
    small, ints = ir.VectorType(_BYTE, 8), ir.VectorType(_INT, 8)

    def emit(code: _Code, a: Value, i: Value, b: Value, j: Value, added: Value) -> Value:
        read = code.builder.load(code.pointer(source, a, i, small), align=1)
        moved = code.builder.add(code.builder.zext(read, ints), code.splat(added, ints))
        return code.builder.store(moved, code.pointer(target, b, j, ints), align=4)

    return _emitted(types.void(source, types.intp, target, types.intp, types.int32), emit)


@intrinsic
def patterns(_: Typing, a: Type, b: Type, c: Type, d: Type, target: Array, index: Type) -> Emitted:
    """Write ``a + 2 * b + 4 * c + 8 * d`` of the bits of each lane of four words to `target`, uint8, from `index`."""
    bits, small = ir.VectorType(ir.IntType(1), a.bitwidth), ir.VectorType(_BYTE, a.bitwidth)

    def emit(code: _Code, *values: Value) -> Value:
        total = ir.Constant(small, [0] * small.count)
        for step, word in enumerate(values[:4]):
            lanes = code.builder.zext(code.builder.bitcast(word, bits), small)
            total = code.builder.or_(total, code.builder.shl(lanes, ir.Constant(small, [step] * small.count)))
        return code.builder.store(total, code.pointer(target, values[4], values[5], small), align=1)

    return _emitted(types.void(a, a, a, a, target, types.intp), emit)


@intrinsic
def opaque(_: Typing, number: Type) -> Emitted:
    """Return an integer such that the compiler knows nothing of it: a loop that counts so is not unrolled."""

    def emit(code: _Code, value: Value) -> Value:
        return code.builder.asm(ir.FunctionType(value.type, [value.type]), "", "=r,0", (value,), True)

    return _emitted(number(number), emit)
