"""The front page, a project's page, its settings and its members."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from annotation import queue
from annotation.forms import DisplayNameForm, ProjectForm, SettingsForm
from annotation.models import Judgment, Lease, Membership, Project, Role, User
from annotation.queue_forms import CapForm, QueueForm
from annotation.services import create_project, record_judgment, rule_judge, set_role
from tests.annotation.conftest import MakeComparison, make_user

SignIn = Callable[[User], Client]


@pytest.fixture
def admin(db: None) -> User:
    return make_user("root", is_staff=True, is_superuser=True)


def test_the_front_page_lists_my_projects_with_their_progress(
    project: Project, signed_in: SignIn, ann: User, make_comparison: MakeComparison
) -> None:
    create_project(name="Not mine")
    first, *_ = [make_comparison(judgments_wanted=2) for _ in range(2)]
    record_judgment(comparison=first, annotator=ann, tiers=[[pk] for pk in first.response_ids])

    html = signed_in(ann).get(reverse("home")).content.decode()

    assert "Everyday help" in html
    assert "1 of 4 judgments · you voted once" in html
    assert reverse("label", args=[project.slug]) in html
    assert "Not mine" not in html


def test_the_front_page_says_what_to_do_where_there_is_nothing(signed_in: SignIn, stranger: User, admin: User) -> None:
    assert "A manager adds you by your username, <b>stranger</b>" in signed_in(stranger).get("/").content.decode()
    assert "Make one, import prompts" in signed_in(admin).get("/").content.decode()


@pytest.mark.parametrize("count", [1, 12])
def test_the_front_page_asks_the_database_as_often_for_few_as_for_many(
    signed_in: SignIn, ann: User, django_assert_num_queries: Callable[..., object], count: int
) -> None:
    for n in range(count):
        create_project(name=f"Project {n}", manager=ann)
    client = signed_in(ann)
    with django_assert_num_queries(4):
        client.get(reverse("home"))


def test_a_manager_sees_everybodys_votes_and_an_annotator_only_their_own(
    project: Project, signed_in: SignIn, manager: User, ann: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison(judgments_wanted=2)
    tiers = [[pk] for pk in comparison.response_ids]
    record_judgment(comparison=comparison, annotator=ann, tiers=tiers, strength=2)
    record_judgment(comparison=comparison, annotator=rule_judge("demo-rule"), tiers=tiers)
    url = project.get_absolute_url()

    seen_by_manager = signed_in(manager).get(url).content.decode()
    assert "demo-rule" in seen_by_manager
    assert "A clearly" in seen_by_manager
    assert reverse("members", args=[project.slug]) in seen_by_manager

    seen_by_annotator = signed_in(ann).get(url).content.decode()
    assert "By you" in seen_by_annotator
    assert "demo-rule" not in seen_by_annotator
    assert "A clearly" not in seen_by_annotator
    assert reverse("members", args=[project.slug]) not in seen_by_annotator


def test_a_manager_sees_who_holds_a_pair(
    project: Project, signed_in: SignIn, manager: User, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    client = signed_in(manager)
    assert "Held now</dt><dd>nothing" in client.get(project.get_absolute_url()).content.decode()
    queue.lease_next(project=project, annotator=ann)
    assert "Held now</dt><dd>ann" in client.get(project.get_absolute_url()).content.decode()


@pytest.mark.parametrize("count", [1, 12])
def test_a_projects_page_asks_the_database_as_often_for_few_as_for_many(
    project: Project,
    signed_in: SignIn,
    manager: User,
    make_comparison: MakeComparison,
    django_assert_num_queries: Callable[..., object],
    count: int,
) -> None:
    for n in range(count):
        person = make_user(f"person{n}")
        set_role(project=project, person=person, role=Role.ANNOTATOR)
        comparison = make_comparison()
        record_judgment(comparison=comparison, annotator=person, tiers=[[pk] for pk in comparison.response_ids])
    client = signed_in(manager)
    with django_assert_num_queries(12):
        client.get(project.get_absolute_url())


def test_names_and_guidelines_are_never_markup(signed_in: SignIn, manager: User, project: Project) -> None:
    evil = "<script>alert(1)</script>"
    Project.objects.update(name=evil, guidelines=f"**read** {evil}")
    User.objects.filter(pk=manager.pk).update(display_name=evil)
    client = signed_in(manager)
    for name in ("project", "label", "members", "project-settings", "import", "export"):
        html = client.get(reverse(name, args=[project.slug])).content.decode()
        assert "<script>alert" not in html
        assert "&lt;script&gt;" in html
    assert "<strong>read</strong>" in client.get(project.get_absolute_url()).content.decode()


def test_staff_make_a_project_in_the_browser_and_manage_it(signed_in: SignIn, admin: User) -> None:
    data = {"name": "Tone of voice", "guidelines": "Kind.", "overlap": "3", "asks_reason": "on"}
    answer = signed_in(admin).post(reverse("new-project"), data)
    project = Project.objects.get()
    assert answer.headers["Location"] == project.get_absolute_url()
    assert (project.slug, project.overlap, project.asks_strength, project.asks_reason) == (
        "tone-of-voice",
        3,
        False,
        True,
    )
    assert Membership.objects.get().role == Role.MANAGER


def test_two_projects_of_one_name_get_two_addresses(db: None) -> None:
    slugs = [create_project(name=name).slug for name in ("Tone", "Tone", "Tone", "New", "多言語", "多言語")]
    assert slugs == ["tone", "tone-2", "tone-3", "new", "project", "project-2"]


def test_a_project_of_any_name_has_a_page_of_its_own(signed_in: SignIn, ann: User) -> None:
    for name in ("New", "New project", "Label"):
        project = create_project(name=name, manager=ann)
        assert f"<h1>{name}</h1>" in signed_in(ann).get(project.get_absolute_url()).content.decode()


def test_a_page_answers_a_request_for_its_head_alone(signed_in: SignIn, ann: User) -> None:
    project = create_project(name="Tone", manager=ann)
    for url in (reverse("home"), project.get_absolute_url(), reverse("export", args=[project.slug])):
        answer = signed_in(ann).head(url)
        assert (answer.status_code, answer.content) == (200, b"")


def test_only_staff_make_projects(signed_in: SignIn, ann: User) -> None:
    assert signed_in(ann).get(reverse("new-project")).status_code == 403
    assert signed_in(ann).post(reverse("new-project"), {"name": "Mine", "overlap": "1"}).status_code == 403
    assert not Project.objects.filter(name="Mine").exists()


@pytest.mark.parametrize(("overlap", "shown"), [("2.00", "2"), ("1.20", "1.2"), ("10", "10"), ("1.25", "1.25")])
def test_a_number_is_shown_without_zeros_that_say_nothing(
    signed_in: SignIn, project: Project, manager: User, overlap: str, shown: str
) -> None:
    Project.objects.update(overlap=overlap)
    page = signed_in(manager).get(reverse("project-settings", args=[project.slug])).content.decode()
    assert f'name="overlap" value="{shown}"' in page


@pytest.mark.parametrize("overlap", ["0", "51", "many"])
def test_a_bad_project_is_not_made(signed_in: SignIn, admin: User, overlap: str) -> None:
    answer = signed_in(admin).post(reverse("new-project"), {"name": "Bad", "overlap": overlap})
    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    assert not Project.objects.exists()


def test_a_manager_changes_the_settings(project: Project, signed_in: SignIn, manager: User) -> None:
    url = reverse("project-settings", args=[project.slug])
    signed_in(manager).post(url, {"name": "Renamed", "guidelines": "New", "overlap": "2", "asks_strength": "on"})
    project.refresh_from_db()
    assert (project.name, project.slug, project.overlap) == ("Renamed", "everyday-help", 2)


def test_a_manager_adds_people_and_changes_roles(
    project: Project, signed_in: SignIn, manager: User, stranger: User
) -> None:
    url = reverse("members", args=[project.slug])
    client = signed_in(manager)
    client.post(url, {"username": "stranger", "role": "annotator"})
    assert project.memberships.get(user=stranger).role == Role.ANNOTATOR
    client.post(url, {"username": "stranger", "role": "reviewer"})
    assert project.memberships.get(user=stranger).role == Role.REVIEWER


@pytest.mark.parametrize(
    ("username", "role"), [("nobody", "annotator"), ("stranger", "owner"), ("retired", "annotator")]
)
def test_a_bad_member_is_refused(
    project: Project, signed_in: SignIn, manager: User, stranger: User, username: str, role: str
) -> None:
    User.objects.create(username="retired", is_active=False)
    before = project.memberships.count()
    answer = signed_in(manager).post(reverse("members", args=[project.slug]), {"username": username, "role": role})
    assert "errorlist" in answer.content.decode()
    assert project.memberships.count() == before


def test_a_removed_members_votes_stay_and_their_pair_is_free(
    project: Project, signed_in: SignIn, manager: User, ann: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    record_judgment(comparison=comparison, annotator=ann, tiers=[comparison.response_ids])
    make_comparison()
    queue.lease_next(project=project, annotator=ann)
    membership = project.memberships.get(user=ann)

    signed_in(manager).post(reverse("remove-member", args=[project.slug, membership.pk]))

    assert not project.memberships.filter(user=ann).exists()
    assert Judgment.objects.standing().filter(annotator=ann).count() == 1
    assert not Lease.objects.exists()


def test_the_last_manager_stays(project: Project, signed_in: SignIn, manager: User) -> None:
    mine = project.memberships.get(user=manager)
    client = signed_in(manager)
    removed = client.post(reverse("remove-member", args=[project.slug, mine.pk]), follow=True)
    assert "at least one manager" in removed.content.decode()
    demoted = client.post(
        reverse("members", args=[project.slug]), {"username": "mara", "role": "annotator"}, follow=True
    )
    assert "at least one manager" in demoted.content.decode()
    mine.refresh_from_db()
    assert mine.role == Role.MANAGER


def test_a_member_of_another_project_cannot_be_removed_from_here(
    project: Project, signed_in: SignIn, manager: User, stranger: User
) -> None:
    other = create_project(name="Other", manager=stranger)
    theirs = other.memberships.get()
    assert signed_in(manager).post(reverse("remove-member", args=[project.slug, theirs.pk])).status_code == 404
    assert other.memberships.exists()


MANAGERS_ONLY = ["project-settings", "members", "import", "export"]


@pytest.mark.parametrize("name", ["project", *MANAGERS_ONLY])
def test_strangers_get_404(project: Project, signed_in: SignIn, stranger: User, name: str) -> None:
    assert signed_in(stranger).get(reverse(name, args=[project.slug])).status_code == 404


@pytest.mark.parametrize("name", MANAGERS_ONLY)
@pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.REVIEWER])
def test_what_managers_do_is_404_for_other_members(
    project: Project, signed_in: SignIn, ann: User, name: str, role: Role
) -> None:
    set_role(project=project, person=ann, role=role)
    url = reverse(name, args=[project.slug])
    assert signed_in(ann).get(url).status_code == 404
    assert signed_in(ann).post(url).status_code in (404, 405)


def test_a_site_admin_may_see_every_project(project: Project, signed_in: SignIn, admin: User) -> None:
    for name in ("project", *MANAGERS_ONLY):
        assert signed_in(admin).get(reverse(name, args=[project.slug])).status_code == 200


def test_a_page_that_is_not_there_is_a_designed_page(signed_in: SignIn, ann: User) -> None:
    answer = signed_in(ann).get("/projects/nothing/")
    assert answer.status_code == 404
    assert "There is nothing here for you" in answer.content.decode()


def test_the_settings_leave_out_what_the_kind_never_asks(project: Project, signed_in: SignIn, manager: User) -> None:
    client, url = signed_in(manager), reverse("project-settings", args=[project.slug])
    hidden = ["asks_strength", "offers_both_good", "asks_acceptability", "aspects"]
    fields = {}
    for kind in Project.Kind:
        Project.objects.update(kind=kind)
        html = client.get(url).content.decode()
        fields[kind] = [name for name in hidden if f'name="{name}"' in html]
    assert fields == {Project.Kind.PAIRS: hidden, Project.Kind.RANKING: hidden, Project.Kind.SINGLE: []}


def test_what_a_kind_never_asks_stays_set_for_the_next(project: Project, signed_in: SignIn, manager: User) -> None:
    Project.objects.update(kind=Project.Kind.SINGLE, asks_strength=True, aspects=["true"])
    data = {"name": "Tone", "overlap": "2", "kind": "pairs", "aspects": "", "guidelines": ""}
    signed_in(manager).post(reverse("project-settings", args=[project.slug]), data)
    project.refresh_from_db()
    assert (project.kind, project.overlap) == (Project.Kind.PAIRS, 2)
    assert (project.asks_strength, project.aspects) == (True, ["true"])


def test_a_saved_role_and_a_removal_are_told(project: Project, signed_in: SignIn, manager: User, ben: User) -> None:
    client, url = signed_in(manager), reverse("members", args=[project.slug])
    told = client.post(url, {"username": "ben", "role": "reviewer"}, follow=True).content.decode()
    assert "ben is a member now: reviewer." in told
    member = Membership.objects.get(user=ben)
    told = client.post(reverse("remove-member", args=[project.slug, member.pk]), follow=True).content.decode()
    assert "ben is no member any more." in told


def test_a_tag_that_is_too_long_is_named_without_a_programmers_word(project: Project) -> None:
    was = {name: getattr(project, name) for name in ProjectForm.Meta.fields}
    form = SettingsForm(was | {"aspects": "", "reason_tags": f"short, {'x' * 41}"}, instance=project)
    (said,) = form.errors["reason_tags"]
    assert said.startswith("Number 2 of the list:")


def test_saving_settings_leaves_what_others_change_at_that_moment(project: Project, ann: User) -> None:
    was = {name: getattr(project, name) for name in (*ProjectForm.Meta.fields, *QueueForm.Meta.fields)}
    member = Membership.objects.get(user=ann)
    forms = (
        SettingsForm(was | {"name": "Tone", "aspects": "", "reason_tags": ""}, instance=project),
        QueueForm(was | {"gold_share": 7}, instance=Project.objects.get()),
        CapForm({"daily_cap": 9}, instance=member),
        DisplayNameForm({"display_name": "Ann B."}, instance=ann),
    )
    Project.objects.update(archived_at=now(), guidelines="Be kind.", pass_mark=90)
    Membership.objects.update(passed_at=now(), role=Role.REVIEWER)
    User.objects.update(is_active=False)
    for form in forms:
        form.save()
    project.refresh_from_db()
    member.refresh_from_db()
    ann.refresh_from_db()
    assert (project.name, project.gold_share, member.daily_cap, ann.display_name) == ("Tone", 7, 9, "Ann B.")
    assert (project.archived_at is None, project.guidelines, project.pass_mark) == (False, "Be kind.", 90)
    assert (member.passed_at is None, member.role, ann.is_active) == (False, Role.REVIEWER, False)
