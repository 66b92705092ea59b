"""What was judged, comparison by comparison, with the votes on it. Memory does not grow with their number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import orjson
from django.db.models import BooleanField, TextField
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast

from annotation.exporting.verdicts import NOTHING, WEIGHTED, Vote
from annotation.exporting.wanted import Wanted
from annotation.models import Comparison, Judgment, PairLabel, Project, Response
from annotation.quality.labels import first_better
from annotation.services import Message

PAGE = 2_000  # comparisons read at a time, with three queries
NO_JSON = "{}"


class Answer(NamedTuple):
    text: str
    author_label: str


class Judged(NamedTuple):
    """One to nine answers to a prompt, and what was said of them.

    `first_better` is the probability that the first of two is the better one, where it was asked for and is known.
    """

    messages: list[Message]
    answers: Sequence[Answer]
    votes: list[Vote]
    first_better: float | None = None

    def pairs(self) -> Iterator[Judged]:
        """Every two of its answers, with what was said of them; nothing for one alone."""
        if len(self.answers) == 2:
            yield self
            return
        for first, second in combinations(range(len(self.answers)), 2):
            votes = [vote.of(first, second) for vote in self.votes]
            yield Judged(self.messages, (self.answers[first], self.answers[second]), votes)


class Edit(NamedTuple):
    """What somebody made of an answer, and the answers that it is better than, the one it was made of first."""

    text: str
    worse: list[str]


def edits(judged: Judged) -> list[Edit]:
    """The edits that come with the votes: each is better than its original, and than what that was no worse than.

    Where a reviewer settled the pair, of an edit no more is known than that it is better than its original.
    """
    found = []
    is_settled = any(vote.decides or vote.is_overruled for vote in judged.votes)
    for vote in judged.votes:
        if vote.edit:
            original, text = vote.edit
            no_better = [n for n, place in enumerate(vote.places) if place >= vote.places[original] and n != original]
            worse = [original] if is_settled else [original, *no_better]
            found.append(Edit(text, [judged.answers[n].text for n in worse]))
    return found


def judged(project: Project, wanted: Wanted) -> Iterator[Judged]:
    """Every judged comparison that has wanted votes, the oldest first."""
    comparisons = Comparison.objects.judged_in(project)
    if wanted.purpose:
        comparisons = comparisons.filter(purpose=wanted.purpose)
    last = 0
    while page := list(comparisons.page_after(last, PAGE)):
        votes = _votes({pk: ids for pk, _, ids in page}, wanted)
        said = [(pk, messages, ids, votes[pk]) for pk, messages, ids in page if pk in votes]
        answers = _answers([pk for _, _, ids, _ in said for pk in ids])
        labels = _labels(list(votes)) if wanted.votes == WEIGHTED else {}
        for pk, messages, ids, voted in said:
            yield Judged(orjson.loads(messages), [answers[pk] for pk in ids], voted, labels.get(pk))
        last = page[-1][0]


def _votes(comparisons: dict[int, list[int]], wanted: Wanted) -> dict[int, list[Vote]]:
    """The wanted votes on these comparisons, which are given with their response ids."""
    standing = Judgment.objects.standing().filter(_among("annotation_judgment.comparison_id", list(comparisons)))
    if wanted.since:
        standing = standing.filter(created_at__gte=wanted.since)
    if wanted.before:
        standing = standing.filter(created_at__lt=wanted.before)
    if wanted.annotators:
        standing = standing.filter(annotator__in=wanted.annotators)
    # JSON as text: orjson reads it in a tenth of the time.
    rows = standing.order_by("comparison_id", "seat").values_list(
        "comparison_id", Cast("tiers", TextField()), "strength", "reason", "annotator__username",
        "both_bad", "both_good", "tags", Cast("acceptable", TextField()), Cast("aspects", TextField()),
        "edit_of_id", "edited__text", "decides",
    )  # fmt: skip
    found: defaultdict[int, list[Vote]] = defaultdict(list)
    for comparison, *told in rows:
        found[comparison].append(_vote(comparisons[comparison], *told))
    if wanted.is_part:
        for comparison in _decided(list(found)):
            found[comparison] = [vote._replace(is_overruled=not vote.decides) for vote in found[comparison]]
    return found


def _decided(comparisons: list[int]) -> Iterable[int]:
    """Those that a reviewer has settled."""
    among = _among("annotation_judgment.comparison_id", comparisons)
    return Judgment.objects.decisions().filter(among).values_list("comparison_id", flat=True)


def _vote(
    ids: list[int], tiers: str, strength: int | None, reason: str, name: str, bad: bool, good: bool, tags: list[str],
    acceptable: str, aspects: str, edit_of: int | None, edited: str | None, decides: bool,
) -> Vote:  # fmt: skip
    return Vote(
        _places(ids, orjson.loads(tiers)),
        strength,
        reason,
        name,
        bad,
        good,
        tuple(tags),
        _acceptable(ids, orjson.loads(acceptable)) if acceptable != NO_JSON else (),
        {aspect: _places(ids, of) for aspect, of in orjson.loads(aspects).items()} if aspects != NO_JSON else NOTHING,
        (ids.index(edit_of), edited) if edit_of in ids and edited is not None else None,
        decides,
    )


def _places(ids: list[int], tiers: list[list[int]]) -> tuple[int, ...]:
    """Of each of these responses the number of its tier."""
    if len(tiers) == 1:
        return (0,) * len(ids)
    place = {pk: n for n, tier in enumerate(tiers) for pk in tier}
    return tuple([place[pk] for pk in ids])


def _acceptable(ids: list[int], said: dict[str, Any]) -> tuple[bool | None, ...]:
    return tuple(said.get(str(pk)) for pk in ids)


def _labels(comparisons: list[int]) -> dict[int, float]:
    return first_better(PairLabel.objects.filter(_among("annotation_pairlabel.comparison_id", comparisons)))


def _among(column: str, ids: list[int]) -> RawSQL:
    """A condition with one parameter, a text: Django's `in` takes each of thousands for itself, in half of an export's
    time, and the server reads a list as thousands of expressions."""
    array = f"{{{','.join(map(str, ids))}}}"
    return RawSQL(f"{column} = ANY(%s::bigint[])", [array], output_field=BooleanField())  # noqa: S611  our own names


def _answers(ids: list[int]) -> dict[int, Answer]:
    rows = Response.objects.filter(_among("annotation_response.id", ids)).values_list("pk", "text", "author_label")
    return {pk: Answer(text, label) for pk, text, label in rows}
