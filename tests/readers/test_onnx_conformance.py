"""Every ONNX test case of a listed operator gives ONNX's own numbers or is refused with a reason, never a wrong one."""

from __future__ import annotations

import functools

import numpy as np
import onnx
import pytest

import snnrepro
from snnrepro.readers.operators import HANDLERS, pooling
from tests.helpers import onnx_cases
from tests.helpers.strategies import model_proto

CASES = [(suite, name) for suite in onnx_cases.SUITES for name in onnx_cases.listed(suite)]


@pytest.mark.parametrize(("suite", "name"), CASES, ids=[f"{suite}-{name}" for suite, name in CASES])
def test_a_case_gives_the_expected_numbers_or_is_refused_with_a_reason(suite, name):
    kind, why = onnx_cases.known_outcome(suite, name)
    assert kind != "wrong", why
    assert kind == "pass" or why.strip()


@pytest.mark.parametrize("suite", onnx_cases.SUITES)
def test_no_case_that_once_passed_is_lost(suite):
    present = {name for of, name in onnx_cases.pinned()[1] if of == suite and name in onnx_cases.cases(suite)}
    lost = {name: found for name in present for found in [onnx_cases.known_outcome(suite, name)] if found[0] != "pass"}
    assert not lost


# The fewest of them that any onnx version from 1.7 to 1.23 has: 1.7 has 150, 67 and 11.
@pytest.mark.parametrize(("suite", "least"), [("node", 145), ("pytorch-converted", 67), ("pytorch-operator", 11)])
def test_the_installed_package_has_most_of_the_pinned_cases(suite, least):
    present = [name for of, name in onnx_cases.pinned()[1] if of == suite and name in onnx_cases.cases(suite)]
    assert len(present) >= least


def test_a_case_that_newly_passes_is_reported():
    versions, known = onnx_cases.pinned()
    new = sorted(onnx_cases.passing() - known)
    report = f"these cases pass and are not pinned; write them down with `{onnx_cases.PIN_COMMAND}`: {new}"
    if new and onnx.__version__ not in versions:
        pytest.skip(report)  # a package that the pin file has not seen may have more cases
    assert not new, report


def test_a_newly_passing_case_is_named_with_the_command_that_pins_it(monkeypatch):
    versions, known = onnx_cases.pinned()
    monkeypatch.setattr(onnx_cases, "pinned", lambda: ([*versions, onnx.__version__], known - {("node", "test_relu")}))
    with pytest.raises(AssertionError, match=r"--pin`: .*\('node', 'test_relu'\)"):
        test_a_case_that_newly_passes_is_reported()


def test_pinning_keeps_what_the_installed_package_lacks_and_drops_what_no_longer_passes(monkeypatch, tmp_path):
    file = tmp_path / "pins.txt"
    file.write_text("# onnx 1.2.3\nnode test_of_another_version\nnode test_softmax_axis_0\n", encoding="utf-8")
    monkeypatch.setattr(onnx_cases, "PINS", file)
    onnx_cases.pin()
    versions, found = onnx_cases.pinned()
    assert versions == ["1.2.3", onnx.__version__]
    assert found == onnx_cases.passing() | {("node", "test_of_another_version")}


@functools.wraps(pooling._average_pool)  # the reader looks at a handler's signature
def _average_with_pads(call, x, **attributes):
    return pooling._average_pool(call, x, **{**attributes, "count_include_pad": 1})


def _one_slope_for_all(call, x, slope):
    return HANDLERS["LeakyRelu"](call, x, alpha=0.5)


def _all_parts_reversed(call, *parts, axis):
    return CONCAT(call, *parts[::-1], axis=axis)


CONCAT = HANDLERS["Concat"]

FAULTS = {
    "pads counted": ("AveragePool", _average_with_pads, "test_averagepool_2d_pads"),
    "one slope": ("PRelu", _one_slope_for_all, "test_prelu_example"),
    "parts in another order": ("Concat", _all_parts_reversed, "test_concat_2d_axis_1"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_handler_makes_a_case_wrong(monkeypatch, fault):
    op_type, handler, name = FAULTS[fault]
    case = onnx_cases.cases("node")[name]
    assert onnx_cases.outcome(case)[0] == "pass"
    monkeypatch.setitem(HANDLERS, op_type, handler)
    assert onnx_cases.outcome(case)[0] == "wrong"


def test_a_wrong_framing_is_not_hidden_by_one_that_passes(monkeypatch):
    case = onnx_cases.cases("node")["test_add"]
    assert [onnx_cases.verdict(one)[0] for one in onnx_cases.framings(case)] == ["refused", "pass", "pass"]
    first, *others = onnx_cases.framings(case)
    spoilt = onnx_cases.Framing(
        others[1].model, others[1].image, onnx_cases.array_of(others[1].expected) + np.float32(0.01)
    )
    monkeypatch.setattr(onnx_cases, "framings", lambda case: [first, others[0], spoilt])
    assert onnx_cases.outcome(case)[0] == "wrong"


def test_the_wider_tolerances_are_needed():
    for name, (tolerance, reason) in onnx_cases.TOLERANCES.items():
        if name not in onnx_cases.cases("node"):
            continue
        framing = onnx_cases.constants(onnx_cases.cases("node")[name])
        assert onnx_cases.verdict(framing)[0] == "wrong"
        assert onnx_cases.verdict(framing, tolerance)[0] == "pass"
        assert reason


def test_the_expected_outputs_that_are_left_out_are_wrong_in_the_packages_before_a_version():
    left_out = [name for name in onnx_cases.FAULTY if onnx_cases.is_faulty(name)]
    for name in onnx_cases.FAULTY:
        if name not in onnx_cases.all_cases("node"):
            continue
        assert (name in onnx_cases.cases("node")) == (name not in left_out)
        assert onnx_cases.known_outcome("node", name)[0] == ("wrong" if name in left_out else "pass")


def test_the_coverage_is_printed_as_a_table(capsys):
    onnx_cases.print_coverage()
    printed = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if line.count("│") == 7]
    for suite in onnx_cases.SUITES:
        found = [kind for kind, _ in onnx_cases.coverage(suite).values()]
        numbers = [
            len(onnx_cases.cases(suite)),
            len(found),
            *(found.count(one) for one in ("pass", "refused", "wrong")),
        ]
        assert [suite, *map(str, numbers)] in rows
    assert "float32 is needed" in printed


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("input 'x': float32 is needed, got type INT8", "input: float32 is needed, got type …"),
        ("these nodes cannot be converted:\n  Mul '#2': a (1, 2) of [3]\n  Add '#3': b", "Mul: a … of …"),
        ("the model's outputs are ['y']", "the model's outputs are …"),
    ],
)
def test_refusals_are_grouped_without_the_names_and_numbers_of_a_case(reason, kind):
    assert onnx_cases.kind_of(reason) == kind


