"""What was judged, comparison by comparison, with the votes on it. Memory does not grow with their number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import orjson
from django.db.models import BooleanField, TextField
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast

from annotation.exporting.verdicts import Vote
from annotation.exporting.wanted import Wanted
from annotation.judging import Tiers
from annotation.models import Comparison, Judgment, Project, Response
from annotation.services import Message

PAGE = 2_000  # comparisons read at a time, with three queries

_Voted = tuple[Tiers, bool, int | None, str, str]


class Answer(NamedTuple):
    text: str
    author_label: str


class Judged(NamedTuple):
    """Two answers to a prompt, or one alone, and what was said of them."""

    messages: list[Message]
    answers: tuple[Answer, ...]
    votes: list[Vote]


def judged(project: Project, wanted: Wanted) -> Iterator[Judged]:
    """Every judged pair that has wanted votes, and every answer judged alone, oldest comparison first.

    A ranking of more answers is every pair of them.
    """
    comparisons = Comparison.objects.judged_in(project)
    if wanted.purpose:
        comparisons = comparisons.filter(purpose=wanted.purpose)
    last = 0
    while page := list(comparisons.page_after(last, PAGE)):
        votes = _votes([pk for pk, _, _ in page], wanted)
        said = [(messages, ids, votes[pk]) for pk, messages, ids in page if pk in votes]
        answers = _answers([pk for _, ids, _ in said for pk in ids])
        for messages, ids, voted in said:
            yield from _pairs(orjson.loads(messages), ids, voted, answers)
        last = page[-1][0]


def _votes(comparisons: list[int], wanted: Wanted) -> dict[int, list[_Voted]]:
    standing = Judgment.objects.standing().filter(_among("annotation_judgment.comparison_id", comparisons))
    if wanted.since:
        standing = standing.filter(created_at__gte=wanted.since)
    if wanted.before:
        standing = standing.filter(created_at__lt=wanted.before)
    if wanted.annotators:
        standing = standing.filter(annotator__in=wanted.annotators)
    # JSON as text: orjson reads it in a tenth of the time.
    rows = standing.order_by("comparison_id", "seat").values_list(
        "comparison_id", Cast("tiers", TextField()), "both_bad", "strength", "reason", "annotator__username"
    )
    found: defaultdict[int, list[_Voted]] = defaultdict(list)
    for comparison, tiers, both_bad, strength, reason, name in rows:
        found[comparison].append((orjson.loads(tiers), both_bad, strength, reason, name))
    return found


def _among(column: str, ids: list[int]) -> RawSQL:
    """A condition with one parameter: Django's `in` takes each of thousands for itself, in half of an export's time."""
    return RawSQL(f"{column} = ANY(%s)", [ids], output_field=BooleanField())  # noqa: S611  our own column names


def _answers(ids: list[int]) -> dict[int, Answer]:
    rows = Response.objects.filter(_among("annotation_response.id", ids)).values_list("pk", "text", "author_label")
    return {pk: Answer(text, label) for pk, text, label in rows}


def _pairs(
    messages: list[Message], ids: list[int], voted: list[_Voted], answers: dict[int, Answer]
) -> Iterator[Judged]:
    if len(ids) == 1:
        votes = [Vote(0, bad, None, reason, name) for _, bad, _, reason, name in voted]
        yield Judged(messages, (answers[ids[0]],), votes)
        return
    for first, second in combinations(ids, 2):
        votes = [
            Vote(_side(tiers, first, second), bad, strength, reason, name)
            for tiers, bad, strength, reason, name in voted
        ]
        yield Judged(messages, (answers[first], answers[second]), votes)


def _side(tiers: Tiers, first: int, second: int) -> int:
    """-1 if the first answer stands above the second, 1 if below, 0 for a tie."""
    for tier in tiers:
        if first in tier:
            return 0 if second in tier else -1
        if second in tier:
            return 1
    raise ValueError(f"The tiers {tiers} name neither {first} nor {second}.")
