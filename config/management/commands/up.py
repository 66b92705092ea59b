"""`manage.py up`: the whole of Prefloop on this machine, until Ctrl-C."""

import fcntl
import os
import signal
import socket
import sys
from argparse import ArgumentParser
from http.client import HTTPConnection
from io import StringIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor

from annotation.address import keep_address
from config.embedded.places import ServiceError
from config.supervision import Child, end_orphans, supervise

ROLES = ("web", "default", "train", "beat")


class Command(BaseCommand):
    """Run web, workers and beat, with PostgreSQL and Redis where no URL names them."""

    help = "Run web, the workers of both queues and beat under one supervisor, until Ctrl-C."
    requires_system_checks = "__all__"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The options of the command line."""
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
        parser.add_argument("--port", default="8000")
        parser.add_argument("--without", action="append", choices=ROLES, default=[], help="leave a process out")
        parser.add_argument("--demo", action="store_true", help="prepare the demo first and print a sign-in link")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check what can be checked, start the services, run the children, stop everything."""
        host, port = options["host"], _port(options["port"])
        # Until the supervisor listens, every request to stop ends us as Ctrl-C does: with the services stopped.
        signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a script started us in the background
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.default_int_handler)
        one_at_a_time = _take_lock(settings.VAR)
        if orphans := end_orphans(settings.VAR / "log"):
            self.say(f"Ended {orphans} processes that an earlier start had left behind.")
        if "web" not in options["without"]:
            _refuse_busy_port(host, port)
        settings.SERVICES.ensure_running(lambda name: self.say(f"{name} is running."))
        address = f"http://{_shown(host)}:{port}"
        link = self.prepare_demo(address) if options["demo"] else ""
        if not options["demo"] and (missing := _missing_migrations()):
            raise CommandError(f"The database lacks {missing} migrations: run `python manage.py migrate` first.")
        connections.close_all()
        self.greeting = link or f"Prefloop is at {address}/"
        self.greeted = "web" in options["without"]
        if not self.greeted:
            keep_address(address)
        self.address = (host, port)
        children = [child for child in _children(host, port) if child.name not in options["without"]]
        self.say("Starting " + ", ".join(child.name for child in children) + ".")
        ended_well = supervise(children, folder=settings.VAR / "log", say=self.say, each_second=self.each_second)
        settings.SERVICES.leave()
        self.say("Stopped.")
        os.close(one_at_a_time)
        if not ended_well:
            sys.exit(1)

    def say(self, line: str) -> None:
        """One line for the person at the terminal, at once."""
        self.stdout.write(line)
        self.stdout.flush()

    def each_second(self) -> None:
        """Greet when the web server answers; start a service again that has died."""
        if not self.greeted and _answers(*self.address):
            self.greeted = True
            self.say(f"\n{self.greeting}\n\nCtrl-C stops everything. Logs: {settings.VAR / 'log'}")
        try:
            settings.SERVICES.ensure_running(lambda name: self.say(f"{name} had stopped; it runs again."))
        except ServiceError as error:
            self.say(str(error))

    def prepare_demo(self, address: str) -> str:
        """Bring the tables up to date, seed what is not there, and make a sign-in link: the text to show."""
        self.say("Preparing the database …")
        call_command("migrate", interactive=False, verbosity=0)
        self.say("Preparing the demo …")
        call_command("seed_demo", stdout=self.stdout)
        output = StringIO()
        call_command("sign_in_link", "admin", base_url=address, stdout=output)
        return f"Sign in, once, with this link: {output.getvalue().strip()}"


def web_command(host: str, port: int, *, workers: int) -> list[str]:
    """The web server: so many processes of four threads each."""
    web = [sys.executable, "-m", "gunicorn", "config.wsgi", "--bind", f"{host}:{port}", "--workers", str(workers)]
    return [*web, "--threads", "4", "--graceful-timeout", "5", "--preload", "--no-control-socket"]


def _children(host: str, port: int) -> list[Child]:
    python = [sys.executable, "-m"]
    celery = [*python, "celery", "-A", "config"]
    worker = [*celery, "worker", "--loglevel", settings.LOG_LEVEL, "--without-gossip", "--without-mingle"]
    train = [*worker, "-Q", "train"]
    return [
        Child("web", [*web_command(host, port, workers=2), "--access-logfile", "-"]),
        Child("default", [*worker, "-Q", "default", "-c", "2", "-n", "default@%h"]),
        # It passes the stop on to its engine, which writes a checkpoint for its run to resume from.
        Child("train", [*train, "-c", "1", "-n", "train@%h"], stop_seconds=settings.ENGINE_GRACE_SECONDS + 10),
        Child("beat", [*celery, "beat", "--loglevel", settings.LOG_LEVEL, "--pidfile", ""]),
    ]


def _take_lock(var: Path) -> int:
    """Only one `up` per folder. The lock ends with the process, however it ends."""
    folder = var / "log"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(folder / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CommandError(f"Prefloop already runs from {var}. Stop it there, or set PREFLOOP_VAR.") from None
    return lock


def _port(text: str) -> int:
    if text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= 65535:
        return int(text)
    raise CommandError(f"{text!r} is no port: give a number from 1 to 65535, for example make demo PORT=8001")


def _refuse_busy_port(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise CommandError(f"This machine cannot listen on {host!r} ({error.strerror}).") from None
    with socket.socket(family, kind, protocol) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(address)
        except OSError as error:
            raise CommandError(
                f"Port {port} on {host} cannot be used ({error.strerror}). Choose another: make demo PORT={port + 1}"
            ) from None


def _answers(host: str, port: int) -> bool:
    """Whether a page can be had: the port is open long before the first worker has loaded."""
    connection = HTTPConnection(_shown(host), port, timeout=1)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _shown(host: str) -> str:
    """The name under which this machine reaches a server that listens on `host`."""
    return "127.0.0.1" if host in ("0.0.0.0", "::", "127.0.0.1") else host  # noqa: S104


def _missing_migrations() -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
