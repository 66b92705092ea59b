"""Where a project's answers come from. For its managers: nothing of this reaches an annotator."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import BooleanField, Case, Count, ExpressionWrapper, F, Max, Q, Value, When

from annotation.models import Project, Response
from models_registry.models import Version


@dataclass(frozen=True)
class Source:
    """A model version, the label of an import, or the project's people, who edited.

    `cut_off` counts answers that the token limit ended.
    """

    version: Version | None
    label: str
    people: bool
    answers: int
    cut_off: int
    newest: datetime


def sources_of(project: Project) -> list[Source]:
    """Every author of the project's answers, the one who wrote last first. Two queries."""
    by_people = Q(written_by__isnull=False)
    counted = (
        Response.objects.filter(prompt__project=project)
        # Each person's edits have a label of their own; here all people are one source.
        .annotate(label=Case(When(by_people, then=Value("")), default=F("author_label")))
        .annotate(people=ExpressionWrapper(by_people, BooleanField()))
        .values("author", "label", "people")
        .annotate(answers=Count("pk"), cut_off=Count("pk", filter=Q(sampling__ended=False)), newest=Max("created_at"))
        .order_by("-newest", "label")
    )
    rows = list(counted)
    versions = Version.objects.select_related("model").in_bulk({row["author"] for row in rows} - {None})
    return [
        Source(versions.get(row["author"]), row["label"], row["people"], row["answers"], row["cut_off"], row["newest"])
        for row in rows
    ]
