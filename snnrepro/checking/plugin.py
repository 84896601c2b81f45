"""The pytest plugin: options, fixtures, and the checks of the models that they name.

Nothing happens without ``--snn-model``, ``--snn`` or a test that asks for a fixture, and nothing heavy is imported.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator

import pytest

from snnrepro.errors import SnnReproError

if TYPE_CHECKING:
    from snnrepro.checking.settings import Settings
    from snnrepro.checking.subject import Images, Subject
    from snnrepro.network.graph import Network
    from snnrepro.spiking.evaluate import Evaluation
    from snnrepro.spiking.network import SpikingNetwork
    from snnrepro.spiking.run import Run
    from snnrepro.verification import Verification

_MODELS = pytest.StashKey["list[Settings]"]()
_SUBJECTS = pytest.StashKey["dict[str, Subject]"]()
_SESSION = pytest.StashKey[Any]()
_LINES = pytest.StashKey["list[str]"]()

_OPTIONS: dict[str, dict[str, Any]] = {
    "--snn-data": {
        "metavar": "IMAGES",
        "help": "images (and labels) it is checked on: .npz, .npy or a folder of classes",
    },
    "--snn-calibration": {
        "metavar": "IMAGES",
        "help": "images its neurons are fitted on (default: some of --snn-data)",
    },
    "--snn-recipe": {"metavar": "RECIPE", "help": "how neurons are made (default: balanced)"},
    "--snn-n-steps": {
        "metavar": "N",
        "type": int,
        "help": "time steps (default: the fewest that keep --snn-max-loss, or 15)",
    },
    "--snn-max-loss": {"metavar": "POINTS", "type": float, "help": "points that it may lose (default: 1)"},
    "--snn-task": {"metavar": "TASK", "help": "what its scores mean, if its output does not say so"},
    "--snn-weights": {"metavar": "WEIGHTS", "help": "float32, int16 or int8 (default: float32)"},
    "--snn-neurons-per-activation": {
        "metavar": "N",
        "type": int,
        "help": "neurons whose mean stands for an activation (default: 1)",
    },
    "--snn-n-images": {"metavar": "N", "type": int, "help": "most images it is judged on (default: 10,000)"},
}

_RESULTS: dict[str, dict[str, Any]] = {
    "--snn-save": {"metavar": "REF.json", "default": None, "help": "write what was measured"},
    "--snn-compare": {"metavar": "REF.json", "default": None, "help": "put what is measured beside earlier results"},
    "--snn-fail": {
        "metavar": "FIGURE:MOST",
        "default": [],
        "action": "append",
        "help": "fail where a figure got worse by more than this, as accuracy:0.2 (points) or operations:5%%",
    },
    "--snn-export": {
        "metavar": "FILE",
        "default": [],
        "action": "append",
        "help": "write results for others: .md (job summary), .csv, .json (dashboards: name, unit, value)",
    },
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("snnrepro", "models as spiking networks (snnrepro)")
    group.addoption("--snn", action="store_true", help="check the models of [tool.snnrepro.NAME] in pyproject.toml")
    group.addoption(
        "--snn-model",
        action="append",
        default=[],
        metavar="MODEL",
        help="check this model: .onnx, .keras, .h5, a SavedModel or an .npz of snnrepro; may be given several times",
    )
    for name, options in _OPTIONS.items():
        group.addoption(name, default=None, **options)
    for name, options in _RESULTS.items():
        group.addoption(name, **options)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Add the checks of the models, if they are asked for."""
    config = session.config
    if _is_asked(config):
        items.extend(_Checks.collected(session))


class _Checks(pytest.Module):
    """`model_checks`, wherever it is installed and whatever the project at hand calls its own tests."""

    @classmethod
    def collected(cls, session: pytest.Session) -> Iterator[pytest.Item]:
        path = Path(__file__).with_name("model_checks.py")
        module = cls.from_parent(session, path=path, nodeid="snnrepro")
        return session.genitems(module)

    def funcnamefilter(self, name: str) -> bool:
        """Whether a function of this name is a test."""
        return name.startswith("test_")

    def classnamefilter(self, name: str) -> bool:
        """Whether a class of this name holds tests."""
        return False


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for a model once for each of them."""
    if "snn_subject" not in metafunc.fixturenames:
        return
    models = _models(metafunc.config)
    if models:
        metafunc.parametrize(
            "snn_subject", models, indirect=True, scope="session", ids=[settings.name for settings in models]
        )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that nothing would heed, and read what later results are compared with."""
    given = [name for name in (*_OPTIONS, *_RESULTS) if config.getoption(name) not in (None, [])]
    if (given or _is_asked(config)) and not _models(config):
        raise pytest.UsageError(f"{given[0]} needs a model: --snn-model, or [tool.snnrepro.NAME] in pyproject.toml")
    if not (_is_asked(config) or given) or hasattr(config, "workerinput"):
        return
    from snnrepro.checking import session

    try:
        config.stash[_SESSION] = session.Session.of_options(config.rootpath, *map(config.getoption, _RESULTS))
    except SnnReproError as error:
        raise pytest.UsageError(str(error)) from None


