"""``python -m training.engine RUN_DIR``: run what spec.json says.

Exit codes: 0 done, 75 stopped by SIGTERM after a checkpoint, 2 bad input, 1 anything else.

Where the spec asks for several processes, this one becomes their launcher; each of them is this command again.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
import traceback
import warnings

from training.engine import launch, stop
from training.engine.config import METHODS, Config, ConfigError, load_config
from training.engine.errors import EngineError, Finished, LostProcess, Stopped
from training.engine.events import EventWriter, NoEvents
from training.engine.run_dir import RunDir, RunDirError, Spec

DONE, FAILED, BAD_INPUT, STOPPED = 0, 1, 2, 75
MEMORY_ADVICE = "set tokens_per_pass to 512, lower batch_size or max_length, or switch gradient_checkpointing on"


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
        _finish_telling(run_dir)
        return DONE  # it finished before; starting it again changes nothing
    stop.install()
    events = EventWriter(run_dir.events_path) if launch.is_main() else NoEvents()
    try:
        spec, config = _checked(run_dir)
        if spec.processes > 1 and spec.method != "import" and not launch.is_launched():
            return _launch(run_dir, spec.processes, events)
        _run(run_dir, spec, config, events)
    except Finished:
        code = DONE
    except Stopped:
        code = STOPPED
    except LostProcess as error:  # that process has told why, or its launcher will
        print(error, file=sys.stderr)
        code = FAILED
    except (EngineError, RunDirError, ConfigError) as error:
        launch.record(str(error))
        print(error, file=sys.stderr)
        code = _told(events, str(error), BAD_INPUT)
    except Exception as error:  # noqa: BLE001 - the one broad place: the run's page gets a reason, whatever happened
        launch.record(readable(error))
        traceback.print_exc()
        print(readable(error), file=sys.stderr)
        code = _told(events, readable(error), FAILED)
    else:
        code = DONE
    _close(events)
    return code


def _finish_telling(run_dir: RunDir) -> None:
    """The last event of a run that was killed between its result and that event."""
    events, result = EventWriter(run_dir.events_path), run_dir.result()
    if events.newest[1] != "done" and result is not None:
        events.write("done", metrics=result["metrics"])
    events.close()


def _close(events: EventWriter) -> None:
    with contextlib.suppress(OSError):  # what a full disk has refused
        events.close()


def _told(events: EventWriter, reason: str, code: int) -> int:
    """Write the error event, unless the disk has no room for it; returns the exit code."""
    with contextlib.suppress(OSError):
        events.write("error", reason=reason)
    return code


def _checked(run_dir: RunDir) -> tuple[Spec, Config]:
    """What the run is to do. RunDirError or ConfigError when that cannot be."""
    spec = run_dir.spec()
    config = load_config(spec.method, spec.config)
    run_dir.verify()
    return spec, config


def _launch(run_dir: RunDir, processes: int, before: EventWriter) -> int:
    """Let several processes do it; returns the exit code. A reason that the main one of them has not told is told."""
    launch.check_gpus(processes)
    before.close()
    try:
        code, reason = launch.launch(run_dir, processes)
    except Exception as error:  # noqa: BLE001 - as in main, where the file of events is closed by now
        traceback.print_exc()
        code, reason = FAILED, readable(error)
    if not reason:
        return code
    print(reason, file=sys.stderr)
    events = EventWriter(run_dir.events_path)
    if events.newest == before.newest or events.newest[1] != "error":
        _told(events, reason, code)
    _close(events)
    return code


def _run(run_dir: RunDir, spec: Spec, config: Config, events: EventWriter) -> None:
    _be_quiet()
    from training.engine import processes, vector_maths

    vector_maths.choose_code()
    processes.join()
    try:
        stop.leave_if_requested()
        importlib.import_module(METHODS[spec.method].module).run(run_dir, spec, config, events)
    except Stopped:
        processes.part()
        raise


def _be_quiet() -> None:
    """Before torch is loaded: keep threads and libraries from disturbing anybody."""
    # Threads that wait for each other spin for tens of microseconds, then sleep: see docs/decisions.md.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # Keep the run's log for what matters: no progress bars, no notices about heads that are meant to be new.
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
    launch.end(main(sys.argv[1:]))
