"""PostgreSQL and Redis for a machine that has none: started by who first needs them, stopped by who leaves last.

Every process that uses them holds a shared lock on `var/services/users`, which the kernel drops even if the process is
killed. Starting and stopping happen under an exclusive lock on `var/services/lock`. Who leaves asks for the first lock
exclusively: if nobody else holds it, nobody else uses the services, and they are stopped.
"""

import atexit
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from config.embedded.broker import Redis
from config.embedded.places import ServiceError, make_private
from config.embedded.postgres import PORT, SUPERUSER, Postgres


class Service(Protocol):
    """What the servers have in common."""

    name: str

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def is_running(self) -> bool: ...


class Services:
    """The embedded servers of one `var` folder, as this process sees them.

    `postgres` and `redis` say which are embedded; a server of your own is named by its URL and left alone.
    """

    def __init__(self, var: Path, *, postgres: bool = True, redis: bool = True) -> None:
        self.folder = var / "services"
        self.postgres = Postgres(var / "postgres")
        self.redis = Redis(var / "redis")
        self._servers: list[Service] = [*([self.postgres] if postgres else []), *([self.redis] if redis else [])]
        self._user: int | None = None
        self._joined_as = 0

    def database(self) -> dict[str, str | int]:
        """The part of Django's DATABASES that says where the embedded database is."""
        return {"NAME": "prefloop", "USER": SUPERUSER, "HOST": str(self.postgres.sockets), "PORT": PORT}

    def redis_url(self) -> str:
        """The embedded Redis as redis-py spells it: unix:///path?db=0."""
        return f"unix://{quote(str(self.redis.socket))}?db=0"

    def ensure_running(self, say: Callable[[str], object] | None = None) -> None:
        """Join the users of the services and start what does not answer. Cheap when all do: one probe each.

        Raises ServiceError with one line if a service cannot start. `say` hears of what had to be started.
        """
        if self._joined_as == os.getpid() and all(server.is_running() for server in self._servers):
            return
        with self._locked():
            self._join()
            for server in self._servers:
                if not server.is_running():
                    server.start()
                    if say:
                        say(server.name)

    def leave(self) -> None:
        """Stop using the services; the last to leave stops them. Does nothing in a process that never joined."""
        if self._user is None or self._joined_as != os.getpid():
            return
        user, self._user = self._user, None
        with self._locked():
            try:
                fcntl.flock(user, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # somebody else still needs them
            finally:
                os.close(user)
            for server in reversed(self._servers):
                server.stop()

    def _join(self) -> None:
        if self._joined_as == os.getpid():
            return
        # A forked child shares its parent's lock and must hold its own: the parent may leave before it.
        self._user = os.open(self.folder / "users", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._user, fcntl.LOCK_SH)
        self._joined_as = os.getpid()
        atexit.register(self.leave)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time starts or stops."""
        make_private(self.folder, owner=os.getuid())
        try:
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ServiceError(f"Cannot use {self.folder}: {error.strerror}.") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
