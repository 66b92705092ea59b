"""The product's own source, to look for what must not stand in it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("annotation", "api", "config", "models_registry", "training")


def product_files() -> list[Path]:
    """Every Python file of the web side and of the engine, migrations apart."""
    rooms = [room for room in ROOT.iterdir() if room.is_dir() and (room / "__init__.py").exists()]
    found = [file for room in rooms for file in sorted(room.rglob("*.py")) if "migrations" not in file.parts]
    assert {room.name for room in rooms} >= set(ROOMS)
    return [file for file in found if file.relative_to(ROOT).parts[0] not in ("tests", "bench")]


def importers_of(*modules: str) -> set[str]:
    """The product's files that import one of these modules, or something below one."""
    return {
        str(file.relative_to(ROOT))
        for file in product_files()
        if any(name == module or name.startswith(f"{module}.") for name in _imports(file) for module in modules)
    }


def callers_of(*names: str) -> set[str]:
    """The product's files that call a function of one of these names, bare or as part of a module."""
    return {str(file.relative_to(ROOT)) for file in product_files() if _called(file) & set(names)}


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _called(file: Path) -> set[str]:
    calls = [node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    return {
        call.attr if isinstance(call, ast.Attribute) else call.id
        for call in calls
        if hasattr(call, "attr") or hasattr(call, "id")
    }
