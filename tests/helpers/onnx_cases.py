"""ONNX's own test cases, and what our reader makes of each: the conformance suite and its coverage table.

The cases are those of the installed onnx package: the node tests and the ``pytorch-converted`` and
``pytorch-operator`` models. They feed everything as inputs, weights too, while a trained network has one input, whose
first axis counts images, and one output. So a case is read in several framings, each the same numbers:

- *constants*: the first input is the image, the others become constants of the model, as weights are;
- *lifted*, where every operator works element by element: image and output get a batch axis of size 1 in front, so that
  a constant as large as the image is the same for every image;
- *joined*: the inputs with the image's batch axis are cut out of one flat image (Slice, Reshape), so that the operator
  reads several values computed at run time.

Of a model with several outputs each is asked for alone. A case is wrong if any framing is, it passes if any framing
does, and it is refused, with the reason that the first framing gives, if all are.

``python -m tests.helpers.onnx_cases`` prints the coverage; ``--pin`` writes it to ``tests/data/onnx_coverage.txt`` too.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import snnrepro

TOLERANCE = 1e-5
"""Relative to the largest number of the expected output: float32 sums in another order."""

TOLERANCES = {
    "test_averagepool_2d_ceil_last_window_starts_on_pad": (1e-3, "its expected output is typed in with four digits"),
}
"""Cases that need another tolerance, each with the reason."""

FAULTY = {
    "test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True": (
        (1, 18),
        "its expected output was wrong until onnx 1.18: windows that ceil_mode lets reach behind the value and its "
        "(here empty) padding were divided by the whole kernel; the specification and onnxruntime leave those rows out",
    ),
}
"""Cases whose expected output is wrong in the onnx packages before a version, each with the reason; left out there."""

SUITES = ("node", "pytorch-converted", "pytorch-operator")

ACTIVATIONS = {"Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "Identity", "Dropout", "Cast"}
ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Sum", "Max", "Min", "Constant"} | ACTIVATIONS
"""Operators that mean the same when their operands get one more axis in front (PRelu: from opset 7 on)."""

PINS = Path(__file__).parent.parent / "data" / "onnx_coverage.txt"

PIN_COMMAND = "python -m tests.helpers.onnx_cases --pin"


@dataclass(frozen=True)
class Case:
    """One test case: a model, the values of its inputs, the expected outputs; arrays or TensorProtos."""

    name: str
    model: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


@dataclass(frozen=True)
class Framing:
    """One way to read a case: a model with one input and one output, the image, the expected output."""

    model: Any
    image: Any
    expected: Any


def _is_tensor(value):
    from onnx import TensorProto

    return isinstance(value, (np.ndarray, np.generic, TensorProto))


def array_of(value):
    """Return an array or a TensorProto as an array."""
    from onnx import TensorProto, numpy_helper

    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def _constant(name, value):
    """Return a value as an initializer; a TensorProto as it is, since not every type can be decoded."""
    from onnx import TensorProto, numpy_helper

    if not isinstance(value, TensorProto):
        return numpy_helper.from_array(np.array(value), name)
    tensor = TensorProto()
    tensor.CopyFrom(value)
    tensor.name = name
    return tensor


@lru_cache(maxsize=None)
def cases(suite):
    """Return every case of a suite, by name, but for the faulty ones."""
    return {name: case for name, case in all_cases(suite).items() if not is_faulty(name)}


def is_faulty(name):
    """Whether the installed onnx package has a wrong expected output for this case."""
    import onnx

    fixed_in = FAULTY[name][0] if name in FAULTY else (0,)
    return tuple(int(number) for number in re.findall(r"\d+", onnx.__version__)[:2]) < fixed_in


@lru_cache(maxsize=None)
def all_cases(suite):
    """Return every case of a suite, by name."""
    from onnx.backend.test import loader

    if suite == "node" and not (Path(loader.DATA_DIR) / "node").is_dir():  # newer packages generate these only
        from onnx.backend.test.case.node import collect_testcases

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, from generating the expected values
            found = collect_testcases(*[None] * len(inspect.signature(collect_testcases).parameters))
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

    def tensors(kind, values):
        found = []
        for path in sorted(
            (folder / "test_data_set_0").glob(f"{kind}_*.pb"), key=lambda path: int(path.stem[len(kind) + 1 :])
        ):
            tensor = onnx.TensorProto()
            is_tensor = len(found) < len(values) and values[len(found)].type.HasField("tensor_type")
            if is_tensor:
                tensor.ParseFromString(path.read_bytes())
            found.append(tensor if is_tensor else None)
        return tuple(found)

    given = {tensor.name for tensor in model.graph.initializer}
    free = [value for value in model.graph.input if value.name not in given]
    return Case(case.name, model, tensors("input", free), tensors("output", model.graph.output))


def operators(case):
    """Return the operator types of a case's model."""
    return {node.op_type for node in case.model.graph.node}


