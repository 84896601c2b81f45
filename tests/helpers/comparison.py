"""How far our answers are from onnxruntime's."""

from __future__ import annotations

import numpy as np

from tests.helpers.strategies import as_onnx


def error(network, x, proto=None):
    """Return the largest difference to onnxruntime, relative to the largest score."""
    expected = _onnxruntime(as_onnx(network) if proto is None else proto, x)
    got = network.forward(x)
    assert got.dtype == np.float32
    assert got.shape == expected.shape == (len(x), *network.output_shape)
    return np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-3)


def _onnxruntime(proto, x):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # The model as it is written: onnxruntime 1.10 breaks some of them when it fuses their nodes.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": x})[0]
