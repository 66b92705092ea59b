"""Preferences, the triples (x, y_w, y_l) that follow from votes, and their export. For managers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Self

from django.http import StreamingHttpResponse
from django.utils.functional import Promise
from django.utils.translation import override
from ninja import Query, Router, Schema
from pydantic import Field

from annotation import audit
from annotation.access import get_project_for_manager
from annotation.exporting.files import FILES
from annotation.exporting.streaming import SHAPES, export_bytes, shapes_for
from annotation.exporting.verdicts import RULE_TITLES, WEIGHTED
from annotation.exporting.wanted import Wanted
from annotation.models import Comparison, Preference, Project
from api.auth import ApiRequest, needs
from api.endpoints.comparisons import PromptOut, ResponseOut
from api.errors import invalid
from api.fields import Moment, Text, replies
from api.models import Scope
from api.paging import Page, Paging, page_of
from api.people import people_of

router = Router(tags=["preferences"])
PURPOSES, ANY = Comparison.Purpose.values, "any"
WITH_MARGIN = [name for name, shape in SHAPES.items() if "margin" in shape.COLUMNS]
CONTENT_TYPES = [file.CONTENT_TYPE.partition(";")[0] for file in FILES.values()]


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


def _told(titles: Mapping[str, str | Promise]) -> str:
    """For the schema, which is in English whoever asks first."""
    with override("en"):
        return "; ".join(f"`{name}`: {title}" for name, title in titles.items()) + "."


_EXCEPT = "; ".join(
    f"Rows of shape `{name}` are made by {', '.join(f'`{rule}`' for rule in shape.VOTES)} alone"
    for name, shape in SHAPES.items()
    if len(shape.VOTES) < len(RULE_TITLES)
)


_RATINGS = " and ".join(f"`{name}`" for name, shape in SHAPES.items() if "rating" in shape.ALONE)
_OF_ONE = f"Of answers judged one at a time there are {_RATINGS} alone, and preferences where one was edited."


class ExportQuery(Schema):
    """The same choice as on the export's page."""

    shape: str = Field(
        Wanted.shape,
        json_schema_extra={"enum": list(SHAPES)},
        description=f"{_told({name: shape.TITLE for name, shape in SHAPES.items()})} {_OF_ONE}",
    )
    file: str = Field(Wanted.file, json_schema_extra={"enum": list(FILES)})
    votes: str = Field(
        Wanted.votes,
        json_schema_extra={"enum": list(RULE_TITLES)},
        description=f"{_told(RULE_TITLES)} The last is of all votes: without since, before and annotators. {_EXCEPT}",
    )
    margin: bool = Field(False, description="Say of preferences how much better, 0 to 3.")
    since: Moment | None = Field(None, description="Votes of this moment or later.")
    before: Moment | None = Field(None, description="Votes earlier than this moment, which is later than `since`.")
    annotators: list[Text] = Field(
        [],
        max_length=100,
        description="Votes of these members, voters or sources, each username a parameter; none: everybody's.",
    )
    agreement: float = Field(0.0, ge=0, le=1, description="The least share of a comparison's votes that say the same.")
    purpose: str = Field(
        Wanted.purpose,
        json_schema_extra={"enum": [*PURPOSES, ANY]},
        description="What the comparisons were made for.",
    )

    def wanted(self, project: Project) -> Wanted:
        """Raises Problem 422 for a name that is none, and for what nothing could be an answer to."""
        self._check_names()
        shapes = shapes_for(project)
        if self.shape not in shapes:
            alone = "Nothing here can be such a row: the answers were judged one at a time."
            raise invalid("shape", f"{alone} Ask for {', '.join(shapes)}.")
        rules = SHAPES[self.shape].VOTES
        if self.votes not in rules:
            raise invalid("votes", f"It does not go with rows of this shape. Ask for {', '.join(rules)}.")
        if self.votes == WEIGHTED and (self.since or self.before or self.annotators):
            raise invalid("votes", "That probability is of all votes: leave since, before and annotators out.")
        if self.margin and self.shape not in WITH_MARGIN:
            raise invalid("margin", f"Rows of this shape have none. Ask for {', '.join(WITH_MARGIN)}.")
        if self.since and self.before and self.since >= self.before:
            raise invalid("before", "It must be later than since.")
        people = people_of(project, {f"annotators.{n}": name for n, name in enumerate(self.annotators)})
        return Wanted(
            shape=self.shape,
            file=self.file,
            votes=self.votes,
            margin=self.margin,
            since=self.since,
            before=self.before,
            annotators=tuple(people),
            agreement=self.agreement,
            purpose="" if self.purpose == ANY else self.purpose,
        )

    def _check_names(self) -> None:
        known: dict[str, Collection[str]] = {
            "shape": SHAPES,
            "file": FILES,
            "votes": RULE_TITLES,
            "purpose": [*PURPOSES, ANY],
        }
        for field, names in known.items():
            if getattr(self, field) not in names:
                raise invalid(field, f"Take one of {', '.join(names)}.")


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
        "responses": {
            200: {
                "description": "The file, streamed",
                "content": {kind: {"schema": {"type": "string"}} for kind in CONTENT_TYPES},
            }
        }
    },
)
def export(request: ApiRequest, slug: str, which: Query[ExportQuery]) -> StreamingHttpResponse:
    """What was judged, as a file that trainers read as it is: JSON Lines unless you ask for another."""
    project = get_project_for_manager(request, slug)
    wanted = which.wanted(project)
    audit.tell(request, wanted.words)
    return StreamingHttpResponse(export_bytes(project, wanted), content_type=FILES[wanted.file].CONTENT_TYPE)
