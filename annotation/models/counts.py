"""Counts that pages and caps ask for all the time, kept exact by triggers of the database (migration 0007).

Whoever writes a comparison or a judgment, a vote, an import by COPY or the admin, moves them in the same transaction. A
sum over the rows themselves would read every one of them.
"""

from __future__ import annotations

from django.db import models

from annotation.models.projects import Project, User


class WorkCountQuerySet(models.QuerySet["WorkCount"]):
    def left_in(self, project: Project) -> int:
        """Judgments that the project's work still wants, held ones too."""
        sums = self.filter(project=project).aggregate(wanted=models.Sum("wanted"), done=models.Sum("done"))
        return max((sums["wanted"] or 0) - (sums["done"] or 0), 0)


class WorkCount(models.Model):
    """Judgments wanted and given on a project's comparisons that are work; its rows are summed.

    There are as many rows as there were ever writers at the same time: each takes one that nobody else has locked, so
    that votes do not wait for each other.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="work_counts")
    wanted = models.BigIntegerField()
    done = models.BigIntegerField()

    objects = WorkCountQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.done} of {self.wanted}"


class VoteCountQuerySet(models.QuerySet["VoteCount"]):
    def of_sources(self, project: Project) -> list[tuple[str, int]]:
        """(name, votes) of every rule and imported source, the accounts that cannot sign in; most votes first."""
        # A person who has left is inactive too, but has another kind of unusable password.
        sources = self.filter(project=project, annotator__is_active=False, annotator__password="!")  # noqa: S106  no password
        named = sources.values("annotator__username")
        counted = named.annotate(total=models.Sum("votes")).filter(total__gt=0)
        return list(counted.order_by("-total", "annotator__username").values_list("annotator__username", "total"))


class VoteCount(models.Model):
    """Standing judgments of one person in one project on one day (UTC), and their active seconds."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="vote_counts", db_index=False)
    annotator = models.ForeignKey(User, on_delete=models.CASCADE, related_name="vote_counts")
    day = models.DateField()
    votes = models.IntegerField()
    seconds = models.FloatField()

    objects = VoteCountQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "annotator", "day"], name="one_vote_count_per_person_and_day")
        ]

    def __str__(self) -> str:
        return f"{self.annotator}, {self.day}: {self.votes}"
