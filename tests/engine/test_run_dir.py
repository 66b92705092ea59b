"""The run directory: written once, read strictly, its data pinned by hashes."""

import json
from pathlib import Path

import pytest

from training.engine.run_dir import ModelRef, RunDir, RunDirError, Spec

ROWS = [{"prompt": [{"role": "user", "content": "Grüß dich"}], "id": "1"}, {"prompt": [], "id": "2"}]


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    spec = Spec(method="dpo", config={"beta": 0.2}, seed=7, models={"base": ModelRef("/models/base")})
    return RunDir.create(tmp_path / "run", spec, {"train": ROWS})


def test_what_was_written_is_read_back(run_dir: RunDir) -> None:
    spec = run_dir.spec()
    assert (spec.method, spec.config, spec.seed, spec.processes) == ("dpo", {"beta": 0.2}, 7, 1)
    assert spec.models == {"base": ModelRef("/models/base", adapter="")}
    assert spec.data["train"].rows == 2
    assert run_dir.rows("train") == ROWS
    assert run_dir.rows("eval") == []
    run_dir.verify()


def test_a_run_is_not_written_over(run_dir: RunDir) -> None:
    with pytest.raises(RunDirError, match="already"):
        RunDir.create(run_dir.path, Spec(method="dpo", config={}))


def test_a_changed_data_file_is_noticed(run_dir: RunDir) -> None:
    with open(run_dir.path / "data/train.jsonl", "a") as file:
        file.write("{}\n")
    with pytest.raises(RunDirError, match="hash"):
        run_dir.verify()


def test_a_missing_data_file_is_noticed(run_dir: RunDir) -> None:
    (run_dir.path / "data/train.jsonl").unlink()
    with pytest.raises(RunDirError, match="missing"):
        run_dir.verify()


def test_a_data_file_outside_the_directory_is_refused(run_dir: RunDir) -> None:
    content = json.loads(run_dir.spec_path.read_text())
    content["data"]["train"]["path"] = "../../etc/passwd"
    run_dir.spec_path.write_text(json.dumps(content))
    with pytest.raises(RunDirError, match="outside"):
        run_dir.verify()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"method": "dpo"}', '{"method": "dpo", "config": {}, "seed": "x"}'])
def test_a_spec_that_is_not_one_is_refused(run_dir: RunDir, text: str) -> None:
    run_dir.spec_path.write_text(text)
    with pytest.raises(RunDirError, match=r"spec\.json"):
        run_dir.spec()


def test_an_unknown_method_is_refused(run_dir: RunDir) -> None:
    run_dir.spec_path.write_text(run_dir.spec_path.read_text().replace('"dpo"', '"magic"'))
    with pytest.raises(RunDirError, match="magic"):
        run_dir.spec()


def test_checkpoints_come_in_the_order_of_their_steps_without_half_written_ones(run_dir: RunDir) -> None:
    for name in ("step-000100", "step-000020", ".step-000120", "step-1000000", "step-x"):
        (run_dir.checkpoints_path / name).mkdir(parents=True)
    assert [path.name for path in run_dir.checkpoints()] == ["step-000020", "step-000100", "step-1000000"]


def test_a_run_without_a_result_has_none(run_dir: RunDir) -> None:
    assert run_dir.result() is None
    run_dir.result_path.write_text('{"metrics": {}}')
    assert run_dir.result() == {"metrics": {}}
