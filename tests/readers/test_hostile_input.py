"""Hostile input gives one ModelError that says what and where: no other exception, no crash, no filled memory."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import snnrepro
from tests.helpers.strategies import model_proto

W = np.arange(6, dtype=np.float32).reshape(2, 3)


def _tensor(name, values):
    return numpy_helper.from_array(np.array(values), name)


def _node(op_type, inputs, *outputs, **attributes):
    return helper.make_node(op_type, inputs, list(outputs or ("y",)), name=f"the {op_type}", **attributes)


def _model(nodes=None, tensors=None, shape=(2,), output="y"):
    nodes = [_node("MatMul", ["x", "w"])] if nodes is None else nodes
    return model_proto(nodes, [_tensor("w", W)] if tensors is None else tensors, "x", shape, output)


def _refused(model, match):
    with pytest.raises(snnrepro.ModelError, match=match) as refusal:
        snnrepro.load(model)
    assert len(str(refusal.value)) < 3000
    return str(refusal.value)


def _ints(*values):
    return np.array(values, np.int64)


def _declared(dims, kind=TensorProto.FLOAT, raw=b"\0" * 24):
    tensor = TensorProto(name="w", data_type=kind, raw_data=raw)
    tensor.dims.extend(dims)
    return tensor


def test_the_untouched_model_is_read():
    np.testing.assert_array_equal(snnrepro.load(_model()).forward([[1, 2]]), [[6, 9, 12]])


def test_a_truncated_file_is_refused_at_every_length(tmp_path):
    model, path = _model(), tmp_path / "m.onnx"
    whole = model.SerializeToString()
    path.write_bytes(whole)
    assert snnrepro.load(path).output_shape == (3,)
    # The operator set stands last, a field of its own: without it the message is whole, and that of operator set 1.
    model.ClearField("opset_import")
    readable = [model.ByteSize()]
    assert whole[: readable[0]] == model.SerializeToString()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        if length not in readable:
            _refused(path, r"m\.onnx: ")
        else:
            assert snnrepro.load(path).output_shape == (3,)


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "folder.npz").mkdir()
    _refused(tmp_path / "folder.onnx", "not a file")
    _refused(tmp_path / "folder.npz", "not a file")
    if hasattr(os, "mkfifo"):
        os.mkfifo(str(tmp_path / "pipe.onnx"))
        _refused(tmp_path / "pipe.onnx", "not a file")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_refused(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(_model().SerializeToString())
    path.chmod(0)
    _refused(path, "m.onnx: not a readable file")


BRANCH = helper.make_graph([], "branch", [], [])
GRAPHS = {
    "cycle": (
        [_node("Relu", ["b"], "a"), _node("Relu", ["a"], "b"), _node("Relu", ["x"])],
        "in order, without a cycle",
    ),
    "order": ([_node("Relu", ["a"]), _node("Relu", ["x"], "a")], r"reads \['a'\].*come behind it"),
    "missing tensor": ([_node("MatMul", ["x", "v"])], r"the MatMul'.*reads \['v'\]"),
    "twice": ([_node("Relu", ["x"]), _node("Sigmoid", ["x"])], r"the Sigmoid.*\['y'\] are assigned twice"),
    "weight overwritten": ([_node("Relu", ["x"], "w")], r"\['w'\] are assigned twice"),
    "input overwritten": ([_node("Relu", ["x"], "x")], r"\['x'\] are assigned twice"),
    "nothing gives the output": ([_node("Relu", ["x"], "a")], r"one output.*\['y'\]"),
    "no output": ([helper.make_node("Relu", ["x"], [], name="the Relu")], "the Relu.*must be named"),
    "unnamed output": ([_node("Split", ["x"], "", "y", axis=1)], "the Split.*must be named"),
    "second output": ([_node("Relu", ["x"], "a", "b"), _node("Relu", ["b"])], r"reads \['b'\]"),
    "condition": ([_node("If", ["x"], then_branch=BRANCH, else_branch=BRANCH)], "If 'the If': .*not supported"),
    "constant condition": ([_node("If", ["w"], then_branch=BRANCH, else_branch=BRANCH)], "If .*graph of its own"),
    "loop": ([_node("Loop", ["", "", "x"], body=BRANCH)], "Loop 'the Loop': .*not supported"),
    "domain": ([_node("Relu", ["x"], domain="evil")], "the Relu.*not supported.*'evil'"),
    "constant domain": ([_node("Identity", ["w"], "v", domain="evil")], "the Identity.*'evil'"),
    "constant operator": ([_node("Det", ["w"], "v")], "the Det.*on constants, only"),
    "no input": ([_node("Relu", [""])], "the Relu.*"),
    "attribute twice": ([_node("Softmax", ["x"], axis=1)], "'axis' is assigned twice"),
    "string": ([_node("Gemm", ["x", "w"], transB="no")], "the Gemm.*'transB' is STRING, .*says INT"),
    "float": ([_node("Softmax", ["x"], axis=1.0)], "'axis' is FLOAT"),
    "floats": ([_node("Transpose", ["x"], perm=[0.0, 1.0])], "'perm' is FLOATS"),
    "tensor": ([_node("Transpose", ["x"], perm=_tensor("p", [0, 1]))], "'perm' is TENSOR"),
    "NaN": ([_node("Add", ["x", "nan"])], "the Add.*NaN"),
    "infinite factor": ([_node("LeakyRelu", ["x"], alpha=float("inf"))], "the LeakyRelu.*NaN or infinite"),
    "NaN pad": ([_node("Pad", ["x", "p", "nan"])], "the Pad.*is nan"),
    "doubles": ([_node("MatMul", ["x", "d"])], "the MatMul.*float64"),
    "0 groups": ([_node("ConvTranspose", ["x", "w"], group=0)], "the ConvTranspose"),
    "axes": ([_node("Unsqueeze", ["x"], axes=[2**62, -(2**63)])], "the Unsqueeze.*axis"),
    "perm": ([_node("Transpose", ["x"], perm=[0, 2**62])], "the Transpose.*perm"),
    "short perm": ([_node("Transpose", ["x"], perm=[0])], "the Transpose.*perm"),
    "short pads": ([_node("Pad", ["x", "short"])], "the Pad"),
    "huge pads": ([_node("Pad", ["x", "p2"])], "more than"),
    "huge shape": ([_node("Reshape", ["x", "shape"])], "the Reshape"),
    "least by -1": ([_node("Div", ["least", "minus"], "v")], "the Div.*divided"),
    "by 0": ([_node("Div", ["least", "zero"], "v")], "the Div.*divided"),
    "modulo 0": ([_node("Mod", ["least", "zero"], "v")], "the Mod.*divided"),
    "empty weights": ([_node("MatMul", ["x", "none"])], "the MatMul"),
}


@pytest.mark.parametrize("fault", GRAPHS)
def test_a_graph_that_is_none_is_refused_by_its_node(fault):
    nodes, message = GRAPHS[fault]
    if fault == "attribute twice":
        nodes[0].attribute.extend([helper.make_attribute("axis", 1)])
    constants = {
        "w": W,
        "nan": np.float32(np.nan),
        "d": W.astype(np.float64),
        "p": _ints(0, 0, 0, 1),
        "p2": _ints(0, 2**62, 0, 2**62),
        "short": _ints(1),
        "shape": _ints(-1, 2**62, 2**62),
        "least": _ints(-(2**63), 4),
        "minus": _ints(-1),
        "zero": _ints(0),
        "none": np.zeros((2, 0), np.float32),
    }
    last = [] if any("y" in node.output for node in nodes) or "gives the output" in fault else [_node("Relu", ["x"])]
    _refused(_model(nodes + last, [_tensor(name, values) for name, values in constants.items()]), message)


def test_two_outputs_two_inputs_and_none_are_refused():
    for part in ("input", "output"):
        more, fewer = _model(), _model()
        getattr(more.graph, part).extend([helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 2])])
        del getattr(fewer.graph, part)[:]
        _refused(more, f"one {part}")
        _refused(fewer, f"one {part}")


INPUTS = {
    "float64": (TensorProto.DOUBLE, ["n", 2], "float32 is needed, got type DOUBLE"),
    "whole numbers": (TensorProto.INT64, ["n", 2], "got type INT64"),
    "free axis": (TensorProto.FLOAT, ["n", "m"], r"fixed size; not fixed: axes \[1\]"),
    "negative": (TensorProto.FLOAT, ["n", -2], "fixed size"),
    "no axes": (TensorProto.FLOAT, [], "fixed size"),
    "huge": (TensorProto.FLOAT, ["n", 2**62, 2**62], "numbers for one image"),
}


@pytest.mark.parametrize("fault", INPUTS)
def test_an_input_that_is_no_image_is_refused_by_name(fault):
    kind, dims, message = INPUTS[fault]
    model = _model()
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", kind, dims))
    assert "input 'x'" in _refused(model, message)


TENSORS = {
    "huge": (_declared([2**40, 2**40]), "too large"),
    "overflowing": (_declared([2**32, 2**32]), "too large"),
    "negative": (_declared([-2, -3]), "too large or not a shape"),
    "more than there is": (_declared([2, 2**20]), "needs 8388608 bytes, it has 24"),
    "less than there is": (_declared([2, 1]), "needs 8 bytes, it has 24"),
    "many axes": (_declared([1] * 100_000), "axes"),
    "unknown type": (_declared([2, 3], 999), "do not fit"),
    "no data": (_declared([2, 3], raw=b""), "it has 0"),
    "twice": (_declared([2, 3]), "assigned twice"),
}


@pytest.mark.parametrize("fault", TENSORS)
def test_a_tensor_without_its_declared_data_is_refused_by_name(fault):
    tensor, message = TENSORS[fault]
    assert snnrepro.load(_model(tensors=[_declared([2, 3])])).output_shape == (3,)
    assert "'w'" in _refused(_model(tensors=[tensor] * (2 if fault == "twice" else 1)), message)


def test_a_sparse_initializer_is_refused_by_name():
    model = _model()
    model.graph.sparse_initializer.add().values.name = "thin"
    _refused(model, r"sparse.*\['thin'\]")


def _external(folder, entries, in_node=False):
    """Write a model whose weight lies in another file, as an initializer or as a Constant node's attribute."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL, dims=W.shape)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    nodes = [_node("Constant", [], "w", value=tensor)] if in_node else []
    model = _model([*nodes, _node("MatMul", ["x", "w"])], [] if in_node else [tensor])
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


