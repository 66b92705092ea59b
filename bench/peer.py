"""TRL 1.16's arms of DPO, reward model and SFT: its trainers' own loops, stopped between steps by a callback.

The trainers get the ids as they are, the same adapter and targets, the same order. "Best flags" are what TRL offers for
this work on this machine: reference log-probs computed beforehand, a base that is loaded in the precision of the run
(by default TRL keeps fp32 weights and casts them in every matmul), logging once in many steps, packing for SFT.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, TaskType
from transformers import TrainerCallback
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import RewardTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from bench.data import Row, batches_of, read_rows
from bench.ours import ALPHA, BETA, CENTRING, MANY_STEPS, RANK, SHARED, put_weights
from bench.turns import ArmSpec, Finished, Turns
from training.engine.models import load_base, load_tokenizer, new_reward_model, reward_tokenizer
from training.engine.run_dir import ModelRef

PACK_LENGTH = 512


class OneStepATurn(TrainerCallback):
    """Holds the trainer before each step until it is this arm's turn. Fetching the next batch belongs to the turn."""

    def __init__(self, turns: Turns, tokens_of_steps: Sequence[int], facts: dict[str, float]) -> None:
        self.turns, self.tokens_of_steps, self.facts = turns, tokens_of_steps, facts

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            self.turns.ready(**self.facts)
        else:
            self.turns.done(self.tokens_of_steps[(state.global_step - 1) % len(self.tokens_of_steps)])
        self.turns.wait()


class PeerDPO(DPOTrainer):
    """TRL's trainer on ids instead of text, which it cannot be given; and a watch on its reference pass."""

    reference_seconds = 0.0

    def _prepare_dataset(self, dataset: Dataset, *args: Any) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, *args: Any) -> Dataset:
        began = time.perf_counter()
        found = super()._precompute_ref_logps(*args)
        self.reference_seconds = time.perf_counter() - began
        return found


def dpo_arm(spec: ArmSpec, turns: Turns) -> None:
    """One step of DPOTrainer a turn."""
    rows = read_rows(spec.data)
    options = DPOConfig(
        **common(spec), beta=BETA, precompute_ref_log_probs=best(spec), max_length=None, disable_dropout=True
    )
    trainer = PeerDPO(
        model=load_base(ModelRef(spec.model), dtype=dtype_of(spec), device=torch.device("cpu")),
        args=options,
        peft_config=lora(TaskType.CAUSAL_LM),
        train_dataset=Dataset.from_list([vars(row) for row in rows]),
        processing_class=load_tokenizer(spec.model),
    )
    facts = {"reference_seconds": trainer.reference_seconds}
    drive(
        trainer, spec, turns, [sum(row.pair_tokens for row in batch) for batch in batches_of(rows, spec.batch)], facts
    )


def reward_arm(spec: ArmSpec, turns: Turns) -> None:
    """One step of RewardTrainer a turn."""
    rows = read_rows(spec.data)
    tokenizer = reward_tokenizer(load_tokenizer(spec.model))
    pad_id: Any = tokenizer.pad_token_id
    trainer = RewardTrainer(
        model=new_reward_model(ModelRef(spec.model), dtype_of(spec), pad_id=pad_id, seed=0),
        args=RewardConfig(**common(spec), center_rewards_coefficient=CENTRING, max_length=None, disable_dropout=True),
        peft_config=lora(TaskType.SEQ_CLS),
        train_dataset=Dataset.from_list([as_sequences(row) for row in rows]),
        processing_class=tokenizer,
    )
    drive(trainer, spec, turns, [sum(row.pair_tokens for row in batch) for batch in batches_of(rows, spec.batch)], {})


