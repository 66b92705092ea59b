"""What copied rows refer to is there, whoever checks it: the database row by row, or we by sets."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import Model

from annotation.importing import copying, landing, writing
from annotation.importing.copying import copy_rows
from annotation.importing.ready import Ready
from annotation.importing.references import check_references, foreign_keys
from annotation.importing.writing import Landed
from annotation.models import Comparison, Judgment, Preference, Project, Prompt, Response
from annotation.models.counts import VoteCount
from tests.annotation.test_importing import PAIR, bring

COPIED = [Prompt, Response, Comparison, Judgment, Preference]
GONE = 10**12


def broken_references() -> list[str]:
    """The names of all foreign keys of the copied tables that some row breaks."""
    found = []
    with connection.cursor() as cursor:
        for model in COPIED:
            for key in foreign_keys(model._meta.db_table):
                cursor.execute(key.broken_in(model._meta.db_table), [0, 10**18])
                if cursor.fetchone() == (True,):
                    found.append(key.name)
    return found


ACCOUNTS = ["superuser", "account with the right", "plain account"]


@pytest.fixture(params=["superuser", "plain account"])
def who_checks(
    request: pytest.FixtureRequest, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Who imports. Of a plain account, that of many a server, the database checks every row; of the others we do."""
    checked: list[type[Model]] = []

    def noted(model: type[Model], *which: Any) -> None:
        checked.append(model)
        check_references(model, *which)

    monkeypatch.setattr(copying, "check_references", noted)
    if request.param == "superuser":
        yield request.param
    else:
        with connection.cursor() as cursor:
            cursor.execute("CREATE ROLE plain_account")
            cursor.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO plain_account")
            cursor.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO plain_account")
            if request.param == "account with the right":
                cursor.execute("GRANT SET ON PARAMETER session_replication_role TO plain_account")
            cursor.execute("SET ROLE plain_account")
        yield request.param
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")
            cursor.execute("DROP OWNED BY plain_account")
            cursor.execute("DROP ROLE plain_account")
    assert bool(checked) == (request.param != "plain account")


ROWS = [{**PAIR, "prompt": f"Question {n}", "strength": 2} for n in range(5)]


@pytest.mark.parametrize("who_checks", ACCOUNTS, indirect=True)
def test_pairs_and_votes_land_and_refer_to_what_is_there(who_checks: str, project: Project) -> None:
    report = bring(project, *ROWS, PAIR, judged_by="some-set")
    report = bring(project, *ROWS, {**PAIR, "chosen": "Else."}, judged_by="some-set")
    assert (report.comparisons_added, report.judgments_added, report.duplicates, report.errors) == (1, 1, 5, [])
    assert Preference.objects.count() == 7
    assert broken_references() == []


@pytest.mark.parametrize("who_checks", ACCOUNTS, indirect=True)
def test_pairs_that_were_made_ready_refer_to_what_is_there(
    who_checks: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "BATCH", 2)
    roles: list[str] = []
    write = landing.write_ready

    def write_and_look(ready: Ready) -> Landed:
        landed = write(ready)
        with connection.cursor() as cursor:
            cursor.execute("SHOW session_replication_role")
            roles.extend(role for (role,) in cursor.fetchall())
        return landed

    monkeypatch.setattr(landing, "write_ready", write_and_look)
    report = bring(project, *ROWS)
    assert (report.comparisons_added, report.errors) == (5, [])
    assert broken_references() == []
    assert roles == ["origin", "origin"]  # the server checks again whatever comes after in the same transaction


# (table, its columns, a line whose {} is where it names a row)
LINES = [
    (
        Prompt,
        "id project_id messages metadata content_hash created_at",
        "5\t{}\t[]\t{{}}\tx\t2026-01-01",
    ),
    (
        Response,
        "id prompt_id text author_label sampling content_hash created_at",
        "5\t{}\tx\t\t{{}}\tx\t2026-01-01",
    ),
    (
        Comparison,
        "id project_id prompt_id response_ids purpose priority judgments_wanted depth created_at",
        "5\t{project}\t{}\t{{1,2}}\tcollect\t0\t1\t0\t2026-01-01",
    ),
]


