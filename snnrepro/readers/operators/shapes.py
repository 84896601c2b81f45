"""Operators that only move numbers: shapes, axes, padding, selection."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.network.layers import Affine, Concat, Pad, Reshape, Select, Transpose
from snnrepro.network.padding import LARGEST, Shape, spatial_pads
from snnrepro.readers.operators.registry import (
    MOVABLE,
    Call,
    Variable,
    constant,
    handles,
    inner_axis,
    integers,
    number,
    per_image,
    variable,
    weights,
)

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray, IntArray

MOST_INDICES = 2**20
"""Entries of one axis that a Select may name: as Python's numbers they take tens of megabytes."""


@handles("Shape")
def _shape(call: Call, x: Any, *, start: int = 0, end: Any = None) -> Any:
    x = variable(x)
    return np.array((call.batch, *x.shape)[start:end], np.int64)


@handles("Flatten")
def _flatten(call: Call, x: Any, *, axis: int = 1) -> Any:
    x = variable(x)
    inner = len(x.shape) if axis == x.rank else inner_axis(axis, x.rank)
    if math.prod(x.shape[:inner]) != 1:
        raise ModelError(f"axis={axis} would put the axes {x.shape[:inner]} into the batch, which must stay as it is")
    return call.add(Reshape((math.prod(x.shape),)), x)


