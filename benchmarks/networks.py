"""The trained networks that several benchmarks of the simulators measure, trained once a session, for a short time."""

from __future__ import annotations

from snnrepro import load
from snnrepro.datasets import pixels

BATCH = 128
IMAGES = {"dense": 60_000, "cnn": 20_000}
"""On how many images each network is trained, twice over."""
_known = {}


def trained(name, data):
    """Return a network of the thesis as its Keras model and as `snnrepro.load` reads it."""
    from snnrepro.thesis import models

    if name not in _known:
        # The CNN with the strides 1, 1, 2, the other reading of the thesis's print: four times the work of 1, 2, 2.
        model = models.keras_dense(0) if name == "dense" else models.keras_cnn(0, (1, 1, 2))
        model.compile("adam", "sparse_categorical_crossentropy")
        x, y = data.x_train[: IMAGES[name]], data.y_train[: IMAGES[name]]
        model.fit(pixels(x), y, batch_size=BATCH, epochs=2, verbose=0)
        _known[name] = model, load(model)
    return _known[name]
