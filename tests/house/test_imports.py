"""Imports run downwards only and never in circles, and importing the package loads nothing heavy."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

import snnrepro

# From the bottom up; a module imports only from its own part or from those before it.
PARTS = [
    ["errors", "arrays"],
    ["inputs", "metrics"],
    ["files", "compiling", "executors", "simd"],
    ["dataset_files"],
    ["frameworks"],
    ["network"],
    ["datasets", "user_images", "environment"],
    ["readers"],
    ["spiking"],
    ["simulators"],
    ["verification", "energy"],
    ["autopsy", "study"],
    ["checking"],
    ["thesis"],
    ["report"],
    ["cli"],
    ["__main__"],
]
LEVEL = {name: level for level, part in enumerate(PARTS) for name in part}

# An import inside a function that closes a circle on purpose: (module, imported module) -> the reason.
LATE = {
    ("snnrepro.network.graph", "snnrepro.network.archive"): "Network.save is public and calls what stands above it",
    ("snnrepro.spiking.network", "snnrepro.spiking.archive"): "SpikingNetwork.save is public, likewise",
}


def _modules(root):
    """Return the syntax trees of the package's modules by their dotted names; a folder's own is `__init__`."""
    paths = sorted((root / "snnrepro").rglob("*.py"))
    return {
        ".".join(path.relative_to(root).with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"))
        for path in paths
    }


def _imports(trees, *, for_types=True):
    """Yield (module, imported module) inside the package, with `for_types` also what only type hints need."""
    for module, tree in trees.items():
        skipped = set()
        for node in ast.walk(tree):
            if node in skipped:
                skipped.update(ast.iter_child_nodes(node))
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and not for_types:
                skipped.update(node.body)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                yield from ((module, imported) for imported in _imported(node, trees))


def _imported(node, trees):
    """Return the modules that a statement imports; a public name of the package is imported from its module."""
    if isinstance(node, ast.Import):
        names = [name.name for name in node.names if name.name.split(".")[0] == "snnrepro"]
        return [module for name in names for module in (_public() if name == "snnrepro" else [_module(name, trees)])]
    if (node.module or "").split(".")[0] != "snnrepro":
        return []
    names = [f"{node.module}.{name.name}" for name in node.names if name.name != "__version__"]
    return [_module(snnrepro._PUBLIC.get(name[len("snnrepro.") :], name), trees) for name in names]


def _public():
    return sorted(set(snnrepro._PUBLIC.values()))


def _module(name, trees):
    """Return the module that a dotted name is, or is in."""
    while name not in trees and f"{name}.__init__" not in trees:
        name = name.rpartition(".")[0]
    return name if name in trees else f"{name}.__init__"


def _upward(pairs):
    wrong = []
    for module, imported in pairs:
        if module == "snnrepro.__init__":
            continue  # the public names, imported when asked for
        here, there = module.split(".")[1], imported.split(".")[1]
        if LEVEL[there] > LEVEL[here] or (LEVEL[there] == LEVEL[here] and there != here):
            wrong.append(f"{module} imports {imported}")
    return wrong


def _circles(pairs):
    """Return the groups of modules that import one another, directly or through others, each sorted."""
    imported_by = {}
    for module, imported in pairs:
        imported_by.setdefault(module, set()).add(imported)

    def reached(start):
        found, waiting = set(), [start]
        while waiting:
            new = imported_by.get(waiting.pop(), set()) - found
            found |= new
            waiting += new
        return found

    reach = {module: reached(module) for module in imported_by}
    return sorted(
        {
            tuple(sorted(other for other in others if module in reach.get(other, ())))
            for module, others in reach.items()
            if module in others
        }
    )


def test_imports_run_downwards_only(root):
    pairs = list(_imports(_modules(root)))
    assert len(pairs) > 40, "the walk found too few imports to mean anything"
    assert _upward(pairs) == []


def test_an_upward_import_would_be_noticed():
    assert _upward([("snnrepro.network.graph", "snnrepro.thesis.tables")])
    assert _upward([("snnrepro.readers.onnx", "snnrepro.spiking.neurons")])


def test_no_modules_import_one_another(root):
    pairs = set(_imports(_modules(root), for_types=False))
    assert pairs.issuperset(LATE), "an import in LATE is gone"
    assert _circles(pairs - LATE.keys()) == []


CIRCLES = {
    "direct": ({"a": "from snnrepro.b import x", "b": "import snnrepro.a"}, [("snnrepro.a", "snnrepro.b")]),
    "through a third module": (
        {"a": "from snnrepro import b", "b": "from snnrepro.c import x", "c": "from snnrepro.a import x"},
        [("snnrepro.a", "snnrepro.b", "snnrepro.c")],
    ),
    "inside a function": (
        {"a": "from snnrepro.b import x", "b": "def f():\n    from snnrepro.a import x"},
        [("snnrepro.a", "snnrepro.b")],
    ),
    "with a folder's own file": (
        {"f.__init__": "from snnrepro.f.a import x", "f.a": "from snnrepro.f import x"},
        [("snnrepro.f.__init__", "snnrepro.f.a")],
    ),
    "two of them": (
        {
            "a": "import snnrepro.b, snnrepro.c",
            "b": "import snnrepro.a",
            "c": "import snnrepro.d",
            "d": "import snnrepro.c",
        },
        [("snnrepro.a", "snnrepro.b"), ("snnrepro.c", "snnrepro.d")],
    ),
    "for type hints only": (
        {"a": "from snnrepro.b import x", "b": "if TYPE_CHECKING:\n    from snnrepro.a import x"},
        [],
    ),
    "two ways to one module": (
        {"a": "from snnrepro.b import x\nfrom snnrepro.c import y", "b": "from snnrepro.c import x", "c": "import os"},
        [],
    ),
}


@pytest.mark.parametrize("kind", CIRCLES)
def test_a_circle_would_be_noticed(kind):
    sources, circles = CIRCLES[kind]
    trees = {f"snnrepro.{name}": ast.parse(source) for name, source in sources.items()}
    assert _circles(_imports(trees, for_types=False)) == circles


def test_a_public_name_is_imported_from_its_module(root):
    trees = _modules(root)
    for statement in ("import snnrepro", "import snnrepro as snn", "from snnrepro import __version__, verify"):
        trees["snnrepro.network.graph"] = ast.parse(statement)
        pairs = list(_imports(trees))
        assert ("snnrepro.network.graph", "snnrepro.verification") in pairs
        assert "snnrepro.network.graph imports snnrepro.verification" in _upward(pairs)


def test_the_map_names_every_part_and_nothing_else(root):
    folders = {path.parent.name for path in (root / "snnrepro").glob("*/__init__.py")}
    modules = {path.stem for path in (root / "snnrepro").glob("*.py")} - {"__init__", "__main__"}
    assert set(re.findall(r"(\w+)/", snnrepro.__doc__)) == folders
    assert set(re.findall(r"\w+", snnrepro.__doc__)) >= modules
    readme = (root / "README.md").read_text(encoding="utf-8")
    section = readme.partition("\n## Where is what\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(\w+)/`", section)) == folders | {"tests", "benchmarks", "docs"}
    assert LEVEL.keys() - {"__main__"} == folders | modules


def test_importing_the_package_loads_nothing_heavy():
    heavy = [
        "tensorflow",
        "keras",
        "tf_keras",
        "nengo",
        "nengo_dl",
        "onnx",
        "onnxruntime",
        "matplotlib",
        "rich",
        "numpy",
        "numba",
        "scipy",
    ]
    code = f"import sys, snnrepro; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_importing_the_command_line_loads_no_framework_and_no_compiler():
    heavy = ["tensorflow", "keras", "nengo", "nengo_dl", "onnx", "onnxruntime", "matplotlib", "numba", "scipy", "dask"]
    code = f"import sys, snnrepro.cli; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_inspecting_a_model_loads_no_compiler_and_no_runtime(root):
    model = root / "tests" / "data" / "models" / "residual-dynamo.onnx"  # without shape arithmetic: a runtime's work
    heavy = ["tensorflow", "keras", "nengo", "onnxruntime", "matplotlib", "numba", "scipy", "dask", "onnx"]
    code = (
        f"import sys; from snnrepro.cli import main; main(['inspect', {str(model)!r}], standalone_mode=False); "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "every node can be converted" in found.stdout
    assert found.stdout.splitlines()[-1] == "['onnx']"


def test_every_public_name_can_be_had():
    for name in snnrepro.__all__:
        assert getattr(snnrepro, name).__name__ == name
