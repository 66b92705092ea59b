"""Processes that have torch and the engine loaded when they start: forks of one that has done nothing but load them.

Loading takes a processor longer than what most tests let such a process do.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from training.engine import dpo, import_model, ppo, reward, sample, sft
from training.engine.__main__ import main
from training.engine.run_dir import RunDir

LOADED = (dpo, import_model, ppo, reward, sample, sft)
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["pytest", __name__])  # pytest: every fork imports its parent's main module


def start(log: Path, work: Callable[..., int], *arguments: object) -> BaseProcess:
    """Work in a process of its own, in a session of its own; its exit code is what the work returns."""
    process = _CONTEXT.Process(target=_work, args=(log, work, arguments), daemon=True)
    process.start()
    return process


def start_engine(run_dir: RunDir) -> BaseProcess:
    """What ``python -m training.engine RUN_DIR`` does."""
    return start(run_dir.path / "engine.log", main, [str(run_dir.path)])


def _work(log: Path, work: Callable[..., int], arguments: tuple[object, ...]) -> None:
    with open(log, "ab") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    os.setsid()
    sys.exit(work(*arguments))
