"""A tiny base model on disk, and runs on it."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.ppo_runs import build_models
from training.engine import vector_maths
from training.engine.run_dir import ModelRef, RunDir, Spec
from training.engine.tiny import PAIRS, build_tiny

Row = dict[str, Any]

vector_maths.choose_code()  # tests compute without a run, too

# Every answer twice: as it is, which wins, and with words appended, which loses.
PREFERENCES: list[Row] = [
    {
        "id": str(number),
        "prompt": [{"role": "user", "content": question}],
        "chosen": answer,
        "rejected": f"{answer} And then {'some ' * (number % 3 + 1)}more.",
    }
    for number, (question, answer) in enumerate(PAIRS)
]
DEMONSTRATIONS: list[Row] = [{**row, "response": row["chosen"]} for row in PREFERENCES]
SMALL: Row = {"precision": "fp32", "lora_rank": 4, "lora_alpha": 8, "batch_size": 4, "max_length": 128}
SHORT_SAMPLES: Row = {"sample_tokens": 8, "sample_prompts": 2, "length_prompts": 4}


@pytest.fixture(autouse=True)
def sigterm_still_ends_the_tests() -> Iterator[None]:
    """A run started inside the test's process takes SIGTERM for itself: give it back."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny random Llama in fp32 with its tokenizer."""
    folder = tmp_path_factory.mktemp("base") / "full"
    model, tokenizer = build_tiny(seed=0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def make_run(tmp_path: Path, base_folder: str) -> Callable[..., RunDir]:
    """make_run(method, name=…, train=…, eval=…, **config): a run directory with small defaults."""

    def make(
        method: str,
        *,
        name: str = "run",
        train: list[Row] | None = None,
        held_out: list[Row] | None = None,
        models: dict[str, ModelRef] | None = None,
        **config: Any,
    ) -> RunDir:
        rows = DEMONSTRATIONS if method == "sft" else PREFERENCES
        data = {"train": rows if train is None else train, "eval": rows[:4] if held_out is None else held_out}
        options = {**SMALL, **({} if method == "reward" else SHORT_SAMPLES), **config}
        spec = Spec(method=method, config=options, seed=3, models={"base": ModelRef(base_folder), **(models or {})})
        return RunDir.create(tmp_path / name, spec, data)

    return make


@pytest.fixture(scope="session")
def ppo_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base, a reward model saved whole, and one saved as an adapter of the base."""
    folder = tmp_path_factory.mktemp("ppo_models")
    build_models(folder)
    return folder