def _node(op_type, inputs, output="y", **attributes):
    return onnx.helper.make_node(op_type, inputs, [output], **attributes)


CONSTANTS = {
    "square": np.arange(9, dtype=np.float32).reshape(3, 3),
    "column": np.array([[1], [-2], [3]], np.float32),
    "vector": np.array([1, -2, 3], np.float32),
    "lowest": np.array(np.finfo(np.float32).min),
    "highest": np.array(np.finfo(np.float32).max),
    "zero": np.array(0, np.float32),
    "six": np.array(6, np.float32),
    "row": np.array([[1, 2]], np.float32),
    "sizes": np.array([1, 1, 4, 4], np.int64),
}
WHAT_ONNX_LEAVES_OUT = {
    "Gemm's C computed at run time": (
        (3,),
        [_node("Relu", ["x"], "c"), _node("Gemm", ["x", "square", "c"], alpha=0.5, beta=3.0, transB=1)],
    ),
    "one column as Gemm's C computed at run time": (
        (3,),
        [_node("MatMul", ["x", "column"], "c"), _node("Gemm", ["x", "square", "c"], beta=-2.0)],
    ),
    "a vector as right factor": ((2, 4, 3), [_node("MatMul", ["x", "vector"])]),
    "a flattening that begins behind axes of size 1": ((1, 1, 2, 3), [_node("Flatten", ["x"], axis=3)]),
    "a flattening that begins behind all axes": ((1, 1), [_node("Flatten", ["x"], axis=3)]),
    "bounds of a clip that bound nothing": (
        (5,),
        [_node("Clip", ["x", "lowest", "highest"], "c"), _node("Relu", ["c"])],
    ),
    "an upper bound that bounds nothing": (
        (5,),
        [_node("Mul", ["x", "six"], "m"), _node("Clip", ["m", "zero", "highest"])],
    ),
}


def _proto(shape, nodes):
    used = {name for node in nodes for name in node.input}
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in CONSTANTS.items() if name in used]
    return model_proto(nodes, tensors, "x", shape, "y")


@pytest.mark.parametrize("what", WHAT_ONNX_LEAVES_OUT)
def test_what_the_cases_leave_out_gives_the_numbers_of_onnxruntime(what):
    import onnxruntime

    shape, nodes = WHAT_ONNX_LEAVES_OUT[what]
    model = _proto(shape, nodes)
    x = np.random.RandomState(0).randn(4, *shape).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": x})[0]
    assert onnx_cases.verdict(onnx_cases.Framing(model, x, expected)) == ("pass", "")


REFUSED = {
    "C with more columns than the result": (
        (3,),
        [_node("Gemm", ["x", "column", "x"])],
        r"C of shape \(3,\) does not fit",
    ),
    "C with fewer axes, whose batch axis would meet the columns": (
        (1,),
        [_node("Squeeze", ["x"], "c", axes=[1]), _node("Gemm", ["x", "row", "c"])],
        r"C of shape \(\) does not fit",
    ),
    "a flattening that mixes the batch with other axes": ((2, 3), [_node("Flatten", ["x"], axis=2)], "into the batch"),
    "an axis behind the last": ((2, 3), [_node("Flatten", ["x"], axis=4)], "axis 4 of a value with 3 axes"),
    "an unknown policy": (
        (1, 2, 2),
        [_node("Resize", ["x", "", "", "sizes"], keep_aspect_ratio_policy="larger", mode="nearest")],
        "'larger' is none of stretch, not_larger, not_smaller",
    ),
    "a clip that leaves nothing": ((3,), [_node("Clip", ["x", "six", "zero"])], "leaves one number only"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_meaning_for_one_image_or_none_at_all_is_refused_with_the_reason(what):
    shape, nodes, reason = REFUSED[what]
    with pytest.raises(snnrepro.ModelError, match=reason):
        snnrepro.load(_proto(shape, nodes))
