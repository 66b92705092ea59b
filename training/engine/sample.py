"""Sample answers to prompts from one or several versions: prompts.jsonl in, samples.jsonl out.

1. Every model that the spec names is a version to sample from, one after the other; a row says which one it is of.
2. Every prompt gets `n` answers of each, told apart by their number; each depends on (prompt, number, seed) alone.
3. Rows are answered in blocks of similar length; a finished block is kept in a part file, so that a run that was
   stopped goes on after its last block.
4. samples.jsonl appears whole at the end, in the order of the prompts, of one prompt in that of the versions.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from training.engine import chat, processes, stop
from training.engine.config import SampleConfig
from training.engine.errors import EngineError
from training.engine.events import EventWriter
from training.engine.generate import Sample, generate, stop_token_ids
from training.engine.models import check_tokenizer, load_base, load_tokenizer, pick_device, pick_dtype
from training.engine.run_dir import ModelRef, RunDir, Spec, write_json

Row = dict[str, Any]
Key = tuple[int, str, int]  # the prompt's place, the version's name, the answer's number


@dataclass(frozen=True)
class _Version:
    """A model to sample from, and the prompts as its tokenizer writes them."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    prompts: list[chat.Rendered]


@dataclass
class _Answers:
    """Finished rows by key, kept in the part file. ``tokens`` and ``seconds`` count what this attempt sampled."""

    path: Path
    rows: dict[Key, Row]
    tokens: int = 0
    seconds: float = 0.0

    def add(self, found: dict[Key, Row], seconds: float) -> None:
        """Keep the rows of a block."""
        if processes.is_main():
            with open(self.path, "a", encoding="utf-8") as part:
                for (place, _, _), row in found.items():
                    print(json.dumps({**row, "row": place}, ensure_ascii=False), file=part)
        self.rows |= found
        self.tokens += sum(row["tokens"] for row in found.values())
        self.seconds += seconds


def run(run_dir: RunDir, spec: Spec, config: SampleConfig, events: EventWriter) -> None:
    """Answer every prompt of the run directory. EngineError for missing models or data, or prompts without room."""
    began = time.monotonic()
    rows = run_dir.rows("prompts")
    if not rows:
        raise EngineError("there is no prompt to answer: the data file 'prompts' is missing or empty")
    for number, row in enumerate(rows, start=1):
        chat.check_prompt(row, f"prompts row {number}")
    if not spec.models:
        raise EngineError("the spec names no model to sample from")
    total = len(rows) * config.n * len(spec.models)

    # 1. Version by version; what an earlier attempt finished is not sampled again.
    with processes.main_first():
        answers = _read_part(run_dir.path / "samples.part.jsonl")
    truncated = 0
    for number, (name, ref) in enumerate(spec.models.items()):
        events.write("phase", name="loading model", done=number, total=len(spec.models))
        version = _load(name, ref, rows, config)
        truncated += sum(prompt.prompt_cut > 0 for prompt in version.prompts)
        if number == 0:
            _tell_start(events, version, rows=len(rows), total=total)
        for block in _blocks(version, config, answers):
            events.write("phase", name="sampling", done=len(answers.rows), total=total)
            stop.leave_if_requested()
            _answer(version, block, rows, config, spec.seed, answers)
    events.write("phase", name="sampling", done=total, total=total)

    # 2. The whole file.
    processes.leave_the_rest_to_main()
    order = {name: place for place, name in enumerate(spec.models)}
    lines = [answers.rows[key] for key in sorted(answers.rows, key=lambda key: (key[0], order[key[1]], key[2]))]
    _write_samples(run_dir, lines)
    answers.path.unlink()
    metrics = {
        "response_tokens": sum(line["tokens"] for line in lines) / len(lines),
        "share_ended": sum(line["ended"] for line in lines) / len(lines),
        "tokens_per_second": answers.tokens / max(answers.seconds, 1e-9),
    }
    result = {"method": "sample", "metrics": metrics, "steps": len(lines), "dropped": 0, "truncated": truncated}
    write_json(run_dir.result_path, {**result, "seconds": round(time.monotonic() - began, 1)})
    events.write("done", metrics=metrics)


