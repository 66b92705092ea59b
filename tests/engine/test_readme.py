"""The engine's README is followed to the letter: the walk by hand, and the method of one's own."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import training.engine
from training.engine.__main__ import DONE, main
from training.engine.events import read_events
from training.engine.run_dir import ModelRef, RunDir

ENGINE = Path(training.engine.__path__[0])
README = (ENGINE / "README.md").read_text(encoding="utf-8")

PRETRAINING = '"tiny_train_seconds": 20.0'  # the one thing that a test does not wait for


def blocks(heading: str) -> list[tuple[str, str]]:
    """(language, text) of every code block below a heading."""
    section = README.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = re.findall(r"^```(\w+)\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    assert found
    return found


@pytest.mark.slow
def test_the_walk_from_nothing_to_an_aligned_model_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    finished = []
    found = blocks("From nothing to an aligned model, by hand")
    assert PRETRAINING in found[0][1]
    for language, text in found:
        if language == "python":
            exec(text.replace(PRETRAINING, '"tiny_train_seconds": 0.0'), names)
        elif language == "sh":
            command = text.split()
            assert command[:3] == ["python", "-m", "training.engine"]
            assert main(command[3:]) == DONE
            finished.append(command[3])
    assert finished == [f"runs/{name}" for name in ("base", "sft", "dpo", "reward", "ppo", "answers")]
    rows = [json.loads(line) for line in Path("runs/answers/samples.jsonl").read_text().splitlines()]
    assert [row["model"] for row in rows[:3]] == ["base", "dpo", "ppo"]
    assert {path.name for path in Path("runs/ppo/model").iterdir()} == {"adapter", "merged", "manifest.json"}
    [shown] = [text for language, text in found if language == "json"]
    by_hand, written = json.loads(shown), json.loads(Path("runs/dpo/spec.json").read_text())
    assert by_hand["data"].keys() == written["data"].keys()
    for item, expected in ((by_hand["data"][name], written["data"][name]) for name in written["data"]):
        assert (item["path"], item["rows"]) == (expected["path"], expected["rows"])
        assert expected["sha256"].startswith(item["sha256"].rstrip("…"))
    Path("runs/dpo/spec.json").write_text(json.dumps({**by_hand, "data": written["data"]}))
    spec = RunDir("runs/dpo").spec()
    assert (spec.method, spec.config, spec.seed) == (written["method"], written["config"], written["seed"])
    assert spec.models == {"base": ModelRef(written["models"]["base"]["path"])}


RUN = """
from training.engine.__main__ import main
from training.engine.run_dir import ModelRef, RunDir, Spec

RunDir.create("base", Spec(method="import", config={"kind": "tiny"}))
assert main(["base"]) == 0
pairs = [
    {"id": str(n), "prompt": [{"role": "user", "content": f"Count to {n}."}], "chosen": "Yes.", "rejected": "Not now."}
    for n in range(4)
]
config = {"epochs": 10.0, "batch_size": 4, "learning_rate": 5e-3}
models = {"base": ModelRef("base/model/full")}
RunDir.create("run", Spec(method="simpo", config=config, models=models), {"train": pairs})
assert main(["run"]) == 0
"""


def with_code(content: str, how: str, name: str, code: str) -> str:
    """A file with a block above a name's definition, or first within it, on its line or the one after."""
    place = re.search(rf"^{name}\b.* = ({{\n)?", content, flags=re.MULTILINE)
    assert place
    if how == "above":
        return content[: place.start()] + code + content[place.start() :]
    return content[: place.end()] + (code if place[1] else f"{code.strip()} ") + content[place.end() :]


@pytest.mark.slow
def test_a_method_of_ones_own_needs_no_more_than_the_readme_says(tmp_path: Path) -> None:
    copy = tmp_path / "training" / "engine"
    shutil.copytree(ENGINE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "training" / "__init__.py").touch()
    for _, text in blocks("A method of your own"):
        place, _, code = text.partition("\n")
        found = re.fullmatch(r"# (training/engine/\w+\.py)(?:, (above|in) (\w+))?", place)
        assert found
        path, how, name = tmp_path / found[1], found[2], found[3]
        if how is None:
            path.write_text(code)
            continue
        path.write_text(with_code(path.read_text(), how, name, code))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    run_dir = RunDir(tmp_path / "run")
    steps = [event["metrics"] for event in read_events(run_dir.events_path, 0)[0] if event["kind"] == "step"]
    assert len(steps) == 10
    assert steps[-1]["margin"] > steps[0]["margin"] + 0.5
    assert (run_dir.manifest() or {})["method"] == "simpo"
