"""A network in one npz file: a JSON header that declares the graph, and one float32 array per weight; never pickle.

The header (array ``header``, UTF-8 bytes) holds the format version, the nodes with their fields, and for every array
its shape and SHA-256. Only declared arrays are read, so a changed, missing or foreign one is noticed and named.
"""

from __future__ import annotations

import hashlib
import json
import math
import reprlib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, List, Mapping, TypeVar

import numpy as np

from snnrepro.errors import ArchiveError, ModelError, one_line
from snnrepro.files import UNREADABLE, read_array, written_whole
from snnrepro.network.graph import Network, Node
from snnrepro.network.layers import LAYER_TYPES
from snnrepro.network.padding import LARGEST

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray

Built = TypeVar("Built")

FORMAT = "snnrepro-network"
VERSION = 1
_HINTS = {
    FORMAT: ": a trained network; make a spiking one of it with snnrepro convert",
    "snnrepro-spiking-network": ": a spiking network; read it with snnrepro.load_spiking, or run it with snnrepro run",
}
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
    write(path, {"format": FORMAT, "version": VERSION, **describe(network, arrays)}, arrays)


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
    return read(path, FORMAT, VERSION, rebuild)


def kind_of(path: str | Path) -> str:
    """Return the format that an archive declares; "" of what is no archive that can be read."""
    try:
        with zipfile.ZipFile(path) as opened:
            return str(_header_of(opened).get("format"))
    except Exception:  # whatever is wrong with it, `read` says what
        return ""


def write(path: str | Path, header: Mapping[str, Any], arrays: dict[str, AnyArray]) -> None:
    """Write a header and the arrays that it declares, or say why that cannot be."""
    text = json.dumps(header, sort_keys=True).encode()
    everything = {**arrays, _HEADER: np.frombuffer(text, dtype=np.uint8)}
    try:
        with written_whole(path) as file:
            np.savez(file, **everything)  # type: ignore[arg-type]  # savez's own keyword allow_pickle is no array's name
    except (OSError, TypeError) as error:
        raise ArchiveError(f"{path!s}: cannot be written ({one_line(error)})") from error


def read(
    path: str | Path,
    kind: str,
    version: int,
    build: Callable[[zipfile.ZipFile, Mapping[str, Any]], Built],
) -> Built:
    """Return what `build` makes of an archive and its header; whatever is wrong with the file is an ArchiveError.

    Parameters
    ----------
    path : str or Path
        The archive.
    kind, version : str, int
        The format that is expected, and its newest version that can be read.
    build : callable
        Gets the opened archive and the header.
    """
    try:
        if not Path(path).is_file():
            raise ArchiveError("not a file" if Path(path).exists() else "no such file")
        with zipfile.ZipFile(path) as archive:
            header = _checked_header(archive, kind, version)
            with np.errstate(all="ignore"):
                built = build(archive, header)
    except MemoryError as error:
        raise ArchiveError(f"{path}: its arrays do not fit into memory") from error
    except ModelError as error:
        raise ArchiveError(f"{path}: {error}") from error
    except UNREADABLE as error:
        raise ArchiveError(f"{path}: not a readable npz archive ({error})") from error
    except Exception as error:  # whatever its header says, the archive is at fault
        raise ArchiveError(f"{path}: the archive is damaged ({one_line(error)})") from error
    return built


def describe(network: Network, arrays: dict[str, AnyArray]) -> dict[str, Any]:
    """Return a network as a header's entries; its arrays are put into `arrays`."""
    nodes = []
    for index, node in enumerate(network.nodes):
        values = {
            field: declare(value, f"{index}.{field}", arrays) if isinstance(value, np.ndarray) else value
            for field, value in vars(node.layer).items()
        }
        nodes.append(
            {"name": node.name, "inputs": list(node.inputs), "layer": type(node.layer).__name__, "fields": values}
        )
    return {
        "input": {"name": network.input_name, "shape": list(network.input_shape)},
        "nodes": nodes,
        "sources": dict(network.sources),
    }


def digest(network: Network) -> str:
    """Return the SHA-256 of what a network computes, in hexadecimal: of its layers and weights, not of its sources."""
    described = describe(network, {})
    del described["sources"]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def declare(value: AnyArray, key: str, arrays: dict[str, AnyArray]) -> dict[str, Any]:
    """Put an array into `arrays` and return its entry in the header; bytes are named as such."""
    arrays[key] = value
    kind = {"dtype": "uint8"} if value.dtype == np.uint8 else {}
    return {"array": key, "shape": list(value.shape), "sha256": _digest(value), **kind}


def rebuild(archive: zipfile.ZipFile, header: Mapping[str, Any]) -> Network:
    """Return the network that `describe` wrote."""
    shape = header["input"]["shape"]
    if not _is_shape(shape, least=1) or math.prod(shape) > LARGEST:
        raise ArchiveError(f"the input's shape {reprlib.repr(shape)} is not valid")
    keys = [value["array"] for entry in header["nodes"] for value in entry["fields"].values() if _is_array(value)]
    if len(set(keys)) < len(keys):  # each would be read anew, and fill the memory from a small file
        raise ArchiveError("an array is declared for two nodes")
    return Network(
        str(header["input"]["name"]),
        tuple(shape),
        tuple(_read_node(archive, entry) for entry in header["nodes"]),
        {str(key): str(value) for key, value in header["sources"].items()},
    )


