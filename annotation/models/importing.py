"""What an import did, kept so that its report can be read and downloaded later."""

from __future__ import annotations

from django.db import models
from django.urls import reverse
from django.utils.timezone import now

from annotation.models.projects import Project, User


class ImportReport(models.Model):
    """One file brought into one project. Written before the first row and brought up to date with every batch.

    `errors` lists `{"line", "reason"}` of the first bad rows; `error_count` counts all of them.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="imports")
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="imports")
    file_name = models.CharField(max_length=255, blank=True)
    judged_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="judged_imports")
    rows = models.PositiveIntegerField(default=0)
    comparisons_added = models.PositiveIntegerField(default=0)
    judgments_added = models.PositiveIntegerField(default=0)
    duplicates = models.PositiveIntegerField(default=0)
    error_count = models.PositiveIntegerField(default=0)
    errors = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.file_name or 'import'} into {self.project}"

    def get_absolute_url(self) -> str:
        return reverse("import-report", args=[self.project.slug, self.pk])
