"""What the API answers, as dataclasses. A field that a newer server adds is left out."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Me:
    username: str
    name: str
    token: str
    scopes: list[str]
    expires_at: datetime | None


@dataclass(frozen=True)
class Progress:
    """Judgments: wanted in all, given by all, given by me."""

    wanted: int
    done: int
    mine: int


@dataclass(frozen=True)
class Project:
    slug: str
    name: str
    guidelines: str
    overlap: float
    kind: str
    asks_strength: bool
    offers_both_good: bool
    asks_acceptability: bool
    aspects: list[str]
    reason_tags: list[str]
    asks_reason: bool
    offers_edit: bool
    role: str | None
    manages: bool
    progress: Progress
    created_at: datetime
    archived_at: datetime | None


@dataclass(frozen=True)
class Message:
    role: str
    content: str


@dataclass(frozen=True)
class Answer:
    """`side` is a letter: A and B, or more where answers are to be put in order."""

    side: str
    text: str


@dataclass(frozen=True)
class Pair:
    """A pair that is yours until `expires_at`. `choices` is what the labelling page would offer."""

    ticket: str
    comparison: int
    expires_at: datetime
    messages: list[Message]
    answers: list[Answer]
    choices: list[str]

    @property
    def a(self) -> str:
        return self.answers[0].text

    @property
    def b(self) -> str:
        return self.answers[1].text


@dataclass(frozen=True)
class OwnJudgment:
    """By sides, as it was sent."""

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


@dataclass(frozen=True)
class Feedback:
    """What was expected of a practice pair, in the words of the sides as you saw them."""

    right: bool
    expected: str
    explanation: str


@dataclass(frozen=True)
class Vote(OwnJudgment):
    """What was kept of a vote; `feedback` after a practice pair."""

    feedback: Feedback | None


@dataclass(frozen=True)
class Judgment:
    """`tiers` is the ranking of response ids with ties, best first; `arm` is why the pair was handed out.

    `counts` is false for a vote that was taken back, or that came late and waits.
    """

    id: int
    comparison: int
    annotator: str
    tiers: list[list[int]]
    both_bad: bool
    both_good: bool
    strength: int | None
    reason: str
    tags: list[str]
    acceptable: dict[str, bool]
    aspects: dict[str, list[list[int]]]
    edited: int | None
    edit_of: int | None
    shown_order: list[int]
    arm: str
    active_seconds: float
    created_at: datetime
    withdrawn_at: datetime | None
    counts: bool


@dataclass(frozen=True)
class Prompt:
    id: int
    messages: list[Message]
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Response:
    """`author` is a model version or an import's label; empty where nothing is known."""

    id: int
    text: str
    author: str


@dataclass(frozen=True)
class Comparison:
    id: int
    purpose: str
    priority: int
    judgments_wanted: int
    judgments_done: int
    prompt: Prompt
    responses: list[Response]
    created_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True)
class Preference:
    id: int
    judgment: int
    prompt: Prompt
    chosen: Response
    rejected: Response
    strength: int | None
    weight: float
    created_at: datetime


@dataclass(frozen=True)
class BadRow:
    line: int
    reason: str


@dataclass(frozen=True)
class Import:
    """`finished_at` is None while rows are still coming in."""

    id: int
    file_name: str
    state: str
    error: str
    judged_by: str | None
    rows: int
    comparisons_added: int
    judgments_added: int
    duplicates: int
    error_count: int
    errors: list[BadRow]
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class Estimate:
    """A number, how many observations stand behind it, and its 95 % interval; None where no ends can be said."""

    value: float
    n: int
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PersonQuality:
    """`flags` are reasons to talk with this person, beyond chance."""

    annotator: str
    votes: int
    flags: list[str]
    estimates: dict[str, Estimate]


@dataclass(frozen=True)
class Quality:
    """What a project's votes are worth, as last computed; `newer_votes` are not in yet.

    `estimates` has what can be said, such as `alpha`, `gold`, `left` and `flip_rate`.
    """

    computed_at: datetime | None
    newer_votes: int
    votes: int
    pairs: int
    estimates: dict[str, Estimate]
    label_smoothing: float | None
    people: list[PersonQuality]


Row = TypeVar("Row")


def read(kind: type[Row], data: Mapping[str, Any]) -> Row:
    """A JSON object as a dataclass. Raises KeyError if the server left a field out."""
    return kind(**{name: _value(hint, data[name]) for name, hint in _hints(kind).items()})  # type: ignore[arg-type]  # it is hashable


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _value(hint: Any, value: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        return None if value is None else _value(next(one for one in get_args(hint) if one is not type(None)), value)
    if get_origin(hint) is list:
        return [_value(get_args(hint)[0], one) for one in value]
    if get_origin(hint) is dict:
        return {name: _value(get_args(hint)[1], one) for name, one in value.items()}
    if hint is datetime:
        return datetime.fromisoformat(value)
    return read(hint, value) if is_dataclass(hint) and isinstance(hint, type) else value
