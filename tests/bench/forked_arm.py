"""An arm of the bench that is a fork with torch loaded, as `bench.driver` sees any process."""

import os
import sys
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TextIO

from bench import arm
from tests.engine import forks


class ForkedArm:
    """In place of `subprocess.Popen`."""

    def __init__(self, command: Sequence[str], *, env: dict[str, str], stderr: TextIO, **same: Any) -> None:
        asked, asking = Pipe(duplex=False)
        answering, answer = Pipe(duplex=False)
        self._process = forks.start(Path(stderr.name), take_turns, asked, answer, env)
        self.stdin = os.fdopen(os.dup(asking.fileno()), "w")
        self.stdout = os.fdopen(os.dup(answering.fileno()))
        for end in (asked, asking, answering, answer):
            end.close()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()


def take_turns(asked: Connection, answer: Connection, env: dict[str, str]) -> int:
    """``python -m bench.arm``."""
    os.environ.update(env)
    os.dup2(asked.fileno(), 0)
    os.dup2(answer.fileno(), 1)
    sys.stdin = os.fdopen(0)
    arm.main()
    return 0
