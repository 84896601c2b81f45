"""Neurons as physics: rates, thresholds, refractory periods and scalings hold at every step, whatever is drawn.

A property is a function that checks a spike train against what is claimed of the neuron, so that a planted fault (a
train of another neuron, or one that was tampered with) can be given to the same function.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnrepro.errors import ModelError
from snnrepro.spiking.neurons import IF, LIF, Population
from snnrepro.spiking.step import population_state

DT = 0.001
N_STEPS = 300
LIFS = st.builds(
    LIF,
    tau_rc=st.sampled_from([0.007, 0.02, 0.051]),
    tau_ref=st.sampled_from([0.001, 0.002, 0.0037]),
    amplitude=st.sampled_from([0.01, 1.0]),
)
CURRENTS = st.lists(st.floats(1.2, 12.0), min_size=3, max_size=7, unique=True)
# In thousandths: the rates of any two are apart by more than rounding takes away.
CURRENTS_APART = st.lists(st.integers(1200, 12000).map(lambda n: n / 1000), min_size=3, max_size=7, unique=True)


def lif_train(neuron, currents, n_steps=N_STEPS, initial=0.0, dt=DT):
    """Return the output of LIF neurons, one a constant current, ``(n_steps, n)``."""
    currents = np.asarray(currents, np.float32)
    population = Population(neuron, np.float32(1), np.float32(neuron.amplitude / dt), np.float32(initial), currents)
    state = population_state(population, dt, (len(currents),))
    return np.stack([state.step(np.zeros(len(currents), np.float32)) for _ in range(n_steps)])


def if_train(neuron, z, n_steps, threshold=1.0, initial=0.0, amplitude=None, subtracted=None):
    """Return the output of IF neurons for inputs ``(n,)`` that are constant, or ``(n_steps, n)``."""
    z = np.asarray(z, np.float32)
    z = np.broadcast_to(z, (n_steps, z.shape[-1]))
    amplitude = threshold if amplitude is None else amplitude
    constants = (np.float32(value) for value in (threshold, amplitude, initial, 0.0))
    population = Population(neuron, *constants, None if subtracted is None else np.float32(subtracted))
    state = population_state(population, DT, (z.shape[1],))
    return np.stack([state.step(current) for current in z])


def counts_follow_the_rate(train, rates):
    """Check |spikes - rate t| at every step: at most one spike, and what float32 rounds away in t steps."""
    spikes = np.cumsum(train > 0, axis=0)
    time = DT * np.arange(1, len(train) + 1)[:, np.newaxis]
    assert np.abs(spikes - rates * time).max() <= 1.0 + 1e-3


@settings(max_examples=25)
@given(LIFS, CURRENTS)
def test_the_spikes_of_a_constant_current_follow_the_rate_at_every_step(neuron, currents):
    train = lif_train(neuron, currents)
    assert (train > 0).sum(axis=0).min() >= 2, "a neuron does not fire twice"
    counts_follow_the_rate(train, neuron.rate(np.float32(currents)))


@pytest.mark.parametrize("fault", [{"tau_rc": 0.022}, {"tau_ref": 0.0025}, {"tau_ref": 0.0015}])
def test_a_wrong_time_constant_breaks_the_rate(fault):
    currents = [1.4, 3.0, 9.0]
    with pytest.raises(AssertionError):
        counts_follow_the_rate(lif_train(LIF(**fault), currents), LIF().rate(np.float32(currents)))


def test_a_spike_that_is_dropped_or_added_breaks_the_rate():
    train = lif_train(LIF(), [1.4, 3.0, 9.0])
    for column in range(3):
        fired = np.flatnonzero(train[:, column])
        dropped, added = train.copy(), train.copy()
        dropped[fired[::2], column] = 0
        added[:, column] = np.where(np.arange(N_STEPS) % 5 == 0, 10.0, train[:, column])
        for fault in (dropped, added):
            with pytest.raises(AssertionError):
                counts_follow_the_rate(fault, LIF().rate(np.float32([1.4, 3.0, 9.0])))


@settings(max_examples=25)
@given(LIFS, st.lists(st.floats(-5.0, 0.999), min_size=1, max_size=5), st.floats(0.0, 0.99))
def test_a_lif_neuron_never_fires_below_threshold(neuron, currents, initial):
    assert lif_train(neuron, [*currents, 3.0], initial=initial)[:, -1].any(), "no neuron fires at all"
    assert not lif_train(neuron, currents, initial=initial).any()


@settings(max_examples=25)
@given(LIFS, CURRENTS_APART)
def test_the_rate_never_falls_as_the_current_rises(neuron, currents):
    currents = sorted(currents)
    counts = (lif_train(neuron, currents) > 0).sum(axis=0)
    assert counts[-1] > 0
    assert np.all(np.diff(counts) >= 0)
    assert np.all(np.diff(neuron.rate(currents)) > 0)


def no_faster_than_the_refractory_period(train, tau_ref):
    """Check that spikes of one neuron are at least the refractory period apart (a step is its resolution)."""
    for column in train.T:
        intervals = np.diff(np.flatnonzero(column)) * DT
        assert len(intervals), "no interval to check"
        assert intervals.mean() >= tau_ref - 1e-6
        assert intervals.min() >= tau_ref - DT


@settings(max_examples=25)
@given(LIFS, CURRENTS)
def test_no_neuron_fires_faster_than_its_refractory_period_allows(neuron, currents):
    train = lif_train(neuron, [current * 100 for current in currents])
    no_faster_than_the_refractory_period(train, neuron.tau_ref)


def test_a_neuron_without_its_refractory_period_is_noticed():
    with pytest.raises(AssertionError):
        no_faster_than_the_refractory_period(lif_train(LIF(tau_ref=0.001), [500.0]), 0.004)


@settings(max_examples=30)
@given(LIFS, CURRENTS, st.sampled_from([0.5, 2.0, 8.0]))
def test_the_amplitude_scales_the_output_and_leaves_the_spikes(neuron, currents, factor):
    train = lif_train(neuron, currents)
    scaled = lif_train(LIF(neuron.tau_rc, neuron.tau_ref, neuron.amplitude * factor), currents)
    assert train.any()
    np.testing.assert_allclose(scaled, train * factor, rtol=1e-6)


@settings(max_examples=30)
@given(LIFS, CURRENTS, st.sampled_from([0.5, 2.0, 4.0]))
def test_all_times_scaled_alike_give_the_same_spikes(neuron, currents, factor):
    """Powers of two: the scaled times round alike."""
    slow = LIF(neuron.tau_rc * factor, neuron.tau_ref * factor, neuron.amplitude * factor, max_rate=100 / factor)
    train = lif_train(neuron, currents)
    assert train.any()
    np.testing.assert_array_equal(lif_train(slow, currents, dt=DT * factor) > 0, train > 0)
    assert ((lif_train(LIF(neuron.tau_rc * 1.1, neuron.tau_ref), currents) > 0) != (train > 0)).any()


@settings(max_examples=15)
@given(LIFS, CURRENTS, st.integers(0, 2**31))
def test_lif_neurons_are_nengos_step_by_step(neuron, currents, seed):
    nengo = pytest.importorskip("nengo", reason="Nengo is not installed (extra: nengo)")
    rng = np.random.RandomState(seed)
    drive = (np.asarray(currents) * rng.uniform(0.2, 1.5, (200, len(currents)))).astype(np.float32)
    initial = rng.uniform(0, 1, len(currents)).astype(np.float32)
    population = Population(neuron, np.float32(1), np.float32(neuron.amplitude / DT), initial, np.float32(0))
    ours = population_state(population, DT, (len(currents),))
    theirs = nengo.LIF(neuron.tau_rc, neuron.tau_ref, amplitude=neuron.amplitude)
    voltage, refractory = initial.astype(np.float64), np.zeros(len(currents))
    fired = 0
    for step, current in enumerate(drive):
        output = np.zeros(len(currents))
        theirs.step(DT, current.astype(np.float64), output, voltage=voltage, refractory_time=refractory)
        found = ours.step(current / np.float32(neuron.gain))
        np.testing.assert_allclose(found, output, rtol=1e-6, err_msg=f"step {step + 1}")
        np.testing.assert_allclose(ours.potential, voltage, atol=5e-3)
        fired += np.count_nonzero(output)
    assert fired > 5


@settings(max_examples=25)
@given(LIFS, st.lists(st.floats(0.05, 0.95), min_size=1, max_size=5))
def test_rate_and_current_are_inverse(neuron, shares):
    rates = np.asarray(shares) / neuron.tau_ref
    np.testing.assert_allclose(neuron.rate(neuron.current(rates)), rates, rtol=1e-5)
    for tau in (None, 0.02):
        simple = IF(tau=tau)
        rates = np.asarray(shares) / DT
        np.testing.assert_allclose(simple.rate(simple.current(rates, 0.7, DT), 0.7, DT), rates, rtol=1e-6)
    with pytest.raises(ModelError, match="1 / tau_ref"):
        neuron.current(1.0 / neuron.tau_ref)
    with pytest.raises(ModelError, match="up to 1000 Hz"):
        IF().current(1001.0, 1.0, DT)


DYADIC = st.integers(-64, 192).map(lambda number: number / 64)


@settings(max_examples=60)
@given(st.lists(DYADIC, min_size=1, max_size=8), st.integers(0, 63), st.sampled_from([0.25, 0.5, 1.0, 2.0]))
def test_if_neurons_give_the_floor_of_the_closed_formula_at_every_step(z, initial, threshold):
    """floor((n z + v0) / threshold), from 0 to n, for a constant input that is not negative."""
    z = np.abs(np.float64([*z, threshold / 2]))
    v0 = threshold * initial / 64
    train = if_train(IF(), z, 33, threshold, v0)
    assert train.any()
    n = np.arange(1, 34)[:, np.newaxis]
    expected = np.where(z >= threshold, n, np.minimum(np.floor((n * z + v0) / threshold), n))
    np.testing.assert_array_equal(np.cumsum(train, axis=0) / threshold, expected)


@pytest.mark.parametrize("fault", [{"initial": 0.5}, {"threshold": 1.125}, {"subtracted": 0.875}])
def test_a_wrong_constant_breaks_the_closed_formula(fault):
    z = np.float64([0.25, 0.375, 0.75])
    n = np.arange(1, 34)[:, np.newaxis]
    spikes = np.cumsum(if_train(IF(), z, 33, **{"amplitude": 1.0, **fault}), axis=0)
    assert np.array_equal(np.cumsum(if_train(IF(), z, 33), axis=0), np.floor(n * z))
    assert not np.array_equal(spikes, np.floor(n * z))


@settings(max_examples=60)
@given(st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=8), st.sampled_from([4, 9, 16, 50]))
def test_the_mean_output_meets_the_rectifier_within_a_threshold_over_the_steps(z, n_steps):
    z = np.float32([*z, 0.6])
    mean = if_train(IF(), z, n_steps, initial=0.5).mean(axis=0)
    assert mean[-1] > 0
    assert np.abs(mean - np.clip(z, 0, 1)).max() <= 0.5 / n_steps + 1e-5


def test_the_error_of_the_mean_shrinks_with_the_steps():
    z = np.random.RandomState(0).uniform(-0.3, 0.97, 500).astype(np.float32)
    errors = [
        np.abs(if_train(IF(), z, n_steps, initial=0.5).mean(axis=0) - np.clip(z, 0, 1)).mean()
        for n_steps in (4, 8, 16, 32, 64)
    ]
    ratios = np.divide(errors[1:], errors[:-1])
    assert ratios == pytest.approx([0.5] * 4, abs=0.1)  # 1 / T
    drifting = [
        np.abs(if_train(IF(), z, n, initial=0.5, subtracted=0.9).mean(axis=0) - np.clip(z, 0, 1)).mean()
        for n in (4, 8, 16, 32, 64)
    ]
    assert drifting[-1] > 0.7 * drifting[-2], "a neuron that loses too little at a spike keeps its error"


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.sampled_from([0.25, 4.0, 16.0]), st.sampled_from([None, 0.02]))
def test_all_potentials_scaled_alike_give_the_same_spikes(seed, factor, tau):
    z = np.random.RandomState(seed).uniform(-0.8, 1.2, (20, 6)).astype(np.float32)
    train = if_train(IF(tau=tau), z, 20, threshold=1.0, initial=0.25)
    assert train.any()
    scaled = if_train(IF(tau=tau), z * np.float32(factor), 20, threshold=factor, initial=0.25 * factor)
    np.testing.assert_array_equal(scaled, train * np.float32(factor))


def test_inhibition_that_comes_first_is_remembered():
    """-1 then +1: a signed membrane is back at 0, one that is rectified would fire."""
    z = np.float32([[-1.0], [1.0], [0.5], [0.5]])
    np.testing.assert_array_equal(if_train(IF(), z, 4)[:, 0], [0, 0, 0, 1])


@pytest.mark.parametrize("tau", [None, 0.02])
def test_reset_to_zero_forgets_what_lay_above_the_threshold(tau):
    z = np.float32([0.6])
    zero = if_train(IF(tau=tau, reset="zero"), z, 60)[:, 0]
    kept = if_train(IF(tau=tau), z, 60)[:, 0]
    assert 0 < zero.sum() < kept.sum()
    rate = float(IF(tau=tau, reset="zero").rate(np.float32(0.6), 1.0, DT))
    assert zero.sum() == pytest.approx(rate * 0.06, abs=1)


def test_a_leaky_neuron_is_silent_below_its_rheobase_and_has_the_closed_rate_above():
    leak = 1 - np.exp(-DT / 0.02)
    assert not if_train(IF(tau=0.02), np.float32([0.99 * leak]), 2000).any()
    for z in (0.07, 0.11):
        n = if_train(IF(tau=0.02), np.float32([z]), 2000).sum()
        assert n / (2000 * DT) == pytest.approx(float(IF(tau=0.02).rate(z, 1.0, DT)), rel=0.05)


def test_a_growing_membrane_tells_more_values_apart_than_a_rate():
    """Weighted means of 4 steps: 5 values in a rate code, more where the first step outweighs the last."""
    z = np.linspace(0.01, 0.99, 400).astype(np.float32)
    values = {}
    for growth in (1.0, 1.25):
        weights = growth ** -np.arange(4.0)[:, np.newaxis]
        train = if_train(IF(growth=growth), z, 4, initial=0.5)
        values[growth] = len(np.unique(np.round((train * weights).sum(axis=0) / weights.sum(), 6)))
    assert values[1.0] == 5
    assert values[1.25] > 5


def test_at_most_one_spike_a_step_unless_more_are_asked_for():
    z = np.float32([2.5])
    np.testing.assert_array_equal(if_train(IF(), z, 4)[:, 0], [1, 1, 1, 1])
    np.testing.assert_array_equal(if_train(IF(max_spikes=3), z, 4)[:, 0], [2, 3, 2, 3])


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"tau": 0.0}, "tau must be above 0 s"),
        ({"growth": 0.9}, "growth must lie from 1 to 2"),
        ({"reset": "none"}, "'subtract' or 'zero'"),
        ({"max_spikes": 0}, "max_spikes must be at least 1"),
        ({"max_spikes": 2, "reset": "zero"}, "1 with reset to zero"),
    ],
)
def test_constants_that_cannot_be_are_refused(constants, message):
    with pytest.raises(ModelError, match=message):
        IF(**constants)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("tau_rc", [0.0, -1.0]),
        ("tau_ref", [-0.5]),
        ("amplitude", [0.0, -0.01]),
        ("min_voltage", [0.5]),
        ("max_rate", [0.0, -100.0, 500.0]),  # 500 Hz is 1 / tau_ref
        ("intercept", [1.0]),
        ("initial_voltage", [(0.0,), (0.0, 1.0, 2.0), (0.0, np.nan), (True, 1.0), 0.5]),
    ],
)
def test_constants_that_a_lif_neuron_cannot_have_are_refused(field, values):
    for value in [*values, np.nan, np.inf, -np.inf, "abc", None, True, 10**400]:
        with pytest.raises(ModelError, match=f"LIF: {field} must be"):
            LIF(**{field: value})
    assert LIF(**{field: getattr(LIF(), field)}) == LIF()


@pytest.mark.parametrize("field", ["tau", "growth", "reset", "max_spikes"])
def test_what_is_no_constant_of_an_if_neuron_is_refused(field):
    for value in [np.nan, np.inf, "abc", True, [1.0], 10**400]:
        with pytest.raises(ModelError, match=f"IF: {field} must"):
            IF(**{field: value})


@pytest.mark.parametrize("field", ["threshold", "amplitude", "initial_potential", "bias", "subtracted"])
def test_what_is_no_constant_of_a_population_is_refused(field):
    ones = dict.fromkeys(("threshold", "amplitude", "initial_potential", "bias", "subtracted"), np.ones(2))
    below = [0.0, [1.0, -1.0]] if field in ("threshold", "amplitude", "subtracted") else []
    for value in [*below, np.nan, [1.0, np.inf], 1e300, "abc", True, np.array([True, False]), [None]]:
        with pytest.raises(ModelError, match=f"Population: {field} must be finite numbers"):
            Population(IF(), **{**ones, field: value})
    assert getattr(Population(IF(), **{**ones, field: 0.5}), field).dtype == np.float32
