"""What a PPO run needs: prompts, an optimiser, and the roles: who gets an adapter on the shared backbone, and who a
model of its own.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from training.engine.backbone import multiply_in
from training.engine.chat import end_token_id
from training.engine.config import PPOConfig
from training.engine.errors import EngineError
from training.engine.events import EventWriter
from training.engine.generate import stop_token_ids
from training.engine.models import (
    LoraShape,
    Trainee,
    add_lora,
    check_tokenizer,
    load_base,
    load_reward,
    load_tokenizer,
    pick_device,
    pick_dtype,
    save_memory,
    train_everything,
    weights_dtype,
)
from training.engine.ppo_models import POLICY, REFERENCE, REWARD, VALUE, PPOModels, Reader
from training.engine.ppo_rollout import read_prompts
from training.engine.ppo_state import PPO
from training.engine.run_dir import ModelRef, RunDir, Spec
from training.engine.sample import prompt_room
from training.engine.saving import folder_manifest

ADAM_EPSILON = 1e-5  # detail 13
MANY_CUT = 0.05


def prepare(run_dir: RunDir, spec: Spec, config: PPOConfig, events: EventWriter) -> PPO:
    """Load models and prompts, set up the optimiser, and tell what will run. EngineError for anything missing."""
    if config.adaptive_beta and 0 < config.max_kl <= config.kl_target:
        raise EngineError(f"kl_target ({config.kl_target:g}) must be below max_kl ({config.max_kl:g})")
    models = load_models(spec, config)
    trainee = models.trainee
    room = min(
        prompt_room(model.config, max_length=config.max_length, max_new_tokens=config.max_new_tokens)
        for model in models.reading_ids()
    )
    train = read_prompts(run_dir, "train", trainee.tokenizer, room)
    held_out = read_prompts(run_dir, "eval", trainee.tokenizer, room)[: config.eval_prompts]
    if not train:
        raise EngineError("there is no prompt to train on: the data file 'train' is missing or empty")
    statistics = reward_statistics(spec.models["reward"])
    groups = [
        {"params": list(models.policy_parameters().values()), "peak_lr": config.learning_rate},
        {"params": list(models.value_parameters().values()), "peak_lr": config.value_learning_rate},
    ]

    def tell(name: str, done: int, total: int) -> None:
        events.write("phase", name=name, done=done, total=total)

    ppo = PPO(
        spec=spec,
        config=config,
        models=models,
        optimizer=torch.optim.Adam(groups, eps=ADAM_EPSILON, fused=trainee.device.type == "cuda" or None),
        train=train,
        held_out=held_out or train[: config.eval_prompts],
        stop_ids=stop_token_ids(trainee.core, trainee.tokenizer),
        score_mean=statistics[0] if statistics else 0.0,
        score_std=statistics[1] if statistics else 1.0,
        beta=config.beta,
        tell=tell,
    )
    _announce(ppo, events, held_out=bool(held_out), normalised=statistics is not None)
    return ppo


def _announce(ppo: PPO, events: EventWriter, *, held_out: bool, normalised: bool) -> None:
    """Tell what will run, and what about it may surprise."""
    events.write(
        "start",
        total_steps=ppo.config.iterations,
        device=str(ppo.models.trainee.device),
        parameters=sum(item.numel() for item in ppo.models.trainee.core.parameters()),
        trainable_parameters=sum(item.numel() for item in ppo.models.policy_parameters().values()),
        train_rows=len(ppo.train),
        eval_rows=len(ppo.held_out),
    )
    prompts, cut = len(ppo.train), sum(prompt.cut for prompt in ppo.train)
    warnings = {
        "No prompt is held out: the evaluation uses training prompts.": not held_out,
        f"{cut} of {prompts} prompts are too long and lost their beginning.": cut > MANY_CUT * prompts,
        "The reward model has no stored mean and std: its scores are used as they are.": not normalised,
        "The reward model has another tokenizer or chat template: it reads answers as text.": bool(ppo.models.reader),
    }
    for message, holds in warnings.items():
        if holds:
            events.write("warning", message=message)


def load_models(spec: Spec, config: PPOConfig) -> PPOModels:
    """Load every role. EngineError when a model is missing or unreadable, or cannot play its role."""
    for name in ("base", "reward"):
        if name not in spec.models:
            raise EngineError(f"PPO needs a {name} model and the spec names none")
    base, reward = spec.models["base"], spec.models["reward"]
    device = pick_device()
    dtype = pick_dtype(config.precision, device)
    tokenizer = load_tokenizer(base.path)
    reward_tokenizer = load_tokenizer(reward.adapter or reward.path)
    same_ids = reads_same_ids(tokenizer, reward_tokenizer)
    if config.value_backbone == "own" and not same_ids:
        raise EngineError(
            "the reward model has another tokenizer, so no value model can start from it; set value_backbone to shared"
        )

    core = load_base(base, dtype=weights_dtype(config), device=device)
    check_tokenizer(tokenizer, core)
    if config.lora:
        shape = LoraShape(config.lora_rank, config.lora_alpha, config.lora_targets)
        trainee = add_lora(core, tokenizer, shape, reward=False, seed=spec.seed)
    else:
        trainee = train_everything(core, tokenizer, dtype)

    reward_head = _reward_adapter(trainee, base, reward)
    reward_model = None
    if reward_head is None:
        # A merged model is kept in fp32: bf16 would round away much of what its adapter changed.
        reward_model = load_reward(reward, dtype=dtype if config.precision == "bf16" else torch.float32, device=device)
        reward_model.requires_grad_(False)
        reward_head = cast(nn.Linear, reward_model.score)
    reader = None
    if not same_ids or reward_tokenizer.chat_template != tokenizer.chat_template:
        limit = getattr((reward_model or trainee.core).config, "max_position_embeddings", None)
        reader = Reader(reward_tokenizer, min(config.max_length, limit or config.max_length))
    value_head, value_model = _value_function(trainee, reward, reward_head, reward_model, config, dtype)
    reference_model = _reference(trainee, spec, config, dtype)
    if config.gradient_checkpointing:
        save_memory(trainee)
    return PPOModels(
        trainee=trainee,
        value_head=value_head,
        value_model=value_model,
        reward_model=reward_model,
        reward_head=reward_head,
        reference_model=reference_model,
        reference_moves=config.ema_rate > 0,
        temperature=config.temperature,
        reader=reader,
    )


def _reward_adapter(trainee: Trainee, base: ModelRef, reward: ModelRef) -> nn.Linear | None:
    """Put the reward model's adapter beside the policy's, return its head; None when it is no adapter of this base."""
    same_base = Path(reward.path).resolve() == Path(base.path).resolve() and not base.adapter
    if trainee.peft is None or not reward.adapter or not same_base:
        return None
    weights = _read_adapter(reward.adapter)
    head = {name: item for name, item in weights.items() if ".score." in name}
    if len(head) != 1 or next(iter(head.values())).shape[0] != 1:
        raise EngineError(
            f"the reward model in {reward.adapter} must have one linear head called score, with one output"
        )
    add_adapter_like(trainee.peft, REWARD, reward.adapter, {n: w for n, w in weights.items() if n not in head})
    weight = next(iter(head.values())).float()
    layer = nn.Linear(weight.shape[1], 1, bias=False, device=trainee.device)
    layer.weight.data.copy_(weight)
    return layer.requires_grad_(False)


def _read_adapter(folder: str) -> dict[str, Tensor]:
    try:
        return load_file(str(Path(folder) / "adapter_model.safetensors"))
    except (OSError, SafetensorError) as error:
        raise EngineError(f"the adapter in {folder} cannot be read: {error}") from None


def add_adapter_like(peft: PeftModel, name: str, folder: str, weights: dict[str, Tensor]) -> None:
    """Add an adapter of the shape and weights saved in `folder`, in fp32, frozen. EngineError when they do not fit."""
    lora = LoraConfig.from_pretrained(folder)
    lora.task_type, lora.modules_to_save, lora.inference_mode, lora.lora_dropout = "CAUSAL_LM", None, False, 0.0
    try:
        peft.add_adapter(name, lora)
        outcome: Any = set_peft_model_state_dict(peft, weights, adapter_name=name)
    except (ValueError, RuntimeError) as error:
        last = str(error).strip().splitlines()[-1].strip()
        raise EngineError(f"the adapter in {folder} does not fit this base: {last}") from None
    missing = [item for item in outcome.missing_keys if f".{name}." in item]
    if missing or outcome.unexpected_keys:
        raise EngineError(f"the adapter in {folder} does not fit this base: {[*missing, *outcome.unexpected_keys][0]}")
    for key, item in peft.named_parameters():
        if f".{name}." in key:
            item.data = item.data.float()
            item.requires_grad_(False)


def _value_function(
    trainee: Trainee,
    reward: ModelRef,
    reward_head: nn.Linear,
    reward_model: PreTrainedModel | None,
    config: PPOConfig,
    dtype: torch.dtype,
) -> tuple[nn.Linear, PreTrainedModel | None]:
    """The value head, and the value's own model where it has one (detail 14).

    It starts as the reward model where it can, in the units of the rewards: its scores as they are normalised. On the
    policy's backbone it starts as 0: the reward model's head reads another adapter's hidden states.
    """
    head = nn.Linear(reward_head.weight.shape[1], 1, bias=True, device=trainee.device)
    if config.value_backbone == "shared":
        outputs = cast(Any, trainee.core).get_output_embeddings()
        hidden = outputs.weight.shape[1]
        head = nn.Linear(hidden, 1, bias=True, device=trainee.device)
        nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
        return head, None
    mean, std = reward_statistics(reward) or (0.0, 1.0)
    # (w·h + b − mean) / std
    bias = 0.0 if reward_head.bias is None else float(reward_head.bias)
    head.weight.data.copy_(reward_head.weight / std)
    nn.init.constant_(head.bias, (bias - mean) / std)
    if reward_model is None:
        assert trainee.peft is not None
        weights = {n: w for n, w in _read_adapter(reward.adapter).items() if ".score." not in n}
        add_adapter_like(trainee.peft, VALUE, reward.adapter, weights)
        return head, None
    value_model = load_reward(reward, dtype=torch.float32, device=trainee.device)
    value_model.score = nn.Identity()  # its head is the trained one above
    value_model.requires_grad_(True)
    return head, multiply_in(value_model, dtype)


def _reference(trainee: Trainee, spec: Spec, config: PPOConfig, dtype: torch.dtype) -> PreTrainedModel | None:
    """A model of its own where adapters off will not do: another version, full training. None otherwise."""
    if "reference" in spec.models or trainee.peft is None:
        if config.ema_rate > 0 and trainee.peft is not None:
            raise EngineError("a reference model of its own cannot follow an adapter: set ema_rate to 0")
        ref = spec.models.get("reference", spec.models["base"])
        # A moving average in bf16 would stand still: its steps are below the rounding.
        kept = torch.float32 if config.ema_rate > 0 or trainee.peft is None else dtype
        model = load_base(ref, dtype=kept, device=trainee.device).requires_grad_(False)
        check_tokenizer(trainee.tokenizer, model)
        return model if trainee.peft else multiply_in(model, dtype)  # as the policy multiplies
    if config.ema_rate > 0:
        trainee.peft.add_adapter(REFERENCE, trainee.peft.peft_config[POLICY])
        policy = dict(trainee.peft.named_parameters())
        with torch.no_grad():
            for name, item in policy.items():
                if f".{REFERENCE}." in name:
                    item.data = policy[name.replace(f".{REFERENCE}.", f".{POLICY}.")].data.clone()
                    item.requires_grad_(False)
    return None


def reads_same_ids(tokenizer: PreTrainedTokenizerBase, other: PreTrainedTokenizerBase) -> bool:
    """Whether the ids of one tokenizer, and the end of an answer, mean the same in the other."""
    return other.get_vocab() == tokenizer.get_vocab() and end_token_id(other) == end_token_id(tokenizer)


def reward_statistics(reward: ModelRef) -> tuple[float, float] | None:
    """Mean and std that the reward model was stored with; None when no manifest in or beside its folder tells them."""
    stored = folder_manifest(reward.adapter or reward.path).get("reward")
    try:
        mean, std = float(stored["mean"]), float(stored["std"])  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        return None
    return (mean, std) if math.isfinite(mean) and math.isfinite(std) and std > 0 else None
