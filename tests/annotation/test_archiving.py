"""A manager ends a project's work and takes it up again; nothing is deleted by it."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from annotation import queue
from annotation.models import Action, AuditEvent, Judgment, Project, Role, User
from annotation.services import create_project, record_judgment, set_role
from tests.annotation.conftest import MakeComparison, make_user

SignIn = Callable[[User], Client]


@pytest.fixture
def address(project: Project) -> str:
    return reverse("archive-project", args=[project.slug])


def test_a_manager_archives_and_reopens(
    project: Project, address: str, signed_in: SignIn, manager: User, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    client = signed_in(manager)

    assert client.post(address).headers["Location"] == reverse("project-settings", args=[project.slug])
    project.refresh_from_db()
    assert project.archived_at is not None
    assert queue.lease_next(project=project, annotator=ann) is None

    client.post(address, {"reopen": "1"})
    project.refresh_from_db()
    assert project.archived_at is None
    assert queue.lease_next(project=project, annotator=ann) is not None


def test_a_vote_is_not_taken_back_where_none_can_follow(
    project: Project, address: str, signed_in: SignIn, manager: User, ann: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    record_judgment(comparison=comparison, annotator=ann, tiers=[[pk] for pk in comparison.response_ids])
    signed_in(manager).post(address)

    answer = signed_in(ann).post(reverse("undo", args=[project.slug]), follow=True).content.decode()

    assert "This project is archived: its votes stay as they are." in answer
    assert Judgment.objects.standing().count() == 1


def test_the_log_tells_of_each_once(project: Project, address: str, signed_in: SignIn, manager: User) -> None:
    client = signed_in(manager)
    for data in ({}, {}, {"reopen": "1"}, {"reopen": "1"}):
        client.post(address, data)
    told = AuditEvent.objects.filter(project=project, action=Action.SETTINGS).order_by("pk")
    assert [(event.actor, event.what) for event in told] == [(manager, "archived"), (manager, "reopened")]


def test_archiving_again_keeps_the_first_day(project: Project, address: str, signed_in: SignIn, manager: User) -> None:
    client = signed_in(manager)
    client.post(address)
    first = Project.objects.get().archived_at
    client.post(address)
    assert Project.objects.get().archived_at == first


def test_an_annotator_does_neither(project: Project, address: str, signed_in: SignIn, ann: User) -> None:
    assert signed_in(ann).post(address).status_code == 404
    assert Project.objects.get().archived_at is None


def test_it_offers_no_undo(project: Project, address: str, signed_in: SignIn, manager: User) -> None:
    client = signed_in(manager)
    label = reverse("label", args=[project.slug])
    assert reverse("undo", args=[project.slug]) in client.get(label).content.decode()
    client.post(address)
    page = client.get(label).content.decode()
    assert "This project is archived" in page
    assert reverse("undo", args=[project.slug]) not in page


def test_managers_find_it_again_and_annotators_read_what_has_become_of_it(
    project: Project, address: str, signed_in: SignIn, manager: User, ann: User
) -> None:
    client = signed_in(manager)
    assert "Archived" not in client.get(reverse("home")).content.decode()
    client.post(address)
    assert 'id="archived-title"' in client.get(reverse("home")).content.decode()
    for name in ("project", "members", "project-settings"):
        assert "Archived since" in client.get(reverse(name, args=[project.slug])).content.decode()
    assert "Reopen the project" in client.get(reverse("project-settings", args=[project.slug])).content.decode()
    html = signed_in(ann).get(reverse("home")).content.decode()
    assert "Your project is archived" in html
    assert f'<a href="{project.get_absolute_url()}">Everyday help</a>' in html
    assert "You are in no project yet" not in html
    other = create_project(name="Other")
    set_role(project=other, person=ann, role=Role.ANNOTATOR)
    assert "Everyday help" not in client.get(reverse("home")).content.decode()


def test_the_admin_deletes_a_project_only_while_it_is_empty(
    project: Project, signed_in: SignIn, make_comparison: MakeComparison
) -> None:
    client = signed_in(make_user("root", is_staff=True, is_superuser=True))
    make_comparison()
    empty = create_project(name="Empty")
    for one, status in ((project, 403), (empty, 302)):
        delete = reverse("admin:annotation_project_delete", args=[one.pk])
        page = client.get(reverse("admin:annotation_project_change", args=[one.pk])).content.decode()
        assert (delete in page) == (status == 302)
        assert client.post(delete, {"post": "yes"}).status_code == status
    assert list(Project.objects.all()) == [project]
