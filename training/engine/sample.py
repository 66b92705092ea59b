"""Sample answers to prompts: prompts.jsonl in, samples.jsonl out.

1. Every prompt gets `n` answers, told apart by their number; each depends on (prompt, number, seed) alone.
2. Rows are answered in blocks of similar length; a finished block is kept in a part file, so that a run that was
   stopped goes on after its last block.
3. samples.jsonl appears whole at the end, in the order of the prompts.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import Any

from training.engine import chat, stop
from training.engine.config import SampleConfig
from training.engine.errors import EngineError
from training.engine.events import EventWriter
from training.engine.generate import Sample, generate, stop_token_ids
from training.engine.models import load_base, load_tokenizer, pick_device, pick_dtype
from training.engine.run_dir import RunDir, Spec, write_json


@dataclass(frozen=True)
class _Wanted:
    """One answer to sample: the row of its prompt, its number, the prompt's ids."""

    row: int
    number: int
    prompt_ids: list[int]


def run(run_dir: RunDir, spec: Spec, config: SampleConfig, events: EventWriter) -> None:
    """Answer every prompt of the run directory. EngineError for missing models or data, or prompts without room."""
    began = time.monotonic()
    rows = run_dir.rows("prompts")
    if not rows:
        raise EngineError("there is no prompt to answer: the data file 'prompts' is missing or empty")
    if "base" not in spec.models:
        raise EngineError("the spec names no base model to sample from")

    # 1. The model and the prompts as ids.
    events.write("phase", name="loading model", done=0, total=1)
    device = pick_device()
    tokenizer = load_tokenizer(spec.models["base"].path)
    model = load_base(spec.models["base"], dtype=pick_dtype(config.precision, device), device=device)
    room = prompt_room(model.config, max_length=config.max_length, max_new_tokens=config.max_new_tokens)
    prompts = [chat.render_to_fit(tokenizer, row["prompt"], None, room) for row in rows]
    wanted = [
        _Wanted(row, number, prompt.prompt_ids) for row, prompt in enumerate(prompts) for number in range(config.n)
    ]
    wanted.sort(key=lambda item: (len(item.prompt_ids), item.row, item.number))
    events.write(
        "start",
        total_steps=len(wanted),
        device=str(device),
        parameters=sum(item.numel() for item in model.parameters()),
        trainable_parameters=0,
        train_rows=len(rows),
        eval_rows=0,
    )

    # 2. Block by block; what an earlier attempt finished is not sampled again.
    part_path = run_dir.path / "samples.part.jsonl"
    done = _read_part(part_path)
    wanted = [item for item in wanted if (item.row, item.number) not in done]
    stop_ids = stop_token_ids(model, tokenizer)
    sampled_tokens, sampling_began = 0, time.monotonic()
    with open(part_path, "a", encoding="utf-8") as part:
        for start in range(0, len(wanted), config.batch_size):
            events.write("phase", name="sampling", done=len(done), total=len(rows) * config.n)
            stop.leave_if_requested()
            block = wanted[start : start + config.batch_size]
            answers = generate(
                model,
                [item.prompt_ids for item in block],
                numbers=[item.number for item in block],
                stop_ids=stop_ids,
                max_new_tokens=config.max_new_tokens,
                temperature=config.temperature,
                top_p=config.top_p,
                top_k=config.top_k,
                seed=spec.seed,
                batch_rows=config.batch_size,
                on_token=stop.leave_if_requested,
            )
            for item, answer in zip(block, answers, strict=True):
                line = _line(item, rows[item.row], chat.decode(tokenizer, answer.token_ids), answer)
                part.write(json.dumps(line, ensure_ascii=False) + "\n")
                done[(item.row, item.number)] = line
            part.flush()
            sampled_tokens += sum(len(answer.token_ids) for answer in answers)
    events.write("phase", name="sampling", done=len(done), total=len(rows) * config.n)

    # 3. The whole file, in the order of the prompts.
    lines = [done[key] for key in sorted(done)]
    _write_samples(run_dir, lines)
    part_path.unlink()
    metrics = {
        "response_tokens": sum(line["tokens"] for line in lines) / len(lines),
        "share_ended": sum(line["ended"] for line in lines) / len(lines),
        "tokens_per_second": sampled_tokens / max(time.monotonic() - sampling_began, 1e-9),
    }
    truncated = sum(prompt.prompt_cut > 0 for prompt in prompts)
    result = {"method": "sample", "metrics": metrics, "steps": len(lines), "dropped": 0, "truncated": truncated}
    write_json(run_dir.result_path, {**result, "seconds": round(time.monotonic() - began, 1)})
    events.write("done", metrics=metrics)


def prompt_room(model_config: Any, *, max_length: int, max_new_tokens: int) -> int:
    """How many tokens a prompt may have so that prompt and answer fit. EngineError when there is no room for one."""
    limit = min(max_length, int(getattr(model_config, "max_position_embeddings", None) or max_length))
    if limit <= max_new_tokens:
        raise EngineError(f"answers of {max_new_tokens} tokens leave no room for a prompt within {limit} tokens")
    return limit - max_new_tokens


def _line(item: _Wanted, row: dict[str, Any], text: str, answer: Sample) -> dict[str, Any]:
    """What samples.jsonl holds of one answer; `row` is the prompt's place, which the part file needs."""
    return {
        "id": row.get("id", str(item.row)),
        "n": item.number,
        "text": text,
        "ended": answer.ended,
        "tokens": len(answer.token_ids),
        "row": item.row,
    }


def _read_part(path: os.PathLike[str]) -> dict[tuple[int, int], dict[str, Any]]:
    """Answers of an earlier attempt by (row, number). A torn last line is cut off the file."""
    if not os.path.exists(path):
        return {}
    with open(path, "rb+") as file:
        content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        file.truncate(len(whole))
    lines = [json.loads(line) for line in whole.splitlines()]
    return {(line["row"], line["n"]): line for line in lines}


def _write_samples(run_dir: RunDir, lines: list[dict[str, Any]]) -> None:
    aside = run_dir.samples_path.with_name(f".{run_dir.samples_path.name}")
    with open(aside, "w", encoding="utf-8") as file:
        for line in lines:
            shown = {name: value for name, value in line.items() if name != "row"}
            file.write(json.dumps(shown, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, run_dir.samples_path)
