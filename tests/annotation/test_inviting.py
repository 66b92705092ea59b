"""A manager invites people: a new account, its role, a link; and never a way into somebody's account."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from django.test import Client
from django.urls import reverse

from annotation.models import AuditEvent, Project, Role, User
from annotation.services import create_project, set_role

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


def invite(client: Client, project: Project, username: str, role: str = "annotator") -> str:
    """The path of the link on the page that comes; empty where there is none."""
    data = {"username": username, "display_name": "Ida", "role": role}
    answer = client.post(reverse("invite-member", args=[project.slug]), data)
    found = re.search(r'http://testserver/sign-in/[^"<]+', answer.content.decode())
    return urlsplit(found[0]).path if found else ""


def test_somebody_new_comes_in_by_the_link_with_their_role(signed_in: SignIn, project: Project, manager: User) -> None:
    link = invite(signed_in(manager), project, "ida", "reviewer")
    ida = User.objects.get(username="ida")
    assert (str(ida), ida.has_usable_password(), ida.is_staff) == ("Ida", False, False)
    assert project.memberships.get(user=ida).role == Role.REVIEWER
    newcomer = Client()
    newcomer.post(link)
    assert newcomer.get(project.get_absolute_url()).status_code == 200
    told = AuditEvent.objects.filter(subject=ida, project=project, actor=manager).order_by("id")
    assert [event.action for event in told] == ["invited", "role"]


def test_a_lost_link_is_made_anew_until_they_have_come(signed_in: SignIn, project: Project, manager: User) -> None:
    client = signed_in(manager)
    assert invite(client, project, "ida")
    second = invite(client, project, "ida")
    assert Client().post(second).status_code == 302
    assert invite(client, project, "ida") == ""


@pytest.mark.parametrize("kind", ["plain", "admin who never came", "invited elsewhere", "closed", "a rule"])
def test_there_is_no_way_into_an_account_that_was_there(
    signed_in: SignIn, project: Project, manager: User, stranger: User, kind: str
) -> None:
    if kind == "invited elsewhere":
        invite(signed_in(stranger), create_project(name="Other", manager=stranger), "target")
    else:
        more = {
            "admin who never came": {"is_superuser": True, "is_staff": True},
            "closed": {"is_active": False},
            "a rule": {"is_active": False, "password": "!"},
        }
        User.objects.create(username="target", **more.get(kind, {}))
    target = User.objects.get(username="target")
    for _ in range(2):
        assert invite(signed_in(manager), project, "target") == ""
    # Nor by making them a member first.
    set_role(project=project, person=target, role=Role.ANNOTATOR, by=manager)
    assert invite(signed_in(manager), project, "target") == ""


def test_the_refusal_says_what_helps(signed_in: SignIn, project: Project, manager: User, stranger: User) -> None:
    client = signed_in(manager)

    def refusal(username: str) -> str:
        values = {"username": username, "display_name": "", "role": "annotator"}
        return client.post(reverse("invite-member", args=[project.slug]), values).content.decode()

    assert "Add them as a member" in refusal("stranger")
    set_role(project=project, person=stranger, role=Role.ANNOTATOR, by=manager)
    assert "a site admin makes them a link" in refusal("stranger")


def test_nobody_gets_a_name_that_differs_in_capitals_alone(signed_in: SignIn, project: Project, manager: User) -> None:
    client = signed_in(manager)
    invite(client, project, "ida")
    assert invite(client, project, "IDA") == ""
    assert User.objects.filter(username__iexact="ida").count() == 1


def test_somebody_made_an_admin_after_the_invitation_gets_no_link(
    signed_in: SignIn, project: Project, manager: User
) -> None:
    client = signed_in(manager)
    invite(client, project, "ida")
    User.objects.filter(username="ida").update(is_superuser=True)
    assert invite(client, project, "ida") == ""


@pytest.mark.parametrize(
    ("username", "role"), [("", "annotator"), ("a b", "annotator"), ("ida", "owner"), ("i" * 151, "annotator")]
)
def test_a_bad_invitation_makes_nobody(
    signed_in: SignIn, project: Project, manager: User, username: str, role: str
) -> None:
    people = User.objects.count()
    assert invite(signed_in(manager), project, username, role) == ""
    assert User.objects.count() == people


def test_the_page_with_the_link_is_not_kept(signed_in: SignIn, project: Project, manager: User) -> None:
    data = {"username": "ida", "role": "annotator"}
    answer = signed_in(manager).post(reverse("invite-member", args=[project.slug]), data)
    assert "no-store" in answer.headers["Cache-Control"]
