"""Model folders as a run leaves them, small and without any model in them."""

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotation.models import User
from models_registry.models import Version
from models_registry.services import register_version

MakeFolder = Callable[..., Path]
Register = Callable[..., Version]


def safetensors(payload: bytes) -> bytes:
    """A well-formed safetensors file with one tensor of bytes."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [len(payload)], "data_offsets": [0, len(payload)]}}).encode()
    return struct.pack("<Q", len(header)) + header + payload


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """`make_folder({"merged": {"config.json": b"…"}}, notice="…")` gives a run's `model/` with its manifest."""
    count = iter(range(1000))

    def make(formats: dict[str, dict[str, bytes]] | None = None, **extra: Any) -> Path:
        folder = tmp_path / f"run-{next(count)}" / "model"
        formats = formats or {
            "adapter": {"adapter_config.json": b"{}", "adapter_model.safetensors": safetensors(b"a" * 1000)},
            "merged": {
                "config.json": b'{"vocab_size": 3}',
                "model.safetensors": safetensors(bytes(range(256)) * 20),
                "tokenizer/merges.txt": b"",
            },
        }
        listed: dict[str, list[dict[str, Any]]] = {}
        for name, files in formats.items():
            listed[name] = []
            for path, content in files.items():
                target = folder / name / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
                row = {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                listed[name].append(row)
        manifest = {
            "formats": list(formats),
            "files": listed,
            "tokenizer_sha256": "f" * 64,
            "parameters": 134_515_008,
            **extra,
        }
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    return make


@pytest.fixture
def register(make_folder: MakeFolder) -> Register:
    """Register a version, with something sensible for everything that is not given."""

    def call(**given: Any) -> Version:
        values: dict[str, Any] = {
            "model_name": "Concise answers · DPO",
            "kind": "policy",
            "parent": None,
            "run_id": None,
            "dataset_sha256": "d" * 64,
            "config": {"beta": 0.1},
            "metrics": {"margin_before": 0.0, "margin": 0.75},
        }
        return register_version(**(values | {"folder": given.pop("folder", None) or make_folder()} | given))

    return call


@pytest.fixture
def admin(db: None) -> User:
    return User.objects.create_superuser("ada")


@pytest.fixture
def stranger(db: None) -> User:
    return User.objects.create_user("mallory")
