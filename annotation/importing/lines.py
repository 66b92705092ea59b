"""Rows as COPY's lines: prompts, answers and comparisons, with ids that were drawn for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from random import random
from typing import NamedTuple

from annotation.importing.copying import NULL, array
from annotation.importing.grouping import Compared
from annotation.importing.keyed import Keyed
from annotation.models import Comparison, Project

PROMPT = ("id", "project_id", "created_at", "messages", "metadata", "content_hash")
RESPONSE = ("id", "prompt_id", "created_at", "text", "author_label", "sampling", "content_hash")
COMPARISON = ("id", "project_id", "prompt_id", "response_ids", "purpose", "priority", "judgments_wanted", "depth",
              "closed_at", "lot", "created_at")  # fmt: skip
OPEN = f"0\t{NULL}"  # depth and time of closing of a comparison without votes

Prompts = Mapping[str, Keyed]  # by their hashes, each by the first row that has it
ResponseKey = tuple[int, str, str]  # prompt id, content hash, author's label


class Asked(NamedTuple):
    """A comparison to be written. `state`: its depth and time of closing, as COPY's fields."""

    responses: Compared
    prompt: int
    wanted: int
    state: str = OPEN


def prompts_of(rows: Iterable[Keyed]) -> Prompts:
    """The prompts of rows."""
    found: dict[str, Keyed] = {}
    for keyed in rows:
        found.setdefault(keyed.prompt, keyed)
    return found


def prompt_lines(made: Mapping[str, int], wanted: Prompts, project: int, at: str) -> Iterator[str]:
    """Prompts by their hashes. Numbered in the file's order, they are written in that of their index, which is the
    dearest of all as hashes come."""
    return (f"{made[key]}\t{project}\t{at}\t{wanted[key].prompt_fields}" for key in sorted(made))


def response_lines(
    rows: list[Keyed],
    prompts: Mapping[str, int],
    ids: dict[ResponseKey, int],
    unused: Iterator[int],
    answered: list[list[int]],
    at: str,
) -> Iterator[str]:
    """The answers that have no id yet, which get one. `answered` is filled with the ids of every row's answers."""
    for keyed in rows:
        prompt = prompts[keyed.prompt]
        mine = []
        for (key, label), fields in zip(keyed.answers, keyed.answer_fields, strict=True):
            pk = ids.get((prompt, key, label))
            if pk is None:
                pk = ids[prompt, key, label] = next(unused)
                yield f"{pk}\t{prompt}\t{at}\t{fields}"
            mine.append(pk)
        answered.append(mine)


def comparison_lines(asked: Iterable[tuple[int, Asked]], project: Project, at: str) -> Iterator[str]:
    """Comparisons that people are to judge, or were judged in the file, with their ids."""
    purpose, priority = Comparison.Purpose.COLLECT.value, 0
    for pk, (responses, prompt, wanted, state) in asked:
        # The lot is drawn here: COPY writes rows one by one where a column's default is drawn by the server.
        yield (
            f"{pk}\t{project.pk}\t{prompt}\t{array(responses)}\t{purpose}\t{priority}"
            f"\t{wanted}\t{state}\t{random()}\t{at}"  # noqa: S311  an order
        )


def wanted_for(project: Project) -> Callable[[Compared], int]:
    """The project's own answer how often a comparison is judged, without a draw where there is nothing to draw."""
    whole, fraction = divmod(project.overlap, 1)
    return project.wanted_for if fraction else lambda compared: int(whole)
