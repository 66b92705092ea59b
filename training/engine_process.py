"""The engine as a child process: started, watched, asked to stop, and never two of them on one run directory."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import IO, Self

from django.conf import settings
from django.utils.translation import gettext_noop

from models_registry.sayings import saying
from training.engine.run_dir import RunDir

STOPPED = 75  # the engine's exit code after SIGTERM: it wrote a checkpoint
LOG_TAIL_BYTES = 20_000
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1
ANOTHER_MACHINE = saying(gettext_noop("another machine"))
ELSEWHERE = saying(gettext_noop("Another engine is at work on this run on %(host)s."))
WILL_NOT_END = saying(gettext_noop("Another engine (process %(pid)s) is at work on this run and does not end."))
SECRETS = ("SECRET_KEY", "DATABASE_URL", "REDIS_URL")


class EngineBusyError(RuntimeError):
    """Another engine holds the run directory and cannot be ended from here."""


class EngineProcess:
    """One engine at work in a run directory.

    It leads a session of its own, so a signal to the worker's group does not reach it, and it inherits a lock on the
    run directory: while it lives, nobody starts a second one there. Several processes at one run are its children, and
    on Linux end with it.
    """

    def __init__(self, process: subprocess.Popen[bytes], grace_seconds: float) -> None:
        self._process, self._grace_seconds = process, grace_seconds
        self._asked_at: float | None = None

    @classmethod
    def start(cls, run_dir: RunDir, *, offline: bool = True) -> Self:
        """Start it. An engine whose worker died is ended first; EngineBusyError if that cannot be done."""
        with open(run_dir.path / "engine.lock", "a+b") as lock, open(log_path(run_dir), "ab") as log:
            _take(lock)
            process = subprocess.Popen(
                [*settings.ENGINE_COMMAND, str(run_dir.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[lock.fileno()],
                preexec_fn=_stop_with_parent if LIBC else None,  # noqa: PLW1509 - see there
                cwd=settings.BASE_DIR,
                env=environment(offline=offline),
            )
            lock.truncate(0)
            lock.write(f"{process.pid} {socket.gethostname()}".encode())
        return cls(process, settings.ENGINE_GRACE_SECONDS)

    def poll(self) -> int | None:
        """Its exit code, negative for a signal, or None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask it to write a checkpoint and leave; when called again after the grace period, kill it."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            self._signal(signal.SIGTERM)
        elif time.monotonic() - self._asked_at > self._grace_seconds:
            self.kill()

    def kill(self) -> None:
        """End it and everything it started, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)


def _stop_with_parent() -> None:
    """On Linux a worker that is killed takes its engine along: it gets SIGTERM, so it writes a checkpoint and leaves.

    Runs in the child between fork and exec, where only a system call is safe.
    """
    if LIBC:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def environment(*, offline: bool) -> dict[str, str]:
    """What the engine may know of ours: everything but secrets. Training needs no network, so it gets none."""
    kept = {name: value for name, value in os.environ.items() if name not in SECRETS}
    return kept | {"PYTHONUNBUFFERED": "1"} | ({"HF_HUB_OFFLINE": "1"} if offline else {})


def _take(lock: IO[bytes]) -> None:
    """Lock the file, ending the orphaned engine that holds it, if one does."""
    if _locked(lock):
        return
    lock.seek(0)
    pid, _, host = lock.read().decode().partition(" ")
    if host != socket.gethostname() or not pid.isdigit():
        raise EngineBusyError(ELSEWHERE % {"host": host or ANOTHER_MACHINE})
    with suppress(ProcessLookupError):
        os.killpg(int(pid), signal.SIGKILL)
    for _attempt in range(100):
        if _locked(lock):
            return
        time.sleep(0.1)
    raise EngineBusyError(WILL_NOT_END % {"pid": pid})


def _locked(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def log_path(run_dir: RunDir) -> str:
    return str(run_dir.path / "engine.log")


def log_tail(run_dir: RunDir) -> str:
    """The end of what the engine printed, from a whole line on; empty when it printed nothing."""
    try:
        with open(log_path(run_dir), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_TAIL_BYTES))
            content = file.read()
    except FileNotFoundError:
        return ""
    if size > LOG_TAIL_BYTES:
        content = content[content.find(b"\n") + 1 :]
    return as_drawn(content.decode("utf-8", "replace").replace("\0", ""))


def as_drawn(text: str) -> str:
    """What a terminal is left with: of a line that was drawn over, as a progress bar is, the last drawing."""
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
