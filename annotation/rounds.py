"""A round: what a model version has just answered becomes responses, and comparisons for people to judge.

1. Of the different answers to one prompt every pair is compared, as in an import: two make one comparison, three make
   three.
2. With another version to compare with, the first of them also meets that version's newest answer to the prompt.
3. Equal texts are never compared. White space around an answer does not count and is not kept; an answer that is empty
   without it is dropped, and one that the version has given to the prompt before is not kept twice.
4. In a project that ranks answers, or judges them one at a time, what nobody has touched is put together so; the number
   of comparisons told is that of the pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from django.db import transaction

from annotation.content_hashes import content_hash
from annotation.models import Comparison, Project, Prompt, Response
from annotation.regroup import regroup
from models_registry.models import Version

# The ids of two responses, sorted, as a comparison stores them.
_Pair = tuple[int, int]


@dataclass(frozen=True)
class Given:
    """One answer as the model gave it. `sampling` says how it was drawn, `ended` and `tokens` among it."""

    text: str
    sampling: Mapping[str, Any]


@dataclass(frozen=True)
class Answered:
    """A prompt of the project and the answers to it, in the order in which they were drawn."""

    prompt_id: int
    answers: Sequence[Given]


@dataclass(frozen=True)
class Landed:
    """What a batch added, and what it did not.

    `repeated` counts answers that the version gives to a prompt a second time, `empty` those without any text,
    `same_as_other` prompts to which the other version says the same.
    """

    answers: int = 0
    repeated: int = 0
    empty: int = 0
    same_as_other: int = 0
    comparisons: int = 0


@transaction.atomic
def land(*, project: Project, author: Version, against: Version | None, batch: Sequence[Answered]) -> Landed:
    """Bring a batch into the project. The same batch again adds nothing. Prompts that are gone are passed over."""
    # Rounds and imports of one project take turns, so that a pair is added, and counted, by one of them.
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    there = Prompt.objects.filter(project=project, pk__in=[answered.prompt_id for answered in batch])
    prompt_ids = set(there.values_list("pk", flat=True))
    batch = [answered for answered in batch if answered.prompt_id in prompt_ids]
    texts = {answered.prompt_id: _different(answered) for answered in batch}
    response_ids, added = _keep(texts, author)
    others = dict[int, tuple[int, str]]()
    if against:
        newest = Response.objects.filter(prompt__in=prompt_ids).latest_by(against)
        others = {prompt: (pk, key) for prompt, pk, key in newest.values_list("prompt_id", "pk", "content_hash")}
    drawn = sum(len(answered.answers) for answered in batch)
    empty = sum(not given.text.strip() for answered in batch for given in answered.answers)
    compared = _compare(_pairs(texts, response_ids, others), project)
    if project.kind != Project.Kind.PAIRS:
        regroup(project, prompt_ids)
    return Landed(
        answers=added,
        repeated=drawn - empty - added,
        empty=empty,
        same_as_other=sum(_first(texts[prompt]) == key for prompt, (_, key) in others.items()),
        comparisons=compared,
    )


def _different(answered: Answered) -> dict[str, Given]:
    """The different answers to a prompt by the hash of their text, each where it first came."""
    found: dict[str, Given] = {}
    for given in answered.answers:
        if text := given.text.strip():
            found.setdefault(content_hash(text), Given(text, given.sampling))
    return found


def _first(different: dict[str, Given]) -> str | None:
    return next(iter(different), None)


def _keep(texts: dict[int, dict[str, Given]], author: Version) -> tuple[dict[tuple[int, str], int], int]:
    """Response ids by prompt and hash, missing ones made; and how many were made."""
    known = _ids(texts, author)
    missing = [
        Response(prompt_id=prompt, text=given.text, content_hash=key, author=author, sampling=dict(given.sampling))
        for prompt, different in texts.items()
        for key, given in different.items()
        if (prompt, key) not in known
    ]
    Response.objects.bulk_create(missing, ignore_conflicts=True)  # one that was added by other ways a moment ago
    return _ids(texts, author), len(missing)


def _ids(texts: dict[int, dict[str, Given]], author: Version) -> dict[tuple[int, str], int]:
    found = Response.objects.filter(prompt__in=texts, author=author, author_label="")
    return {(prompt, key): pk for prompt, key, pk in found.values_list("prompt_id", "content_hash", "pk")}


def _pairs(
    texts: dict[int, dict[str, Given]], response_ids: dict[tuple[int, str], int], others: dict[int, tuple[int, str]]
) -> Iterator[tuple[int, _Pair]]:
    """Every comparison that the rule asks for: its prompt, its two responses."""
    for prompt, different in texts.items():
        ids = [response_ids[prompt, key] for key in different]
        for first, second in combinations(ids, 2):
            yield prompt, (min(first, second), max(first, second))
        other, key = others.get(prompt, (0, ""))
        if ids and other and key != _first(different):
            yield prompt, (min(ids[0], other), max(ids[0], other))


def _compare(pairs: Iterator[tuple[int, _Pair]], project: Project) -> int:
    """Make those comparisons that are not there yet. Returns how many."""
    wanted = dict.fromkeys(pairs)
    collected = Comparison.objects.filter(
        prompt__in={prompt for prompt, _ in wanted}, purpose=Comparison.Purpose.COLLECT
    )
    there = {(prompt, tuple(ids)) for prompt, ids in collected.values_list("prompt_id", "response_ids")}
    new = [key for key in wanted if key not in there]
    Comparison.objects.bulk_create(
        [
            Comparison(
                project=project, prompt_id=prompt, response_ids=list(pair), judgments_wanted=project.wanted_for(pair)
            )
            for prompt, pair in new
        ],
        ignore_conflicts=True,
    )
    return len(new)
