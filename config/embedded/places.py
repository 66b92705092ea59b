"""Where the embedded services keep their files, and what every part of them needs: one error, one probe."""

import hashlib
import os
import re
import socket
import stat
from pathlib import Path

# sun_path holds 108 bytes on Linux and 104 on macOS, the closing zero included; PostgreSQL's name is the longest used.
LONGEST_SOCKET_PATH = 103
LONGEST_SOCKET_NAME = ".s.PGSQL.5432.lock"
FATAL = re.compile(r"FATAL|PANIC|ERROR| # ")  # the last is how Redis marks a warning


class ServiceError(Exception):
    """A service cannot run here. Its text is one line for a person: what is wrong and what to do."""


def socket_folder(data: Path) -> Path:
    """The folder for the sockets of the service that keeps its data in `data`; it need not exist yet.

    The data folder itself where its path is short enough for a socket, else a private folder under the system's
    temporary one, named after the data's path, so that every process of this user finds the same.
    """
    # (libpq reads a comma in a host as a second host.)
    if len(os.fsencode(data / LONGEST_SOCKET_NAME)) <= LONGEST_SOCKET_PATH and "," not in str(data):
        return data
    name = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    # /tmp, not tempfile.gettempdir(): on macOS that is a long path of its own. make_private() guards it.
    return Path("/tmp") / f"prefloop-{os.getuid()}-{name}"  # noqa: S108


def make_private(folder: Path, *, owner: int) -> None:
    """Create `folder` with mode 700, owned by the user id `owner`.

    Raises ServiceError if it is already there as a link or belongs to somebody else: the temporary folder is
    everybody's, and a socket in a stranger's folder is a stranger's socket.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (owner, os.getuid()):
            raise ServiceError(
                f"{folder} belongs to another user: run as that user, or set PREFLOOP_VAR to a folder of your own."
            )
        folder.chmod(0o700)
        if found.st_uid != owner:
            os.chown(folder, owner, -1)
    except OSError as error:
        raise ServiceError(f"Cannot use {folder}: {error.strerror}.") from error


def answers(path: Path) -> bool:
    """Whether somebody accepts connections on this Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def last_lines(log: Path, count: int = 3) -> str:
    """The end of a log on one line, for an error message."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return " | ".join(line.strip() for line in lines[-count:] if line.strip())


def explain(service: str, log: Path) -> ServiceError:
    """Why a service did not start, from its log: what it called fatal, else the end."""
    try:
        grave = [line.strip() for line in log.read_text(errors="replace").splitlines() if FATAL.search(line)]
    except OSError:
        grave = []
    tail = " | ".join(grave[-3:]) or last_lines(log)
    if "No space left on device" in tail:
        return ServiceError(f"The disk is full: {service} cannot write to {log.parent}. Free some space and try again.")
    return ServiceError(f"{service} did not start: {tail or 'it said nothing'} (its log: {log})")
