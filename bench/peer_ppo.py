"""TRL 1.12's experimental PPO, in an environment of its own (peer_environment): TRL has shipped none since 1.13.

Its trainer holds policy, value and reward apart; the reference is the policy with adapters off. By default it trains
the value model in full, which is how its API takes one. With the best flags the value model gets adapters too (peft's
inject_adapter_in_model, which its trainer takes without noticing).
"""

from __future__ import annotations

import contextlib
from typing import Any, cast

import torch
from datasets import Dataset
from peft import LoraConfig, TaskType, inject_adapter_in_model
from transformers import PreTrainedModel, TrainerCallback
from trl.experimental.ppo import PPOConfig, PPOTrainer
from trl.experimental.ppo.ppo_trainer import forward, get_reward, selective_log_softmax

from bench.data import Row, read_rows
from bench.ours import ALPHA, RANK, put_weights
from bench.ours_ppo import EPOCHS, LEARNING_RATE, MINIBATCHES, NEW_TOKENS
from bench.turns import ArmSpec, Finished, Turns
from training.engine.models import load_base, load_reward, load_tokenizer, reward_tokenizer
from training.engine.run_dir import ModelRef


class OneIterationATurn(TrainerCallback):
    """Holds the trainer after each iteration until it is this arm's turn again."""

    def __init__(self, turns: Turns, tokens: int) -> None:
        self.turns, self.tokens = turns, tokens

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.turns.ready()
        self.turns.wait()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.turns.done(self.tokens)
        self.turns.wait()


def ppo_arm(spec: ArmSpec, turns: Turns) -> None:
    """One iteration of PPOTrainer a turn."""
    rows = read_rows(spec.data)
    new_tokens = int(spec.options.get("new_tokens", NEW_TOKENS))
    trainer = make_trainer(spec, rows, new_tokens)
    policy = trainer.model.policy
    weights = {name: item for name, item in policy.named_parameters() if item.requires_grad}
    put_weights(weights, spec.adapter)
    if spec.proof:
        prove(trainer, rows, weights, turns)
    tokens = sum(len(row.prompt_ids) + new_tokens for row in rows)
    trainer.add_callback(OneIterationATurn(turns, tokens))
    with contextlib.suppress(Finished):
        trainer.train()


def make_trainer(spec: ArmSpec, rows: list[Row], new_tokens: int) -> Any:
    """The trainer on these prompts, with as many optimiser steps an iteration as ours."""
    device = torch.device("cpu")
    dtype = torch.bfloat16 if spec.precision == "bf16" else torch.float32
    tokenizer = reward_tokenizer(load_tokenizer(spec.model))
    tokenizer.padding_side = "left"
    # Our heads stay in fp32; TRL wants models of one number format.
    reward, value = (
        cast(Any, load_reward(ModelRef(spec.model, spec.reward), dtype=dtype, device=device)).to(dtype)
        for _ in range(2)
    )
    value.requires_grad_(True)
    if spec.options.get("best"):
        give_adapters(value)
    prompts = Dataset.from_list([{"input_ids": row.prompt_ids} for row in rows])
    return PPOTrainer(
        args=PPOConfig(
            output_dir=spec.folder,
            learning_rate=LEARNING_RATE,
            per_device_train_batch_size=len(rows),
            gradient_accumulation_steps=1,
            num_mini_batches=MINIBATCHES,
            num_ppo_epochs=EPOCHS,
            total_episodes=100_000 * len(rows),
            response_length=new_tokens,
            temperature=1.0,
            num_sample_generations=0,
            gradient_checkpointing=False,
            bf16=spec.precision == "bf16",
            use_cpu=spec.device == "cpu",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        processing_class=tokenizer,
        model=load_base(ModelRef(spec.model), dtype=dtype, device=device),
        ref_model=None,
        reward_model=reward,
        value_model=value,
        train_dataset=prompts,
        eval_dataset=prompts,
        peft_config=LoraConfig(
            r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules="all-linear", task_type=TaskType.CAUSAL_LM
        ),
    )


def give_adapters(value: PreTrainedModel) -> None:
    """Train adapters and the head of the value model instead of all of it."""
    names = sorted({name.split(".")[-1] for name, part in value.base_model.named_modules() if is_linear(part)})
    inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=names), value)
    for name, item in value.named_parameters():
        item.requires_grad_("lora_" in name or name.startswith("score."))


def is_linear(part: torch.nn.Module) -> bool:
    return isinstance(part, torch.nn.Linear)


def prove(trainer: Any, rows: list[Row], weights: dict[str, Any], turns: Turns) -> None:
    """The same as in ours_ppo, by TRL's own passes over left-padded prompts and right-padded answers."""
    pad = trainer.processing_class.pad_token_id
    context, longest = max(len(row.prompt_ids) for row in rows), max(len(row.chosen_ids) for row in rows)
    ids = torch.tensor(
        [
            [pad] * (context - len(row.prompt_ids)) + row.prompt_ids + row.chosen_ids
            + [pad] * (longest - len(row.chosen_ids))
            for row in rows
        ],
        device=trainer.accelerator.device,
    )  # fmt: skip
    is_response = torch.arange(longest)[None] < torch.tensor([len(row.chosen_ids) for row in rows])[:, None]
    is_response = is_response.to(ids.device)

    def logprobs() -> torch.Tensor:
        output = forward(trainer.model.policy, ids, pad)
        found: torch.Tensor = selective_log_softmax(output.logits[:, context - 1 : -1], ids[:, context:])
        return found[is_response]

    policy = logprobs()
    loss = -policy.mean()
    loss.backward()  # type: ignore[no-untyped-call]
    found = {name: item.grad for name, item in weights.items() if item.grad is not None}
    with torch.no_grad(), trainer.null_ref_context():
        found["reference's log-probs"] = logprobs()
    with torch.no_grad():
        found["scores"] = get_reward(trainer.reward_model, ids, pad, context)[1]
    turns.prove(float(loss), {**found, "policy's log-probs": policy})
    trainer.model.zero_grad(set_to_none=True)
