"""Every address of the site, asked by everybody and with values that nobody means: none answers with an error page.

The addresses are read from the site itself, so a page that is added is asked as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from http.cookies import SimpleCookie
from io import BytesIO
from itertools import product
from urllib.parse import quote

import pytest
from django.contrib import admin
from django.db import transaction
from django.db.models import Model as DbModel
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.timezone import now

from annotation import queue
from annotation.importing.landing import import_rows
from annotation.models import Role, Skip, User
from annotation.people import sign_in_link
from annotation.services import AnswerIn, add_comparison, create_project, record_judgment, set_role
from models_registry.models import Artifact, Format, Kind, Model, Version
from training.models import Method, Run, RunEvent, Schedule, Snapshot, State

pytestmark = pytest.mark.django_db

PEOPLE = ("visitor", "stranger", "annotator", "manager", "staff", "admin")
NAME = '"Quo\'te" <b>&amp;</b> 😀 שלום {{ x }} %s'
TEXT = "# H\n$\\frac{1}{$ \\[x\n\n| a |\n|--|\n\n```py\n(" + "💥" * 5000 + "\n<script>alert(1)</script>"
ODD = ("zzz", "0", "-1", "9" * 20, "\x00", "😀 שלום", "x" * 5000)
ARGUMENT = re.compile(r"<(?:\w+:)?(\w+)>")
Values = dict[str, str]


@pytest.fixture
def values(db: None) -> Values:
    """Something of everything, with texts and states that are hard to show; and what the arguments of routes name."""
    people = {name: User.objects.create_user(name, is_staff=name in ("staff", "admin")) for name in PEOPLE[1:]}
    User.objects.filter(username="admin").update(is_superuser=True, display_name=NAME)
    project = create_project(name=NAME, guidelines=TEXT, manager=people["manager"], asks_reason=True)
    set_role(project=project, person=people["annotator"], role=Role.ANNOTATOR)
    model = Model.objects.create(name=NAME, slug="model")
    base = Version.objects.create(model=model, number=1, kind=Kind.BASE, notice=NAME, card=TEXT, metrics={"loss": None})
    lost = [{"path": "config.json", "bytes": 2, "sha256": "0" * 64}]
    Artifact.objects.create(version=base, format=Format.FULL, storage_key="lost", files=lost, bytes=2, sha256="0" * 64)
    for number in range(4):
        asked = [{"role": "system", "content": TEXT}, {"role": "user", "content": f"{number} {TEXT}"}]
        answers = [AnswerIn(TEXT, author=base), AnswerIn(NAME, author_label=NAME)]
        comparison = add_comparison(project=project, messages=asked, responses=answers)
        if number < 2:
            tiers = [comparison.response_ids] if number else [[pk] for pk in comparison.response_ids]
            record_judgment(comparison=comparison, annotator=people["annotator"], tiers=tiers, reason=TEXT)
    Skip.objects.create(comparison=comparison, annotator=people["annotator"], reason=NAME)
    queue.lease_next(project=project, annotator=people["annotator"])
    report = import_rows(project=project, file=BytesIO(b"{}\n\xff\n"), file_name=NAME)
    files = {name: {"path": f"{name}.jsonl", "sha256": "0" * 64, "rows": 3} for name in ("train", "eval")}
    snapshot = Snapshot.objects.create(project=project, train_rows=3, eval_rows=1, files=files, sha256="0" * 64)
    Schedule.objects.create(project=project, method=Method.DPO, base=base, crontab="0 3 * * *", config={"gone": 1})
    for state in State.values:
        ended = None if state in (State.QUEUED, State.RUNNING) else now()
        run = Run.objects.create(
            method=Method.DPO,
            project=project,
            base=base,
            snapshot=snapshot,
            state=state,
            finished_at=ended,
            reason=NAME,
        )
        RunEvent.objects.create(run=run, seq=1, kind="eval", step=0, data={"metrics": None}, at=now())
    return {
        "slug": project.slug,
        "models/slug": model.slug,
        "number": "1",
        "format": "full",
        "form": "text",
        "token": sign_in_link(people["stranger"], "").rstrip("/").rpartition("/")[2],
        "content_type_id": "1",
        "runs/pk": str(Run.objects.earliest("pk").pk),
        "versions/pk": str(base.pk),
        "import/pk": str(report.pk),
        "members/pk": str(project.memberships.get(user=people["annotator"]).pk),
        **{f"{place(kind)}object_id": str(first_of(kind)) for kind in admin.site._registry},
        "admin/annotation/user/id": str(people["stranger"].pk),
        "object_id": "1",
    }


def place(kind: type[DbModel]) -> str:
    """Where the admin keeps a kind of row."""
    return f"admin/{kind._meta.app_label}/{kind._meta.model_name}/"


def first_of(kind: type[DbModel]) -> object:
    return kind._default_manager.values_list("pk", flat=True).order_by("pk").first() or 1


def routes(patterns: Iterable[URLPattern | URLResolver] | None = None, prefix: str = "") -> Iterator[str]:
    """Every route of the site; those by regular expression are two of the admin, its list of an app and its 404."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        elif "(?P" not in route:
            yield route


def address(route: str, values: Values, **odd: str) -> str:
    """The route with its arguments filled in; the words in front of an argument may decide what it names."""

    def fill(argument: re.Match[str]) -> str:
        name = argument[1]
        fitting = [
            key for key in values if key.rpartition("/")[2] == name and f"/{key}".rpartition("/")[0] in f"/{route}"
        ]
        return quote(odd.get(name) or values[max(fitting, key=len)])

    return "/" + ARGUMENT.sub(fill, route)


def asked_by(name: str) -> Client:
    client = Client(raise_request_exception=False)
    if name != "visitor":
        client.force_login(User.objects.get(username=name))
    return client


def error_pages(client: Client, asked: Iterable[tuple[str, str]]) -> list[str]:
    """Which of these (method, address) are answered with 500 or worse, or break off."""
    signed_in = {name: morsel.value for name, morsel in client.cookies.items()}
    found, count = [], 0
    for count, (method, url) in enumerate(asked, start=1):  # noqa: B007
        client.cookies = SimpleCookie(signed_in)  # whoever was signed out, or in as somebody else, is back
        with transaction.atomic():
            response = getattr(client, method)(url)
            if response.status_code >= 500:
                found.append(f"{method} {url[:200]}: {response.status_code}")
            elif response.streaming:
                b"".join(response)
            transaction.set_rollback(True)
    assert count > 50
    return found


@pytest.mark.parametrize("person", PEOPLE)
def test_nobody_gets_an_error_page(values: Values, person: str) -> None:
    urls = [address(route, values) for route in routes()]
    assert error_pages(asked_by(person), product(("get", "head", "post"), urls)) == []


@pytest.mark.parametrize("odd", ODD)
def test_an_argument_that_names_nothing_is_no_error(values: Values, odd: str) -> None:
    urls = [address(route, values, **{name: odd}) for route in routes() for name in ARGUMENT.findall(route)]
    assert error_pages(asked_by("admin"), product(("get",), urls)) == []
