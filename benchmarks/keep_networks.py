"""Make the networks of a full reproduction the reference ones, with the record of their trainings.

``python benchmarks/keep_networks.py results`` after ``snnrepro reproduce --profile thesis --seeds 5 -o results``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from snnrepro.files import sha256_of, written_whole
from snnrepro.thesis.cells import PROFILES, Measured
from snnrepro.thesis.networks import RECORD, REFERENCE, name_of
from snnrepro.thesis.record import digest
from snnrepro.thesis.tables import settings


def trainings(results: Path) -> list[tuple[Measured, Path]]:
    """Return every full training that a folder holds, with the archive of what it trained."""
    full = PROFILES["thesis"]
    found = []
    for path in sorted((results / "cells").glob("*-training-*.json")):
        training = Measured.of(json.loads(path.read_text(encoding="utf-8")))
        cell, of = training.cell, training.conditions
        if cell.seed not in PROFILES["reference"][cell.model].seeds:
            continue
        if (of["epochs"], of["n_train"]) == (settings()["epochs"], full[cell.model].n_train):
            network = f"{cell.model}-seed{cell.seed}-{cell.system}-{digest(of)}.npz"
            found.append((training, results / "models" / network))
    return found


def keep(results: Path) -> None:
    """Copy the archives of all full trainings, and write the record beside them."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    kept = trainings(results)
    sha256 = {}
    for training, network in kept:
        cell = training.cell
        copy = REFERENCE / name_of(cell.model, cell.seed, cell.system)
        shutil.copyfile(network, copy)
        sha256[copy.name] = sha256_of(copy)
    newest = max(network.stat().st_mtime for _, network in kept)
    document = {
        "trained": datetime.fromtimestamp(newest, timezone.utc).strftime("%Y-%m-%d"),
        "settings": settings(),
        "sha256": dict(sorted(sha256.items())),
        "trainings": [asdict(training) for training, _ in kept],
    }
    with written_whole(RECORD) as file:
        file.write(json.dumps(document, indent=1).encode() + b"\n")
    print(f"{len(kept)} networks kept in {REFERENCE}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="the folder of a full reproduction")
    keep(parser.parse_args().results)
