"""Models in and out: tokenizers, bases, adapters, reward heads. Safetensors only."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy
import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from training.engine import processes, sharding
from training.engine.adapters import drop_in_training_passes, fuse
from training.engine.backbone import multiply_in
from training.engine.chat import render, scoring_pad_id
from training.engine.config import CommonConfig, TrainingConfig
from training.engine.errors import EngineError
from training.engine.rounding import is_finer_than_bf16, narrow
from training.engine.run_dir import ModelRef, Spec

# What transformers, peft and safetensors raise for files that are missing, damaged or do not belong together.
LOAD_ERRORS = (
    OSError,
    ValueError,
    LookupError,
    RuntimeError,
    TypeError,
    AttributeError,
    ImportError,
    EOFError,
    struct.error,
    SafetensorError,
)
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


@dataclass(frozen=True)
class LoraShape:
    """Rank, alpha, targets and dropout of an adapter; they always travel together."""

    rank: int
    alpha: int
    targets: str
    dropout: float = 0.0


@dataclass
class Trainee:
    """A model in training. ``core`` is the transformers model; ``peft`` wraps it when adapters are trained."""

    core: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    peft: PeftModel | None = None

    @property
    def module(self) -> nn.Module:
        """What holds the trainable parameters."""
        return self.core if self.peft is None else self.peft

    def trainable(self) -> dict[str, nn.Parameter]:
        """Trainable parameters by name, in a stable order. EngineError when there are none."""
        found = {name: item for name, item in self.module.named_parameters() if item.requires_grad}
        if not found:
            raise EngineError("nothing is trainable: no module matches the adapter's targets")
        return found

    @contextlib.contextmanager
    def as_reference(self) -> Iterator[None]:
        """Adapters off: inside, the model is the base it started from. Only for adapter training."""
        if self.peft is None:
            raise EngineError("full training has no adapters to switch off; give a reference model")
        with self.peft.disable_adapter():
            yield


def pick_device() -> torch.device:
    """The GPU if there is one, of several processes each its own, else the CPU."""
    return processes.device() or torch.device("cuda" if torch.cuda.is_available() else "cpu")


def pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Number format of frozen weights. "auto": bf16 where the machine multiplies it natively, else fp32."""
    if precision != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    capable = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return torch.bfloat16 if capable is not None and capable() else torch.float32


def seed_everything(*parts: int | str) -> None:
    """Seed every generator from these parts alone: a step's randomness depends on (seed, step), on no history."""
    number = derived_seed(*parts)
    random.seed(number)
    numpy.random.seed(number % 2**32)
    torch.manual_seed(number)


def derived_seed(*parts: int | str) -> int:
    """A 63-bit number that depends on all parts."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def load_tokenizer(folder: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder. EngineError when it cannot be read."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except LOAD_ERRORS as error:
        raise EngineError(f"the tokenizer in {folder} cannot be loaded: {first_line(error)}") from None
    return cast(PreTrainedTokenizerBase, tokenizer)


def load_base(ref: ModelRef, *, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """A causal language model without dropout; the adapter of ``ref`` is merged in. EngineError if unreadable."""
    model = load_model(AutoModelForCausalLM, ref.path, read_as(ref, dtype))
    if ref.adapter:
        model = _merge_adapter(model, ref.adapter)
    return without_dropout(moved(model, dtype, device))


def read_as(ref: ModelRef, dtype: torch.dtype) -> torch.dtype:
    """The number format to read a model in that is wanted in another: fp32 where rounding it is ours to do."""
    check_folder(Path(ref.path))
    try:
        return torch.float32 if ref.adapter or is_finer_than_bf16(ref.path) else dtype
    except LOAD_ERRORS as error:
        raise EngineError(f"the model in {ref.path} cannot be loaded: {first_line(error)}") from None


def load_reward(ref: ModelRef, *, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """A reward model with one score in fp32. EngineError unless its head has one output and is called ``score``."""
    if ref.adapter and not is_score_adapter(ref.adapter):
        raise EngineError(f"the adapter in {ref.adapter} is not a reward model's: it was not trained to score")
    if ref.adapter:
        model = _merge_adapter(new_reward_model(ModelRef(ref.path), torch.float32, pad_id=0, seed=0), ref.adapter)
    else:
        model = load_model(AutoModelForSequenceClassification, ref.path, torch.float32)
    if model.config.num_labels != 1:
        raise EngineError(f"the reward model in {ref.path} has {model.config.num_labels} outputs; it must have one")
    if not isinstance(getattr(model, "score", None), nn.Linear):
        kind = model.config.model_type
        raise EngineError(
            f"the reward model in {ref.path} is of type {kind}, whose head is not one linear layer called score"
        )
    return without_dropout(moved_but_head(model, dtype, device))


def moved(model: PreTrainedModel, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """The model's weights in a number format, rounded as :mod:`rounding` says, on a device."""
    narrow(model, dtype)
    return nn.Module.to(model, device=device)


