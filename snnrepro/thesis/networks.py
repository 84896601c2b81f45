"""Where the trained networks of a model come from: trained here and kept in a folder, or the reference ones."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnrepro.errors import DataError
from snnrepro.files import sha256_of, written_whole
from snnrepro.readers.keras import to_onnx
from snnrepro.readers.load import load
from snnrepro.spiking.archive import load_spiking
from snnrepro.thesis.models import set_weights

if TYPE_CHECKING:
    from snnrepro.network.graph import Network
    from snnrepro.spiking.network import SpikingNetwork
    from snnrepro.spiking.run import Progress
    from snnrepro.thesis.training import Took, Training

REFERENCE = Path(__file__).parent.parent / "data" / "networks"
"""The networks of a full training, and the record of it: they are inside the package."""

RECORD = REFERENCE / "trainings.json"


class Networks:
    """The trained networks of one model, trained when they are first asked for and kept in a folder.

    Parameters
    ----------
    training : Training
        What trains them.
    folder : Path
        Where they are kept and found again: ONNX files and archives.
    digest : str
        Of what the training depends on: part of the file names.
    again : bool
        Whether networks that the folder holds already are made anew.
    """

    def __init__(self, training: Training, folder: Path, digest: str, again: bool = False) -> None:
        self._training, self._folder, self._digest, self._again = training, folder, digest, again
        self._made: set[Path] = set()

    def train(self, system: str, seed: int, progress: Progress | None = None) -> Took:
        """Train and keep the network of a seed in "keras" or "nengo-dl", and return how long the training took."""
        path = self.path(seed, system, "npz")
        if system == "keras":
            model, took = self._training.in_keras(seed, progress)
            onnx_file = self.path(seed, system, "onnx")
            with written_whole(onnx_file) as file:
                file.write(to_onnx(model).SerializeToString())
            load(onnx_file).save(path)
        else:
            trained, took = self._training.in_nengo_dl(seed, progress)
            trained.save(path)
        self.made(path)
        return took

    def network(self, seed: int) -> Network:
        """Return Keras's network of a seed as an ONNX file, the graph walk and an npz archive hand it on."""
        return load(self._trained(seed, "keras"))

    def keras(self, seed: int) -> Any:
        """Return the trained Keras model of a seed."""
        return set_weights(self._training.untrained(seed), self.network(seed))

    def spiking(self, seed: int) -> SpikingNetwork:
        """Return the network of a seed trained in NengoDL."""
        return load_spiking(self._trained(seed, "nengo-dl"))

    def path(self, seed: int, kind: str, ending: str) -> Path:
        """Return where a file that belongs to a seed's network is kept."""
        return self._folder / f"{self._training.model}-seed{seed}-{kind}-{self._digest}.{ending}"

    def is_there(self, path: Path) -> bool:
        """Return whether a file is there and need not be made anew."""
        return path.exists() and (not self._again or path in self._made)

    def made(self, path: Path) -> None:
        """Remember that a file was made in this run."""
        self._made.add(path)

    def _trained(self, seed: int, system: str) -> Path:
        path = self.path(seed, system, "npz")
        if not self.is_there(path):
            self.train(system, seed)
        return path


class ReferenceNetworks(Networks):
    """The networks of a full training that are inside the package; what is made of them is kept in a folder."""

    def _trained(self, seed: int, system: str) -> Path:
        return REFERENCE / name_of(self._training.model, seed, system)


def name_of(model: str, seed: int, system: str) -> str:
    """Return the file name of a reference network."""
    return f"{model}-seed{seed}-{system}.npz"


@lru_cache(maxsize=None)
def origin() -> str:
    """Return in words where the reference networks come from.

    Raises
    ------
    DataError
        A network is not the one that the record names.
    """
    document = json.loads(RECORD.read_text(encoding="utf-8"))
    for name, sha256 in document["sha256"].items():
        if sha256_of(REFERENCE / name) != sha256:
            raise DataError(f"{REFERENCE / name}: not the network that {RECORD.name} names; install snnrepro anew")
    of = document["trainings"][0]["conditions"]
    versions = f"TensorFlow {of['libraries']['tensorflow']}, NengoDL {of['libraries']['nengo-dl']}"
    return f"the reference ones inside snnrepro, trained {document['trained']} on {of['machine']} with {versions}"
