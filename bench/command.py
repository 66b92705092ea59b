"""The command line of the bench, and its course: rows one after the other, the results written after each."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench import data, driver, machine, models, peer_environment, results, rows, table
from bench.data import ROOT
from bench.driver import Row
from bench.errors import ArmError, DisagreementError, MissingError
from bench.ours_ppo import EPOCHS
from bench.rows import Sizes, Workshop
from bench.turns import ArmSpec

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# A GPU needs a larger rollout to be busy; the smallest work that still touches every part of the bench.
ON_GPU = Sizes(ppo_prompts=64, ppo_tokens=128)
SMALL = Sizes(pairs=16, long_prompt=100, ppo_prompts=4, ppo_tokens=4, sampled_tokens=4, batches=(4,))

Proofs = dict[tuple[str, str], dict[str, dict[str, float]]]


def main(arguments: Sequence[str]) -> int:
    """Run the rows that are asked for. 0 done, 1 the arms disagree or one died, 2 something is missing."""
    try:
        Bench(read_options(arguments)).run()
    except MissingError as error:
        print(error, file=sys.stderr)
        return 2
    except (DisagreementError, ArmError) as error:
        print(f"{error}\nNothing more is measured.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; the rows that were finished are written.", file=sys.stderr)
        return 130
    return 0


def read_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; what it does not name is measured in full."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Ours and the peers, taking turns.")

    def listed(text: str) -> list[str]:
        return [name.strip() for name in text.split(",") if name.strip()]

    def some_of(known: tuple[str, ...]) -> Any:
        def read(text: str) -> list[str]:
            chosen = listed(text) or list(known)
            if unknown := sorted(set(chosen) - set(known)):
                raise argparse.ArgumentTypeError(f"{unknown[0]} is not one of {', '.join(known)}")
            return chosen

        return read

    parser.add_argument(
        "--rows", type=some_of(rows.WORKS), default=list(rows.WORKS), help=f"some of {', '.join(rows.WORKS)}"
    )
    parser.add_argument("--kinds", type=some_of(rows.DATA), default=list(rows.DATA), help="data: short, long or both")
    parser.add_argument("--precision", type=some_of(rows.PRECISIONS), default=[], help="fp32, bf16 or both")
    parser.add_argument("--arms", type=listed, default=[], help="only these besides the first: names, with commas")
    parser.add_argument("--steps", type=int, default=0, help="rounds to measure; 0 is 5, 3 where a turn is long")
    parser.add_argument("--model", choices=models.NAMES, default="smollm2")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--data", default="", help="JSON Lines of prompt, chosen, rejected")
    parser.add_argument("--keep", type=Path, default=ROOT / "var" / "bench", help="models, environments, logs")
    parser.add_argument("--out", type=Path, default=None, help="results file; default bench/results/MACHINE.json")
    parser.add_argument("--small", action="store_true", help="little work, to see that everything runs")
    options = parser.parse_args(arguments)
    options.precision = options.precision or (["bf16"] if options.device == "cuda" else list(rows.PRECISIONS))
    return options


class Bench:
    """One run of the bench."""

    def __init__(self, options: argparse.Namespace) -> None:
        if options.device == "cuda" and not torch.cuda.is_available():
            raise MissingError("There is no GPU that torch can use here: `make bench` measures on the CPU.")
        pairs = data.data_path(options.data)
        self.options, self.began = options, time.monotonic()
        self.scratch = options.keep.resolve() / "run"
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        self.description = machine.describe(options.device)
        self.say(f"{options.model} on {self.description['processor']}")
        sizes = SMALL if options.small else (ON_GPU if options.device == "cuda" else Sizes())
        base = models.base_folder(options.model, options.keep / "models")
        self.shop = Workshop(options.model, base, options.keep / "models", self.scratch, pairs, options.device, sizes)
        self.out = options.out or ROOT / "bench" / "results" / f"{machine.slug(self.description, options.device)}.json"
        self.commit = machine.commit()
        self.peer_python = ""

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.0f} s  {text}", flush=True)

    def run(self) -> None:
        """Row after row; the results file is written after each one."""
        peaks = self.measure_peaks()
        proven: Proofs = {}
        measured: list[dict[str, Any]] = []
        head = {
            "machine": self.description,
            "model": self.options.model,
            "parameters": models.parameters_of(self.shop.base),
        }
        for work in self.options.rows:
            for row in rows.rows_of(work, self.shop, self.options.kinds, self.options.precision, self.options.steps):
                measured.append(self.measure(row, peaks, proven))
                results.write(self.out, results.merge(self.out, {**head, "versions": self.versions()}, measured))
        print()
        print(table.show({**head, "versions": self.versions(), "rows": measured}))
        print(f"\nWritten to {self.out}")
        shutil.rmtree(self.scratch)

    def measure_peaks(self) -> dict[str, float]:
        """Operations per second of a large matmul in each precision, measured now."""
        peaks = {name: machine.matmul_peak(DTYPES[name], self.options.device) for name in self.options.precision}
        self.say("matmul peak: " + ", ".join(f"{name} {value / 1e9:.0f} GFLOP/s" for name, value in peaks.items()))
        return peaks

    def measure(self, row: Row, peaks: dict[str, float], proven: Proofs) -> dict[str, Any]:
        """Prove once for each work and data, then time."""
        self.say(row.title)
        if self.options.arms:
            row = replace(row, arms=(row.arms[0], *(arm for arm in row.arms[1:] if arm.name in self.options.arms)))
        key = (row.work, row.data)
        if row.proof_data and key not in proven:
            proven[key] = driver.prove(row, self.python_of, self.say)
        arms = driver.run_row(row, self.python_of, self.say)
        result = results.result_of(row, arms, proven.get(key), peaks[row.precision], self.commit)
        if row.work == "ppo":
            self.add_parts(result)
        return result

    def add_parts(self, result: dict[str, Any]) -> None:
        """Generation, scoring and training of our first PPO arm apart."""
        sizes = self.shop.sizes
        prompts = [row.prompt_ids for row in self.shop.rows("short")[: sizes.ppo_prompts]]
        answers = sizes.ppo_tokens * len(prompts)
        total = sum(map(len, prompts)) + answers
        tokens = {"generation": answers, "scoring": total, "training": EPOCHS * total}
        parts = rows.ppo_parts(self.shop.shape(), prompts, sizes.ppo_tokens, own_value=False)
        results.add_parts(result, parts, tokens)

    def python_of(self, spec: ArmSpec) -> str:
        """This Python, but for the peer's PPO, which is set up when it is first needed."""
        if (spec.side, spec.work) != ("trl", "ppo"):
            return sys.executable
        if not self.peer_python:
            self.say("  the environment of TRL 1.12")
            self.peer_python = peer_environment.python_with_trl_1_12(self.options.keep / "trl-1.12")
        return self.peer_python

    def versions(self) -> dict[str, str]:
        return machine.versions(peer_environment.PINNED.partition("==")[2] if self.peer_python else "")
