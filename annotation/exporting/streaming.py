"""An export as rows and as the bytes of a file, as they come out of the database. Memory does not grow with it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Protocol

from django.utils.functional import Promise

from annotation.cycles import no_search_for_cycles
from annotation.exporting.files import FILES
from annotation.exporting.judged import Judged, judged
from annotation.exporting.shapes import kto, llama_factory, preference, preference_text, sft, votes
from annotation.exporting.verdicts import RULES, WITH_PROBABILITY, Rule, agreement
from annotation.exporting.wanted import Wanted
from annotation.models import Comparison, Judgment, Project

BATCH = 500  # rows


class Shape(Protocol):
    """What each file of `shapes` holds."""

    COLUMNS: dict[str, str]

    @property
    def TITLE(self) -> str | Promise: ...  # read in the reader's language

    @property
    def VOTES(self) -> tuple[str, ...]: ...  # the rules of `verdicts.RULES` that these rows can tell of

    @property
    def ALONE(self) -> tuple[str, ...]: ...  # what they can tell of an answer judged alone: its "rating", its "edit"

    def rows(self, judged: Judged, rule: Rule, /) -> Iterator[dict[str, Any]]: ...


# To add a shape, copy a sibling file and name it here.
SHAPES: dict[str, Shape] = {
    "preference": preference,
    "preference-text": preference_text,
    "kto": kto,
    "sft": sft,
    "votes": votes,
    "llama-factory": llama_factory,
}


def shapes_for(project: Project) -> list[str]:
    """Those that can have rows, the likeliest first. Where answers were judged one at a time alone, few can."""
    judged_here = Comparison.objects.judged_in(project)
    if project.kind != Project.Kind.SINGLE or judged_here.filter(response_ids__len__gt=1).exists():
        return list(SHAPES)
    edits = Judgment.objects.standing().in_project(project).exclude(edit_of=None)
    told = ["rating", "edit"] if edits.exists() else ["rating"]
    return list(dict.fromkeys(name for what in told for name, shape in SHAPES.items() if what in shape.ALONE))


def columns(wanted: Wanted) -> dict[str, str]:
    """The kinds of the columns by their names: those of the shape, less what was not asked for."""
    asked = {"margin": wanted.margin, "probability": wanted.votes in WITH_PROBABILITY}
    return {name: kind for name, kind in SHAPES[wanted.shape].COLUMNS.items() if asked.get(name, True)}


def export_rows(project: Project, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """The rows, oldest comparison first."""
    rows, rule = SHAPES[wanted.shape].rows, RULES[wanted.votes]
    left_out = SHAPES[wanted.shape].COLUMNS.keys() - columns(wanted).keys()
    for one in judged(project, wanted):
        if wanted.agreement and agreement(one.votes) < wanted.agreement:
            continue
        for row in rows(one, rule):
            for name in left_out:
                del row[name]
            yield row


def export_bytes(project: Project, wanted: Wanted) -> Iterator[bytes]:
    """The file, in pieces. While one is made no cycles are searched for; while the reader takes it they are."""
    pieces = FILES[wanted.file].written(_batches(export_rows(project, wanted)), columns(wanted))
    while (piece := _next(pieces)) is not None:
        yield piece


def _next(pieces: Iterator[bytes]) -> bytes | None:
    with no_search_for_cycles():
        return next(pieces, None)


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(islice(rows, BATCH)):
        yield batch