def sft_arm(spec: ArmSpec, turns: Turns) -> None:
    """One step of SFTTrainer a turn: padded batches by default, rows packed to a length with its best flags."""
    rows = read_rows(spec.data)
    packing = spec.options.get("packed_rows", 0)
    count = packing or spec.batch
    trainer = SFTTrainer(
        model=load_base(ModelRef(spec.model), dtype=dtype_of(spec), device=torch.device("cpu")),
        args=SFTConfig(
            **{**common(spec), "per_device_train_batch_size": count},
            completion_only_loss=True,
            packing=bool(packing),
            max_length=pack_length(rows) if packing else 1_000_000,
            dataloader_drop_last=not packing,
        ),
        peft_config=lora(TaskType.CAUSAL_LM),
        train_dataset=Dataset.from_list([as_demonstration(row) for row in rows]),
        processing_class=load_tokenizer(spec.model),
    )
    prepared: Any = trainer.train_dataset
    lengths = [len(ids) for ids in prepared["input_ids"]]
    steps = [sum(lengths[start : start + count]) for start in range(0, len(lengths), count)]
    drive(trainer, spec, turns, steps, {})


def pack_length(rows: Sequence[Row]) -> int:
    """512, or the next power of two where an example is longer: packing would cut it."""
    longest, length = max(row.chosen_tokens for row in rows), PACK_LENGTH
    while length < longest:
        length *= 2
    return length


def drive(trainer: Any, spec: ArmSpec, turns: Turns, tokens_of_steps: Sequence[int], facts: dict[str, float]) -> None:
    """Give the trainer the common adapter, prove, and let it train a step a turn."""
    parameters = {name: item for name, item in trainer.model.named_parameters() if item.requires_grad}
    put_weights(parameters, spec.adapter)
    if spec.proof:
        trainer.model.train()
        loss = loss_of_batch(trainer, parts_of(spec))
        turns.prove(loss, {name: item.grad for name, item in parameters.items() if item.grad is not None})
        trainer.model.zero_grad(set_to_none=True)
    trainer.add_callback(OneStepATurn(turns, tokens_of_steps, facts))
    with contextlib.suppress(Finished):
        trainer.train()


def loss_of_batch(trainer: Any, parts: int) -> float:
    """The loss of the first batch, a mean of equal parts, whose gradients are left behind."""
    total = 0.0
    for inputs in itertools.islice(trainer.get_train_dataloader(), parts):
        loss = trainer.compute_loss(trainer.model, dict(inputs)) / parts
        loss.backward()
        total += float(loss)
    return total


def parts_of(spec: ArmSpec) -> int:
    """In how many parts a batch goes through, for which gradients add up; where it does not fit as a whole."""
    return int(spec.options.get("parts", 1))


def common(spec: ArmSpec) -> dict[str, Any]:
    """Arguments of every trainer. TRL's defaults but for gradient checkpointing, which is off on both sides."""
    return {
        "output_dir": spec.folder,
        "learning_rate": SHARED["learning_rate"],
        "lr_scheduler_type": "constant",
        "max_grad_norm": SHARED["max_grad_norm"],
        "per_device_train_batch_size": spec.batch // parts_of(spec),
        "gradient_accumulation_steps": parts_of(spec),
        "max_steps": MANY_STEPS,
        "train_sampling_strategy": "sequential",
        "gradient_checkpointing": False,
        "bf16": spec.precision == "bf16",
        "use_cpu": spec.device == "cpu",
        "logging_steps": 1000 if best(spec) else 10,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def best(spec: ArmSpec) -> bool:
    return bool(spec.options.get("best"))


def dtype_of(spec: ArmSpec) -> torch.dtype:
    """Of the frozen weights: fp32 by TRL's default even in a bf16 run, the run's own with the best flags."""
    return torch.bfloat16 if best(spec) and spec.precision == "bf16" else torch.float32


def lora(task: TaskType) -> LoraConfig:
    return LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type=task,
        modules_to_save=["score"] if task == TaskType.SEQ_CLS else None,
    )


def as_sequences(row: Row) -> dict[str, list[int]]:
    return {"chosen_ids": row.prompt_ids + row.chosen_ids, "rejected_ids": row.prompt_ids + row.rejected_ids}


def as_demonstration(row: Row) -> dict[str, list[int]]:
    return {
        "input_ids": row.prompt_ids + row.chosen_ids,
        "completion_mask": [0] * len(row.prompt_ids) + [1] * len(row.chosen_ids),
    }
