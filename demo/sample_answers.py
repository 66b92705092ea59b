"""Sample the answers of the demo with the project's own sampler: `python demo/sample_answers.py MODEL_FOLDER`.

Reads demo/everyday_prompts.jsonl and demo/concise_prompts.jsonl, runs `python -m training.engine` with the sample
method and writes demo/everyday_help.jsonl and demo/concise_answers.jsonl. The same model, parameters and seed give the
same files, up to rounding that differs between processors. MODEL_FOLDER is a folder in Hugging Face form.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from annotation.demo_rule import count_words  # noqa: E402
from training.engine.config import SampleConfig  # noqa: E402
from training.engine.run_dir import ModelRef, RunDir, Spec  # noqa: E402

Row = dict[str, Any]
MODEL_NAME = "SmolLM2-135M-Instruct"
BATCH = 64  # answers side by side; on a processor a step costs little more for 64 than for 16


@dataclass(frozen=True)
class Sampling:
    """How a group of prompts is sampled. `seed` and the answer's number fix each answer."""

    n: int
    temperature: float
    top_p: float
    max_new_tokens: int
    seed: int


# Of ten prompts in a row seven get two answers, two get three and one gets four.
TWO = Sampling(n=2, temperature=0.7, top_p=0.95, max_new_tokens=220, seed=1)
THREE = Sampling(n=3, temperature=0.8, top_p=0.95, max_new_tokens=220, seed=1)
FOUR = Sampling(n=4, temperature=0.9, top_p=0.95, max_new_tokens=220, seed=1)
EVERYDAY = (TWO, TWO, TWO, THREE, TWO, TWO, TWO, THREE, TWO, FOUR)
CONCISE = Sampling(n=3, temperature=0.9, top_p=0.95, max_new_tokens=96, seed=1)
# A second try, with more room, for prompts of which fewer than two answers were complete.
CONCISE_AGAIN = Sampling(n=3, temperature=0.9, top_p=0.95, max_new_tokens=128, seed=2)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Sample the demo's answers with the project's own sampler.")
    parser.add_argument("model", type=Path, help="model folder (config.json, model.safetensors, tokenizer)")
    parser.add_argument("--name", default=MODEL_NAME, help="the model's name in the files (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=HERE, help="where the files go (default: demo/)")
    parser.add_argument("--limit", type=int, default=None, help="only the first so many prompts of each file")
    parser.add_argument("--only", choices=["concise_answers", "everyday_help"], help="only this file")
    options = parser.parse_args(arguments)
    model = options.model.resolve(strict=True)
    for name, make in (("concise_answers", concise_answers), ("everyday_help", everyday_help)):
        if options.only in (None, name):
            write_rows(options.out / f"{name}.jsonl", make(model, options.name, options.limit))


def everyday_help(model: Path, name: str, limit: int | None) -> list[Row]:
    """The everyday prompts with all their answers."""
    prompts = read_rows(HERE / "everyday_prompts.jsonl")[:limit]
    answered: dict[str, list[Row]] = {}
    for sampling in (TWO, THREE, FOUR):
        group = [row for place, row in enumerate(prompts) if EVERYDAY[place % len(EVERYDAY)] == sampling]
        answered |= sample(model, group, sampling, name=name)
    return [{**row, "responses": distinct(answered[row["id"]])} for row in prompts]


def concise_answers(model: Path, name: str, limit: int | None) -> list[Row]:
    """The concise prompts with a pair of answers each, without those for which two tries gave no pair."""
    prompts = read_rows(HERE / "concise_prompts.jsonl")[:limit]
    answered = sample(model, prompts, CONCISE, name=name)
    without_pair = [row for row in prompts if choose_pair(answered[row["id"]]) is None]
    for prompt_id, responses in sample(model, without_pair, CONCISE_AGAIN, name=name).items():
        answered[prompt_id] += responses
    pairs = [(row, choose_pair(answered[row["id"]])) for row in prompts]
    return [{**row, "responses": pair} for row, pair in pairs if pair is not None]


def choose_pair(responses: Sequence[Row]) -> list[Row] | None:
    """The shortest and the longest of the complete answers, in the order drawn; None when fewer than two are complete.

    Complete: the model ended it before the token limit. Length is in words; of two equally long ones the first counts.
    """
    complete = [response for response in distinct(responses) if response["ended"]]
    if len(complete) < 2:
        return None
    by_length = sorted(complete, key=lambda response: count_words(response["text"]))
    pair = by_length[0], by_length[-1]
    return [response for response in complete if response in pair]


def distinct(responses: Sequence[Row]) -> list[Row]:
    """Without empty texts and without texts that came before."""
    first_of = {response["text"]: response for response in reversed(responses) if response["text"].strip()}
    return [response for response in responses if first_of.get(response["text"]) is response]


def sample(model: Path, prompts: Sequence[Row], sampling: Sampling, *, name: str) -> dict[str, list[Row]]:
    """Run the engine's sample method in a run directory of its own; returns responses by prompt id, by number drawn."""
    if not prompts:
        return {}
    config = {key: value for key, value in asdict(sampling).items() if key != "seed"}
    spec = Spec(
        method="sample",
        config={**asdict(SampleConfig()), **config, "precision": "fp32", "batch_size": BATCH},
        seed=sampling.seed,
        models={"base": ModelRef(path=str(model))},
    )
    with tempfile.TemporaryDirectory(prefix="prefloop-demo-") as folder:
        rows = [{"id": row["id"], "prompt": row["prompt"]} for row in prompts]
        run_dir = RunDir.create(folder, spec, {"prompts": rows})
        print(f"{len(prompts)} prompts, {sampling.n} answers each at temperature {sampling.temperature}", flush=True)
        subprocess.run([sys.executable, "-m", "training.engine", folder], cwd=ROOT, check=True)
        drawn = read_rows(run_dir.samples_path)
    answered: dict[str, list[Row]] = {row["id"]: [] for row in prompts}
    for row in sorted(drawn, key=lambda row: row["n"]):
        about = {"model": name, **asdict(sampling), "n": row["n"]}
        answered[row["id"]].append(
            {"text": row["text"].strip(), "ended": row["ended"], "tokens": row["tokens"], "sampling": about}
        )
    return answered


def read_rows(path: Path) -> list[Row]:
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    print(f"{path.name}: {len(rows)} prompts, {sum(len(row['responses']) for row in rows)} answers", flush=True)


if __name__ == "__main__":
    main()
