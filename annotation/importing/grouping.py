"""Answers that nobody voted on, put together as the project's kind asks: all in order, or each by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import NamedTuple

from annotation.models import Project

# Sorted response ids: what makes a comparison that one, for responses have one prompt.
Compared = tuple[int, ...]


class Grouped(NamedTuple):
    """New sets of answers with their prompts, and how many of the rows' sets people are asked already."""

    sets: dict[Compared, int]
    duplicates: int


def group(rows: Iterable[tuple[int, list[int]]], project: Project, there: Collection[Compared]) -> Grouped:
    """The sets that these rows, each a prompt and response ids, ask for beyond those that are there.

    A prompt that had sets before has to be regrouped afterwards, for answers of both may belong into one.
    """
    sets_of = defaultdict[int, list[Compared]](list)
    for compared in there:
        for response in compared:
            sets_of[response].append(compared)
    together = defaultdict[int, set[int]](set)
    duplicates = 0
    for prompt, responses in rows:
        found = project.sets_to_judge(responses)
        asked = sum(_is_asked(one, sets_of[one[0]]) or together[prompt].issuperset(one) for one in found)
        duplicates += asked
        if asked < len(found):
            together[prompt].update(responses)
    wanted = ((compared, prompt) for prompt, ids in together.items() for compared in project.sets_to_judge(list(ids)))
    return Grouped({compared: prompt for compared, prompt in wanted if compared not in there}, duplicates)


def _is_asked(wanted: Compared, there: Iterable[Compared]) -> bool:
    """Whether people are asked this: by itself, or in a ranking of more."""
    return wanted in there or (len(wanted) > 1 and any(set(wanted) <= set(compared) for compared in there))