def _load(name: str, ref: ModelRef, rows: list[Row], config: SampleConfig) -> _Version:
    """A version and the prompts as ids. EngineError for a model that cannot be loaded or has no room for a prompt."""
    device = pick_device()
    tokenizer = load_tokenizer(ref.path)
    model = load_base(ref, dtype=pick_dtype(config.precision, device), device=device)
    check_tokenizer(tokenizer, model)
    room = prompt_room(model.config, max_length=config.max_length, max_new_tokens=config.max_new_tokens)
    prompts = []
    for number, row in enumerate(rows, start=1):
        with chat.of_row(f"prompts row {number}"):
            prompts.append(chat.render_to_fit(tokenizer, row["prompt"], None, room))
    return _Version(name, model, tokenizer, prompts)


def _tell_start(events: EventWriter, version: _Version, *, rows: int, total: int) -> None:
    events.write(
        "start",
        total_steps=total,
        device=str(version.model.device),
        parameters=sum(item.numel() for item in version.model.parameters()),
        trainable_parameters=0,
        train_rows=rows,
        eval_rows=0,
    )


def _blocks(version: _Version, config: SampleConfig, answers: _Answers) -> Iterator[list[Key]]:
    """What is left to answer, prompts of similar length together: a batch for every process."""
    keys = [(place, version.name, number) for place in range(len(version.prompts)) for number in range(config.n)]
    left = [key for key in keys if key not in answers.rows]
    left.sort(key=lambda key: (len(version.prompts[key[0]].prompt_ids), key))
    size = config.batch_size * processes.count()
    for start in range(0, len(left), size):
        yield left[start : start + size]


def _answer(
    version: _Version, block: list[Key], rows: list[Row], config: SampleConfig, seed: int, answers: _Answers
) -> None:
    """Sample the answers of a block and keep them."""
    began = time.monotonic()
    found = generate(
        version.model,
        [version.prompts[place].prompt_ids for place, _, _ in block],
        numbers=[number for _, _, number in block],
        stop_ids=stop_token_ids(version.model, version.tokenizer),
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        seed=seed,
        batch_rows=config.batch_size,
        on_token=stop.leave_if_requested,
    )
    named = zip(block, found, strict=True)
    lines = {key: _line(key, rows[key[0]], chat.decode(version.tokenizer, item.token_ids), item) for key, item in named}
    answers.add(lines, time.monotonic() - began)


def prompt_room(model_config: Any, *, max_length: int, max_new_tokens: int) -> int:
    """How many tokens a prompt may have so that prompt and answer fit. EngineError when there is no room for one."""
    limit = min(max_length, int(getattr(model_config, "max_position_embeddings", None) or max_length))
    if limit <= max_new_tokens:
        raise EngineError(f"answers of {max_new_tokens} tokens leave no room for a prompt within {limit} tokens")
    return limit - max_new_tokens


def _line(key: Key, row: Row, text: str, answer: Sample) -> Row:
    """What samples.jsonl holds of one answer."""
    place, version, number = key
    return {
        "id": row.get("id", str(place)),
        "model": version,
        "n": number,
        "text": text,
        "ended": answer.ended,
        "tokens": len(answer.token_ids),
    }


def _read_part(path: Path) -> _Answers:
    """Answers of an earlier attempt. A torn last line is cut off the file."""
    if not path.exists():
        return _Answers(path, {})
    with open(path, "rb+") as file:
        content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        file.truncate(len(whole))
    lines = [json.loads(line) for line in whole.splitlines()]
    return _Answers(path, {(line.pop("row"), line["model"], line["n"]): line for line in lines})


def _write_samples(run_dir: RunDir, lines: list[Row]) -> None:
    aside = run_dir.samples_path.with_name(f".{run_dir.samples_path.name}")
    with open(aside, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, run_dir.samples_path)
