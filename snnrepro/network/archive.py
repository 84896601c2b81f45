"""A network in one npz file: a JSON header that declares the graph, and one float32 array a weight; never pickle.

The header (array ``header``, UTF-8 bytes) holds the format version, the nodes with their fields, and for every array
its shape and SHA-256. Only declared arrays are read, so a changed, missing or foreign one is noticed and named.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import fields
from typing import TYPE_CHECKING, Any, List, Mapping

import numpy as np

from snnrepro.errors import ArchiveError, ModelError
from snnrepro.files import read_array, written_whole
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import LAYER_TYPES

if TYPE_CHECKING:
    from pathlib import Path

    from snnrepro.arrays import AnyArray

FORMAT = "snnrepro-network"
VERSION = 1
_HEADER = "header"
_HEADER_LIMIT = 64 * 2**20  # bytes; a graph's description is kilobytes
_LAYERS = {layer.__name__: layer for layer in LAYER_TYPES}


def save(network: Network, path: str | Path) -> None:
    """Write `network` to `path`; the same network gives the same bytes.

    Parameters
    ----------
    network : Network
        What to write.
    path : str or Path
        The archive; by custom it ends in ``.npz``.
    """
    arrays: dict[str, AnyArray] = {}
    nodes = []
    for index, node in enumerate(network.nodes):
        values: dict[str, Any] = {}
        for field in fields(node.layer):
            value = getattr(node.layer, field.name)
            if isinstance(value, np.ndarray):
                key = f"{index}.{field.name}"
                arrays[key] = value
                values[field.name] = {"array": key, "shape": list(value.shape), "sha256": _digest(value)}
            else:
                values[field.name] = value
        nodes.append(
            {"name": node.name, "inputs": list(node.inputs), "layer": type(node.layer).__name__, "fields": values}
        )
    header = {
        "format": FORMAT,
        "version": VERSION,
        "input": {"name": network.input_name, "shape": list(network.input_shape)},
        "nodes": nodes,
        "sources": dict(network.sources),
    }
    text = json.dumps(header, sort_keys=True).encode()
    with written_whole(path) as file:
        arrays[_HEADER] = np.frombuffer(text, dtype=np.uint8)
        np.savez(file, **arrays)  # type: ignore[arg-type]  # savez's own keyword allow_pickle is no array's name


def load(path: str | Path) -> Network:
    """Read a network from an archive that `save` wrote.

    Parameters
    ----------
    path : str or Path
        The archive.

    Returns
    -------
    Network
        Bit for bit what was saved.

    Raises
    ------
    ArchiveError
        The file is missing, damaged, foreign, or of a newer version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            header = _read_header(path, archive)
            nodes = tuple(_read_node(path, archive, entry) for entry in header["nodes"])
        return Network(
            str(header["input"]["name"]),
            tuple(int(size) for size in header["input"]["shape"]),
            nodes,
            {str(key): str(value) for key, value in header["sources"].items()},
        )
    except ArchiveError:
        raise
    except FileNotFoundError as error:
        raise ArchiveError(f"{path}: no such file") from error
    except ModelError as error:
        raise ArchiveError(f"{path}: {error}") from error
    except (OSError, zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise ArchiveError(f"{path}: not a readable npz archive ({error})") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArchiveError(f"{path}: the archive is damaged ({type(error).__name__}: {error})") from error


def _read_header(path: str | Path, archive: zipfile.ZipFile) -> Mapping[str, Any]:
    if _HEADER + ".npy" not in archive.namelist():
        raise ArchiveError(f"{path}: no {_HEADER!r} in it; this is not an archive that snnrepro wrote")
    if archive.getinfo(_HEADER + ".npy").file_size > _HEADER_LIMIT:
        raise ArchiveError(f"{path}: its header is larger than {_HEADER_LIMIT} bytes")
    header = json.loads(read_array(archive, _HEADER).tobytes().decode())
    if header.get("format") != FORMAT:
        raise ArchiveError(f"{path}: format {header.get('format')!r}, expected {FORMAT!r}")
    if header["version"] > VERSION:
        raise ArchiveError(
            f"{path}: written in format version {header['version']}, this snnrepro reads up to {VERSION}; "
            "run: pip install --upgrade snnrepro"
        )
    checked: Mapping[str, Any] = header
    return checked


def _read_node(path: str | Path, archive: zipfile.ZipFile, entry: Mapping[str, Any]) -> Node:
    layer_type = _LAYERS.get(entry["layer"])
    if layer_type is None:
        raise ArchiveError(f"{path}: node {entry['name']!r} has the unknown layer {entry['layer']!r}")
    values: dict[str, Any] = {}
    for name, value in entry["fields"].items():
        if isinstance(value, dict):
            values[name] = _read_array(path, archive, value)
        else:
            values[name] = _tuples(value)
    return Node(str(entry["name"]), tuple(str(name) for name in entry["inputs"]), layer_type(**values))


def _read_array(path: str | Path, archive: zipfile.ZipFile, declared: Mapping[str, Any]) -> AnyArray:
    key = declared["array"]
    shape: tuple[int, ...] = tuple(declared["shape"])
    try:
        info = archive.getinfo(f"{key}.npy")
        expected = 4 * int(np.prod(shape, dtype=np.int64))
        if not expected <= info.file_size <= expected + 4096:  # 4096: an npy header is 128 bytes, larger is no array
            raise ArchiveError(f"{path}: array {key!r} has {info.file_size} bytes, declared are {expected}")
        array = read_array(archive, key)
    except KeyError as error:
        raise ArchiveError(f"{path}: array {key!r} is declared but missing") from error
    except (zipfile.BadZipFile, ValueError) as error:
        raise ArchiveError(f"{path}: array {key!r} is damaged ({error})") from error
    if array.dtype != np.float32 or array.shape != shape:
        raise ArchiveError(f"{path}: array {key!r} is {array.dtype} {array.shape}, declared is float32 {shape}")
    if _digest(array) != declared["sha256"]:
        raise ArchiveError(f"{path}: array {key!r} differs from its SHA-256; the file was changed")
    return array


def _digest(array: AnyArray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _tuples(value: Any) -> Any:
    if isinstance(value, List):
        return tuple(_tuples(item) for item in value)
    return value
