"""The ONNX operators that can be read, one family a file; importing this package registers them all."""

from snnrepro.readers.operators import elementwise, functions, linear, normalization, piecewise, pooling, resize, shapes
from snnrepro.readers.operators.registry import HANDLERS, MOVABLE, ROW_WISE, Call, Variable, handle, handles

__all__ = [
    "HANDLERS",
    "MOVABLE",
    "ROW_WISE",
    "Call",
    "Variable",
    "elementwise",
    "functions",
    "handle",
    "handles",
    "linear",
    "normalization",
    "piecewise",
    "pooling",
    "resize",
    "shapes",
]
