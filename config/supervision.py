"""Several processes under one supervisor: restarts what dies, says so, and gives up when it keeps dying.

The work is done by the library supervisor, run inside this process: a child in a process group of its own, restarts
with growing pauses, stopping with a deadline. Here is what it should do for us and what a person hears of it.
"""

import json
import os
import shlex
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from configparser import RawConfigParser
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from supervisor import events
from supervisor.medusa import asyncore_25
from supervisor.options import ServerOptions
from supervisor.states import SupervisorStates
from supervisor.supervisord import Supervisor

from config.embedded.places import last_lines

Say = Callable[[str], object]


@dataclass(frozen=True)
class Child:
    """A process to keep alive. `stop_seconds` pass between the request to stop and the kill."""

    name: str
    command: Sequence[str]
    stop_seconds: int = 15


@dataclass(frozen=True)
class Patience:
    """When to give up on a child that dies."""

    settle_seconds: int = 2  # dying sooner counts as a failed start
    failed_starts: int = 4  # in a row, with pauses of 1, 2, 3… seconds between them
    deaths: int = 6  # after a good start, within `window_seconds`
    window_seconds: int = 120


def supervise(
    children: Sequence[Child],
    *,
    folder: Path,
    say: Say,
    each_second: Callable[[], object] = lambda: None,
    patience: Patience = Patience(),  # frozen
) -> bool:
    """Run the children until a signal asks to stop (True) or one of them keeps dying (False). Nobody is left behind.

    Logs go to `folder`, one file per child. `each_second` is called about once a second while all is well.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    options = ServerOptions()
    options.realize(args=["-c", str(_write_configuration(children, folder, patience))])
    options.first, options.test = True, False
    options.make_logger()
    keeper = _Keeper(options, folder, say, each_second, patience)
    try:
        with suppress(asyncore_25.ExitNow):
            keeper.run()
    finally:
        end_orphans(folder)  # there are none, unless the library itself has failed
        options.close_logger()
    return not keeper.gave_up


def end_orphans(folder: Path) -> int:
    """Kill the children of a supervisor that was itself killed and could not stop them; how many there were."""
    try:
        written: dict[str, float] = json.loads((folder / "children.json").read_text())
    except (OSError, ValueError):
        return 0
    ended = 0
    for pid, started in written.items():
        with suppress(psutil.Error):
            if psutil.Process(int(pid)).create_time() == started:
                _kill_group(int(pid))
                _await_end_of_group(int(pid))
                ended += 1
    (folder / "children.json").unlink()
    return ended


class _Keeper(Supervisor):  # type: ignore[misc]  # the library has no types
    """The library's supervisor with somebody listening to its events."""

    def __init__(
        self, options: ServerOptions, folder: Path, say: Say, each_second: Callable[[], object], patience: Patience
    ) -> None:
        super().__init__(options)
        self.folder = folder
        self.say = say
        self.each_second = each_second
        self.patience = patience
        self.gave_up = False
        self._deaths: dict[str, list[float]] = defaultdict(list)
        self._next_second = 0.0

    def runforever(self) -> None:
        """The library's loop; the subscriptions come here because it clears them on its way."""
        events.subscribe(events.ProcessStateStartingEvent, lambda event: self._write_pids())
        events.subscribe(events.ProcessStateRunningEvent, lambda event: self._write_pids())
        events.subscribe(events.ProcessStateBackoffEvent, self._died_at_start)
        events.subscribe(events.ProcessStateExitedEvent, self._died)
        events.subscribe(events.ProcessStateStoppedEvent, lambda event: _kill_group(event.process.pid))
        events.subscribe(events.SupervisorStoppingEvent, lambda event: self.say("Stopping …"))
        events.subscribe(events.ProcessStateFatalEvent, lambda event: self._give_up(event.process.config.name))
        super().runforever()

    def tick(self, now: float | None = None) -> None:
        """Called by the library's loop at least once a second."""
        super().tick(now)
        if time.monotonic() >= self._next_second and self.options.mood == SupervisorStates.RUNNING:
            self._next_second = time.monotonic() + 1
            self._write_pids()
            self.each_second()

    def _died_at_start(self, event: Any) -> None:
        name = event.process.config.name
        _kill_group(event.process.pid)
        if event.process.backoff <= self.patience.failed_starts:
            self.say(f"{name} ended right after its start; trying again. {self._last_words(name)}")

    def _died(self, event: Any) -> None:
        name = event.process.config.name
        _kill_group(event.process.pid)
        if self.options.mood < SupervisorStates.RUNNING:
            return
        now = time.monotonic()
        recent = [at for at in self._deaths[name] if now - at < self.patience.window_seconds]
        self._deaths[name] = [*recent, now]
        if len(self._deaths[name]) >= self.patience.deaths:
            self._give_up(name)
            return
        code = event.process.exitstatus
        how = "was killed" if code < 0 else f"ended with code {code}"
        self.say(f"{name} {how}; starting it again. {self._last_words(name)}")

    def _give_up(self, name: str) -> None:
        self.gave_up = True
        self.options.mood = SupervisorStates.SHUTDOWN
        self.say(f"{name} keeps dying: giving up and stopping everything. {self._last_words(name)}")

    def _last_words(self, name: str) -> str:
        log = self.folder / f"{name}.log"
        return f"Its log: {log}. It ends: {last_lines(log, 1)[:300] or '(empty)'}"

    def _write_pids(self) -> None:
        """Keep a list of whom to end, should this process be killed; see `end_orphans`."""
        alive = {}
        for group in self.process_groups.values():
            for process in group.processes.values():
                with suppress(psutil.Error):
                    if process.pid:
                        alive[str(process.pid)] = psutil.Process(process.pid).create_time()
        draft = self.folder / "children.json.new"
        draft.write_text(json.dumps(alive))
        draft.replace(self.folder / "children.json")


def _kill_group(pid: int) -> None:
    """End what a dead child left of its process group: pool processes, a training engine."""
    if pid:
        with suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
            os.killpg(pid, signal.SIGKILL)


def _await_end_of_group(pid: int, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    with suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.killpg(pid, 0)
            time.sleep(0.02)


def _write_configuration(children: Sequence[Child], folder: Path, patience: Patience) -> Path:
    sections: dict[str, dict[str, object]] = {
        "supervisord": {
            "nodaemon": "true",
            "silent": "true",
            "logfile": folder / "supervisor.log",
            "pidfile": folder / "supervisor.pid",
            "childlogdir": folder,
            "nocleanup": "true",
            "umask": "022",
        },
        # One group, so that all are asked to stop at once and not one after the other.
        "group:prefloop": {"programs": ",".join(child.name for child in children)},
    }
    for child in children:
        sections[f"program:{child.name}"] = {
            "command": shlex.join(child.command),
            "autorestart": "true",
            "startsecs": patience.settle_seconds,
            "startretries": patience.failed_starts,
            "stopsignal": "TERM",
            "stopwaitsecs": child.stop_seconds,
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": folder / f"{child.name}.log",
            "stdout_logfile_maxbytes": "10MB",
            "stdout_logfile_backups": 2,
        }
    parser = RawConfigParser()
    for section, values in sections.items():
        parser[section] = {name: str(value).replace("%", "%%") for name, value in values.items()}
    path = folder / "supervisor.conf"
    with path.open("w") as file:
        parser.write(file)
    return path
