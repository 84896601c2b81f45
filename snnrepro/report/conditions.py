"""Under what conditions a reproduction was measured: data, machine, versions, settings, protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterable, Mapping

from snnrepro.report.names import NOTHING, model_name, moment
from snnrepro.report.table import Entry, Table, table, text

if TYPE_CHECKING:
    from snnrepro.thesis.results import Results


def what_was_run(results: Results) -> str:
    """Return in one line which data, profile, machine and trained networks a report is about."""
    data, machine = results.data, results.environment
    n_cores = machine["cpu_cores"]
    gpus = ", ".join(map(str, machine["gpus"])) or "no GPU"
    return (
        f"Profile {results.profile}, {data['source']}, {data['n_train']:,} training and {data['n_test']:,} test "
        f"images, {machine['cpu']}, {n_cores} core{'s' * (n_cores != 1)}, {gpus}, {moment(results.started)}. "
        f"Trained networks: {_origin(results)}"
    )


def _origin(results: Results) -> str:
    origins = [described.get("networks", "trained in this run") for described in results.models.values()]
    return "; ".join(dict.fromkeys(origins))


def conditions_tables(results: Results) -> list[Table]:
    """Return data, machine, libraries, models, settings and protocol, each as a table of names and values."""
    settings, machine = dict(results.settings), dict(results.environment)
    protocol, libraries = settings.pop("protocol"), machine.pop("libraries")
    run = {"profile": results.profile, "started": moment(results.started), "finished": moment(results.finished)}
    return [
        _pairs("Run and data", {**run, **results.data}.items()),
        _pairs("Machine", machine.items()),
        _pairs("Libraries", [(name, version or "not installed") for name, version in libraries.items()]),
        *(_pairs(model_name(model), described.items()) for model, described in results.models.items()),
        _pairs("Settings of the thesis", settings.items()),
        _pairs("Protocol: what the thesis leaves unsaid", protocol.items()),
    ]


def conditions_line(conditions: Mapping[str, Any]) -> str:
    """Return names and values in one line."""
    return "; ".join(f"{_words(name)}: {_text(value)}" for name, value in conditions.items())


def _pairs(title: str, pairs: Iterable[tuple[str, Any]]) -> Table:
    rows: list[list[Entry]] = [[_words(name), _text(value)] for name, value in pairs]
    return table(title, (text(), text()), {"": rows})


def _words(name: str) -> str:
    return _NAMES.get(name, name.replace("_", " "))


_NAMES = {
    "sha256": "SHA-256",
    "is_full_mnist": "full MNIST",
    "n_train": "training images",
    "n_test": "test images",
    "n_simulated": "images simulated in NengoDL",
    "n_lif": "images answered with LIF neurons, or by recipes other than balanced",
    "n_filtered": "images answered with filtered spikes",
    "n_timed": "images timed in NengoDL",
    "cpu": "processor",
    "cpu_cores": "cores",
    "gpus": "GPUs",
    "python": "Python",
    "dt_s": "time step, s",
    "n_steps": "n_steps",
    "n_steps_of_images": "n_steps of images",
    "merge": "NengoDL merges operators",
}


def _text(value: Any) -> str:
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return conditions_line(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
