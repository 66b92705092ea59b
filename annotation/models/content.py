"""What is judged: prompts, the answers to them, and the comparisons between answers."""

from __future__ import annotations

from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Exists, OuterRef, Q, Subquery
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Cast, Coalesce, Random
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotation.models.assigning import Batch
from annotation.models.projects import Project, User
from models_registry.models import Version
from models_registry.shortening import shortened

SHOWN = 80  # characters of a text that stand for it in lists


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
        return shortened(str(self.messages[-1]["content"]), SHOWN) if self.messages else f"prompt {self.pk}"


class ResponseQuerySet(models.QuerySet["Response"]):
    def latest_by(self, author: Version) -> Self:
        """The newest answer of a model version to each prompt."""
        return self.filter(author=author).order_by("prompt_id", "-id").distinct("prompt_id")


class Response(models.Model):
    """One answer. Its author is a model version with its sampling parameters, the label of an import, or a person.

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
    # The person who wrote or edited it, who is never asked to judge it.
    written_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="written_responses", db_index=False
    )
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
        indexes = [
            models.Index(fields=["author"], condition=Q(author__isnull=False), name="responses_by_author"),
            models.Index(
                fields=["written_by"], condition=Q(written_by__isnull=False), name="responses_written_by_people"
            ),
        ]

    def __str__(self) -> str:
        return shortened(self.text, SHOWN)


class ComparisonQuerySet(models.QuerySet["Comparison"]):
    def still_open(self) -> Self:
        """Comparisons that want more judgments than they have."""
        return self.filter(closed_at=None)

    def new_to(self, annotator: User | OuterRef) -> Self:
        """Comparisons this person (or whoever a query around this one names) has neither judged nor skipped."""
        from annotation.models.judging import Judgment, Skip

        mine = {"comparison": OuterRef("pk"), "annotator": annotator}
        return self.exclude(Exists(Judgment.objects.filter(**mine, withdrawn_at=None))).exclude(
            Exists(Skip.objects.filter(**mine))
        )

    def not_written_by(self, person: User) -> Self:
        """Comparisons without an answer that this person wrote or edited."""
        return self.exclude(response_ids__overlap=list(person.written_responses.values_list("pk", flat=True)))

    def work(self) -> Self:
        """Comparisons that are asked for their answer, not to check or to train people."""
        return self.filter(purpose__in=WORK)

    def judged_in(self, project: Project) -> Self:
        """Comparisons of a project that at least one judgment stands on."""
        return self.filter(project=project, depth__gt=0)

    def page_after(self, pk: int, size: int) -> models.QuerySet[Comparison, Any]:
        """(id, the prompt's messages as JSON text, response ids) of the next ones, oldest first."""
        page = self.filter(pk__gt=pk).order_by("pk")
        return page.values_list("pk", Cast("prompt__messages", models.TextField()), "response_ids")[:size]


# Purposes by what a judgment is for: an answer we do not know, or one we do.
WORK = ("collect", "evaluate")
KNOWN = ("gold", "practice")
MOST_JUDGMENTS = 30_000  # of a comparison whose answer is known: everybody judges it


class Comparison(models.Model):
    """Two to nine responses to one prompt that people put in order, or one that they call good or bad.

    `response_ids` is an array and not a table of its own: a comparison never changes once made, and a million of them
    must be imported in under a minute. Responses are only ever deleted together with their prompt. The array is sorted,
    so that one set of answers is one comparison.
    """

    class Purpose(models.TextChoices):
        COLLECT = "collect", gettext_lazy("collect")
        GOLD = "gold", gettext_lazy("gold")
        PRACTICE = "practice", gettext_lazy("practice")
        REPEAT = "repeat", gettext_lazy("repeat")
        EVALUATE = "evaluate", gettext_lazy("evaluate")

    # Without an index of its own: `comparisons_by_project` begins with it.
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="comparisons", db_index=False)
    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="comparisons")
    response_ids = ArrayField(models.BigIntegerField())
    purpose = models.CharField(max_length=10, choices=Purpose.choices, default=Purpose.COLLECT)
    priority = models.SmallIntegerField(default=0, help_text=gettext_lazy("Higher comes first."))
    judgments_wanted = models.PositiveSmallIntegerField(default=1)
    # How many judgments stand. Written, like `closed_at`, only together with a judgment and under this row's lock: the
    # queue's order by depth needs it in an index.
    depth = models.PositiveSmallIntegerField(default=0, editable=False)
    # Set in the transaction that writes the last wanted judgment, cleared when one is withdrawn.
    closed_at = models.DateTimeField(null=True, blank=True)
    # Its place in the random arm: drawn once, by the database, and told to nobody.
    lot = models.FloatField(db_default=Random(), editable=False)
    # Only the batch's people judge it; without one, everybody does.
    batch = models.ForeignKey(
        Batch, on_delete=models.SET_NULL, null=True, blank=True, related_name="comparisons", db_index=False
    )
    # A hidden repeat: which comparison one person sees a second time, and who.
    repeat_of = models.ForeignKey(
        "self", on_delete=models.CASCADE, null=True, blank=True, related_name="repeats", db_index=False
    )
    only_for = models.ForeignKey(
        User, on_delete=models.CASCADE, null=True, blank=True, related_name="+", db_index=False
    )
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
            models.UniqueConstraint(
                fields=["prompt", "response_ids"],
                condition=Q(purpose__in=("gold", "practice")),
                name="one_known_comparison_per_set_of_answers",
            ),
            models.UniqueConstraint(
                fields=["repeat_of", "only_for"],
                condition=Q(purpose="repeat"),
                name="one_repeat_per_person_and_comparison",
            ),
            models.CheckConstraint(
                condition=Q(purpose="repeat", repeat_of__isnull=False, only_for__isnull=False)
                | (~Q(purpose="repeat") & Q(repeat_of=None, only_for=None)),
                name="a_repeat_is_of_one_comparison_for_one_person",
            ),
        ]
        # Work that is open, in the queue's order and in the random arm's; work of batches apart, by batch: PostgreSQL
        # reads an index in order behind an equality, and `IS NULL` is none.
        indexes = [
            models.Index(fields=["project", "id"], name="comparisons_by_project"),
            models.Index(
                fields=["project", "depth", "-priority", "id"],
                condition=Q(closed_at=None, batch=None, purpose__in=WORK),
                name="open_comparisons",
            ),
            models.Index(
                fields=["project", "lot"],
                condition=Q(closed_at=None, batch=None, purpose__in=WORK),
                name="open_comparisons_by_lot",
            ),
            models.Index(
                fields=["batch", "depth", "-priority", "id"],
                condition=Q(closed_at=None, batch__isnull=False, purpose__in=WORK),
                name="given_comparisons",
            ),
            models.Index(
                fields=["batch", "lot"],
                condition=Q(closed_at=None, batch__isnull=False, purpose__in=WORK),
                name="given_comparisons_by_lot",
            ),
            models.Index(fields=["project", "purpose", "id"], condition=Q(purpose__in=KNOWN), name="known_comparisons"),
            models.Index(
                fields=["only_for", "project"], condition=Q(closed_at=None, purpose="repeat"), name="open_repeats"
            ),
        ]

    def __str__(self) -> str:
        return f"comparison {self.pk}"


