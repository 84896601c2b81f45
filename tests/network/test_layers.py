"""A layer is its fields, their checks, its shape and its value: what cannot be computed cannot be built."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

import snnrepro
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import (
    LAYER_TYPES,
    Add,
    AveragePool,
    Conv,
    ConvTranspose,
    Divide,
    Function,
    LeakyReLU,
    MaxPool,
    Multiply,
    OnnxPart,
    Pad,
    Reduce,
    ReLU,
    Reshape,
    Round,
    Select,
    Sigmoid,
    Transpose,
)
from tests.helpers.layer_cases import BAD, CONTRADICTIONS, GOOD, NO_PADS, READS

SHAPE = (4, 4, 4)
X = np.random.RandomState(0).normal(size=(3, *SHAPE)).astype(np.float32)


def test_every_field_of_every_layer_has_bad_values():
    assert set(GOOD) == set(BAD) == set(LAYER_TYPES)
    for layer, bad in BAD.items():
        assert {field.name for field in fields(layer)} == set(bad)
        assert all(len(values) > 5 for values in bad.values())


@pytest.mark.parametrize(
    ("layer", "field"),
    [(layer, field) for layer in BAD for field in BAD[layer]],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_a_bad_field_is_refused_by_its_name_when_the_layer_is_built(layer, field):
    for value in BAD[layer][field]:
        with pytest.raises(snnrepro.ModelError) as refusal:
            replace(GOOD[layer], **{field: value})
        said = str(refusal.value)
        assert said.startswith((f"{field} of {layer.__name__} is ", f"{field} of {layer.__name__} hold ")), said
        assert "accepted " in said
        assert len(said) < 300


@pytest.mark.parametrize(("layer", "changed", "named"), CONTRADICTIONS)
def test_fields_that_contradict_each_other_are_refused(layer, changed, named):
    with pytest.raises(snnrepro.ModelError, match=f"^{named} of {layer.__name__} is .*accepted"):
        replace(GOOD[layer], **changed)


@pytest.mark.parametrize("layer", GOOD.values(), ids=lambda layer: type(layer).__name__)
def test_a_good_layer_gives_a_value_of_its_shape_and_is_the_same_from_an_archive(layer, tmp_path):
    network = Network("x", SHAPE, (Node("y", ("x",) * READS.get(type(layer), 1), layer),), {})
    scores = network.forward(X)
    assert (
        scores.shape
        == (len(X), *layer.output_shape(*[SHAPE] * READS.get(type(layer), 1)))
        == (len(X), *network.output_shape)
    )
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    network.save(tmp_path / "layer.npz")
    again = snnrepro.load(tmp_path / "layer.npz").forward(X)
    assert again.tobytes() == scores.tobytes()


def test_what_is_given_as_lists_or_as_numpy_numbers_is_kept_as_pythons_own(tmp_path):
    one = np.int64(1)
    pool = MaxPool([2, np.int32(2)], [one, one], (1, 1), [[0, 0], (0, one)])
    assert (pool.kernel, pool.strides, pool.pads) == ((2, 2), (1, 1), ((0, 0), (0, 1)))
    bounded, selected, turned = ReLU(np.float32(0.5)), Select([None, [0, one], None]), Transpose([np.int8(1), 0, 2])
    assert (type(bounded.maximum), selected.indices, turned.axes) == (float, (None, (0, 1), None), (1, 0, 2))
    nodes = (Node("a", ("x",), pool), Node("b", ("a",), bounded), Node("y", ("b",), selected))
    Network("x", SHAPE, nodes, {}).save(tmp_path / "lists.npz")
    assert snnrepro.load(tmp_path / "lists.npz").nodes[0].layer.pads == pool.pads


def test_the_defects_that_this_began_with_stay_gone():
    """A median that was a maximum, a fifth bias for four channels, a division by a stride of 0."""
    with pytest.raises(snnrepro.ModelError, match="kind of Reduce is 'median'; accepted is 'mean' or 'max'"):
        Reduce("median", (1, 2))
    with pytest.raises(snnrepro.ModelError, match=r"bias of Conv is an array of shape \(5,\); .*shape \(4,\)"):
        Conv(np.ones((4, 4, 1, 1)), np.zeros(5), (1, 1), (1, 1), NO_PADS)
    with pytest.raises(snnrepro.ModelError, match=r"strides of MaxPool is \(0, 1\); .*at least 1"):
        MaxPool((2, 2), (0, 1), (1, 1), NO_PADS)


REFUSED = {
    (): {*GOOD} - {ReLU, Round, LeakyReLU, Sigmoid, Function, Add, Multiply, Divide},
    (3, 4, 4): {Conv, ConvTranspose, OnnxPart, Reshape},
    (4, 4, 4, 4): {Conv, ConvTranspose, AveragePool, MaxPool, OnnxPart, Reshape, Transpose, Pad, Select},
}


@pytest.mark.parametrize("shape", REFUSED)
def test_a_value_that_a_layer_cannot_take_is_refused_by_the_nodes_name(shape):
    for kind, layer in GOOD.items():
        if kind in REFUSED[shape]:
            with pytest.raises(snnrepro.ModelError, match=f"^{kind.__name__} 'the node': "):
                layer.output_shape(*[shape] * READS.get(kind, 1), name="the node")
        else:
            layer.output_shape(*[shape] * READS.get(kind, 1), name="the node")


def test_a_selection_beyond_the_axis_is_refused():
    with pytest.raises(snnrepro.ModelError, match="indices from 0 to 4 for an axis of 4"):
        Select((None, (0, 4), None)).output_shape(SHAPE)
