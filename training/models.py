"""Frozen datasets, runs and what they report, and the schedules that start runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils.timezone import now
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from annotation.models import Project, User
from models_registry.models import Version

HEARTBEAT_STALE_AFTER = timedelta(seconds=90)
ANNOUNCE_AGAIN_AFTER = timedelta(minutes=2)
WORKER_SILENT_AFTER = timedelta(seconds=10)
TRAIN_QUEUE = "train"


class State(models.TextChoices):
    QUEUED = "queued", _("queued")
    RUNNING = "running", _("running")
    SUCCEEDED = "succeeded", _("succeeded")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


ACTIVE = (State.QUEUED, State.RUNNING)


class Method(models.TextChoices):
    SFT = "sft", _("SFT")
    REWARD = "reward", _("Reward model")
    DPO = "dpo", _("DPO")
    PPO = "ppo", _("PPO")
    SAMPLE = "sample", _("Sample answers")
    IMPORT = "import", _("Add base model")


class Snapshot(models.Model):
    """The exact rows a run learns from, frozen when it is launched: files in the `artifacts` storage, by sha256.

    `files` is `{"train": {"path", "sha256", "rows"}, "eval": {...}}`, paths being storage keys. Prompts are split, not
    rows, so that no prompt is on both sides.
    """

    project = models.ForeignKey("annotation.Project", on_delete=models.PROTECT, related_name="snapshots")
    filter = models.JSONField(default=dict, blank=True)
    split_seed = models.PositiveIntegerField(default=0)
    holdout = models.FloatField(default=0.1, help_text=_("Share of prompts that is held out."))
    train_rows = models.PositiveIntegerField()
    eval_rows = models.PositiveIntegerField()
    files = models.JSONField(default=dict)
    sha256 = models.CharField(max_length=64, help_text=_("Of the files' hashes, in order of their names."))
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=now, editable=False)

    def __str__(self) -> str:
        return gettext("snapshot %(n)s") % {"n": self.pk}


class RunQuerySet(models.QuerySet["Run"]):
    def active(self) -> Self:
        return self.filter(state__in=ACTIVE)

    def claim(self, run_id: int, *, worker: str) -> bool:
        """Move a queued run to running. False: somebody else already did, or it was cancelled."""
        moved = self.filter(pk=run_id, state=State.QUEUED).update(
            state=State.RUNNING,
            worker=worker,
            heartbeat_at=now(),
            started_at=Coalesce("started_at", now()),
            attempt=models.F("attempt") + 1,
        )
        return moved == 1

    def stale(self) -> Self:
        """Running by their row, but their worker has been silent for too long."""
        return self.filter(state=State.RUNNING, heartbeat_at__lt=now() - HEARTBEAT_STALE_AFTER)

    def unheard(self) -> Self:
        """Queued, but their message may be lost: the queue was told too long ago."""
        return self.filter(state=State.QUEUED, enqueued_at__lt=now() - ANNOUNCE_AGAIN_AFTER)

    def visible_to(self, user: User) -> Self:
        """Staff see every run, a manager those of their projects, everybody else none."""
        if user.is_staff:
            return self
        return self.filter(project__in=Project.objects.managed_by(user))

    def with_names(self) -> Self:
        """With everything a list of runs names, in one query."""
        return self.select_related(
            "project", "snapshot", "base__model", "reward__model", "created_by", "schedule", "round__against__model"
        )

    def finish(self, run_id: int, *, state: State, reason: str = "") -> bool:
        """Move an active run to a terminal state. False: it already is in one."""
        moved = self.filter(pk=run_id, state__in=ACTIVE).update(
            state=state, reason=reason, finished_at=now(), eta_at=None
        )
        return moved == 1


class Run(models.Model):
    """One execution of a method. The row is the truth; the queue only triggers."""

    method = models.CharField(max_length=10, choices=Method.choices)
    project = models.ForeignKey(
        "annotation.Project", on_delete=models.PROTECT, null=True, blank=True, related_name="runs"
    )
    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, null=True, blank=True, related_name="runs")
    base = models.ForeignKey(
        "models_registry.Version", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    reward = models.ForeignKey(
        "models_registry.Version", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    schedule = models.ForeignKey("Schedule", on_delete=models.SET_NULL, null=True, blank=True, related_name="runs")
    config = models.JSONField(default=dict, blank=True)
    seed = models.PositiveIntegerField(default=0)
    model_name = models.CharField(max_length=200, blank=True, help_text=_("The model its result becomes a version of."))

    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED, db_index=True)
    reason = models.TextField(blank=True, help_text=_("Why it failed or was cancelled, one readable sentence."))
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    worker = models.CharField(max_length=200, blank=True)
    device = models.CharField(max_length=100, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    phase = models.CharField(max_length=100, blank=True)
    step = models.PositiveIntegerField(default=0)
    total_steps = models.PositiveIntegerField(default=0)
    eta_at = models.DateTimeField(null=True, blank=True)
    # How far `events.jsonl` has been read, in bytes; moves in the transaction that stores the events.
    events_offset = models.BigIntegerField(default=0)
    metrics = models.JSONField(default=dict, blank=True)
    log_tail = models.TextField(blank=True, help_text=_("The end of what the engine printed, kept when it ended."))

    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=now, editable=False)
    # When the queue was last told; messages can be lost, so a queued run is announced again after a while.
    enqueued_at = models.DateTimeField(default=now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = "training run"
        constraints = [
            # A schedule never starts a second run while its first is active.
            models.UniqueConstraint(
                fields=["schedule"], condition=Q(state__in=["queued", "running"]), name="one_active_run_per_schedule"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["queued", "running"], finished_at=None)
                | Q(state__in=["succeeded", "failed", "cancelled"], finished_at__isnull=False),
                name="terminal_runs_have_an_end",
            ),
            # Started twice by a double click, a version would answer every prompt twice.
            models.UniqueConstraint(
                fields=["project", "base"],
                condition=Q(method="sample", state__in=["queued", "running"]),
                name="one_active_round_per_project_and_version",
            ),
        ]

    def __str__(self) -> str:
        return gettext("run %(n)s") % {"n": self.pk} + f" · {self.get_method_display()}"

    def get_absolute_url(self) -> str:
        return reverse("run", args=[self.pk])

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE

    @property
    def version(self) -> Version | None:
        """What the registry holds of this run's result."""
        return Version.objects.filter(run_id=self.pk).select_related("model").first()

    @property
    def duration(self) -> timedelta | None:
        """How long it has been running, or took; None before it started."""
        if self.started_at is None:
            return None
        return (self.finished_at or now()) - self.started_at