def is_listed(case):
    """Whether every operator is one that the converter reads, and the inputs and outputs are tensors."""
    from snnrepro.readers.operators import HANDLERS

    known = set(HANDLERS) | {"Constant"}
    standard = all(node.domain in ("", "ai.onnx") for node in case.model.graph.node)
    tensors = all(_is_tensor(value) for value in (*case.inputs, *case.outputs))
    return standard and operators(case) <= known and tensors and bool(case.inputs and case.outputs)


def _copy(case, index=0):
    """Return the model with one output, the names of its free inputs with their values, and what is expected."""
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    output = onnx.ValueInfoProto()
    output.CopyFrom(model.graph.output[index])
    del model.graph.output[:]
    model.graph.output.append(output)
    given = {tensor.name for tensor in model.graph.initializer}
    free = [value.name for value in model.graph.input if value.name not in given]
    return model, list(zip(free, case.inputs)), case.outputs[index]


def constants(case, index=0):
    """Return the framing in which every input but the first is a constant."""
    model, inputs, expected = _copy(case, index)
    model.graph.initializer.extend(_constant(name, value) for name, value in inputs[1:])
    return Framing(model, inputs[0][1], expected)


def lifted(case, index=0):
    """Return that framing with a batch axis of size 1 in front; None where an operator is not element by element."""
    framing = constants(case, index)
    if not operators(case) <= ELEMENTWISE or _opset(framing.model) < 7 or not _is_float32(framing.image):
        return None
    name = _copy(case)[1][0][0]
    for value in framing.model.graph.input:
        if value.name == name:
            sizes = [1, *(dim.dim_value for dim in value.type.tensor_type.shape.dim)]
            del value.type.tensor_type.shape.dim[:]
            for size in sizes:
                value.type.tensor_type.shape.dim.add().dim_value = size
    return Framing(framing.model, array_of(framing.image)[None], array_of(framing.expected)[None])


def joined(case, index=0):
    """Return the framing in which the inputs with the image's batch axis are parts of one flat image."""
    from onnx import TensorProto, helper

    model, inputs, expected = _copy(case, index)
    if not _is_float32(inputs[0][1]) or not array_of(inputs[0][1]).ndim or not array_of(inputs[0][1]).size:
        return None
    n_images = len(array_of(inputs[0][1]))
    parts, start, cuts = [], 0, []
    for name, value in inputs:
        if not _is_float32(value) or array_of(value).shape[:1] != (n_images,):
            model.graph.initializer.append(_constant(name, value))
            continue
        flat = array_of(value).reshape(n_images, -1)
        cuts += _cut(model, name, start, start + flat.shape[1], array_of(value).shape)
        start += flat.shape[1]
        parts.append(flat)
    nodes = [*cuts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    names = {name for name, _ in inputs}
    kept = [value for value in model.graph.input if value.name not in names]
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("joined", TensorProto.FLOAT, [n_images, start]))
    model.graph.input.extend(kept)
    return Framing(model, np.concatenate(parts, axis=1), expected)


def _cut(model, name, start, end, shape):
    """Return the nodes that give the input `name` from the columns `start` to `end` of the joined image."""
    from onnx import helper, numpy_helper

    def constant(what, numbers):
        model.graph.initializer.append(numpy_helper.from_array(np.array(numbers, np.int64), f"joined {what} {name}"))
        return f"joined {what} {name}"

    if _opset(model) < 10:
        cut = helper.make_node("Slice", ["joined"], [f"joined {name}"], starts=[start], ends=[end], axes=[1])
    else:
        place = [constant("start", [start]), constant("end", [end]), constant("axis", [1])]
        cut = helper.make_node("Slice", ["joined", *place], [f"joined {name}"])
    return [cut, helper.make_node("Reshape", [f"joined {name}", constant("shape", shape)], [name])]


def _opset(model):
    return max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def _is_float32(value):
    from onnx import TensorProto

    if isinstance(value, TensorProto):
        return value.data_type == TensorProto.FLOAT
    return value.dtype == np.float32


def framings(case):
    """Yield the framings of a case, that of the first output with constants first."""
    for frame in (constants, lifted, joined):
        for index in range(len(case.outputs)):
            framing = frame(case, index)
            if framing is not None:
                yield framing


