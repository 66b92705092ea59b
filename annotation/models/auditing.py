"""Who did what: a table that grows and never changes."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import Q
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from annotation.models.projects import Project, User


class Action(models.TextChoices):
    SIGNED_IN = "signed-in", _("signed in")
    SIGN_IN_FAILED = "sign-in-failed", _("failed to sign in")
    SIGNED_OUT = "signed-out", _("signed out")
    RENEWED = "password", _("changed the password")
    TWO_FACTOR = "two-factor", _("changed two-factor sign-in")
    LINK = "link", _("made a sign-in link")
    INVITED = "invited", _("invited")
    ROLE = "role", _("gave a role")
    REMOVED = "removed", _("removed from the project")
    CREATED = "created", _("made the project")
    SETTINGS = "settings", _("changed the settings")
    IMPORTED = "imported", _("imported")
    EXPORTED = "exported", _("exported")
    LAUNCHED = "launched", _("launched")
    CANCELLED = "cancelled", _("asked to cancel")
    DOWNLOADED = "downloaded", _("downloaded")
    GOLD = "gold", _("changed the gold pairs")
    SETTLED = "settled", _("settled a dispute or flag")
    ASSIGNED = "assigned", _("changed who judges what")
    TOKEN = "token", _("changed their API tokens")
    WEBHOOK = "webhook", _("changed a webhook")
    ADMIN = "admin", _("changed in the admin")
    DELETED = "deleted", _("deleted")
    OWN_DATA = "own-data", _("took their own data")


class AuditQuerySet(models.QuerySet["AuditEvent"]):
    def in_project(self, project: Project) -> Self:
        return self.filter(project=project)

    def by(self, person: User) -> Self:
        return self.filter(actor=person)

    def matching(self, words: str) -> Self:
        """Events in which every word occurs: in what was done, to what, by whom, to whom, or where."""
        found = self
        for word in words.split():
            verbs = [action for action in Action if word.lower() in action.label.lower()]
            found = found.filter(
                Q(action__in=verbs)
                | Q(what__icontains=word)
                | Q(project__name__icontains=word)
                | Q(actor__username__icontains=word)
                | Q(actor__display_name__icontains=word)
                | Q(subject__username__icontains=word)
                | Q(subject__display_name__icontains=word)
            )
        return found

    def with_names(self) -> Self:
        """With everything that a list of events names, newest first."""
        return self.select_related("actor", "subject", "project").order_by("-id")


class AuditEvent(models.Model):
    """One thing that one person did. The database refuses to change or delete a row (migration 0006).

    People are named by key alone, so that somebody whose personal data is deleted is nameless here too, and no address
    of a computer is kept: what can never be changed should hold nothing that may have to be forgotten. `project` has no
    constraint behind it, as the event outlives what it is about.
    """

    at = models.DateTimeField(default=now, editable=False)
    action = models.CharField(max_length=16, choices=Action.choices)
    actor = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    subject = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    project = models.ForeignKey(Project, on_delete=models.DO_NOTHING, null=True, db_constraint=False, related_name="+")
    what = models.CharField(max_length=300, blank=True, help_text=_("Files, versions, runs, roles: in words."))

    objects = AuditQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["project", "-id"], name="audit_by_project"),
            models.Index(fields=["actor", "-id"], name="audit_by_person"),
        ]

    def __str__(self) -> str:
        return f"{self.actor or 'somebody'} {self.get_action_display()} {self.what}".strip()