@pytest.mark.parametrize(("model", "columns", "line"), LINES, ids=lambda part: getattr(part, "__name__", ""))
def test_a_row_that_names_nothing_is_refused(
    who_checks: str, project: Project, model: type[Model], columns: str, line: str
) -> None:
    with pytest.raises(IntegrityError, match="foreign key"), transaction.atomic():
        copy_rows(model, columns.split(), [5], [line.format(GONE, project=project.pk)])
    assert not model.objects.exists()


def test_a_vote_on_a_seat_that_the_comparison_does_not_want_is_refused(
    who_checks: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key behind the seats is declared by no model: the catalogue tells of it."""
    copy = writing.copy_rows

    def copy_with_more_seats(model: Any, columns: Any, ids: Any, lines: Any) -> None:
        place = columns.index("judgments_wanted") if model is Comparison else None
        cells = (line.split("\t") for line in lines)
        copy(
            model, columns, ids, ("\t".join("3" if n == place else cell for n, cell in enumerate(row)) for row in cells)
        )

    monkeypatch.setattr(writing, "copy_rows", copy_with_more_seats)
    report = bring(project, PAIR, judged_by="some-set")
    assert "foreign key" in report.errors[0]["reason"]
    assert (report.judgments_added, Comparison.objects.count()) == (0, 0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", ["annotation_prompt", "annotation_project"])
def test_what_a_batch_refers_to_cannot_be_deleted_meanwhile(
    project: Project, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    bring(project, PAIR)
    refused: list[str] = []
    copy = writing.copy_rows

    def copy_after_a_deletion(*arguments: Any) -> None:
        other = threading.Thread(target=delete_all, args=(table, refused))
        other.start()
        other.join(timeout=30)
        copy(*arguments)

    monkeypatch.setattr(writing, "copy_rows", copy_after_a_deletion)
    report = bring(project, {**PAIR, "chosen": "Else."}, judged_by="some-set")
    assert len(refused) == len(COPIED)  # tried before each of the tables is written
    assert (report.comparisons_added, report.errors, broken_references()) == (1, [], [])


def delete_all(table: str, refused: list[str]) -> None:
    """Delete its rows, unless another transaction holds one for a fifth of a second."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '200ms'")
            cursor.execute(f"DELETE FROM {table}")
    except OperationalError as error:
        refused.append(str(error))
    finally:
        connection.close()


@pytest.mark.django_db
def test_every_trigger_that_counts_rows_counts_copied_ones() -> None:
    """In the role that rows are copied in, a trigger fires only if it is enabled always."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'A'"
            " AND tgtype & 4 = 4 AND tgrelid::regclass::text = ANY(%s)",  # 4: on INSERT
            [[model._meta.db_table for model in COPIED]],
        )
        assert cursor.fetchall() == []


@pytest.mark.django_db
def test_nothing_unique_is_checked_later_on_the_tables_that_are_copied() -> None:
    """A deferrable unique constraint is checked by a trigger too, which is left out in the role of replication."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conname FROM pg_constraint WHERE contype IN ('u', 'p', 'x') AND condeferrable"
            " AND conrelid::regclass::text = ANY(%s)",
            [[model._meta.db_table for model in COPIED]],
        )
        assert cursor.fetchall() == []


@pytest.mark.django_db(transaction=True)
def test_what_is_copied_is_counted(project: Project) -> None:
    bring(project, *ROWS)
    bring(project, PAIR, {**PAIR, "chosen": "Else."}, judged_by="some-set")
    counted = Project.objects.with_progress().get(pk=project.pk)
    assert (counted.judgments_wanted, counted.judgments_done) == (7, 2)
    assert VoteCount.objects.of_sources(project) == [("some-set", 2)]
