"""The run directory: the whole contract between whoever launches a run and the engine. Standard library only."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from training.engine.config import METHODS

Row = Mapping[str, Any]


class RunDirError(ValueError):
    """A run directory that cannot be used: the message is one readable sentence."""


@dataclass(frozen=True)
class DataFile:
    """A JSONL file below the run directory, its hash and its number of rows."""

    path: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class ModelRef:
    """An absolute folder in Hugging Face form (safetensors), and optionally a PEFT adapter folder on top of it."""

    path: str
    adapter: str = ""


@dataclass(frozen=True)
class Spec:
    """What a run is: written once into spec.json, never changed.

    ``models``: "base" (always, except for import), "reward" (PPO), "reference" (optional, DPO and PPO), "policy"
    (optional, reward model: whose answers its scores are normalised by). To sample, one or several under any names:
    each is a version that answers, and its rows bear its name.
    ``data``: "train" and "eval" for the four training methods, "prompts" for sampling.
    ``cache``: a folder that runs share, for what they need not compute twice (DPO: the reference's log-probs); "" keeps
    it in the run directory.
    """

    method: str
    config: dict[str, Any]
    seed: int = 0
    models: dict[str, ModelRef] = field(default_factory=dict)
    data: dict[str, DataFile] = field(default_factory=dict)
    processes: int = 1
    cache: str = ""


class RunDir:
    """Paths and small files of one run."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).resolve()

    @classmethod
    def create(cls, path: str | os.PathLike[str], spec: Spec, data: Mapping[str, Iterable[Row]] | None = None) -> Self:
        """Make the directory with data/<name>.jsonl and a spec.json that names them. RunDirError if there is one."""
        run_dir = cls(path)
        if run_dir.spec_path.exists():
            raise RunDirError(f"{run_dir.path} already holds a run")
        (run_dir.path / "data").mkdir(parents=True, exist_ok=True)
        files = {name: run_dir._write_rows(name, rows) for name, rows in (data or {}).items()}
        content = asdict(spec)
        content["data"] = {**content["data"], **{name: asdict(item) for name, item in files.items()}}
        write_json(run_dir.spec_path, content)
        return run_dir

    def _write_rows(self, name: str, rows: Iterable[Row]) -> DataFile:
        relative, digest, count = f"data/{name}.jsonl", hashlib.sha256(), 0
        with open(self.path / relative, "wb") as file:
            for row in rows:
                line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
                digest.update(line)
                file.write(line)
                count += 1
            file.flush()
            os.fsync(file.fileno())
        return DataFile(path=relative, sha256=digest.hexdigest(), rows=count)

    @property
    def spec_path(self) -> Path:
        return self.path / "spec.json"

    @property
    def events_path(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def result_path(self) -> Path:
        return self.path / "result.json"

    @property
    def checkpoints_path(self) -> Path:
        return self.path / "checkpoints"

    @property
    def model_path(self) -> Path:
        return self.path / "model"

    @property
    def samples_path(self) -> Path:
        return self.path / "samples.jsonl"

    def spec(self) -> Spec:
        """The spec as written. RunDirError when it is missing, torn, or not of this shape."""
        try:
            content = json.loads(self.spec_path.read_text(encoding="utf-8"))
            spec = Spec(
                method=content["method"],
                config=dict(content["config"]),
                seed=int(content["seed"]),
                models={name: ModelRef(**item) for name, item in content["models"].items()},
                data={name: DataFile(**item) for name, item in content["data"].items()},
                processes=int(content.get("processes", 1)),
                cache=str(content.get("cache", "")),
            )
        except FileNotFoundError:
            raise RunDirError(f"{self.spec_path} is missing") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunDirError(f"{self.spec_path} cannot be read: {error}") from None
        if spec.method not in METHODS:
            raise RunDirError(f"{spec.method!r} is not a method; it must be one of {', '.join(METHODS)}")
        return spec

    def verify(self) -> None:
        """Check that every data file is there, inside this directory, and has its hash. RunDirError otherwise."""
        for name, item in self.spec().data.items():
            path = (self.path / item.path).resolve()
            if not path.is_relative_to(self.path):
                raise RunDirError(f"data file {name!r} lies outside the run directory")
            if not path.is_file():
                raise RunDirError(f"data file {name!r} ({item.path}) is missing")
            if sha256_of(path) != item.sha256:
                raise RunDirError(
                    f"data file {name!r} ({item.path}) is not the one this run was made with: its hash differs"
                )

    def rows(self, name: str) -> list[dict[str, Any]]:
        """All rows of a data file, [] when the spec names none. RunDirError with the line that is not an object."""
        item = self.spec().data.get(name)
        if item is None:
            return []
        rows = []
        with open(self.path / item.path, "rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    row = json.loads(line)
                except ValueError:
                    row = None
                if not isinstance(row, dict):
                    raise RunDirError(f"{item.path} line {number} is not a JSON object")
                rows.append(row)
        return rows

    def checkpoints(self) -> list[Path]:
        """Finished checkpoint folders, oldest first."""
        found = [path for path in self.checkpoints_path.glob("step-*") if path.name[5:].isdigit() and path.is_dir()]
        return sorted(found, key=lambda path: int(path.name[5:]))

    def result(self) -> dict[str, Any] | None:
        """What result.json holds, or None when the run has not succeeded."""
        try:
            content = json.loads(self.result_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def manifest(self) -> dict[str, Any] | None:
        """What model/manifest.json holds, or None."""
        try:
            content = json.loads((self.model_path / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file so that it is either the old one or the new one, never half of it."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(aside, "w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
