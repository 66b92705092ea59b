"""Projects over the API."""

from collections.abc import Callable
from typing import Any

import pytest
from django.utils.timezone import now

from annotation import queue
from annotation.models import Action, AuditEvent, Project, User
from annotation.services import create_project
from api.models import Scope
from tests.annotation.conftest import MakeComparison
from tests.api.conftest import ProgramOf, error_of

SETTINGS = {
    "name": "New",
    "guidelines": "Be kind.",
    "overlap": 2,
    "kind": "ranking",
    "asks_strength": False,
    "offers_both_good": True,
    "asks_acceptability": True,
    "aspects": ["helpful", "true"],
    "reason_tags": ["clear"],
    "asks_reason": True,
    "offers_edit": True,
}


def test_one_sees_the_projects_one_is_in_with_their_progress(
    project: Project, ann: User, manager: User, program_of: ProgramOf, make_comparison: MakeComparison
) -> None:
    make_comparison(judgments_wanted=3)
    create_project(name="Not mine")

    (seen,) = program_of(ann).get("/projects").json()["items"]

    assert (seen["slug"], seen["role"], seen["manages"]) == ("everyday-help", "annotator", False)
    assert seen["progress"] == {"wanted": 3, "done": 0, "mine": 0}
    shown = program_of(manager).get("/projects/everyday-help").json()
    assert (shown["role"], shown["manages"], shown["guidelines"]) == ("manager", True, "Be **fair**.")


def test_a_site_admin_sees_every_project(project: Project, admin: User, program_of: ProgramOf) -> None:
    (seen,) = program_of(admin).get("/projects").json()["items"]
    assert (seen["role"], seen["manages"]) == (None, True)


def test_a_stranger_sees_none(project: Project, stranger: User, program_of: ProgramOf) -> None:
    program = program_of(stranger)
    assert program.get("/projects").json()["items"] == []
    assert error_of(program.get("/projects/everyday-help")) == (404, "not_found")
    assert error_of(program.patch("/projects/everyday-help", {"name": "Mine"})) == (404, "not_found")


@pytest.mark.parametrize("count", [1, 12])
def test_a_list_asks_the_database_as_often_for_few_as_for_many(
    ann: User, program_of: ProgramOf, django_assert_num_queries: Callable[..., object], count: int
) -> None:
    for n in range(count):
        create_project(name=f"Project {n}", manager=ann)
    program = program_of(ann)
    program.get("/me")
    with django_assert_num_queries(3):  # the token, the projects, my roles in them
        assert len(program.get("/projects").json()["items"]) == count


def test_who_runs_the_site_makes_projects_once_for_one_key(admin: User, program_of: ProgramOf) -> None:
    program = program_of(admin)
    made = [program.post("/projects", SETTINGS, key="new") for _ in range(2)]
    assert [answer.status_code for answer in made] == [201, 201]
    project = Project.objects.get()
    assert made[1].json() == made[0].json()
    assert {name: getattr(project, name) for name in SETTINGS} == SETTINGS
    assert project.memberships.get().user == admin


def test_others_make_none(manager: User, project: Project, program_of: ProgramOf) -> None:
    assert error_of(program_of(manager).post("/projects", SETTINGS)) == (403, "forbidden")
    assert Project.objects.count() == 1


def test_a_manager_changes_what_is_given_and_nothing_else(
    project: Project, manager: User, ann: User, program_of: ProgramOf
) -> None:
    changed = program_of(manager).patch("/projects/everyday-help", {"overlap": 3})
    assert (changed.json()["overlap"], changed.json()["guidelines"]) == (3, "Be **fair**.")
    project.refresh_from_db()
    assert (project.overlap, project.name) == (3, "Everyday help")
    assert error_of(program_of(ann).patch("/projects/everyday-help", {"overlap": 4})) == (404, "not_found")
    assert error_of(program_of(manager, Scope.PROJECTS_READ).patch("/projects/everyday-help", {})) == (
        403,
        "scope_missing",
    )


