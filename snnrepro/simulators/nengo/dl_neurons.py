"""The neuron types of `neurons` in TensorFlow, for NengoDL; imported only after NengoDL was."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from nengo_dl.neuron_builders import SimNeuronsBuilder, TFNeuronBuilder

from snnrepro.network.layers import Multiply
from snnrepro.simulators.nengo.neurons import Counter, Maximum, Running, SignedIF


def register() -> None:
    """Tell NengoDL how to run our neuron types; again changes nothing."""
    SimNeuronsBuilder.TF_NEURON_IMPL.update(
        {SignedIF: _SignedIFBuilder, Maximum: _MaximumBuilder, Running: _FunctionBuilder, Counter: _CounterBuilder}
    )


class _Builder(TFNeuronBuilder):  # type: ignore[misc]  # NengoDL has no type hints
    """Neurons of several populations are run in one call: their constants stand side by side."""

    def build_pre(self, signals: Any, config: Any) -> None:
        super().build_pre(signals, config)
        self.sizes = [op.J.shape[0] for op in self.ops]
        self.dtype = signals.dtype

    def constant(self, values: list[Any]) -> Any:
        """Return one number per neuron from one number or one array per population."""
        wide = [np.broadcast_to(value, (size,)) for value, size in zip(values, self.sizes)]
        return tf.constant(np.concatenate(wide), dtype=self.dtype)


class _SignedIFBuilder(_Builder):
    spiking = True

    def build_pre(self, signals: Any, config: Any) -> None:
        super().build_pre(signals, config)
        types = [op.neurons for op in self.ops]
        self.threshold = self.constant([neurons.threshold for neurons in types])
        self.amplitudes = self.constant([neurons.amplitudes for neurons in types])
        self.subtracted = self.constant([neurons.subtracted for neurons in types])
        leaks = any(neurons.retention != 1 for neurons in types)
        self.retention = self.constant([neurons.retention for neurons in types]) if leaks else None
        rounds = leaks and any(neurons.unit is not None for neurons in types)
        self.unit = self.constant([0.0 if one.unit is None else one.unit for one in types]) if rounds else None
        several = any(neurons.max_spikes > 1 for neurons in types)
        self.most = self.constant([neurons.max_spikes for neurons in types]) if several else None
        zero = [neurons.reset == "zero" for neurons in types]
        self.to_zero = None if not any(zero) else tf.constant(np.repeat(zero, self.sizes))

    def step(self, J: Any, dt: Any, potential: Any) -> tuple[Any, Any]:  # noqa: N803
        """Advance by one time step."""
        kept = potential if self.retention is None else potential * self.retention
        if self.unit is not None:
            kept = tf.where(self.unit > 0, tf.round(tf.math.divide_no_nan(kept, self.unit)) * self.unit, kept)
        v = kept + J
        spikes = tf.cast(v >= self.threshold, v.dtype)
        if self.most is not None:
            above = tf.floor((v - self.threshold) / self.subtracted) + 1
            spikes = tf.where(self.most > 1, tf.clip_by_value(above, 0.0 * self.most, self.most), spikes)
        after = v - spikes * self.subtracted
        if self.to_zero is not None:
            after = tf.where(tf.logical_and(self.to_zero, spikes > 0), tf.zeros_like(v), after)
        return spikes * self.amplitudes, after

    def training_step(self, J: Any, dt: Any, **state: Any) -> Any:  # noqa: N803
        """Return what the neurons' mean output stands for: the rectified input."""
        return tf.nn.relu(J)


class _RunningBuilder(_Builder):
    """What depends on the sums of its inputs so far."""

    spiking = True

    def build_pre(self, signals: Any, config: Any) -> None:
        super().build_pre(signals, config)
        self.growth = self.constant([op.neurons.growth for op in self.ops])


class _MaximumBuilder(_RunningBuilder):
    def step(self, J: Any, dt: Any, total: Any, largest: Any) -> tuple[Any, Any, Any]:  # noqa: N803
        """Advance by one time step."""
        total = self.growth * total + J
        now = self._largest(total)
        return now - self.growth * largest, total, now

    def training_step(self, J: Any, dt: Any, **state: Any) -> Any:  # noqa: N803
        """Return the maximum of the step."""
        return self._largest(J)

    def _largest(self, values: Any) -> Any:
        """Return the maxima at the first neurons of each population, 0 at the others."""
        maxima = []
        for op, part in zip(self.ops, tf.split(values, self.sizes, axis=1)):
            n, size = op.neurons.n_maxima, op.J.shape[0]
            largest = tf.reduce_max(tf.reshape(part, (part.shape[0], size // n, n)), axis=1)
            maxima.append(tf.pad(largest, [[0, 0], [0, size - n]]))
        return tf.concat(maxima, axis=1)


class _FunctionBuilder(_RunningBuilder):
    def step(self, J: Any, dt: Any, total: Any, value: Any, weight: Any) -> tuple[Any, Any, Any, Any]:  # noqa: N803
        """Advance by one time step."""
        weight = self.growth * weight + 1
        total = self.growth * total + J
        now = self._values(total, weight)
        return now - self.growth * value, total, now, weight

    def training_step(self, J: Any, dt: Any, **state: Any) -> Any:  # noqa: N803
        """Return the function of the step's own values."""
        return self._values(J, tf.ones_like(J))

    def _values(self, totals: Any, weights: Any) -> Any:
        """Return the values at the first neurons of each population, 0 at the others."""
        split = (tf.split(numbers, self.sizes, axis=1) for numbers in (totals, weights))
        values = []
        for op, total, weight in zip(self.ops, *split):
            computed = _product if isinstance(op.neurons.layer, Multiply) else _computed
            now = computed(op.neurons, total, weight)
            values.append(tf.pad(now, [[0, 0], [0, total.shape[1] - now.shape[1]]]))
        return tf.concat(values, axis=1)


def _product(neurons: Running, total: Any, weight: Any) -> Any:
    """Return the products by TensorFlow, which can train through them."""
    first, second = (
        tf.reshape(total[:, begin:end], (total.shape[0], *shape)) for begin, end, shape in neurons.places()
    )
    over = tf.reshape(weight[:, :1], (total.shape[0], *[1] * len(neurons.shapes[0])))
    return tf.reshape(first * second / over, (total.shape[0], -1))


def _computed(neurons: Running, total: Any, weight: Any) -> Any:
    """Return the values of any function as NumPy computes them; nothing is trained through it."""
    now = tf.numpy_function(neurons.values_of, [total, weight], total.dtype)
    now.set_shape((total.shape[0], neurons.n_outputs))
    return now


class _CounterBuilder(_Builder):
    def build_pre(self, signals: Any, config: Any) -> None:
        super().build_pre(signals, config)
        self.rounded = tf.constant(np.repeat([op.neurons.rounded for op in self.ops], self.sizes))

    def step(self, J: Any, dt: Any) -> Any:  # noqa: N803
        """Count."""
        return tf.where(self.rounded, tf.round(J), tf.cast(tf.not_equal(J, tf.zeros_like(J)), J.dtype))
