"""The rows of the table: which arms do which work on which data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import data, flops, models, ours_ppo
from bench.data import Row as Ids
from bench.driver import Row
from bench.flops import Flops, Shape
from bench.levers import levers_of
from bench.ours import RANK
from bench.turns import ArmSpec
from training.engine.models import load_tokenizer

WORKS = ("dpo", "reward", "sft", "ppo", "sampling", "growth")
DATA = ("short", "long")
PRECISIONS = ("fp32", "bf16")
BATCH = 8
PARTS = 4  # of a batch, where TRL goes through it in parts
GROWTH = (1, 2, 4, 8)
TURNS = {"dpo": 5, "reward": 5, "sft": 5, "ppo": 3, "sampling": 3, "growth": 3}
# A turn of these is minutes of steady work, whose first seconds do not show.
NO_WARM_UP = ("sampling",)


@dataclass(frozen=True)
class Sizes:
    """How large the work is; smaller in the tests, larger on a GPU."""

    pairs: int = data.PAIRS
    long_prompt: int = data.LONG_PROMPT
    ppo_prompts: int = 16
    ppo_tokens: int = ours_ppo.NEW_TOKENS
    sampled_tokens: int = 128
    batches: tuple[int, ...] = (16, 64)  # of transformers' generate


@dataclass(frozen=True)
class Workshop:
    """Where everything lies that arms need."""

    name: str  # of the model
    base: str
    keep: Path  # models and adapters, kept between runs of the bench
    scratch: Path  # of this run of the bench
    pairs: Path
    device: str
    sizes: Sizes

    @property
    def adapters(self) -> Path:
        return self.keep / "adapters" / self.name

    def shape(self, base: str = "") -> Shape:
        return flops.shape_of(models.config_of(base or self.base), rank=RANK)

    def rows(self, kind: str) -> list[Ids]:
        rows = data.short_rows(self.pairs, load_tokenizer(self.base), self.sizes.pairs)
        return data.with_long_prompts(rows, self.sizes.long_prompt) if kind == "long" else rows

    def title(self, kind: str) -> str:
        return f"{self.sizes.long_prompt}-token prompts" if kind == "long" else f"first {self.sizes.pairs} pairs"

    def written(self, rows: list[Ids], name: str) -> str:
        path = self.scratch / f"{name}.jsonl"
        data.write_rows(rows, path)
        return str(path)

    def arm(self, name: str, side: str, work: str, data_file: str, precision: str, **more: Any) -> ArmSpec:
        """An arm's spec; its folder is numbered, so that no two arms of a run share one."""
        folder = self.scratch / f"arm-{len(list(self.scratch.glob('reserved-*')))}"
        (self.scratch / f"reserved-{folder.name}").touch()
        base = more.pop("model", self.base)
        work_of_weights = "reward" if work == "reward" else "policy"
        return ArmSpec(
            name=name,
            side=side,
            work=work,
            model=base,
            data=data_file,
            adapter=models.start_weights(base, work_of_weights, self.adapters),
            folder=str(folder),
            precision=precision,
            device=self.device,
            **more,
        )


def rows_of(work: str, shop: Workshop, kinds: list[str], precisions: list[str], turns: int) -> list[Row]:
    """The rows of one work, in the order they run. ``turns`` 0 means as many as suit the work."""
    turns = turns or TURNS[work]
    if work == "growth":
        return growth_rows(shop, precisions[0], turns)
    if work == "ppo":
        return [ppo_row(shop, precision, turns) for precision in precisions]
    if work == "sampling":
        return [sampling_row(shop, precision, turns) for precision in precisions]
    return [training_row(work, shop, kind, precision, turns) for kind in kinds for precision in precisions]


def training_row(work: str, shop: Workshop, kind: str, precision: str, turns: int) -> Row:
    """DPO, reward model or SFT: ours, ours without each lever, TRL at its defaults and with its best flags."""
    rows = shop.rows(kind)
    path = shop.written(rows, f"{work}-{kind}-{precision}")

    def arm(name: str, side: str, **more: Any) -> ArmSpec:
        return shop.arm(name, side, work, path, precision, batch=BATCH, **more)

    arms = [arm("ours", "ours")]
    arms += [arm(f"ours without {lever}", "ours", without=lever) for lever in levers_of(work)]
    arms.append(arm("TRL defaults", "trl"))
    if work == "sft":
        arms.append(arm("TRL best (8 packed rows)", "trl", options={"best": True, "packed_rows": 8}))
        arms.append(arm("TRL best (2 packed rows)", "trl", options={"best": True, "packed_rows": 2}))
    else:
        arms.append(arm("TRL best", "trl", options={"best": True}))
        if kind == "long":  # a whole batch of these takes TRL some 17 GiB in fp32
            in_parts, options = f"{PARTS} × {BATCH // PARTS} pairs", {"parts": PARTS}
            arms.append(arm(f"TRL defaults ({in_parts})", "trl", options=options))
            arms.append(arm(f"TRL best ({in_parts})", "trl", options={**options, "best": True}))
    count = {"dpo": flops.dpo, "reward": flops.reward, "sft": flops.sft}[work]
    batches = data.batches_of(rows, BATCH)
    tokens = sum(row.chosen_tokens if work == "sft" else row.pair_tokens for batch in batches for row in batch)
    return Row(
        work=work,
        data=shop.title(kind),
        precision=precision,
        arms=tuple(arms),
        turns=turns,
        warm_up=1,
        flops={"": sum_of(count(shop.shape(), batch) for batch in batches) * (1 / tokens)},
        proof_data=shop.written(rows[:BATCH], f"{work}-{kind}-{precision}-proof"),
    )


