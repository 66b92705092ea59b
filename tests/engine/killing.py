"""A run of the engine that is killed by SIGKILL before its n-th effect on the disk.

An effect is whatever another process could see: an event, a file written, synced or renamed, a folder made or removed.
A file of tensors is written by half before the kill.
"""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.engine import checkpoint, events, reference, saving
from training.engine.__main__ import main

EFFECTS: list[tuple[Any, str]] = [
    (events.EventWriter, "write"),
    (os, "fsync"),
    (os, "rename"),
    (os, "replace"),
    (os, "mkdir"),
    (shutil, "rmtree"),
    (checkpoint, "save_file"),
    (reference, "save_file"),
    (saving, "finish_model_folder"),
]


def attempt(run_dir: str, survive: int | None, log: Path) -> int:
    """The exit code of a run that lives as long; with ``survive`` None nothing is killed. The log lists the effects."""
    done: list[str] = []
    for owner, name in EFFECTS:
        setattr(owner, name, counted(getattr(owner, name), name, done, survive, log))
    code = main([run_dir])
    log.write_text(json.dumps(done))
    return code


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
