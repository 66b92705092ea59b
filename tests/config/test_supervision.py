"""The supervisor with children that live, die and refuse to die: who is restarted, who is given up, who is left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")
# Writes its own process id and that of a child of its own, then waits.
PARENT = (
    "import os, subprocess, sys, time;"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "open(sys.argv[1] + '.new', 'w').write(f'{os.getpid()} {child.pid}');"
    "os.replace(sys.argv[1] + '.new', sys.argv[1]);"
    "time.sleep(600)"
)
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {PARENT}"


def supervise(folder: Path, children: str, patience: str = "Patience(settle_seconds=0)") -> subprocess.Popen[str]:
    """Run `supervise` in a process of its own; `children` and `patience` are Python."""
    program = (
        "import sys; from pathlib import Path; from config.supervision import Child, Patience, supervise;"
        f"say = lambda line: print(line, flush=True);"
        f"well = supervise([{children}], folder=Path({str(folder)!r}), say=say, patience={patience});"
        "sys.exit(0 if well else 3)"
    )
    return subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def child(name: str, code: str, *arguments: Path, stop_seconds: int = 15) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return f"Child({name!r}, {command!r}, stop_seconds={stop_seconds})"


def eventually(found: Callable[[], T], seconds: float = 20) -> T:
    deadline = time.monotonic() + seconds
    while not (value := found()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return value


def pids_in(path: Path, *, other_than: list[int] | None = None) -> list[int]:
    """The process ids that a PARENT wrote, as soon as they are there and new."""

    def read() -> list[int]:
        pids = [int(word) for word in path.read_text().split()] if path.exists() else []
        return pids if pids != other_than else []

    return eventually(read)


def are_gone(pids: list[int]) -> bool:
    def check() -> bool:
        return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)

    return eventually(check)


def test_a_killed_child_is_started_again_without_what_it_left(tmp_path: Path) -> None:
    keeper = supervise(tmp_path / "log", child("parent", PARENT, tmp_path / "pids"))
    before = pids_in(tmp_path / "pids")
    os.kill(before[0], signal.SIGKILL)

    after = pids_in(tmp_path / "pids", other_than=before)
    keeper.send_signal(signal.SIGINT)
    said = keeper.communicate(timeout=30)[0]

    assert len(after) == 2
    assert are_gone(before)
    assert "parent was killed; starting it again" in said
    assert keeper.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_every_child_and_its_children(tmp_path: Path, number: signal.Signals) -> None:
    children = f"{child('one', PARENT, tmp_path / 'one')}, {child('two', PARENT, tmp_path / 'two')}"
    keeper = supervise(tmp_path / "log", children)
    pids = [*pids_in(tmp_path / "one"), *pids_in(tmp_path / "two")]

    keeper.send_signal(number)
    keeper.communicate(timeout=30)

    assert len(pids) == 4
    assert are_gone(pids)
    assert keeper.returncode == 0


def test_a_child_that_ignores_the_request_is_killed_after_its_time(tmp_path: Path) -> None:
    keeper = supervise(tmp_path / "log", child("deaf", DEAF, tmp_path / "pids", stop_seconds=1))
    pids = pids_in(tmp_path / "pids")

    keeper.send_signal(signal.SIGINT)
    keeper.communicate(timeout=30)

    assert len(pids) == 2
    assert are_gone(pids)


def test_a_child_that_cannot_start_is_given_up_and_the_others_are_stopped(tmp_path: Path) -> None:
    broken = child("broken", "import sys; sys.exit('no module named torch')")
    children = f"{child('fine', PARENT, tmp_path / 'pids')}, {broken}"
    keeper = supervise(tmp_path / "log", children, "Patience(settle_seconds=1, failed_starts=1)")

    said = keeper.communicate(timeout=60)[0]

    assert keeper.returncode == 3
    assert "broken keeps dying: giving up and stopping everything" in said
    assert "no module named torch" in said
    assert are_gone(pids_in(tmp_path / "pids"))


def test_a_child_that_keeps_dying_later_is_given_up_too(tmp_path: Path) -> None:
    patience = "Patience(settle_seconds=0, deaths=3, window_seconds=60)"
    keeper = supervise(tmp_path / "log", child("fickle", "import time; time.sleep(0.2); exit(7)"), patience)

    said = keeper.communicate(timeout=60)[0]

    assert keeper.returncode == 3
    assert said.count("fickle ended with code 7; starting it again") == 2
    assert "fickle keeps dying" in said


def test_the_next_start_ends_what_a_killed_supervisor_left(tmp_path: Path) -> None:
    killed = supervise(tmp_path / "log", child("parent", PARENT, tmp_path / "pids"))
    orphans = pids_in(tmp_path / "pids")
    assert eventually(lambda: (tmp_path / "log" / "children.json").exists())
    killed.kill()
    killed.communicate()

    program = (
        "import sys, pathlib; from config.supervision import end_orphans; print(end_orphans(pathlib.Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "log")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert ended.stdout.strip() == "1"
    assert len(orphans) == 2
    assert are_gone(orphans)
