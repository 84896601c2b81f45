"""A network's task decides what it answers, which labels it takes and how good an answer is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnrepro.errors import DataError, ModelError
from snnrepro.metrics import lost_and_won
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import Dense, Reshape, Sigmoid, Softmax, Transpose
from snnrepro.network.task import TASKS, Task, task_of


def _network(shape, final=None, behind=()):
    """Return a network with an output of this shape, from one number, with an activation and movements behind it."""
    size = int(np.prod(shape))
    nodes = [
        Node("dense", ("x",), Dense(np.ones((1, size)), np.zeros(size))),
        Node("shaped", ("dense",), Reshape(shape)),
    ]
    for index, layer in enumerate([*([] if final is None else [final]), *behind]):
        nodes.append(Node(f"n{index}", (nodes[-1].name,), layer))
    return Network("x", (1,), tuple(nodes), {})


SUGGESTED = [
    ((10,), None, "classes"),
    ((10,), Softmax((0,)), "classes"),
    ((10, 1, 1), None, "classes"),
    ((1,), Sigmoid(), "binary"),
    ((1, 1, 1), Sigmoid(), "binary"),
    ((1,), None, "values"),
    ((5,), Sigmoid(), "multilabel"),
    ((3, 4, 5), Softmax((0,)), "map"),
    ((3, 4, 5), None, "values"),
    ((4, 5, 1), Sigmoid(), "values"),
]


@pytest.mark.parametrize(("shape", "final", "task"), SUGGESTED)
def test_the_output_says_what_the_task_is(shape, final, task):
    assert task_of(_network(shape, final)).name == task
    behind = [Reshape(shape), Transpose(tuple(range(len(shape))))]
    assert task_of(_network(shape, final, behind)).name == task, "movements change nothing"


@pytest.mark.parametrize(
    ("shape", "final", "labels", "task"),
    [
        ((1,), None, [0, 1, 1], "binary"),
        ((1,), None, [[0.0], [1.0], [1.0]], "binary"),
        ((1,), None, [0.2, 1.0, 0.0], "values"),
        ((1,), None, [0, 2, 1], "values"),
        ((2,), None, [[0.2, 0.5], [1.0, 0.0], [0.3, 0.1]], "values"),
        ((2,), None, [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], "classes"),
        ((2,), Softmax((0,)), [[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]], "classes"),
        ((2, 4, 5), None, np.zeros((3, 4, 5), int), "map"),
        ((4, 5, 1), Sigmoid(), np.zeros((3, 4, 5), np.uint8), "map"),
    ],
)
def test_where_the_output_leaves_it_open_the_labels_say_it(shape, final, labels, task):
    assert task_of(_network(shape, final), labels=labels).name == task


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("shape", [(1,), (6,), (3, 4, 5)])
def test_a_task_that_is_named_is_taken_or_refused_with_those_that_are_possible(task, shape):
    possible = {(1,): {"binary", "values"}, (6,): {"classes", "multilabel", "values"}, (3, 4, 5): {"map", "values"}}
    if task in possible[shape]:
        assert task_of(_network(shape), task).name == task
    else:
        with pytest.raises(ModelError, match=f"task '{task}' does not fit an output of .*it can be ") as refusal:
            task_of(_network(shape), task)
        assert set(str(refusal.value).rpartition("it can be ")[2].split(", ")) == possible[shape]


def test_a_task_that_there_is_not_is_refused():
    with pytest.raises(ModelError, match="task 'regression' is none of classes, binary, multilabel, values, map"):
        task_of(_network((1,)), "regression")


@given(st.data())
def test_a_sigmoid_says_yes_above_a_half_and_a_logit_above_0(data):
    """The scores of 0.1 to 0.9 were all class 0 once."""
    logits = np.array(data.draw(st.lists(st.integers(-50, 50), min_size=2, max_size=9)), np.float32)[:, None] / 10
    behind_sigmoid, logit = task_of(_network((1,), Sigmoid())), task_of(_network((1,)), "binary")
    expected = (logits[:, 0] > 0).astype(int)
    np.testing.assert_array_equal(logit.answers(logits), expected)
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    np.testing.assert_array_equal(behind_sigmoid.answers(scores), expected)
    assert behind_sigmoid.answers(np.array([[0.2], [0.9]], np.float32)).tolist() == [0, 1]


@given(st.integers(1, 4), st.integers(1, 3), st.randoms(use_true_random=False))
def test_answers_have_the_shape_of_what_has_an_answer(n_images, n_steps, rng):
    shape = tuple(rng.sample([2, 3, 4, 5], 3))
    scores = np.random.RandomState(rng.randrange(1000)).rand(n_images, n_steps, *shape)
    for axis in range(3):
        task = task_of(_network(shape, Softmax((axis,))))
        answers = task.answers(scores)
        assert answers.shape == (n_images, n_steps, *shape[:axis], *shape[axis + 1 :])
        for place in itertools.islice(np.ndindex(*answers.shape), 20):
            row = [scores[(*place[: 2 + axis], one, *place[2 + axis :])] for one in range(shape[axis])]
            assert answers[place] == int(np.argmax(row))


def test_a_map_of_one_channel_is_yes_or_no_at_every_place():
    task = task_of(_network((2, 3, 1), Sigmoid()), "map")
    scores = np.array([[[0.4], [0.6], [0.5]], [[0.9], [0.1], [0.7]]], np.float32)[None]
    assert task.answers(scores).tolist() == [[[0, 1, 0], [1, 0, 1]]]
    assert task.labels(np.ones((1, 2, 3, 1), bool), 1).tolist() == [[[1, 1, 1], [1, 1, 1]]]


def test_the_scores_of_values_are_the_answers():
    scores = np.random.RandomState(0).rand(4, 2, 3).astype(np.float32)
    assert task_of(_network((2, 3))).answers(scores) is scores


# How good answers are: against definitions written out.


@given(st.data())
def test_r2_is_the_share_of_the_variance_that_is_explained(data):
    rng = np.random.RandomState(data.draw(st.integers(0, 1000)))
    labels = rng.normal(3, 2, (20, 2)).astype(np.float32)
    answers = labels + rng.normal(0, data.draw(st.floats(0.01, 3)), labels.shape).astype(np.float32)
    merit = Task("values", (2,)).merit(answers, labels)
    residual = sum((float(a) - float(y)) ** 2 for a, y in zip(answers.ravel(), labels.ravel()))
    total = sum((float(y) - float(labels[:, k].mean())) ** 2 for row in labels for k, y in enumerate(row))
    assert merit.percent == pytest.approx(100 * (1 - residual / total), rel=1e-4)
    assert merit.also["RMSE"] == pytest.approx((residual / 40) ** 0.5, rel=1e-5)
    assert merit.low <= merit.percent <= merit.high


@given(st.integers(0, 1000))
def test_iou_is_intersection_over_union_of_each_class(seed):
    rng = np.random.RandomState(seed)
    labels, answers = rng.randint(0, 3, (2, 4, 5, 6))
    found = Task("map", (3, 5, 6)).merit(answers, labels).percent
    shares = []
    for one in range(3):
        given_, true = ({tuple(place) for place in np.argwhere(of == one)} for of in (answers, labels))
        if given_ | true:
            shares.append(len(given_ & true) / len(given_ | true))
    assert found == pytest.approx(100 * sum(shares) / len(shares))


def test_a_class_that_nobody_names_has_no_share_in_the_mean_iou():
    labels = np.array([[[0, 1], [1, 1]]])
    assert Task("map", (9, 2, 2)).merit(labels, labels).percent == 100.0


def test_the_accuracy_of_all_labels_counts_every_one():
    labels = np.array([[0, 1, 1], [1, 0, 0]])
    merit = Task("multilabel", (3,)).merit(np.array([[0, 1, 0], [1, 0, 0]]), labels)
    assert merit.percent == pytest.approx(100 * 5 / 6)
    assert str(merit).startswith("accuracy of all labels 83.33 %")


def test_values_that_are_all_the_same_say_nothing():
    with pytest.raises(DataError, match="all values are the same"):
        Task("values", (1,)).merit(np.zeros((5, 1)), np.ones((5, 1)))
    with pytest.raises(DataError, match="no images"):
        Task("values", (1,)).merit(np.zeros((0, 1)), np.ones((0, 1)))


@given(st.sampled_from(["classes", "binary", "multilabel", "map"]), st.integers(0, 1000))
def test_no_constant_answer_is_better_than_the_one_by_chance(name, seed):
    shape = {"classes": (4,), "binary": (1,), "multilabel": (3,), "map": (3, 2, 2)}[name]
    task = Task(name, shape)
    rng = np.random.RandomState(seed)
    labels = rng.choice(task.n_classes, (12, *task.space), p=rng.dirichlet(np.ones(task.n_classes)))
    best = task.by_chance(labels)
    assert best.shape == labels.shape
    right = (best == labels).mean()
    for one in range(task.n_classes):
        assert right >= (labels == one).mean()


def test_the_mean_is_the_constant_that_explains_nothing():
    labels = np.random.RandomState(0).rand(9, 2).astype(np.float32)
    task = Task("values", (2,))
    assert task.merit(task.by_chance(labels), labels).percent == pytest.approx(0, abs=1e-6)


# What conversion loses.


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50))
def test_lost_and_won_answers_are_counted_in_pairs(pairs):
    before, after = (np.array(column) for column in zip(*pairs))
    loss = lost_and_won(before, after)
    assert loss.lost == sum(b and not a for b, a in pairs)
    assert loss.won == sum(a and not b for b, a in pairs)
    assert loss.points == pytest.approx(100 * (before.mean() - after.mean()))
    assert -100 <= loss.low <= loss.points <= loss.high <= 100
    assert loss.high - loss.low > 0, "images that all agree may still have agreed by chance"
    mirrored = lost_and_won(after, before)
    assert (mirrored.low, mirrored.high) == pytest.approx((-loss.high, -loss.low))


@pytest.mark.parametrize(("p_lost", "p_won"), [(0.02, 0.01), (0.002, 0.001), (0.05, 0.05)])
def test_the_interval_of_a_loss_holds_it_19_times_in_20(p_lost, p_won):
    rng, n_images, inside = np.random.RandomState(0), 1000, 0
    for lost, won, _ in rng.multinomial(n_images, [p_lost, p_won, 1 - p_lost - p_won], size=2000):
        before = np.arange(n_images) < lost
        after = np.arange(n_images)[::-1] < won
        loss = lost_and_won(before, after)
        inside += loss.low <= 100 * (p_lost - p_won) <= loss.high
    assert 0.93 < inside / 2000 < 0.99


def test_the_images_that_resolve_a_loss_grow_with_the_square():
    before = np.ones(500, bool)
    after = before.copy()
    after[:6] = False
    loss = lost_and_won(before, after)
    assert loss.needed_images(0.4) < loss.needed_images(0.2)
    assert loss.needed_images(0.1) == pytest.approx(4 * loss.needed_images(0.2), rel=0.1)
    assert loss.needed_images(0.2) == pytest.approx(500 * (1.96 * loss.standard_error / 0.2) ** 2, rel=0.1)
    assert loss.needed_images(0.0) > 10**9


@given(st.integers(0, 1000))
def test_the_loss_of_values_is_the_difference_of_their_r2(seed):
    rng = np.random.RandomState(seed)
    task = Task("values", (2,))
    labels = rng.rand(30, 2).astype(np.float32)
    before, after = (labels + rng.normal(0, scale, labels.shape) for scale in (0.01, 0.1))
    loss = task.loss(before, after, labels)
    assert loss.points == pytest.approx(task.merit(before, labels).percent - task.merit(after, labels).percent)
    assert 0 < loss.low <= loss.points <= loss.high
    assert loss.lost is None
    alone = task.loss(before, after)
    assert alone.points == pytest.approx(100 - task.merit(after, before.astype(np.float32)).percent, rel=1e-3)


def test_a_map_of_logits_has_its_classes_along_the_shortest_axis():
    task = task_of(_network((3, 8, 9)), "map")
    assert (task.axis, task.n_classes, task.space) == (0, 3, (8, 9))
    task = task_of(_network((8, 9, 3)), "map")
    assert (task.axis, task.n_classes, task.space) == (2, 3, (8, 9))
