"""What the votes of a project say about each other: the last numbers, and a label for every pair."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Self

from django.db import models
from django.db.models import F, Q
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from annotation.models.content import WORK, Comparison
from annotation.models.judging import Judgment
from annotation.models.projects import Project

LOST = timedelta(minutes=15)  # an answer that took longer will not come: ask again
LEAST_AGE = timedelta(seconds=20)  # between two computations, and ten times as long as the last one took
SUSPECT = 0.3  # how likely a label must be wrong for its pair to be worth another look


class QualityReportQuerySet(models.QuerySet["QualityReport"]):
    def ask(self, project: Project) -> bool:
        """Note that new numbers are wanted. False: they are asked for already."""
        self.get_or_create(project=project)
        unasked = Q(asked_at=None) | Q(asked_at__lt=now() - LOST)
        return self.filter(unasked, project=project).update(asked_at=now()) == 1

    def claim(self, project_id: int) -> bool:
        """Begin to compute. False: nobody asks, or somebody else has begun."""
        unclaimed = Q(started_at=None) | Q(started_at__lt=now() - LOST)
        wanted = self.filter(unclaimed, project=project_id).exclude(asked_at=None)
        return wanted.update(started_at=now()) == 1

    def finish(self, project_id: int, **found: Any) -> None:
        """Keep what was found, and be ready to be asked again."""
        self.filter(project=project_id).update(asked_at=None, started_at=None, **found)


class QualityReport(models.Model):
    """The newest numbers about a project's votes (`annotation.quality.report` says which), and what is under way."""

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="quality")
    numbers = models.JSONField(default=dict)
    votes_counted = models.PositiveIntegerField(default=0)
    computed_at = models.DateTimeField(null=True, blank=True)
    seconds = models.FloatField(default=0.0)
    asked_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)

    objects = QualityReportQuerySet.as_manager()

    def __str__(self) -> str:
        return f"quality of {self.project_id}"

    @property
    def may_be_computed(self) -> bool:
        """Whether the numbers are old enough to be computed again: a tenth of the time at most goes into them."""
        least = max(LEAST_AGE, timedelta(seconds=10 * self.seconds))
        return self.computed_at is None or self.computed_at < now() - least


class PairLabelQuerySet(models.QuerySet["PairLabel"]):
    def suspect(self, project: Project) -> Self:
        """Labels that are likely wrong, of pairs that nobody has decided; the most doubtful first."""
        decided = Judgment.objects.decisions().filter(comparison=models.OuterRef("comparison"))
        found = self.filter(project=project, doubt__gte=SUSPECT, preferring_votes__gte=1, comparison__purpose__in=WORK)
        return found.exclude(models.Exists(decided)).order_by("-doubt", "comparison_id")

    def closed(self) -> Self:
        """Of pairs that have all the judgments they want."""
        return self.exclude(comparison__closed_at=None)

    def disputed(self, project: Project) -> Self:
        """Closed pairs with votes for either answer that nobody has decided; the most doubtful first."""
        decided = Judgment.objects.decisions().filter(comparison=models.OuterRef("comparison"))
        found = (
            self.filter(project=project, is_split=True, comparison__purpose__in=WORK)
            .closed()
            .exclude(models.Exists(decided))
        )
        return found.order_by("-doubt", "comparison_id")


class PairLabel(models.Model):
    """What all votes on a pair say together, each weighed by the reliability of the person behind it.

    `first_better` is the probability that the comparison's first response is the better one, the soft label; `doubt`
    the probability that the likelier one is wrong. Written by a computation, never by hand.
    """

    comparison = models.OneToOneField(Comparison, on_delete=models.CASCADE, primary_key=True, related_name="label")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+", db_index=False)
    first_better = models.FloatField()
    doubt = models.FloatField()
    votes = models.PositiveSmallIntegerField()
    preferring_votes = models.PositiveSmallIntegerField(help_text=_("Votes for one of the two answers: no ties."))
    is_split = models.BooleanField(help_text=_("It has votes for either answer."))

    objects = PairLabelQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(first_better__gte=0, first_better__lte=1), name="first_better_is_a_probability"
            ),
            models.CheckConstraint(
                condition=Q(doubt__gte=0, doubt__lte=0.5, preferring_votes__lte=F("votes")), name="label_makes_sense"
            ),
        ]
        indexes = [models.Index(fields=["project", "-doubt", "comparison"], name="labels_by_doubt")]

    def __str__(self) -> str:
        return f"label of comparison {self.comparison_id}"

    @property
    def weight(self) -> float:
        """|2p - 1|: 0 where nothing is known, 1 where the label is certain."""
        return abs(2 * self.first_better - 1)
