"""Votes: one's own for everybody, everybody's for managers."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from ninja import Query, Router, Schema
from pydantic import Field

from annotation.access import get_project_for_annotator, get_project_for_manager
from annotation.ballots import Ballot
from annotation.models import Comparison, Judgment
from api.auth import ApiRequest, needs
from api.errors import invalid
from api.fields import Text, replies
from api.models import Scope
from api.paging import Page, Paging, page_of
from api.people import people_of

router = Router(tags=["judgments"])


class OwnJudgmentOut(Schema):
    """A vote as its author gave it: by sides, without ids of answers. Its fields are those of a vote that is sent.

    `counts` is false for a late one that waits: others had taken the pair.
    """

    id: int
    comparison: int
    choice: str
    ranks: dict[str, int]
    reason: str
    tags: list[str]
    acceptable: dict[str, bool]
    aspects: dict[str, str]
    edits: dict[str, str]
    active_seconds: float
    created_at: datetime
    counts: bool

    @classmethod
    def of(cls, judgment: Judgment) -> Self:
        ballot = Ballot.of(judgment)
        return cls(
            id=judgment.pk,
            comparison=judgment.comparison_id,
            choice=ballot.choice,
            ranks=dict(ballot.ranks),
            reason=ballot.reason,
            tags=list(ballot.tags),
            acceptable=dict(ballot.acceptable),
            aspects=dict(ballot.aspects),
            edits=dict(ballot.edits),
            active_seconds=judgment.active_seconds,
            created_at=judgment.created_at,
            counts=judgment.seat is not None,
        )


class JudgmentOut(Schema):
    """A vote as its project's managers see it. `tiers` is the ranking of response ids with ties, best first.

    `acceptable` says of response ids whether they will do; each of `aspects` has tiers of its own. `edited` is the id
    of what the person made of the response `edit_of`.
    `arm` says why the pair was handed out; votes of the arm `random` owe nothing to the order of the queue.
    `counts` is false for a vote that was taken back, which has a `withdrawn_at`, and for a late one that waits: others
    had taken the pair.
    """

    id: int
    comparison: int
    annotator: str
    tiers: list[list[int]]
    both_bad: bool
    both_good: bool
    strength: int | None = Field(description="1 slightly, 2 clearly, 3 much.")
    reason: str
    tags: list[str]
    acceptable: dict[str, bool]
    aspects: dict[str, list[list[int]]]
    edited: int | None
    edit_of: int | None
    shown_order: list[int]
    arm: str = Field(description="practice, gold, repeat, random or order; empty for votes that came in by import.")
    active_seconds: float
    created_at: datetime
    withdrawn_at: datetime | None
    counts: bool

    @classmethod
    def of(cls, judgment: Judgment) -> Self:
        return cls(
            id=judgment.pk,
            comparison=judgment.comparison_id,
            annotator=judgment.annotator.username,
            tiers=judgment.tiers,
            both_bad=judgment.both_bad,
            both_good=judgment.both_good,
            strength=judgment.strength,
            reason=judgment.reason,
            tags=judgment.tags,
            acceptable=judgment.acceptable,
            aspects=judgment.aspects,
            edited=judgment.edited_id,
            edit_of=judgment.edit_of_id,
            shown_order=judgment.shown_order,
            arm=judgment.arm,
            active_seconds=judgment.active_seconds,
            created_at=judgment.created_at,
            withdrawn_at=judgment.withdrawn_at,
            counts=judgment.withdrawn_at is None and judgment.seat is not None,
        )


class JudgmentQuery(Schema):
    """Which votes."""

    annotator: Text = Field("", max_length=150, description="Username of a member, a voter or a source; empty for all.")
    comparison: int | None = Field(None, ge=1, le=2**63 - 1)
    withdrawn: bool = Field(False, description="Also those that do not count: taken back, or late.")


@router.get(
    "/projects/{slug:slug}/judgments/mine", auth=needs(Scope.LABEL), response=replies(Page[OwnJudgmentOut], 404)
)
def list_own_judgments(request: ApiRequest, slug: str, page: Paging) -> Page[OwnJudgmentOut]:
    """Your votes, oldest first, without those that you took back."""
    project = get_project_for_annotator(request, slug)
    rows = Judgment.objects.kept().in_project(project).by(request.user).select_related("edited")
    return page_of(rows, page, lambda found: [OwnJudgmentOut.of(judgment) for judgment in found])


@router.get("/projects/{slug:slug}/judgments", auth=needs(Scope.DATA_READ), response=replies(Page[JudgmentOut], 404))
def list_judgments(request: ApiRequest, slug: str, page: Paging, which: Query[JudgmentQuery]) -> Page[JudgmentOut]:
    """Everybody's votes, oldest first. For the project's managers."""
    project = get_project_for_manager(request, slug)
    rows = Judgment.objects.in_project(project).select_related("annotator")
    if not which.withdrawn:
        rows = rows.standing()
    if which.annotator:
        rows = rows.filter(annotator__in=people_of(project, {"annotator": which.annotator}))
    if which.comparison is not None:
        if not Comparison.objects.filter(project=project, pk=which.comparison).exists():
            raise invalid("comparison", "The project has no such comparison.")
        rows = rows.filter(comparison=which.comparison)
    return page_of(rows, page, lambda found: [JudgmentOut.of(judgment) for judgment in found])
