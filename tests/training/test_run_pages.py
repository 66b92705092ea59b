"""The pages of runs: who sees them, what they say, that they stop asking, how many queries they take."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now
from pytest_django import DjangoAssertNumQueries

from annotation.models import Membership, Project, Role, User
from models_registry.models import Version
from training.models import Run, RunEvent, Schedule, Snapshot, State
from training.presence import seen
from training.presentation import headline

from .conftest import make_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(project: Project, base: Version) -> Run:
    return make_run(base, project=project, config={"beta": 0.3, "epochs": 1.0})


@pytest.fixture
def as_admin(admin: User) -> Client:
    return signed_in(admin)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def tell(run: Run, kind: str, step: int | None = None, **data: Any) -> None:
    RunEvent.objects.create(run=run, seq=run.events.count() + 1, kind=kind, step=step, data=data, at=now())


def start(run: Run) -> None:
    Run.objects.claim(run.pk, worker="train@here")


ADDRESSES = ["run", "run-live", "run-metrics", "run-log"]


@pytest.mark.parametrize("name", ADDRESSES)
def test_strangers_get_404_and_visitors_sign_in(name: str, run: Run, annotator: User, project: Project) -> None:
    Membership.objects.create(project=project, user=annotator, role=Role.ANNOTATOR)
    url = reverse(name, args=[run.pk])
    assert signed_in(annotator).get(url).status_code == 404
    assert Client().get(url).status_code == 302


@pytest.mark.parametrize("name", ADDRESSES)
def test_staff_and_managers_of_the_project_see_a_run(name: str, run: Run, manager: User, admin: User) -> None:
    url = reverse(name, args=[run.pk])
    assert signed_in(manager).get(url).status_code == 200
    assert signed_in(admin).get(url).status_code == 200


def test_a_manager_of_another_project_gets_404(run: Run, annotator: User) -> None:
    other = Project.objects.create(name="Other", slug="other")
    Membership.objects.create(project=other, user=annotator, role=Role.MANAGER)
    assert signed_in(annotator).get(run.get_absolute_url()).status_code == 404


def test_the_page_says_what_a_running_run_does(run: Run, as_admin: Client) -> None:
    start(run)
    Run.objects.filter(pk=run.pk).update(
        step=84, total_steps=160, phase="training", eta_at=now() + timedelta(minutes=4, seconds=1), device="CPU"
    )
    page = as_admin.get(run.get_absolute_url()).content.decode()
    assert "step 84 of 160" in page
    assert "4 min left" in page
    assert "train@here (CPU), heartbeat" in page
    assert 'hx-trigger="every 2s' in page
    assert "Cancel" in page


def test_a_queued_run_says_whether_anybody_is_listening(run: Run, as_admin: Client) -> None:
    url = reverse("run-live", args=[run.pk])
    assert "No worker is listening on the train queue." in as_admin.get(url).content.decode()
    seen("train@here", ["train"])
    assert "Waiting for a worker to take it." in as_admin.get(url).content.decode()


def test_a_silent_worker_is_told(run: Run, as_admin: Client) -> None:
    start(run)
    Run.objects.filter(pk=run.pk).update(heartbeat_at=now() - timedelta(seconds=20))
    assert "Its worker is silent." in as_admin.get(reverse("run-live", args=[run.pk])).content.decode()


def test_an_ended_run_does_not_speak_of_its_worker(run: Run, as_admin: Client) -> None:
    start(run)
    Run.objects.filter(pk=run.pk).update(heartbeat_at=now() - timedelta(days=2), cancel_requested_at=now())
    Run.objects.finish(run.pk, state=State.SUCCEEDED)
    page = as_admin.get(run.get_absolute_url()).content.decode()
    assert "silent" not in page
    assert "Cancelling" not in page


def test_a_failed_run_shows_its_reason_and_log_and_stops_asking(run: Run, as_admin: Client) -> None:
    Run.objects.finish(run.pk, state=State.FAILED, reason="out of <memory>")
    Run.objects.filter(pk=run.pk).update(log_tail="last <line>")
    page = as_admin.get(run.get_absolute_url()).content.decode()
    assert "out of &lt;memory&gt;" in page
    assert "last &lt;line&gt;" in page
    assert "hx-trigger" not in page
    assert as_admin.get(reverse("run-live", args=[run.pk])).status_code == 286


def test_samples_stand_side_by_side_and_their_markup_is_text(run: Run, as_admin: Client) -> None:
    prompt = [{"role": "user", "content": "<script>alert(1)</script>?"}]
    for step, text in ((0, "<img src=x onerror=alert(1)>"), (4, "**bold**"), (8, "last")):
        sample = {"id": "7", "prompt": prompt, "text": text, "ended": step != 8, "tokens": 3, "score": 0.25}
        tell(run, "sample", step, samples=[sample])
    page = as_admin.get(run.get_absolute_url()).content.decode()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
    assert "<img" not in page
    assert "<strong>bold</strong>" in page
    for title in ("base", "step 4", "step 8 · 3 tokens · score 0.25 ·"):
        assert title in page


@pytest.mark.parametrize("data", [{"samples": "x"}, {"samples": [1, None]}, {"samples": [{"prompt": 3}]}, {}])
def test_samples_of_a_strange_shape_do_not_break_the_page(run: Run, as_admin: Client, data: dict[str, Any]) -> None:
    tell(run, "sample", 0, **data)
    assert as_admin.get(run.get_absolute_url()).status_code == 200


def test_metrics_come_in_order_and_only_what_is_new(run: Run, as_admin: Client) -> None:
    tell(run, "start")
    tell(run, "eval", 0, metrics={"loss": 0.7})
    tell(run, "step", 1, metrics={"loss": 0.6})
    url = reverse("run-metrics", args=[run.pk])
    first = as_admin.get(url).json()
    assert first == {"rows": [[2, 0, True, {"loss": 0.7}], [3, 1, False, {"loss": 0.6}]], "after": 3, "active": True}
    tell(run, "step", 2, metrics={"loss": 0.5})
    assert as_admin.get(f"{url}?after=3").json()["rows"] == [[4, 2, False, {"loss": 0.5}]]
    assert as_admin.get(f"{url}?after=4").json() == {"rows": [], "after": 4, "active": True}
    assert as_admin.get(f"{url}?after=nonsense").status_code == 200


def test_results_are_sent_again_only_when_there_are_new_ones(run: Run, as_admin: Client) -> None:
    url = reverse("run-live", args=[run.pk])
    assert "run-results" not in as_admin.get(f"{url}?results=0-queued").content.decode()
    tell(run, "eval", 0, metrics={"loss": 0.7})
    assert (
        'id="run-results" hx-ext="live" hx-swap-oob="morph"' in as_admin.get(f"{url}?results=0-queued").content.decode()
    )


def test_an_ended_run_offers_its_files(run: Run, as_admin: Client, base: Version) -> None:
    Run.objects.finish(run.pk, state=State.SUCCEEDED)
    Version.objects.filter(pk=base.pk).update(run_id=run.pk)
    page = as_admin.get(f"{reverse('run-live', args=[run.pk])}?results=0-queued").content.decode()
    artifact = base.artifacts.get()
    assert f'href="{artifact.get_absolute_url()}" download' in page
    assert artifact.sha256 in page


def test_cancelling_takes_a_post_and_a_right(run: Run, manager: User, annotator: User) -> None:
    url = reverse("run-cancel", args=[run.pk])
    assert signed_in(manager).get(url).status_code == 405
    assert signed_in(annotator).post(url).status_code == 404
    run.refresh_from_db()
    assert run.state == State.QUEUED
    assert signed_in(manager).post(url).status_code == 302
    run.refresh_from_db()
    assert run.state == State.CANCELLED


def test_the_list_is_for_those_who_train(run: Run, annotator: User, manager: User, admin: User, base: Version) -> None:
    make_run(base, model_name="Elsewhere")
    assert signed_in(annotator).get(reverse("runs")).status_code == 404
    assert signed_in(manager).get(reverse("runs")).context["page"].paginator.count == 1
    assert signed_in(admin).get(reverse("runs")).context["page"].paginator.count == 2


def test_the_list_shows_the_metric_that_matters_and_its_change(run: Run, as_admin: Client) -> None:
    Run.objects.filter(pk=run.pk).update(metrics={"margin_before": 0.5, "margin": 2.0, "accuracy": 0.9})
    page = as_admin.get(reverse("runs")).content.decode()
    assert 'margin <span class="number">2</span> <span class="muted number">+1.5</span>' in page


def test_the_list_says_whether_a_trainer_is_alive(run: Run, as_admin: Client) -> None:
    assert "No worker is listening on the train queue." in as_admin.get(reverse("runs")).content.decode()
    seen("train@here", ["train"])
    assert "train@here alive" in as_admin.get(reverse("runs")).content.decode()


def test_the_list_takes_as_many_queries_for_thirty_runs_as_for_one(
    run: Run, as_admin: Client, base: Version, project: Project, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    snapshot = Snapshot.objects.create(project=project, train_rows=1, eval_rows=1, sha256="0" * 64)
    for _ in range(30):
        make_run(base, project=project, snapshot=snapshot)
    as_admin.get(reverse("runs"))
    with django_assert_num_queries(5):
        as_admin.get(reverse("runs"))


def test_a_project_shows_its_runs_and_what_its_schedules_decided(
    run: Run, project: Project, base: Version, manager: User, annotator: User
) -> None:
    Schedule.objects.create(
        project=project, method="dpo", base=base, every_preferences=50, decision="Waiting: 3 of 50.", checked_at=now()
    )
    url = reverse("project-runs", args=[project.slug])
    page = signed_in(manager).get(url).content.decode()
    assert "every 50 new preferences" in page
    assert "Waiting: 3 of 50." in page
    assert run.get_absolute_url() in page
    assert "Train</a>" not in page
    assert signed_in(annotator).get(url).status_code == 404
    fragment = signed_in(manager).get(url, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in fragment


def test_staff_may_train_from_the_project(project: Project, as_admin: Client) -> None:
    page = as_admin.get(reverse("project-runs", args=[project.slug])).content.decode()
    assert f"{reverse('admin:training_run_add')}?project={project.pk}" in page


def test_the_page_works_without_javascript(run: Run, as_admin: Client) -> None:
    tell(run, "step", 1, metrics={"loss": 0.6123456})
    page = as_admin.get(run.get_absolute_url()).content.decode()
    assert "loss 0.6123" in page.split("As a table")[1].split("</details>")[0]


def test_what_is_no_single_number_is_left_out_of_steps_and_charts(run: Run, as_admin: Client) -> None:
    tables = {"reliability": [{"from": 0.5, "to": 0.55, "pairs": 8}], "loss": 0.5}
    tell(run, "eval", 0, metrics=tables)
    Run.objects.filter(pk=run.pk).update(metrics=tables)
    assert "loss 0.5</td>" in as_admin.get(run.get_absolute_url()).content.decode()
    rows = as_admin.get(reverse("run-metrics", args=[run.pk])).json()["rows"]
    assert rows == [[1, 0, True, {"loss": 0.5}]]


def test_until_a_second_evaluation_a_metric_has_only_a_before(run: Run, as_admin: Client) -> None:
    Run.objects.filter(pk=run.pk).update(metrics={"kl_before": 0.25})
    row = as_admin.get(run.get_absolute_url()).content.decode().split("KL to the base</th>")[1].split("</tr>")[0]
    assert re.findall(r">([^<]+)</td>", row) == ["0.25", "–"]
    run.refresh_from_db()
    assert headline(run) is None


def test_a_reward_model_shows_where_it_is_right(run: Run, as_admin: Client) -> None:
    metrics = {
        "reliability": [{"from": 0.6, "to": 0.65, "pairs": 6, "accuracy": 0.83, "confidence": 0.62}, {"from": 0.65}],
        "accuracy_by_strength": [
            {"strength": 0, "pairs": 3, "accuracy": 1.0},
            {"strength": 2, "pairs": 9, "accuracy": 0.5},
        ],
        "accuracy_by_length": "none",
    }
    Run.objects.filter(pk=run.pk).update(metrics=metrics)
    page = as_admin.get(run.get_absolute_url()).content.decode()
    shown = page.split("Where it is right")[1].split("</section>")[0]
    assert re.findall(r'<th scope="row">([^<]+)</th>', shown) == ["60% to 65%", "not said", "clearly"]
    assert re.findall(r'class="right" width="(\d+)"', shown) == ["83", "100", "50"]
    assert re.findall(r'class="sure" d="M(\d+) ', shown) == ["62"]
    assert "Length of the chosen answer" not in shown


@pytest.mark.parametrize("said", [None, [], "x", 3, {"a": [None]}, [{"id": 1, "text": None, "prompt": 3}, None]])
def test_an_event_of_an_unknown_form_is_no_error_of_the_page(run: Run, as_admin: Client, said: object) -> None:
    for kind in ("step", "eval", "sample", "warning"):
        tell(run, kind, 1, metrics=said, samples=said, message=said)
    for name in ADDRESSES:
        assert as_admin.get(reverse(name, args=[run.pk])).status_code == 200
