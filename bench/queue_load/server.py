"""The web server under load: the processes that `manage.py up` runs, on a database of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import quote, urlencode

from django.conf import settings
from django.db import connection

from config.management.commands.up import web_command

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60


def database_url() -> str:
    """The database that this process works on, as another process wants to hear of it."""
    values = connection.settings_dict
    query = urlencode({"host": values["HOST"], **values.get("OPTIONS", {})})
    account = quote(values["USER"]) + (f":{quote(values['PASSWORD'])}" if values["PASSWORD"] else "")
    return f"postgresql://{account}@:{values['PORT'] or 5432}/{values['NAME']}?{query}"


@contextmanager
def web_server(*, processes: int, lease_seconds: int, log: Path) -> Iterator[int]:
    """Yields the port of a server with so many processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PREFLOOP_VAR": str(settings.VAR),
        "SECRET_KEY": settings.SECRET_KEY,
        "DATABASE_URL": database_url(),
        "REDIS_URL": settings.REDIS_URL,
        "LEASE_SECONDS": str(lease_seconds),
        "LOG_LEVEL": "WARNING",
    }
    with log.open("wb") as output:
        command = web_command("127.0.0.1", port, workers=processes)
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
        try:
            _await_answer(port, process, log)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _await_answer(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError, HTTPException):
            asking = HTTPConnection("127.0.0.1", port, timeout=2)
            asking.request("GET", "/health")
            if asking.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"The web server did not start: {log.read_text()[-2000:]}")