class GoldQuerySet(models.QuerySet["Gold"]):
    def with_results(self) -> Self:
        """Adds `judged` and `right`: standing judgments, and those that say what is expected; with prompts. And
        `preferred`, the text of the answer expected to be better."""
        from annotation.models.judging import Judgment

        said = Judgment.objects.standing().filter(comparison=OuterRef("pk")).order_by().values("comparison")
        right = said.filter(tiers=OuterRef("expected"), both_bad=OuterRef("both_bad"))
        counted = [Coalesce(Subquery(rows.annotate(n=models.Count("pk")).values("n")), 0) for rows in (said, right)]
        best = Cast(KeyTextTransform(0, KeyTransform(0, OuterRef("expected"))), models.BigIntegerField())
        preferred = Subquery(Response.objects.filter(pk=best).values("text")[:1])
        return self.select_related("comparison__prompt").annotate(
            judged=counted[0], right=counted[1], preferred=preferred
        )


class Gold(models.Model):
    """The answer expected to a comparison of purpose gold (hidden in the work) or practice (before it)."""

    comparison = models.OneToOneField(Comparison, on_delete=models.CASCADE, related_name="gold", primary_key=True)
    expected = models.JSONField(help_text=gettext_lazy("The ranking with ties, best first, as in a judgment's tiers."))
    both_bad = models.BooleanField(default=False)
    explanation = models.TextField(blank=True, help_text=gettext_lazy("Markdown, shown after a practice pair."))
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(default=now, editable=False)

    objects = GoldQuerySet.as_manager()

    def __str__(self) -> str:
        return f"answer to {self.comparison_id}"

    @property
    def words(self) -> str:
        """The expected answer; A and B are the comparison's answers in the order of their ids."""
        if len(self.expected) == 1:
            return _("both bad") if self.both_bad else _("tie")
        return "A" if self.expected[0] == self.comparison.response_ids[:1] else "B"

    def is_met_by(self, tiers: list[list[int]], *, both_bad: bool) -> bool:
        """Whether a judgment says what is expected. How much better an answer is does not count."""
        return [set(tier) for tier in tiers] == [set(tier) for tier in self.expected] and both_bad == self.both_bad
