"""Where a project's answers come from. For its managers: nothing of this reaches an annotator."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, Q

from annotation.models import Project, Response
from models_registry.models import Version


@dataclass(frozen=True)
class Source:
    """A model version, or the label of an import; `cut_off` counts answers that the token limit ended."""

    version: Version | None
    label: str
    answers: int
    cut_off: int
    newest: datetime


def sources_of(project: Project) -> list[Source]:
    """Every author of the project's answers, the one who wrote last first. Two queries."""
    counted = (
        Response.objects.filter(prompt__project=project)
        .values("author", "author_label")
        .annotate(answers=Count("pk"), cut_off=Count("pk", filter=Q(sampling__ended=False)), newest=Max("created_at"))
        .order_by("-newest", "author_label")
    )
    rows = list(counted)
    versions = Version.objects.select_related("model").in_bulk({row["author"] for row in rows} - {None})
    return [
        Source(versions.get(row["author"]), row["author_label"], row["answers"], row["cut_off"], row["newest"])
        for row in rows
    ]
