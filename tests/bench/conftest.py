"""A small file of pairs, for a tiny model."""

import json
from pathlib import Path

import pytest

from training.engine.tiny import PAIRS


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    """Sixteen pairs: every answer with two different tails."""
    lines = [
        {"prompt": question, "chosen": answer, "rejected": f"{answer} {tail}"}
        for tail in ("And more.", "Why do you even ask?")
        for question, answer in PAIRS
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
