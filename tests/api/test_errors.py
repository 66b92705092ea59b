"""Whatever goes wrong under /api/ is told in one shape, and says what to do."""

from collections.abc import Callable
from typing import Any

import pytest
from django.http.response import HttpResponseBase
from django.test import Client

from annotation.models import Project, User
from api.endpoints import me
from tests.annotation.conftest import MakeComparison
from tests.api.conftest import ROOT, ProgramOf, error_of


@pytest.mark.parametrize("path", ["/api/", "/api/v1/", "/api/v1/nothing", "/api/v2/projects", "/api/v1/projects/"])
def test_an_unknown_address_is_told_in_json(db: None, path: str) -> None:
    assert error_of(Client().get(path)) == (404, "not_found")


def test_a_host_that_is_not_this_sites_is_told_in_json(db: None) -> None:
    answer = Client(raise_request_exception=False).get(f"{ROOT}/me", headers={"host": "elsewhere.example"})
    assert error_of(answer) == (400, "refused")


def test_the_beginning_of_the_api_says_where_it_is_described(db: None) -> None:
    todo = Client().get("/api/v1/").json()["error"]["todo"]
    assert todo == "/api/v1/openapi.json describes its addresses."
    assert Client().get(todo.split()[0]).status_code == 200


def test_an_unknown_method_is_told_with_the_ones_that_are_known(db: None) -> None:
    response = Client().delete(f"{ROOT}/projects")
    assert error_of(response) == (405, "method_not_allowed")
    assert response.headers["Allow"] == "GET, POST"
    assert response.json()["error"]["todo"] == "Use GET, POST."


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_the_description_is_only_read(method: str) -> None:
    response = getattr(Client(enforce_csrf_checks=True), method)(f"{ROOT}/openapi.json")
    assert error_of(response) == (405, "method_not_allowed")
    assert response.headers["Allow"] == "GET, HEAD"


def test_a_body_that_is_no_json_is_told_so(project: object, ann: User, program_of: ProgramOf) -> None:
    program = program_of(ann)
    response = program.client.post(
        f"{ROOT}/projects/everyday-help/queue/extend",
        b"{ticket",
        content_type="application/json",
        headers=program.headers,
    )
    assert error_of(response) == (400, "malformed")


def test_a_value_that_is_not_taken_is_named(project: object, ann: User, program_of: ProgramOf) -> None:
    sent = {"ticket": "x", "choice": 7, "active_seconds": -1}
    response = program_of(ann).post("/projects/everyday-help/queue/submit", sent)
    assert error_of(response) == (422, "invalid")
    assert {field["where"] for field in response.json()["error"]["fields"]} == {"choice", "active_seconds"}


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_a_text_that_the_database_cannot_take_is_refused(
    project: object, ann: User, program_of: ProgramOf, text: str
) -> None:
    response = program_of(ann).post("/projects/everyday-help/queue/extend", {"ticket": text})
    assert error_of(response) == (422, "invalid")


HALF = "contains half a character (a lone surrogate)"
TEXTS: dict[str, Any] = {
    "name": "a\ud800b",
    "guidelines": "\udfff",
    "aspects": ["\ud800"],
    "reason_tags": ["a", "\ud800"],
}
TOLD = {"name": HALF, "guidelines": HALF, "aspects.0": HALF, "reason_tags.1": HALF}


def test_half_a_character_is_refused_in_every_text_of_a_project(
    project: Project, admin: User, program_of: ProgramOf
) -> None:
    program = program_of(admin)
    assert told_by(program.post("/projects", TEXTS)) == TOLD
    assert told_by(program.patch(f"/projects/{project.slug}", TEXTS)) == TOLD
    assert told_by(program.patch(f"/projects/{project.slug}", {"kind": "\ud800"})) == {"kind": HALF}
    assert "body" in told_by(program.patch(f"/projects/{project.slug}", {"\ud800": 1}))


def test_half_a_character_is_refused_in_every_text_of_a_vote(
    project: Project, ann: User, program_of: ProgramOf, make_comparison: MakeComparison
) -> None:
    Project.objects.update(asks_acceptability=True, offers_edit=True, aspects=["true"], reason_tags=["clear"])
    make_comparison()
    program, queue = program_of(ann), f"/projects/{project.slug}/queue"
    ticket = program.post(f"{queue}/lease").json()["pair"]["ticket"]
    fields: dict[str, Any] = {
        "ticket": "\ud800",
        "choice": "\ud800",
        "reason": "\ud800",
        "tags": ["\ud800"],
        "edits": {"A": "\ud800"},
        "aspects": {"true": "\ud800"},
    }
    for name, value in fields.items():
        answer = program.post(f"{queue}/submit", {"ticket": ticket, "choice": "a3", name: value}, key="one")
        assert HALF in told_by(answer).values(), name
    for name, value in {"ranks": 1, "acceptable": True, "aspects": "A", "edits": "x"}.items():
        vote = {"ticket": ticket, "choice": "a3", name: {"\ud800": value}}
        assert HALF in told_by(program.post(f"{queue}/submit", vote, key="one")).values(), name
    assert told_by(program.post(f"{queue}/skip", {"ticket": ticket, "reason": "\ud800"})) == {"reason": HALF}


def told_by(response: HttpResponseBase) -> dict[str, str]:
    assert error_of(response) == (422, "invalid")
    return {field["where"]: field["problem"] for field in response.json()["error"]["fields"]}  # type: ignore[attr-defined]


def test_a_fault_of_ours_is_logged_and_told_without_its_details(
    ann: User, program_of: ProgramOf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**_: object) -> None:
        raise ZeroDivisionError("secret details")

    monkeypatch.setattr(me, "MeOut", fail)
    response = program_of(ann).get("/me")
    assert error_of(response) == (500, "unexpected")
    assert "secret details" not in response.content.decode()
    assert "secret details" in caplog.text


def test_pages_are_left_alone(client: Client, db: None, signed_in: Callable[[User], Client], ann: User) -> None:
    response = signed_in(ann).get("/projects/nothing/")
    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/html")


def test_answers_are_kept_out_of_caches(ann: User, program_of: ProgramOf) -> None:
    assert program_of(ann).get("/me").headers["Cache-Control"] == "no-store"