@handles("Reshape", row_wise=True, either=["shape"])
def _reshape(call: Call, x: Any, shape: Any = None, *, allowzero: int = 0) -> Any:
    x = variable(x)
    wanted = sizes = integers(shape, "the shape")
    full = (call.batch * math.prod(x.shape[: x.folded]), *x.shape[x.folded :])
    total = call.batch * math.prod(x.shape)
    if not allowzero:
        sizes = [full[axis] if size == 0 and axis < len(full) else size for axis, size in enumerate(sizes)]
    if sizes.count(-1) == 1:
        others = math.prod(size for size in sizes if size != -1)
        sizes = [total // others if size == -1 and others else size for size in sizes]
    # The first axis is the batch, or holds it and `folded` rows of the value for every image.
    folded, rest = (sizes[0] // call.batch, tuple(sizes[1:])) if sizes else (0, ())
    fits = min(sizes, default=0) >= 1 and math.prod(sizes) == total and sizes[0] % call.batch == 0
    if not fits or (folded > 1 and not rest):
        raise ModelError(f"the batch axis must stay first: (batch, {', '.join(map(str, x.shape))}) to {wanted}")
    if folded == 1:
        return replace(_reshaped(call, x, rest), folded=0)
    if x.shape[-len(rest) :] == rest:
        return replace(x, folded=len(x.shape) - len(rest))
    return replace(_reshaped(call, x, (folded, *rest)), folded=1)


def _reshaped(call: Call, x: Variable, shape: Shape) -> Variable:
    return x if shape == x.shape else call.add(Reshape(shape), x)


@handles("Squeeze", either=["axes"])
def _squeeze(call: Call, x: Any, axes: Any = None) -> Any:
    x = variable(x)
    if axes is None:
        raise ModelError("without axes, a batch of one image would lose its batch axis too")
    gone = {inner_axis(axis, x.rank) for axis in integers(axes, "axes")}
    if any(x.shape[axis] != 1 for axis in gone):
        raise ModelError(f"only axes of size 1 can be removed, got {sorted(gone)} of {x.shape} (without the batch)")
    return call.add(Reshape(tuple(size for axis, size in enumerate(x.shape) if axis not in gone)), x)


@handles("Unsqueeze", either=["axes"])
def _unsqueeze(call: Call, x: Any, axes: Any = None) -> Any:
    x = variable(x)
    added = integers(axes, "axes")
    rank = x.rank + len(added)
    new = {inner_axis(axis, rank) for axis in added}
    if len(new) != len(added):
        raise ModelError(f"axes {added} name one axis twice")
    sizes = iter(x.shape)
    return call.add(Reshape(tuple(1 if axis in new else next(sizes) for axis in range(rank - 1))), x)


@handles("Transpose")
def _transpose(call: Call, x: Any, *, perm: Any = None) -> Any:
    x = variable(x)
    order = list(range(x.rank))[::-1] if perm is None else integers(perm, "perm")
    if sorted(order) != list(range(x.rank)):
        raise ModelError(f"perm {order} does not name each of {x.rank} axes once")
    inner = tuple(axis - (axis > x.batch_axis) for axis in order if axis != x.batch_axis)
    moved = x if inner == tuple(range(len(inner))) else call.add(Transpose(inner), x)
    return _held(call, moved, order.index(x.batch_axis), f"perm {order} of {x.rank} axes")


def _held(call: Call, x: Variable, batch_axis: int, got: str) -> Variable:
    """Return a value whose batch axis the model holds there, or refuse it: only what brings it back may read it."""
    if batch_axis and not (call.read_by and call.read_by <= MOVABLE):
        raise ModelError(f"the batch axis must stay first, got {got}")
    return replace(x, batch_axis=batch_axis)


@handles("Concat")
def _concat(call: Call, *values: Any, axis: int) -> Any:
    variables = [value for value in values if isinstance(value, Variable)]
    inner = inner_axis(axis, variables[0].rank)
    if len(variables) == len(values):
        return call.add(Concat(inner), *variables)
    parts, offsets = _with_room(call, values, inner)
    joined = parts[0] if len(parts) == 1 else call.add(Concat(inner), *parts)
    return call.add(Affine(np.ones((), np.float32), np.concatenate(offsets, inner)), joined)


def _with_room(call: Call, values: Sequence[Any], axis: int) -> tuple[list[Variable], list[AnyArray]]:
    """Return the variables padded by zeros where constants stand beside them, and what is to be added to all."""
    shape = next(value.shape for value in values if isinstance(value, Variable))
    parts: list[tuple[Variable, list[int]]] = []
    offsets: list[AnyArray] = []
    leading = 0
    for value in values:
        if isinstance(value, Variable):
            parts.append((value, [leading, 0]))
            offsets.append(np.zeros(value.shape, np.float32))
            leading = 0
            continue
        part = per_image(weights(value, "every part"), len(shape) + 1, "a part")
        wanted = (*shape[:axis], *part.shape[axis : axis + 1], *shape[axis + 1 :])
        if part.shape != wanted:
            raise ModelError(f"a constant part of shape {part.shape} does not go beside a value of shape {shape}")
        offsets.append(part)
        if parts:
            parts[-1][1][1] += part.shape[axis]
        else:
            leading += part.shape[axis]
    no_pads = [(0, 0)] * len(shape)
    padded = [
        call.add(Pad((*no_pads[:axis], (pads[0], pads[1]), *no_pads[axis + 1 :]), 0.0), value) if any(pads) else value
        for value, pads in parts
    ]
    return padded, offsets


@handles("Pad", either=["pads", "value"])
def _pad(call: Call, x: Any, pads: Any = None, value: Any = None, axes: Any = None, *, mode: str = "constant") -> Any:
    x = variable(x)
    widths = integers(pads, "pads")
    if axes is not None:
        padded = [axis % x.rank for axis in integers(axes, "axes")]
        flat = [0] * (2 * x.rank)
        for index, axis in enumerate(padded):
            flat[axis], flat[axis + x.rank] = widths[index], widths[index + len(padded)]
        widths = flat
    pairs = spatial_pads(widths, x.rank)
    if pairs[0] != (0, 0):
        raise ModelError(f"the batch axis must stay as it is, got pads {pairs[0]} for it")
    if mode == "constant":
        return call.add(Pad(pairs[1:], 0.0 if value is None else number(value, "the value")), x)
    if mode not in _PADDED:
        raise ModelError(f"mode {mode!r} is none of constant, {', '.join(_PADDED)}")
    taken: dict[int, Sequence[int]] = {}
    for axis, (size, (before, after)) in enumerate(zip(x.shape, pairs[1:])):
        if before or after:
            check_length(size + max(before, 0) + max(after, 0))
            entries = _PADDED[mode](np.arange(size), (max(before, 0), max(after, 0)))
            taken[axis] = entries[max(-before, 0) : len(entries) - max(-after, 0)].tolist()
    return selected(call, x, taken)


_PADDED: Mapping[str, Callable[[IntArray, tuple[int, int]], IntArray]] = {
    "edge": lambda entries, widths: np.pad(entries, widths, "edge"),
    "reflect": lambda entries, widths: np.pad(entries, widths, "reflect"),
    "wrap": lambda entries, widths: np.pad(entries, widths, "wrap"),
}


@handles("Gather")
def _gather(call: Call, x: Any, indices: Any, *, axis: int = 0) -> Any:
    x, places = variable(x), constant(indices, "the indices")
    inner = inner_axis(axis, x.rank)
    entries, size = integers(places, "the indices"), x.shape[inner]
    if any(not -size <= entry < size for entry in entries) or not entries:
        raise ModelError(f"indices from {-size} to {size - 1} are needed for an axis of {size}")
    picked = selected(call, x, {inner: [entry % size for entry in entries]})
    return _reshaped(call, picked, (*x.shape[:inner], *places.shape, *x.shape[inner + 1 :]))


@handles("GatherND")
def _gather_nd(call: Call, x: Any, indices: Any, *, batch_dims: int = 0) -> Any:
    x, places = variable(x), constant(indices, "the indices")
    n_axes = places.shape[-1] if places.ndim else 0
    if batch_dims or not 0 < n_axes <= x.batch_axis:
        raise ModelError(
            f"entries of axes before the batch axis can be taken, at places that are constants: got {n_axes} of "
            f"{x.batch_axis} such axes, with batch_dims={batch_dims}"
        )
    taken, kept = x.shape[:n_axes], x.shape[n_axes:]
    entries = np.array(integers(places, "the indices")).reshape(-1, n_axes)
    if not len(entries) or (entries < np.negative(taken)).any() or (entries >= taken).any():
        raise ModelError(f"indices into axes of {taken} are needed, got {len(entries)}, or some outside")
    flat = np.ravel_multi_index(tuple((entries % taken).T), taken).tolist()
    picked = selected(call, _reshaped(call, x, (math.prod(taken), *kept)), {0: flat})
    shaped = _reshaped(call, picked, (*places.shape[:-1], *kept))
    batch_axis = places.ndim - 1 + x.batch_axis - n_axes
    return _held(call, shaped, batch_axis, f"it as axis {batch_axis}, behind those of the places")


@handles("Expand")
def _expand(call: Call, x: Any, shape: Any) -> Any:
    x = variable(x)
    wanted = integers(shape, "the shape")
    rank = max(x.rank, len(wanted))
    target = [1] * (rank - len(wanted)) + wanted
    if rank > x.rank or target[0] not in (1, call.batch):
        raise ModelError(f"the batch axis must stay first: {('batch', *x.shape)} to {wanted}")
    if any(size not in (1, full) and full != 1 for size, full in zip(target[1:], x.shape)):
        raise ModelError(f"{x.shape} cannot be expanded to {target[1:]} (without the batch)")
    grown = {axis: size for axis, (size, own) in enumerate(zip(target[1:], x.shape)) if own == 1 and size > 1}
    if math.prod(grown.values()) * math.prod(x.shape) > LARGEST:
        raise ModelError(f"{x.shape} expanded to {target[1:]} has more than {LARGEST} numbers for one image")
    for size in grown.values():
        check_length(size)
    return selected(call, x, {axis: [0] * size for axis, size in grown.items()})


@handles("DepthToSpace")
def _depth_to_space(call: Call, x: Any, *, blocksize: int, mode: str = "DCR") -> Any:
    x = variable(x)
    depth, height, width, block = *_image(x), blocksize
    if block < 1 or depth % block**2 or mode not in ("DCR", "CRD"):
        raise ModelError(f"{depth} channels in mode {mode!r} are no blocks of {block} x {block}")
    rest = depth // block**2
    parts = (block, block, rest) if mode == "DCR" else (rest, block, block)
    split = call.add(Reshape((*parts, height, width)), x)
    moved = call.add(Transpose((2, 3, 0, 4, 1) if mode == "DCR" else (0, 3, 1, 4, 2)), split)
    return call.add(Reshape((rest, height * block, width * block)), moved)


@handles("SpaceToDepth")
def _space_to_depth(call: Call, x: Any, *, blocksize: int, mode: str = "DCR") -> Any:
    x = variable(x)
    depth, height, width, block = *_image(x), blocksize
    if block < 1 or height % block or width % block or mode not in ("DCR", "CRD"):
        raise ModelError(f"{height} x {width} in mode {mode!r} is not made of blocks of {block} x {block}")
    split = call.add(Reshape((depth, height // block, block, width // block, block)), x)
    moved = call.add(Transpose((2, 4, 0, 1, 3) if mode == "DCR" else (0, 2, 4, 1, 3)), split)
    return call.add(Reshape((depth * block**2, height // block, width // block)), moved)


def _image(x: Variable) -> tuple[int, int, int]:
    if len(x.shape) != 3:
        raise ModelError(f"channels, height and width are needed, got {x.shape}")
    return x.shape[0], x.shape[1], x.shape[2]


@handles("Slice", either=["starts", "ends", "axes"])
def _slice(call: Call, x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Any:
    x = variable(x)
    first, last = integers(starts, "starts"), integers(ends, "ends")
    cut = list(range(len(first))) if axes is None else integers(axes, "axes")
    strides = [1] * len(first) if steps is None else integers(steps, "steps")
    if not len(first) == len(last) == len(cut) == len(strides) == len({axis % x.rank for axis in cut}):
        raise ModelError(f"one start, end and step per axis are needed, got {first}, {last}, {strides} for {cut}")
    taken: dict[int, Sequence[int]] = {}
    for axis, begin, end, step in zip(cut, first, last, strides):
        if axis % x.rank == 0 and (begin, step) == (0, 1) and end >= call.batch:
            continue  # the whole batch
        inner = inner_axis(axis, x.rank)
        taken[inner] = range(*slice(begin, end, step).indices(x.shape[inner]))
    return selected(call, x, taken)


@handles("Split", either=["split"])
def _split(call: Call, x: Any, split: Any = None, *, axis: int = 0, num_outputs: Any = None) -> Any:
    x = variable(x)
    inner = inner_axis(axis, x.rank)
    size = x.shape[inner]
    if split is None:
        part = -(-size // call.n_outputs)
        sizes = [min(part, size - part * index) for index in range(call.n_outputs)]
    else:
        sizes = integers(split, "split")
    if sum(sizes) != size or len(sizes) != call.n_outputs or min(sizes) < 1:
        raise ModelError(f"{sizes} do not split an axis of {size} into {call.n_outputs} parts of at least 1")
    ends = itertools.accumulate(sizes)
    return [selected(call, x, {inner: range(end - part, end)}) for part, end in zip(sizes, ends)]


@handles("Tile")
def _tile(call: Call, x: Any, repeats: Any) -> Any:
    x, times = variable(x), integers(repeats, "repeats")
    if len(times) != x.rank or times[0] != 1 or any(number < 1 for number in times):
        raise ModelError(f"{x.rank} repeats of at least 1 with 1 for the batch are needed, got {times}")
    if math.prod(times) * math.prod(x.shape) > LARGEST:
        raise ModelError(f"{x.shape} repeated {times[1:]} times has more than {LARGEST} numbers for one image")
    taken: dict[int, Sequence[int]] = {}
    for axis, (size, repeated) in enumerate(zip(x.shape, times[1:])):
        if repeated > 1:
            check_length(size * repeated)
            taken[axis] = [*range(size)] * repeated
    return selected(call, x, taken)


def check_length(length: int) -> None:
    """Refuse more indices than a layer may keep; to be called before they are built."""
    if length > MOST_INDICES:
        raise ModelError(f"{length} entries of an axis would be taken singly, at most {MOST_INDICES} are accepted")


def selected(call: Call, x: Variable, taken: Mapping[int, Sequence[int]]) -> Variable:
    """Return `x` with the given entries of some axes; an axis that is taken as it is needs no indices."""
    indices: list[tuple[int, ...] | None] = [None] * len(x.shape)
    for axis, entries in taken.items():
        if entries != range(x.shape[axis]):
            check_length(len(entries))
            indices[axis] = tuple(entries)
    return x if indices == [None] * len(x.shape) else call.add(Select(tuple(indices)), x)
