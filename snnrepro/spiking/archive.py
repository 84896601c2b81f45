"""A spiking network in one npz file: the archive of its trained network, and its neurons; never pickle."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from snnrepro.errors import ArchiveError
from snnrepro.network import archive
from snnrepro.spiking.fixed_point import FixedPoint
from snnrepro.spiking.network import SpikingNetwork
from snnrepro.spiking.neurons import CONSTANTS, IF, LIF, Population
from snnrepro.spiking.piecewise import Fit

if TYPE_CHECKING:
    import zipfile
    from pathlib import Path

    from snnrepro.arrays import AnyArray

FORMAT = "snnrepro-spiking-network"
VERSION = 1
_NEURONS: dict[str, Any] = {"IF": IF, "LIF": LIF}
_ENSEMBLES = "neurons_per_activation"
_SCALARS = ("readout", "synapse", "readout_synapse", "dt", "n_steps")


def save(spiking: SpikingNetwork, path: str | Path) -> None:
    """Write `spiking` to `path`; the same network gives the same bytes.

    Parameters
    ----------
    spiking : SpikingNetwork
        What to write.
    path : str or Path
        The archive; by custom it ends in ``.npz``.
    """
    arrays: dict[str, AnyArray] = {}
    network = archive.describe(spiking.network, arrays)
    populations = {}
    in_order = (node.name for node in spiking.network.nodes if node.name in spiking.populations)
    for index, name in enumerate(in_order):
        population = spiking.populations[name]
        populations[name] = {
            "neuron": {"model": type(population.neuron).__name__, **asdict(population.neuron)},
            "arrays": {
                field: archive.declare(getattr(population, field), f"population.{index}.{field}", arrays)
                for field in CONSTANTS
            },
        }
    correction = spiking.correction
    header = {
        "format": FORMAT,
        "version": VERSION,
        **network,
        "populations": populations,
        "correction": None if correction is None else archive.declare(correction, "correction", arrays),
        "provenance": dict(spiking.provenance),
        **({} if spiking.task is None else {"task": spiking.task}),
        **({"functions": {name: asdict(one) for name, one in spiking.functions.items()}} if spiking.functions else {}),
        **({} if spiking.fixed is None else {"fixed": _declared(spiking.fixed, arrays)}),
        **({} if spiking.neurons_per_activation == 1 else {_ENSEMBLES: spiking.neurons_per_activation}),
        **{name: getattr(spiking, name) for name in _SCALARS},
    }
    archive.write(path, header, arrays)


def load_spiking(path: str | Path) -> SpikingNetwork:
    """Read a spiking network that `SpikingNetwork.save` wrote.

    Parameters
    ----------
    path : str or Path
        The archive.

    Returns
    -------
    SpikingNetwork
        Bit for bit what was saved.

    Raises
    ------
    ArchiveError
        The file is missing, damaged, foreign, or of a newer version.

    Examples
    --------
    >>> load_spiking("no-such-file.npz")
    Traceback (most recent call last):
    ...
    snnrepro.errors.ArchiveError: no-such-file.npz: no such file
    """
    return archive.read(path, FORMAT, VERSION, _rebuild)


def _rebuild(opened: zipfile.ZipFile, header: Mapping[str, Any]) -> SpikingNetwork:
    populations = {}
    for name, entry in header["populations"].items():
        constants = dict(entry["neuron"])
        model = _NEURONS.get(constants.pop("model"))
        if model is None or set(entry["arrays"]) != set(CONSTANTS):
            raise ArchiveError(f"population {name!r} has an unknown model or other arrays than {', '.join(CONSTANTS)}")
        arrays = {field: archive.read_declared(opened, declared) for field, declared in entry["arrays"].items()}
        populations[str(name)] = Population(model(**constants), **arrays)
    correction = header["correction"]
    spiking = SpikingNetwork(
        network=archive.rebuild(opened, header),
        populations=populations,
        correction=None if correction is None else archive.read_declared(opened, correction),
        provenance=header["provenance"],
        task=header.get("task"),
        functions={str(name): _fit(entry) for name, entry in header.get("functions", {}).items()},
        fixed=_fixed(opened, header["fixed"]) if "fixed" in header else None,
        neurons_per_activation=header.get(_ENSEMBLES, 1),
        **{name: header[name] for name in _SCALARS},
    )
    assert spiking.simulated  # it can be written: all exponents are there, and fit
    return spiking


def _declared(fixed: FixedPoint, arrays: dict[str, AnyArray]) -> dict[str, Any]:
    exponents = {
        name: archive.declare(exponent.astype(np.float32), f"exponents.{index}", arrays)
        for index, (name, exponent) in enumerate(sorted(fixed.exponents.items()))
    }
    return {**vars(fixed), "exponents": exponents}


def _fixed(opened: zipfile.ZipFile, entry: Mapping[str, Any]) -> FixedPoint:
    exponents = {
        str(name): archive.read_declared(opened, declared).astype(np.int64)
        for name, declared in entry["exponents"].items()
    }
    return FixedPoint(**{**entry, "exponents": exponents})


def _fit(entry: Mapping[str, Any]) -> Fit:
    fields: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in entry.items()}
    return Fit(**fields)
