"""The pages of rounds: who may let a model answer, what they are asked, what they see, and what nobody else sees."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from django.core.files.storage import storages
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from annotation.models import Comparison, Membership, Project, Prompt, Response, Role, User
from annotation.rounds import Answered, Given, land
from models_registry.models import Kind, Version
from training import tasks
from training.models import Method, Round, Run, State

from .conftest import make_run, make_version, sha

pytestmark = pytest.mark.django_db
ADD = "/admin/training/run/add/?method=sample"


@pytest.fixture
def prompts(project: Project) -> list[Prompt]:
    return [
        Prompt.objects.create(
            project=project, messages=[{"role": "user", "content": f"Question {n}?"}], content_hash=sha(str(n))
        )
        for n in range(5)
    ]


@pytest.fixture
def policy(project: Project, base: Version) -> Version:
    """A version that a run of the project has made."""
    run = make_run(base, project=project)
    version = make_version("Concise answers · DPO", Kind.POLICY)
    Version.objects.filter(pk=version.pk).update(run_id=run.pk)
    return version


@pytest.fixture
def page(project: Project) -> str:
    return reverse("next-round", args=[project.slug])


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def filled_in(version: Version, **changes: object) -> dict[str, object]:
    return {"base": version.pk, "prompts": "idle", "option_n": 2, **changes}


def test_an_archived_project_gets_no_answers_that_nobody_would_judge(
    manager: User, project: Project, page: str, policy: Version, prompts: list[Prompt]
) -> None:
    client = signed_in(manager)
    assert page in client.get(reverse("project", args=[project.slug])).content.decode()
    Project.objects.filter(pk=project.pk).update(archived_at=project.created_at)
    assert page not in client.get(reverse("project", args=[project.slug])).content.decode()
    answer = client.post(page, filled_in(policy))
    assert "This project is archived" in answer.content.decode()
    assert not Run.objects.filter(method=Method.SAMPLE).exists()


def test_a_manager_launches_a_round_from_the_projects_page(
    manager: User, project: Project, page: str, policy: Version, prompts: list[Prompt]
) -> None:
    client = signed_in(manager)
    assert page in client.get(project.get_absolute_url()).content.decode()
    answer = client.post(page, filled_in(policy, option_temperature="0.5"))
    run = Run.objects.get(method=Method.SAMPLE)
    assert answer.url == run.get_absolute_url()  # type: ignore[attr-defined]
    assert (run.project, run.base, run.created_by, run.state) == (project, policy, manager, State.QUEUED)
    assert (run.config["temperature"], run.config["n"], run.round.against) == (0.5, 2, None)
    assert run.snapshot is not None
    assert run.snapshot.train_rows == 5


def test_an_admin_launches_a_round_like_any_run(
    admin: User, project: Project, base: Version, prompts: list[Prompt]
) -> None:
    client = signed_in(admin)
    assert (
        "?method=sample&amp;project=" in client.get(f"/admin/training/run/add/?project={project.pk}").content.decode()
    )
    data = {"project": project.pk, "prompts": "all", **filled_in(base), "seed": "", "option_max_new_tokens": "64"}
    answer = client.post(ADD, data)
    run = Run.objects.get()
    assert answer.url == run.get_absolute_url()  # type: ignore[attr-defined]
    assert (run.method, run.project, run.base, run.created_by) == ("sample", project, base, admin)
    assert (run.config["max_new_tokens"], run.seed) == (64, 0)


@pytest.mark.parametrize("name", ["next-round", "next-round-count"])
def test_strangers_and_annotators_get_404_and_visitors_sign_in(
    name: str, project: Project, annotator: User, policy: Version
) -> None:
    url = reverse(name, args=[project.slug])
    assert Client().get(url).status_code == 302
    assert signed_in(annotator).get(url).status_code == 404
    for role in (Role.ANNOTATOR, Role.REVIEWER):
        Membership.objects.update_or_create(project=project, user=annotator, defaults={"role": role})
        assert signed_in(annotator).get(url).status_code == 404
        assert signed_in(annotator).post(url, filled_in(policy)).status_code in (404, 405)
    assert not Run.objects.filter(method=Method.SAMPLE).exists()


def test_a_manager_of_another_project_gets_404(annotator: User, page: str, policy: Version) -> None:
    other = Project.objects.create(name="Other", slug="other")
    Membership.objects.create(project=other, user=annotator, role=Role.MANAGER)
    client = signed_in(annotator)
    assert (client.get(page).status_code, client.post(page, filled_in(policy)).status_code) == (404, 404)
    assert client.get(reverse("version-rounds", args=[policy.pk])).status_code == 404


def test_a_manager_lets_only_versions_answer_that_their_runs_made_or_used(
    manager: User, page: str, base: Version, policy: Version, reward: Version, prompts: list[Prompt]
) -> None:
    secret = make_version("Secret", Kind.POLICY)  # whoever launches a run with a version may download it
    client = signed_in(manager)
    form = client.get(page).context["form"]
    assert set(form.fields["base"].queryset) == {base, policy}
    assert "Secret" not in client.get(page).content.decode()
    refused = client.post(page, filled_in(secret))
    assert refused.status_code == 200
    assert "base" in refused.context["form"].errors
    assert not Run.objects.filter(method=Method.SAMPLE).exists()


def test_a_manager_without_any_run_is_told_why_there_is_nothing_to_choose(manager: User, page: str) -> None:
    assert "A site admin launches the first run" in signed_in(manager).get(page).content.decode()


@pytest.mark.parametrize(("name", "method"), [("next-round", "put"), ("next-round-count", "post")])
def test_the_wrong_method_is_refused(name: str, method: str, manager: User, project: Project) -> None:
    url = reverse(name, args=[project.slug])
    assert getattr(signed_in(manager), method)(url).status_code == 405


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"option_n": "10"}, "option_n"),
        ({"option_n": "1"}, "option_n"),
        ({"option_n": "two"}, "option_n"),
        ({"option_temperature": "-1"}, "option_temperature"),
        ({"prompts": "some"}, "prompts"),
        ({"base": ""}, "base"),
        ({"base": "999999"}, "base"),
        ({"against": "x"}, "against"),
        ({"seed": "-1"}, "seed"),
    ],
)
def test_a_wrong_entry_is_an_error_at_its_field(
    manager: User, page: str, policy: Version, prompts: list[Prompt], changes: dict[str, object], field: str
) -> None:
    answer = signed_in(manager).post(page, filled_in(policy, **changes))
    assert answer.status_code == 200
    assert list(answer.context["form"].errors) == [field]
    assert not Run.objects.filter(method=Method.SAMPLE).exists()


def test_the_count_is_there_before_the_launch_and_follows_the_form(
    manager: User, page: str, project: Project, policy: Version, prompts: list[Prompt]
) -> None:
    waiting = [Response.objects.create(prompt=prompts[0], text=text, content_hash=text) for text in "ab"]
    Comparison.objects.create(project=project, prompt=prompts[0], response_ids=[answer.pk for answer in waiting])
    client = signed_in(manager)
    first = client.get(page).content.decode()
    assert "<strong>4 prompts</strong>, 8 answers, at most 4 comparisons" in first
    assert "4 of the project&#x27;s 5 prompts have no open comparison." in first or "4 of the project's 5" in first
    url = reverse("next-round-count", args=[project.slug])
    fragment = client.get(url, filled_in(policy, prompts="all", option_n=3)).content.decode()
    assert "<strong>5 prompts</strong>, 15 answers, at most 15 comparisons" in fragment
    assert "<html" not in fragment
    by_button = client.post(page, filled_in(policy, prompts="all", _count="1")).content.decode()
    assert "<strong>5 prompts</strong>, 10 answers" in by_button
    assert "Nothing has been launched" in by_button
    assert not Run.objects.filter(method=Method.SAMPLE).exists()


def test_two_clicks_launch_one_round(
    manager: User, page: str, policy: Version, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.execute_run, "delay", Mock())
    client = signed_in(manager)
    client.post(page, filled_in(policy))
    again = client.post(page, filled_in(policy))
    run = Run.objects.get(method=Method.SAMPLE)
    assert f"already, in run {run.pk}" in again.content.decode()


@pytest.fixture
def landed(project: Project, policy: Version, prompts: list[Prompt]) -> Run:
    """A round that has brought two answers to each prompt; one was left out."""
    from training.snapshots import freeze_prompts

    snapshot = freeze_prompts(
        project=project, prompts=Prompt.objects.filter(project=project), chosen={"prompts": "all"}, created_by=None
    )
    run = make_run(policy, method=Method.SAMPLE, project=project, snapshot=snapshot, config={"n": 2}, model_name="")
    batch = [
        Answered(prompt.pk, [Given(f"{side} side", {"run": run.pk, "ended": side == "This", "tokens": 3})
                             for side in ("This", "That")])
        for prompt in prompts
    ]  # fmt: skip
    land(project=project, author=policy, against=None, batch=batch)
    Round.objects.create(run=run, landed_prompts=5, answers=10, repeated=1, comparisons=5)
    Run.objects.filter(pk=run.pk).update(
        state=State.SUCCEEDED, finished_at=run.created_at, metrics={"response_tokens": 3.0, "share_ended": 0.5}
    )
    return run


def test_the_runs_page_says_what_came_of_it_and_leads_to_the_project(
    manager: User, project: Project, landed: Run
) -> None:
    html = signed_in(manager).get(landed.get_absolute_url()).content.decode()
    assert "<strong>10 answers</strong> and <strong>5 comparisons</strong>" in html
    assert f'href="{project.get_absolute_url()}">To the project</a>' in html
    assert "5 prompts, 2 answers each" in html
    assert "This side" in html
    assert "cut off" in html
    assert "Held out" not in html


def test_the_page_opens_although_the_frozen_prompts_are_gone(manager: User, landed: Run) -> None:
    assert landed.snapshot
    storages["artifacts"].delete(landed.snapshot.files["prompts"]["path"])
    page = signed_in(manager).get(landed.get_absolute_url())
    assert page.status_code == 200
    assert "What came of it" in page.content.decode()


def test_the_projects_page_says_where_its_answers_come_from(
    manager: User, project: Project, policy: Version, landed: Run
) -> None:
    html = signed_in(manager).get(project.get_absolute_url()).content.decode()
    assert policy.get_absolute_url() in html
    assert '<td class="number">10</td><td class="number">5</td>' in html


def test_the_versions_page_leads_to_the_next_round(
    manager: User, project: Project, policy: Version, page: str, landed: Run
) -> None:
    client = signed_in(manager)
    rounds = reverse("version-rounds", args=[policy.pk])
    assert rounds in client.get(policy.get_absolute_url()).content.decode()
    fragment = client.get(rounds, headers={"HX-Request": "true"}).content.decode()
    assert f"{page}?base={policy.pk}" in fragment
    assert "10</span> answers" in fragment
    assert "<html" not in fragment
    chosen = client.get(f"{page}?base={policy.pk}").content.decode()
    assert f'<option value="{policy.pk}" selected>' in chosen


def test_a_reward_model_answers_nothing(admin: User, reward: Version) -> None:
    client = signed_in(admin)
    rounds = reverse("version-rounds", args=[reward.pk])
    assert rounds not in client.get(reward.get_absolute_url()).content.decode()
    assert client.get(rounds).status_code == 404


def test_no_model_name_reaches_an_annotator(annotator: User, project: Project, policy: Version, landed: Run) -> None:
    Membership.objects.create(project=project, user=annotator, role=Role.ANNOTATOR)
    client = signed_in(annotator)
    for url in (reverse("label", args=[project.slug]), project.get_absolute_url(), reverse("home")):
        html = client.get(url).content.decode()
        assert "DPO" not in html
        assert str(policy) not in html
        assert "cut off" not in html.lower()
    assert "side" in client.get(reverse("label", args=[project.slug])).content.decode()
    assert client.get(landed.get_absolute_url()).status_code == 404


def test_the_list_of_runs_says_what_a_round_brought(admin: User, landed: Run) -> None:
    client = signed_in(admin)
    for url in (reverse("runs"), reverse("admin:training_run_changelist")):
        html = client.get(url).content.decode()
        assert "10 answers, 5 comparisons" in html or "10</span> answers" in html
        assert "5 prompts" in html


def test_launching_again_starts_from_the_same_options_with_a_new_seed(
    admin: User, landed: Run, base: Version, policy: Version
) -> None:
    Run.objects.filter(pk=landed.pk).update(seed=5)
    Round.objects.filter(run=landed).update(against=base)
    form = signed_in(admin).get(f"{ADD}&again={landed.pk}").context["adminform"].form
    names = ("base", "prompts", "against", "seed", "option_n")
    shown = [form.get_initial_for_field(form.fields[name], name) for name in names]
    assert shown == [policy.pk, "all", base.pk, None, 2]


@pytest.mark.parametrize("more", [0, 6])
def test_pages_ask_the_database_as_often_for_few_as_for_many(
    manager: User,
    admin: User,
    project: Project,
    page: str,
    policy: Version,
    landed: Run,
    more: int,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(more):
        version = make_version(f"Other {number}", Kind.POLICY)
        run = make_run(version, method=Method.SAMPLE, project=project, state=State.QUEUED)
        Round.objects.create(run=run)
        prompt = Prompt.objects.filter(project=project)[0]
        Response.objects.create(prompt=prompt, author=version, text=str(number), content_hash=str(number))
        rounds = make_run(policy, method=Method.SAMPLE, project=project, state=State.SUCCEEDED,
                          finished_at=landed.created_at)  # fmt: skip
        Round.objects.create(run=rounds)
    client = signed_in(manager)
    with django_assert_num_queries(9):
        client.get(page)
    with django_assert_num_queries(5):
        client.get(reverse("version-rounds", args=[policy.pk]))
    with django_assert_num_queries(10):
        client.get(landed.get_absolute_url())
    with django_assert_num_queries(13):
        client.get(project.get_absolute_url())