def moved_but_head(model: PreTrainedModel, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """A model loaded in fp32, moved, with its score head in fp32 as it was: rounding that would change every score."""
    head = cast(nn.Linear, model.score)
    weights = {name: item.clone() for name, item in head.state_dict().items()}
    model = moved(model, dtype, device)
    head.float().load_state_dict(weights)
    return model


def new_reward_model(base: ModelRef, dtype: torch.dtype, *, pad_id: int, seed: int) -> PreTrainedModel:
    """A base with a score head in fp32: its own where it is a reward model, else a fresh one, std 1/sqrt(H + 1).

    A reward model is a sequence classifier with one output, or the adapter of one on its base. EngineError for a
    classifier with other than one output, or a model that cannot carry a head called ``score``.
    """
    is_scorer, continued = is_classifier(base.path), is_score_adapter(base.adapter)
    has_head = is_scorer or continued
    kept = torch.float32 if has_head else dtype
    new_head: dict[str, Any] = {} if is_scorer else {"num_labels": 1}
    model = load_model(AutoModelForSequenceClassification, base.path, kept, **new_head)
    if continued:
        model = _merge_adapter(model, base.adapter)
    elif base.adapter and has_head:
        raise EngineError(f"the adapter in {base.adapter} is no reward model's and does not fit a classifier")
    elif base.adapter:
        policy = load_base(base, dtype=dtype, device=torch.device("cpu"))
        model.base_model.load_state_dict(policy.base_model.state_dict())
    head = getattr(model, "score", None)
    if not isinstance(head, nn.Linear):
        raise EngineError(f"a model of type {model.config.model_type} cannot carry a score head: it has another head")
    model.config.pad_token_id = pad_id
    if has_head:
        return without_dropout(moved_but_head(model, dtype, model.device))
    head.float()
    hidden = head.weight.shape[1]
    generator = torch.Generator().manual_seed(derived_seed(seed, "score head"))
    with torch.no_grad():
        head.weight.copy_(torch.randn(1, hidden, generator=generator) / math.sqrt(hidden + 1))
        if head.bias is not None:
            head.bias.zero_()
    return without_dropout(model)


def is_classifier(folder: str) -> bool:
    """Whether the folder holds a sequence classifier, whose head is a score. EngineError unless it has one output."""
    check_folder(Path(folder))
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except LOAD_ERRORS as error:
        raise EngineError(f"the model in {folder} cannot be loaded: {first_line(error)}") from None
    if not any(name.endswith("ForSequenceClassification") for name in config.architectures or ()):
        return False
    if config.num_labels != 1:
        raise EngineError(f"the classifier in {folder} has {config.num_labels} outputs; a reward model has one")
    return True


def is_score_adapter(folder: str) -> bool:
    """Whether an adapter folder ("" for none) is a reward model's, with its head in it."""
    try:
        content = json.loads((Path(folder) / "adapter_config.json").read_text(encoding="utf-8")) if folder else {}
    except (OSError, ValueError):
        return False  # putting the adapter on its base will say what is wrong
    return isinstance(content, dict) and content.get("task_type") == TaskType.SEQ_CLS.value


def load_model(auto: Any, folder: str, dtype: torch.dtype, **options: Any) -> PreTrainedModel:
    """A model as it lies in a folder. EngineError for files that are missing, damaged or lack weights of the model."""
    check_folder(Path(folder))
    try:
        model, told = auto.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    except LOAD_ERRORS as error:
        raise EngineError(f"the model in {folder} cannot be loaded: {first_line(error)}") from None
    check_whole(model, told, folder, new_head=bool(options))
    model.config.use_cache = False
    model.eval()
    return cast(PreTrainedModel, model)


def check_whole(model: PreTrainedModel, told: dict[str, Any], place: str, *, new_head: bool = False) -> None:
    """EngineError when weights of the model were not in its files: transformers fills them with random numbers.

    ``told`` is what from_pretrained says of its loading. Outside the backbone weights may lack for a ``new_head``.
    """
    backbone = f"{model.base_model_prefix}."
    lacking = sorted(name for name in told["missing_keys"] if not new_head or name.startswith(backbone))
    if lacking:
        raise EngineError(f"the model in {place} lacks {len(lacking)} of its weights, {lacking[0]} among them")


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
    """EngineError when the tokenizer writes ids that the model has no embedding for, or has no end token.

    Added tokens beyond the embeddings are let pass unless a plain exchange needs them: Gemma 3 has one for images.
    """
    prompt_ids, response_ids = render(tokenizer, [{"role": "user", "content": "Hello!"}], "Hi.")
    plain = set(tokenizer.get_vocab().values()) - set(tokenizer.added_tokens_decoder)
    embeddings = cast(nn.Embedding, model.get_input_embeddings()).num_embeddings
    if max(*plain, *prompt_ids, *response_ids) >= embeddings:
        raise EngineError("the tokenizer has more tokens than the model has embeddings; they do not belong together")


def check_folder(folder: Path) -> None:
    """EngineError unless the folder holds a config and safetensors; pickles alone are refused by name."""
    if not (folder / "config.json").is_file():
        raise EngineError(f"{folder} is not a model folder: it has no config.json")
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(item.name for item in folder.iterdir() if item.suffix in PICKLES)
    if pickles:
        raise EngineError(f"{folder} holds {pickles[0]}, a pickle, which can run code; convert it to safetensors")
    raise EngineError(f"{folder} holds no safetensors")


def _merge_adapter(model: PreTrainedModel, adapter: str) -> PreTrainedModel:
    """The fp32 model with an adapter's weights (and its score head) merged in. EngineError when it lacks any."""
    file = Path(adapter) / "adapter_model.safetensors"
    if not file.is_file():
        raise EngineError(f"{adapter} holds no adapter_model.safetensors")
    try:
        peft = PeftModel.from_pretrained(model, adapter)
        with safe_open(file, "pt") as found:
            lacking = sorted(set(get_peft_model_state_dict(peft, save_embedding_layers=False)) - set(found.keys()))
    except LOAD_ERRORS as error:
        raise EngineError(f"the adapter in {adapter} cannot be put on its base: {first_line(error)}") from None
    if lacking:  # PEFT would leave random numbers in their places
        raise EngineError(f"the adapter in {adapter} lacks {len(lacking)} of its weights, {lacking[0]} among them")
    return cast(PreTrainedModel, peft.merge_and_unload())


def without_dropout(model: PreTrainedModel) -> PreTrainedModel:
    """Every dropout set to 0, in modules and in the config that attention reads at run time."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in ("attention_dropout", "dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    for name, value in list(vars(model.config).items()):
        if ("dropout" in name or name.endswith("pdrop")) and isinstance(value, float):
            setattr(model.config, name, 0.0)
    return model


def add_lora(
    core: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, shape: LoraShape, *, reward: bool, seed: int
) -> Trainee:
    """Adapters in fp32 on a frozen model; a reward model's score head is trained and saved with them."""
    targets = shape.targets.strip()
    named: str | list[str] = targets
    if targets != "all-linear":
        named = [name.strip() for name in targets.split(",") if name.strip()]
    lora = LoraConfig(
        r=shape.rank,
        lora_alpha=shape.alpha,
        lora_dropout=shape.dropout,
        target_modules=named,
        task_type=TaskType.SEQ_CLS if reward else TaskType.CAUSAL_LM,
        modules_to_save=["score"] if reward else None,
    )
    seed_everything(seed, "adapter")
    try:
        peft = get_peft_model(core, lora)
    except ValueError as error:
        raise EngineError(f"the adapter does not fit the model: {first_line(error)}") from None
    for parameter in peft.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    peft.eval()
    if shape.dropout:
        drop_in_training_passes(peft)
    fuse(peft)
    inner = cast(PreTrainedModel, peft.get_base_model())
    return Trainee(core=inner, tokenizer=tokenizer, device=next(core.parameters()).device, peft=peft)


def train_everything(
    core: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, products: torch.dtype = torch.float32
) -> Trainee:
    """Every weight trainable, in fp32 as the optimiser's steps are finer than bf16; ``products`` may be narrower."""
    moved(core, torch.float32, core.device).requires_grad_(True)
    multiply_in(core, products)
    return Trainee(core=core, tokenizer=tokenizer, device=next(core.parameters()).device)


def load_trainee(spec: Spec, config: TrainingConfig) -> Trainee:
    """The base of a spec, ready to be trained as its config says: tokenizer, adapters or every weight."""
    base = base_of(spec)
    device = loading_device(config)
    tokenizer = load_tokenizer(base.path)
    core = load_base(base, dtype=weights_dtype(config), device=device)
    check_tokenizer(tokenizer, core)
    return prepare(core, tokenizer, config, reward=False, seed=spec.seed)


def load_reward_trainee(spec: Spec, config: TrainingConfig) -> Trainee:
    """The base of a spec with a fresh score head, ready to be trained."""
    base = base_of(spec)
    device = loading_device(config)
    tokenizer = reward_tokenizer(load_tokenizer(base.path))
    core = new_reward_model(base, weights_dtype(config), pad_id=scoring_pad_id(tokenizer), seed=spec.seed)
    check_tokenizer(tokenizer, core)
    return prepare(nn.Module.to(core, device=device), tokenizer, config, reward=True, seed=spec.seed)


def weights_dtype(config: CommonConfig) -> torch.dtype:
    """Number format to read a base in: weights that learn are fp32 from the start, or they would begin rounded."""
    return pick_dtype(config.precision, pick_device()) if config.lora else torch.float32


def loading_device(config: TrainingConfig) -> torch.device:
    """Where a model is read to: one whose weights are to be sharded may not fit the GPU."""
    return torch.device("cpu") if config.shard else pick_device()


def base_of(spec: Spec) -> ModelRef:
    """The base model of a spec. EngineError when it names none."""
    if "base" not in spec.models:
        raise EngineError("the spec names no base model")
    return spec.models["base"]


def prepare(
    core: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: TrainingConfig, *, reward: bool, seed: int
) -> Trainee:
    """Adapters or every weight, and gradient checkpointing, as the config says. EngineError for a long max_length."""
    context = getattr(core.config, "max_position_embeddings", None)
    if context and config.max_length > context:
        raise EngineError(f"max_length is {config.max_length}, but the model reads at most {context} tokens")
    if config.lora and config.shard:
        raise EngineError("shard is for full training: adapters leave the weights as they are; switch one of them off")
    if config.lora:
        shape = LoraShape(config.lora_rank, config.lora_alpha, config.lora_targets, config.lora_dropout)
        trainee = add_lora(core, tokenizer, shape, reward=reward, seed=seed)
    else:
        trainee = train_everything(core, tokenizer, pick_dtype(config.precision, pick_device()))
    if config.gradient_checkpointing:
        save_memory(trainee)
    if config.shard:
        sharding.shard(trainee.core)
        trainee.device = pick_device()
    return trainee


def save_memory(trainee: Trainee) -> None:
    """Gradient checkpointing: recompute activations in the backward pass."""
    core: Any = trainee.core
    core.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    core.enable_input_require_grads()
    trainee.core.train()  # no dropout asks for this, so it only switches the recomputation on


def logits_of(model: PreTrainedModel, hidden_NH: Tensor) -> Tensor:
    """Logits in fp32 as the model's own forward computes them, (N, H) -> (N, V): output head, soft cap and scale."""
    head = cast(nn.Module, cast(Any, model).get_output_embeddings())
    logits_NV = cast(Tensor, head(hidden_NH)).float()
    config = model.config
    # Each of these is a pass over N × V numbers, so none is made for nothing.
    if (scale := getattr(config, "logit_scale", None) or 1.0) != 1.0:  # Cohere
        logits_NV = logits_NV * scale
    if (scaling := getattr(config, "logits_scaling", None) or 1.0) != 1.0:  # Granite
        logits_NV = logits_NV / scaling
    if cap := getattr(config, "final_logit_softcapping", None):  # Gemma 2
        logits_NV = torch.tanh(logits_NV / cap) * cap
    return logits_NV


def head_is_frozen(model: PreTrainedModel) -> bool:
    """Whether nothing in the output head learns, so that its gradient is that of the hidden states alone."""
    head = cast(nn.Module, cast(Any, model).get_output_embeddings())
    return not any(item.requires_grad for item in head.parameters())


def reward_tokenizer(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer with a pad token that is not its end token, as sequence classification finds the end by it."""
    tokenizer.pad_token_id = scoring_pad_id(tokenizer)
    return tokenizer


def first_line(error: BaseException) -> str:
    """The first line of an error's message, for a sentence."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
