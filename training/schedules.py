"""Schedules: every N new preferences, or the times of a crontab (UTC). Each check says what it did and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cronsim import CronSim, CronSimError
from django.db import transaction
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotation.quality.renewing import proposed_smoothing
from models_registry.sayings import saying
from training.engine.config import ConfigError
from training.launching import LaunchError, launch_run
from training.models import Run, Schedule
from training.snapshot_filter import new_preferences

# What a decision is made of; it is kept in English, with the time before it.
DECIDED = saying(gettext_noop("%(time)s UTC: %(decision)s"))
WAITING = saying(gettext_noop("Waiting: %(fresh)d of %(wanted)d new preferences."))
ENOUGH = saying(gettext_noop("%(fresh)d new preferences"))
DUE = saying(gettext_noop("due at %(time)s"))
STILL_ACTIVE = saying(gettext_noop("Not launched (%(due)s): run %(run)d is still active."))
NOTHING_NEW = saying(gettext_noop("Not launched (%(due)s): no new preferences since the last launch."))
NOT_LAUNCHED = saying(gettext_noop("Not launched (%(due)s): %(why)s"))
LAUNCHED = saying(gettext_noop("Launched run %(run)d (%(due)s)."))
ESTIMATED = saying(gettext_noop("Launched run %(run)d (%(due)s), label smoothing %(smoothing)s as estimated."))
UNESTIMATED = saying(gettext_noop("Launched run %(run)d (%(due)s), without an estimate of the wrong votes."))


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
        decision = WAITING % {"fresh": fresh, "wanted": schedule.every_preferences}
    else:
        decision = ""  # between two times of a crontab nothing is decided: the last decision stands
    if run:
        schedule.counted_preferences, schedule.launched_at = count, run.created_at
    schedule.checked_at = now()
    if decision:
        time = f"{schedule.checked_at:%Y-%m-%d %H:%M}"
        schedule.decision = (DECIDED % {"time": time, "decision": decision})[:300]
    schedule.save(update_fields=["counted_preferences", "launched_at", "checked_at", "decision"])
    return run


def _due(schedule: Schedule, fresh: int) -> str:
    """Why it is due, or an empty text."""
    if schedule.every_preferences:
        return ENOUGH % {"fresh": fresh} if fresh >= schedule.every_preferences else ""
    ticked = last_time(schedule.crontab, schedule.checked_at or schedule.created_at, now())
    return DUE % {"time": f"{ticked:%H:%M}"} if ticked else ""


def _launch(schedule: Schedule, due: str, fresh: int) -> tuple[Run | None, str]:
    """Launch it, or the sentence that says why not."""
    active = schedule.runs.active().first()
    if active:
        return None, STILL_ACTIVE % {"due": due, "run": active.pk}
    if schedule.launched_at and not fresh:
        return None, NOTHING_NEW % {"due": due}
    smoothing = proposed_smoothing(schedule.project) if schedule.estimates_smoothing else None
    try:
        with transaction.atomic():
            run = launch_run(
                method=schedule.method,
                project=schedule.project,
                base=schedule.base,
                reward=schedule.reward,
                values=schedule.config | ({"label_smoothing": smoothing.value} if smoothing else {}),
                created_by=None,
                schedule=schedule,
            )
    except (ConfigError, LaunchError, OSError) as error:
        return None, NOT_LAUNCHED % {"due": due, "why": error}
    if smoothing:
        return run, ESTIMATED % {"run": run.pk, "due": due, "smoothing": smoothing.value}
    said = UNESTIMATED if schedule.estimates_smoothing else LAUNCHED
    return run, said % {"run": run.pk, "due": due}


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
        raise ValueError(_("A crontab has five fields: minute, hour, day, month, day of the week."))
    try:
        CronSim(crontab, now().astimezone(UTC))
    except CronSimError as error:
        raise ValueError(_("Not a crontab of five fields: %(reason)s.") % {"reason": error}) from error


def next_time_of(schedule: Schedule) -> datetime | None:
    """When a schedule with a crontab is due next; None for the others and while it is off."""
    return next_time(schedule.crontab, now()) if schedule.enabled and schedule.crontab else None
