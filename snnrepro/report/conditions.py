"""Under what conditions a reproduction was measured: data, machine, versions, settings, protocol."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

from snnrepro.report.table import Cell, Table, table
from snnrepro.report.wording import NOTHING, model_name, models_of, moment


def conditions_tables(document: Mapping[str, Any]) -> list[Table]:
    """Return data, machine, libraries, models, settings and protocol, each as a table of names and values."""
    settings = dict(document["settings"])
    protocol = settings.pop("protocol", {})
    machine = dict(document["environment"])
    libraries = machine.pop("libraries", {})
    run = {"profile": document["profile"]}
    run.update({name: moment(document[name]) for name in ("started", "finished") if document.get(name)})
    tables = [
        _pairs("Run and data", [*run.items(), *document["data"].items()]),
        _pairs("Machine", machine.items()),
        _pairs("Libraries", [(name, version or "not installed") for name, version in libraries.items()]),
        *(_pairs(model_name(model), document["models"].get(model, {}).items()) for model in models_of(document)),
        _pairs("Settings of the thesis", settings.items()),
        _pairs("Protocol: what the thesis leaves unsaid", _items(protocol)),
    ]
    return [one for one in tables if one.groups[0].rows]


def _items(protocol: Any) -> Iterable[tuple[str, Any]]:
    return protocol.items() if isinstance(protocol, Mapping) else [("protocol", protocol)]


def _pairs(title: str, pairs: Iterable[tuple[str, Any]]) -> Table:
    rows: list[list[Cell]] = [[_words(name), _text(value)] for name, value in pairs]
    return table(title, ("|", "|"), {"": rows})


def _words(name: str) -> str:
    return _NAMES.get(name, name.replace("_", " "))


_NAMES = {
    "sha256": "SHA-256",
    "is_full_mnist": "full MNIST",
    "n_train": "training images",
    "n_test": "test images",
    "n_simulated": "images simulated in NengoDL",
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
        return "; ".join(f"{_words(name)}: {_text(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
