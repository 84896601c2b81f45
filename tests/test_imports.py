"""Imports run downwards only, and importing the package loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys

# From the bottom up; a module imports only from its own part or from those before it.
PARTS = [
    ["errors", "arrays"],
    ["files", "compiling"],
    ["frameworks"],
    ["network"],
    ["datasets", "environment"],
    ["readers", "spiking"],
    ["simulators"],
    ["verification", "metrics"],
    ["thesis"],
    ["report"],
    ["cli_reproduce"],
    ["cli"],
    ["__main__"],
]
LEVEL = {name: level for level, part in enumerate(PARTS) for name in part}


def _imports(root):
    """Yield (module, imported module) inside the package."""
    for path in sorted((root / "snnrepro").rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("snnrepro"):
                if node.module == "snnrepro":
                    yield from ((module, f"snnrepro.{name.name}") for name in node.names if name.name != "__version__")
                else:
                    yield module, node.module


def _upward(pairs):
    wrong = []
    for module, imported in pairs:
        if module in ("snnrepro", "snnrepro.__init__"):
            continue  # the public names, imported when asked for
        here, there = module.split(".")[1], imported.split(".")[1]
        if LEVEL[there] > LEVEL[here] or (LEVEL[there] == LEVEL[here] and there != here):
            wrong.append(f"{module} imports {imported}")
    return wrong


def test_imports_run_downwards_only(root):
    pairs = list(_imports(root))
    assert len(pairs) > 40, "the walk found too few imports to mean anything"
    assert _upward(pairs) == []


def test_an_upward_import_would_be_noticed():
    assert _upward([("snnrepro.network.graph", "snnrepro.thesis.tables")])
    assert _upward([("snnrepro.readers.onnx", "snnrepro.spiking.neurons")])


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


def test_every_public_name_can_be_had():
    import snnrepro

    for name in snnrepro.__all__:
        assert getattr(snnrepro, name).__name__ == name
