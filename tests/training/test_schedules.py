"""Schedules: when they launch, when they do not, and that they say why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from annotation.models import Preference, Project, QualityReport, User
from models_registry.models import Version
from training.forms import ScheduleForm, form_for
from training.models import Method, Run, Schedule, State
from training.schedules import check_crontab, last_time, launch_due, next_time

from .conftest import make_run, vote

pytestmark = pytest.mark.django_db


def make_schedule(project: Project, base: Version, **fields: object) -> Schedule:
    if "crontab" not in fields:
        fields.setdefault("every_preferences", 10)
    return Schedule.objects.create(**{"project": project, "method": "dpo", "base": base, **fields})


def test_enough_new_preferences_launch_a_run_with_the_preset(
    project: Project, base: Version, votes: list[Preference]
) -> None:
    schedule = make_schedule(project, base, config={"beta": 0.3})
    [run] = launch_due()
    schedule.refresh_from_db()
    assert (run.schedule, run.method, run.config["beta"], run.created_by) == (schedule, "dpo", 0.3, None)
    assert schedule.counted_preferences == 20
    assert schedule.launched_at is not None
    assert schedule.decision.endswith(f"UTC: Launched run {run.pk} (20 new preferences).")


def test_too_few_new_ones_are_waited_for_and_it_says_so(
    project: Project, base: Version, votes: list[Preference]
) -> None:
    schedule = make_schedule(project, base, every_preferences=10, counted_preferences=15)
    assert launch_due() == []
    schedule.refresh_from_db()
    assert schedule.decision.endswith("UTC: Waiting: 5 of 10 new preferences.")
    assert schedule.checked_at is not None


def test_nothing_is_launched_while_one_of_its_runs_is_active(
    project: Project, base: Version, votes: list[Preference]
) -> None:
    schedule = make_schedule(project, base, every_preferences=1)
    active = make_run(base, project=project, schedule=schedule)
    assert launch_due() == []
    schedule.refresh_from_db()
    assert f"run {active.pk} is still active" in schedule.decision
    Run.objects.finish(active.pk, state=State.FAILED)
    assert len(launch_due()) == 1


def test_the_database_refuses_a_second_active_run_of_a_schedule(project: Project, base: Version) -> None:
    schedule = make_schedule(project, base)
    make_run(base, project=project, schedule=schedule)
    with pytest.raises(IntegrityError, match="one_active_run_per_schedule"), transaction.atomic():
        make_run(base, project=project, schedule=schedule)


def test_a_launch_that_makes_no_sense_is_a_decision_too(project: Project, base: Version, annotator: User) -> None:
    schedule = make_schedule(project, base, every_preferences=1)
    vote(project, annotator, "Only one?")
    assert launch_due() == []
    schedule.refresh_from_db()
    assert "Not launched (1 new preferences): Too little to learn from" in schedule.decision
    assert not Run.objects.exists()


def test_one_bad_schedule_does_not_stop_the_others(project: Project, base: Version, votes: list[Preference]) -> None:
    make_schedule(project, base, config={"beta": "much"})
    good = make_schedule(project, base)
    assert [run.schedule for run in launch_due()] == [good]


def test_a_disabled_schedule_is_not_looked_at(project: Project, base: Version, votes: list[Preference]) -> None:
    schedule = make_schedule(project, base, enabled=False)
    assert launch_due() == []
    schedule.refresh_from_db()
    assert schedule.checked_at is None


def test_a_crontab_launches_at_its_time_and_once(project: Project, base: Version, votes: list[Preference]) -> None:
    schedule = make_schedule(project, base, crontab="* * * * *", checked_at=now() - timedelta(minutes=5))
    [run] = launch_due()
    Run.objects.finish(run.pk, state=State.SUCCEEDED)
    assert launch_due() == []
    schedule.refresh_from_db()
    assert f"Launched run {run.pk} (due at" in schedule.decision


def test_a_crontab_between_its_times_leaves_the_last_decision_standing(
    project: Project, base: Version, votes: list[Preference]
) -> None:
    schedule = make_schedule(project, base, crontab="0 3 1 1 *", decision="what it said", checked_at=now())
    assert launch_due() == []
    schedule.refresh_from_db()
    assert schedule.decision == "what it said"


def test_a_crontab_does_not_train_twice_on_the_same_votes(
    project: Project, base: Version, votes: list[Preference]
) -> None:
    schedule = make_schedule(
        project,
        base,
        crontab="* * * * *",
        counted_preferences=20,
        launched_at=now() - timedelta(hours=1),
        checked_at=now() - timedelta(minutes=5),
    )
    assert launch_due() == []
    schedule.refresh_from_db()
    assert "no new preferences since the last launch" in schedule.decision


@pytest.fixture
def report(project: Project) -> QualityReport:
    rate = {"value": 0.213, "low": 0.18, "high": 0.25, "n": 812}
    return QualityReport.objects.create(
        project=project, numbers={"flip_rate": rate, "label_smoothing": 0.21}, votes_counted=0, computed_at=now()
    )


def test_the_smoothing_is_the_estimate_of_the_launch_and_the_run_keeps_it(
    project: Project, base: Version, votes: list[Preference], report: QualityReport
) -> None:
    schedule = make_schedule(project, base, config={"label_smoothing": 0.1}, estimates_smoothing=True)
    [run] = launch_due()
    schedule.refresh_from_db()
    assert run.config["label_smoothing"] == 0.21
    assert schedule.config == {"label_smoothing": 0.1}
    said = f"UTC: Launched run {run.pk} (20 new preferences), label smoothing 0.21 as estimated."
    assert schedule.decision.endswith(said)


def test_without_an_estimate_the_smoothing_is_the_one_given(
    project: Project, base: Version, votes: list[Preference]
) -> None:
    schedule = make_schedule(project, base, config={"label_smoothing": 0.1}, estimates_smoothing=True)
    [run] = launch_due()
    schedule.refresh_from_db()
    assert run.config["label_smoothing"] == 0.1
    said = f"UTC: Launched run {run.pk} (20 new preferences), without an estimate of the wrong votes."
    assert schedule.decision.endswith(said)


def test_a_schedule_that_does_not_estimate_keeps_its_own_smoothing(
    project: Project, base: Version, votes: list[Preference], report: QualityReport
) -> None:
    make_schedule(project, base, config={"label_smoothing": 0.1})
    [run] = launch_due()
    assert run.config["label_smoothing"] == 0.1


def test_the_database_lets_only_dpo_estimate(project: Project, base: Version) -> None:
    with pytest.raises(IntegrityError, match="only_dpo_estimates_smoothing"), transaction.atomic():
        make_schedule(project, base, method="sft", estimates_smoothing=True)


@pytest.mark.parametrize(("method", "estimates"), [(Method.DPO, True), (Method.SFT, None)])
def test_the_form_of_a_new_schedule_of_dpo_estimates(
    client: Client, admin: User, method: Method, estimates: bool | None
) -> None:
    client.force_login(admin)
    form = client.get(reverse("admin:training_schedule_add"), {"method": method}).context["adminform"].form
    switch = form.fields.get("estimates_smoothing")
    assert (switch and form.get_initial_for_field(switch, "estimates_smoothing")) is estimates


def test_the_form_keeps_what_was_switched(project: Project, base: Version) -> None:
    schedule = make_schedule(project, base)
    form = form_for(ScheduleForm, Method.DPO)(instance=schedule)
    assert form.get_initial_for_field(form.fields["estimates_smoothing"], "estimates_smoothing") is False


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"option_loss": "ipo"}, ["estimates_smoothing"]),
        ({"option_loss": "robust", "option_label_smoothing": "0.1"}, []),
        ({"option_loss": "robust"}, ["option_label_smoothing"]),  # nothing to go by while nothing is known
        ({}, []),
    ],
)
def test_the_form_refuses_to_estimate_for_a_loss_that_smooths_nothing(
    project: Project, base: Version, options: dict[str, str], wrong: list[str]
) -> None:
    data = {"project": project.pk, "base": base.pk, "every_preferences": 10, "estimates_smoothing": "on", **options}
    assert list(form_for(ScheduleForm, Method.DPO)(data).errors) == wrong


@pytest.mark.parametrize(
    ("after", "until", "expected"),
    [
        ((2, 59, 59), (3, 0, 0), (3, 0)),
        ((3, 0, 0), (3, 0, 30), None),
        ((2, 0, 0), (2, 59, 59), None),
        ((1, 0, 0), (9, 30, 0), (3, 0)),
    ],
)
def test_the_last_time_lies_after_the_last_check_and_not_in_the_future(
    after: tuple[int, ...], until: tuple[int, ...], expected: tuple[int, ...] | None
) -> None:
    day = (2026, 3, 2)
    found = last_time("0 3 * * *", datetime(*day, *after, tzinfo=UTC), datetime(*day, *until, 500_000, tzinfo=UTC))
    assert found == (datetime(*day, *expected, tzinfo=UTC) if expected else None)


def test_the_next_time_is_told() -> None:
    assert next_time("30 4 * * 1", datetime(2026, 3, 2, 5, tzinfo=UTC)) == datetime(2026, 3, 9, 4, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "every day", "0 3 * *", "61 3 * * *", "0 0 3 * * *"])
def test_a_text_that_is_no_crontab_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="crontab"):
        check_crontab(text)