@pytest.mark.parametrize("in_node", [False, True])
@pytest.mark.parametrize("entries", [{"offset": 8, "length": 24}, {"offset": "8"}])
def test_data_beside_the_model_are_read_bit_for_bit(tmp_path, entries, in_node):
    (tmp_path / "w.bin").write_bytes(b"12345678" + W.tobytes() + b"more")
    network = snnrepro.load(_external(tmp_path, {"location": "w.bin", **entries}, in_node))
    assert network.nodes[0].layer.weights.tobytes() == W.tobytes()


ELSEWHERE = {
    "absolute": ({"location": "{}/w.bin"}, "outside"),
    "parent": ({"location": "../w.bin"}, "outside"),
    "link": ({"location": "link.bin"}, "outside"),
    "loop": ({"location": "loop.bin"}, "outside|cannot be read|missing"),
    "missing": ({"location": "nowhere.bin"}, "missing"),
    "folder": ({"location": "."}, "outside|missing"),
    "no location": ({}, "no readable location"),
    "NUL": ({"location": "w\0.bin"}, "cannot be read|missing"),
    "offset beyond": ({"location": "w.bin", "offset": 4}, "bytes 4 to 28"),
    "huge offset": ({"location": "w.bin", "offset": 10**17}, "which has 24"),
    "negative offset": ({"location": "w.bin", "offset": -1}, "no readable"),
    "offset no number": ({"location": "w.bin", "offset": "1e3"}, "no readable"),
    "length beyond": ({"location": "w.bin", "length": 2**40}, "needs 24"),
    "negative length": ({"location": "w.bin", "length": -5}, "no readable"),
    "too short": ({"location": "w.bin", "length": 8}, "needs 24"),
}


