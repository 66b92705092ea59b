"""One batch of rows into the tables: what is there is found by its hashes, what is new is copied in.

Runs inside the caller's transaction, which holds the project's row. New rows get their ids before they are written, so
that nothing has to be read back: 10,000 new pairs are one look-up and three COPY commands, five with votes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import orjson
from django.db import connection
from django.db.models import F
from django.utils.timezone import now

from annotation.importing.copying import NULL, array, copy_rows, field, new_ids
from annotation.importing.grouping import Compared, group
from annotation.importing.keyed import Keyed
from annotation.importing.lines import (
    COMPARISON,
    OPEN,
    PROMPT,
    RESPONSE,
    Asked,
    ResponseKey,
    comparison_lines,
    prompt_lines,
    prompts_of,
    response_lines,
    wanted_for,
)
from annotation.importing.rows import Vote
from annotation.importing.voices import Votes
from annotation.judging import NoSeatLeftError, Tiers
from annotation.models import Comparison, Judgment, Preference, Project, Prompt, Response, User
from annotation.quality.deciding import silence_votes
from annotation.regroup import regroup
from annotation.services import record_judgment


class Landed(NamedTuple):
    """How many comparisons a batch added, how many votes, and how many of its comparisons were there already."""

    added: int
    judged: int
    duplicates: int


class _Said(NamedTuple):
    """A vote on one pair, or on one answer: on these responses, with its tiers of their ids, best first."""

    annotator: User
    responses: tuple[int, ...]  # as the row names them
    tiers: Tiers
    vote: Vote

    @property
    def strength(self) -> int | None:
        return self.vote.strength if len(self.tiers) == 2 else None

    @property
    def acceptable(self) -> dict[int, bool]:
        said = zip(self.responses, self.vote.acceptable, strict=False)
        return {pk: will_do for pk, will_do in said if will_do is not None}

    @property
    def aspects(self) -> dict[str, Tiers]:
        return {name: _tiers(places, self.responses) for name, places in self.vote.aspects.items()}

    @property
    def edits(self) -> dict[int, str]:
        return {self.responses[self.vote.edit[0]]: self.vote.edit[1]} if self.vote.edit else {}


# Two answers to a prompt, or one alone: the prompt, the answers, and what is kept of a row's votes on them.
_Pair = tuple[int, Compared, Sequence[_Said]]


class _New(NamedTuple):
    """A comparison to be made, and the votes it comes with, by annotator id."""

    prompt: int
    said: dict[int, _Said]

    @property
    def is_voted_on_singly(self) -> bool:
        """An edit is an answer of its own, and a decision takes the other votes their preferences."""
        return any(one.vote.edit or one.vote.decides for one in self.said.values())


def write_rows(rows: list[Keyed], project: Project, votes: Votes) -> Landed:
    """Every pair of answers of every row becomes a comparison, with the row's votes on it if they are kept.

    What nobody voted on follows the project's kind: a ranking of all answers to a prompt, or one answer at a time.
    """
    if votes.judge is not None:
        votes.hold()
    prompts, old = _prompt_ids(rows, project)
    answered = _response_ids(rows, prompts, old)
    there = _comparisons(old)
    new: dict[Compared, _New] = {}
    late: list[tuple[int, _Said]] = []
    pairs = duplicates = 0
    only_voted = project.kind != Project.Kind.PAIRS
    for prompt, compared, said in _pairs(rows, prompts, answered, votes, only_voted=only_voted):
        pairs += 1
        if compared in there:
            late.extend((there[compared], one) for one in said)
            continue
        if compared not in new:
            new[compared] = _New(prompt, {})
        for one in said:
            new[compared].said.setdefault(one.annotator.pk, one)
    duplicates = pairs - len(new)
    mixed = set[int]()
    if only_voted:
        unvoted = [
            (prompts[row.prompt], ids) for row, ids in zip(rows, answered, strict=True) if not votes.of(row.votes)
        ]
        grouped = group(unvoted, project, there)
        for compared, prompt in grouped.sets.items():
            new.setdefault(compared, _New(prompt, {}))
        duplicates += grouped.duplicates
        mixed = set(old).intersection(grouped.sets.values())
    ids = _add_comparisons(new, project)
    judged = 0
    if votes.judge is not None:
        for pk, comparison in zip(ids, new.values(), strict=True):
            if comparison.is_voted_on_singly:
                late.extend((pk, one) for one in comparison.said.values())
        judged = _add_judgments(new, ids, project) + _vote_on(late)
    added = len(new)
    if mixed:
        made = regroup(project, mixed)
        added = made + Comparison.objects.filter(pk__in=ids).count()
    return Landed(added=added, judged=judged, duplicates=duplicates)


def _prompt_ids(rows: list[Keyed], project: Project) -> tuple[dict[str, int], list[int]]:
    """The ids of the rows' prompts by their hashes, and those of them that were there. The others are made."""
    wanted = prompts_of(rows)
    there: dict[str, int] = dict(
        _read(
            "SELECT content_hash, id FROM annotation_prompt"
            " WHERE project_id = %s AND content_hash = ANY(%s::varchar[]) FOR KEY SHARE",
            [project.pk, array(wanted)],
        )
    )
    missing = [key for key in wanted if key not in there]
    fresh = new_ids(Prompt, len(missing))
    made = dict(zip(missing, fresh, strict=True))
    copy_rows(Prompt, PROMPT, fresh, prompt_lines(made, wanted, project.pk, now().isoformat()))
    return {**there, **made}, list(there.values())


