"""Votes, comparisons, preferences, import and export over the API: for managers."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from annotation.exporting.files import FILES
from annotation.exporting.streaming import export_bytes
from annotation.exporting.wanted import Wanted
from annotation.models import Comparison, ImportReport, Judgment, Project, User
from annotation.services import AnswerIn, add_comparison, create_project, record_judgment
from api.endpoints import imports
from tests.annotation.conftest import MakeComparison
from tests.api.conftest import ROOT, Program, ProgramOf, error_of

HERE = "/projects/everyday-help"
PAIR = b'{"prompt": "Why?", "chosen": "Because of this.", "rejected": "No idea.", "strength": 2}\n'
LISTS = ("judgments", "comparisons", "preferences", "imports")


@pytest.fixture
def program(manager: User, project: Project, program_of: ProgramOf) -> Program:
    return program_of(manager)


def test_a_manager_reads_everybodys_votes(
    program: Program, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison(judgments_wanted=2)
    first, second = comparison.response_ids
    record_judgment(comparison=comparison, annotator=ann, tiers=[[second], [first]], strength=3, reason="clearer")
    record_judgment(comparison=comparison, annotator=ben, tiers=[[first, second]], both_bad=True)

    by_ann, by_ben = program.get(f"{HERE}/judgments").json()["items"]
    assert (by_ann["annotator"], by_ann["tiers"], by_ann["strength"], by_ann["reason"]) == (
        "ann",
        [[second], [first]],
        3,
        "clearer",
    )
    assert (by_ben["annotator"], by_ben["both_bad"], by_ben["strength"]) == ("ben", True, None)
    assert [one["annotator"] for one in program.get(f"{HERE}/judgments", annotator="ben").json()["items"]] == ["ben"]
    assert len(program.get(f"{HERE}/judgments", comparison=comparison.pk).json()["items"]) == 2


def test_votes_that_were_taken_back_come_only_when_asked_for(
    program: Program, ann: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    record_judgment(comparison=comparison, annotator=ann, tiers=[[pk] for pk in comparison.response_ids])
    Judgment.objects.update(withdrawn_at="2026-01-01T00:00:00Z")
    assert program.get(f"{HERE}/judgments").json()["items"] == []
    (taken_back,) = program.get(f"{HERE}/judgments", withdrawn="true").json()["items"]
    assert taken_back["withdrawn_at"].startswith("2026-01-01T00:00:00")


def test_a_manager_sees_comparisons_with_texts_and_authors(program: Program, make_comparison: MakeComparison) -> None:
    comparison = make_comparison()
    (seen,) = program.get(f"{HERE}/comparisons").json()["items"]
    assert (seen["id"], seen["judgments_wanted"], seen["judgments_done"]) == (comparison.pk, 1, 0)
    assert [one["id"] for one in seen["responses"]] == comparison.response_ids
    assert [one["author"] for one in seen["responses"]] == ["model-one", ""]
    assert seen["prompt"]["messages"] == [{"role": "user", "content": "Question 1?"}]


def test_a_manager_reads_the_preferences_that_follow(
    program: Program, ann: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    judgment = record_judgment(comparison=comparison, annotator=ann, tiers=[[pk] for pk in comparison.response_ids])
    (seen,) = program.get(f"{HERE}/preferences").json()["items"]
    assert (seen["judgment"], seen["weight"], seen["strength"]) == (judgment.pk, 1.0, None)
    assert (seen["chosen"]["text"], seen["rejected"]["text"]) == ("First answer 1", "Second answer 1")


@pytest.fixture
def judged(project: Project, ann: User, ben: User, make_comparison: MakeComparison) -> Project:
    """Three pairs that Ann judged, one of them judged by Ben too, the other way."""
    for n in range(3):
        comparison = make_comparison(judgments_wanted=2)
        first, second = comparison.response_ids
        record_judgment(comparison=comparison, annotator=ann, tiers=[[first], [second]], strength=3)
        if n == 0:
            record_judgment(comparison=comparison, annotator=ben, tiers=[[second], [first]])
    return project


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, Wanted()),
        ({"shape": "preference-text", "margin": "true"}, Wanted(shape="preference-text", margin=True)),
        ({"shape": "votes", "file": "csv"}, Wanted(shape="votes", file="csv")),
        ({"votes": "majority", "agreement": "0.9"}, Wanted(votes="majority", agreement=0.9)),
        ({"since": "2999-01-01T00:00:00Z"}, Wanted(since=datetime(2999, 1, 1, tzinfo=UTC))),
        ({"purpose": "gold"}, Wanted(purpose="gold")),
    ],
)
def test_the_export_is_the_pages_export_streamed(
    program: Program, judged: Project, asked: dict[str, str], wanted: Wanted
) -> None:
    response = program.get(f"{HERE}/export", **asked)
    assert response.streaming
    assert b"".join(response.streaming_content) == b"".join(export_bytes(judged, wanted))
    assert response.headers["Content-Type"] == FILES[wanted.file].CONTENT_TYPE


def test_the_export_can_be_of_some_peoples_votes(program: Program, judged: Project) -> None:
    def count(*names: str) -> int:
        response = program.get(f"{HERE}/export", annotators=list(names))
        return len(b"".join(response.streaming_content).splitlines())

    assert (count(), count("ann"), count("ben"), count("ann", "ben"), count("mara")) == (4, 3, 1, 4, 0)


def refused(response: Any) -> dict[str, str]:
    assert error_of(response) == (422, "invalid")
    return {field["where"]: field["problem"] for field in response.json()["error"]["fields"]}


def test_a_filter_by_somebody_who_is_not_of_the_project_is_refused(
    program: Program, judged: Project, stranger: User
) -> None:
    """Somebody of the site is told of as nobody is."""
    there = "There are: ann, ben, mara."
    for name in ("nobody-here", stranger.username):
        no_such = f"There is no member or voter {name!r}. {there}"
        assert refused(program.get(f"{HERE}/export", annotators=["ann", name])) == {"annotators.1": no_such}
        assert refused(program.get(f"{HERE}/judgments", annotator=name)) == {"annotator": no_such}
    told = refused(program.get(f"{HERE}/judgments", annotator="bem"))
    assert told == {"annotator": "There is no member or voter 'bem'. Did you mean 'ben'?"}


def test_who_voted_and_left_can_still_be_asked_for(program: Program, judged: Project, ann: User) -> None:
    judged.memberships.filter(user=ann).delete()
    program.upload(f"{HERE}/imports?judged_by=a-data-set", PAIR)
    assert len(program.get(f"{HERE}/judgments", annotator="ann").json()["items"]) == 3
    assert len(program.get(f"{HERE}/judgments", annotator="a-data-set").json()["items"]) == 1


def test_votes_on_a_comparison_of_another_project_are_refused(program: Program, judged: Project) -> None:
    other = create_project(name="Other")
    asked = [{"role": "user", "content": "Which?"}]
    answers = [AnswerIn("x"), AnswerIn("y")]
    comparison = add_comparison(project=other, messages=asked, responses=answers)
    for pk in (comparison.pk, 2**63 - 1):
        told = refused(program.get(f"{HERE}/judgments", comparison=pk))
        assert told == {"comparison": "The project has no such comparison."}


NO_MOMENT = "It must be a day and a time, such as 2026-01-31T09:00:00Z. In an address + is written %2B."
DAY = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"since": DAY, "before": DAY}, {"before": "It must be later than since."}),
        ({"since": DAY, "before": "2025-12-31T23:59:59Z"}, {"before": "It must be later than since."}),
        ({"since": "20260101"}, {"since": NO_MOMENT}),
        (
            {"before": "2026-01-01"},
            {"before": NO_MOMENT},
        ),
        (
            {"before": "2026-01-01T00:00:00"},
            {"before": NO_MOMENT},
        ),
        ({"since": "0001-01-01T00:00:00+14:00"}, {"since": "There is no such moment in UTC."}),
        ({"before": "9999-12-31T23:00:00-10:00"}, {"before": "There is no such moment in UTC."}),
        (
            {"margin": "true", "shape": "votes"},
            {"margin": "Rows of this shape have none. Ask for preference, preference-text."},
        ),
        (
            {"votes": "soft", "shape": "kto"},
            {"votes": "It does not go with rows of this shape. Ask for raw, majority."},
        ),
        ({"votes": "majority", "shape": "votes"}, {"votes": "It does not go with rows of this shape. Ask for raw."}),
    ],
)
def test_a_filter_that_nothing_passes_is_refused(
    program: Program, judged: Project, asked: dict[str, str], told: dict[str, str]
) -> None:
    assert refused(program.get(f"{HERE}/export", **asked)) == told


@pytest.mark.parametrize("asked", [{}, {"shape": "preference-text"}, {"shape": "votes"}, {"shape": "llama-factory"}])
def test_rows_of_pairs_are_refused_where_every_answer_was_judged_alone(
    program: Program, project: Project, ann: User, make_comparison: MakeComparison, asked: dict[str, str]
) -> None:
    Project.objects.update(kind=Project.Kind.SINGLE)
    alone = make_comparison(responses=[AnswerIn("The only answer")])
    [answer] = alone.response_ids
    record_judgment(comparison=alone, annotator=ann, tiers=[[answer]], acceptable={answer: True})
    told = "Nothing here can be such a row: the answers were judged one at a time. Ask for kto, sft."
    assert refused(program.get(f"{HERE}/export", **asked)) == {"shape": told}
    [row] = b"".join(program.get(f"{HERE}/export", shape="kto").streaming_content).splitlines()
    assert b"The only answer" in row


@pytest.mark.parametrize("asked", [{"shape": "pickle"}, {"file": "exe"}, {"agreement": 2}, {"since": "soon"}])
def test_an_export_of_no_known_kind_is_refused(program: Program, asked: dict[str, object]) -> None:
    assert error_of(program.get(f"{HERE}/export", **asked)) == (422, "invalid")


@pytest.mark.parametrize(
    "some", [{"since": "2026-01-01T00:00:00Z"}, {"before": "2999-01-01T00:00:00Z"}, {"annotators": ["mara"]}]
)
def test_a_probability_by_all_votes_is_not_told_of_some(program: Program, some: dict[str, object]) -> None:
    assert error_of(program.get(f"{HERE}/export", votes="weighted", **some)) == (422, "invalid")
    assert program.get(f"{HERE}/export", votes="soft", **some).status_code == 200
    assert program.get(f"{HERE}/export", votes="weighted").status_code == 200


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("count", [1, 12])
def test_a_list_asks_the_database_as_often_for_few_as_for_many(
    program: Program,
    ann: User,
    make_comparison: MakeComparison,
    django_assert_max_num_queries: Callable[..., object],
    name: str,
    count: int,
) -> None:
    for n in range(count):
        comparison = make_comparison()
        record_judgment(comparison=comparison, annotator=ann, tiers=[[pk] for pk in comparison.response_ids])
        program.upload(f"{HERE}/imports", f'{{"prompt": "Why {n}?", "responses": ["Yes.", "No."]}}\n'.encode())
    with django_assert_max_num_queries(4):  # the token, the project, the rows, their responses
        assert len(program.get(f"{HERE}/{name}").json()["items"]) >= count


def test_a_list_comes_in_pages_that_miss_and_double_nothing_while_rows_are_added(
    program: Program, make_comparison: MakeComparison
) -> None:
    made = [make_comparison().pk for _ in range(5)]
    seen, cursor = [], ""
    for expected in (2, 2, 2, 0):
        page = program.get(f"{HERE}/comparisons", limit=2, cursor=cursor).json()
        seen += [one["id"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        assert len(page["items"]) == expected
        if len(seen) == 2:
            made.append(make_comparison().pk)
    assert cursor is None
    assert seen == made


@pytest.mark.parametrize("cursor", ["x", "UHJvbXB0OjE=", "Q29tcGFyaXNvbjo=", "Q29tcGFyaXNvbjotMQ==", "é"])
def test_a_cursor_of_another_list_or_of_none_is_refused(program: Program, cursor: str) -> None:
    assert list(refused(program.get(f"{HERE}/comparisons", cursor=cursor))) == ["cursor"]


@pytest.mark.parametrize("limit", [0, 501, "many"])
def test_a_page_is_neither_empty_nor_endless(program: Program, limit: object) -> None:
    assert error_of(program.get(f"{HERE}/comparisons", limit=limit)) == (422, "invalid")


def test_a_file_is_imported_and_its_bad_rows_are_told(program: Program, manager: User) -> None:
    answer = program.upload(f"{HERE}/imports?author_label=theirs&file_name=pairs.jsonl", PAIR + b"not json\n")

    report = answer.json()
    assert answer.status_code == 201
    assert (report["rows"], report["comparisons_added"], report["error_count"]) == (2, 1, 1)
    assert (report["state"], report["error"]) == ("succeeded", "")
    assert report["errors"][0]["line"] == 2
    assert report["finished_at"] is not None
    kept = ImportReport.objects.get()
    assert (kept.created_by, kept.file_name) == (manager, "pairs.jsonl")
    assert {one.author_label for one in Comparison.objects.get().prompt.responses.all()} == {"theirs"}
    assert program.get(f"{HERE}/imports/{kept.pk}").json() == report
    assert error_of(program.get(f"{HERE}/imports/{kept.pk + 1}")) == (404, "not_found")


def test_the_rows_shape_may_be_told(program: Program) -> None:
    row = b'{"prompt": "Why?", "chosen": "So.", "rejected": "Hm.", "responses": ["One.", "Two.", "Three."]}\n'
    assert program.upload(f"{HERE}/imports", row).json()["comparisons_added"] == 3
    assert program.upload(f"{HERE}/imports?shape=preference", row).json()["comparisons_added"] == 1
    assert list(refused(program.upload(f"{HERE}/imports?shape=pickle", row))) == ["shape"]


def test_a_file_sent_twice_adds_nothing_twice(program: Program) -> None:
    reports = [program.upload(f"{HERE}/imports?judged_by=a-data-set", PAIR).json() for _ in range(2)]
    assert [report["judgments_added"] for report in reports] == [1, 0]
    assert reports[1]["duplicates"] == 1
    assert Judgment.objects.get().annotator.username == "a-data-set"


@pytest.mark.parametrize("name", ["ann", "ANN"])
def test_nobody_votes_in_a_persons_name_by_import(program: Program, ann: User, name: str) -> None:
    assert list(refused(program.upload(f"{HERE}/imports?judged_by={name}", PAIR))) == ["judged_by"]
    assert not ImportReport.objects.exists()


def test_an_annotator_imports_nothing(ann: User, project: Project, program_of: ProgramOf) -> None:
    assert error_of(program_of(ann).upload(f"{HERE}/imports", PAIR)) == (404, "not_found")
    assert not Comparison.objects.exists()


CSV = b"prompt,chosen,rejected\nWhy?,So.,Hm.\n"


@pytest.mark.parametrize(
    "file",
    [PAIR, gzip.compress(PAIR, mtime=0), b"[" + PAIR.strip() + b"]", CSV, gzip.compress(CSV, mtime=0)],
    ids=["lines", "packed lines", "list", "table", "packed table"],
)
def test_a_file_is_told_by_what_is_in_it_as_on_the_page(program: Program, file: bytes) -> None:
    report = program.upload(f"{HERE}/imports", file).json()
    assert (report["rows"], report["comparisons_added"], report["error_count"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (b"\n", "The file is empty."),
        (b"PK\x03\x04", "This is a ZIP archive. Unpack it, and send the file that is in it."),
        (b"GIF89a", "The file is none of JSON Lines, a JSON list, CSV and Parquet."),
        (gzip.compress(PAIR, mtime=0)[:10], "The file cannot be unpacked"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(program: Program, file: bytes, problem: str) -> None:
    told = refused(program.upload(f"{HERE}/imports", file))
    assert list(told) == ["body"]
    assert told["body"].startswith(problem)
    assert not ImportReport.objects.exists()


def test_what_stands_before_the_break_of_a_packed_file_lands_and_the_report_tells_of_the_break(
    program: Program,
) -> None:
    report = program.upload(f"{HERE}/imports", gzip.compress(PAIR, mtime=0)[:-9]).json()
    assert (report["state"], report["rows"], report["comparisons_added"]) == ("failed", 1, 1)
    assert "The file cannot be unpacked" in report["error"]


def test_a_form_is_no_file(program: Program) -> None:
    file = SimpleUploadedFile("pairs.jsonl", PAIR)
    answer = program.client.post(f"{ROOT}{HERE}/imports", {"file": file}, headers=program.headers)
    assert refused(answer) == {
        "Content-Type": "Send the file itself as the body, not a form: curl --data-binary @FILE."
    }
    assert not ImportReport.objects.exists()


def test_a_file_that_is_too_long_is_refused_before_it_is_read(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "LARGEST_UPLOAD", len(PAIR) - 1)
    assert error_of(program.upload(f"{HERE}/imports", PAIR)) == (413, "too_large")
    assert not ImportReport.objects.exists()


def test_another_projects_import_is_not_there(
    program: Program, project: Project, manager: User, stranger: User, program_of: ProgramOf
) -> None:
    pk = program.upload(f"{HERE}/imports", PAIR).json()["id"]
    assert json.loads(program.get(f"{HERE}/imports/{pk}").content)["id"] == pk
    assert error_of(program_of(stranger).get(f"{HERE}/imports/{pk}")) == (404, "not_found")
