"""Preferences, the triples (x, y_w, y_l) that follow from votes, and their export. For managers."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from django.http import StreamingHttpResponse
from ninja import Query, Router, Schema
from pydantic import Field

from annotation.access import get_project_for_manager
from annotation.exporting import CONVERSATIONAL, FORMS, preference_lines
from annotation.models import Preference
from api.auth import ApiRequest, needs
from api.endpoints.comparisons import PromptOut, ResponseOut
from api.errors import invalid
from api.fields import replies
from api.models import Scope
from api.paging import Page, Paging, page_of

router = Router(tags=["preferences"])
JSON_LINES = "application/jsonl"


class PreferenceOut(Schema):
    """`weight` says how much of a vote it is: the pairs of one ranking share a weight of 1."""

    id: int
    judgment: int
    prompt: PromptOut
    chosen: ResponseOut
    rejected: ResponseOut
    strength: int | None
    weight: float
    created_at: datetime

    @classmethod
    def of(cls, preference: Preference) -> Self:
        return cls(
            id=preference.pk,
            judgment=preference.judgment_id,
            prompt=PromptOut.of(preference.prompt),
            chosen=ResponseOut.of(preference.chosen),
            rejected=ResponseOut.of(preference.rejected),
            strength=preference.strength,
            weight=preference.weight,
            created_at=preference.created_at,
        )


class ExportQuery(Schema):
    form: str = Field(
        CONVERSATIONAL,
        json_schema_extra={"enum": list(FORMS)},
        description="`conversational` has message lists, `text` plain texts; TRL reads both as they are.",
    )


@router.get(
    "/projects/{slug:slug}/preferences", auth=needs(Scope.DATA_READ), response=replies(Page[PreferenceOut], 404)
)
def list_preferences(request: ApiRequest, slug: str, page: Paging) -> Page[PreferenceOut]:
    """Every preferred pair of every standing vote, oldest first."""
    project = get_project_for_manager(request, slug)
    rows = Preference.objects.for_training(project).select_related("chosen__author__model", "rejected__author__model")
    return page_of(rows, page, lambda found: [PreferenceOut.of(preference) for preference in found])


@router.get(
    "/projects/{slug:slug}/export",
    auth=needs(Scope.DATA_READ),
    response=replies(None, 404),
    openapi_extra={
        "responses": {200: {"description": "JSON Lines", "content": {JSON_LINES: {"schema": {"type": "string"}}}}}
    },
)
def export(request: ApiRequest, slug: str, which: Query[ExportQuery]) -> StreamingHttpResponse:
    """`{"prompt", "chosen", "rejected"}` as JSON Lines, streamed, one line for every preferred pair."""
    project = get_project_for_manager(request, slug)
    if which.form not in FORMS:
        raise invalid("query.form", f"Take one of {', '.join(FORMS)}.")
    return StreamingHttpResponse(preference_lines(project, form=which.form), content_type=JSON_LINES)
