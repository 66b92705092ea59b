"""Preference pairs from the run directory, as ids: what DPO and the reward model train on."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedTokenizerBase

from training.engine.chat import check_prompt, of_row, render_to_fit
from training.engine.errors import EngineError
from training.engine.events import EventWriter
from training.engine.packing import Tokens
from training.engine.run_dir import RunDir

CUT_SHARE_THAT_WARNS = 0.05


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt. ``margin`` is the strength of the vote, ``weight`` its weight in the loss.

    ``label`` is the probability that the chosen answer is the better one: 1 where one vote stands for the pair.
    """

    id: str
    messages: list[dict[str, str]]
    chosen: Tokens
    rejected: Tokens
    margin: float
    weight: float
    label: float = 1.0

    @property
    def tokens(self) -> int:
        """What the pair adds to a pass at most: its prompt once, and both responses."""
        return self.chosen.length + len(self.rejected.response_ids)


@dataclass
class Tally:
    """What was left out, and why, or cut while reading."""

    dropped: int = 0
    truncated: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def read_train_and_eval(
    run_dir: RunDir, tokenizer: PreTrainedTokenizerBase, max_length: int, eval_rows: int, events: EventWriter
) -> tuple[list[Pair], list[Pair], Tally]:
    """(pairs to train on, held-out pairs, what was left out). EngineError says why when there is none to train on."""
    tally = Tally()
    train = read_pairs(run_dir, "train", tokenizer, max_length, tally, events)
    if not train and tally.dropped:
        why = in_words(tally.reasons)
        raise EngineError(f"there is no pair to train on: all {tally.dropped} were left out, {why}")
    if not train:
        raise EngineError("there is no pair to train on")
    if len(train) == 1:
        events.write("warning", message="there is only one pair to train on: it will be learned by heart")
    held_out = read_pairs(run_dir, "eval", tokenizer, max_length, tally, events)[:eval_rows]
    if not held_out:
        events.write("warning", message="no pair is held out: nothing can be measured on pairs that were not seen")
    return train, held_out, tally


def read_pairs(
    run_dir: RunDir, name: str, tokenizer: PreTrainedTokenizerBase, max_length: int, tally: Tally, events: EventWriter
) -> list[Pair]:
    """The pairs of a data file. Both answers of a pair share one prompt, cut from the left to fit the longer one.

    Pairs whose answers are the same or empty teach nothing: dropped and counted. EngineError names a malformed row.
    """
    pairs, cut, reasons = [], 0, Counter[str]()
    for number, row in enumerate(run_dir.rows(name), start=1):
        _check(row, f"{name} row {number}")
        chosen, rejected = row["chosen"].strip(), row["rejected"].strip()
        if not chosen or not rejected:
            reasons["with an empty answer"] += 1
            continue
        if chosen == rejected:
            reasons["with equal answers"] += 1
            continue
        with of_row(f"{name} row {number}"):
            pair, was_cut = _make_pair(row, tokenizer, max_length, str(row.get("id", number)))
        if pair.chosen.response_ids == pair.rejected.response_ids:
            reasons[f"with answers that are equal once cut to max_length {max_length}"] += 1
            continue
        cut += was_cut
        pairs.append(pair)
    if reasons:
        events.write("warning", message=f"{reasons.total()} {name} pairs were left out, {in_words(reasons)}")
    warn_if_cut(cut, len(pairs), name, max_length, events)
    tally.dropped += reasons.total()
    tally.reasons += reasons
    tally.truncated += cut
    return pairs


def in_words(reasons: Counter[str]) -> str:
    """ "2 with equal answers, 1 with an empty answer"."""
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items())


def warn_if_cut(cut: int, rows: int, name: str, max_length: int, events: EventWriter) -> None:
    """A warning event when more than 5 % of the rows did not fit."""
    if rows and cut / rows > CUT_SHARE_THAT_WARNS:
        events.write("warning", message=f"{cut} of {rows} {name} rows were cut to max_length {max_length}")


def _make_pair(
    row: dict[str, Any], tokenizer: PreTrainedTokenizerBase, max_length: int, name: str
) -> tuple[Pair, bool]:
    chosen, rejected = (
        render_to_fit(tokenizer, row["prompt"], row[side], max_length, ended=row.get(f"{side}_ended", True))
        for side in ("chosen", "rejected")
    )
    prompt_ids = min(chosen.prompt_ids, rejected.prompt_ids, key=len)
    cuts = (chosen.prompt_cut, chosen.response_cut, rejected.prompt_cut, rejected.response_cut)
    pair = Pair(
        id=name,
        messages=row["prompt"],
        chosen=Tokens(prompt_ids, chosen.response_ids),
        rejected=Tokens(prompt_ids, rejected.response_ids),
        margin=float(row.get("margin") or 0.0),
        weight=float(row.get("weight", 1.0)),
        label=float(row.get("label", 1.0)),
    )
    return pair, any(cuts)


def _check(row: dict[str, Any], place: str) -> None:
    for name in ("chosen", "rejected"):
        if not isinstance(row.get(name), str):
            raise EngineError(f"{place}: {name} must be text")
        if not isinstance(row.get(f"{name}_ended", True), bool):
            raise EngineError(f"{place}: {name}_ended must be true or false")
    for name, low in (("margin", 0.0), ("weight", 0.0)):
        value = row.get(name) or 0.0
        if not isinstance(value, int | float) or not math.isfinite(value) or value < low:
            raise EngineError(f"{place}: {name} must be a number of at least 0")
    if row.get("weight", 1.0) in (0, None):
        raise EngineError(f"{place}: weight must be above 0")
    label = row.get("label", 1.0)
    if isinstance(label, bool) or not isinstance(label, int | float) or not 0 <= label <= 1:
        raise EngineError(f"{place}: label must be a probability, from 0 to 1")
    check_prompt(row, place)
