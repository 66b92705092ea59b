"""Every address of the site, asked by everybody and with values that nobody means: none answers with an error page.

What they name is there, but hard to show. The addresses are read from the site itself, so one that is added is asked.
"""

from __future__ import annotations

import re
from io import BytesIO
from itertools import product
from urllib.parse import quote

import pytest
from django.db.models import Value
from django.db.models.functions import Concat
from django.test import Client
from django.utils.timezone import now

from annotation import audit, queue
from annotation.models import (
    Action,
    Batch,
    Gold,
    Judgment,
    Lease,
    Project,
    Prompt,
    Response,
    Skip,
    Team,
    User,
)
from api.models import Delivery, Token
from models_registry.models import Artifact, Model, Version
from models_registry.services import archive_of
from tests.importing import import_rows
from tests.safety.asking import RULED, ask, client_of
from tests.safety.rules import Rule, Who
from tests.safety.sources import product_files
from tests.safety.url_table import Address
from tests.safety.world import World
from training.models import Method, Run, RunEvent, Schedule, Snapshot, State

NAME = '"Quo\'te" <b>&amp;</b> 😀 שלום {{ x }} %s'
TEXT = "# H\n$\\frac{1}{$ \\[x\n\n| a |\n|--|\n\n```py\n(" + "💥" * 5000 + "\n<script>alert(1)</script>"
ODD = ("zzz", "0", "-1", "9" * 20, "\x00", "😀 שלום", "x" * 5000)
# What the pages ask of an address: in their own names and those of forms, of the admin and of lists there.
ASKED = re.compile(r'GET\.get\("(\w+)"')
OTHERS = ("shape", "since", "annotators", "o", "all", "id__exact", "_changelist_filters", "next", "_popup")
ARGUMENT = re.compile(r"<(?:\w+:)?(\w+)>")


@pytest.fixture
def odd_world(world: World) -> World:
    """The world with texts, files and states that are hard to show."""
    mine = Project.objects.get(slug=world.mine.project["slug"])
    _write_odd_texts()
    _lose_files()
    import_rows(project=mine, file=BytesIO(b"{}\n\xff\n"), file_name=NAME)
    queue.lease_next(project=mine, annotator=world.people[Who.ANNOTATOR])
    assert Lease.objects.filter(annotator=world.people[Who.ANNOTATOR]).exists()
    audit.record(Action.EXPORTED, actor=world.people[Who.MANAGER], project=mine, what=NAME)
    _run_in_every_state(mine)
    return world


def _write_odd_texts() -> None:
    User.objects.update(display_name=NAME)
    Project.objects.update(name=Concat(Value(NAME), "slug"), guidelines=TEXT, asks_reason=True)
    Prompt.objects.update(messages=[{"role": "system", "content": TEXT}, {"role": "user", "content": TEXT}])
    Response.objects.update(text=TEXT, author_label=NAME)
    Judgment.objects.update(reason=TEXT)
    Skip.objects.update(reason=NAME)
    Gold.objects.update(explanation=TEXT)
    Team.objects.update(name=NAME)
    Batch.objects.update(name=NAME)
    Token.objects.update(name=NAME)
    Delivery.objects.update(subject=NAME, error=NAME, body={"odd": [TEXT]})
    Model.objects.update(name=Concat(Value(NAME), "slug"))
    Version.objects.update(notice=NAME, card=TEXT, metrics={"loss": None})


def _lose_files() -> None:
    """What the database names is not on the disk."""
    for artifact in Artifact.objects.select_related("version"):
        size = archive_of(artifact).size  # so that a download reads up to the file
        Artifact.objects.filter(pk=artifact.pk).update(storage_key=f"lost-{artifact.pk}", bytes=size)
    files = {name: {"path": f"{name}.jsonl", "sha256": "0" * 64, "rows": 3} for name in ("train", "eval")}
    Snapshot.objects.update(files=files)


def _run_in_every_state(project: Project) -> None:
    """And a schedule whose option is gone."""
    version, snapshot = Version.objects.earliest("pk"), Snapshot.objects.get(project=project)
    Schedule.objects.update(config={"gone": 1})
    for state in State.values:
        Run.objects.create(
            method=Method.DPO,
            project=project,
            base=version,
            snapshot=snapshot,
            state=state,
            finished_at=None if state in (State.QUEUED, State.RUNNING) else now(),
            reason=NAME,
        )
    for run in Run.objects.all():
        RunEvent.objects.create(run=run, seq=1, kind="eval", step=0, data={"metrics": None}, at=now())


def with_odd(world: World, address: Address, rule: Rule, name: str, odd: str) -> str:
    """The address with one of its arguments odd. Django would not make such an address itself."""
    values = {**world.arguments(rule.at, address), name: odd}
    return "/" + ARGUMENT.sub(lambda argument: quote(str(values[argument[1]])), address.route)


def error_pages(client: Client, asked: list[tuple[str, str]]) -> list[str]:
    """Which of these (method, address) are answered with 500 or worse."""
    found = [(method, url, ask(client, method, url).status_code) for method, url in asked]
    assert len(found) > 50
    return [f"{method} {url[:200]}: {status}" for method, url, status in found if status >= 500]


@pytest.mark.parametrize("who", Who)
def test_nobody_gets_an_error_page(odd_world: World, who: Who) -> None:
    client = client_of(odd_world, who, raise_request_exception=False)
    paths = {address.path(odd_world.arguments(rule.at, address)) + rule.query for address, rule in RULED}
    methods = ("GET", "HEAD", "POST") if who is Who.ADMIN else ("GET", "POST")  # HEAD is GET without its page
    assert error_pages(client, list(product(methods, sorted(paths)))) == []


def test_a_question_with_a_nul_is_no_error(odd_world: World) -> None:
    client = client_of(odd_world, Who.ADMIN, raise_request_exception=False)
    asked = {name for file in product_files() for name in ASKED.findall(file.read_text())}
    assert {"q", "page", "after", "team"} <= asked
    paths = {address.path(odd_world.arguments(rule.at, address)) for address, rule in RULED if "GET" in rule.methods}
    question = "&".join(f"{name}=a%00b" for name in sorted({*asked, *OTHERS}))
    assert error_pages(client, [("GET", f"{path}?{question}") for path in sorted(paths)]) == []


@pytest.mark.parametrize("odd", ODD)
def test_an_argument_that_names_nothing_is_no_error(odd_world: World, odd: str) -> None:
    client = client_of(odd_world, Who.ADMIN, raise_request_exception=False)
    paths = {
        with_odd(odd_world, address, rule, name, odd)
        for address, rule in RULED
        for name in ARGUMENT.findall(address.route)
        if "(?P" not in address.route  # the admin's list of an app and its 404 take any words
    }
    assert error_pages(client, list(product(("GET",), sorted(paths)))) == []
