"""Run one directory of the engine again and again, killed by SIGKILL before its n-th effect on the disk.

``python -m tests.engine.killing RUN_DIR N N …``: one attempt per N, then one to the end, whose exit code is returned.
An effect is whatever another process could see: an event, a file written, synced or renamed, a folder made or removed.
A file of tensors is written by half before the kill. Each attempt is a fork, so that torch is loaded once.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.engine import checkpoint, dpo, events, ppo, saving
from training.engine.__main__ import main

EFFECTS: list[tuple[Any, str]] = [
    (events.EventWriter, "write"),
    (os, "fsync"),
    (os, "rename"),
    (os, "replace"),
    (os, "mkdir"),
    (shutil, "rmtree"),
    (checkpoint, "save_file"),
    (dpo, "save_file"),
    (saving, "finish_model_folder"),
]


def attempt(run_dir: str, survive: int | None, log: Path) -> int:
    """Fork, run, and return the child's wait status; with ``survive`` None nothing is killed."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    done: list[str] = []
    for owner, name in EFFECTS:
        setattr(owner, name, counted(getattr(owner, name), name, done, survive, log))
    code = main([run_dir])
    log.write_text(json.dumps(done))
    os._exit(code)


def counted(
    effect: Callable[..., Any], name: str, done: list[str], survive: int | None, log: Path
) -> Callable[..., Any]:
    def wrapped(*arguments: Any, **options: Any) -> Any:
        if survive is not None and len(done) == survive:
            log.write_text(json.dumps([*done, name]))
            if name == "save_file":
                Path(arguments[1]).write_bytes(b"\x10\0\0\0\0\0\0\0half")
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(name)
        return effect(*arguments, **options)

    return wrapped


if __name__ == "__main__":
    assert ppo  # every method is imported before the first fork
    folder, *points = sys.argv[1:]
    for number, point in enumerate(points):
        status = attempt(folder, int(point), Path(folder) / f"killed-{number}.json")
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
            sys.exit(os.WEXITSTATUS(status))
    sys.exit(os.waitstatus_to_exitcode(attempt(folder, None, Path(folder) / "finished.json")))
