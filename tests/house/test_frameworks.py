"""NengoDL imports on every TensorFlow, quietly, without a child process; what is missing is said."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from snnrepro.errors import DependencyError
from snnrepro.frameworks import nengo_dl as nengo_dl_loader
from snnrepro.frameworks import tensorflow as tensorflow_loader
from snnrepro.frameworks.quiet import quiet_stderr


def _python(code, **environment):
    import os

    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def test_importing_nengo_dl_is_silent_and_leaves_no_trace(nengo_dl):
    code = """
import os, subprocess, sys
class NoChild:
    def __init__(self, *args, **kwargs):
        raise RuntimeError(f"a child process: {args}")
from snnrepro.frameworks.tensorflow import import_tensorflow
import_tensorflow()
names = ("keras", "keras.engine", "keras.engine.functional", "keras.layers")
before = {name: sys.modules.get(name) for name in names}
level, call = os.environ["TF_CPP_MIN_LOG_LEVEL"], subprocess.call
subprocess.Popen = NoChild
from snnrepro.frameworks.nengo_dl import import_nengo_dl, _keras_under_its_old_names, keras_package
import tensorflow as tf
nengo_dl = import_nengo_dl()
assert nengo_dl.Simulator and nengo_dl.Converter
assert import_nengo_dl() is nengo_dl
if keras_package(tf).endswith(".src"):
    after = {name: sys.modules.get(name) for name in names}
    assert after == before, after
assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == level
assert subprocess.call is call
"""
    done = _python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_loader_does_nothing_where_the_old_names_are_real(tf):
    version = tuple(int(part) for part in tf.__version__.split(".")[:2])
    before = dict(sys.modules)
    with nengo_dl_loader._keras_under_its_old_names(tf):
        changed = any(sys.modules.get(name) is not before.get(name) for name in nengo_dl_loader._OLD_NAMES)
    assert changed == (version >= (2, 13))


def test_a_linear_filter_with_passthrough_gives_the_same_in_nengo_dl_and_nengo(nengo_dl):
    import nengo
    import numpy as np

    with nengo.Network() as network:
        source = nengo.Node(lambda t: np.sin(40 * t))
        probe = nengo.Probe(source, synapse=nengo.LinearFilter([0.02, 1.0], [0.01, 1.0], analog=True))
        nothing_in_between = nengo.Probe(source)
    with nengo.Simulator(network, progress_bar=False) as core:
        core.run_steps(50)
    with nengo_dl_loader.import_nengo_dl().Simulator(network, progress_bar=False) as deep, quiet_stderr():
        deep.run_steps(50)
    assert np.abs(core.data[probe] - core.data[nothing_in_between]).max() > 0.1, "the filter does nothing"
    np.testing.assert_allclose(deep.data[probe], core.data[probe], atol=1e-5)


@pytest.mark.parametrize("package", ["nengo", "nengo_dl", "tensorflow"])
def test_a_missing_package_is_named_with_the_command_that_mends_it(package, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == package else real(name, *rest))
    monkeypatch.delitem(sys.modules, "nengo_dl", raising=False)
    with pytest.raises(DependencyError, match=f"(?i){package} is not installed; run: pip install"):
        nengo_dl_loader.import_nengo_dl()


@pytest.fixture(scope="module")
def of_keras_3(tf):
    """What is said where tf.keras is Keras 3, and what is said if tf_keras is missing too: by one child process."""
    if tuple(int(part) for part in tf.__version__.split(".")[:2]) < (2, 16):
        pytest.skip("before TensorFlow 2.16 tf.keras is Keras 2")
    code = """
import importlib.util
from snnrepro.errors import DependencyError
from snnrepro.frameworks.tensorflow import import_tensorflow
def said():
    try:
        import_tensorflow()
    except DependencyError as error:
        return str(error)
print(said())
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "tf_keras" else real(name, *rest)
print(said())
"""
    done = _python(code, TF_USE_LEGACY_KERAS="0")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_keras_3_alone_is_named_with_the_command_that_mends_it(of_keras_3):
    assert "brings only Keras 3, and NengoDL needs Keras 2; run: pip install tf-keras~=" in of_keras_3[1]


def test_keras_3_imported_first_is_said(of_keras_3):
    assert "set TF_USE_LEGACY_KERAS=1 before the first import of tensorflow" in of_keras_3[0]


def test_what_was_held_back_is_shown_when_the_import_fails():
    code = """
import os
from snnrepro.frameworks.quiet import quiet_stderr
with quiet_stderr():
    os.write(2, b"the reason in C++\\n")
    raise ImportError("it failed")
"""
    stderr = _python(code).stderr
    assert "the reason in C++" in stderr
    assert "it failed" in stderr
    assert tensorflow_loader.INSTALL.startswith("pip install")
