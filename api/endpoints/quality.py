"""The quality of a project's votes, as its page shows it. For managers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ninja import Router, Schema
from pydantic import Field

from annotation.access import get_project_for_manager
from annotation.models import QualityReport
from annotation.quality import renewing, showing
from api.auth import ApiRequest, needs
from api.fields import replies
from api.models import Scope

router = Router(tags=["quality"])


class EstimateOut(Schema):
    """A number, how many observations stand behind it, and its 95 % interval; ends are null where none can be said."""

    value: float
    n: int
    low: float | None
    high: float | None


class PersonQualityOut(Schema):
    """One person's numbers; `flags` are reasons to talk, beyond chance."""

    annotator: str
    votes: int
    flags: list[str]
    estimates: dict[str, EstimateOut]


class QualityOut(Schema):
    """The last numbers. A measure is absent from `estimates` where nothing can be said."""

    computed_at: datetime | None = Field(description="Null while they are computed for the first time.")
    newer_votes: int = Field(description="Votes that are not in yet.")
    votes: int
    pairs: int
    estimates: dict[str, EstimateOut]
    label_smoothing: float | None = Field(description="What DPO should be launched with by `flip_rate`.")
    people: list[PersonQualityOut]


@router.get("/projects/{slug:slug}/quality", auth=needs(Scope.DATA_READ), response=replies(QualityOut, 404))
def show_quality(request: ApiRequest, slug: str) -> QualityOut:
    """Agreement, gold, consistency, bias and wrong votes. Asking has new numbers computed if votes have come."""
    project = get_project_for_manager(request, slug)
    report = renewing.ask_if_old(project)
    return _out(report, newer=renewing.votes_given(project) - report.votes_counted)


def _out(report: QualityReport, *, newer: int) -> QualityOut:
    found = report.numbers
    return QualityOut(
        computed_at=report.computed_at,
        newer_votes=max(newer, 0),
        votes=found.get("votes", 0),
        pairs=found.get("pairs", 0),
        estimates=_estimates(showing.rows(found)),
        label_smoothing=found.get("label_smoothing"),
        people=[
            PersonQualityOut(
                annotator=person.user.username,
                votes=person.votes,
                flags=person.found["flags"],
                estimates=_estimates(showing.rows(person.found, showing.OF_A_PERSON)),
            )
            for person in showing.people(report)
        ],
    )


def _estimates(rows: list[showing.Row]) -> dict[str, Any]:
    return {row.name: EstimateOut(**row.estimate) for row in rows if row.estimate is not None}
