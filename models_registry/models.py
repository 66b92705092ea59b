"""The ground floor: every model that Prefloop knows, its versions, and the files they are made of."""

from __future__ import annotations

from typing import Self

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _


class Kind(models.TextChoices):
    BASE = "base", _("base")
    SFT = "sft", _("fine-tuned")
    REWARD = "reward", _("reward model")
    POLICY = "policy", _("policy")


class Format(models.TextChoices):
    FULL = "full", _("full")
    MERGED = "merged", _("merged")
    ADAPTER = "adapter", _("adapter")


class Model(models.Model):
    """A name under which versions are numbered, for example `SmolLM2-135M-Instruct` or `Concise answers · DPO`."""

    name = models.CharField(max_length=200, unique=True)
    slug = models.SlugField(max_length=200, unique=True)
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class VersionQuerySet(models.QuerySet["Version"]):
    def policies(self) -> Self:
        """Versions that can answer a prompt, and so can be trained further: everything but reward models."""
        return self.exclude(kind=Kind.REWARD)

    def rewards(self) -> Self:
        return self.filter(kind=Kind.REWARD)

    def for_list(self) -> Self:
        """With all that a list shows of a version, in two queries."""
        return self.select_related("model", "parent__model", "created_by").prefetch_related("artifacts").defer("card")


class Version(models.Model):
    """One immutable set of weights. Made by a finished run; never edited afterwards, except its stage."""

    class Stage(models.TextChoices):
        NONE = "", "—"
        CANDIDATE = "candidate", _("candidate")
        PRODUCTION = "production", _("production")
        ARCHIVED = "archived", _("archived")

    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    kind = models.CharField(max_length=10, choices=Kind.choices)
    parent = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="children")
    # The producing run lives upstairs, in `training`; this room does not import it.
    run_id = models.BigIntegerField(null=True, blank=True, unique=True)
    source = models.CharField(max_length=400, blank=True, help_text=_("Where a base model came from."))
    dataset_sha256 = models.CharField(max_length=64, blank=True)
    tokenizer_sha256 = models.CharField(
        max_length=64, blank=True, help_text=_("Equal for models that share a tokenizer.")
    )
    parameters = models.BigIntegerField(default=0)
    config = models.JSONField(default=dict, blank=True)
    metrics = models.JSONField(default=dict, blank=True)
    card = models.TextField(blank=True, help_text=_("The model card, Markdown."))
    notice = models.CharField(max_length=400, blank=True, help_text=_("Shown wherever the version is named."))
    stage = models.CharField(max_length=12, choices=Stage.choices, default=Stage.NONE, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)

    objects = VersionQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["model", "number"], name="one_version_per_number"),
            models.CheckConstraint(condition=models.Q(number__gte=1), name="version_numbers_start_at_one"),
        ]

    def __str__(self) -> str:
        return f"{self.model.name} v{self.number}"

    def get_absolute_url(self) -> str:
        return reverse("version", args=[self.model.slug, self.number])

    def lineage(self) -> list[Version]:
        """The versions that this one grew from, oldest first, itself last."""
        found = [self]
        while (parent_id := found[-1].parent_id) is not None:
            found.append(Version.objects.select_related("model").get(pk=parent_id))
        return found[::-1]


class Artifact(models.Model):
    """One downloadable form of a version: a folder of files in the `artifacts` storage.

    `files` lists `{"path", "bytes", "sha256"}` of every file, sorted by path; `bytes` and `sha256` are those of the
    archive that a download streams.
    """

    version = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="artifacts")
    format = models.CharField(max_length=10, choices=Format.choices)
    storage_key = models.CharField(max_length=300, unique=True)
    files = models.JSONField(default=list)
    bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)

    class Meta:
        ordering = ["format"]
        constraints = [models.UniqueConstraint(fields=["version", "format"], name="one_artifact_per_format")]

    def __str__(self) -> str:
        return f"{self.version} ({self.format})"

    def get_absolute_url(self) -> str:
        """Where its archive is downloaded."""
        return reverse("download", args=[self.version.model.slug, self.version.number, self.format])