@pytest.mark.parametrize("in_node", [False, True])
@pytest.mark.parametrize("fault", ELSEWHERE)
def test_data_that_are_not_beside_the_model_are_refused_by_name(tmp_path, fault, in_node):
    entries, message = ELSEWHERE[fault]
    folder = tmp_path / "models"
    folder.mkdir()
    for place in (tmp_path, folder):
        (place / "w.bin").write_bytes(W.tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    (folder / "loop.bin").symlink_to(folder / "loop.bin")
    entries = {key: value.format(tmp_path) if isinstance(value, str) else value for key, value in entries.items()}
    assert "tensor 'w'" in _refused(_external(folder, entries, in_node), message)


def test_a_model_in_memory_reads_no_file(tmp_path, monkeypatch):
    import onnx

    (tmp_path / "w.bin").write_bytes(W.tobytes())
    path = _external(tmp_path, {"location": "w.bin"})
    assert snnrepro.load(path).output_shape == (3,)
    monkeypatch.chdir(tmp_path)
    _refused(onnx.load(str(path), load_external_data=False), "load the model from its file")


PEAK = """
import resource, sys
import snnrepro, snnrepro.readers.onnx, onnxruntime
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    snnrepro.load(sys.argv[1])
except snnrepro.ModelError:  # with an onnx that cannot be asked for shapes
    pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is another one elsewhere")
def test_a_whole_batch_in_one_axis_never_fills_the_memory(tmp_path):
    """ONNX's inference writes down every number of a list that a Gather reads: a free batch was 30 GB."""
    nodes = [_node("Reshape", ["x", "flat"], "list"), _node("Gather", ["list", "places"], "part", axis=0)]
    tensors = [_tensor("flat", _ints(-1)), _tensor("places", np.zeros((1, 40), np.int64))]
    model = _model([*nodes, _node("Relu", ["part"])], tensors, (40,))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    run = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / "m.onnx")], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 200


