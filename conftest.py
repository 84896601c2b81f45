"""Fixtures and options of the tests and the benchmarks."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
if IS_WORKER:
    # Of pytest-xdist's workers each has one core: threads that wait for the others' cores only burn their time.
    # Before the first import of what reads these.
    for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(_variable, "1")

import hypothesis
import pytest

from tests import stacks

# Property tests draw the same cases on every machine; deadlines and the check "too slow" would assert times.
hypothesis.settings.register_profile(
    "snnrepro",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("snnrepro")


def pytest_addoption(parser):
    parser.addoption(
        "--profile",
        choices=["reference", "quick", "thesis"],
        default="reference",
        help="how much the benchmarks measure (default: reference)",
    )
    parser.addoption("--data", default=None, help="an mnist.npz, a folder of IDX files or keras; for the benchmarks")
    parser.addoption("--cifar10", default=None, help="a folder or file of CIFAR-10, or keras; for the benchmarks")
    parser.addoption("--plots", default=None, help="a folder in which the benchmarks draw what they measure")


SLOWEST = (
    "test_resuming.py",
    "test_recipes.py",
    "test_reference_networks.py",
    "test_simulators_agree.py",
    "test_event_simulator.py",
    "test_nengo_dl_simulator.py",
    "test_keras_models.py",
    "test_stack.py",
    "test_timing.py",
    "test_early_exit.py",
    "test_command_line.py",
)
"""Files that take 20 to 60 seconds, the slowest first."""


def pytest_collection_modifyitems(items):
    """Begin with the slowest files: the last file of one worker is what the other one waits for."""
    order = {name: place for place, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """A run of some of the tests leaves no outcome that would stand for its cell of the matrix."""
    if hasattr(config.option, "loadscopereorder"):  # pytest-xdist would begin with the files that have most tests
        config.option.loadscopereorder = False
    if "SNNREPRO_CELL" in os.environ and not stacks.is_whole(config.invocation_params.args):
        config.option.xmlpath = None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """A run that was broken off leaves none either."""
    xml = getattr(session.config.option, "xmlpath", None)
    if "SNNREPRO_CELL" in os.environ and xml and exitstatus not in (0, 1) and Path(xml).exists():
        Path(xml).unlink()


def pytest_report_header(config):
    source = config.getoption("--data") or os.environ.get("SNNREPRO_MNIST")
    return f"snnrepro: MNIST from {source or 'inside the package'}"


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Compiled loops take one thread in a worker, see above; tests of threads ask for more themselves."""
    if IS_WORKER:
        import numba

        numba.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def no_decoder_cache():
    """Nengo's cache in the home folder is locked by one process: with others beside it, it warns or gives up."""
    if importlib.util.find_spec("nengo") is not None:
        import nengo

        nengo.rc.set("decoder_cache", "enabled", "False")


@pytest.fixture(scope="session")
def tf():
    """TensorFlow with Keras 2, through the package's own loader."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed (extra: nengo)")
    from snnrepro.frameworks.tensorflow import import_tensorflow

    return import_tensorflow()


@pytest.fixture(scope="session")
def keras():
    """Keras 2, as ``tf.keras``, of a TensorFlow that tf2onnx can read."""
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed (extra: nengo)")
    pytest.importorskip("tf2onnx", reason="tf2onnx is not installed (extra: nengo)")
    from snnrepro.errors import DependencyError
    from snnrepro.frameworks.tensorflow import import_tensorflow

    try:
        return import_tensorflow().keras
    except DependencyError as error:
        pytest.skip(f"no Keras 2: {error}")


@pytest.fixture(scope="session")
def nengo_dl(tf):
    """NengoDL, through the package's own loader."""
    if importlib.util.find_spec("nengo_dl") is None:
        pytest.skip("NengoDL is not installed (extra: nengo)")
    from snnrepro.frameworks.nengo_dl import import_nengo_dl

    return import_nengo_dl()


@pytest.fixture(scope="session")
def profile(request):
    """The name of the profile that the benchmarks measure."""
    return request.config.getoption("--profile")


@pytest.fixture(scope="session")
def data(request):
    """MNIST, as the benchmarks are told to find it."""
    from snnrepro.datasets import load_mnist

    return load_mnist(request.config.getoption("--data"))


@pytest.fixture(scope="session")
def root():
    """The folder of the checkout."""
    return Path(__file__).parent
