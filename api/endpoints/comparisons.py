"""Comparisons with their prompts and answers, for managers: what the ids in votes stand for."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from ninja import Router, Schema
from pydantic import Field

from annotation.access import get_project_for_manager
from annotation.models import Comparison, Prompt, Response
from api.auth import ApiRequest, needs
from api.fields import replies
from api.models import Scope
from api.paging import Page, Paging, page_of

router = Router(tags=["comparisons"])


class PromptOut(Schema):
    id: int
    messages: list[dict[str, str]]
    metadata: dict[str, Any]

    @classmethod
    def of(cls, prompt: Prompt) -> Self:
        return cls(id=prompt.pk, messages=prompt.messages, metadata=prompt.metadata)


class ResponseOut(Schema):
    id: int
    text: str
    author: str = Field(description="The model version or the import's label; empty where nothing is known.")

    @classmethod
    def of(cls, response: Response) -> Self:
        """`response` comes with `author__model`."""
        return cls(
            id=response.pk,
            text=response.text,
            author=str(response.author) if response.author else response.author_label,
        )


class ComparisonOut(Schema):
    """`closed_at` is set once it has all the judgments it wants."""

    id: int
    purpose: str
    priority: int
    judgments_wanted: int
    judgments_done: int
    prompt: PromptOut
    responses: list[ResponseOut]
    created_at: datetime
    closed_at: datetime | None


@router.get(
    "/projects/{slug:slug}/comparisons", auth=needs(Scope.DATA_READ), response=replies(Page[ComparisonOut], 404)
)
def list_comparisons(request: ApiRequest, slug: str, page: Paging) -> Page[ComparisonOut]:
    """Oldest first. For the project's managers."""
    project = get_project_for_manager(request, slug)
    return page_of(Comparison.objects.filter(project=project).select_related("prompt"), page, _outs)


def _outs(found: list[Comparison]) -> list[ComparisonOut]:
    ids = {pk for comparison in found for pk in comparison.response_ids}
    responses = Response.objects.select_related("author__model").in_bulk(ids)
    return [
        ComparisonOut(
            id=comparison.pk,
            purpose=comparison.purpose,
            priority=comparison.priority,
            judgments_wanted=comparison.judgments_wanted,
            judgments_done=comparison.depth,
            prompt=PromptOut.of(comparison.prompt),
            responses=[ResponseOut.of(responses[pk]) for pk in comparison.response_ids],
            created_at=comparison.created_at,
            closed_at=comparison.closed_at,
        )
        for comparison in found
    ]
