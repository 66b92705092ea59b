"""`accelerate launch` for runs whose spec asks for several processes: start them, pass SIGTERM on, say how it ended.

It is called here rather than from a shell because of the exit code: `accelerate launch` itself knows only 0 and 1.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

from training.engine import stop
from training.engine.errors import EngineError, Stopped
from training.engine.run_dir import RunDir

FAILED, STOPPED = 1, 75


def is_launched() -> bool:
    """Whether this process is one of several that `accelerate launch` has started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_main() -> bool:
    """Whether it is the one that writes."""
    return not is_launched() or os.environ["RANK"] == "0"


def check_gpus(processes: int) -> None:
    """EngineError where there are GPUs, but not one for each process."""
    import torch

    gpus = torch.cuda.device_count()
    if 0 < gpus < processes:
        raise EngineError(f"the run is for {processes} processes, a GPU each, but this machine has {gpus} GPUs")


def launch(run_dir: RunDir, processes: int) -> tuple[int, str]:
    """Run this very command in so many processes. Returns the exit code, and the reason when they failed.

    On a machine without a GPU they share its processor and speak through gloo.
    """
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # torch's own handler gives the processes 30 seconds, then kills them, and forgets how they ended.
    os.environ["PET_SIGNALS_TO_HANDLE"] = "SIGINT"
    options = ["--multi_gpu", "--num_processes", str(processes), "--num_machines", "1", "--main_process_port", "0"]
    options += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    parser = launch_command_parser()
    signal.signal(signal.SIGTERM, _pass_on)
    try:
        launch_command(parser.parse_args([*options, "-m", "training.engine", str(run_dir.path)]))
    except Stopped:
        return STOPPED, ""
    except ChildFailedError as error:
        return _outcome(error.failures)
    return 0, ""


def record(reason: str) -> None:
    """In a launched process: leave the reason where the launcher finds it."""
    if is_launched():
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(EngineError(reason))


def end(code: int) -> NoReturn:
    """End this process; a launched one without taking Python down, as gloo's thread may still hold the last tensor."""
    if not is_launched():
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # what a full disk has refused
            stream.flush()
    os._exit(code)


def _pass_on(number: int, frame: FrameType | None) -> None:
    """SIGTERM is for the processes: they agree where to stop. Stopped when none has started yet."""
    import psutil

    stop.note(number, frame)
    children = psutil.Process().children()
    if not children:
        raise Stopped
    for child in children:
        child.send_signal(signal.SIGTERM)


def _outcome(failures: dict[int, Any]) -> tuple[int, str]:
    """The exit code of the run, and why it failed, from how its processes ended, by rank."""
    codes = {failure.exitcode for failure in failures.values()}
    if codes <= {STOPPED} or (stop.requested() and codes <= {STOPPED, -signal.SIGTERM}):
        return STOPPED, ""
    told = [failure for failure in failures.values() if isinstance(failure.message, dict)]
    told.sort(key=lambda failure: failure.timestamp)
    if told:
        # The first to end makes torch end the others by SIGTERM, among them those that were just leaving by themselves.
        code = next((failure.exitcode for failure in told if failure.exitcode > 0), FAILED)
        return code, told[0].message["message"].removeprefix(f"{EngineError.__name__}: ")
    for rank, failure in failures.items():
        if failure.exitcode == -signal.SIGKILL:
            return FAILED, f"process {rank} of the run was ended by SIGKILL, most often because the memory ran out"
        if failure.exitcode < 0:
            return FAILED, f"process {rank} of the run was ended by {signal.Signals(-failure.exitcode).name}"
    rank, failure = next(iter(failures.items()))
    return FAILED, f"process {rank} of the run ended with code {failure.exitcode}; the log says more"
