"""People, projects and who may do what in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date
from decimal import Decimal
from hashlib import sha256
from itertools import combinations
from typing import TYPE_CHECKING, Self

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


def today() -> date:
    """The day by which votes are counted and capped: in UTC, for everybody alike."""
    return now().astimezone(UTC).date()


class User(AbstractUser):
    """A person (or a rule, like `demo-rule`) with a name of their own choosing."""

    display_name = models.CharField(max_length=100, blank=True)

    def __str__(self) -> str:
        return self.display_name or self.username


def _percent(
    default: int, *, least: int = 0, most: int = 100, help_text: StrOrPromise
) -> models.PositiveSmallIntegerField[int, int]:
    """A whole number of percents."""
    validators = [MinValueValidator(least), MaxValueValidator(most)]
    return models.PositiveSmallIntegerField(default=default, validators=validators, help_text=help_text)


class Role(models.TextChoices):
    ANNOTATOR = "annotator", _("annotator")
    REVIEWER = "reviewer", _("reviewer")
    MANAGER = "manager", _("manager")


MOST_RANKED = 9  # answers of one comparison


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

    def archived(self) -> Self:
        return self.exclude(archived_at=None)

    def with_progress(self) -> Self:
        """Adds `judgments_wanted` and `judgments_done`, over comparisons that are work and check nobody."""
        from annotation.models.counts import WorkCount

        sums = WorkCount.objects.filter(project=OuterRef("pk")).order_by().values("project")
        return self.annotate(
            judgments_wanted=Coalesce(Subquery(sums.annotate(n=Sum("wanted")).values("n")), 0),
            judgments_done=Coalesce(Subquery(sums.annotate(n=Sum("done")).values("n")), 0),
        )

    def with_votes_of(self, user: User) -> Self:
        """Adds `votes_by_me`: how many standing judgments this person gave."""
        from annotation.models.counts import VoteCount

        votes = VoteCount.objects.filter(project=OuterRef("pk"), annotator=user).order_by().values("project")
        return self.annotate(votes_by_me=Coalesce(Subquery(votes.annotate(n=Sum("votes")).values("n")), 0))


class Project(models.Model):
    """One question asked of people: which of these answers is better, by these guidelines.

    Beyond the vote itself a project asks what its managers have switched on; all of that may be left out of a vote.
    """

    class Kind(models.TextChoices):
        """What the answers to one prompt become. A comparison is judged by how many answers it has."""

        PAIRS = "pairs", _("two answers at a time")
        RANKING = "ranking", _("all answers to a prompt at once, put in order")
        SINGLE = "single", _("one answer at a time, good or bad")

    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=120, unique=True)
    guidelines = models.TextField(blank=True, help_text=_("Markdown, shown in the drawer of the labelling page."))
    overlap = models.DecimalField(
        max_digits=4,
        decimal_places=2,
        default=Decimal(1),
        validators=[MinValueValidator(1), MaxValueValidator(50)],
        help_text=_("How many people judge each new comparison (1 to 50). 1.2: one in five is judged twice."),
    )
    asks_strength = models.BooleanField(default=True, help_text=_("Ask how much better: slightly, clearly, much."))
    asks_reason = models.BooleanField(default=False, help_text=_("Offer a field for the reason."))
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.PAIRS, db_default=Kind.PAIRS.value)
    offers_both_good = models.BooleanField(default=False, db_default=False)
    asks_acceptability = models.BooleanField(default=False, db_default=False)
    offers_edit = models.BooleanField(default=False, db_default=False)
    reason_tags = ArrayField(models.CharField(max_length=40), default=list, db_default=[], blank=True)
    aspects = ArrayField(models.CharField(max_length=40), default=list, db_default=[], blank=True)
    gold_share = _percent(5, most=50, help_text=_("Percent of hand-outs that are gold pairs, whose answer is known."))
    repeat_share = _percent(
        3, most=50, help_text=_("Percent of hand-outs that are hidden repeats of a person's own pairs.")
    )
    random_share = _percent(10, least=10, help_text=_("Percent of hand-outs drawn at random, not in order."))
    daily_cap = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Judgments a person may give in a day (UTC)."),
    )
    practice_pairs = models.PositiveSmallIntegerField(
        default=0, validators=[MaxValueValidator(200)], help_text=_("Practice pairs before real work; 0 for none.")
    )
    pass_mark = _percent(80, help_text=_("Percent of the practice pairs that must be judged as expected."))
    created_at = models.DateTimeField(default=now, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=models.Q(overlap__gte=1, overlap__lte=50), name="overlap_from_1_to_50"),
            models.CheckConstraint(
                condition=models.Q(random_share__gte=10, random_share__lte=100), name="random_share_at_least_10"
            ),
            models.CheckConstraint(
                condition=models.Q(gold_share__lte=50, repeat_share__lte=50), name="half_the_work_is_new"
            ),
            models.CheckConstraint(condition=models.Q(pass_mark__lte=100), name="pass_mark_at_most_100"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("project", args=[self.slug])

    @property
    def asks_more(self) -> bool:
        """Whether a vote may carry more than one key can say."""
        return bool(self.asks_reason or self.asks_acceptability or self.offers_edit or self.reason_tags or self.aspects)

    def sets_to_judge(self, response_ids: Sequence[int]) -> list[tuple[int, ...]]:
        """Which of the different answers to one prompt people see together, each set with its ids sorted."""
        ids = sorted(response_ids)
        if self.kind == self.Kind.SINGLE:
            return [(pk,) for pk in ids]
        if self.kind == self.Kind.RANKING:
            # More than a screen holds are dealt out to as few rankings as possible, as even as possible.
            rankings = -(-len(ids) // MOST_RANKED)
            return [tuple(ids[n::rankings]) for n in range(rankings)] if len(ids) > 1 else []
        return list(combinations(ids, 2))

    def wanted_for(self, response_ids: Iterable[int]) -> int:
        """How often a comparison of these responses is judged: the overlap, its fraction by a fixed draw.

        With 1.2 one set of answers in five wants a second judgment, the same one whoever asks and whenever.
        """
        whole, fraction = divmod(self.overlap, 1)
        drawn = sha256(",".join(map(str, sorted(response_ids))).encode()).digest()
        return int(whole) + (int.from_bytes(drawn[:8], "big") < fraction * 2**64)


class MembershipQuerySet(models.QuerySet["Membership"]):
    def with_votes(self) -> Self:
        """Members with `votes` and `votes_today`, by name: nobody is ranked, least of all by speed."""
        from annotation.models.counts import VoteCount

        days = VoteCount.objects.filter(annotator=OuterRef("user"), project=OuterRef("project"))
        sums = days.order_by().values("annotator")
        return (
            self.select_related("user")
            .annotate(
                votes=Coalesce(Subquery(sums.annotate(n=Sum("votes")).values("n")), 0),
                votes_today=Coalesce(Subquery(days.filter(day=today()).values("votes")), 0),
            )
            .order_by("user__username")
        )


class Membership(models.Model):
    """What one person may do in one project."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.ANNOTATOR)
    daily_cap = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text=_("Judgments a day for this person; empty for the project's number.")
    )
    passed_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text=_("When they passed the training phase, or were let in.")
    )

    objects = MembershipQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "user"], name="one_role_per_person_and_project")]

    def __str__(self) -> str:
        """Without the person's name: the admin's log keeps these words."""
        return f"{self.role} of {self.project}"
