"""What is judged: prompts, the answers to them, and the comparisons between answers."""

from __future__ import annotations

from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Exists, F, OuterRef, Q, Subquery
from django.db.models.functions import Cast, Coalesce
from django.utils.timezone import now

from annotation.models.projects import Project, User
from models_registry.models import Version


class PromptQuerySet(models.QuerySet["Prompt"]):
    def without_open_comparisons(self) -> Self:
        """Prompts for which nothing waits to be judged: all their comparisons are, or they have none."""
        return self.exclude(Exists(Comparison.objects.still_open().filter(prompt=OuterRef("pk"))))

    def answered_by(self, author: Version) -> Self:
        """Prompts that this model version has answered."""
        return self.filter(Exists(Response.objects.filter(prompt=OuterRef("pk"), author=author)))


class Prompt(models.Model):
    """A conversation that ends with the user's turn: `messages` is a list of `{"role", "content"}`."""

    # Without an index of its own: the unique constraint begins with it. The same goes for a response's prompt.
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="prompts", db_index=False)
    messages = models.JSONField()
    metadata = models.JSONField(default=dict, blank=True)
    content_hash = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=now, editable=False)

    objects = PromptQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "content_hash"], name="one_prompt_per_content")]

    def __str__(self) -> str:
        return str(self.messages[-1]["content"])[:80] if self.messages else f"prompt {self.pk}"


class ResponseQuerySet(models.QuerySet["Response"]):
    def latest_by(self, author: Version) -> Self:
        """The newest answer of a model version to each prompt."""
        return self.filter(author=author).order_by("prompt_id", "-id").distinct("prompt_id")


class Response(models.Model):
    """One answer. Its author is a model version with its sampling parameters, or the label of an import.

    `sampling` of a model's answer says `ended`: false when the token limit cut it off.
    """

    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="responses", db_index=False)
    text = models.TextField()
    author = models.ForeignKey(
        "models_registry.Version",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="responses",
        db_index=False,  # `responses_by_author` leaves out what was imported
    )
    author_label = models.CharField(max_length=200, blank=True)
    sampling = models.JSONField(default=dict, blank=True)
    content_hash = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=now, editable=False)

    objects = ResponseQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["prompt", "content_hash", "author", "author_label"],
                nulls_distinct=False,
                name="one_response_per_author_and_text",
            )
        ]
        indexes = [models.Index(fields=["author"], condition=Q(author__isnull=False), name="responses_by_author")]

    def __str__(self) -> str:
        return self.text[:80]


class ComparisonQuerySet(models.QuerySet["Comparison"]):
    def still_open(self) -> Self:
        """Comparisons that want more judgments than they have."""
        return self.filter(closed_at=None)

    def new_to(self, annotator: User) -> Self:
        """Comparisons this person has neither judged nor skipped."""
        from annotation.models.judging import Judgment, Skip

        mine = {"comparison": OuterRef("pk"), "annotator": annotator}
        return self.exclude(Exists(Judgment.objects.filter(**mine, withdrawn_at=None))).exclude(
            Exists(Skip.objects.filter(**mine))
        )

    def with_a_free_seat(self) -> Self:
        """Comparisons with fewer judgments and live leases than they want judgments."""
        from annotation.models.judging import Lease

        live = Lease.objects.live().filter(comparison=OuterRef("pk"))
        held = live.order_by().values("comparison").annotate(n=models.Count("pk")).values("n")
        return self.filter(judgments_wanted__gt=F("depth") + Coalesce(Subquery(held), 0))

    def judged_in(self, project: Project) -> Self:
        """Comparisons of a project that at least one judgment stands on."""
        return self.filter(project=project, depth__gt=0)

    def page_after(self, pk: int, size: int) -> models.QuerySet[Comparison, Any]:
        """(id, the prompt's messages as JSON text, response ids) of the next ones, oldest first."""
        page = self.filter(pk__gt=pk).order_by("pk")
        return page.values_list("pk", Cast("prompt__messages", models.TextField()), "response_ids")[:size]

    def in_queue_order(self) -> Self:
        """Priority first, then breadth before depth, then age. The index `open_comparisons` has the same order."""
        return self.order_by("-priority", "depth", "id")


class Comparison(models.Model):
    """Two to nine responses to one prompt that people put in order; or one, imported with what was said of it.

    `response_ids` is an array and not a table of its own: a comparison never changes once made, and a million of them
    must be imported in under a minute. Responses are only ever deleted together with their prompt. The array is sorted,
    so that one set of answers is one comparison.
    """

    class Purpose(models.TextChoices):
        COLLECT = "collect", "collect"
        GOLD = "gold", "gold"
        EVALUATE = "evaluate", "evaluate"

    # Without an index of its own: `comparisons_by_project` begins with it.
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="comparisons", db_index=False)
    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="comparisons")
    response_ids = ArrayField(models.BigIntegerField())
    purpose = models.CharField(max_length=10, choices=Purpose.choices, default=Purpose.COLLECT)
    priority = models.SmallIntegerField(default=0, help_text="Higher comes first.")
    judgments_wanted = models.PositiveSmallIntegerField(default=1)
    # How many judgments stand. Written, like `closed_at`, only together with a judgment and under this row's lock: the
    # queue's order by depth needs it in an index.
    depth = models.PositiveSmallIntegerField(default=0, editable=False)
    # Set in the transaction that writes the last wanted judgment, cleared when one is withdrawn.
    closed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)

    objects = ComparisonQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(response_ids__len__gte=1, response_ids__len__lte=9), name="one_to_nine_responses"
            ),
            models.CheckConstraint(condition=Q(judgments_wanted__gte=1), name="at_least_one_judgment_wanted"),
            # The target of the foreign key behind "a seat number never passes the number of judgments wanted".
            models.UniqueConstraint(fields=["id", "judgments_wanted"], name="comparison_with_its_wanted_number"),
            models.UniqueConstraint(
                fields=["prompt", "response_ids"],
                condition=Q(purpose="collect"),
                name="one_collected_comparison_per_set_of_answers",
            ),
        ]
        indexes = [
            models.Index(fields=["project", "id"], name="comparisons_by_project"),
            models.Index(
                fields=["project", "-priority", "depth", "id"], condition=Q(closed_at=None), name="open_comparisons"
            ),
        ]

    def __str__(self) -> str:
        return f"comparison {self.pk}"
