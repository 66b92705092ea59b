"""Rows become prompts, responses, comparisons and votes, batch by batch, each row whole or not at all.

A batch and the count of what it brought are one transaction. So whoever dies between two batches leaves a report
that is exact, and whoever takes the file up again begins after the last row that landed.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import TypeVar

from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError, connection, transaction

from annotation.cycles import no_search_for_cycles
from annotation.happenings import Happening, Kind, tell
from annotation.importing.formats.raw import Numbered
from annotation.importing.keyed import Keyed
from annotation.importing.lines import Prompts, prompts_of
from annotation.importing.reading import Source, detect_format, opened, shaped
from annotation.importing.ready import Ready, are_new, make_ready, write_ready
from annotation.importing.rows import BadFileError, BadRowError, Row
from annotation.importing.turns import in_turns, when_allowed, while_waiting
from annotation.importing.voices import Votes
from annotation.importing.writing import Landed, write_rows
from annotation.models import Comparison, ImportReport, Judgment, Preference, Project, Prompt, Response, User
from annotation.models.importing import LostImportError
from annotation.services import rule_judge

BATCH = 10_000  # rows
BATCH_CHARACTERS = 16_000_000  # a batch that has more is landed before it is full, so that memory stays flat
ATTEMPTS = 2
SHORT_TURN = 0.0005  # seconds
ALONE = (
    "One answer alone is kept only with what was said of it: name the source of the votes. Or make this a project where"
    " people see one answer at a time."
)

FILLED = (Prompt, Response, Comparison, Judgment, Preference)

Batch = list[tuple[int, Keyed | BadRowError]]
T = TypeVar("T")
logger = logging.getLogger(__name__)


def import_file(
    *,
    project: Project,
    path: Path,
    shape: str = "",
    judged_by: str = "",
    author_label: str = "",
    file_name: str | None = None,
    created_by: User | None = None,
) -> ImportReport:
    """Bring a file of any known format into a project now and say what happened to every row.

    Pairs become comparisons for people to judge, or, with `judged_by`, keep the file's votes as judgments of that named
    source. What is there already is counted as a duplicate and left alone. `shape` "" reads each row in the shape that
    recognises it. Raises ValidationError if `judged_by` is a person's account, BadFileError if the file is in no known
    format.
    """
    report = ImportReport.objects.create_running(
        project=project,
        format=detect_format(path),
        shape=shape,
        judged_by=rule_judge(judged_by) if judged_by else None,
        author_label=author_label,
        file_name=(path.name if file_name is None else file_name)[:255],
        created_by=created_by,
    )
    _land(report, opened(path, report.format))
    return report


def land_upload(report: ImportReport) -> None:
    """Land the rest of an uploaded file, which this process has claimed. Ends in a terminal state with its reason."""
    with report.local_file() as path:
        _land(report, opened(path, report.format))


def _land(report: ImportReport, file: AbstractContextManager[Source]) -> None:
    """Land every row that has not landed. The one place that catches broadly: an import ends with its reason kept."""
    try:
        with file as source:
            _land_rows(report, source)
        _end(report, "")
    except LostImportError:
        logger.info("Import %s was cancelled, or another worker has it.", report.pk)
    except (BadFileError, ValidationError) as error:
        _end(report, " ".join(error.messages) if isinstance(error, ValidationError) else str(error))
    except Exception:
        logger.exception("Import %s failed.", report.pk)
        _end(report, "The import failed; the server's log says why. What is counted here is in.")


def _end(report: ImportReport, error: str) -> None:
    """Move the import to its end, well or with the reason, and tell of it. Raises LostImportError."""
    with transaction.atomic():
        report.end(error)
        tell_of_end(report)
    report.drop_upload()


def tell_of_end(report: ImportReport) -> None:
    """Tell that an import is over, in the transaction that ends it."""
    facts = {"import": report.pk, "comparisons_added": report.comparisons_added, "bad_rows": report.error_count}
    tell(Happening(Kind.IMPORT_FINISHED, report.project_id, str(report.pk), facts))


def _land_rows(report: ImportReport, source: Source) -> None:
    votes = Votes(report.judged_by)
    may_read = Event()
    rows = when_allowed(shaped(_after(source.rows, report.position), report.shape), may_read)
    report.project.refresh_from_db(fields=["kind", "overlap"])
    alone = votes.judge is not None or report.project.kind == Project.Kind.SINGLE
    landed = 0
    batches = _batches(rows, report.author_label, alone=alone)
    for batch, ready in _ahead(_made_ready(batches, report, may_read), may_read):
        votes.meet(vote for _, row in batch if isinstance(row, Keyed) for vote in row.votes)
        _land_or_split(report, batch, votes, source.share, ready)
        landed += len(batch)
    if landed >= BATCH:
        _have_the_server_count()


def _after(rows: Iterable[Numbered], position: int) -> Iterator[Numbered]:
    """The rows whose number is above the position."""
    return (numbered for numbered in rows if numbered[0] > position)


def _made_ready(
    batches: Iterable[Batch], report: ImportReport, may_read: Event
) -> Iterator[tuple[Batch, Ready | None]]:
    """The same batches, made ready where nothing of them is there and no votes come with them.

    The first one is not: the server has nothing else to do meanwhile.
    """
    before: Prompts | None = None
    for batch in batches:
        ready = None
        if report.judged_by is None and report.project.kind == Project.Kind.PAIRS:
            rows = _good(batch)
            prompts = prompts_of(rows)
            # The batch before is on its way, so the database does not know it yet.
            apart = before is not None and prompts.keys().isdisjoint(before)
            if prompts and apart and are_new(prompts, report.project):
                ready = make_ready(rows, prompts, report.project, partial(when_allowed, may_read=may_read))
            before = prompts
        yield batch, ready


def _ahead(batches: Iterator[T], may_read: Event) -> Iterator[T]:
    """The same; the next one is read while the database takes this one."""
    with ThreadPoolExecutor(max_workers=1) as reader, _short_turns(), in_turns(may_read):
        try:
            coming = reader.submit(next, batches, None)
            while True:
                with while_waiting():
                    batch = coming.result()
                if batch is None:
                    return
                coming = reader.submit(next, batches, None)
                yield batch
        finally:
            reader.submit(lambda: connection.close())


def _good(batch: Batch) -> list[Keyed]:
    return [row for _, row in batch if isinstance(row, Keyed)]


@contextmanager
def _short_turns() -> Iterator[None]:
    """Short turns: the server must not wait five milliseconds for its next piece because the reader is busy."""
    turn = sys.getswitchinterval()
    sys.setswitchinterval(SHORT_TURN)
    try:
        with no_search_for_cycles():
            yield
    finally:
        sys.setswitchinterval(turn)


def _batches(
    rows: Iterable[tuple[int, Row | BadRowError]], author_label: str, *, alone: bool = True
) -> Iterator[Batch]:
    """Rows with their hashes, as many as land at once; of a file that breaks off, all before it does.

    `alone`: rows of one answer may land.
    """
    batch: Batch = []
    characters = 0
    try:
        for number, row in rows:
            item = _keyed(row, author_label, alone=alone)
            over = max(len(batch) / BATCH, characters / BATCH_CHARACTERS)
            # Rows of one prompt often follow each other. Kept together they leave the next batch all new.
            if over >= 2 or (over >= 1 and not _same_prompt(batch[-1][1], item)):
                yield batch
                batch, characters = [], 0
            batch.append((number, item))
            characters += item.characters if isinstance(item, Keyed) else 0
    except BadFileError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _keyed(row: Row | BadRowError, author_label: str, *, alone: bool) -> Keyed | BadRowError:
    if isinstance(row, BadRowError):
        return row
    return BadRowError(ALONE) if len(row.answers) == 1 and not alone else Keyed.of(row, author_label)


def _same_prompt(one: Keyed | BadRowError, other: Keyed | BadRowError) -> bool:
    return isinstance(one, Keyed) and isinstance(other, Keyed) and one.prompt == other.prompt


def _land_or_split(
    report: ImportReport, batch: Batch, votes: Votes, share: Callable[[], float], ready: Ready | None = None
) -> None:
    """Land a batch. If the database refuses it, land its halves, down to the row that is refused."""
    refusal = _attempt(report, batch, votes, share, ready)
    if not refusal:
        return
    if len(batch) == 1:
        number, _ = batch[0]
        _attempt(report, [(number, BadRowError(f"The database refused the row: {refusal}"))], votes, share)
        return
    middle = len(batch) // 2
    _land_or_split(report, batch[:middle], votes, share)
    _land_or_split(report, batch[middle:], votes, share)


def _have_the_server_count() -> None:
    """Until it does so by itself, a minute later, the server takes the tables for as small as they were: each page of
    an export then sorts all that is left of the project. A tenth of the usual sample shows how large they are. (An
    account that may not is passed over with a warning.)"""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL default_statistics_target = 10")
        cursor.execute(f"ANALYZE (SKIP_LOCKED) {', '.join(model._meta.db_table for model in FILLED)}")


def _need_not_be_on_disk() -> None:
    """Let this transaction's commit return at once: if the server dies the batch is lost together with its count, and
    lands again. The commit that ends the import waits for the disk, and all before it is there then."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")


