"""A real browser in front of a real stack: gunicorn, workers, PostgreSQL and Redis, each a process of its own.

The processes work on the database of the tests, so that a test can prepare rows and look at them; state on disk is in a
folder of the session. A test asks for `page` (or `live_stack`) and gets an empty database.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from django.conf import LazySettings
from django.conf import settings as project_settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
from django.db import connection
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Route, expect, sync_playwright
from pytest_django import DjangoDbBlocker

from annotation.models import Project, User
from tests.e2e.people import make_annotator

# A machine that is also training answers late; what never comes still fails.
expect.set_options(timeout=20_000)
# Playwright's synchronous interface runs an event loop in this thread; our queries are not part of it.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

LABEL = "/projects/everyday-help/label/"
ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
STOP_SECONDS = 90
BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


@dataclass(frozen=True)
class Stack:
    """The running processes, as a test needs to know them."""

    url: str
    var: Path
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="session")
def stack(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Web server and workers for all tests of this folder, on the database of the tests."""
    with django_db_blocker.unblock():
        # Processes remember the ids of content types, which every flush makes anew: from here on always the same ones.
        call_command("flush", interactive=False, reset_sequences=True, verbosity=0)
    var = tmp_path_factory.mktemp("stack")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PREFLOOP_VAR": str(var),
        "SECRET_KEY": project_settings.SECRET_KEY,
        "DATABASE_URL": _database_url(),
        "REDIS_URL": f"{project_settings.REDIS_URL.partition('?')[0]}?db=1",
        "LOG_LEVEL": "INFO",
    }
    command = [sys.executable, "manage.py", "up", "--port", str(port), "--without", "beat"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL)
    stack = Stack(f"http://127.0.0.1:{port}", var, process)
    try:
        _await_health(stack)
        RUNNING.append(process)
        yield stack
    finally:
        _end(process)


RUNNING: list[subprocess.Popen[bytes]] = []


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """The stack ends with the last of these tests: later ones would hear of its workers."""
    if nextitem is None or nextitem.path.parent != item.path.parent:
        while RUNNING:
            _end(RUNNING.pop())


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(STOP_SECONDS)


@pytest.fixture
def live_stack(stack: Stack, django_db_reset_sequences: None, settings: LazySettings) -> Iterator[Stack]:
    """The stack with an empty database; this process keeps files where the stack does."""
    for kept in ("runs", "artifacts", "media"):  # of a test before this one, whose rows had the same numbers
        shutil.rmtree(stack.var / kept, ignore_errors=True)
    settings.VAR = stack.var
    settings.RUNS_DIR = stack.var / "runs"
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {**settings.STORAGES["default"], "OPTIONS": {"location": stack.var / "media"}},
        "artifacts": {**settings.STORAGES["artifacts"], "OPTIONS": {"location": stack.var / "artifacts"}},
    }
    settings.REDIS_URL = f"{settings.REDIS_URL.partition('?')[0]}?db=1"
    assert stack.process.poll() is None, f"The stack has stopped; see {stack.var / 'log'}."
    yield stack
    win_deadlocks()


def win_deadlocks() -> None:
    """The database is emptied next, and what the closed page asked for last may still hold a table of it.

    Whoever waits `deadlock_timeout` (1 s) first looks for the deadlock and is the one to give up: not this process.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('deadlock_timeout', '1min', false)"
            " WHERE has_parameter_privilege('deadlock_timeout', 'SET')"
        )


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program. There is no skipping: a machine without one fails here with what to do."""
    for name in (os.environ.get("PREFLOOP_CHROMIUM", ""), *BROWSERS):
        if name and (found := shutil.which(name)):
            return found
    pytest.fail("No browser: run `make test`, install Chromium, or name one in PREFLOOP_CHROMIUM.", pytrace=False)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """The driver."""
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    """One headless browser for the session."""
    # Chromium's sandbox refuses root; /dev/shm is too small in containers.
    root_needs = ["--no-sandbox", "--disable-dev-shm-usage"] if os.getuid() == 0 else []
    browser = playwright.chromium.launch(executable_path=chromium, args=root_needs)
    yield browser
    browser.close()


@pytest.fixture
def context(browser: Browser, live_stack: Stack) -> Iterator[BrowserContext]:
    """A browser without memory, kept on the stack's own host: whoever asks another host fails the test."""
    context = browser.new_context(base_url=live_stack.url, accept_downloads=True)
    strangers: list[str] = []

    def keep_home(route: Route) -> None:
        if route.request.url.startswith((live_stack.url, "data:", "blob:")):
            route.continue_()
        else:
            strangers.append(route.request.url)
            route.abort()

    context.route("**/*", keep_home)
    yield context
    context.close()
    assert strangers == []


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page whose errors fail the test: of scripts, in the console, and what the content security policy blocked."""
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    # An answer that a test wants to be 404, or a line that it cuts, is told as a resource that failed to load.
    page.on(
        "console",
        lambda message: (
            complaints.append(message.text)
            if message.type == "error" and not message.text.startswith("Failed to load resource")
            else None
        ),
    )
    yield page
    page.close()
    assert complaints == []


@pytest.fixture
def sign_in(context: BrowserContext, live_stack: Stack) -> Callable[[AbstractBaseUser], None]:
    """Sign somebody in without the form: a session, and its cookie in the browser."""

    def sign_in(user: AbstractBaseUser) -> None:
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = project_settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        cookie = {"name": project_settings.SESSION_COOKIE_NAME, "value": session.session_key, "url": live_stack.url}
        context.add_cookies([cookie])  # type: ignore[list-item]

    return sign_in


@pytest.fixture
def open_page(page: Page, live_stack: Stack, sign_in: Callable[[User], None]) -> Callable[[Project], Page]:
    """The project's labelling page as Nina sees it, ready for keys."""

    def open_page(project: Project) -> Page:
        sign_in(make_annotator(project))
        return ready(page)

    return open_page


def ready(page: Page) -> Page:
    page.goto(LABEL)
    expect(page.locator(".answer").first).to_be_visible()
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)  # a key this soon after a new pair is taken to be meant for the last one
    return page


def _database_url() -> str:
    values = connection.settings_dict
    query = urlencode({"host": values["HOST"], **values.get("OPTIONS", {})})
    account = quote(values["USER"]) + (f":{quote(values['PASSWORD'])}" if values["PASSWORD"] else "")
    return f"postgresql://{account}@:{values['PORT'] or 5432}/{values['NAME']}?{query}"


def _await_health(stack: Stack) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and stack.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{stack.url}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    log = stack.var / "log" / "web.log"
    pytest.fail(f"The stack did not start. {log.read_text()[-2000:] if log.exists() else ''}", pytrace=False)
