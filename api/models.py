"""The tables of the API: tokens, the answers to requests with an idempotency key, webhooks and what they are told."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, OuterRef, Q, Subquery
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from annotation.asking import ask
from annotation.happenings import Kind
from annotation.models import Project

SEEN_EVERY = timedelta(minutes=1)


class Scope(models.TextChoices):
    """What a token may do of what its person may do."""

    PROJECTS_READ = "projects:read", _("See projects and their progress")
    PROJECTS_WRITE = "projects:write", _("Make projects and change their settings")
    LABEL = "label", _("Label: take pairs from the queue, vote, read one's own votes")
    DATA_READ = "data:read", _("Read votes, preferences and exports of the projects one manages")
    DATA_WRITE = "data:write", _("Import into the projects one manages")


class TokenQuerySet(models.QuerySet["Token"]):
    def in_force(self) -> Self:
        """Tokens that are neither revoked nor past their day, of people who may sign in."""
        unexpired = Q(expires_at=None) | Q(expires_at__gt=now())
        return self.filter(unexpired, revoked_at=None, user__is_active=True)

    def seen(self, token: Token) -> None:
        """Note that the token was used; at most one write a minute."""
        if token.last_used_at is None or token.last_used_at < now() - SEEN_EVERY:
            self.filter(pk=token.pk).update(last_used_at=now())

    def revoke(self, pk: int) -> bool:
        """End a token at once. False: it was revoked before, or is not among these."""
        return self.filter(pk=pk, revoked_at=None).update(revoked_at=now()) == 1


class Token(models.Model):
    """A key to the API for one person's program. The text itself is shown once and kept nowhere.

    `text_sha256` finds it. A token is 256 random bits, so one unsalted, fast hash gives nobody a list to try.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope.choices))
    text_sha256 = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=16, editable=False, help_text=_("How the token begins, to tell tokens apart."))
    created_at = models.DateTimeField(default=now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = TokenQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.name

    @property
    def state(self) -> str:
        """`in force`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return gettext_noop("revoked")
        is_over = self.expires_at is not None and self.expires_at <= now()
        return gettext_noop("expired") if is_over else gettext_noop("in force")

    @property
    def scope_words(self) -> list[str]:
        return [str(Scope(scope).label) for scope in self.scopes]


class RememberedAnswer(models.Model):
    """What was answered to a request with an `Idempotency-Key`, so that sending it again does nothing again."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=200)
    request_sha256 = models.CharField(max_length=64)
    answer = models.JSONField(null=True)
    created_at = models.DateTimeField(default=now, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="one_answer_per_idempotency_key")]

    def __str__(self) -> str:
        return f"answer to {self.key}"


class Event(models.TextChoices):
    """What a webhook can be told; the words of `annotation.happenings`, and a test."""

    JUDGMENT_MADE = Kind.JUDGMENT_MADE.value, _("A judgment is made")
    COMPARISON_FINISHED = Kind.COMPARISON_FINISHED.value, _("A comparison has all the judgments it wants")
    IMPORT_FINISHED = Kind.IMPORT_FINISHED.value, _("An import is finished")
    RUN_FINISHED = Kind.RUN_FINISHED.value, _("A training run succeeded, failed or was cancelled")
    VERSION_REGISTERED = Kind.VERSION_REGISTERED.value, _("A run's model is registered")


PING = "ping"


# Asked with every vote, so by hand.
WANTING = "SELECT id FROM api_webhook WHERE project_id = %(project)s AND off_at IS NULL AND %(kind)s = ANY (events)"


class WebhookQuerySet(models.QuerySet["Webhook"]):
    def wanting(self, kind: str, project_id: int) -> list[Webhook]:
        """Webhooks that are on and ask for this, with their projects. Mostly there are none: that is asked first."""
        wanting = [pk for (pk,) in ask(WANTING, {"project": project_id, "kind": str(kind)})]
        return list(self.filter(pk__in=wanting).select_related("project")) if wanting else []

    def with_last_delivery(self) -> Self:
        """Adds `last_state`, `last_attempts` and `last_at`, of the newest delivery."""
        newest = Delivery.objects.filter(webhook=OuterRef("pk")).order_by("-id")
        return self.annotate(
            last_state=Subquery(newest.values("state")[:1]),
            last_attempts=Subquery(newest.values("attempts")[:1]),
            last_at=Subquery(newest.values("created_at")[:1]),
        )

    def turn_off(self, pk: int, *, why: str) -> bool:
        """False: it was off."""
        return self.filter(pk=pk, off_at=None).update(off_at=now(), off_why=why) == 1

    def turn_on(self, pk: int) -> bool:
        """False: it was on."""
        return self.filter(pk=pk, off_at__isnull=False).update(off_at=None, off_why="") == 1


class Webhook(models.Model):
    """An address that is told what happens in a project. Its secret follows from `salt` and the site's secret key."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="webhooks")
    url = models.URLField(max_length=500)
    events = ArrayField(models.CharField(max_length=30, choices=Event.choices))
    salt = models.CharField(max_length=64, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=now, editable=False)
    off_at = models.DateTimeField(null=True, blank=True)
    off_why = models.CharField(max_length=300, blank=True)

    objects = WebhookQuerySet.as_manager()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.url


class DeliveryState(models.TextChoices):
    WAITING = "waiting", _("waiting")
    DELIVERED = "delivered", _("delivered")
    FAILED = "failed", _("failed")


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def due(self) -> Self:
        return self.filter(state=DeliveryState.WAITING, due_at__lte=now())

    def claim(self, pk: int, *, until: datetime) -> bool:
        """Take a due delivery for one attempt. False: somebody else has it, or it is over. Due again at `until`."""
        return self.due().filter(pk=pk).update(due_at=until, attempts=F("attempts") + 1) == 1


class Delivery(models.Model):
    """One thing to tell one webhook, and how telling it went. Kept for a month as the log that managers read."""

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    event = models.CharField(max_length=30)
    subject = models.CharField(max_length=100)
    body = models.JSONField()
    state = models.CharField(max_length=10, choices=DeliveryState.choices, default=DeliveryState.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(default=now)
    status = models.PositiveSmallIntegerField(null=True, help_text=_("What the address answered last."))
    error = models.CharField(max_length=300, blank=True)
    milliseconds = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField(default=now, db_index=True)
    tried_at = models.DateTimeField(null=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["webhook", "event", "subject"], name="one_delivery_per_happening"),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state="waiting"), name="deliveries_due"),
            models.Index(fields=["webhook", "-id"], name="deliveries_of_a_webhook"),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.subject} to {self.webhook_id}"

    @property
    def pretty_body(self) -> str:
        """The message for a reader."""
        return json.dumps(self.body, ensure_ascii=False, indent=1)