def ppo_row(shop: Workshop, precision: str, turns: int) -> Row:
    """A PPO iteration: ours with the value on the policy's backbone and on its own; TRL 1.12 twice."""
    rows = shop.rows("short")[: shop.sizes.ppo_prompts]
    path = shop.written(rows, f"ppo-{precision}")
    reward = models.reward_adapter(shop.base, shop.adapters)
    tokens = {"new_tokens": shop.sizes.ppo_tokens}

    def arm(name: str, side: str, **options: Any) -> ArmSpec:
        return shop.arm(name, side, "ppo", path, precision, reward=reward, options={**tokens, **options})

    arms = (
        arm("ours, shared value", "ours", value_backbone="shared"),
        arm("ours, own value", "ours", value_backbone="own"),
        arm("TRL 1.12", "trl"),
        arm("TRL 1.12, value by adapters", "trl", best=True),
    )
    prompts, answer = [row.prompt_ids for row in rows], shop.sizes.ppo_tokens
    total = sum(map(len, prompts)) + answer * len(prompts)
    own = sum_of(ppo_parts(shop.shape(), prompts, answer, own_value=True).values()) * (1 / total)
    shared = sum_of(ppo_parts(shop.shape(), prompts, answer, own_value=False).values()) * (1 / total)
    return Row(
        work="ppo",
        data=f"{len(rows)} prompts × {shop.sizes.ppo_tokens} tokens",
        precision=precision,
        arms=arms,
        turns=turns,
        warm_up=1,
        flops={"": own, "ours, shared value": shared},
        proof_data=path,
    )


def ppo_parts(shape: Shape, prompts: list[list[int]], answer: int, *, own_value: bool) -> dict[str, Flops]:
    """What an iteration takes, part by part; measured and trained on in minibatches."""
    parts = [prompts[start :: ours_ppo.MINIBATCHES] for start in range(ours_ppo.MINIBATCHES)]
    epochs = ours_ppo.EPOCHS
    return {
        "generation": flops.sampling(shape, list(map(len, prompts)), [answer] * len(prompts), adapters=True),
        "scoring": sum_of(flops.scoring(shape, part, answer, own_value=own_value) for part in parts),
        "training": sum_of(
            flops.ppo_training(shape, part, answer, own_value=own_value, epochs=epochs) for part in parts
        ),
    }


def sum_of(parts: Iterable[Flops]) -> Flops:
    return sum(parts, Flops(0.0, 0.0))


def sampling_row(shop: Workshop, precision: str, turns: int) -> Row:
    """All prompts of the data, answered by the engine and by transformers' generate at two batch sizes."""
    rows = shop.rows("short")
    path = shop.written(rows, f"sampling-{precision}")
    tokens = {"new_tokens": shop.sizes.sampled_tokens}
    arms = [shop.arm("ours", "ours", "sampling", path, precision, options=tokens)]
    for batch in shop.sizes.batches:
        name = f"transformers, batch {batch}"
        arms.append(shop.arm(name, "transformers", "sampling", path, precision, batch=batch, options=tokens))
    return Row(
        work="sampling",
        data=f"{len(rows)} prompts × up to {shop.sizes.sampled_tokens} tokens",
        precision=precision,
        arms=tuple(arms),
        turns=turns,
        warm_up=0,
        proof_data=shop.written(rows[:BATCH], f"sampling-{precision}-proof"),
    )


def growth_rows(shop: Workshop, precision: str, turns: int) -> list[Row]:
    """Ours alone, DPO: 1 to 8 times the batch, 1 to 8 times the length, and a vocabulary of 150,000."""
    first = shop.rows("short")[:BATCH]
    large = models.with_large_vocabulary(shop.name, shop.base, shop.keep)
    batches = [(f"batch × {times}", first * times, shop.base) for times in GROWTH]
    lengths = [(f"length × {times}", data.lengthened(first, times), shop.base) for times in GROWTH]
    words = [("vocabulary of the model", first, shop.base), ("vocabulary of 150,000", first, large)]
    found = []
    for title, cases in (("batch", batches), ("length", lengths), ("vocabulary", words)):
        arms, taken = [], {}
        for name, rows, base in cases:
            path = shop.written(rows, f"growth-{name.replace(' ', '-')}")
            options = {"max_length": models.config_of(base).max_position_embeddings}
            arms.append(shop.arm(name, "ours", "dpo", path, precision, batch=len(rows), model=base, options=options))
            taken[name] = flops.dpo(shop.shape(base), rows) * (1 / sum(row.pair_tokens for row in rows))
        found.append(Row("growth", title, precision, tuple(arms), turns, 1, taken))
    return found
