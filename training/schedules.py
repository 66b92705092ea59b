"""Schedules: every N new preferences, or the times of a crontab (UTC). Each check says what it did and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cronsim import CronSim, CronSimError
from django.db import transaction
from django.utils.timezone import now

from training.engine.config import ConfigError
from training.launching import LaunchError, launch_run
from training.models import Run, Schedule
from training.snapshots import new_preferences


def launch_due() -> list[Run]:
    """Check every enabled schedule once and launch what is due. Checks of one schedule never overlap."""
    launched = []
    for pk in Schedule.objects.filter(enabled=True, project__archived_at=None).values_list("pk", flat=True):
        with transaction.atomic():
            schedule = (
                Schedule.objects.select_for_update(skip_locked=True, of=["self"])
                .select_related("project", "base__model", "reward__model")
                .filter(pk=pk, enabled=True)
                .first()
            )
            if schedule and (run := check(schedule)):
                launched.append(run)
    return launched


def check(schedule: Schedule) -> Run | None:
    """Decide about one locked schedule, and write the decision down."""
    count = new_preferences(schedule.project).count()
    fresh = max(0, count - schedule.counted_preferences)
    due = _due(schedule, fresh)
    run = None
    if due:
        run, decision = _launch(schedule, due, fresh)
    elif schedule.every_preferences:
        decision = f"Waiting: {fresh} of {schedule.every_preferences} new preferences."
    else:
        decision = ""  # between two times of a crontab nothing is decided: the last decision stands
    if run:
        schedule.counted_preferences, schedule.launched_at = count, run.created_at
    schedule.checked_at = now()
    if decision:
        schedule.decision = f"{schedule.checked_at:%Y-%m-%d %H:%M} UTC: {decision}"[:300]
    schedule.save(update_fields=["counted_preferences", "launched_at", "checked_at", "decision"])
    return run


def _due(schedule: Schedule, fresh: int) -> str:
    """Why it is due, or an empty text."""
    if schedule.every_preferences:
        return f"{fresh} new preferences" if fresh >= schedule.every_preferences else ""
    ticked = last_time(schedule.crontab, schedule.checked_at or schedule.created_at, now())
    return f"due at {ticked:%H:%M}" if ticked else ""


def _launch(schedule: Schedule, due: str, fresh: int) -> tuple[Run | None, str]:
    """Launch it, or the sentence that says why not."""
    active = schedule.runs.active().first()
    if active:
        return None, f"Not launched ({due}): run {active.pk} is still active."
    if schedule.launched_at and not fresh:
        return None, f"Not launched ({due}): no new preferences since the last launch."
    try:
        with transaction.atomic():
            run = launch_run(
                method=schedule.method,
                project=schedule.project,
                base=schedule.base,
                reward=schedule.reward,
                values=schedule.config,
                created_by=None,
                schedule=schedule,
            )
    except (ConfigError, LaunchError, OSError) as error:
        return None, f"Not launched ({due}): {error}"
    return run, f"Launched run {run.pk} ({due})."


def last_time(crontab: str, after: datetime, until: datetime) -> datetime | None:
    """The last time of a crontab in (after, until], or None. Times missed while nothing ran count as one."""
    # Backwards, CronSim gives what lies strictly before its start.
    start = until.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
    found = next(CronSim(crontab, start, reverse=True), None)
    return found if found and found > after else None


def next_time(crontab: str, after: datetime) -> datetime | None:
    """The next time of a crontab after a moment, UTC; None when it never comes."""
    return next(CronSim(crontab, after.astimezone(UTC)), None)


def check_crontab(crontab: str) -> None:
    """Raises ValueError with one sentence for a text that is no crontab."""
    if len(crontab.split()) != 5:
        raise ValueError("A crontab has five fields: minute, hour, day, month, day of the week.")
    try:
        CronSim(crontab, now().astimezone(UTC))
    except CronSimError as error:
        raise ValueError(f"Not a crontab of five fields: {error}.") from error


def next_time_of(schedule: Schedule) -> datetime | None:
    """When a schedule with a crontab is due next; None for the others and while it is off."""
    return next_time(schedule.crontab, now()) if schedule.enabled and schedule.crontab else None