BIG = {
    "ConstantOfShape": [_node("ConstantOfShape", ["big"], "v")],
    "negative shape": [_node("ConstantOfShape", ["negative"], "v")],
    "Expand": [_node("Expand", ["one", "big"], "v")],
    "Tile": [_node("Tile", ["one", "big"], "v")],
    "Pad": [_node("Pad", ["one", "pads"], "v")],
    "Range": [_node("Range", ["zero", "much", "step"], "v")],
    "empty Range": [_node("Range", ["zero", "much", "zero"], "v")],
    "outer sum": [_node("Add", ["column", "row"], "v")],
    "doubled": [_node("Concat", [f"c{i}", f"c{i}"], f"c{i + 1}", axis=0) for i in range(40)],
    "many": [_node("ConstantOfShape", ["fair"], f"c{i + 1}") for i in range(20)],
    "Resize": [_node("Upsample", ["one", "much"], "v")],
    "Gather": [_node("Gather", ["row", "many"], "v", axis=0)],
}
LIMITED = """
import resource, sys, time
import snnrepro, snnrepro.readers.onnx, onnxruntime
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 2**30,) * 2)
for path in sys.argv[1:]:
    start = time.perf_counter()
    try:
        snnrepro.load(path)
        print("read")
    except snnrepro.ModelError as error:
        print("refused", f"{time.perf_counter() - start:.1f}", " ".join(str(error).split())[:200])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS and /proc are Linux's")
def test_a_declared_size_never_fills_the_memory(tmp_path):
    constants = {
        "big": _ints(2**20, 2**20),
        "negative": _ints(-(2**40), -4),
        "fair": _ints(2**13, 2**13),
        "one": np.ones((1, 1), np.float32),
        "c0": np.ones(1, np.float32),
        "pads": _ints(0, 2**40, 0, 2**40),
        "zero": np.int64(0),
        "much": np.int64(2**60),
        "step": np.int64(1),
        "column": np.ones((2**16, 1), np.float32),
        "row": np.ones((1, 2**16), np.float32),
        "many": np.zeros(2**16, np.int64),
    }
    tensors = [_tensor(name, values) for name, values in constants.items()]
    models = {name: _model([*nodes, _node("Relu", ["x"])], tensors) for name, nodes in BIG.items()}
    tied = [_node("ConstantOfShape", ["square"], "w")]
    tied += [_node("Gemm", [f"h{i}", "w"], f"h{i + 1}", transB=1) for i in range(60)]
    models["tied"] = _model(tied, [_tensor("square", _ints(2**12, 2**12))], (2**12,), "h60")
    models["tied"].graph.node[1].input[0] = "x"
    for name, model in models.items():
        (tmp_path / f"{name}.onnx").write_bytes(model.SerializeToString())
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, *(str(tmp_path / f"{name}.onnx") for name in models)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    answers = dict(zip(models, run.stdout.splitlines()))
    assert len(answers) == len(models)
    assert [name for name, answer in answers.items() if not answer.startswith("refused")] == []


HUGE = 2**27
SELECTIONS = {
    "Slice": ([_node("Slice", ["x", "one", "end", "one"])], "at most 1048576 are accepted"),
    "Slice with steps": ([_node("Slice", ["x", "zero", "end", "one", "two"])], "at most 1048576 are accepted"),
    "Split": ([_node("Split", ["x"], "y", "z", axis=1)], "at most 1048576 are accepted"),
    "Split into parts": (
        [_node("Split", ["x"], "y", "z", axis=1, split=[1, HUGE - 1])],
        "at most 1048576 are accepted",
    ),
    "Tile": ([_node("Tile", ["x", "twice"])], "at most 1048576 are accepted"),
    "Upsample": ([_node("Upsample", ["x", "factors"])], "at most 1048576 are accepted"),
    "Resize": ([_node("Resize", ["x", "", "factors"])], "at most 1048576 are accepted"),
    "many": (
        [_node("Slice", ["x", "zero", "much", "one"], f"y{i}") for i in range(4)]
        + [_node("Sum", [f"y{i}" for i in range(4)])],
        "several times the numbers that the model holds",
    ),
}


@pytest.mark.parametrize("what", SELECTIONS)
def test_a_selection_of_a_huge_axis_is_refused_before_its_indices_are_built(what):
    import tracemalloc

    nodes, message = SELECTIONS[what]
    constants = {
        "zero": _ints(0),
        "one": _ints(1),
        "two": _ints(2),
        "end": _ints(2**62),
        "much": _ints(2**20),
        "twice": _ints(1, 2),
        "factors": np.array([1, 2], np.float32),
    }
    model = _model(nodes, [_tensor(name, values) for name, values in constants.items()], (HUGE,))
    if what == "Upsample":
        model.opset_import[0].version = 9
    tracemalloc.start()
    try:
        _refused(model, message)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (2e6 if what != "many" else 3e8)


def test_a_selection_of_a_whole_huge_axis_needs_no_indices():
    nodes = [_node("Slice", ["x", "zero", "end", "one"], "a"), _node("Split", ["a"], "b", axis=1), _node("Relu", ["b"])]
    constants = {"zero": _ints(0), "one": _ints(1), "end": _ints(2**62)}
    network = snnrepro.load(_model(nodes, [_tensor(name, values) for name, values in constants.items()], (HUGE,)))
    assert [type(node.layer).__name__ for node in network.nodes] == ["ReLU"]


CONVOLUTIONS = {
    "Conv": {"weight": (4, 1, 3), "group": 2, "channels": 4},
    "ConvTranspose": {"weight": (2, 2, 3), "group": 2, "channels": 4},
}


@pytest.mark.parametrize("op_type", CONVOLUTIONS)
@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_a_bias_of_another_length_than_the_channels_is_refused(op_type, length):
    case = CONVOLUTIONS[op_type]
    for n, is_right in ((length, False), (case["channels"], True)):
        tensors = [_tensor("w", np.ones(case["weight"], np.float32)), _tensor("b", np.ones(n, np.float32))]
        model = _model([_node(op_type, ["x", "w", "b"], group=case["group"])], tensors, (2, 5))
        if is_right:
            assert snnrepro.load(model).output_shape[0] == n
        else:
            _refused(model, rf"the {op_type}'.*bias must have the shape \(4,\), .* got \({n},\)")


@pytest.mark.parametrize("op_type", CONVOLUTIONS)
@pytest.mark.parametrize("group", [2**62, 2**40, 3, 0, -1])
def test_groups_that_do_not_divide_the_kernel_are_refused_before_a_bias_is_made(op_type, group):
    tensors = [_tensor("w", np.ones(CONVOLUTIONS[op_type]["weight"], np.float32))]
    said = _refused(_model([_node(op_type, ["x", "w"], group=group)], tensors, (2, 5)), f"the {op_type}'")
    assert f"group must divide the {CONVOLUTIONS[op_type]['weight'][0]} of the kernel" in said
    assert f"got {group}" in said


def test_starts_without_ends_are_refused():
    tensors = [_tensor("one", _ints(1)), _tensor("two", _ints(1, 1)), _tensor("same", _ints(1, -1))]
    for inputs in (["two", "one", "two"], ["one", "one", "two"], ["two", "two", "same"]):
        _refused(_model([_node("Slice", ["x", *inputs])], tensors, (3,)), "one start, end and step per axis")


def test_a_weight_that_exceeds_float32_when_folded_is_refused():
    nodes = [_node("MatMul", ["x", "w"], "a"), _node("Mul", ["a", "b"])]
    large = _tensor("b", np.full(3, 3e38, np.float32))
    _refused(_model(nodes, [_tensor("w", W), large]), "node 'y'.*exceed float32")


# Archives: the header and the members of a good one, changed one at a time.


def _archive(change=lambda header: None, members=None, compression=zipfile.ZIP_STORED, twice=()):
    from snnrepro.network.graph import Network, Node
    from snnrepro.network.layers import Conv

    weights = np.ones((4, 2, 3, 3), np.float32)
    layer = Conv(weights, np.arange(4), (1, 1), (1, 1), ((0, 0), (1, 1)))
    network = Network("x", (2, 5, 5), (Node("y", ("x",), layer),), {})
    path = _archive.folder / "good.npz"
    network.save(path)
    with zipfile.ZipFile(str(path)) as whole:
        content = {name: whole.read(name) for name in whole.namelist()}
    header = json.loads(np.load(io.BytesIO(content["header.npy"])).tobytes().decode())
    changed = change(header)
    content["header.npy"] = _npy(np.frombuffer(changed or json.dumps(header).encode(), np.uint8))
    content.update(members or {})
    path = _archive.folder / "changed.npz"
    with zipfile.ZipFile(str(path), "w", compression) as file:
        for name, data in content.items():
            file.writestr(name, data)
            if name in twice:
                with pytest.warns(UserWarning, match="Duplicate"):
                    file.writestr(name, data)
    return path


def _npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _head(text):
    head = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head


@pytest.fixture(autouse=True)
def _folder(tmp_path):
    _archive.folder = tmp_path


def _fields(**values):
    return lambda header: header["nodes"][0]["fields"].update(values)


BAD_SHAPE = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s,), }"
ARCHIVES = {
    "huge npy header": (
        {"members": {"0.bias.npy": _head(BAD_SHAPE % (2**60)) + b"\0" * 16}},
        "0.bias.*declares",
    ),
    "negative npy shape": ({"members": {"0.bias.npy": _head(BAD_SHAPE % -4) + b"\0" * 16}}, "0.bias.*plain array"),
    "nested npy header": ({"members": {"0.bias.npy": _head("(" * 110) + b"\0" * 16}}, "0.bias.*plain array"),
    "pickle": (
        {"members": {"0.bias.npy": _head("{'descr': '|O', 'fortran_order': False, 'shape': (4,), }")}},
        "0.bias",
    ),
    "header bomb": ({"members": {"header.npy": _npy(np.zeros(65 * 2**20, np.uint8))}}, "header is larger"),
    "compressed": ({"compression": zipfile.ZIP_DEFLATED}, "compressed"),
    "other compression": ({"compression": zipfile.ZIP_LZMA}, "compressed"),
    "duplicate": ({"twice": ("0.bias.npy",)}, "twice.*0.bias"),
    "no JSON": ({"change": lambda header: b"{"}, "damaged"),
    "no UTF-8": ({"change": lambda header: b"\xff"}, "damaged"),
    "deep": ({"change": lambda header: b"[" * 200_000}, "damaged"),
    "a list": ({"change": lambda header: b"[1]"}, "damaged"),
    "many digits": ({"change": lambda header: b"9" * 10**6}, "damaged.*digits"),
    "version": ({"change": lambda header: header.update(version="1")}, "version '1'"),
    "negative input": ({"change": lambda header: header["input"].update(shape=[-2, 5, 5])}, "input's shape"),
    "float input": ({"change": lambda header: header["input"].update(shape=[2, 5.0, 5])}, "input's shape"),
    "huge input": ({"change": lambda header: header["input"].update(shape=[2**30, 2**30])}, "input's shape"),
    "unknown field": ({"change": _fields(gain=1)}, "damaged.*gain"),
    "missing field": ({"change": lambda header: header["nodes"][0]["fields"].pop("bias") and None}, "damaged.*bias"),
    "0 strides": ({"change": _fields(strides=[0, 1])}, "'y': strides"),
    "float strides": ({"change": _fields(strides=[1.5, 1])}, "'y'.*strides"),
    "0 groups": ({"change": _fields(groups=0)}, "'y': groups"),
    "text for groups": ({"change": _fields(groups="2")}, "'y'.*groups"),
    "huge pads": ({"change": _fields(pads=[[0, 2**30], [0, 2**30]])}, "'y'.*more than"),
    "no array": ({"change": _fields(weights=3)}, "'y'.*weights"),
    "one array for two": (
        {"change": lambda h: h["nodes"][0]["fields"].update(bias=h["nodes"][0]["fields"]["weights"])},
        "two",
    ),
    "array's shape": ({"change": lambda h: h["nodes"][0]["fields"]["bias"].update(shape=[2**32, 2**32])}, "declared"),
    "negative array": (
        {"change": lambda h: h["nodes"][0]["fields"]["bias"].update(shape=[-4])},
        "0.bias.*is not valid",
    ),
    "nodes": ({"change": lambda header: header.update(nodes=7)}, "damaged"),
}


@pytest.mark.parametrize("fault", ARCHIVES)
def test_an_archive_that_nobody_wrote_is_refused(fault):
    arguments, message = ARCHIVES[fault]
    assert snnrepro.load(_archive()).output_shape == (4, 3, 5)
    with pytest.raises(snnrepro.ArchiveError, match=message) as refusal:
        snnrepro.load(_archive(**arguments))
    assert "changed.npz: " in str(refusal.value)
    assert len(str(refusal.value)) < 1000


def _with_field(layer, name, value, folder):
    """Return an archive of one node with a field that nobody wrote."""
    from snnrepro.network.graph import Network, Node

    path = folder / "field.npz"
    Network("x", (4, 4, 4), (Node("y", ("x",), layer),), {}).save(path)
    with zipfile.ZipFile(str(path)) as whole:
        content = {key: whole.read(key) for key in whole.namelist()}
    header = json.loads(np.load(io.BytesIO(content["header.npy"])).tobytes().decode())
    header["nodes"][0]["fields"][name] = value
    content["header.npy"] = _npy(np.frombuffer(json.dumps(header).encode(), np.uint8))
    with zipfile.ZipFile(str(path), "w") as file:
        for key, data in content.items():
            file.writestr(key, data)
    return path


def test_every_field_of_every_layer_has_a_check(tmp_path):
    from dataclasses import fields

    from tests.helpers.layer_cases import GOOD

    checked = [(layer, field.name) for layer in GOOD.values() for field in fields(layer)]
    assert len(checked) > 25
    for layer, name in checked:
        declared = {"array": "header", "shape": [3], "sha256": "0"}
        for value in ("text", {}, {"array": 3}, declared, [[["text"]]], [[{}]], [[[True]]], True, float("inf")):
            if name in ("log", "centred") and value is True:
                continue
            with pytest.raises(snnrepro.ArchiveError, match=r"field\.npz: "):
                snnrepro.load(_with_field(layer, name, value, tmp_path))


def test_a_weight_changes_only_if_nobody_made_it_read_only():
    from snnrepro.arrays import frozen

    mine = np.ones((2, 3), np.float32)
    view = mine.view()
    view.setflags(write=False)
    copies = [frozen(mine), frozen(view), frozen(mine.T), frozen(mine.tolist())]
    mine[:] = 7
    assert all((copy == 1).all() and not copy.flags.writeable for copy in copies)
    fixed = np.frombuffer(b"\0" * 24, np.float32)
    assert frozen(fixed) is fixed
