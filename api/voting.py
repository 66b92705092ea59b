"""A vote as a program sends it. What is not of its pair or its project is refused, and nothing of the vote is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from annotation.ballots import CHOICES, LONGEST_EDIT, LONGEST_REASON, THUMBS, Ballot
from annotation.forms import MOST_ASPECTS, MOST_TAGS
from annotation.models import Project
from annotation.models.judging import LETTERS
from annotation.work import choices_for
from api.errors import FieldOut, invalid_fields
from api.fields import Text
from api.strict import Body, unknown

Edit = Annotated[Text, Field(max_length=LONGEST_EDIT)]
NAMED: Any = {"additionalProperties": False}  # a name with a NUL, which is no name here, is refused


class TicketIn(Body):
    ticket: Text = Field(min_length=1, max_length=1_000)


class VoteIn(TicketIn):
    """What the project does not ask beside the vote is refused, but a reason is taken everywhere; what it asks may be
    left out."""

    choice: Text = Field(
        "",
        json_schema_extra={"enum": ["", *CHOICES, *THUMBS]},
        description="For two answers, or for one (`up`, `down`); empty for a ranking.",
    )
    ranks: dict[Text, Annotated[int, Field(ge=1, le=len(LETTERS))]] = Field(
        {},
        max_length=len(LETTERS),
        json_schema_extra=NAMED,
        description='The place of each of three answers or more, 1 is best: `{"A": 2, "B": 1, "C": 2}`.',
    )
    reason: Text = Field("", max_length=LONGEST_REASON)
    tags: list[Text] = Field([], max_length=MOST_TAGS, description="Of the project's `reason_tags`.")
    acceptable: dict[Text, bool] = Field(
        {},
        max_length=len(LETTERS),
        json_schema_extra=NAMED,
        description='Whether each answer will do: `{"A": true, "B": false}`.',
    )
    aspects: dict[Text, Literal["A", "B", "tie"]] = Field(
        {},
        max_length=MOST_ASPECTS,
        json_schema_extra=NAMED,
        description="A vote of its own for each of the project's `aspects`.",
    )
    edits: dict[Text, Edit] = Field(
        {},
        max_length=len(LETTERS),
        json_schema_extra=NAMED,
        description="What you made of an answer, by its side. The edit of the best answer that was changed is kept.",
    )
    active_seconds: float = Field(
        0.0,
        ge=0,
        le=1e6,
        allow_inf_nan=False,
        description="Time spent on it, at most the time since it was handed out.",
    )

    def ballot(self, project: Project, *, sides: str) -> Ballot:
        """For the answers of these sides. Raises Problem 422 for what the project does not ask of them."""
        if wrong := [FieldOut(where=where, problem=problem) for where, problem in self._wrong(project, sides)]:
            raise invalid_fields(wrong)
        return Ballot(
            choice=self.choice,
            ranks=self.ranks,
            reason=self.reason.strip(),
            tags=tuple(tag for tag in project.reason_tags if tag in self.tags),
            acceptable=self.acceptable,
            aspects=dict(self.aspects),
            edits={side: text for side, text in self.edits.items() if text.strip()},
        )

    def _wrong(self, project: Project, sides: str) -> Iterator[tuple[str, str]]:
        """(where, problem) of everything that is not taken."""
        yield from self._wrong_votes(project, sides)
        for name, said in (("ranks", self.ranks), ("acceptable", self.acceptable), ("edits", self.edits)):
            yield from ((f"{name}.{side}", unknown(side, sides, "answer")) for side in said if side not in [*sides])
        for n, tag in enumerate(self.tags):
            if tag not in project.reason_tags:
                yield f"tags.{n}", unknown(tag, project.reason_tags, "tag")
        if self.aspects and len(sides) != 2:
            yield "aspects", "They are of two answers."
        else:
            unasked = (name for name in self.aspects if name not in project.aspects)
            yield from ((f"aspects.{name}", unknown(name, project.aspects, "aspect")) for name in unasked)
        if self.acceptable and len(sides) == 1:
            yield "acceptable", "Of one answer the choice says it."
        elif self.acceptable and not project.asks_acceptability:
            yield "acceptable", "The project does not ask whether an answer will do."
        if self.edits and not project.offers_edit:
            yield "edits", "The project offers no edits."

    def _wrong_votes(self, project: Project, sides: str) -> Iterator[tuple[str, str]]:
        if len(sides) < 3:
            offered = [choice.value for choice in choices_for(project, len(sides))]
            without_strength = ("a", "b") if len(sides) == 2 else ()
            if self.choice not in (*offered, *without_strength):
                yield "choice", f"Take one of {', '.join(offered)}."
            if self.ranks:
                yield "ranks", "They are for three answers or more. Send a choice alone."
            return
        if self.choice:
            yield "choice", "Three answers or more are put in order. Send ranks alone."
        if missing := [side for side in sides if side not in self.ranks]:
            have = "has" if len(missing) == 1 else "have"
            yield "ranks", f"Every answer needs its place, 1 is best: {', '.join(missing)} {have} none."