def _checked_header(archive: zipfile.ZipFile, kind: str, newest: int) -> Mapping[str, Any]:
    """Return an archive's header if it is of this kind and a version that can be read; no more is believed yet."""
    header = _header_of(archive)
    declared = header.get("format")
    if declared != kind:
        hint = _HINTS.get(declared, "") if isinstance(declared, str) else ""
        raise ArchiveError(f"format {reprlib.repr(declared)}, expected {kind!r}{hint}")
    version = header["version"]
    if type(version) is not int or version < 1:
        raise ArchiveError(f"format version {reprlib.repr(version)} is not a whole number of at least 1")
    if version > newest:
        raise ArchiveError(
            f"written in format version {version}, this snnrepro reads up to {newest}; "
            "run: pip install --upgrade snnrepro"
        )
    checked: Mapping[str, Any] = header
    return checked


def _header_of(archive: zipfile.ZipFile) -> Any:
    """Return an archive's header as it stands there."""
    names = archive.namelist()
    if _HEADER + ".npy" not in names:
        raise ArchiveError(f"no {_HEADER!r} in it; this is not an archive that snnrepro wrote")
    if len(set(names)) < len(names):
        raise ArchiveError(f"members occur twice: {sorted({one for one in names if names.count(one) > 1})[:5]}")
    if archive.getinfo(_HEADER + ".npy").file_size > _HEADER_LIMIT:
        raise ArchiveError(f"its header is larger than {_HEADER_LIMIT} bytes")
    return json.loads(read_array(archive, _HEADER).tobytes().decode(), parse_int=_json_int)


def _json_int(digits: str) -> int:
    if len(digits) > 20:  # Python's own conversion takes seconds for a million digits
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)


def _is_array(value: Any) -> bool:
    return isinstance(value, dict)


def _read_node(archive: zipfile.ZipFile, entry: Mapping[str, Any]) -> Node:
    name = str(entry["name"])
    layer_type = _LAYERS.get(entry["layer"])
    if layer_type is None:
        raise ArchiveError(f"node {name!r} has the unknown layer {entry['layer']!r}")
    values = {
        key: read_declared(archive, given) if _is_array(given) else _tuples(given)
        for key, given in entry["fields"].items()
    }
    try:
        layer = layer_type(**values)
    except ModelError as error:
        raise ArchiveError(f"node {name!r}: {error}") from error
    for key, given in entry["fields"].items():
        if isinstance(getattr(layer, key), np.ndarray) != _is_array(given):
            raise ArchiveError(f"node {name!r}: the archive is damaged, {key} is {reprlib.repr(given)}")
    return Node(name, tuple(str(one) for one in entry["inputs"]), layer)


def read_declared(archive: zipfile.ZipFile, declared: Mapping[str, Any]) -> AnyArray:
    """Return an array that a header declares: float32 and finite, or bytes, of the declared shape, unchanged."""
    key = declared["array"]
    dtype = np.dtype({"float32": np.float32, "uint8": np.uint8}[declared.get("dtype", "float32")])
    shape = tuple(declared["shape"]) if _is_shape(declared["shape"], least=0) else None
    if shape is None:
        raise ArchiveError(f"array {key!r}: the declared shape {reprlib.repr(declared['shape'])} is not valid")
    try:
        info = archive.getinfo(f"{key}.npy")
        expected = dtype.itemsize * math.prod(shape)
        if not expected <= info.file_size <= expected + 4096:  # 4096: an npy header is 128 bytes, larger is no array
            raise ArchiveError(f"array {key!r} has {info.file_size} bytes where {expected} are declared")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise ArchiveError(
                f"array {key!r} is compressed; an archive that snnrepro wrote stores its arrays as they are"
            )
        array = read_array(archive, key)
    except KeyError as error:
        raise ArchiveError(f"array {key!r} is declared but missing") from error
    except ValueError as error:
        raise ArchiveError(f"array {key!r} is damaged ({error})") from error
    if array.dtype != dtype or array.shape != shape:
        raise ArchiveError(f"array {key!r} is {array.dtype} {array.shape}, declared is {dtype} {shape}")
    if _digest(array) != declared["sha256"]:
        raise ArchiveError(f"array {key!r} differs from its SHA-256; the file was changed")
    if not np.isfinite(array).all():
        raise ArchiveError(f"array {key!r} holds NaN or infinite numbers")
    return array


def _is_shape(sizes: Any, least: int) -> bool:
    return isinstance(sizes, list) and all(type(size) is int and least <= size <= LARGEST for size in sizes)


def _digest(array: AnyArray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).reshape(-1).data).hexdigest()


def _tuples(value: Any) -> Any:
    if isinstance(value, List):
        return tuple(_tuples(item) for item in value)
    return value
