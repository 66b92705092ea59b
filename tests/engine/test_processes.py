"""Several processes (gloo, on the CPU) do what one does: the same weights and figures, stops, resumption, no hang."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from tests.engine import forks, ppo_runs, team
from tests.engine.conftest import PREFERENCES, SHORT_SAMPLES, SMALL
from training.engine import launch, processes
from training.engine.__main__ import main
from training.engine.events import read_events
from training.engine.run_dir import ModelRef, RunDir, Spec

CLOSE = 1e-6
SUMS_OVER_ANSWERS = ("kl", "kl_k3")  # of differences of log-probs: each of its tokens brings its own rounding
# Of DPO: β = 0.1 times a difference of two sums near 64, above which fp32 counts in steps of 8e-6.
REWARDS = ("margin", "reward_chosen", "reward_rejected")
ROUNDED = 4e-6
# 7 rows in batches of 3: the last step has one row, so one of two processes has none. Passes hold about two rows.
ROWS = [
    {**row, "response": row["chosen"], "margin": float(place % 3), "weight": 1.0 + place % 2}
    for place, row in enumerate(PREFERENCES[:7])
]
LOOP = {
    **SMALL,
    "batch_size": 3,
    "epochs": 2.0,
    "learning_rate": 1e-4,
    "eval_every": 3,
    "checkpoint_every": 2,
    "tokens_per_pass": 120,
}
PPO = {
    **ppo_runs.SMALL,
    "rollout_batch": 7,
    "minibatches": 2,
    "learning_rate": 1e-4,
    "value_learning_rate": 1e-4,
    "tokens_per_pass": 100,
    "value_warmup": 1,
    "adaptive_beta": True,
    "eval_prompts": 3,
}
SAMPLE = {"n": 2, "max_new_tokens": 12, "temperature": 1.0, "precision": "fp32", "batch_size": 3}
FULL = {"lora": False, "learning_rate": 1e-5}
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {  # method, options, options of two processes alone
    "sft": ("sft", {**LOOP, **SHORT_SAMPLES}, {}),
    "reward": ("reward", {**LOOP, "margin_scale": 0.5}, {}),
    "dpo": ("dpo", {**LOOP, **SHORT_SAMPLES, "margin_scale": 0.5}, {}),
    "ppo": ("ppo", PPO, {}),
    "ppo, a value adapter": ("ppo", {**PPO, "value_backbone": "own", "ema_rate": 0.1}, {}),
    "sample": ("sample", SAMPLE, {}),
    "sft, sharded": ("sft", {**LOOP, **SHORT_SAMPLES, **FULL}, {"shard": True}),
    "reward, sharded": ("reward", {**LOOP, **FULL, "gradient_checkpointing": True}, {"shard": True}),
    "dpo, sharded": ("dpo", {**LOOP, **SHORT_SAMPLES, **FULL}, {"shard": True}),
}

Make = Callable[..., RunDir]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory, base_folder: str, ppo_models: Path) -> Make:
    """make(case, name): a run directory; of two processes where the name is "two"."""
    folder = tmp_path_factory.mktemp("processes")

    def create(case: str, name: str, **more: Any) -> RunDir:
        method, options, of_two = CASES[case]
        config = {**options, **(of_two if name == "two" else {}), **more}
        path = folder / case.replace(", ", "-").replace(" ", "-") / name
        if method == "ppo":
            spec = ppo_runs.make_spec(ppo_models, **config)
            return RunDir.create(path, spec, {"train": ppo_runs.ROWS[:9], "eval": ppo_runs.ROWS[:3]})
        spec = Spec(method=method, config=config, seed=3, models={"base": ModelRef(base_folder)})
        if method == "sample":
            return RunDir.create(path, spec, {"prompts": ROWS[:7]})
        return RunDir.create(path, spec, {"train": ROWS, "eval": ROWS[:3]})

    return create


def run(run_dir: RunDir, count: int, **stopping: int) -> list[int | None]:
    """The exit codes of a team."""
    members = team.start(run_dir, count, **stopping)
    for process in members:
        process.join(timeout=200)
    codes = [process.exitcode for process in members]
    assert set(codes) <= {0, 75}, (codes, (run_dir.path / "engine.log").read_text()[-3000:])
    return codes


@pytest.fixture(scope="module")
def finished(make: Make) -> dict[str, tuple[RunDir, RunDir]]:
    """Every case, by one process and by two."""
    runs = {case: (make(case, "one"), make(case, "two")) for case in CASES}
    for one, two in runs.values():
        run(one, 1), run(two, 2)
    return runs


def weights(run_dir: RunDir) -> dict[str, torch.Tensor]:
    files = sorted(run_dir.model_path.rglob("*.safetensors"))
    return {f"{path.parent.name}/{name}": item for path in files for name, item in load_file(path).items()}


def told(run_dir: RunDir, *kinds: str) -> list[dict[str, Any]]:
    return [event for event in read_events(run_dir.events_path, 0)[0] if event["kind"] in kinds]


def figures(run_dir: RunDir) -> dict[str, float]:
    """Every figure told of a step or an evaluation, but for those of the clock; sums over answers per token."""
    return {
        f"{event['kind']} {event['step']} {name}": (
            value / event["metrics"]["response_tokens"] if name in SUMS_OVER_ANSWERS else value
        )
        for event in told(run_dir, "step", "eval")
        for name, value in event["metrics"].items()
        if isinstance(value, float) and not name.endswith(("_second", "_seconds"))
    }


def largest_difference(one: RunDir, two: RunDir) -> float:
    before, after = weights(one), weights(two)
    assert before
    assert before.keys() == after.keys()
    return max(float((before[name].double() - after[name].double()).abs().max()) for name in before)


SHARDED = [case for case in CASES if CASES[case][2]]
TRAINED = [case for case in CASES if case != "sample"]


@pytest.mark.slow
@pytest.mark.parametrize("case", TRAINED)
def test_two_processes_end_with_the_weights_of_one(case: str, finished: dict[str, tuple[RunDir, RunDir]]) -> None:
    assert largest_difference(*finished[case]) < CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("case", SHARDED)
def test_a_sharded_model_is_saved_as_any_other(case: str, finished: dict[str, tuple[RunDir, RunDir]]) -> None:
    one, two = ((run.model_path / "merged" / "config.json").read_text() for run in finished[case])
    assert one == two


@pytest.mark.slow
@pytest.mark.parametrize("case", TRAINED)
def test_two_processes_tell_the_figures_of_one(case: str, finished: dict[str, tuple[RunDir, RunDir]]) -> None:
    one, two = map(figures, finished[case])
    assert len(one) > 20
    rewards = {name for name in one if case.startswith("dpo") and name.endswith(REWARDS)}
    assert {name: two[name] for name in rewards} == pytest.approx({name: one[name] for name in rewards}, abs=ROUNDED)
    one, two = ({name: value for name, value in found.items() if name not in rewards} for found in (one, two))
    assert two == pytest.approx(one, rel=CLOSE, abs=CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_only_one_process_tells(case: str, finished: dict[str, tuple[RunDir, RunDir]]) -> None:
    one, two = finished[case]
    assert Counter(event["kind"] for event in told(one, "start", "step", "eval", "sample", "checkpoint", "done")) == (
        Counter(event["kind"] for event in told(two, "start", "step", "eval", "sample", "checkpoint", "done"))
    )
    numbers = [event["seq"] for event in read_events(two.events_path, 0)[0]]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.slow
def test_a_sharded_model_multiplies_in_the_precision_it_is_told(
    make: Make, finished: dict[str, tuple[RunDir, RunDir]]
) -> None:
    narrow = make("sft, sharded", "in bf16", shard=True, precision="bf16", max_steps=1)
    run(narrow, 2)
    exact = told(finished["sft, sharded"][1], "step")[0]["metrics"]["loss"]
    loss = told(narrow, "step")[0]["metrics"]["loss"]
    assert 1e-7 < abs(loss - exact) < 0.02 * exact  # bf16 keeps 8 bits of a factor
    assert {item.dtype for item in weights(narrow).values()} == {torch.float32}  # what learns is fp32


@pytest.mark.slow
@pytest.mark.parametrize("case", ["sft", "dpo", "ppo", "dpo, sharded"])
def test_two_processes_sample_the_answers_of_one(case: str, finished: dict[str, tuple[RunDir, RunDir]]) -> None:
    one, two = ([item for event in told(run, "sample") for item in event["samples"]] for run in finished[case])
    assert one
    assert [item["text"] for item in one] == [item["text"] for item in two]


@pytest.mark.slow
def test_the_sample_method_gives_the_answers_of_one(finished: dict[str, tuple[RunDir, RunDir]]) -> None:
    one, two = finished["sample"]
    assert len(one.samples_path.read_text().splitlines()) == 14
    assert one.samples_path.read_text() == two.samples_path.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("case", ["sft", "dpo, sharded", "ppo", "sample"])
@pytest.mark.parametrize("rank", [0, 1])
def test_sigterm_to_one_process_stops_both_at_the_same_step(
    case: str, rank: int, make: Make, finished: dict[str, tuple[RunDir, RunDir]]
) -> None:
    of_two = CASES[case][2]
    stopped, goes_on = make(case, f"stopped{rank}", **of_two), 1 if rank and not of_two else 2
    looks = {"sft": 12, "dpo, sharded": 20, "ppo": 60, "sample": 20}[case]
    assert run(stopped, 2, stopped_rank=rank, looks=looks) == [75, 75]
    assert set(run(stopped, goes_on)) == {0}
    one, _ = finished[case]
    if case == "sample":
        assert stopped.samples_path.read_text() == one.samples_path.read_text()
    else:
        assert largest_difference(one, stopped) < CLOSE
        assert figures(stopped) == pytest.approx(figures(one), rel=CLOSE, abs=CLOSE)


# The real launcher.


class Command(subprocess.Popen[bytes]):
    """`python -m training.engine RUN_DIR`, asked as a fork is."""

    def __init__(self, run_dir: RunDir) -> None:
        command = [sys.executable, "-m", "training.engine", str(run_dir.path)]
        with open(run_dir.path / "engine.log", "ab") as log:
            super().__init__(command, stdout=log, stderr=subprocess.STDOUT)

    exitcode = property(subprocess.Popen.poll)
    join = subprocess.Popen.wait


Launcher = Command | BaseProcess


def started(run_dir: RunDir, start: Callable[[RunDir], Launcher] = forks.start_engine) -> Launcher:
    """The launcher of a spec that asks for two processes: a fork that has torch loaded; what it starts are commands."""
    content = json.loads(run_dir.spec_path.read_text())
    run_dir.spec_path.write_text(json.dumps({**content, "processes": 2}))
    return start(run_dir)


def code_of(process: Launcher, seconds: float) -> int | None:
    process.join(timeout=seconds)
    return process.exitcode


def wait_for(run_dir: RunDir, kind: str, process: Launcher) -> None:
    until = time.monotonic() + 200
    while not told(run_dir, kind):
        assert process.exitcode is None, (run_dir.path / "engine.log").read_text()[-3000:]
        assert time.monotonic() < until
        time.sleep(0.05)


def in_the_middle(
    run_dir: RunDir, start: Callable[[RunDir], Launcher] = forks.start_engine
) -> tuple[Launcher, dict[str, psutil.Process]]:
    """A launched run after a step of it, and its processes by rank."""
    process = started(run_dir, start)
    wait_for(run_dir, "step", process)
    return process, {child.environ()["RANK"]: child for child in psutil.Process(process.pid).children()}


LONG = {"max_steps": 100_000, "eval_every": 0, "checkpoint_every": 100_000}


@pytest.mark.slow
def test_a_launched_run_passes_sigterm_on_and_goes_on_afterwards(make: Make) -> None:
    run_dir = make("sft", "launched", **LONG)
    process, ranks = in_the_middle(run_dir, Command)
    assert sorted(ranks) == ["0", "1"]
    psutil.Process(process.pid).terminate()
    assert code_of(process, 60) == 75, (run_dir.path / "engine.log").read_text()[-3000:]
    assert not any(child.is_running() for child in ranks.values())
    assert told(run_dir, "checkpoint")[-1]["step"] == told(run_dir, "step")[-1]["step"]
    assert not told(run_dir, "error")

    steps = told(run_dir, "step")[-1]["step"] + 2
    content = json.loads(run_dir.spec_path.read_text())
    content["config"]["max_steps"] = steps
    run_dir.spec_path.write_text(json.dumps(content))
    assert code_of(started(run_dir), 200) == 0, (run_dir.path / "engine.log").read_text()[-3000:]
    assert (run_dir.result() or {})["steps"] == steps
    assert [event["step"] for event in told(run_dir, "step")] == list(range(1, steps + 1))


@pytest.mark.slow
@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_process_that_is_killed_takes_the_others_down_with_one_readable_error(rank: str, make: Make) -> None:
    run_dir = make("sft", f"killed{rank}", **LONG)
    process, ranks = in_the_middle(run_dir)
    ranks[rank].kill()
    assert code_of(process, 60) == 1
    assert not any(child.is_running() for child in ranks.values())
    [error] = told(run_dir, "error")
    assert f"process {rank} of the run was ended by SIGKILL" in error["reason"]


@pytest.mark.slow
def test_a_launcher_that_is_killed_leaves_no_process_behind(make: Make) -> None:
    run_dir = make("sft", "orphaned", **LONG)
    process, ranks = in_the_middle(run_dir)
    process.kill()
    process.join()
    _, alive = psutil.wait_procs(list(ranks.values()), timeout=20)
    assert not alive


@pytest.mark.slow
def test_bad_input_of_a_launched_run_is_told_once_with_its_exit_code(make: Make) -> None:
    run_dir = make("sft", "bad", shard=True)
    process = started(run_dir)
    assert code_of(process, 200) == 2
    [error] = told(run_dir, "error")
    assert "shard is for full training" in error["reason"]


# What needs no second process.


def test_rows_are_dealt_out_by_length_and_none_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = [5, 90, 12, 40, 41, 7, 60]
    assert processes.share(tokens) == [1, 6, 4, 3, 2, 5, 0]
    control: Any = None
    monkeypatch.setattr(processes, "_team", processes.Team(1, 3, torch.device("cpu"), control))
    shares = [processes.share(tokens, rank) for rank in range(3)]
    assert shares == [[1, 3, 0], [6, 2], [4, 5]]
    assert processes.share(tokens) == shares[1]


def test_a_process_that_is_ended_while_it_leaves_does_not_hide_the_exit_code() -> None:
    """Both refused the run; torch ended the one that had told of it first, because the other was gone before it."""

    def failure(rank: int, exitcode: int, said_at: int) -> ProcessFailure:
        found = ProcessFailure(rank, pid=1, exitcode=exitcode, error_file="/nowhere")
        found.message, found.timestamp = {"message": "EngineError: no such model"}, said_at
        return found

    ended, left = failure(0, -signal.SIGTERM, 10), failure(1, 2, 11)
    assert launch._outcome({0: ended, 1: left}) == (2, "no such model")
    assert launch._outcome({0: ended}) == (1, "no such model")


@pytest.mark.parametrize(
    ("exitcode", "reason"),
    [
        (-signal.SIGKILL, "was ended by SIGKILL, most often because the memory ran out"),
        (-signal.SIGSEGV, "was ended by SIGSEGV"),
        (1, "ended with code 1; the log says more"),
    ],
)
def test_a_process_that_told_nothing_is_described_by_how_it_ended(exitcode: int, reason: str) -> None:
    told = launch._outcome({2: ProcessFailure(2, pid=1, exitcode=exitcode, error_file="/nowhere")})
    assert told == (1, f"process 2 of the run {reason}")


def test_more_processes_than_gpus_are_refused(
    make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = make("sft", "too many")
    content = json.loads(run_dir.spec_path.read_text())
    run_dir.spec_path.write_text(json.dumps({**content, "processes": 3}))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert main([str(run_dir.path)]) == 2
    assert "the run is for 3 processes, a GPU each, but this machine has 2 GPUs" in capsys.readouterr().err
    assert len(told(run_dir, "error")) == 1


def test_sharding_alone_is_refused(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(make("sft", "alone", shard=True, lora=False).path)]) == 2
    assert "this run has one" in capsys.readouterr().err
