"""Whatever goes wrong under /api/ is told in one shape, and says what to do."""

from collections.abc import Callable

import pytest
from django.test import Client

from annotation.models import User
from api.endpoints import me
from tests.api.conftest import ROOT, ProgramOf, error_of


@pytest.mark.parametrize("path", ["/api/", "/api/v1/", "/api/v1/nothing", "/api/v2/projects", "/api/v1/projects/"])
def test_an_unknown_address_is_told_in_json(db: None, path: str) -> None:
    assert error_of(Client().get(path)) == (404, "not_found")


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
