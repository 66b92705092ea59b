"""The ids that every arm reads: made once, by the engine's own tokenisation, so that all arms see the same tokens."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from bench.errors import MissingError
from training.engine.chat import render

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = ROOT.parent / "shared" / "data" / "polite_pairs.jsonl"
PAIRS = 64
LONG_PROMPT = 400


@dataclass(frozen=True)
class Row:
    """A pair as ids. Both answers end in the end token."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]

    @property
    def pair_tokens(self) -> int:
        """Tokens of the data in a pair: the prompt once, and both answers."""
        return len(self.prompt_ids) + len(self.chosen_ids) + len(self.rejected_ids)

    @property
    def chosen_tokens(self) -> int:
        return len(self.prompt_ids) + len(self.chosen_ids)


def data_path(named: str = "") -> Path:
    """The pairs: as named, or by PREFLOOP_BENCH_DATA, or beside the repository. MissingError if there is none."""
    path = Path(named or os.environ.get("PREFLOOP_BENCH_DATA", "") or DEFAULT)
    if not path.is_file():
        raise MissingError(
            f"{path} is not there: name a JSON Lines file of prompt, chosen, rejected in DATA= or PREFLOOP_BENCH_DATA."
        )
    return path


def short_rows(path: Path, tokenizer: PreTrainedTokenizerBase, count: int = PAIRS) -> list[Row]:
    """The first pairs of the file, in its order. MissingError when there are not so many."""
    rows = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            item = json.loads(line)
            prompt = [{"role": "user", "content": item["prompt"]}]
            prompt_ids, chosen_ids = render(tokenizer, prompt, item["chosen"])
            rows.append(Row(prompt_ids, chosen_ids, render(tokenizer, prompt, item["rejected"])[1]))
            if len(rows) == count:
                return rows
    raise MissingError(f"{path} holds {len(rows)} pairs; {count} are needed")


def with_long_prompts(rows: Sequence[Row], length: int = LONG_PROMPT) -> list[Row]:
    """The same pairs with prompts of exactly ``length`` tokens.

    The rule: in front of a row's prompt stand the prompts of the rows after it (the last is followed by the first), the
    next one nearest, as many as it takes; the last ``length`` tokens of that are kept.
    """
    longer = []
    for place, row in enumerate(rows):
        ids, after = list(row.prompt_ids), place
        while len(ids) < length:
            after = (after + 1) % len(rows)
            ids = rows[after].prompt_ids + ids
        longer.append(replace(row, prompt_ids=ids[-length:]))
    return longer


def lengthened(rows: Sequence[Row], times: int) -> list[Row]:
    """Every prompt and answer repeated so many times: exactly that many times the tokens in the same shape."""
    return [Row(row.prompt_ids * times, row.chosen_ids * times, row.rejected_ids * times) for row in rows]


def write_rows(rows: Sequence[Row], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows), encoding="utf-8")


def read_rows(path: str) -> list[Row]:
    with open(path, encoding="utf-8") as file:
        return [Row(**json.loads(line)) for line in file]


def batches_of(rows: Sequence[Row], size: int) -> list[list[Row]]:
    """The rows in order, cut into batches; a last part that is smaller is left out, so that steps are alike."""
    return [list(rows[start : start + size]) for start in range(0, len(rows) - size + 1, size)]
