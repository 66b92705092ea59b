"""Flags: an annotator tells the managers about a comparison and goes on."""

import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from annotation.models import Flag, Lease, Project, User
from tests.annotation.conftest import MakeComparison
from tests.annotation.test_labelling_page import Forms

SignIn = Callable[[User], Client]


@pytest.fixture
def flag(project: Project, ann: User, make_comparison: MakeComparison) -> Flag:
    return Flag.objects.create(comparison=make_comparison(), annotator=ann, comment="Both answers are <b>empty</b>")


def send(client: Client, project: Project, comment: str, **more: str) -> object:
    data = Forms(client.get(reverse("label", args=[project.slug])).content.decode()).hidden
    return client.post(reverse("flag", args=[project.slug]), {**data, "flag": comment}, follow=True, headers=more)


def test_a_flag_is_kept_and_the_pair_stays(
    project: Project, signed_in: SignIn, ann: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    answer = send(signed_in(ann), project, " Something\x00 is off ")
    assert "The managers will see your comment" in answer.content.decode()  # type: ignore[attr-defined]
    flag = Flag.objects.get()
    assert (flag.comparison, flag.annotator, flag.comment) == (comparison, ann, "Something is off")
    assert Lease.objects.get().comparison == comparison


def test_a_page_with_javascript_keeps_what_it_shows(
    project: Project, signed_in: SignIn, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    answer = send(signed_in(ann), project, "Off", **{"X-Fragment": "1"})
    assert answer.status_code == 204  # type: ignore[attr-defined]
    assert Flag.objects.count() == 1


def test_a_flag_needs_words(project: Project, signed_in: SignIn, ann: User, make_comparison: MakeComparison) -> None:
    make_comparison()
    answer = send(signed_in(ann), project, "  ")
    assert "Say what is wrong" in answer.content.decode()  # type: ignore[attr-defined]
    assert not Flag.objects.exists()


def test_a_forged_ticket_flags_nothing(project: Project, signed_in: SignIn, ann: User, flag: Flag) -> None:
    signed_in(ann).post(reverse("flag", args=[project.slug]), {"ticket": "forged", "flag": "x"})
    assert Flag.objects.get() == flag


def test_managers_see_flags_and_settle_them(project: Project, signed_in: SignIn, manager: User, flag: Flag) -> None:
    client = signed_in(manager)
    assert 'badge warn">1<' in client.get(project.get_absolute_url()).content.decode()
    html = client.get(reverse("flags", args=[project.slug])).content.decode()
    assert "Both answers are &lt;b&gt;empty&lt;/b&gt;" in html
    assert "First answer 1" in html
    assert re.findall("<h([1-6])", html) == ["1", *"222"]  # a question and two answers

    client.post(reverse("settle-flag", args=[project.slug, flag.pk]))

    flag.refresh_from_db()
    assert flag.settled_by == manager
    settled_at = flag.settled_at
    client.post(reverse("settle-flag", args=[project.slug, flag.pk]))
    flag.refresh_from_db()
    assert flag.settled_at == settled_at
    assert 'badge warn">1<' not in client.get(project.get_absolute_url()).content.decode()


def test_only_managers_see_flags(
    project: Project, signed_in: SignIn, client: Client, ann: User, stranger: User, flag: Flag
) -> None:
    listing, settle = reverse("flags", args=[project.slug]), reverse("settle-flag", args=[project.slug, flag.pk])
    assert client.get(listing).status_code == 302
    for person in (ann, stranger):
        assert signed_in(person).get(listing).status_code == 404
        assert signed_in(person).post(settle).status_code == 404
    assert signed_in(stranger).post(reverse("flag", args=[project.slug])).status_code == 404
    flag.refresh_from_db()
    assert flag.settled_at is None


def test_a_flag_of_another_project_is_not_settled_here(
    project: Project, signed_in: SignIn, manager: User, flag: Flag
) -> None:
    other = Project.objects.create(name="Other", slug="other")
    other.memberships.create(user=manager, role="manager")
    assert signed_in(manager).post(reverse("settle-flag", args=["other", flag.pk])).status_code == 404


def test_wrong_methods_are_refused(project: Project, signed_in: SignIn, manager: User, flag: Flag) -> None:
    client = signed_in(manager)
    assert client.post(reverse("flags", args=[project.slug])).status_code == 405
    assert client.get(reverse("settle-flag", args=[project.slug, flag.pk])).status_code == 405
    assert client.get(reverse("flag", args=[project.slug])).status_code == 405


@pytest.mark.parametrize("count", [1, 15])
def test_the_list_asks_the_database_as_often_for_few_as_for_many(
    project: Project,
    signed_in: SignIn,
    manager: User,
    ann: User,
    make_comparison: MakeComparison,
    django_assert_num_queries: Callable[..., object],
    count: int,
) -> None:
    for _ in range(count):
        Flag.objects.create(comparison=make_comparison(), annotator=ann, comment="x")
    client = signed_in(manager)
    with django_assert_num_queries(6):
        client.get(reverse("flags", args=[project.slug]))
