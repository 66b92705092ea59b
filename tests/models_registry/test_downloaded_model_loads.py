"""A downloaded model needs nothing of ours: transformers (merged), or transformers and peft (adapter).

The weights are the engine's own: its tiny model, an adapter that does something, saved and registered as a run does.
"""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from django.test import Client

from annotation.models import User
from models_registry.models import Artifact, Version
from models_registry.services import local_folder
from tests.models_registry.conftest import Register
from training.engine.classifier import new_reward_model, reward_tokenizer
from training.engine.import_model import TINY_NOTICE
from training.engine.models import (
    LoraShape,
    add_lora,
    load_base,
    load_tokenizer,
)
from training.engine.run_dir import ModelRef, RunDir
from training.engine.saving import finish_model_folder, save_trained
from training.engine.tiny import build_tiny

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

# What a user runs, from the card, plus one line of proof that nothing of this project is in reach.
CLEAN = """
import importlib.util, json, sys
assert not any(importlib.util.find_spec(name) for name in ("training", "models_registry", "annotation", "config"))
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
base, adapter, merged, kind = sys.argv[1:]
assert "peft" not in sys.modules
Auto = AutoModelForSequenceClassification if kind == "reward" else AutoModelForCausalLM
tokenizer = AutoTokenizer.from_pretrained(merged)
models = {"merged": Auto.from_pretrained(merged)}
from peft import PeftModel
labels = {"num_labels": 1, "pad_token_id": tokenizer.pad_token_id} if kind == "reward" else {}
models["adapter"] = PeftModel.from_pretrained(Auto.from_pretrained(base, dtype="float32", **labels), adapter)
if kind != "reward":
    models["base"] = Auto.from_pretrained(base, dtype="float32")
messages = [{"role": "user", "content": "How do I keep basil fresh?"}]
found = {"tokenizers agree": AutoTokenizer.from_pretrained(adapter).get_vocab() == tokenizer.get_vocab()}
for name, model in models.items():
    if kind == "reward":
        talk = [*messages, {"role": "assistant", "content": "Stand the stems in water."}]
        text = tokenizer.apply_chat_template(talk, tokenize=False).rstrip()
        found[name] = model(**tokenizer(text, add_special_tokens=False, return_tensors="pt")).logits.item()
        continue
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**prompt, max_new_tokens=12, do_sample=False)
    found[name] = tokenizer.decode(answer[0, prompt["input_ids"].shape[1]:])
    found[name + " logits"] = model(**prompt).logits[0, -1].tolist()
print(json.dumps(found))
"""


def import_tiny(run_dir: RunDir) -> ModelRef:
    """What the engine's import leaves in a run directory."""
    model, tokenizer = build_tiny(0, 0.0)
    aside = run_dir.path / ".model"
    model.to(torch.bfloat16).save_pretrained(str(aside / "full"))
    tokenizer.save_pretrained(str(aside / "full"))
    finish_model_folder(run_dir, aside, ["full"], {"kind": "base", "notice": TINY_NOTICE})
    return ModelRef(str(run_dir.model_path / "full"))


def train_something(run_dir: RunDir, base: ModelRef, *, reward: bool) -> None:
    """An adapter that changes the model's mind, without the time to train one."""
    tokenizer = load_tokenizer(base.path)
    core = load_base(base, dtype=torch.float32, device=torch.device("cpu"))
    if reward:
        tokenizer = reward_tokenizer(tokenizer)
        core = new_reward_model(base, torch.float32, pad_id=tokenizer.pad_token_id, seed=1)
    trainee = add_lora(core, tokenizer, LoraShape(rank=4, alpha=8, targets="all-linear"), reward=reward, seed=1)
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in trainee.trainable().values():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    save_trained(run_dir, trainee, base=base, kind="reward" if reward else "policy", extra={})


def download(client: Client, artifact: Artifact, place: Path) -> Path:
    content = b"".join(client.get(artifact.get_absolute_url()))
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        tar.extractall(place, filter="data")
        top = tar.getnames()[0].split("/")[0]
    return place / top


def try_out(client: Client, base: Version, version: Version, place: Path) -> dict[str, Any]:
    """Download everything and load it in a Python of its own (isolated: no paths, no environment of this one)."""
    place.mkdir()
    whole = download(client, base.artifacts.get(), place)
    adapter, merged = (download(client, version.artifacts.get(format=name), place) for name in ("adapter", "merged"))
    command = [sys.executable, "-I", "-c", CLEAN, whole.name, adapter.name, merged.name, version.kind]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture
def base_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "import")


@pytest.fixture
def base(register: Register, base_dir: RunDir) -> Version:
    import_tiny(base_dir)
    return register(model_name="Tiny", kind="base", folder=base_dir.model_path, metrics={}, config={})


def stored(version: Version) -> ModelRef:
    return ModelRef(str(local_folder(version.artifacts.get())))


def test_a_policy_loads_both_ways_and_answers_the_same(
    client: Client, admin: User, register: Register, base: Version, tmp_path: Path
) -> None:
    client.force_login(admin)
    run_dir = RunDir(tmp_path / "run")
    run_dir.path.mkdir()
    train_something(run_dir, stored(base), reward=False)
    version = register(folder=run_dir.model_path, parent=base)
    found = try_out(client, base, version, tmp_path / "elsewhere")
    assert found["merged"]
    assert found["merged"] == found["adapter"]
    assert found["merged logits"] == pytest.approx(found["adapter logits"], abs=1e-4)
    assert found["merged logits"] != pytest.approx(found["base logits"], abs=1e-2)  # the adapter does something
    assert found["tokenizers agree"]
    assert version.notice == TINY_NOTICE


def test_a_reward_model_loads_both_ways_and_scores_the_same(
    client: Client, admin: User, register: Register, base: Version, tmp_path: Path
) -> None:
    client.force_login(admin)
    run_dir = RunDir(tmp_path / "run")
    run_dir.path.mkdir()
    train_something(run_dir, stored(base), reward=True)
    version = register(folder=run_dir.model_path, parent=base, kind="reward", model_name="Judge")
    found = try_out(client, base, version, tmp_path / "elsewhere")
    assert found["merged"] != 0
    assert found["merged"] == pytest.approx(found["adapter"], abs=1e-4)


def test_an_adapter_names_the_folder_of_its_base_and_no_path_of_the_trainer(
    client: Client, admin: User, register: Register, base: Version, tmp_path: Path
) -> None:
    client.force_login(admin)
    run_dir = RunDir(tmp_path / "run")
    run_dir.path.mkdir()
    train_something(run_dir, stored(base), reward=False)
    version = register(folder=run_dir.model_path, parent=base)
    folder = download(client, version.artifacts.get(format="adapter"), tmp_path / "elsewhere")
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny-v1-full"
    texts = [path.read_bytes() for path in folder.rglob("*") if path.suffix != ".safetensors" and path.is_file()]
    assert len(texts) > 3
    assert not any(str(tmp_path).encode() in text for text in texts)