def verdict(framing, tolerance=TOLERANCE):
    """Return ("pass", "") , ("refused", reason) or ("wrong", difference) for one framing."""
    try:
        network = snnrepro.load(framing.model)
    except snnrepro.ModelError as error:
        return "refused", str(error)
    image, expected = array_of(framing.image), array_of(framing.expected)
    finite = np.isfinite(image).reshape(len(image), -1).all(axis=1)
    if not finite.any() and image.size:
        return "refused", "every image holds NaN or an infinite number"
    got, expected = network.forward(image[finite]), expected[finite]
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return "wrong", f"{got.dtype} {got.shape}, expected {expected.dtype} {expected.shape}"
    defined = ~np.isnan(expected)  # the square root of a number below 0
    if np.isnan(got[defined]).any() or not np.isnan(got[~defined]).all():
        return "wrong", "NaN elsewhere"
    got, expected = got[defined], expected[defined]
    error = float(np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-30)) if expected.size else 0.0
    return ("pass", "") if error <= tolerance else ("wrong", f"relative error {error:.2g}")


def outcome(case):
    """Return ("pass", "") , ("refused", reason) or ("wrong", difference) for a case."""
    tolerance = TOLERANCES.get(case.name, (TOLERANCE, ""))[0]
    verdicts = [verdict(framing, tolerance) for framing in framings(case)]
    for kind in ("wrong", "pass"):
        if kind in (found for found, _ in verdicts):
            return next(one for one in verdicts if one[0] == kind)
    return verdicts[0]


@lru_cache(maxsize=None)
def known_outcome(suite, name):
    """Return the outcome of a case of the installed package; it is computed once."""
    return outcome(all_cases(suite)[name])


def listed(suite):
    """Return the names of a suite's listed cases."""
    return [name for name, case in cases(suite).items() if is_listed(case)]


def coverage(suite):
    """Return name -> (outcome, reason) of every listed case of a suite."""
    return {name: known_outcome(suite, name) for name in listed(suite)}


def passing():
    """Return the (suite, name) of every listed case that passes."""
    return {(suite, name) for suite in SUITES for name, (kind, _) in coverage(suite).items() if kind == "pass"}


def pinned():
    """Return the onnx versions that the pin file was written with, and its (suite, name) pairs."""
    lines = PINS.read_text(encoding="utf-8").splitlines()
    versions = next(line for line in lines if line.startswith("# onnx ")).split()[2:]
    return versions, {tuple(line.split()) for line in lines if line and not line.startswith("#")}


def pin():
    """Write the passing cases down; those that the installed package lacks stay as they are."""
    import onnx

    versions, before = pinned() if PINS.exists() else ([], set())
    versions = sorted({*versions, onnx.__version__}, key=lambda version: [int(n) for n in re.findall(r"\d+", version)])
    absent = {(suite, name) for suite, name in before if name not in cases(suite)}
    lines = [
        "# The ONNX test cases that pass, one per line: suite, name. Written by",
        f"#     {PIN_COMMAND}",
        "# with each of the onnx versions (cases that a version lacks stay):",
        f"# onnx {' '.join(versions)}",
        *(" ".join(pair) for pair in sorted(absent | passing())),
    ]
    PINS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def kind_of(reason):
    """Return a refusal without the names and numbers of the case: the first node's, where several are named."""
    lines = [line.strip() for line in reason.splitlines()]
    first = lines[1] if lines[0].endswith("cannot be converted:") else lines[0]
    first = re.sub(r"^(\w+) '[^']*': ", r"\1: ", first)
    first = re.sub(r"(?<=: )\w+ '[^']*': ", "", first)  # the layer that a shape does not fit
    names = r"\[[^\]]*\]|(?<!\w)'[^']*'|(?<=type )\w+|\bNone\b"
    numbers = r"\((batch|[\d, ])*\)|\b\d+x\d+\b|-?\b\d+(\.\d+)?\b"
    return re.sub(f"{names}|{numbers}", "…", first)


def print_coverage():
    """Print the coverage: one row a suite, and why cases are refused."""
    import onnx
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Test cases of onnx {onnx.__version__}")
    reasons = Table(title="Refused, by reason")
    for column in ("suite", "cases", "with listed operators", "passing", "refused", "wrong"):
        table.add_column(column, justify="left" if column == "suite" else "right")
    for column in ("suite", "cases", "reason"):
        reasons.add_column(column, justify="right" if column == "cases" else "left")
    for suite in SUITES:
        found = coverage(suite)
        counts = Counter(kind for kind, _ in found.values())
        numbers = (len(cases(suite)), len(found), *(counts[kind] for kind in ("pass", "refused", "wrong")))
        table.add_row(suite, *map(str, numbers))
        for reason, n in Counter(kind_of(why) for kind, why in found.values() if kind == "refused").most_common():
            reasons.add_row(suite, str(n), reason)
    console = Console()
    console.print(table, reasons, markup=False)
    for suite in SUITES:
        for name, (kind, why) in coverage(suite).items():
            if kind == "wrong":
                console.print(f"wrong: {suite} {name}: {why}", markup=False)


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description="What the reader makes of ONNX's own test cases.")
    parser.add_argument("--pin", action="store_true", help=f"write the passing cases to {PINS.name}")
    if parser.parse_args().pin:
        pin()
    print_coverage()
