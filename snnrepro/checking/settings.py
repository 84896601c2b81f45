"""Which models are checked, and how: from the options of pytest or the tables of pyproject.toml."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Mapping, Sequence

from snnrepro.errors import DataError, one_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLE = "tool.snnrepro"

MOST_IMAGES = 10_000
"""Images that a model is judged on, if no other number is asked for."""


@dataclass(frozen=True)
class Settings:
    """One model that is checked.

    Attributes
    ----------
    name : str
        What it is called in the names of tests.
    model : Any
        A path, whatever else `snnrepro.load` reads, or a `Network`.
    data : Any
        A path of images (and labels), or a pair of arrays.
    calibration : Any
        The same, of the images that neurons are fitted on; where None, an npz file's training images, or else some of
        `data`, which it is then not judged on.
    recipe : str
        How neurons are made.
    n_steps : int or None
        Time steps; None for the fewest that keep `max_loss` on the calibration images, or without it the default.
    max_loss : float or None
        Points that it may lose; None for `DEFAULT_MAX_LOSS`.
    task : str or None
        What its scores mean, if its output does not say so.
    n_images : int
        Most images that it is judged on.
    shapes, outputs, constants : Any
        What is chosen of the model, as of `snnrepro.load`.
    weights : str
        What weights are rounded to, as of `snnrepro.convert`.
    neurons_per_activation : int
        How many neurons stand for each activation.
    """

    name: str
    model: Any
    data: Any
    calibration: Any = None
    recipe: str = "balanced"
    n_steps: int | None = None
    max_loss: float | None = None
    task: str | None = None
    n_images: int = MOST_IMAGES
    shapes: Any = None
    outputs: Any = None
    constants: Any = None
    weights: str = "float32"
    neurons_per_activation: int = 1

    @property
    def budget(self) -> float:
        """Points that it may lose."""
        return DEFAULT_MAX_LOSS if self.max_loss is None else self.max_loss


DEFAULT_MAX_LOSS = 1.0
"""Points that a model may lose if nothing else is said: what the thesis's own conversions lose ten times of."""

_KINDS: dict[str, tuple[type, ...]] = {
    "model": (str,),
    "data": (str,),
    "calibration": (str,),
    "recipe": (str,),
    "n_steps": (int,),
    "max_loss": (int, float),
    "task": (str,),
    "n_images": (int,),
    "shapes": (dict,),
    "outputs": (list,),
    "constants": (dict,),
    "weights": (str,),
    "neurons_per_activation": (int,),
}
_PATHS = ("model", "data", "calibration")


def from_options(models: Sequence[str], given: Mapping[str, Any]) -> list[Settings]:
    """Return the models of the command line, all with the same settings.

    Parameters
    ----------
    models : sequence of str
        Paths.
    given : mapping of str to Any
        The fields of `Settings` that were given; None for others.

    Raises
    ------
    DataError
        There are no images for them.
    """
    known = _known(given)
    if models and "data" not in known:
        raise DataError(
            "--snn-model needs the images it is checked on: --snn-data images.npz (labels beside them, if any)"
        )
    names = _unlike([Path(model).name for model in models], models)
    here = Path.cwd()  # a test may go elsewhere before they are read
    return [Settings(name, here / model, **_with_paths(known, here)) for name, model in zip(names, models)]


def from_pyproject(folder: Path, given: Mapping[str, Any]) -> list[Settings]:
    """Return the models of a pyproject.toml, one for each table ``[tool.snnrepro.NAME]``; none where there is no file.

    Paths are relative to the folder. Keys are the fields of `Settings`, with - or _; what is `given` on the command
    line stands above them.

    Raises
    ------
    DataError
        The file cannot be read, or a table has an unknown key, a value of another kind, or lacks model or data.
    """
    path = folder / "pyproject.toml"
    if not path.is_file():
        return []
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable TOML file ({one_line(error)})") from error
    tables = content.get("tool", {}).get("snnrepro", {})
    found = [_of_table(f"{path}: [{TABLE}.{name}]", name, table, folder) for name, table in tables.items()]
    return [replace(settings, **_with_paths(_known(given), Path.cwd())) for settings in found]


def _of_table(where: str, name: str, table: Any, folder: Path) -> Settings:
    if not isinstance(table, dict):
        raise DataError(f"{where} must be a table for one model, with at least model and data, got {table!r}")
    given = {key.replace("-", "_"): value for key, value in table.items()}
    for key, value in given.items():
        if key not in _KINDS:
            raise DataError(f"{where}: {key!r} is none of {', '.join(_KINDS)}")
        if not isinstance(value, _KINDS[key]) or isinstance(value, bool):
            kinds = " or ".join(kind.__name__ for kind in _KINDS[key])
            raise DataError(f"{where}: {key} must be {kinds}, got {value!r}")
    missing = [key for key in ("model", "data") if key not in given]
    if missing:
        raise DataError(f"{where}: {' and '.join(missing)} must be given")
    return Settings(name, **_with_paths(given, folder))


def _known(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _with_paths(given: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return {key: folder / value if key in _PATHS else value for key, value in given.items()}


def _unlike(names: Sequence[str], longer: Sequence[str]) -> Sequence[str]:
    """Return the names, or the longer ones where two are the same."""
    return names if len(set(names)) == len(names) else longer
