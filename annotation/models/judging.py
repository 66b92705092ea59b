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
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from annotation.models.content import Comparison, Prompt, Response
from annotation.models.projects import Project, User

LETTERS = "ABCDEFGHI"  # what people call the responses of a comparison, in the order in which they were shown


class Arm(models.TextChoices):
    """Why a comparison was handed to a person just then. The order does not bias what is measured on the random arm."""

    ORDER = "order", gettext_lazy("in order")
    RANDOM = "random", gettext_lazy("drawn at random")
    GOLD = "gold", gettext_lazy("gold")
    REPEAT = "repeat", gettext_lazy("hidden repeat")
    PRACTICE = "practice", gettext_lazy("practice")


class LeaseQuerySet(models.QuerySet["Lease"]):
    def live(self) -> Self:
        """Leases that have not run out."""
        return self.filter(expires_at__gt=now())


class Lease(models.Model):
    """One person holds one comparison, in the order of responses they were shown, until `expires_at`."""

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="leases")
    annotator = models.ForeignKey(User, on_delete=models.CASCADE, related_name="leases")
    seat = models.PositiveSmallIntegerField()
    shown_order = ArrayField(models.BigIntegerField(), help_text=gettext_lazy("Response ids from left to right."))
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

    def decisions(self) -> Self:
        """Standing judgments of reviewers that settle what others said."""
        return self.standing().filter(decides=True)

    def correctable(self) -> Self:
        """Kept ones that their authors may change until a reviewer settles the comparison: no decisions, and no
        practice, where they have been told what was expected."""
        return self.kept().filter(decides=False).exclude(comparison__purpose=Comparison.Purpose.PRACTICE)

    def with_settled(self) -> Self:
        """With `settled`: a reviewer has decided the comparison, so that votes on it stay as they are."""
        return self.annotate(settled=models.Exists(_decision_beside()))

    def unsettled(self) -> Self:
        """Of comparisons that no reviewer has decided."""
        return self.exclude(models.Exists(_decision_beside()))

    def in_project(self, project: Project) -> Self:
        return self.filter(comparison__project=project)

    def by(self, annotator: User) -> Self:
        return self.filter(annotator=annotator)

    def latest_first(self) -> Self:
        return self.order_by("-created_at", "-id")


def _decision_beside() -> JudgmentQuerySet:
    """The decision on the same comparison, for a subquery."""
    return Judgment.objects.decisions().filter(comparison=models.OuterRef("comparison"))


