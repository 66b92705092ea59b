"""People, projects and who may do what in them."""

from __future__ import annotations

from typing import Self

from django.contrib.auth.models import AbstractUser
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Avg, OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils.timezone import localdate, now


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
        """Projects this person may change, fill and read out."""
        if user.is_superuser:
            return self
        return self.filter(memberships__user=user, memberships__role=Role.MANAGER)

    def reviewed_by(self, user: User) -> Self:
        """Projects in which this person may settle disputes."""
        if user.is_superuser:
            return self
        return self.filter(memberships__user=user, memberships__role__in=(Role.REVIEWER, Role.MANAGER))

    def active(self) -> Self:
        return self.filter(archived_at=None)

    def with_progress(self) -> Self:
        """Adds `judgments_wanted` and `judgments_done`, over all comparisons."""
        from annotation.models.content import Comparison

        sums = Comparison.objects.filter(project=OuterRef("pk")).order_by().values("project")
        return self.annotate(
            judgments_wanted=Coalesce(Subquery(sums.annotate(n=Sum("judgments_wanted")).values("n")), 0),
            judgments_done=Coalesce(Subquery(sums.annotate(n=Sum("depth")).values("n")), 0),
        )

    def with_votes_of(self, user: User) -> Self:
        """Adds `votes_by_me`: how many standing judgments this person gave."""
        from annotation.models.judging import Judgment

        votes = Judgment.objects.standing().filter(comparison__project=OuterRef("pk"), annotator=user)
        counted = votes.order_by().values("comparison__project").annotate(n=models.Count("pk")).values("n")
        return self.annotate(votes_by_me=Coalesce(Subquery(counted), 0))


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


class MembershipQuerySet(models.QuerySet["Membership"]):
    def with_votes(self) -> Self:
        """Members with `votes`, `votes_today` and `seconds_a_vote` (active, mean, 0 without votes); busiest first."""
        from annotation.models.judging import Judgment

        votes = Judgment.objects.standing().filter(annotator=OuterRef("user"), comparison__project=OuterRef("project"))
        per_person = votes.order_by().values("annotator")
        count = per_person.annotate(n=models.Count("pk")).values("n")
        today = per_person.filter(created_at__date=localdate()).annotate(n=models.Count("pk")).values("n")
        seconds = per_person.annotate(n=Avg("active_seconds")).values("n")
        return (
            self.select_related("user")
            .annotate(
                votes=Coalesce(Subquery(count), 0),
                votes_today=Coalesce(Subquery(today), 0),
                seconds_a_vote=Coalesce(Subquery(seconds), 0.0),
            )
            .order_by("-votes", "user__username")
        )


class Membership(models.Model):
    """What one person may do in one project."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.ANNOTATOR)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "user"], name="one_role_per_person_and_project")]

    def __str__(self) -> str:
        return f"{self.user}: {self.role} of {self.project}"
