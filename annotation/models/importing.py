"""An import: the file, how it is read, how far it has come, and what it brought."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Self
from uuid import uuid4

from django.db import models
from django.db.models import F, Q
from django.urls import reverse
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from annotation.models.projects import Project, User

MOST_ERRORS_KEPT = 1_000
SILENT_AFTER = timedelta(seconds=30)  # a batch takes about one second
MOST_ATTEMPTS = 5
ANNOUNCED_EVERY = timedelta(seconds=60)
LATE_AFTER = timedelta(seconds=7)  # the page asks every two seconds, so it says so within ten
DRAFT_AGE = timedelta(days=1)


class LostImportError(Exception):
    """This process no longer holds the import: it was cancelled, or another worker has taken it up."""


class ImportState(models.TextChoices):
    DRAFT = "draft", _("not started")
    QUEUED = "queued", _("queued")
    RUNNING = "running", _("running")
    DONE = "succeeded", _("done")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


ACTIVE = (ImportState.QUEUED, ImportState.RUNNING)


class ImportQuerySet(models.QuerySet["ImportReport"]):
    def create_running(self, **fields: Any) -> ImportReport:
        """An import that this process lands at once."""
        return self.create(state=ImportState.RUNNING, attempt=1, heartbeat_at=now(), **fields)

    def queue(self, pk: int, **told: Any) -> bool:
        """Move a draft to the queue, with what the person confirmed. False: it was started, or thrown away, before."""
        moved = self.filter(pk=pk, state=ImportState.DRAFT).update(state=ImportState.QUEUED, heartbeat_at=now(), **told)
        return moved == 1

    def claim(self, pk: int, *, worker: str) -> bool:
        """Take up an import that is queued, or whose worker went silent. False: somebody else has it, or it is over."""
        free = Q(state=ImportState.QUEUED) | Q(state=ImportState.RUNNING, heartbeat_at__lt=now() - SILENT_AFTER)
        moved = self.filter(free, pk=pk).update(
            state=ImportState.RUNNING, worker=worker[:200], attempt=F("attempt") + 1, heartbeat_at=now()
        )
        return moved == 1

    def cancel(self, pk: int) -> bool:
        """End an import that is not over. What has landed stays."""
        active = self.filter(pk=pk, state__in=(ImportState.DRAFT, *ACTIVE))
        return active.update(state=ImportState.CANCELLED, finished_at=now()) == 1

    def forsaken(self) -> Self:
        """Imports whose worker went silent, or whose message nobody heard."""
        silent = Q(state=ImportState.RUNNING, heartbeat_at__lt=now() - SILENT_AFTER)
        waiting = self.exclude(upload="").filter(silent | Q(state=ImportState.QUEUED))
        return waiting.filter(Q(announced_at=None) | Q(announced_at__lt=now() - ANNOUNCED_EVERY))

    def over_with_a_file(self) -> Self:
        """Imports that need their file no more: over, or never started for a day."""
        old = Q(state=ImportState.DRAFT, created_at__lt=now() - DRAFT_AGE)
        return self.exclude(upload="").filter(old | ~Q(state__in=(ImportState.DRAFT, *ACTIVE)))


def upload_name(report: ImportReport, file_name: str) -> str:
    """Where an upload is kept. Nothing of the name that the browser sent is in it."""
    return f"imports/{uuid4().hex}"


class ImportReport(models.Model):
    """One file brought into one project, brought up to date with every batch.

    `errors` lists `{"line", "reason"}` of the first bad rows; `error_count` counts all of them. `position` is the
    number of the last row that landed, `progress` the share of the file that is read. With every claim `attempt` rises;
    who holds an older one has lost the import. The file is deleted when the import is over.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="imports")
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="imports")
    file_name = models.CharField(max_length=255, blank=True)
    upload = models.FileField(upload_to=upload_name, blank=True)
    format = models.CharField(max_length=20, default="jsonl")
    shape = models.CharField(max_length=30, blank=True)
    judged_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="judged_imports")
    author_label = models.CharField(max_length=200, blank=True)
    state = models.CharField(max_length=10, choices=ImportState.choices, default=ImportState.DONE)
    attempt = models.PositiveSmallIntegerField(default=0)
    worker = models.CharField(max_length=200, blank=True)
    heartbeat_at = models.DateTimeField(default=now)
    announced_at = models.DateTimeField(null=True, blank=True)
    position = models.PositiveBigIntegerField(default=0)
    progress = models.FloatField(default=0.0)
    error = models.TextField(blank=True)
    rows = models.PositiveIntegerField(default=0)
    comparisons_added = models.PositiveIntegerField(default=0)
    judgments_added = models.PositiveIntegerField(default=0)
    duplicates = models.PositiveIntegerField(default=0)
    error_count = models.PositiveIntegerField(default=0)
    errors = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = ImportQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.file_name or 'import'} into {self.project}"

    def get_absolute_url(self) -> str:
        return reverse("import-report", args=[self.project.slug, self.pk])

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE

    @property
    def percent(self) -> int:
        return min(99, int(100 * self.progress)) if self.is_active else 100

    @property
    def is_late(self) -> bool:
        """Nobody has taken it up, or gone on with it, for longer than a worker that is alive needs."""
        return self.is_active and self.heartbeat_at < now() - LATE_AFTER

    @contextmanager
    def local_file(self) -> Iterator[Path]:
        """The upload as a file of this machine, whatever storage keeps it."""
        try:
            path = self.upload.path
        except NotImplementedError:
            with NamedTemporaryFile() as copy, self.upload.open("rb") as kept:
                shutil.copyfileobj(kept, copy)
                copy.flush()
                yield Path(copy.name)
        else:
            yield Path(path)

    def advance(
        self,
        *,
        rows: int,
        position: int,
        progress: float,
        comparisons: int,
        judgments: int,
        duplicates: int,
        errors: list[dict[str, Any]],
    ) -> None:
        """Count what a batch brought, in the transaction that brings it. Raises LostImportError."""
        self._update(
            rows=F("rows") + rows,
            position=position,
            progress=progress,
            comparisons_added=F("comparisons_added") + comparisons,
            judgments_added=F("judgments_added") + judgments,
            duplicates=F("duplicates") + duplicates,
            error_count=F("error_count") + len(errors),
            heartbeat_at=now(),
        )
        if errors and len(self.errors) < MOST_ERRORS_KEPT:
            self._update(errors=[*self.errors, *errors][:MOST_ERRORS_KEPT])

    def remember(self, errors: list[dict[str, Any]]) -> None:
        """What the next batch adds its bad rows to, once this batch has landed."""
        self.errors = [*self.errors, *errors][:MOST_ERRORS_KEPT]

    def end(self, error: str) -> None:
        """Move to the terminal state; `error` is the reason why the file was not read to its end, if it was not.

        Raises LostImportError.
        """
        if error:
            self._update(state=ImportState.FAILED, finished_at=now(), error=error)
        else:
            self._update(state=ImportState.DONE, finished_at=now(), progress=1.0)
        self.refresh_from_db()

    def _update(self, **values: Any) -> None:
        held = ImportReport.objects.filter(pk=self.pk, state=ImportState.RUNNING, attempt=self.attempt)
        if held.update(**values) != 1:
            raise LostImportError

    def drop_upload(self) -> None:
        """Delete the file."""
        if self.upload:
            self.upload.delete(save=False)
            ImportReport.objects.filter(pk=self.pk).update(upload="")