def _response_ids(rows: list[Keyed], prompts: Mapping[str, int], old_prompts: list[int]) -> list[list[int]]:
    """For every row the ids of its answers. Responses that are missing are made."""
    ids = _responses(old_prompts)
    answered: list[list[int]] = []
    fresh = new_ids(Response, sum(len(keyed.answers) for keyed in rows))  # enough for all to be new
    lines = response_lines(rows, prompts, ids, iter(fresh), answered, now().isoformat())
    copy_rows(Response, RESPONSE, fresh, lines)
    return answered


def _responses(prompts: list[int]) -> dict[ResponseKey, int]:
    """The ids of these prompts' imported answers."""
    if not prompts:
        return {}
    found = _read(
        "SELECT prompt_id, content_hash, author_label, id FROM annotation_response"
        " WHERE author_id IS NULL AND prompt_id = ANY(%s::bigint[]) FOR KEY SHARE",
        [array(prompts)],
    )
    return {(prompt, key, label): pk for prompt, key, label, pk in found}


def _pairs(
    rows: list[Keyed], prompts: Mapping[str, int], answered: list[list[int]], votes: Votes, *, only_voted: bool
) -> Iterator[_Pair]:
    """Every pair of answers of every row, or its only answer, with what is kept of the row's votes on it."""
    for keyed, ids in zip(rows, answered, strict=True):
        prompt = prompts[keyed.prompt]
        kept = votes.of(keyed.votes)
        if only_voted and not kept:
            continue
        if len(ids) <= 2:
            yield _pair(prompt, tuple(ids), kept, votes)
            continue
        for left, right in combinations(range(len(ids)), 2):
            said = [vote._replace(places=(vote.places[left], vote.places[right])) for vote in kept]
            yield _pair(prompt, (ids[left], ids[right]), said, votes)


def _pair(prompt: int, responses: tuple[int, ...], said: Sequence[Vote], votes: Votes) -> _Pair:
    compared = responses if responses[0] <= responses[-1] else responses[::-1]
    kept = [_Said(votes.by(vote.voter), responses, _tiers(vote.places, responses), vote) for vote in said]
    return prompt, compared, kept


def _tiers(places: Sequence[int], responses: tuple[int, ...]) -> Tiers:
    """One answer or two by their places."""
    if places[0] == places[-1]:
        return [sorted(responses)]
    return [[pk] for pk in (responses if places[0] < places[1] else responses[::-1])]


def _comparisons(prompts: list[int]) -> dict[Compared, int]:
    """The ids of these prompts' comparisons, by their answers."""
    if not prompts:
        return {}
    found = _read(
        "SELECT response_ids, id FROM annotation_comparison"
        " WHERE purpose = 'collect' AND prompt_id = ANY(%s::bigint[])",
        [array(prompts)],
    )
    return {tuple(responses): pk for responses, pk in found}


def _add_comparisons(pairs: Mapping[Compared, _New], project: Project) -> Sequence[int]:
    """Comparisons that wait for people, or hold the votes they came with and want no more. Returns their ids."""
    ids = new_ids(Comparison, len(pairs))
    at, wanted = now().isoformat(), wanted_for(project)
    asked = (
        (pk, Asked(compared, one.prompt, len(one.said) or wanted(compared), _voted(one, at) if one.said else OPEN))
        for (compared, one), pk in zip(pairs.items(), ids, strict=True)
    )
    copy_rows(Comparison, COMPARISON, ids, comparison_lines(asked, project, at))
    return ids


