"""What a run leaves in RUN_DIR/model, with a manifest.

``model/adapter`` is a PEFT folder, ``model/merged`` a plain transformers folder in fp32, because the change an adapter
makes is smaller than bf16's rounding of the weight it is added to; each with tokenizer and chat template. Full training
saves ``merged`` only.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from training.engine import processes, sharding
from training.engine.models import Trainee, moved
from training.engine.run_dir import ModelRef, RunDir, sha256_of, write_json


def save_trained(
    run_dir: RunDir, trainee: Trainee, *, base: ModelRef, kind: str, extra: dict[str, Any]
) -> dict[str, Any]:
    """Write model/ (aside, then renamed) and return its manifest. The trainee is merged by this and of no use after.

    The last thing that several processes do together: all but the main one end here.
    """
    weights = sharding.whole_weights(trainee.core) if processes.in_step() else None
    processes.leave_the_rest_to_main()
    aside = run_dir.path / ".model"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    tokenizer = trainee.tokenizer
    parameters = sum(item.numel() for name, item in trainee.core.named_parameters() if "lora_" not in name)
    trained = sum(item.numel() for item in trainee.trainable().values())
    formats = []
    core = trainee.core
    if trainee.peft is not None:
        formats.append("adapter")
        trainee.peft.peft_config["default"].base_model_name_or_path = base_name(base)
        trainee.peft.save_pretrained(str(aside / "adapter"), save_embedding_layers=False)
        tokenizer.save_pretrained(str(aside / "adapter"))
        (aside / "adapter" / "README.md").unlink(missing_ok=True)
        moved(core, torch.float32, core.device)
        core = trainee.peft.merge_and_unload()
    formats.append("merged")
    core.config.use_cache = True
    moved(core, torch.float32, core.device).save_pretrained(str(aside / "merged"), state_dict=weights)
    tokenizer.save_pretrained(str(aside / "merged"))
    manifest: dict[str, Any] = {
        "kind": kind,
        "base": base.path,
        "base_adapter": base.adapter,
        "base_name": base_name(base),
    }
    manifest |= {"parameters": parameters, "trained_parameters": trained, "pad_token_id": core.config.pad_token_id}
    return finish_model_folder(run_dir, aside, formats, manifest | extra)


def finish_model_folder(run_dir: RunDir, aside: Path, formats: list[str], content: dict[str, Any]) -> dict[str, Any]:
    """Hash what lies in ``aside``, write the manifest, and rename the whole to model/."""
    files = {}
    for name in formats:
        found = sorted(item for item in (aside / name).rglob("*") if item.is_file())
        for item in found:
            item.chmod(0o644)  # safetensors writes files for the owner alone
        files[name] = [
            {"path": str(item.relative_to(aside / name)), "bytes": item.stat().st_size, "sha256": sha256_of(item)}
            for item in found
        ]
    tokenizer_file = aside / formats[-1] / "tokenizer.json"
    manifest = {
        "formats": formats,
        "files": files,
        "tokenizer_sha256": sha256_of(tokenizer_file) if tokenizer_file.is_file() else "",
        **content,
    }
    write_json(aside / "manifest.json", manifest)
    shutil.rmtree(run_dir.model_path, ignore_errors=True)
    os.rename(aside, run_dir.model_path)
    return manifest


def folder_manifest(folder: str) -> dict[str, Any]:
    """What is known of a model folder: from the manifest in it (a registered model) or beside it (a run's model/)."""
    for place in (Path(folder), Path(folder).parent):
        with contextlib.suppress(OSError, ValueError):
            content = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
            if isinstance(content, dict):
                return content
    return {}


def base_name(base: ModelRef) -> str:
    """What to call the base in a file that leaves this machine: never a path of ours."""
    return str(folder_manifest(base.path).get("name") or Path(base.path).name)