def _attempt(
    report: ImportReport, batch: Batch, votes: Votes, share: Callable[[], float], ready: Ready | None = None
) -> str:
    """Write the rows and count them; otherwise, why the database refused them.

    What came in by another way meanwhile is found at the second attempt.
    """
    errors = [{"line": number, "reason": str(row)[:400]} for number, row in batch if isinstance(row, BadRowError)]
    refusal = ""
    for _ in range(ATTEMPTS):
        try:
            with transaction.atomic():
                _need_not_be_on_disk()
                # Imports into one project take turns, so that a pair is added, and counted, by one of them. What the
                # project asks of people stays as it is until the batch is in.
                project = Project.objects.select_for_update(no_key=True).get(pk=report.project_id)
                if ready is not None and ready.suits(project):
                    landed = write_ready(ready)
                else:
                    rows = _good(batch)
                    landed = write_rows(rows, project, votes) if rows else Landed(0, 0, 0)
                report.advance(
                    rows=len(batch),
                    position=batch[-1][0],
                    progress=share(),
                    comparisons=landed.added,
                    judgments=landed.judged,
                    duplicates=landed.duplicates,
                    errors=errors,
                )
        except IntegrityError as error:
            refusal, ready = str(error).splitlines()[0], None
        except DataError as error:
            return str(error).splitlines()[0]
        else:
            report.remember(errors)
            return ""
    return refusal
