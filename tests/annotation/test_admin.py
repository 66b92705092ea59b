"""The admin shows what people did, and changes none of it."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from annotation import queue
from annotation.models import Comparison, ImportReport, Judgment, Project, Skip, User
from annotation.services import record_judgment
from tests.annotation.conftest import MakeComparison, make_user

SignIn = Callable[[User], Client]
TABLES = [model for model in admin.site._registry if model._meta.app_label == "annotation"]


@pytest.fixture
def root(db: None) -> User:
    return make_user("root", is_staff=True, is_superuser=True)


@pytest.mark.parametrize("model", TABLES, ids=lambda model: model._meta.model_name)
def test_every_list_opens(
    model: type, signed_in: SignIn, root: User, project: Project, ann: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison(judgments_wanted=2)
    record_judgment(comparison=comparison, annotator=root, tiers=[[pk] for pk in comparison.response_ids])
    queue.lease_next(project=project, annotator=ann)
    Skip.objects.create(comparison=comparison, annotator=root, reason="Neither.")
    ImportReport.objects.create(project=project)
    name = model._meta.model_name
    assert signed_in(root).get(reverse(f"admin:annotation_{name}_changelist")).status_code == 200


def test_the_search_finds_a_table_twice_alike(signed_in: SignIn, root: User) -> None:
    """The second time it comes from the cache, which holds JSON alone."""
    client = signed_in(root)
    first, second = (client.get("/admin/search/?s=judg").content.decode() for _ in range(2))
    assert reverse("admin:annotation_judgment_changelist") in first
    assert second == first


def test_what_is_typed_into_a_table_has_a_name(
    signed_in: SignIn, root: User, project: Project, make_comparison: MakeComparison
) -> None:
    make_comparison()
    client = signed_in(root)
    tables = {
        reverse("admin:annotation_project_change", args=[project.pk]): {
            "memberships-0-user": "User",
            "memberships-0-role": "Role",
            "memberships-0-daily_cap": "Daily cap",
        },
        reverse("admin:annotation_comparison_changelist"): {"form-0-priority": "Priority"},
    }
    for address, names in tables.items():
        html = client.get(address).content.decode()
        fields = {name: re.search(rf'<(?:select|input)[^>]*name="{name}"[^>]*>', html) for name in names}
        said = {name: re.findall(r'aria-label="([^"]*)"', field[0]) for name, field in fields.items() if field}
        assert said == {name: [label] for name, label in names.items()}


@pytest.mark.parametrize("name", ["judgment", "preference", "response", "prompt", "skip", "importreport"])
def test_what_follows_from_work_is_never_typed_in(signed_in: SignIn, root: User, name: str) -> None:
    assert signed_in(root).get(reverse(f"admin:annotation_{name}_add")).status_code == 403


def test_a_judgment_is_shown_and_cannot_be_changed_or_deleted(
    signed_in: SignIn, root: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    judgment = record_judgment(comparison=comparison, annotator=root, tiers=[comparison.response_ids])
    client = signed_in(root)
    url = reverse("admin:annotation_judgment_change", args=[judgment.pk])
    assert client.get(url).status_code == 200
    assert client.post(url, {"both_bad": "on"}).status_code == 403
    assert (
        client.post(reverse("admin:annotation_judgment_delete", args=[judgment.pk]), {"post": "yes"}).status_code == 403
    )
    judgment.refresh_from_db()
    assert judgment.both_bad is False
    assert Judgment.objects.count() == 1


def test_of_a_comparison_only_the_priority_changes(
    signed_in: SignIn, root: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    url = reverse("admin:annotation_comparison_change", args=[comparison.pk])
    signed_in(root).post(url, {"priority": "9", "judgments_wanted": "5", "depth": "3"})
    comparison.refresh_from_db()
    assert (comparison.priority, comparison.judgments_wanted, comparison.depth) == (9, 1, 0)
    assert Comparison.objects.count() == 1


def make_link(client: Client, person: User) -> str:
    data = {"action": "make_sign_in_link", "_selected_action": [person.pk]}
    return client.post(reverse("admin:annotation_user_changelist"), data, follow=True).content.decode()


def test_a_site_admin_makes_a_sign_in_link(signed_in: SignIn, root: User, ann: User) -> None:
    html = make_link(signed_in(root), ann)
    found = re.search(r"http://testserver/sign-in/[^<]+", html)
    assert found is not None
    client = Client()
    assert client.post(urlsplit(found[0]).path).status_code == 302
    assert client.session["_auth_user_id"] == str(ann.pk)


def test_other_staff_do_not(signed_in: SignIn, ann: User) -> None:
    clerk = make_user("clerk", is_staff=True)
    clerk.user_permissions.set(_all_user_permissions())
    html = make_link(signed_in(clerk), ann)
    assert "Only site admins make sign-in links." in html
    assert "http://testserver/sign-in/" not in html


def _all_user_permissions() -> object:
    from django.contrib.auth.models import Permission

    return Permission.objects.filter(content_type__app_label="annotation", content_type__model="user")


def test_the_admin_is_closed_to_annotators(signed_in: SignIn, ann: User) -> None:
    assert signed_in(ann).get(reverse("admin:annotation_judgment_changelist")).status_code == 302
