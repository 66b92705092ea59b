"""Rows become prompts, responses, comparisons and votes, batch by batch, each row whole or not at all."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from django.db import DataError, IntegrityError, transaction
from django.utils.timezone import now

from annotation.importing.reading import Lines, read_rows
from annotation.importing.rows import BadRowError, Row
from annotation.importing.writing import Keyed, Landed, Votes, write_rows
from annotation.models import ImportReport, Project, User
from annotation.services import rule_judge

BATCH = 10_000  # rows
BATCH_CHARACTERS = 16_000_000  # a batch that has more is landed before it is full, so that memory stays flat
ATTEMPTS = 2
MOST_ERRORS_KEPT = 1_000

Batch = list[tuple[int, Keyed | BadRowError]]


def import_rows(
    *,
    project: Project,
    file: Lines,
    judged_by: str = "",
    author_label: str = "",
    file_name: str = "",
    created_by: User | None = None,
) -> ImportReport:
    """Bring a JSON Lines file into a project and say what happened to every row.

    Rows of `{prompt, chosen, rejected}` become comparisons for people to judge, or, with `judged_by`, judgments of that
    named source, which wants no more. Rows of `{prompt, responses}` become one comparison for every pair. What is there
    already is counted as a duplicate and left alone. Raises ValidationError if `judged_by` is a person's account.
    """
    judge = rule_judge(judged_by) if judged_by else None
    report = ImportReport.objects.create(
        project=project, created_by=created_by, file_name=file_name[:255], judged_by=judge
    )
    votes = Votes(judge)
    for batch in _ahead(_batches(read_rows(file), author_label)):
        for number, row in batch:
            if isinstance(row, BadRowError):
                _note(report, number, str(row))
        report.rows += len(batch)
        _land_or_split(report, [(number, row) for number, row in batch if isinstance(row, Keyed)], votes)
        report.save()
    report.errors.sort(key=lambda error: error["line"])
    report.finished_at = now()
    report.save()
    return report


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches; the next one is read while the database takes this one."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        coming = reader.submit(next, batches, None)
        while batch := coming.result():
            coming = reader.submit(next, batches, None)
            with _no_search_for_cycles():
                yield batch


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Rows hold no cycles, and looking for some among ten thousand of them took a third of an import's CPU time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _batches(rows: Iterable[tuple[int, Row | BadRowError]], author_label: str) -> Iterator[Batch]:
    batch: Batch = []
    characters = 0
    for number, row in rows:
        if isinstance(row, BadRowError):
            batch.append((number, row))
        else:
            keyed = Keyed.of(row, author_label)
            characters += keyed.characters
            batch.append((number, keyed))
        if len(batch) >= BATCH or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _note(report: ImportReport, line: int, reason: str) -> None:
    report.error_count += 1
    if len(report.errors) < MOST_ERRORS_KEPT:
        report.errors.append({"line": line, "reason": reason[:400]})


def _land_or_split(report: ImportReport, rows: list[tuple[int, Keyed]], votes: Votes) -> None:
    """Land a batch. If the database refuses it, land its halves, down to the row that is refused."""
    landed = _attempt(report.project, [row for _, row in rows], votes)
    if isinstance(landed, Landed):
        report.comparisons_added += landed.added
        report.judgments_added += landed.judged
        report.duplicates += landed.duplicates
    elif len(rows) == 1:
        _note(report, rows[0][0], f"The database refused the row: {landed}")
    else:
        middle = len(rows) // 2
        _land_or_split(report, rows[:middle], votes)
        _land_or_split(report, rows[middle:], votes)


def _attempt(project: Project, rows: list[Keyed], votes: Votes) -> Landed | str:
    """What was written, or why the database refused it. What came in by another way is found at the next attempt."""
    refusal = ""
    for _ in range(ATTEMPTS):
        try:
            with transaction.atomic():
                # Imports into one project take turns, so that a pair is added, and counted, by one of them.
                Project.objects.select_for_update(no_key=True).get(pk=project.pk)
                return write_rows(rows, project, votes)
        except IntegrityError as error:
            refusal = str(error).splitlines()[0]
        except DataError as error:
            return str(error).splitlines()[0]
    return refusal
