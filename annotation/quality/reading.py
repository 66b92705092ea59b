"""From rows to arrays: all votes of a project on pairs, in one pass over the database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
from django.db.models import TextField
from django.db.models.functions import Cast, Length

from annotation.models import Arm, Comparison, Gold, Judgment, Project, Prompt, Response, User
from annotation.quality.votes import FIRST, LEFT, RIGHT, SECOND, TIE, UNKNOWN, UNSEEN, Bools, Ints, Votes
from annotation.services import NO_PASSWORD

CHUNK = 5_000
WRONG, RIGHT_ANSWER, NOT_GOLD = 0, 1, -1
_Key = tuple[int, str, str]  # a prompt and the hashes of two texts
_Row = tuple[int, int, int, int, float, int, int, bool]


@dataclass(frozen=True)
class Repeats:
    """R times that a person judged a pair a second time: who, in which week (a Monday's ordinal), and if the same."""

    annotator_R: Ints
    week_R: Ints
    same_R: Ints


@dataclass(frozen=True)
class Reading:
    """The votes, with what is known around them.

    `order_N` lists the votes from the oldest to the newest, `week_N` is the ordinal of the Monday before each.
    `gold_N` is RIGHT_ANSWER or WRONG for a vote on a gold pair, NOT_GOLD for others. `person_A` and
    `comparison_P` are primary keys.
    """

    votes: Votes
    order_N: Ints
    week_N: Ints
    gold_N: Ints
    person_A: list[int]
    comparison_P: list[int]
    repeats: Repeats

    @property
    def is_gold_P(self) -> Bools:
        found: Bools = self.votes.expected_P != UNKNOWN
        return found


@dataclass(frozen=True)
class _Vote:
    comparison: int
    prompt: int
    responses: list[int]
    annotator: int
    outcome: int  # FIRST and SECOND, LEFT and RIGHT are said of `responses` here
    expected: int
    first_on: int
    seconds: float
    week: int
    gold: int
    is_drawn: bool


@dataclass
class _Pair:
    """Two texts under one prompt, however many comparisons show them."""

    number: int
    comparison: int
    first_hash: str
    log_length_ratio: float
    characters: int
    expected: int = UNKNOWN
    voted: dict[int, int] = field(default_factory=dict)  # annotator -> what they said first


def read(project: Project) -> Reading:
    """All standing votes on comparisons of two answers, gold among them.

    Reviewers' decisions and practice are no votes, repeats no new ones.
    """
    answers = _answers(project)
    characters = _prompt_characters(project)
    pairs: dict[_Key, _Pair] = {}
    people: dict[int, int] = {}
    rows: list[_Row] = []
    repeats: list[tuple[int, int, int]] = []
    for vote in _votes(project):
        pair, turned = _pair_of(vote, pairs, answers, characters)
        who = people.setdefault(vote.annotator, len(people))
        outcome, first_on = vote.outcome * turned, vote.first_on * turned
        if vote.expected != UNKNOWN:
            pair.expected = vote.expected * turned
        if who in pair.voted:
            repeats.append((who, vote.week, int(pair.voted[who] == outcome)))
        else:
            pair.voted[who] = outcome
            rows.append((pair.number, who, outcome, first_on, vote.seconds, vote.week, vote.gold, vote.is_drawn))
    return _reading(rows, list(pairs.values()), list(people), repeats)


def _pair_of(
    vote: _Vote, pairs: dict[_Key, _Pair], answers: dict[int, tuple[str, int]], characters: dict[int, int]
) -> tuple[_Pair, int]:
    """The pair that a vote is about, and -1 if the vote's comparison has its two answers the other way round."""
    (first_hash, first_length), (second_hash, second_length) = (answers[pk] for pk in vote.responses)
    key = (vote.prompt, min(first_hash, second_hash), max(first_hash, second_hash))
    pair = pairs.get(key)
    if pair is None:
        pair = pairs[key] = _Pair(
            number=len(pairs),
            comparison=vote.comparison,
            first_hash=first_hash,
            log_length_ratio=float(np.log((first_length + 1) / (second_length + 1))),
            characters=first_length + second_length + characters[vote.prompt],
        )
    return pair, 1 if pair.first_hash == first_hash else -1


def _votes(project: Project) -> Iterator[_Vote]:
    """From the oldest to the newest."""
    found = Judgment.objects.standing().in_project(project).filter(decides=False, comparison__response_ids__len=2)
    found = found.exclude(comparison__purpose=Comparison.Purpose.PRACTICE)
    of_pair = ("comparison_id", "comparison__prompt_id", "comparison__response_ids")
    of_vote = ("annotator_id", "tiers", "both_bad", "shown_order", "active_seconds", "created_at", "arm")
    # A rule or an imported source, which can never sign in, saw no sides.
    sources = set(User.objects.filter(is_active=False, password=NO_PASSWORD).values_list("pk", flat=True))
    gold = _gold(project)
    for row in found.order_by("created_at", "id").values_list(*of_pair, *of_vote).iterator(chunk_size=CHUNK):
        comparison, prompt, responses, annotator, tiers, both_bad, shown, seconds, at, arm = row
        known = gold.get(comparison)
        yield _Vote(
            comparison=comparison,
            prompt=prompt,
            responses=responses,
            annotator=annotator,
            outcome=outcome_of(tiers, responses),
            expected=outcome_of(known.expected, responses) if known else UNKNOWN,
            first_on=UNSEEN if annotator in sources else LEFT if shown[0] == responses[0] else RIGHT,
            seconds=seconds,
            week=week_of(at),
            gold=int(known.is_met_by(tiers, both_bad=both_bad)) if known else NOT_GOLD,
            is_drawn=arm == Arm.RANDOM,
        )


def outcome_of(tiers: list[list[int]], responses: list[int]) -> int:
    """FIRST, TIE or SECOND of a comparison's two responses."""
    if len(tiers) == 1:
        return TIE
    return FIRST if tiers[0] == responses[:1] else SECOND


def week_of(moment: datetime) -> int:
    """The ordinal of the Monday that begins its week, UTC."""
    day = moment.date()
    return (day - timedelta(days=day.weekday())).toordinal()


def _answers(project: Project) -> dict[int, tuple[str, int]]:
    """Hash and length in characters of every answer."""
    found = Response.objects.filter(prompt__project=project).annotate(length=Length("text"))
    rows = found.values_list("pk", "content_hash", "length").iterator(chunk_size=CHUNK)
    return {pk: (content_hash, length) for pk, content_hash, length in rows}


def _prompt_characters(project: Project) -> dict[int, int]:
    """The length of every conversation, to within the few characters that JSON puts around a message."""
    length = Length(Cast("messages", TextField()))
    return dict(Prompt.objects.filter(project=project).annotate(length=length).values_list("pk", "length"))


def _gold(project: Project) -> dict[int, Gold]:
    """The known answers of gold comparisons."""
    found = Gold.objects.filter(comparison__project=project, comparison__purpose=Comparison.Purpose.GOLD)
    return {gold.comparison_id: gold for gold in found}


def _reading(
    rows: list[_Row],
    pairs: list[_Pair],
    people: list[int],
    repeats: list[tuple[int, int, int]],
) -> Reading:
    columns = np.array(rows or np.zeros((0, 8)), dtype=np.float64).T
    pair_N, annotator_N, outcome_N, first_on_N, seconds_N, week_N, gold_N, is_drawn_N = columns
    by_pair_N = np.argsort(pair_N, kind="stable")
    annotator_R, week_R, same_R = np.array(repeats or np.zeros((0, 3)), dtype=np.int64).T
    return Reading(
        votes=Votes(
            pair_N=pair_N[by_pair_N].astype(np.int64),
            annotator_N=annotator_N[by_pair_N].astype(np.int64),
            outcome_N=outcome_N[by_pair_N].astype(np.int64),
            first_on_N=first_on_N[by_pair_N].astype(np.int64),
            seconds_N=seconds_N[by_pair_N].astype(np.float64),
            is_drawn_N=is_drawn_N[by_pair_N] == 1,
            expected_P=np.array([pair.expected for pair in pairs], dtype=np.int64),
            log_length_ratio_P=np.array([pair.log_length_ratio for pair in pairs]),
            characters_P=np.array([pair.characters for pair in pairs], dtype=np.float64),
            annotators=len(people),
        ),
        order_N=np.argsort(by_pair_N),
        week_N=week_N[by_pair_N].astype(np.int64),
        gold_N=gold_N[by_pair_N].astype(np.int64),
        person_A=people,
        comparison_P=[pair.comparison for pair in pairs],
        repeats=Repeats(annotator_R, week_R, same_R),
    )
