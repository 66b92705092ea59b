"""Who holds what, what people said, and the triples that follow from it.

Seats keep a comparison from being judged too often. A comparison that wants n judgments has seats 1 to n; a lease holds
one, a judgment keeps it. The database refuses a second judgment on a seat and a seat above n. A vote that comes when
its lease is gone and others have all the seats is kept without one, and gets the next that comes free.
"""

from __future__ import annotations

from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils.timezone import now

from annotation.models.content import Comparison, Prompt, Response
from annotation.models.projects import Project, User


class Arm(models.TextChoices):
    """Why a comparison was handed to a person just then. The order does not bias what is measured on the random arm."""

    ORDER = "order", "in order"
    RANDOM = "random", "drawn at random"
    GOLD = "gold", "gold"
    REPEAT = "repeat", "hidden repeat"
    PRACTICE = "practice", "practice"


class LeaseQuerySet(models.QuerySet["Lease"]):
    def live(self) -> Self:
        """Leases that have not run out."""
        return self.filter(expires_at__gt=now())


class Lease(models.Model):
    """One person holds one comparison, in the order of responses they were shown, until `expires_at`."""

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="leases")
    annotator = models.ForeignKey(User, on_delete=models.CASCADE, related_name="leases")
    seat = models.PositiveSmallIntegerField()
    shown_order = ArrayField(models.BigIntegerField(), help_text="Response ids from left to right.")
    arm = models.CharField(max_length=10, choices=Arm.choices, db_default="", blank=True)
    leased_at = models.DateTimeField(default=now)
    heartbeat_at = models.DateTimeField(default=now)
    expires_at = models.DateTimeField()

    objects = LeaseQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["comparison", "annotator"], name="one_lease_per_person_and_comparison"),
            models.UniqueConstraint(fields=["comparison", "seat"], name="one_lease_per_seat"),
        ]
        indexes = [models.Index(fields=["expires_at"], name="leases_by_expiry")]

    def __str__(self) -> str:
        """Without the person's name: the admin's log keeps these words."""
        return f"lease on comparison {self.comparison_id} until {self.expires_at:%H:%M:%S}"


class JudgmentQuerySet(models.QuerySet["Judgment"]):
    def kept(self) -> Self:
        """Judgments that nobody took back: those that count, and late ones that wait for a seat."""
        return self.filter(withdrawn_at=None)

    def standing(self) -> Self:
        """Judgments that count: not withdrawn, and on a seat."""
        return self.kept().filter(seat__isnull=False)

    def waiting(self) -> Self:
        """Late judgments without a seat, the first to come first."""
        return self.kept().filter(seat=None).order_by("created_at", "id")

    def in_project(self, project: Project) -> Self:
        return self.filter(comparison__project=project)

    def by(self, annotator: User) -> Self:
        return self.filter(annotator=annotator)

    def latest_first(self) -> Self:
        return self.order_by("-created_at", "-id")


class Judgment(models.Model):
    """What one person said about one comparison.

    `tiers` is the ranking with ties, best first: `[[12], [7]]` prefers response 12, `[[7, 12]]` is a tie. A withdrawn
    judgment (undo) stays as history, but holds no seat and makes no preference. Nor does a late one that waits for a
    seat.
    """

    class Strength(models.IntegerChoices):
        SLIGHTLY = 1, "slightly"
        CLEARLY = 2, "clearly"
        MUCH = 3, "much"

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="judgments")
    annotator = models.ForeignKey(User, on_delete=models.PROTECT, related_name="judgments")
    seat = models.PositiveSmallIntegerField(null=True, blank=True)
    # Copied from the comparison; a foreign key on (comparison, wanted) keeps the copy true (migration 0003).
    seats = models.PositiveSmallIntegerField()
    tiers = models.JSONField()
    both_bad = models.BooleanField(default=False)
    strength = models.PositiveSmallIntegerField(choices=Strength.choices, null=True, blank=True)
    reason = models.TextField(blank=True)
    shown_order = ArrayField(models.BigIntegerField(), help_text="Response ids from left to right.")
    active_seconds = models.FloatField(default=0.0)
    arm = models.CharField(
        max_length=10,
        choices=Arm.choices,
        db_default="",
        blank=True,
        help_text="Empty for a source that asks no queue.",
    )
    created_at = models.DateTimeField(default=now)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    objects = JudgmentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["comparison", "annotator"],
                condition=Q(withdrawn_at=None),
                name="one_judgment_per_person_and_comparison",
            ),
            models.UniqueConstraint(
                fields=["comparison", "seat"], condition=Q(withdrawn_at=None), name="one_judgment_per_seat"
            ),
            models.CheckConstraint(condition=Q(seat__gte=1, seat__lte=F("seats")), name="seat_within_wanted"),
            models.CheckConstraint(condition=Q(active_seconds__gte=0), name="active_seconds_not_negative"),
            models.CheckConstraint(
                condition=Q(strength=None) | Q(strength__gte=1, strength__lte=3), name="strength_from_1_to_3"
            ),
        ]
        indexes = [models.Index(fields=["annotator", "-created_at"], name="judgments_by_person")]

    def __str__(self) -> str:
        return f"{self.annotator} on comparison {self.comparison_id}"

    @property
    def verdict(self) -> str:
        """The vote in words."""
        if len(self.shown_order) == 1:
            return "bad" if self.both_bad else "good"
        if self.both_bad:
            return "both bad"
        if len(self.tiers) == 1:
            return "tie"
        side = "A" if self.tiers[0] == self.shown_order[:1] else "B"
        return f"{side} {self.get_strength_display()}" if self.strength else f"{side} better"


class Skip(models.Model):
    """A person passed a comparison on, with a reason; they do not see it again."""

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="skips")
    annotator = models.ForeignKey(User, on_delete=models.CASCADE, related_name="skips")
    reason = models.CharField(max_length=400)
    created_at = models.DateTimeField(default=now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["comparison", "annotator"], name="one_skip_per_person_and_comparison")
        ]

    def __str__(self) -> str:
        return f"{self.annotator} skipped {self.comparison_id}: {self.reason}"


class PreferenceQuerySet(models.QuerySet["Preference"]):
    def for_training(self, project: Project) -> Self:
        """Every triple of a project with its texts and its judgment, in one stable order (oldest first)."""
        return self.filter(project=project).select_related("prompt", "chosen", "rejected", "judgment").order_by("id")


class Preference(models.Model):
    """The triple (x, y_w, y_l), derived from a judgment and never typed in by hand."""

    # Project and judgment go without indexes of their own: another index and the unique constraint begin with them.
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="preferences", db_index=False)
    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="preferences")
    chosen = models.ForeignKey(Response, on_delete=models.CASCADE, related_name="+")
    rejected = models.ForeignKey(Response, on_delete=models.CASCADE, related_name="+")
    judgment = models.ForeignKey(Judgment, on_delete=models.CASCADE, related_name="preferences", db_index=False)
    strength = models.PositiveSmallIntegerField(null=True, blank=True)
    weight = models.FloatField(default=1.0)
    created_at = models.DateTimeField(default=now)

    objects = PreferenceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(chosen=F("rejected")), name="chosen_differs_from_rejected"),
            models.UniqueConstraint(fields=["judgment", "chosen", "rejected"], name="one_preference_per_judged_pair"),
            models.CheckConstraint(condition=Q(weight__gt=0), name="weight_above_zero"),
        ]
        indexes = [models.Index(fields=["project", "id"], name="preferences_by_project")]

    def __str__(self) -> str:
        return f"{self.chosen_id} over {self.rejected_id}"
