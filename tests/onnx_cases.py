"""ONNX's own test cases, and what our reader makes of each: the conformance suite and its coverage table.

The cases are those of the installed onnx package: the node tests, which it generates, and the stored
``pytorch-converted`` and ``pytorch-operator`` models. A node test feeds weights as inputs; here the first input is the
image and the others become constants of the model, as they are in a trained network.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import snnrepro

TOLERANCE = 1e-5
"""Relative to the largest number of the expected output: float32 sums in another order."""

SUITES = ("node", "pytorch-converted", "pytorch-operator")


@dataclass(frozen=True)
class Case:
    """One test case: a model, its image, its constants, the expected output."""

    name: str
    model: Any
    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]


def _array(value):
    from onnx import TensorProto, numpy_helper

    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


@lru_cache(maxsize=None)
def cases(suite):
    """Return every case of a suite, by name."""
    from onnx.backend.test import loader

    if suite == "node":
        from onnx.backend.test.case.node import collect_testcases

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, from generating the expected values
            found = collect_testcases(None)
        return {
            case.name: Case(case.name, case.model, tuple(case.data_sets[0][0]), tuple(case.data_sets[0][1]))
            for case in found
            if case.data_sets
        }
    return {case.name: _stored(case) for case in loader.load_model_tests(kind=suite)}


def _stored(case):
    import onnx

    folder = Path(case.model_dir)
    model = onnx.load(str(folder / "model.onnx"))

    def tensors(kind):
        found = []
        for index in range(len(list((folder / "test_data_set_0").glob(f"{kind}_*.pb")))):
            tensor = onnx.TensorProto()
            tensor.ParseFromString((folder / "test_data_set_0" / f"{kind}_{index}.pb").read_bytes())
            found.append(onnx.numpy_helper.to_array(tensor))
        return tuple(found)

    return Case(case.name, model, tensors("input"), tensors("output"))


def operators(case):
    """Return the operator types of a case's model."""
    return {node.op_type for node in case.model.graph.node}


def is_listed(case):
    """Whether every operator is one that the converter reads, on a float32 image."""
    from snnrepro.readers.operators import HANDLERS

    known = set(HANDLERS) | {"Constant"}
    standard = all(node.domain in ("", "ai.onnx") for node in case.model.graph.node)
    first = case.inputs[0] if case.inputs else None
    return standard and operators(case) <= known and isinstance(_array(first), np.ndarray)


def prepared(case):
    """Return the model with every input but the first as a constant, and the first input's values."""
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    given = {tensor.name for tensor in model.graph.initializer}
    free = [value for value in model.graph.input if value.name not in given]
    for value, array in zip(free[1:], case.inputs[1:]):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(_array(array)), value.name))
    return model, _array(case.inputs[0])


def outcome(case):
    """Return ("pass", "") , ("refused", reason) or ("wrong", difference) for a listed case."""
    model, x = prepared(case)
    try:
        network = snnrepro.load(model)
    except snnrepro.ModelError as error:
        return "refused", " ".join(str(error).split())
    got, expected = network.forward(x), _array(case.outputs[0])
    if got.shape != expected.shape:
        return "wrong", f"shape {got.shape}, expected {expected.shape}"
    error = float(np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-30))
    return ("pass", "") if error <= TOLERANCE else ("wrong", f"relative error {error:.2g}")


def coverage(suite):
    """Return name -> (outcome, reason) of every listed case of a suite."""
    return {name: outcome(case) for name, case in cases(suite).items() if is_listed(case)}