def _is_asked(config: pytest.Config) -> bool:
    """Whether checks of models are asked for."""
    return bool(config.getoption("snn") or config.getoption("snn_model"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what was measured to the main process; there, write and compare it."""
    config = session.config
    measured = config.stash.get(_SUBJECTS, {})
    if not measured and _SESSION not in config.stash:
        return
    from snnrepro.checking.session import sent

    if hasattr(config, "workerinput"):
        config.workeroutput["snnrepro"] = sent(measured)  # type: ignore[attr-defined]  # pytest-xdist's
    elif _SESSION in config.stash:
        results = config.stash[_SESSION]
        results.add(sent(measured))
        try:
            config.stash[_LINES], failed = results.finish(shutil.get_terminal_size().columns)
        except SnnReproError as error:
            config.stash[_LINES], failed = [str(error)], True
        if failed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a worker measured (pytest-xdist)."""
    measured = getattr(node, "workeroutput", {}).get("snnrepro")
    if measured and _SESSION in node.config.stash:
        node.config.stash[_SESSION].add(measured)


def pytest_assertrepr_compare(op: str, left: Any, right: Any) -> list[str] | None:
    """Say where spikes differ from a snapshot."""
    sides = [left, right] if type(left).__name__ == "SpikeSnapshot" else [right, left]
    if op != "==" or type(sides[0]).__name__ != "SpikeSnapshot" or not hasattr(sides[0], "difference"):
        return None
    kind = type(sides[1]).__name__
    return [f"{kind} == SpikeSnapshot", sides[0].difference(sides[1])]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the figures of the models that were checked, and what changed."""
    lines = terminalreporter.config.stash.get(_LINES, [])
    if lines:
        terminalreporter.section("spiking networks", sep="=")
        for line in lines:
            terminalreporter.write_line(line)


def _models(config: pytest.Config) -> list[Settings]:
    """Return the models of the command line, or without any those of pyproject.toml; refuse what cannot be used."""
    if _MODELS not in config.stash:
        from snnrepro.checking.settings import from_options, from_pyproject

        given = {name[len("--snn-") :].replace("-", "_"): config.getoption(name) for name in _OPTIONS}
        paths = config.getoption("snn_model")
        try:
            models = from_options(paths, given) if paths else from_pyproject(config.rootpath, given)
        except SnnReproError as error:
            raise pytest.UsageError(str(error)) from None
        if config.getoption("snn") and not models:
            raise pytest.UsageError(
                f"--snn: {config.rootpath / 'pyproject.toml'} has no table [tool.snnrepro.NAME] with model and data"
            )
        config.stash[_MODELS] = models
    return config.stash[_MODELS]


_NO_MODEL = "no model: give --snn-model and --snn-data, or [tool.snnrepro.NAME] in pyproject.toml"


def _or_fail(make: Any) -> Any:
    """Return what is made, or fail with the one message that says why it cannot be."""
    try:
        return make()
    except SnnReproError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.fixture(scope="session")
def snn_subject(request: pytest.FixtureRequest) -> Subject:
    """The model under check, with all that is made of it; override it to check a model that is in memory."""
    settings = getattr(request, "param", None)
    if settings is None:
        pytest.fail(_NO_MODEL, pytrace=False)
    from snnrepro.checking.subject import Subject

    kept = request.config.stash.setdefault(_SUBJECTS, {})  # the parameter changes back and forth between tests
    return kept.setdefault(settings.name, Subject(settings))


@pytest.fixture(scope="session")
def snn_network(snn_subject: Subject) -> Network:
    """The trained network, as `snnrepro.load` reads it."""
    return _or_fail(lambda: snn_subject.network)  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def snn_calibration(snn_subject: Subject) -> Images:
    """The images that the neurons are fitted on, and their labels or None: ``(x, y)``."""
    return _or_fail(lambda: snn_subject.images[0])  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def snn_images(snn_subject: Subject) -> Images:
    """The images that it is judged on, none of which it was calibrated on, and their labels or None: ``(x, y)``."""
    return _or_fail(lambda: snn_subject.images[1])  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def snn_spiking(snn_subject: Subject) -> SpikingNetwork:
    """The spiking network, as `snnrepro.convert` makes it."""
    return _or_fail(lambda: snn_subject.spiking)  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def snn_run(snn_subject: Subject) -> Run:
    """Its run on `snn_images`."""
    return _or_fail(lambda: snn_subject.run)  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def snn_evaluation(snn_subject: Subject) -> Evaluation:
    """How good it is on `snn_images`, the trained network, and what is lost, with intervals."""
    return _or_fail(lambda: snn_subject.evaluation)  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def snn_verification(snn_subject: Subject) -> Verification:
    """Every hop compared, layer by layer, on a hundred of `snn_images`."""
    return _or_fail(lambda: snn_subject.verification)  # type: ignore[no-any-return]
