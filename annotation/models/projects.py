"""People, projects and who may do what in them."""

from __future__ import annotations

from typing import Self

from django.contrib.auth.models import AbstractUser
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.urls import reverse
from django.utils.timezone import now


class User(AbstractUser):
    """A person (or a rule, like `demo-rule`) with a name of their own choosing."""

    display_name = models.CharField(max_length=100, blank=True)

    def __str__(self) -> str:
        return self.display_name or self.username


class Role(models.TextChoices):
    ANNOTATOR = "annotator", "annotator"
    REVIEWER = "reviewer", "reviewer"
    MANAGER = "manager", "manager"


class ProjectQuerySet(models.QuerySet["Project"]):
    def visible_to(self, user: User) -> Self:
        """Projects this person is a member of; a site admin sees every one."""
        if user.is_superuser:
            return self
        return self.filter(memberships__user=user)

    def managed_by(self, user: User) -> Self:
        if user.is_superuser:
            return self
        return self.filter(memberships__user=user, memberships__role=Role.MANAGER)


class Project(models.Model):
    """One question asked of people: which of these answers is better, by these guidelines."""

    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=120, unique=True)
    guidelines = models.TextField(blank=True, help_text="Markdown, shown in the drawer of the labelling page.")
    overlap = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(50)],
        help_text="How many people judge each new comparison (1 to 50).",
    )
    asks_strength = models.BooleanField(default=True, help_text="Ask how much better: slightly, clearly, much.")
    asks_reason = models.BooleanField(default=False, help_text="Offer a field for the reason.")
    created_at = models.DateTimeField(default=now, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=models.Q(overlap__gte=1, overlap__lte=50), name="overlap_from_1_to_50")
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("project", args=[self.slug])


class Membership(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.ANNOTATOR)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "user"], name="one_role_per_person_and_project")]

    def __str__(self) -> str:
        return f"{self.user}: {self.role} of {self.project}"
