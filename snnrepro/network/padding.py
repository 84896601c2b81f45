"""Shapes, pads and windows: the only arithmetic of them; shapes leave the batch axis out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Sequence, Tuple

import numpy as np

from snnrepro.errors import ModelError

if TYPE_CHECKING:
    from snnrepro.arrays import FloatArray

Shape = Tuple[int, ...]
Pads = Tuple[Tuple[int, int], ...]

LARGEST = 2**31
"""Values of more numbers than this for one image are refused: a declared size must not exhaust the memory."""


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape of values broadcast against each other, or raise a ModelError."""
    try:
        return (
            tuple(int(size) for size in np.broadcast_shapes(*shapes))
            if hasattr(np, "broadcast_shapes")
            else tuple(np.broadcast(*(np.empty(shape, np.bool_) for shape in shapes)).shape)
        )
    except ValueError as error:
        raise ModelError(f"{list(shapes)} cannot be broadcast against each other") from error


def window(size: int, kernel: int, stride: int, dilation: int, pad: tuple[int, int], ceil: bool = False) -> int:
    """Return how many windows fit along one axis.

    ``floor((size + pads - reach) / stride) + 1`` with ``reach = dilation * (kernel - 1) + 1``; with `ceil` rounded up,
    without a window that would begin behind the value and its padding in front (ONNX, AveragePool).
    """
    span = size + pad[0] + pad[1] - (dilation * (kernel - 1) + 1)
    if span < 0:
        return 0
    count = (-(-span // stride) if ceil else span // stride) + 1
    if ceil and (count - 1) * stride >= size + pad[0]:
        count -= 1
    return count


def same_pads(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], upper: bool
) -> Pads:
    """Return the pads of ONNX's auto_pad: ``ceil(size / stride)`` windows, the odd row last (upper) or first."""
    pads = []
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations):
        total = max((-(-size // stride) - 1) * stride + dilation * (k - 1) + 1 - size, 0)
        less, more = total // 2, total - total // 2
        pads.append((less, more) if upper else (more, less))
    return tuple(pads)


def spatial_pads(pads: Sequence[int] | None, n_axes: int) -> Pads:
    """Return ONNX's flat pads (all befores, then all afters) as pairs; zeros where there are none."""
    flat = [0] * (2 * n_axes) if pads is None else [int(pad) for pad in pads]
    if len(flat) != 2 * n_axes:
        raise ModelError(f"{2 * n_axes} pads are needed for {n_axes} axes, got {flat}")
    return tuple(zip(flat[:n_axes], flat[n_axes:]))


def padded(x: FloatArray, pads: Pads, value: float) -> FloatArray:
    """Return `x` with a constant around its last axes; pads below 0 crop."""
    first = x.ndim - len(pads)
    widths = [(0, 0)] * first + [(max(before, 0), max(after, 0)) for before, after in pads]
    if any(before or after for before, after in widths):
        x = np.pad(x, widths, constant_values=np.float32(value))
    # Padded before it is cropped: a crop may reach into what was added on the other side.
    ends = zip(pads, x.shape[first:])
    crops = [slice(max(-before, 0), size - max(-after, 0)) for (before, after), size in ends]
    return x[tuple([slice(None)] * first + crops)]


def windows(x: FloatArray, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> FloatArray:
    """Return a read-only view ``(n, channels, *windows, *kernel)`` of all windows of padded images."""
    x = np.ascontiguousarray(x)
    n_axes = len(kernel)
    space = [window(*axis, (0, 0)) for axis in zip(x.shape[2:], kernel, strides, dilations)]
    steps = x.strides[2:]
    return np.lib.stride_tricks.as_strided(
        x,
        shape=(*x.shape[:2], *space, *kernel),
        strides=(
            *x.strides[:2],
            *(steps[axis] * strides[axis] for axis in range(n_axes)),
            *(steps[axis] * dilations[axis] for axis in range(n_axes)),
        ),
        writeable=False,
    )
