"""``python -m training.engine RUN_DIR``: run what spec.json says.

Exit codes: 0 done, 75 stopped by SIGTERM after a checkpoint, 2 bad input, 1 anything else.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
import traceback
import warnings

from training.engine import stop
from training.engine.config import ConfigError, load_config
from training.engine.errors import EngineError, Stopped
from training.engine.events import EventWriter
from training.engine.run_dir import RunDir, RunDirError

# One line adds a method. Modules are imported when needed: a config mistake is told before torch loads.
METHOD_MODULES = {
    "sft": "training.engine.sft",
    "reward": "training.engine.reward",
    "dpo": "training.engine.dpo",
    "ppo": "training.engine.ppo",
    "sample": "training.engine.sample",
    "import": "training.engine.import_model",
}

DONE, FAILED, BAD_INPUT, STOPPED = 0, 1, 2, 75
MEMORY_ADVICE = "lower tokens_per_pass, batch_size or max_length, or switch gradient_checkpointing on"


def main(arguments: list[str]) -> int:
    """Run one directory and return the exit code."""
    if len(arguments) != 1:
        print("usage: python -m training.engine RUN_DIR", file=sys.stderr)
        return BAD_INPUT
    run_dir = RunDir(arguments[0])
    if not run_dir.path.is_dir():
        print(f"{run_dir.path} is not a directory", file=sys.stderr)
        return BAD_INPUT
    if run_dir.result_path.exists():
        return DONE  # it finished before; starting it again changes nothing
    stop.install()
    events = EventWriter(run_dir.events_path)
    try:
        _run(run_dir, events)
    except Stopped:
        code = STOPPED
    except (EngineError, RunDirError, ConfigError) as error:
        print(error, file=sys.stderr)
        code = _told(events, str(error), BAD_INPUT)
    except Exception as error:  # noqa: BLE001 - the one broad place: the run's page gets a reason, whatever happened
        traceback.print_exc()
        print(readable(error), file=sys.stderr)
        code = _told(events, readable(error), FAILED)
    else:
        code = DONE
    with contextlib.suppress(OSError):  # what a full disk has refused
        events.close()
    return code


def _told(events: EventWriter, reason: str, code: int) -> int:
    """Write the error event, unless the disk has no room for it; returns the exit code."""
    with contextlib.suppress(OSError):
        events.write("error", reason=reason)
    return code


def _run(run_dir: RunDir, events: EventWriter) -> None:
    spec = run_dir.spec()
    config = load_config(spec.method, spec.config)
    run_dir.verify()
    stop.leave_if_requested()
    # Threads that wait for each other spin for tens of microseconds, then sleep: see docs/decisions.md.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    _quiet_libraries()
    importlib.import_module(METHOD_MODULES[spec.method]).run(run_dir, spec, config, events)


def _quiet_libraries() -> None:
    """Keep the run's log for what matters: no progress bars, no notices about heads that are meant to be new."""
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\..*|peft\..*")


def readable(error: BaseException) -> str:
    """One sentence for a person: memory is recognised and answered with what to lower."""
    text = str(error).strip()
    names = {item.__name__ for item in type(error).__mro__}
    if names & {"OutOfMemoryError", "MemoryError"} or "DefaultCPUAllocator" in text or "out of memory" in text.lower():
        return f"out of memory: {MEMORY_ADVICE}"
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in text:
        return "the disk is full; free some space and start the run again, it goes on from its last checkpoint"
    first = text.splitlines()[0][:300] if text else ""
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