class Judgment(models.Model):
    """What one person said about one comparison.

    `tiers` is the ranking with ties, best first: `[[12], [7]]` prefers response 12, `[[7, 12]]` is a tie. A withdrawn
    judgment (undo, correction) stays as history, but holds no seat and makes no preference. Nor does a late one that
    waits for a seat.

    `acceptable` says of responses whether they would do by themselves, `{"12": true}`; of a single response it is the
    whole vote. `aspects` holds tiers of their own, `{"helpful": [[12], [7]]}`. `edited` is what the person made of the
    response `edit_of`.
    """

    class Strength(models.IntegerChoices):
        SLIGHTLY = 1, gettext_lazy("slightly")
        CLEARLY = 2, gettext_lazy("clearly")
        MUCH = 3, gettext_lazy("much")

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="judgments")
    annotator = models.ForeignKey(User, on_delete=models.PROTECT, related_name="judgments")
    seat = models.PositiveSmallIntegerField(null=True, blank=True)
    # Copied from the comparison; a foreign key on (comparison, wanted) keeps the copy true (migration 0003).
    seats = models.PositiveSmallIntegerField()
    tiers = models.JSONField()
    both_bad = models.BooleanField(default=False)
    strength = models.PositiveSmallIntegerField(choices=Strength.choices, null=True, blank=True)
    reason = models.TextField(blank=True)
    both_good = models.BooleanField(default=False, db_default=False)
    tags = ArrayField(models.CharField(max_length=40), default=list, db_default=[], blank=True)
    acceptable = models.JSONField(default=dict, db_default={}, blank=True)
    aspects = models.JSONField(default=dict, db_default={}, blank=True)
    edited = models.ForeignKey(
        Response, on_delete=models.CASCADE, null=True, blank=True, related_name="+", db_index=False
    )
    edit_of = models.ForeignKey(
        Response, on_delete=models.CASCADE, null=True, blank=True, related_name="+", db_index=False
    )
    # A reviewer's last word: the other votes on the comparison stay, and make no preferences.
    decides = models.BooleanField(default=False, db_default=False, editable=False)
    shown_order = ArrayField(models.BigIntegerField(), help_text=gettext_lazy("Response ids from left to right."))
    active_seconds = models.FloatField(default=0.0)
    arm = models.CharField(
        max_length=10,
        choices=Arm.choices,
        db_default="",
        blank=True,
        help_text=gettext_lazy("Empty for a source that asks no queue."),
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
            models.UniqueConstraint(
                fields=["comparison"], condition=Q(withdrawn_at=None, decides=True), name="one_decision_per_comparison"
            ),
            models.CheckConstraint(condition=Q(seat__gte=1, seat__lte=F("seats")), name="seat_within_wanted"),
            models.CheckConstraint(condition=Q(active_seconds__gte=0), name="active_seconds_not_negative"),
            models.CheckConstraint(
                condition=Q(strength=None) | Q(strength__gte=1, strength__lte=3), name="strength_from_1_to_3"
            ),
            models.CheckConstraint(condition=~Q(both_bad=True, both_good=True), name="not_both_good_and_both_bad"),
            models.CheckConstraint(
                condition=Q(edited=None, edit_of=None) | Q(edited__isnull=False, edit_of__isnull=False),
                name="an_edit_has_its_original",
            ),
        ]
        indexes = [
            models.Index(fields=["annotator", "-created_at"], name="judgments_by_person"),
            # Of the few that carry an edit, so that imports write nothing into them.
            models.Index(fields=["edited"], condition=Q(edited__isnull=False), name="judgments_by_edit"),
            models.Index(fields=["edit_of"], condition=Q(edit_of__isnull=False), name="judgments_by_edited_response"),
            models.Index(fields=["withdrawn_at"], condition=Q(withdrawn_at__isnull=False), name="judgments_taken_back"),
            models.Index(fields=["comparison"], condition=Q(withdrawn_at=None, seat=None), name="judgments_waiting"),
        ]

    def __str__(self) -> str:
        return f"{self.annotator} on comparison {self.comparison_id}"

    @property
    def verdict(self) -> str:
        """The vote in words, in the reader's language."""
        if len(self.shown_order) == 1:
            will_do = self.acceptable.get(str(self.shown_order[0]))
            return pgettext("an answer is", "good") if will_do else pgettext("an answer is", "bad")
        if self.both_bad or self.both_good:
            return _("both bad") if self.both_bad else _("both good")
        if len(self.shown_order) > 2:
            letters = dict(zip(self.shown_order, LETTERS, strict=False))
            return " > ".join(" = ".join(sorted(letters[pk] for pk in tier)) for tier in self.tiers)
        if len(self.tiers) == 1:
            return _("tie")
        side = "A" if self.tiers[0] == self.shown_order[:1] else "B"
        how_much = self.get_strength_display() if self.strength else _("better")
        return f"{side} {how_much}"


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


class FlagQuerySet(models.QuerySet["Flag"]):
    def unsettled(self) -> Self:
        """Flags that no manager has dealt with yet."""
        return self.filter(settled_at=None)

    def in_project(self, project: Project) -> Self:
        return self.filter(comparison__project=project)


class Flag(models.Model):
    """Somebody tells the managers about a comparison, and judges it all the same or skips it."""

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="flags")
    annotator = models.ForeignKey(User, on_delete=models.CASCADE, related_name="flags")
    comment = models.CharField(max_length=1000)
    created_at = models.DateTimeField(default=now)
    settled_at = models.DateTimeField(null=True, blank=True)
    settled_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    objects = FlagQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.annotator} on {self.comparison_id}: {self.comment}"


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