class Round(models.Model):
    """What a run of the method `sample` is for: its answers become comparisons of its project, and these are counted.

    The counts move in the transaction that adds the rows, so they are exact whatever dies in between. What they mean
    says `annotation.rounds.Landed`.
    """

    run = models.OneToOneField(Run, on_delete=models.CASCADE, related_name="round")
    against = models.ForeignKey(
        "models_registry.Version", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    landed_prompts = models.PositiveIntegerField(default=0, help_text=_("Prompts whose answers are in the project."))
    answers = models.PositiveIntegerField(default=0)
    repeated = models.PositiveIntegerField(default=0)
    empty = models.PositiveIntegerField(default=0)
    same_as_other = models.PositiveIntegerField(default=0)
    comparisons = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return gettext("round of run %(n)s") % {"n": self.run_id}


class RunEvent(models.Model):
    """One line of the engine's `events.jsonl`. `seq` is the line's own number, so a line is stored once."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="events")
    seq = models.PositiveIntegerField()
    kind = models.CharField(max_length=12)
    step = models.PositiveIntegerField(null=True, blank=True)
    data = models.JSONField(default=dict)
    at = models.DateTimeField()

    class Meta:
        ordering = ["seq"]
        constraints = [models.UniqueConstraint(fields=["run", "seq"], name="one_event_per_line")]
        indexes = [models.Index(fields=["run", "kind", "seq"], name="events_by_kind")]

    def __str__(self) -> str:
        return f"{self.kind} {self.seq} of run {self.run_id}"


class Schedule(models.Model):
    """Starts a method with a preset: every N new preferences, or at the times of a crontab."""

    project = models.ForeignKey("annotation.Project", on_delete=models.CASCADE, related_name="schedules")
    method = models.CharField(max_length=10, choices=Method.choices)
    base = models.ForeignKey("models_registry.Version", on_delete=models.PROTECT, related_name="+")
    reward = models.ForeignKey(
        "models_registry.Version", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    config = models.JSONField(default=dict, blank=True)
    every_preferences = models.PositiveIntegerField(
        null=True, blank=True, help_text=_("Launch after this many new ones.")
    )
    crontab = models.CharField(max_length=100, blank=True, help_text=_("Five fields, UTC, for example 0 3 * * 1."))
    enabled = models.BooleanField(default=True)
    estimates_smoothing = models.BooleanField(
        default=False, help_text=_("DPO's label smoothing is the share of wrong votes, as estimated at each launch.")
    )
    # Preferences counted when it last launched; "new" is what came since.
    counted_preferences = models.PositiveIntegerField(default=0)
    checked_at = models.DateTimeField(null=True, blank=True)
    launched_at = models.DateTimeField(null=True, blank=True)
    decision = models.CharField(max_length=300, blank=True, help_text=_("What it decided at the last check, and why."))
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        ordering = ["project", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(every_preferences__isnull=False, crontab="") | (Q(every_preferences=None) & ~Q(crontab="")),
                name="either_a_number_or_a_crontab",
            ),
            models.CheckConstraint(
                condition=Q(every_preferences=None) | Q(every_preferences__gte=1), name="every_at_least_one"
            ),
            models.CheckConstraint(
                condition=Q(estimates_smoothing=False) | Q(method="dpo"), name="only_dpo_estimates_smoothing"
            ),
        ]

    def __str__(self) -> str:
        said = gettext("every %(n)s preferences") if self.every_preferences else gettext("at %(crontab)s")
        when = said % {"n": self.every_preferences, "crontab": self.crontab}
        return f"{self.get_method_display()} {when}"


class WorkerQuerySet(models.QuerySet["Worker"]):
    def listening(self, queue: str) -> Self:
        """Workers of this queue that were heard of within the last seconds."""
        return self.filter(queues__contains=[queue], seen_at__gte=now() - WORKER_SILENT_AFTER)


class Worker(models.Model):
    """A Celery worker as it last made itself heard; it does so every two seconds while it is alive."""

    name = models.CharField(max_length=200, unique=True)
    queues = models.JSONField(default=list)
    seen_at = models.DateTimeField()

    objects = WorkerQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
