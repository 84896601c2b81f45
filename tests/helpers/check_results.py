"""Results of checks as they might be: a model that answers 180 of 200 images right."""

from __future__ import annotations

import numpy as np

from snnrepro.checking.results import Result, Results
from snnrepro.network.task import Task

CLASSES = Task("classes", (3,))
RIGHT = np.arange(200) % 10 != 0
FIGURES = {"figure": "accuracy", "spiking": 90.0, "n_steps": 8, "spikes": 50.0, "operations": 1000.0, "seconds": 1.0}


def results(right=RIGHT, images="same", **figures):
    """Return the results of one model; `right` says of each image whether its answer is."""
    counts = np.stack([right, np.ones(len(right))], axis=1).astype(np.float64)
    spiking = 100.0 * float(np.mean(right))
    return Results({"net": Result({**FIGURES, "spiking": spiking, **figures}, CLASSES, images, counts)})
