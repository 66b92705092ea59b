"""Runs a row: starts its arms as processes, lets them prove and then take turns, and gathers what they measured."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from bench import agreement
from bench.data import ROOT
from bench.errors import ArmError
from bench.flops import Flops
from bench.machine import spread
from bench.turns import ArmSpec

Say = Callable[[str], None]
# The same for every arm. Threads that wait soon sleep, as in the engine: idle arms take no time from the one at work.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONWARNINGS": "ignore",
    "TQDM_DISABLE": "1",
}


@dataclass(frozen=True)
class Row:
    """One line of the issue's table: arms that do the same work, and what that work takes for each real token."""

    work: str
    data: str
    precision: str
    arms: tuple[ArmSpec, ...]
    turns: int
    warm_up: int
    flops: dict[str, Flops] = field(default_factory=dict)  # of a real token, by arm; "" for all others
    proof_data: str = ""  # the first batch alone; empty where arms do different work and nothing can agree

    @property
    def title(self) -> str:
        return f"{self.work} · {self.data} · {self.precision}"

    def flops_of(self, arm: str) -> Flops | None:
        return self.flops.get(arm, self.flops.get(""))


class Arm:
    """A process that takes turns."""

    def __init__(self, spec: ArmSpec, python: str) -> None:
        self.spec = spec
        folder = Path(spec.folder)
        folder.mkdir(parents=True)
        self.log = folder / "log.txt"
        environment = {**os.environ, **ENVIRONMENT, "HF_HOME": str(folder / "hf"), "PYTHONPATH": str(ROOT)}
        environment.setdefault("GOMP_SPINCOUNT", "20000")
        if spec.device == "cpu":
            environment["CUDA_VISIBLE_DEVICES"] = ""
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [python, "-m", "bench.arm"],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._write(spec.to_line())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # the last word to an arm that has died
                    pipe.close()

    def ready(self) -> dict[str, Any]:
        """Wait until everything is loaded."""
        return self._read()

    def turn(self) -> dict[str, Any]:
        """Let it take a turn: seconds, tokens, and what else it tells."""
        self._write("turn")
        return self._read()

    def quit(self) -> float:
        """End it; its peak of memory in MiB."""
        self._write("quit")
        return float(self._read()["peak_mib"])

    def _write(self, line: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise self._death()
        found: dict[str, Any] = json.loads(line)
        return found

    def _death(self) -> ArmError:
        code = self.process.wait()
        said = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        last = said[-1] if said else "silent"
        if code == -signal.SIGKILL:
            last = "killed, most often because the memory ran out; a row's arms are loaded together, ARMS= names fewer"
        return ArmError(f"{self.spec.name} ended with code {code}: {last} (all of it: {self.log})")


def prove(row: Row, python_of: Callable[[ArmSpec], str], say: Say) -> dict[str, dict[str, float]]:
    """One arm after the other leaves loss and gradients of the first batch in fp32; ours against each other one.

    Raises DisagreementError, and then nothing is timed.
    """
    found = {}
    for arm in row.arms:
        folder = Path(arm.folder).with_name(Path(arm.folder).name + "-proof")
        path = folder / "proof.safetensors"
        options = dict(arm.options)
        if "packed_rows" in options:
            options["packed_rows"] = arm.batch  # one batch must hold all rows of the proof
        spec = replace(arm, folder=str(folder), precision="fp32", data=row.proof_data, proof=str(path), options=options)
        with Arm(spec, python_of(spec)) as process:
            process.ready()
            process.quit()
        found[arm.name] = agreement.read_proof(path)
        path.unlink()
    first = row.arms[0].name
    apart = {name: agreement.check(found[first], proof, name) for name, proof in found.items() if name != first}
    if apart:
        worst = max(item["gradients"] for item in apart.values())
        say(f"  {len(found)} arms agree: loss and gradients, at most {worst:.1e} apart")
    return apart


def run_row(row: Row, python_of: Callable[[ArmSpec], str], say: Say) -> list[dict[str, Any]]:
    """All arms loaded at once, a turn each in turn, round after round; what each measured."""
    with ExitStack() as stack:
        arms = []
        for spec in row.arms:
            arm = stack.enter_context(Arm(spec, python_of(spec)))
            say(f"  loading {spec.name}")
            arms.append((arm, arm.ready()))
        turns: list[list[dict[str, Any]]] = [[] for _ in arms]
        began = time.monotonic()
        for number in range(row.warm_up + row.turns):
            answers = [arm.turn() for arm, _ in arms]
            if number >= row.warm_up:
                for kept, answer in zip(turns, answers, strict=True):
                    kept.append(answer)
            say(progress(row, number, answers, time.monotonic() - began))
        return [
            {"name": arm.spec.name, "side": arm.spec.side, "without": arm.spec.without, **facts, **gather(kept)}
            | {"peak_mib": round(arm.quit(), 1)}
            for (arm, facts), kept in zip(arms, turns, strict=True)
        ]


def progress(row: Row, number: int, answers: Sequence[dict[str, Any]], seconds: float) -> str:
    rounds = row.warm_up + row.turns
    parts = [f"{arm.name} {answer['seconds']:.2f} s" for arm, answer in zip(row.arms, answers, strict=True)]
    left = seconds / (number + 1) * (rounds - number - 1)
    kind = "warm-up" if number < row.warm_up else "round"
    return f"  {kind} {number + 1} of {rounds}: {', '.join(parts)}; {left / 60:.1f} min of this row left"


def gather(turns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians and interquartile ranges of an arm's turns, and the turns themselves."""
    seconds = [float(turn["seconds"]) for turn in turns]
    rates = [turn["tokens"] / turn["seconds"] for turn in turns]
    parts = {name: statistics.median(turn[name] for turn in turns) for name in turns[0] if name.endswith("_seconds")}
    return {
        "seconds": [round(item, 4) for item in seconds],
        "tokens": [int(turn["tokens"]) for turn in turns],
        "median_seconds": statistics.median(seconds),
        "spread_seconds": spread(seconds),
        "tokens_per_second": statistics.median(rates),
        "parts": parts,
    }


def python_here(spec: ArmSpec) -> str:
    return sys.executable
