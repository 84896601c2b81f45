"""Unmodified NengoDL on a current TensorFlow.

NengoDL 3.6.0 (2023) asks for four modules of Keras 2 by their old names. They still exist, under ``keras.src``
(Keras 2.13-2.15) or ``tf_keras.src`` (tf-keras): they are put into ``sys.modules`` under the old names while NengoDL is
imported, and every entry is restored after. Up to TensorFlow 2.12 the old names are real and nothing is done.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import subprocess
import sys
from typing import Any, Iterator

from snnrepro.errors import DependencyError
from snnrepro.frameworks.quiet import quiet_stderr
from snnrepro.frameworks.tensorflow import import_tensorflow, keras_package

INSTALL = 'pip install "setuptools>=70.1,<81" && pip install --no-build-isolation nengo nengo-dl'

_OLD_NAMES = ("keras", "keras.engine", "keras.engine.functional", "keras.layers")


def missing_packages() -> list[str]:
    """Return which of Nengo and NengoDL are not installed; nothing is imported to find out."""
    return [package for package in ("nengo", "nengo_dl") if importlib.util.find_spec(package) is None]


def import_nengo_dl() -> Any:
    """Return the ``nengo_dl`` module, imported quietly and without its child process that looks for a GPU.

    Returns
    -------
    module
        ``nengo_dl``; nothing in it is changed except one input of one builder (see `_reshape_filter_passthrough`).

    Raises
    ------
    DependencyError
        NengoDL, Nengo, TensorFlow or tf-keras is missing or only Keras 3 is installed; the message names the
        command that fixes it.
    """
    if "nengo_dl" in sys.modules:
        return sys.modules["nengo_dl"]
    for package in missing_packages():
        raise DependencyError(f"{package} is not installed; run: {INSTALL}")
    tf = import_tensorflow()
    log_level = os.environ.get("TF_CPP_MIN_LOG_LEVEL")
    with quiet_stderr(), _keras_under_its_old_names(tf), _no_child_process(tf):
        nengo_dl = importlib.import_module("nengo_dl")
    if log_level is not None:  # NengoDL overwrites it on import
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = log_level
    _reshape_filter_passthrough(nengo_dl)
    return nengo_dl


@contextlib.contextmanager
def _keras_under_its_old_names(tf: Any) -> Iterator[None]:
    package = keras_package(tf)
    if not package.endswith(".src"):  # TensorFlow <= 2.12
        yield
        return
    before = {name: sys.modules.get(name) for name in _OLD_NAMES}
    try:
        for name in _OLD_NAMES:
            sys.modules[name] = importlib.import_module(package + name[len("keras") :])
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


@contextlib.contextmanager
def _no_child_process(tf: Any) -> Iterator[None]:
    """Answer NengoDL's question for a GPU from this process; it would start a second TensorFlow (up to 25 s) to ask."""
    original = subprocess.call
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    subprocess.call = lambda *args, **kwargs: 0 if has_gpu else 1
    try:
        yield
    finally:
        subprocess.call = original


def _reshape_filter_passthrough(nengo_dl: Any) -> None:
    """Give NengoDL the shape of a linear filter's passthrough ``D`` that it expects.

    Nengo >= 4 keeps ``D`` of a `nengo.synapses.LinearFilter` step as (1, 1); NengoDL was written for (1,).
    """
    import nengo

    if int(nengo.__version__.split(".")[0]) < 4:
        return
    builder = nengo_dl.process_builders.LinearFilterBuilder
    build_pre = builder.build_pre

    def build_pre_with_flat_passthrough(self: Any, signals: Any, config: Any) -> None:
        make_step = nengo.LinearFilter.make_step

        def make_flat_step(*args: Any, **kwargs: Any) -> Any:
            step = make_step(*args, **kwargs)
            step.D = step.D.reshape(-1)
            return step

        nengo.LinearFilter.make_step = make_flat_step
        try:
            build_pre(self, signals, config)
        finally:
            nengo.LinearFilter.make_step = make_step

    builder.build_pre = build_pre_with_flat_passthrough