def _voted(one: _New, at: str) -> str:
    """Depth and time of closing."""
    return OPEN if one.is_voted_on_singly else f"{len(one.said)}\t{at}"


def _add_judgments(pairs: Mapping[Compared, _New], comparisons: Sequence[int], project: Project) -> int:
    """The votes that new comparisons came with, each on its seat, with their preferences. Returns how many."""
    seated = [
        (comparison, compared, new.prompt, seat, len(new.said), one)
        for (compared, new), comparison in zip(pairs.items(), comparisons, strict=True)
        if not new.is_voted_on_singly
        for seat, one in enumerate(new.said.values(), start=1)
    ]
    ids = new_ids(Judgment, len(seated))
    at = now().isoformat()
    copy_rows(
        Judgment,
        ("id", "comparison_id", "annotator_id", "seat", "seats", "tiers", "both_bad", "both_good", "strength", "reason",
         "tags", "acceptable", "aspects", "shown_order", "active_seconds", "created_at"),
        ids,
        (
            f"{pk}\t{comparison}\t{one.annotator.pk}\t{seat}\t{seats}\t{one.tiers}\t{one.vote.both_bad}\t{one.vote.both_good}"
            f"\t{one.strength or NULL}\t{field(one.vote.reason)}\t{_besides(one)}\t{array(compared)}\t0\t{at}"
            for (comparison, compared, _, seat, seats, one), pk in zip(seated, ids, strict=True)
        ),
    )  # fmt: skip
    preferred = [
        (pk, prompt, one.tiers[0][0], one.tiers[1][0], one.strength)
        for (_, _, prompt, _, _, one), pk in zip(seated, ids, strict=True)
        if len(one.tiers) == 2
    ]
    fresh = new_ids(Preference, len(preferred))
    copy_rows(
        Preference,
        ("id", "project_id", "prompt_id", "chosen_id", "rejected_id", "judgment_id", "strength", "weight",
         "created_at"),
        fresh,
        (
            f"{pk}\t{project.pk}\t{prompt}\t{chosen}\t{rejected}\t{judgment}\t{strength or NULL}\t1\t{at}"
            for (judgment, prompt, chosen, rejected, strength), pk in zip(preferred, fresh, strict=True)
        ),
    )  # fmt: skip
    return len(seated)


def _besides(one: _Said) -> str:
    """Tags, acceptability and aspects, as COPY's fields."""
    tags = "{" + ",".join(map(_element, one.vote.tags)) + "}"
    acceptable = {str(pk): will_do for pk, will_do in one.acceptable.items()} if one.vote.acceptable else {}
    kept = (orjson.dumps(acceptable).decode(), orjson.dumps(one.aspects).decode() if one.vote.aspects else "{}")
    return "\t".join(map(field, (tags, *kept)))


def _element(text: str) -> str:
    """A text in an array."""
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _vote_on(said: list[tuple[int, _Said]]) -> int:
    """Votes on comparisons that were there before, where the source has not voted. Returns how many are kept."""
    asked: defaultdict[int, list[int]] = defaultdict(list)
    for comparison, one in said:
        asked[one.annotator.pk].append(comparison)
    kept_before = Judgment.objects.kept()
    voted = {
        (comparison, annotator)
        for annotator, comparisons in asked.items()
        for comparison in kept_before.filter(annotator=annotator, comparison__in=comparisons).values_list(
            "comparison", flat=True
        )
    }
    kept = 0
    for comparison, one in said:
        if (comparison, one.annotator.pk) not in voted:
            voted.add((comparison, one.annotator.pk))
            _seat(comparison, one)
            kept += 1
    silence_votes({comparison for comparison, _ in said})
    return kept


def _seat(comparison: int, one: _Said) -> None:
    """Record a vote on a seat that is free, or on one more: no vote that comes with a file is lost."""
    try:
        _record(comparison, one)
    except NoSeatLeftError:
        Comparison.objects.filter(pk=comparison).update(judgments_wanted=F("judgments_wanted") + 1)
        _record(comparison, one)


def _record(comparison: int, one: _Said) -> None:
    record_judgment(
        comparison=Comparison(pk=comparison),
        annotator=one.annotator,
        tiers=one.tiers,
        both_bad=one.vote.both_bad,
        both_good=one.vote.both_good,
        strength=one.strength,
        reason=one.vote.reason,
        tags=one.vote.tags,
        acceptable=one.acceptable,
        aspects=one.aspects,
        edits=one.edits,
        decides=one.vote.decides and not Judgment.objects.decisions().filter(comparison=comparison).exists(),
    )


def _read(query: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
