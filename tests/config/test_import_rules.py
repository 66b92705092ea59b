"""Rules on imports that the import linter cannot state: what the engine may stand on."""

import ast
import sys
from pathlib import Path

import pytest

ENGINE = Path(__file__).resolve().parents[2] / "training" / "engine"
FOR_THE_WEB = ("config", "events", "run_dir")
LIBRARIES = {"accelerate", "gguf", "huggingface_hub", "jinja2", "numpy", "peft", "psutil", "safetensors"}
LIBRARIES |= {"tokenizers", "torch", "transformers"}


def imported_by(path: Path) -> set[str]:
    """The modules that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            found.add(str(node.module))
    return found


def outside(path: Path) -> set[str]:
    """What a file of the engine imports beyond the standard library and the engine."""
    names = {name for name in imported_by(path) if not name.startswith("training.engine")}
    return {name for name in names if name.split(".")[0] not in sys.stdlib_module_names}


@pytest.mark.parametrize("name", FOR_THE_WEB)
def test_what_the_web_side_imports_of_the_engine_is_standard_library_only(name: str) -> None:
    assert outside(ENGINE / f"{name}.py") == set()
    own = {module for module in imported_by(ENGINE / f"{name}.py") if module.startswith("training")}
    assert own <= {f"training.engine.{allowed}" for allowed in FOR_THE_WEB}


def test_the_engine_stands_on_its_libraries_and_on_nothing_of_the_web_side() -> None:
    files = sorted(ENGINE.rglob("*.py"))
    assert len(files) > 5
    strangers = {file.name: {name for name in outside(file) if name.split(".")[0] not in LIBRARIES} for file in files}
    assert {name: found for name, found in strangers.items() if found} == {}


def test_packages_on_the_path_to_the_engine_are_empty() -> None:
    assert [(ENGINE / "__init__.py").read_text(), (ENGINE.parent / "__init__.py").read_text()] == ["", ""]
