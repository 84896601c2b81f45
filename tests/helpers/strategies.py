"""What the property tests draw: networks and images that are neither square nor symmetric nor trivial."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Affine, Dense, ReLU, Reshape, Softmax

AWKWARD = ["model/dense/MatMul:0", "x:0", "a b", "ünï", "StatefulPartitionedCall/sequential/dense_1/BiasAdd:0"]


def names(index):
    """Return a node name such as exporters write: with slashes, colons, spaces and letters beyond ASCII."""
    return f"{AWKWARD[index % len(AWKWARD)]}.{index}"


@st.composite
def dense_networks(draw, max_layers=4, max_units=9):
    """Draw a chain Reshape, Dense, ReLU, ..., Dense with or without Softmax; some biases are all zero.

    Two neighbouring layers are often equally wide, so that a transposed matrix fits and must be noticed by its numbers.
    """
    input_shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    n_layers = draw(st.integers(1, max_layers))
    widths = draw(st.lists(st.integers(2, max_units), min_size=n_layers, max_size=n_layers))
    if draw(st.booleans()):
        widths = [widths[0]] * n_layers
    rng = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    nodes = [Node(names(0), ("input",), Reshape((int(np.prod(input_shape)),)))]
    for index, n_out in enumerate(widths):
        n_in = nodes[-1].layer.shape[0] if index == 0 else widths[index - 1]
        bias = np.zeros(n_out) if draw(st.booleans()) else rng.uniform(-1, 1, n_out)
        dense = Dense(rng.normal(0, 1 / np.sqrt(n_in), (n_in, n_out)), bias)
        nodes.append(Node(names(len(nodes)), (nodes[-1].name,), dense))
        if index < n_layers - 1:
            nodes.append(Node(names(len(nodes)), (nodes[-1].name,), ReLU()))
    if draw(st.booleans()):
        nodes.append(Node(names(len(nodes)), (nodes[-1].name,), Softmax((0,))))
    return Network("input", input_shape, tuple(nodes), {"file": "drawn", "seed": "1"})


@st.composite
def images_for(draw, network, max_images=7):
    """Draw a batch of images for a network, values in [0, 1]."""
    n_images = draw(st.integers(1, max_images))
    rng = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    return rng.uniform(0, 1, (n_images, *network.input_shape)).astype(np.float32)


def as_onnx(network):
    """Write a drawn network as ONNX with the helper functions of the onnx package: an exporter not our own."""
    from onnx import helper, numpy_helper

    nodes, tensors = [], []

    def constant(name, values):
        tensors.append(numpy_helper.from_array(np.array(values), name))
        return name

    for index, node in enumerate(network.nodes):
        layer, x = node.layer, node.inputs[0]
        if isinstance(layer, Reshape):
            shape = constant(f"shape{index}", np.array([-1, *layer.shape], np.int64))
            nodes.append(helper.make_node("Reshape", [x, shape], [node.name]))
        elif isinstance(layer, Dense):
            weights = constant(f"w/{index}:0", layer.weights)
            nodes.append(helper.make_node("MatMul", [x, weights], [f"product{index}"]))
            bias = constant(f"b/{index}:0", layer.bias)
            nodes.append(helper.make_node("Add", [f"product{index}", bias], [node.name]))
        elif isinstance(layer, Affine):
            product = constant(f"scale/{index}:0", layer.scale)
            nodes.append(helper.make_node("Mul", [x, product], [f"scaled{index}"]))
            nodes.append(
                helper.make_node("Add", [f"scaled{index}", constant(f"b/{index}:0", layer.offset)], [node.name])
            )
        else:
            nodes.append(helper.make_node("Relu" if isinstance(layer, ReLU) else "Softmax", [x], [node.name]))
    return model_proto(nodes, tensors, network.input_name, network.input_shape, network.nodes[-1].name)


class _Drawing:
    """An ONNX model that grows at its end: the value drawn last, the nodes and the tensors so far."""

    def __init__(self, draw):
        self.draw = draw
        self.rng = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
        self.nodes, self.tensors = [], []
        n_axes = draw(st.sampled_from([1, 2, 2]))
        self.input_shape = (draw(st.integers(1, 4)), *draw(_sizes(n_axes, 2, 8)))
        self.value, self.shape = "input", self.input_shape

    def tensor(self, values):
        from onnx import numpy_helper

        values = np.asarray(values)
        name = f"{names(len(self.tensors))}/read"
        self.tensors.append(
            numpy_helper.from_array(values.astype(np.float32) if values.dtype.kind == "f" else values, name)
        )
        return name

    def normal(self, *shape):
        """Return a tensor of numbers around 0, scaled so that sums over all axes but the first stay near 1."""
        return self.tensor(self.rng.normal(0, 1 / np.sqrt(max(np.prod(shape[1:]), 1)), shape))

    def bias(self, n):
        """Return no bias at all, one that is all zero, or one that is not, as a list of inputs."""
        kind = self.draw(st.sampled_from(["none", "zero", "some", "some"]))
        return [] if kind == "none" else [self.tensor(self.rng.uniform(-0.5, 0.5, n) * (kind == "some"))]

    def node(self, op_type, inputs, shape=None, **attributes):
        """Add a node; its output is the value drawn last, of the given shape (without the batch)."""
        from onnx import helper

        self.value, self.shape = names(len(self.nodes)), self.shape if shape is None else tuple(shape)
        self.nodes.append(helper.make_node(op_type, inputs, [self.value], **attributes))

    def proto(self):
        return model_proto(self.nodes, self.tensors, "input", self.input_shape, self.value, self.shape)


def _sizes(n, least, most):
    return st.lists(st.integers(least, most), min_size=n, max_size=n)


@st.composite
def _windowed(draw, space, largest_pad, dilated=True):
    """Draw kernel, strides, dilations and (before, after) pads for windows that fit into `space` at least once.

    Pads go up to `largest_pad`, or for None stay below the kernel, so that no window lies in the padding alone.
    """
    axes = []
    for size in space:
        kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        dilation = draw(st.integers(1, min(2, size))) if dilated else 1
        most = kernel - 1 if largest_pad is None else largest_pad
        pad = draw(st.integers(0, most)), draw(st.integers(0, most))
        if dilation * (kernel - 1) >= size + sum(pad):
            kernel, dilation, pad = min(kernel, size + 2 * most), 1, (most, most)
        axes.append((kernel, stride, dilation, pad))
    return tuple(map(list, zip(*axes)))


def _flat(pads):
    return [before for before, _ in pads] + [after for _, after in pads]


def _count(size, kernel, stride, dilation, pad):
    return (size + sum(pad) - dilation * (kernel - 1) - 1) // stride + 1


def _conv(drawing):
    draw, (channels, *space) = drawing.draw, drawing.shape
    groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    out = groups * draw(st.integers(1, max(1, 6 // groups)))
    auto_pad = draw(st.sampled_from(["NOTSET"] * 3 + ["SAME_UPPER", "SAME_LOWER", "VALID"]))
    # onnxruntime has no dilations with SAME.
    kernel, strides, dilations, pads = draw(_windowed(space, 2 * (auto_pad == "NOTSET"), auto_pad[:4] != "SAME"))
    if auto_pad == "NOTSET":
        attributes = {"pads": _flat(pads)} if draw(st.booleans()) or np.any(pads) else {}
    else:
        attributes = {"auto_pad": auto_pad}
    if auto_pad[:4] == "SAME":
        after = [-(-size // stride) for size, stride in zip(space, strides)]
    else:
        after = [_count(*axis) for axis in zip(space, kernel, strides, dilations, pads)]
    if draw(st.booleans()):
        attributes["kernel_shape"] = kernel
    weights = drawing.normal(out, channels // groups, *kernel)
    inputs = [drawing.value, weights, *drawing.bias(out)]
    drawing.node("Conv", inputs, (out, *after), strides=strides, dilations=dilations, group=groups, **attributes)


def _conv_transpose(drawing):
    draw, (channels, *space) = drawing.draw, drawing.shape
    groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    per_group, n = draw(st.integers(1, max(1, 6 // groups))), len(space)
    kernel, dilations = draw(_sizes(n, 1, 3)), draw(_sizes(n, 1, 2))
    strides = draw(_sizes(n, 1, 3 if max(space) < 6 else 1))
    extra = [draw(st.integers(0, stride - 1)) for stride in strides]
    pads, after = [], []
    for axis, size in enumerate(space):
        full = (size - 1) * strides[axis] + dilations[axis] * (kernel[axis] - 1) + 1
        before = draw(st.integers(0, min(2, full - 1)))
        pads.append((before, draw(st.integers(0, min(2, full - 1 - before)))))
        after.append(full - sum(pads[-1]) + extra[axis])
    weights = drawing.normal(channels, per_group, *kernel)
    inputs = [drawing.value, weights, *drawing.bias(groups * per_group)]
    attributes = {"output_padding": extra} if any(extra) else {}
    attributes.update(strides=strides, dilations=dilations, pads=_flat(pads), group=groups)
    drawing.node("ConvTranspose", inputs, (groups * per_group, *after), **attributes)


def _batch_normalization(drawing):
    n, rng = drawing.shape[0], drawing.rng
    statistics = [rng.uniform(0.5, 1.5, n), *rng.uniform(-0.5, 0.5, (2, n)), rng.uniform(0.5, 1.5, n)]
    inputs = [drawing.value, *map(drawing.tensor, statistics)]
    drawing.node("BatchNormalization", inputs, epsilon=drawing.draw(st.sampled_from([1e-5, 1e-3, 0.1])))


def _activation(drawing):
    kind = drawing.draw(st.sampled_from(["Relu", "Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid"]))
    x, (channels, *space) = drawing.value, drawing.shape
    if kind == "LeakyRelu":
        drawing.node(kind, [x], alpha=drawing.draw(st.sampled_from([0.01, 0.3])))
    elif kind == "PRelu":
        shape = drawing.draw(st.sampled_from([(1,), (channels, *[1] * len(space)), (channels, *space)]))
        drawing.node(kind, [x, drawing.tensor(drawing.rng.uniform(0.1, 0.9, shape))])
    elif kind == "Clip":
        drawing.node(kind, [x, drawing.tensor(np.zeros(())), drawing.tensor(np.full((), 6.0))])
    else:
        drawing.node(kind, [x])


def _normalization(drawing):
    """Add a normalisation of one kind, whose epsilon keeps what is small from being blown up."""
    draw, x, (channels, *space) = drawing.draw, drawing.value, drawing.shape
    # onnxruntime has LRN for two spatial axes alone.
    kind = draw(st.sampled_from(["InstanceNormalization", "ReduceL2", *["LRN"] * (len(space) == 2)]))
    if kind == "InstanceNormalization":
        constants = [drawing.tensor(values) for values in drawing.rng.uniform(0.5, 1.5, (2, channels))]
        drawing.node(kind, [x, *constants], epsilon=0.1)
    elif kind == "LRN":
        drawing.node(kind, [x], size=draw(st.sampled_from([1, 3])), alpha=0.3, bias=draw(st.sampled_from([1.0, 0.5])))
    else:
        axis = draw(st.integers(1, len(space) + 1))
        shape = drawing.shape
        drawing.node(kind, [x], [1 if place == axis - 1 else n for place, n in enumerate(shape)], axes=[axis])
        drawing.node("Add", [drawing.value, drawing.tensor(np.full((), 0.5))])
        drawing.node("Div", [x, drawing.value], shape)


def _pool(drawing):
    draw, (channels, *space) = drawing.draw, drawing.shape
    op_type = draw(st.sampled_from(["AveragePool", "MaxPool"]))
    kernel, strides, dilations, pads = draw(_windowed(space, None, op_type == "MaxPool"))
    after = [_count(*axis) for axis in zip(space, kernel, strides, dilations, pads)]
    attributes = {"dilations": dilations} if max(dilations) > 1 else {}
    if op_type == "AveragePool":
        attributes["count_include_pad"] = int(draw(st.booleans()))
    if draw(st.booleans()):
        rests = [_count(size, k, 1, d, pad) - 1 for size, k, d, pad in zip(space, kernel, dilations, pads)]
        more = [-(-rest // stride) + 1 for rest, stride in zip(rests, strides)]
        begins = [(count - 1) * stride - before for count, stride, (before, _) in zip(more, strides, pads)]
        # onnxruntime before 1.20 keeps a window that begins in the padding behind the value, and counts what the last
        # window has behind that padding: there its answer is no oracle.
        inside = all(begin < size for begin, size in zip(begins, space))
        if inside and not (attributes.get("count_include_pad") and more != after):
            after, attributes["ceil_mode"] = more, 1
    drawing.node(
        op_type,
        [drawing.value],
        (channels, *after),
        kernel_shape=kernel,
        strides=strides,
        pads=_flat(pads),
        **attributes,
    )


def _constant(drawing, widens=True):
    """Add a sum or product with a constant; where `widens` lets it, one channel may become several."""
    draw, (channels, *space) = drawing.draw, drawing.shape
    ones = [1] * len(space)
    shapes = [(), (1,), (channels, *ones), (1, channels, *ones), (1, *space), (channels, *space)]
    if widens and channels == 1:
        shapes += [(3, *ones), (1, 2, *ones)]
    shape = draw(st.sampled_from(shapes))
    inputs = [drawing.value, drawing.tensor(drawing.rng.uniform(0.5, 1.5, shape))]
    op_type = draw(st.sampled_from(["Mul", "Add", "Sub", "Div"]))
    result = np.broadcast(np.empty((1, channels, *space)), np.empty(shape)).shape[1:]
    drawing.node(op_type, inputs[::-1] if op_type != "Div" and draw(st.booleans()) else inputs, result)


def _branches(drawing):
    """Add two branches that begin at one value, and their sum, their difference or both side by side."""
    draw, x, shape = drawing.draw, drawing.value, drawing.shape
    ends = []
    for inner in (draw(st.sampled_from(["conv", "activation"])), draw(st.sampled_from(["none", "conv", "constant"]))):
        drawing.value, drawing.shape = x, shape
        if inner == "conv":
            weights = drawing.normal(shape[0], shape[0], *[3] * (len(shape) - 1))
            drawing.node("Conv", [drawing.value, weights, *drawing.bias(shape[0])], auto_pad="SAME_UPPER")
        elif inner == "activation":
            _activation(drawing)
        elif inner == "constant":
            _constant(drawing, widens=False)
        ends.append(drawing.value)
    drawing.shape = shape
    op_type = draw(st.sampled_from(["Add", "Sub", "Concat", "Sum"]))
    if op_type == "Concat":
        axis = draw(st.integers(0, len(shape) - 1))
        joined = [size * (2 if place == axis else 1) for place, size in enumerate(shape)]
        counted = axis + 1 if draw(st.booleans()) else axis - len(shape)
        drawing.node("Concat", draw(st.permutations(ends)), joined, axis=counted)
    else:
        drawing.node(op_type, draw(st.permutations(ends)))


def _transpose(drawing):
    order = drawing.draw(st.permutations(range(len(drawing.shape))))
    drawing.node(
        "Transpose", [drawing.value], [drawing.shape[axis] for axis in order], perm=[0, *(axis + 1 for axis in order)]
    )


def _shared(drawing):
    """Add two convolutions with the same weights and bias, one behind the other, and a constant that is that bias."""
    n, n_axes = drawing.shape[0], len(drawing.shape) - 1
    weights, bias = drawing.normal(n, n, *[2] * n_axes), drawing.tensor(drawing.rng.uniform(-1, 1, n))
    for auto_pad in ("SAME_LOWER", "SAME_UPPER"):
        drawing.node("Conv", [drawing.value, weights, bias], auto_pad=auto_pad)
    if drawing.draw(st.booleans()):
        one = drawing.tensor(drawing.rng.uniform(0.5, 1.5, n))
        drawing.node("BatchNormalization", [drawing.value, one, bias, bias, one])


def _head(drawing):
    draw = drawing.draw
    kind = draw(st.sampled_from(["image", "pooled", "flat", "flat", "flat"]))
    if kind == "image":
        return
    if kind == "pooled" or draw(st.integers(0, 3)) == 0:
        shape = (drawing.shape[0], *[1] * (len(drawing.shape) - 1))
        drawing.node("GlobalAveragePool", [drawing.value], shape)
    if kind == "pooled":
        return
    n = int(np.prod(drawing.shape))
    how = draw(st.sampled_from(["Flatten", (-1, n), (0, -1), (0, n)]))
    if how == "Flatten":
        drawing.node("Flatten", [drawing.value], (n,))
    else:
        drawing.node("Reshape", [drawing.value, drawing.tensor(np.array(how, np.int64))], (n,))
    while draw(st.integers(0, 2)) == 0:
        _gemm(drawing)
        for block in draw(
            st.sampled_from([[_activation], [_batch_normalization, _activation], [_batch_normalization]])
        ):
            block(drawing)
    _gemm(drawing)
    end = draw(st.sampled_from([None, None, "Softmax", "Softmax", "LogSoftmax", "Relu"]))
    if end is not None:
        drawing.node(end, [drawing.value])


def _gemm(drawing):
    draw, rng, (n,) = drawing.draw, drawing.rng, drawing.shape
    out, transposed = draw(st.integers(2, 5)), draw(st.booleans())
    attributes = {"transB": 1} if transposed else {}
    if draw(st.booleans()):
        attributes.update(alpha=draw(st.sampled_from([0.5, 1.3])), beta=draw(st.sampled_from([0.25, 1.7])))
    matrix = rng.normal(0, 1 / np.sqrt(n), (out, n) if transposed else (n, out))
    inputs = [drawing.value, drawing.tensor(matrix)]
    offset = draw(st.sampled_from([None, "zero", (out,), (1, out), (1,)]))
    if offset is not None:
        inputs.append(drawing.tensor(np.zeros(out) if offset == "zero" else rng.uniform(-1, 1, offset)))
    drawing.node("Gemm", inputs, (out,), **attributes)


_BLOCKS = [_conv, _conv_transpose, _batch_normalization, _activation, _pool, _constant, _branches, _transpose, _shared]
_BLOCKS.append(_normalization)


@st.composite
def image_networks(draw, max_blocks=5):
    """Draw a small ONNX model over images, channels first, with one or two spatial axes; its input is "input".

    It is written with the helper functions of the onnx package, and its values stay near 1.
    """
    drawing = _Drawing(draw)
    for block in draw(st.lists(st.sampled_from(_BLOCKS), min_size=1, max_size=max_blocks)):
        if np.prod(drawing.shape) <= 400:  # transposed convolutions and concatenations grow the value
            block(drawing)
    _head(drawing)
    return drawing.proto()


def model_proto(nodes, tensors, input_name, input_shape, output_name, output_shape=None):
    """Return a ModelProto at the operator set and IR version that every stack of the matrix reads."""
    from onnx import TensorProto, helper

    declared = None if output_shape is None else ["batch", *map(int, output_shape)]
    graph = helper.make_graph(
        nodes,
        "drawn",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, ["batch", *input_shape])],
        [helper.make_tensor_value_info(output_name, TensorProto.FLOAT, declared)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)])
    model.ir_version = 7
    return model
