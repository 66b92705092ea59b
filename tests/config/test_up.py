"""`manage.py up` as a person meets it: real processes, a real port, Ctrl-C."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from django.core.management import CommandError, call_command

from config.embedded.services import Services
from config.management.commands import up as up_command
from config.supervision import Patience, end_orphans

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 90
ONLY_BEAT = ("--without", "web", "--without", "train", "--without", "default")
Up = Callable[..., subprocess.Popen[str]]


@pytest.fixture(autouse=True)
def _interrupts_are_ignored() -> Iterator[None]:
    """As where a script has started the tests in the background: processes inherit it, and Ctrl-C must end them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def var() -> Iterator[Path]:
    """A folder with a migrated database, as a first start leaves it."""
    with tempfile.TemporaryDirectory(prefix="prefloop-test-") as folder:
        manage(Path(folder), "migrate", "-v0")
        yield Path(folder)
        services = Services(Path(folder))
        services.redis.stop()
        services.postgres.stop()


def environment(var: Path) -> dict[str, str]:
    unset = ("DATABASE_URL", "REDIS_URL")
    return {name: value for name, value in os.environ.items() if name not in unset} | {"PREFLOOP_VAR": str(var)}


def manage(var: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment(var), capture_output=True, text=True, check=False)


@pytest.fixture
def up(var: Path) -> Iterator[Up]:
    """Starts `manage.py up`; whatever a failed test leaves is ended."""
    started: list[subprocess.Popen[str]] = []

    def up(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-u", "manage.py", "up", "--port", str(free_port()), *arguments]
        process = subprocess.Popen(command, cwd=ROOT, env=environment(var), stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield up
    for process in started:
        process.kill()
        process.wait()
    end_orphans(var / "log")


def read_until(process: subprocess.Popen[str], wanted: str) -> str:
    """What the process says up to and with the first line that holds `wanted`."""
    said = ""
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        if wanted in line:
            return said
    pytest.fail(f"It ended without {wanted!r}: {said}")


def eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.1)
    return False


def processes_of(var: Path) -> list[psutil.Process]:
    """Everything that runs for this folder: children of `up` by their environment, servers by their arguments."""
    found = []
    for process in psutil.process_iter():
        try:
            belongs = process.environ().get("PREFLOOP_VAR") == str(var) or str(var) in " ".join(process.cmdline())
            if belongs and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_everything_starts_is_kept_alive_and_ends_with_ctrl_c(var: Path, up: Up) -> None:
    running = up()
    said = read_until(running, "Ctrl-C stops everything")
    address = re.search(r"http://127\.0\.0\.1:\d+/", said)
    assert address is not None
    assert (var / "address").read_text() == f"{address[0].rstrip('/')}\n"
    with urllib.request.urlopen(f"{address[0]}health", timeout=SECONDS) as response:
        healthy = response.read()
    names = " ".join(" ".join(process.cmdline()) for process in processes_of(var))
    beat = next(process for process in psutil.Process(running.pid).children() if "beat" in process.cmdline())

    # Before that a death counts as a failed start.
    assert eventually(lambda: time.time() - beat.create_time() > Patience().settle_seconds + 1)
    beat.kill()
    complaint = read_until(running, "beat")
    replaced = eventually(
        lambda: any(
            "beat" in child.cmdline() and child.pid != beat.pid for child in psutil.Process(running.pid).children()
        )
    )
    running.send_signal(signal.SIGINT)
    rest = running.communicate(timeout=SECONDS)[0]

    assert healthy == b"ok\n"
    assert [word in names for word in ("gunicorn", "-Q default", "-Q train", "postgres", "redis-server")] == [True] * 5
    assert "beat was killed; starting it again" in complaint
    assert replaced
    assert rest.endswith("Stopped.\n")
    assert running.returncode == 0
    assert eventually(lambda: processes_of(var) == [])


def test_a_busy_port_is_one_line_and_nothing_stays(var: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        refused = manage(var, "up", "--port", str(port))
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"CommandError: Port {port} on 127.0.0.1 cannot be used (Address already in use).")
    assert refused.stderr.count("\n") == 1
    assert processes_of(var) == []


@pytest.mark.parametrize("port", ["70000", "0", "http"])
def test_a_port_that_is_none_is_refused_before_anything_starts(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up_command, "_take_lock", lambda var: pytest.fail("it went on"))
    with pytest.raises(CommandError, match=f"'{port}' is no port"):
        call_command("up", port=port)


def test_a_host_that_is_none_is_one_line(var: Path) -> None:
    refused = manage(var, "up", "--host", "nowhere.invalid")
    assert refused.returncode == 1
    assert refused.stderr.startswith("CommandError: This machine cannot listen on 'nowhere.invalid'")
    assert refused.stderr.count("\n") == 1


def test_a_second_start_from_the_same_folder_is_refused(var: Path, up: Up) -> None:
    first = up(*ONLY_BEAT)
    read_until(first, "Starting beat")
    second = manage(var, "up", "--port", str(free_port()))
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=SECONDS)
    assert second.returncode == 1
    assert "already runs from" in second.stderr
    assert processes_of(var) == []


def test_tables_that_are_behind_are_named_before_anything_starts(var: Path) -> None:
    manage(var, "migrate", "sessions", "zero", "-v0")
    refused = manage(var, "up", "--port", str(free_port()))
    manage(var, "migrate", "-v0")
    assert refused.returncode == 1
    assert "lacks 1 migrations: run `python manage.py migrate` first" in refused.stderr


def test_a_killed_up_is_cleaned_up_by_the_next_one(var: Path, up: Up) -> None:
    killed = up(*ONLY_BEAT)
    read_until(killed, "Starting beat")
    assert eventually(lambda: any("beat" in process.cmdline() for process in processes_of(var)))
    assert eventually(lambda: (var / "log" / "children.json").read_text() != "{}")
    orphans = [process for process in processes_of(var) if "beat" in process.cmdline() and process.pid != killed.pid]
    killed.kill()
    killed.communicate()

    after = up(*ONLY_BEAT)
    said = read_until(after, "Starting beat")
    gone = [process.is_running() for process in orphans]
    after.send_signal(signal.SIGINT)
    after.communicate(timeout=SECONDS)

    assert len(orphans) == 1
    assert gone == [False]
    assert "Ended 1 processes that an earlier start had left behind." in said
    assert eventually(lambda: processes_of(var) == [])
