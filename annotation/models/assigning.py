"""Who judges what: teams of people, and batches of comparisons that are theirs."""

from __future__ import annotations

from django.db import models

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


class Batch(models.Model):
    """Comparisons that only some people judge. They come before the work that is open to all."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="batches", db_index=False)
    name = models.CharField(max_length=100)
    people = models.ManyToManyField(User, related_name="batches", blank=True)
    teams = models.ManyToManyField(Team, related_name="batches", blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="one_batch_per_name")]

    def __str__(self) -> str:
        return self.name
