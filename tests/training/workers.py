"""Real Celery workers for tests: processes of their own, on the database, queues and folders of the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, urlencode

from django.conf import settings
from django.db import connection

from training.models import Worker

ROOT = Path(__file__).resolve().parents[2]


def start_worker(var: Path, *, name: str = "trainer", stand_in: str = "") -> subprocess.Popen[bytes]:
    """Start a worker of both queues and wait until it has made itself seen."""
    environment = {
        **os.environ,
        "PREFLOOP_VAR": str(var),
        "SECRET_KEY": settings.SECRET_KEY,
        "DATABASE_URL": database_url(),
        "REDIS_URL": settings.REDIS_URL,
    }
    if stand_in:
        environment |= {"DJANGO_SETTINGS_MODULE": "tests.training.worker_settings", "STAND_IN": stand_in}
    command = [sys.executable, "-m", "celery", "-A", "config", "worker", "-Q", "train,default", "-c", "1"]
    with open(var / f"{name}.log", "ab") as log:
        worker = subprocess.Popen(
            [*command, "-n", f"{name}@test", "--without-gossip", "--without-mingle"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    wait_for(lambda: Worker.objects.listening("train").filter(name=f"{name}@test").exists(), seconds=40)
    return worker


def end_worker(worker: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a worker."""
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until something is true; fails the test when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def database_url() -> str:
    values = connection.settings_dict
    query = urlencode({"host": values["HOST"], **values.get("OPTIONS", {})})
    account = quote(values["USER"]) + (f":{quote(values['PASSWORD'])}" if values["PASSWORD"] else "")
    return f"postgresql://{account}@:{values['PORT'] or 5432}/{values['NAME']}?{query}"


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip()[:1] not in ("", "Z")
