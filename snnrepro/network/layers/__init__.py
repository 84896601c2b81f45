"""The layers of a trained network: immutable data, one small class each, with its checks, its shape and its value.

Images are channels first everywhere inside the package, as in ONNX: ``(n_images, channels, *space)``. A model that
keeps them otherwise has Transpose layers where it changes them. Shapes and axes leave the batch axis out, unless said.
Pads are ``((before, after), ...)``, one pair per spatial axis.
"""

from __future__ import annotations

from snnrepro.network.layers.base import FieldError, Layer
from snnrepro.network.layers.elementwise import (
    Add,
    Affine,
    Divide,
    Function,
    LeakyReLU,
    Multiply,
    ReLU,
    Round,
    Sigmoid,
    Softmax,
    Weighing,
)
from snnrepro.network.layers.linear import Conv, ConvTranspose, Dense
from snnrepro.network.layers.movement import Concat, Pad, Reshape, Select, Transpose
from snnrepro.network.layers.normalization import Normalize
from snnrepro.network.layers.onnx_part import OnnxPart
from snnrepro.network.layers.pooling import AveragePool, MaxPool, Reduce
from snnrepro.network.padding import Pads

__all__ = [
    "LAYER_TYPES",
    "Add",
    "Affine",
    "AveragePool",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Dense",
    "Divide",
    "FieldError",
    "Function",
    "Layer",
    "LeakyReLU",
    "MaxPool",
    "Multiply",
    "Normalize",
    "OnnxPart",
    "Pad",
    "Pads",
    "ReLU",
    "Reduce",
    "Reshape",
    "Round",
    "Select",
    "Sigmoid",
    "Softmax",
    "Transpose",
    "Weighing",
]

LAYER_TYPES: tuple[type[Layer], ...] = tuple(
    layer
    for layer in map(globals().get, __all__)
    if isinstance(layer, type) and issubclass(layer, Layer) and layer is not Layer
)