def test_what_waits_follows_a_new_kind(
    project: Project, manager: User, program_of: ProgramOf, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    program = program_of(manager)
    with django_capture_on_commit_callbacks() as to_do:
        assert program.patch("/projects/everyday-help", {"kind": "single"}).json()["kind"] == "single"
    assert len(to_do) == 1
    with django_capture_on_commit_callbacks() as to_do:
        assert program.patch("/projects/everyday-help", {"kind": "single"}).json()["kind"] == "single"
    assert to_do == []


def test_a_manager_archives_and_reopens(
    project: Project, manager: User, ann: User, program_of: ProgramOf, make_comparison: MakeComparison
) -> None:
    make_comparison()
    program = program_of(manager)

    archived = program.post("/projects/everyday-help/archive")
    assert archived.status_code == 200
    project.refresh_from_db()
    assert project.archived_at is not None
    assert archived.json()["archived_at"] is not None
    assert queue.lease_next(project=project, annotator=ann) is None

    assert program.post("/projects/everyday-help/reopen").json()["archived_at"] is None
    project.refresh_from_db()
    assert project.archived_at is None
    assert queue.lease_next(project=project, annotator=ann) is not None


def test_what_is_sent_again_changes_nothing_and_is_told_once(
    project: Project, manager: User, program_of: ProgramOf
) -> None:
    program = program_of(manager)
    for what in ("archive", "reopen"):
        answers = [program.post(f"/projects/everyday-help/{what}") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[1].json() == answers[0].json()
    told = AuditEvent.objects.filter(project=project, action=Action.SETTINGS).order_by("pk")
    assert [(event.actor, event.what) for event in told] == [(manager, "archived"), (manager, "reopened")]


def test_others_archive_nothing(project: Project, manager: User, ann: User, program_of: ProgramOf) -> None:
    assert error_of(program_of(ann).post("/projects/everyday-help/archive")) == (404, "not_found")
    reader = program_of(manager, Scope.PROJECTS_READ, Scope.DATA_WRITE)
    assert error_of(reader.post("/projects/everyday-help/archive")) == (403, "scope_missing")
    assert Project.objects.get().archived_at is None
    Project.objects.update(archived_at=now())
    assert error_of(program_of(ann).post("/projects/everyday-help/reopen")) == (404, "not_found")
    assert error_of(reader.post("/projects/everyday-help/reopen")) == (403, "scope_missing")
    assert Project.objects.get().archived_at is not None


def test_managers_list_what_is_archived(project: Project, manager: User, ann: User, program_of: ProgramOf) -> None:
    def slugs(user: User, **query: str) -> list[str]:
        return [one["slug"] for one in program_of(user).get("/projects", **query).json()["items"]]

    create_project(name="Open", manager=manager)
    Project.objects.filter(pk=project.pk).update(archived_at=now())
    assert slugs(manager) == ["open"]
    assert slugs(manager, archived="true") == ["everyday-help"]
    assert slugs(ann, archived="true") == []


WRONG = (
    {"overlap": 0},
    {"overlap": 51},
    {"name": ""},
    {"name": "   "},
    {"name": "x" * 121},
    {"kind": "other"},
    {"aspects": ["one, two"]},
    {"aspects": [""]},
    {"aspects": ["\t"]},
    {"aspects": ["true", "true"]},
    {"reason_tags": ["clear", " clear"]},
    {"reason_tags": ["x"] * 13},
    {"guidelines": None},
    {"kind": None},
    {"asks_reason": None},
)


@pytest.mark.parametrize("wrong", WRONG)
def test_bad_settings_are_refused(
    project: Project, manager: User, program_of: ProgramOf, wrong: dict[str, object]
) -> None:
    refused = program_of(manager).patch("/projects/everyday-help", wrong)
    assert error_of(refused) == (422, "invalid")
    assert [field["where"].split(".")[0] for field in refused.json()["error"]["fields"]] == [*wrong]
