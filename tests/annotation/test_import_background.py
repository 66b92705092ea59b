"""Imports by a worker: claimed once, taken up where a dead worker stopped, cancelled, tidied away."""

import gzip
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.utils.timezone import now

from annotation.importing import background, landing
from annotation.models import Comparison, ImportReport, Judgment, Project
from annotation.models.importing import ANNOUNCED_EVERY, DRAFT_AGE, MOST_ATTEMPTS, SILENT_AFTER, ImportState
from annotation.services import rule_judge
from tests.annotation.test_importing import PAIR

ROWS = [{**PAIR, "prompt": f"Question {n}"} for n in range(60)]
LONG_AGO = timedelta(days=3)


@pytest.fixture
def upload(project: Project) -> Callable[..., ImportReport]:
    def make(*rows: Any, **fields: Any) -> ImportReport:
        lines = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
        report = ImportReport(project=project, **{"state": ImportState.QUEUED, "format": "jsonl", **fields})
        report.upload.save("ignored", ContentFile(lines.encode()), save=False)
        report.save()
        return report

    return make


class WorkerDiedError(BaseException):
    """What no handler of the import may catch, as nothing catches a kill."""


@contextmanager
def dying_after(batches: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The worker dies when it has landed so many batches and begins with the next."""
    left = [batches]

    def mortal(write: Callable[..., Any]) -> Callable[..., Any]:
        def write_or_die(*arguments: Any) -> Any:
            if not left[0]:
                raise WorkerDiedError
            left[0] -= 1
            return write(*arguments)

        return write_or_die

    died = False
    with monkeypatch.context() as patch:
        for name in ("write_rows", "write_ready"):
            patch.setattr(landing, name, mortal(getattr(landing, name)))
        try:
            yield
        except WorkerDiedError:
            died = True
    assert died


def silence(report: ImportReport) -> None:
    ImportReport.objects.filter(pk=report.pk).update(heartbeat_at=now() - 2 * SILENT_AFTER, announced_at=None)


def test_a_queued_import_lands_and_its_file_goes(upload: Callable[..., ImportReport]) -> None:
    report = upload(*ROWS, "nope", judged_by=rule_judge("some-set"), author_label="lm")
    path = Path(report.upload.path)
    assert path.exists()

    background.run(report.pk, worker="w1")

    report.refresh_from_db()
    assert (report.state, report.worker, report.rows, report.comparisons_added, report.judgments_added) == (
        "succeeded", "w1", 61, 60, 60
    )  # fmt: skip
    assert (report.error_count, report.errors[0]["line"], report.progress, report.percent) == (1, 61, 1.0, 100)
    assert report.finished_at is not None
    assert (path.exists(), bool(report.upload)) == (False, False)


@pytest.mark.parametrize("judged_by", ["", "some-set"])
@pytest.mark.parametrize("landed", [0, 1, 3])
def test_an_import_goes_on_where_a_killed_worker_stopped(
    upload: Callable[..., ImportReport], monkeypatch: pytest.MonkeyPatch, landed: int, judged_by: str
) -> None:
    monkeypatch.setattr(landing, "BATCH", 10)
    rows = [*ROWS[:25], "bad in the first part", *ROWS[25:45], ROWS[0], *ROWS[45:], "bad at the end"]
    report = upload(*rows, judged_by=rule_judge(judged_by) if judged_by else None)
    with dying_after(landed, monkeypatch):
        background.run(report.pk, worker="w1")
    report.refresh_from_db()
    assert (report.state, report.rows, report.position) == ("running", 10 * landed, 10 * landed)

    background.run(report.pk, worker="w2")  # the message comes again while w1 may still be alive
    report.refresh_from_db()
    assert report.worker == "w1"

    silence(report)
    background.run(report.pk, worker="w2")
    report.refresh_from_db()
    assert (report.state, report.worker, report.attempt) == ("succeeded", "w2", 2)
    assert (report.rows, report.comparisons_added, report.duplicates, report.error_count) == (63, 60, 1, 2)
    assert [error["line"] for error in report.errors] == [26, 63]
    assert Comparison.objects.count() == 60
    assert Judgment.objects.count() == report.judgments_added == (60 if judged_by else 0)


def test_a_packed_table_goes_on_where_a_killed_worker_stopped(
    upload: Callable[..., ImportReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "BATCH", 10)
    report = upload(format="parquet")
    table = BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), table)
    Path(report.upload.path).write_bytes(gzip.compress(table.getvalue()))
    with dying_after(2, monkeypatch):
        background.run(report.pk, worker="w1")
    report.refresh_from_db()
    assert (report.state, report.rows, report.position) == ("running", 20, 20)
    silence(report)
    background.run(report.pk, worker="w2")
    report.refresh_from_db()
    assert (report.state, report.rows, report.comparisons_added, report.duplicates) == ("succeeded", 60, 60, 0)


@pytest.mark.parametrize("landed", [0, 2, 3])
def test_a_file_that_breaks_off_keeps_the_rows_before_whoever_lands_them(
    upload: Callable[..., ImportReport], monkeypatch: pytest.MonkeyPatch, landed: int
) -> None:
    monkeypatch.setattr(landing, "BATCH", 10)
    report = upload(format="json")
    Path(report.upload.path).write_text(json.dumps(ROWS[:35])[:-20])
    with dying_after(landed, monkeypatch):
        background.run(report.pk, worker="w1")
    silence(report)
    background.run(report.pk, worker="w2")
    report.refresh_from_db()
    assert (report.state, report.rows, report.comparisons_added, report.duplicates) == ("failed", 34, 34, 0)
    assert report.error.startswith("Row 35 is not JSON")


def test_a_worker_that_dies_after_the_last_rows_of_a_broken_file_counts_none_of_them_twice(
    upload: Callable[..., ImportReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "BATCH", 10)
    report = upload(*ROWS[:35])
    path = Path(report.upload.path)
    path.write_bytes(gzip.compress(path.read_bytes())[:-8])
    with monkeypatch.context() as patch:
        patch.setattr(landing, "_end", die)
        with pytest.raises(WorkerDiedError):
            background.run(report.pk, worker="w1")
    report.refresh_from_db()
    assert (report.state, report.rows, report.position) == ("running", 35, 35)
    silence(report)
    background.run(report.pk, worker="w2")
    report.refresh_from_db()
    assert (report.state, report.rows, report.comparisons_added, report.duplicates) == ("failed", 35, 35, 0)
    assert report.error.startswith("After row 35: The file cannot be unpacked")


def die(*arguments: Any) -> None:
    raise WorkerDiedError


def test_a_packed_table_that_is_broken_ends_with_the_reason(upload: Callable[..., ImportReport]) -> None:
    report = upload(format="parquet")
    Path(report.upload.path).write_bytes(gzip.compress(b"PAR1" + bytes(range(256)) * 999)[:-20])
    background.run(report.pk, worker="w1")
    report.refresh_from_db()
    assert (report.state, "cannot be unpacked" in report.error, report.rows) == ("failed", True, 0)


def test_a_worker_that_was_given_up_on_writes_nothing_more(
    upload: Callable[..., ImportReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "BATCH", 10)
    report = upload(*ROWS)

    def lose_the_claim(*arguments: Any) -> None:
        silence(report)
        assert ImportReport.objects.claim(report.pk, worker="w2")

    monkeypatch.setattr(landing.Votes, "meet", lose_the_claim)  # before the batch's transaction begins
    background.run(report.pk, worker="w1")
    report.refresh_from_db()
    assert (report.state, report.worker, report.rows) == ("running", "w2", 0)
    assert not Comparison.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_many_claims_one_wins(upload: Callable[..., ImportReport]) -> None:
    report = upload(*ROWS)
    start, won = threading.Barrier(6), []

    def claim(n: int) -> None:
        try:
            start.wait(timeout=30)
            if ImportReport.objects.claim(report.pk, worker=f"w{n}"):
                won.append(n)
        finally:
            connection.close()

    threads = [threading.Thread(target=claim, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    report.refresh_from_db()
    assert (len(won), report.attempt) == (1, 1)


def test_a_cancelled_import_keeps_what_has_landed_and_stops(
    upload: Callable[..., ImportReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "BATCH", 10)
    report = upload(*ROWS)
    batches = []

    def cancel_in_the_third(*arguments: Any) -> None:
        batches.append(1)
        if len(batches) == 3:
            assert ImportReport.objects.cancel(report.pk)

    monkeypatch.setattr(landing.Votes, "meet", cancel_in_the_third)  # before the batch's transaction begins
    background.run(report.pk, worker="w1")
    report.refresh_from_db()
    assert (report.state, report.rows, report.comparisons_added, len(batches)) == ("cancelled", 20, 20, 3)
    assert Comparison.objects.count() == 20
    background.tend()
    report.refresh_from_db()
    assert not report.upload


def test_what_goes_wrong_is_kept_as_the_reason(
    upload: Callable[..., ImportReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "write_rows", lambda *arguments: 1 / 0)
    report = upload(*ROWS)
    background.run(report.pk, worker="w1")
    report.refresh_from_db()
    assert (report.state, report.error[:18]) == ("failed", "The import failed;")


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    told: list[int] = []
    monkeypatch.setattr("annotation.tasks.run_import.delay", told.append)
    return told


def test_an_import_that_nobody_holds_is_announced_again(
    upload: Callable[..., ImportReport], announced: list[int], django_capture_on_commit_callbacks: Any
) -> None:
    waiting = upload(*ROWS)
    silent = upload(*ROWS, state=ImportState.RUNNING, attempt=1, heartbeat_at=now() - 2 * SILENT_AFTER)
    upload(*ROWS, state=ImportState.RUNNING, attempt=1)
    upload(*ROWS, state=ImportState.QUEUED, announced_at=now())
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            background.tend()
    assert sorted(announced) == [waiting.pk, silent.pk]
    ImportReport.objects.filter(pk=waiting.pk).update(announced_at=now() - 2 * ANNOUNCED_EVERY)
    with django_capture_on_commit_callbacks(execute=True):
        background.tend()
    assert sorted(announced) == [waiting.pk, waiting.pk, silent.pk]


def test_a_file_that_kills_its_workers_is_given_up(upload: Callable[..., ImportReport], announced: list[int]) -> None:
    report = upload(*ROWS, state=ImportState.RUNNING, attempt=MOST_ATTEMPTS, heartbeat_at=now() - LONG_AGO)
    background.tend()
    report.refresh_from_db()
    assert (report.state, "workers have died" in report.error) == ("failed", True)
    assert announced == []


def test_files_of_drafts_are_kept_for_a_day(upload: Callable[..., ImportReport]) -> None:
    old = upload(*ROWS, state=ImportState.DRAFT, created_at=now() - 2 * DRAFT_AGE)
    new = upload(*ROWS, state=ImportState.DRAFT)
    background.tend()
    old.refresh_from_db()
    new.refresh_from_db()
    assert (bool(old.upload), bool(new.upload)) == (False, True)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_real_worker_that_is_killed_loses_and_doubles_nothing(
    upload: Callable[..., ImportReport], settings: Any, tmp_path: Path
) -> None:
    from tests.training.workers import end_worker, start_worker, wait_for

    report = upload(*({**PAIR, "prompt": f"Question {n}"} for n in range(60_000)), "bad")
    first = start_worker(tmp_path, name="first")
    try:
        background.announce(report.pk)
        wait_for(lambda: ImportReport.objects.get(pk=report.pk).rows >= 10_000, seconds=60)
        os.killpg(first.pid, signal.SIGKILL)  # the worker and its pool
        first.wait()
        report.refresh_from_db()
        assert (report.state, report.rows % 10_000) == ("running", 0)
        assert Comparison.objects.count() == report.comparisons_added == report.rows < 60_000
    finally:
        end_worker(first)
    silence(report)
    second = start_worker(tmp_path, name="second")
    try:
        background.tend()
        wait_for(lambda: ImportReport.objects.get(pk=report.pk).state == "succeeded", seconds=90)
    finally:
        end_worker(second)
    report.refresh_from_db()
    assert (report.rows, report.comparisons_added, report.duplicates, report.error_count) == (60_001, 60_000, 0, 1)
    assert (Comparison.objects.count(), report.attempt, report.worker) == (60_000, 2, "second@test")
