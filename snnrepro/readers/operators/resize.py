"""Resizing an image: every number of the result is one of the value's, or a mean of neighbours."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Callable, Sequence

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.network.layers import Dense, Transpose
from snnrepro.network.padding import LARGEST
from snnrepro.readers.operators.registry import Call, Variable, constant, handles, integers, variable, weights
from snnrepro.readers.operators.shapes import check_length, selected

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray


@handles("Upsample", either=["scales"])
def _upsample(call: Call, x: Any, scales: Any = None, *, mode: str = "nearest") -> Any:
    x = variable(x)
    factors = [float(factor) for factor in weights(scales, "scales").reshape(-1)]
    return _resized(call, x, mode, factors, None, "asymmetric", "floor")


@handles("Resize")
def _resize(
    call: Call,
    x: Any,
    second: Any = None,
    scales: Any = None,
    sizes: Any = None,
    *,
    mode: str = "nearest",
    antialias: int = 0,
    axes: Any = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    nearest_mode: str = "round_prefer_floor",
) -> Any:
    x = variable(x)
    if antialias:
        raise ModelError("only a Resize without antialias can be converted")
    if call.opset < 11:  # its second input is the scales, there is no region of interest
        scales, coordinate_transformation_mode, nearest_mode = second, "asymmetric", "floor"
    if keep_aspect_ratio_policy not in _ASPECT:
        raise ModelError(f"keep_aspect_ratio_policy {keep_aspect_ratio_policy!r} is none of {', '.join(_ASPECT)}")
    full = (call.batch, *x.shape)
    resized = range(x.rank) if axes is None else [axis % x.rank for axis in integers(axes, "axes")]
    if sizes is not None and constant(sizes, "sizes").size:
        declared = dict(zip(resized, integers(sizes, "sizes")))
        target = [declared.get(axis, size) for axis, size in enumerate(full)]
        factors = [after / before for after, before in zip(target, full)]
        choose = _ASPECT[keep_aspect_ratio_policy]
        if choose is not None:  # one factor for all axes that are resized; the sizes are rounded, halves upwards
            factor = choose(factors[axis] for axis in declared)
            factors = [factor if axis in declared else 1.0 for axis in range(x.rank)]
            target = [math.floor(factor * size + 0.5) if axis in declared else size for axis, size in enumerate(full)]
        return _resized(call, x, mode, factors, target, coordinate_transformation_mode, nearest_mode)
    scaled = dict(zip(resized, weights(scales, "scales").reshape(-1)))
    factors = [float(scaled.get(axis, 1.0)) for axis in range(x.rank)]
    return _resized(call, x, mode, factors, None, coordinate_transformation_mode, nearest_mode)


# Which of the factors that the sizes ask for is that of all axes (ONNX, Resize: keep_aspect_ratio_policy).
_ASPECT: dict[str, Any] = {"stretch": None, "not_larger": min, "not_smaller": max}
# Where a position of the result lies in the value (ONNX, Resize): position, scale, size before and after.
_COORDINATES: dict[str, Callable[[Any, float, int, int], Any]] = {
    "half_pixel": lambda p, scale, before, after: (p + 0.5) / scale - 0.5,
    "half_pixel_symmetric": lambda p, scale, before, after: (
        before / 2 * (1 - after / (scale * before)) + (p + 0.5) / scale - 0.5
    ),
    "pytorch_half_pixel": lambda p, scale, before, after: (p + 0.5) / scale - 0.5 if after > 1 else p * 0.0,
    "align_corners": lambda p, scale, before, after: p * (before - 1) / (after - 1) if after > 1 else p * 0.0,
    "asymmetric": lambda p, scale, before, after: p / scale,
    "tf_half_pixel_for_nn": lambda p, scale, before, after: (p + 0.5) / scale,
}
_ROUNDING: dict[str, Callable[[Any], Any]] = {
    "round_prefer_floor": lambda p: np.ceil(p - 0.5),
    "round_prefer_ceil": lambda p: np.floor(p + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _resized(
    call: Call, x: Variable, mode: str, factors: list[float], sizes: Any, coordinates: str, rounding: str
) -> Variable:
    linear = mode in ("linear", "bilinear", "trilinear")
    if not (linear or mode == "nearest") or coordinates not in _COORDINATES or rounding not in _ROUNDING:
        raise ModelError(f"only 'nearest' and 'linear' can be converted, got {mode!r}, {coordinates!r}, {rounding!r}")
    if len(factors) != x.rank or abs(factors[0] - 1.0) > 1e-6:
        raise ModelError(f"{x.rank} factors with 1 for the batch are needed, got {factors}")
    taken: dict[int, Sequence[int]] = {}
    for axis, (before, factor) in enumerate(zip(x.shape, factors[1:])):
        after = int(sizes[axis + 1]) if sizes is not None else math.floor(np.float32(before) * np.float32(factor))
        if after < 1 or not math.isfinite(factor):
            raise ModelError(f"an axis of {before} times {factor} leaves nothing")
        if after == before and factor == 1.0:
            continue
        if coordinates == "align_corners" and sizes is None and not math.isclose(before * factor, after, rel_tol=1e-6):
            raise ModelError(
                f"{before} times {factor} is not whole: libraries differ in where the last corner lies then"
            )
        check_length(after)
        seen = _COORDINATES[coordinates](np.arange(after, dtype=np.float64), factor, before, after)
        if linear:
            x = _interpolated(call, x, axis, seen)
        else:
            taken[axis] = np.clip(_ROUNDING[rounding](seen), 0, before - 1).astype(int).tolist()
    return selected(call, x, taken)


def _interpolated(call: Call, x: Variable, axis: int, seen: AnyArray) -> Variable:
    """Return means of the two neighbours of every position of an axis, by nearness; the edges go on for ever."""
    before, after = x.shape[axis], len(seen)
    if before * after > LARGEST:
        raise ModelError(f"an axis of {before} interpolated at {after} positions takes more than {LARGEST} weights")
    below = np.floor(seen)
    mixture = np.zeros((before, after))
    for neighbour, weight in ((below, 1 - (seen - below)), (below + 1, seen - below)):
        np.add.at(mixture, (np.clip(neighbour, 0, before - 1).astype(int), np.arange(after)), weight)
    last = len(x.shape) - 1
    order = (*(other for other in range(last + 1) if other != axis), axis)
    turned = x if axis == last else call.add(Transpose(order), x)
    mixed = call.add(Dense(mixture.astype(np.float32), np.zeros(after, np.float32)), turned)
    return mixed if axis == last else call.add(Transpose(tuple(int(place) for place in np.argsort(order))), mixed)
