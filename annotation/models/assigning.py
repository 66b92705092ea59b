"""Who judges what: teams of people, and batches of comparisons that are theirs."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import Q

from annotation.models.projects import Project, User


class Team(models.Model):
    """Some of a project's people under one name, to be given work together."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="teams", db_index=False)
    name = models.CharField(max_length=100)
    people = models.ManyToManyField(User, related_name="teams", blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="one_team_per_name")]

    def __str__(self) -> str:
        return self.name


class BatchQuerySet(models.QuerySet["Batch"]):
    def given_to(self, person: User) -> Self:
        """Batches that this person, or a team of theirs, judges."""
        return self.filter(Q(people=person) | Q(teams__people=person)).distinct().order_by("id")


class Batch(models.Model):
    """Comparisons that only some people judge. They come before the work that is open to all."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="batches", db_index=False)
    name = models.CharField(max_length=100)
    people = models.ManyToManyField(User, related_name="batches", blank=True)
    teams = models.ManyToManyField(Team, related_name="batches", blank=True)

    objects = BatchQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="one_batch_per_name")]

    def __str__(self) -> str:
        return self.name
