"""TensorFlow with Keras 2 as ``tf.keras``, on every TensorFlow from 2.4 to 2.21."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from snnrepro.errors import DependencyError, ModelError, one_line
from snnrepro.frameworks.quiet import quiet_stderr

if TYPE_CHECKING:
    from pathlib import Path

INSTALL = "pip install tensorflow tf-keras"


def keras_classes(model: Any) -> set[str]:
    """Return the names of the classes of Keras, whichever Keras, that a model in memory is of; none of another model.

    Nothing is imported to find out.
    """
    of_keras = ("keras", "tf_keras", "tensorflow")
    return {cls.__name__ for cls in type(model).__mro__ if cls.__module__.split(".")[0] in of_keras}


def import_tensorflow(*, keras_2: bool = True) -> Any:
    """Return the ``tensorflow`` module with Keras 2 behind ``tf.keras``, imported quietly.

    From TensorFlow 2.16 on ``tf.keras`` is Keras 3; NengoDL and the thesis's protocol need Keras 2, which then
    lives in the package tf-keras. ``TF_USE_LEGACY_KERAS=1`` selects it, but only before ``tf.keras`` is first touched.

    Parameters
    ----------
    keras_2 : bool
        False where any Keras will do, as for reading a model of Keras 3: ``tf.keras`` is then left as the user has it.

    Returns
    -------
    module
        ``tensorflow``.

    Raises
    ------
    DependencyError
        TensorFlow is missing, or only Keras 3 is installed; the message names the command that fixes it.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise DependencyError(f"TensorFlow is not installed; run: {INSTALL}")
    if keras_2 and importlib.util.find_spec("tf_keras") is not None:
        os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    first = "tensorflow" not in sys.modules
    if first:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with quiet_stderr():
            import tensorflow as tf

            tf.config.list_physical_devices("GPU")  # the first look makes CUDA chatter; later ones are silent
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    import tensorflow as tf

    if keras_2:
        _require_keras_2(tf)
    return tf


def load_keras(path: Path) -> Any:
    """Return the Keras model of a file (``.keras``, ``.h5``) or SavedModel folder, by the Keras that can read it.

    Raises
    ------
    ModelError
        None can: what each of them said is told.
    DependencyError
        TensorFlow is missing.
    """
    tf = import_tensorflow(keras_2=False)
    packages = [name for name in ("tf_keras", "keras") if importlib.util.find_spec(name) is not None]
    if path.suffix == ".keras":  # the newer Keras's own
        packages.reverse()
    said = []
    for name in packages or ["tf.keras"]:  # TensorFlow 2.4 and 2.5 have no package of their own for it
        with quiet_stderr():
            keras = importlib.import_module(name) if packages else tf.keras
            try:
                return keras.models.load_model(str(path), compile=False)
            except Exception as error:  # whatever Keras raises at what it does not know
                said.append(f"{name}: {one_line(error)}")
    raise ModelError(f"{path}: not a Keras model that can be read ({'; '.join(said)})")


def keras_package(tf: Any) -> str:
    """Return the dotted name of the package that Keras 2's modules live in, e.g. ``tf_keras.src``."""
    parts = str(tf.keras.Model.__module__).split(".")
    if parts[0] == "tensorflow":
        return "tensorflow.python.keras"
    return ".".join(parts[:2]) if len(parts) > 1 and parts[1] == "src" else parts[0]


def gpu_names() -> list[str]:
    """Return the names of the GPUs that TensorFlow sees (empty on a CPU machine)."""
    tf = import_tensorflow()
    return [str(device.name) for device in tf.config.list_physical_devices("GPU")]


def seed_everything(tf: Any, seed: int) -> None:
    """Seed Python, NumPy and TensorFlow: Keras draws from all three.

    Keras's own helper, which came with TensorFlow 2.7, gives Keras the same numbers from a source of its own: from
    Python's another thread may draw in between, as those of a Dask worker do.
    """
    import random

    import numpy as np

    random.seed(seed)
    np.random.seed(seed)
    tf.random.set_seed(seed)
    if hasattr(tf.keras.utils, "set_random_seed"):
        tf.keras.utils.set_random_seed(seed)


def _require_keras_2(tf: Any) -> None:
    try:
        # Only asked here: on TensorFlow >= 2.16 a missing tf-keras shows itself when tf.keras is first touched.
        major = _keras_major(tf)
    except ImportError as error:
        raise DependencyError(f"tf.keras cannot be imported ({error}); run: pip install tf-keras") from error
    if major >= 3:
        if importlib.util.find_spec("tf_keras") is None:
            raise DependencyError(
                f"TensorFlow {tf.__version__} brings only Keras 3, and NengoDL needs Keras 2; "
                f"run: pip install tf-keras~={'.'.join(tf.__version__.split('.')[:2])}.0"
            )
        raise DependencyError(
            "tf.keras is Keras 3 in this process, and NengoDL needs Keras 2; "
            "set TF_USE_LEGACY_KERAS=1 before the first import of tensorflow"
        )


def _keras_major(tf: Any) -> int:
    version = getattr(tf.keras, "__version__", None)
    if version is None:  # some TensorFlow releases hide it behind the lazy loader
        version = __import__(str(tf.keras.Model.__module__).split(".")[0]).__version__
    return int(str(version).split(".")[0])
