"""Batches that are made ready while the one before them is written: what lands is the same."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from decimal import Decimal
from itertools import islice
from typing import Any

import pytest
from django.db import connection

from annotation.importing import landing
from annotation.importing.formats import jsonl
from annotation.importing.reading import Source, read_row
from annotation.importing.rows import BadFileError
from annotation.models import Comparison, ImportReport, Project, Prompt, Response
from annotation.services import AnswerIn, add_comparison, create_project
from tests.annotation.test_importing import PAIR, bring, lines_of

ROWS = [{**PAIR, "prompt": f"Question {n}"} for n in range(12)]
pytestmark = pytest.mark.django_db(transaction=True)  # another connection looks for what is there


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Small batches; the list fills with how each was written."""
    monkeypatch.setattr(landing, "BATCH", 3)
    ways: list[str] = []

    def spied(name: str) -> Callable[..., Any]:
        write = getattr(landing, name)

        def write_and_tell(*arguments: Any) -> Any:
            ways.append(name.removeprefix("write_"))
            return write(*arguments)

        return write_and_tell

    for name in ("write_rows", "write_ready"):
        monkeypatch.setattr(landing, name, spied(name))
    return ways


def contents(project: Project) -> list[tuple[Any, ...]]:
    """What people will see of a project, in words instead of ids."""
    texts = dict(Response.objects.values_list("id", "text"))
    prompts = {prompt.pk: prompt for prompt in Prompt.objects.filter(project=project)}
    return sorted(
        (
            str(prompts[one.prompt_id].messages), str(prompts[one.prompt_id].metadata),
            sorted(texts[pk] for pk in one.response_ids), one.purpose, one.depth, one.closed_at,
        )
        for one in Comparison.objects.filter(project=project)
    )  # fmt: skip


def test_what_is_made_ready_lands_as_it_would_have(written: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        *ROWS[:3],
        *({"prompt": f"Many {n}", "responses": ["a\tb", "\\N", "c\nd"], "metadata": {"n": n}} for n in range(3)),
        {**PAIR, "prompt": "Twice"}, {**PAIR, "prompt": "Other"}, {**PAIR, "prompt": "Twice"},
        b"bad", *ROWS[3:],
    ]  # fmt: skip
    one, other = (create_project(name=name, overlap=Decimal("1.5")) for name in ("One", "Other"))
    ahead = bring(one, *rows)
    assert written == ["rows"] + ["ready"] * (len(written) - 1)
    assert len(written) > 5
    monkeypatch.setattr(landing, "are_new", lambda *arguments: False)
    written.clear()
    plain = bring(other, *rows)
    assert set(written) == {"rows"}
    assert contents(one) == contents(other)
    assert (ahead.comparisons_added, ahead.duplicates, ahead.error_count) == (23, 1, 1)
    assert (plain.comparisons_added, plain.duplicates, plain.error_count) == (23, 1, 1)
    for comparison in Comparison.objects.select_related("project"):
        assert comparison.judgments_wanted == comparison.project.wanted_for(comparison.response_ids)
    assert set(Comparison.objects.values_list("judgments_wanted", flat=True)) == {1, 2}


@pytest.mark.parametrize(
    ("rows", "ways"),
    [
        ([*ROWS[:4], ROWS[0], ROWS[5], *ROWS[6:9]], ["rows", "rows", "ready"]),  # a prompt of the batch before
        ([*ROWS[:6], *ROWS[:3], *ROWS[6:9]], ["rows", "ready", "rows", "ready"]),  # one that is there
    ],
)
def test_a_batch_with_a_prompt_that_is_there_is_written_as_any_other(
    project: Project, written: list[str], rows: list[dict[str, str]], ways: list[str]
) -> None:
    report = bring(project, *rows)
    assert written == ways
    assert report.comparisons_added + report.duplicates == len(rows)
    assert report.comparisons_added == Prompt.objects.count() == len({row["prompt"] for row in rows})


def test_votes_are_written_with_their_batch(project: Project, written: list[str]) -> None:
    report = bring(project, *ROWS, judged_by="some-set")
    assert set(written) == {"rows"}
    assert report.judgments_added == len(ROWS)


@pytest.mark.parametrize("kind", ["ranking", "single"])
def test_other_kinds_of_judgment_are_written_with_their_batch(written: list[str], kind: str) -> None:
    report = bring(create_project(name="Other", kind=kind), *ROWS)
    assert set(written) == {"rows"}
    assert report.comparisons_added == len(ROWS) * (1 if kind == "ranking" else 2)


def test_what_comes_in_another_way_meanwhile_is_found(
    project: Project, written: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = landing.make_ready
    answers = [AnswerIn(PAIR["chosen"]), AnswerIn(PAIR["rejected"])]

    def make_too_late(rows: Any, *others: Any) -> Any:
        if "Question 4" in str(rows):
            other = threading.Thread(target=add_elsewhere, args=(project, "Question 4", answers))
            other.start()
            other.join(timeout=30)
        return make(rows, *others)

    monkeypatch.setattr(landing, "make_ready", make_too_late)
    report = bring(project, *ROWS)
    assert written == ["rows", "ready", "rows", "ready", "ready"]
    assert (report.comparisons_added, report.duplicates, report.errors) == (11, 1, [])
    assert Prompt.objects.count() == Comparison.objects.count() == 12


def add_elsewhere(project: Project, question: str, answers: list[AnswerIn]) -> None:
    try:
        add_comparison(project=project, messages=[{"role": "user", "content": question}], responses=answers)
    finally:
        connection.close()


def test_a_project_that_asks_for_more_meanwhile_gets_it(
    project: Project, written: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed: list[int] = []

    def land(*arguments: Any) -> Any:
        if not changed:
            changed.append(Project.objects.filter(pk=project.pk).update(overlap=3))
        return attempt(*arguments)

    attempt = landing._attempt
    monkeypatch.setattr(landing, "_attempt", land)  # the project was read before
    bring(project, *ROWS)
    assert written == ["rows"] * 4
    assert set(Comparison.objects.values_list("judgments_wanted", flat=True)) == {3}


def test_what_was_read_before_a_file_broke_off_lands(project: Project, written: list[str]) -> None:
    def breaking() -> Iterator[Any]:
        yield from islice(jsonl.read(lines_of(*ROWS)), 10)
        raise BadFileError("The file breaks off.")

    report = ImportReport.objects.create_running(project=project)
    landing._land(report, nullcontext(Source(breaking(), lambda: 0.0)))
    report.refresh_from_db()
    assert (report.state, report.error, report.comparisons_added) == ("failed", "The file breaks off.", 10)
    assert written == ["rows", "ready", "ready", "ready"]


def test_rows_of_one_prompt_stay_together_but_not_without_end(written: list[str]) -> None:
    def sizes(*prompts: str) -> list[int]:
        rows = [(n, read_row({**PAIR, "prompt": prompt})) for n, prompt in enumerate(prompts)]
        return [len(batch) for batch in landing._batches(iter(rows), "")]

    assert sizes(*"abcdefg") == [3, 3, 1]
    assert sizes(*"abccdef") == [4, 3]
    assert sizes(*"aaaaaaaaaaaaab") == [6, 6, 2]


def test_no_connection_is_left_behind(project: Project, written: list[str]) -> None:
    def sessions() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            [(found,)] = cursor.fetchall()
        return int(found)

    before = sessions()
    bring(project, *ROWS)
    assert "ready" in written
    until = time.monotonic() + 10
    while sessions() > before and time.monotonic() < until:  # a server's process ends in its own time
        time.sleep(0.05)
    assert sessions() <= before
