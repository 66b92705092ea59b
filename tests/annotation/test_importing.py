"""What a file's rows become, and what is said of those that are none."""

import json
import threading
from contextlib import suppress
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotation.importing import landing, writing
from annotation.importing.copying import new_ids
from annotation.importing.formats import jsonl
from annotation.importing.formats.raw import LONGEST_ROW
from annotation.importing.landing import BATCH
from annotation.importing.reading import read_row, shaped
from annotation.importing.rows import Row
from annotation.models import Comparison, ImportReport, Judgment, Preference, Project, Prompt, Response, User
from annotation.services import AnswerIn, add_comparison
from tests.importing import import_rows

USER = {"role": "user", "content": "Why?"}
PAIR = {"prompt": "Why?", "chosen": "Because.", "rejected": "No."}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def lines_of(*rows: object) -> BytesIO:
    return BytesIO(b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows) + b"\n")


def bring(project: Project, *rows: object, **more: Any) -> ImportReport:
    return import_rows(project=project, file=lines_of(*rows), **more)


def texts(comparison: Comparison) -> set[str]:
    return set(Response.objects.filter(pk__in=comparison.response_ids).values_list("text", flat=True))


@pytest.mark.parametrize(
    "row",
    [
        PAIR,
        {"prompt": [USER], "chosen": [said("Because.")], "rejected": [said("No.")]},
        {"chosen": [USER, said("Because.")], "rejected": [USER, said("No.")]},
        {"messages": [USER], "chosen": "Because.", "rejected": "No."},
        {"prompt": [{"role": "user", "content": [{"type": "text", "text": "Wh"}, {"type": "text", "text": "y?"}]}],
         "chosen": "Because.", "rejected": "No.", "score_chosen": 3.5},
    ],
    ids=["texts", "messages", "implicit prompt", "messages as the prompt", "content parts"],
)  # fmt: skip
def test_every_form_of_a_pair_becomes_the_same_comparison(project: Project, row: dict[str, Any]) -> None:
    report = bring(project, row)
    assert (report.rows, report.comparisons_added, report.error_count) == (1, 1, 0)
    comparison = Comparison.objects.get()
    assert comparison.prompt.messages == [USER]
    assert texts(comparison) == {"Because.", "No."}
    assert (comparison.judgments_wanted, comparison.depth, comparison.closed_at) == (project.overlap, 0, None)
    assert not Judgment.objects.exists()


def test_a_conversation_and_a_system_text_stay_whole(project: Project) -> None:
    turns = [USER, said("Why what?"), {"role": "user", "content": "Why rain?"}]
    bring(project, {**PAIR, "prompt": turns, "system": "Be brief.", "metadata": {"source": "ünïcode", "n": [1]}})
    prompt = Prompt.objects.get()
    assert prompt.messages == [{"role": "system", "content": "Be brief."}, *turns]
    assert prompt.metadata == {"source": "ünïcode", "n": [1]}


def test_responses_become_one_comparison_for_every_pair(project: Project) -> None:
    answers = ["one", [said("two")], {"text": "three", "author": "model-x"}, "one"]
    report = bring(project, {"prompt": "Count.", "responses": answers}, author_label="file")
    assert (report.comparisons_added, report.error_count) == (3, 0)
    assert {frozenset(texts(comparison)) for comparison in Comparison.objects.all()} == {
        frozenset({"one", "two"}), frozenset({"one", "three"}), frozenset({"two", "three"})
    }  # fmt: skip
    assert dict(Response.objects.values_list("text", "author_label")) == {
        "one": "file",
        "two": "file",
        "three": "model-x",
    }


def test_with_a_source_the_votes_are_kept_and_nobody_is_asked(project: Project) -> None:
    report = bring(project, {**PAIR, "strength": 2}, judged_by="some-dataset")
    assert (report.comparisons_added, report.judgments_added) == (1, 1)
    comparison, judgment, preference = Comparison.objects.get(), Judgment.objects.get(), Preference.objects.get()
    assert (comparison.judgments_wanted, comparison.depth) == (1, 1)
    assert comparison.closed_at is not None
    assert (judgment.annotator.username, judgment.seat, judgment.seats, judgment.strength) == ("some-dataset", 1, 1, 2)
    assert (preference.chosen.text, preference.rejected.text, preference.strength) == ("Because.", "No.", 2)
    source = User.objects.get(username="some-dataset")
    assert (source.is_active, source.has_usable_password()) == (False, False)


@pytest.mark.parametrize("judged_by", ["", "some-dataset"])
def test_the_same_file_twice_adds_nothing(project: Project, judged_by: str) -> None:
    rows = [PAIR, {"prompt": "Count.", "responses": ["one", "two", "three"]}, PAIR]
    first = bring(project, *rows, judged_by=judged_by)
    assert (first.comparisons_added, first.duplicates) == (4, 1)
    counts = [model.objects.count() for model in (Prompt, Response, Comparison, Judgment, Preference)]

    second = bring(project, *rows, judged_by=judged_by)

    assert (second.comparisons_added, second.judgments_added, second.duplicates) == (0, 0, 5)
    assert [model.objects.count() for model in (Prompt, Response, Comparison, Judgment, Preference)] == counts


def test_a_pair_and_its_mirror_are_one_comparison(project: Project) -> None:
    bring(project, PAIR, {**PAIR, "chosen": PAIR["rejected"], "rejected": PAIR["chosen"]})
    assert Comparison.objects.count() == 1


def settled(*, decided: int, others: list[int], source: str) -> dict[str, Any]:
    """A row of our export of votes, by scores, the decision among them."""
    votes = [{"score": score, "annotator": f"{source}{n}"} for n, score in enumerate(others)]
    decision = {"score": decided, "annotator": f"{source}-rev", "decides": True}
    return {
        "context": [USER],
        "response1": "Because.",
        "response2": "No.",
        "overall_preference": 0,
        "individual_preference": [decision, *votes],
    }


def test_a_decision_in_a_file_settles_the_pair_whichever_vote_comes_first(project: Project) -> None:
    bring(project, settled(decided=2, others=[-3, -1], source="a"), judged_by="x")
    comparison = Comparison.objects.get()
    assert (comparison.judgments_wanted, comparison.depth) == (3, 3)
    taught = Preference.objects.get()
    assert (taught.chosen.text, taught.judgment.decides, taught.judgment.annotator.username) == ("No.", True, "x.a-rev")


def test_a_settled_pair_takes_votes_and_another_decision_as_votes_that_teach_nothing(project: Project) -> None:
    bring(project, settled(decided=2, others=[], source="a"), judged_by="x")
    report = bring(project, settled(decided=-2, others=[-3], source="b"), judged_by="x")
    assert report.judgments_added == 2
    assert Judgment.objects.standing().count() == 3
    assert [decision.annotator.username for decision in Judgment.objects.decisions()] == ["x.a-rev"]
    assert Preference.objects.get().chosen.text == "No."


def test_votes_for_pairs_that_are_there_land_on_a_free_seat_or_one_more(project: Project, ann: User) -> None:
    bring(project, PAIR)
    report = bring(project, PAIR, judged_by="some-dataset")
    assert (report.comparisons_added, report.duplicates, report.judgments_added) == (0, 1, 1)
    comparison = Comparison.objects.get()
    assert comparison.depth == 1
    assert Preference.objects.get().chosen.text == "Because."
    # The seats are taken now: another source's vote gets one of its own, and is not lost.
    assert bring(project, PAIR, judged_by="other-dataset").judgments_added == 1
    comparison.refresh_from_db()
    assert (comparison.judgments_wanted, comparison.depth) == (2, 2)
    assert comparison.closed_at is not None


def test_the_same_texts_in_two_projects_are_two_comparisons(project: Project) -> None:
    other = Project.objects.create(name="Other", slug="other")
    bring(project, PAIR)
    assert bring(other, PAIR).comparisons_added == 1


@pytest.mark.parametrize("name", ["ann", "retired", "no spaces", "x" * 151])
def test_a_source_is_not_a_person(project: Project, name: str) -> None:
    User.objects.create_user(username="retired", password="secret", is_active=False)
    with pytest.raises(ValidationError):
        bring(project, PAIR, judged_by=name)
    assert not ImportReport.objects.exists()


BAD = [
    (b"nope", "not JSON"),
    (b'{"prompt": "Why?"', "not JSON"),
    (b"[1, 2]", "not a JSON object"),
    (b'"text"', "not a JSON object"),
    (b"\xff\xfe{", "not UTF-8"),
    (b'{"prompt": "Why?", "chosen": NaN, "rejected": "b"}', "NaN, which is not JSON"),
    (b"[" * 100_000, "nested too deep"),
    (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "nested too deep"),
    (b'{"n": ' + b"9" * 10_000 + b"}", "not JSON"),
    ({"prompt": "Why?"}, "none of the known shapes"),
    ({"chosen": "a", "rejected": "b"}, "There is no prompt"),
    ({"chosen": [said("a")], "rejected": [said("b")]}, "chosen is not a conversation that ends with a message"),
    ({"chosen": [USER, said("a")], "rejected": [{**USER, "content": "Who?"}, said("b")]}, "same conversation"),
    ({"chosen": [USER, USER], "rejected": [USER, said("b")]}, "chosen is not a conversation that ends with"),
    ({**PAIR, "chosen": "No."}, "the same text"),
    ({**PAIR, "chosen": 5}, "chosen is not a text"),
    ({**PAIR, "rejected": "  "}, "rejected is empty"),
    ({**PAIR, "prompt": ""}, "prompt is empty"),
    ({**PAIR, "prompt": []}, "neither a text nor a list"),
    ({**PAIR, "prompt": {"role": "user"}}, "neither a text nor a list"),
    ({**PAIR, "prompt": ["Why?"]}, "message 1 is not an object"),
    ({**PAIR, "prompt": [{"role": "tool", "content": "x"}]}, "none of the roles"),
    ({**PAIR, "prompt": [{"role": ["user"], "content": "x"}]}, "none of the roles"),
    ({**PAIR, "prompt": [{"role": "user", "content": None}]}, "content is not a text"),
    ({**PAIR, "prompt": [{"role": "user", "content": [{"type": "image"}]}]}, "a part that is not text"),
    ({**PAIR, "prompt": [USER, said("a")]}, "does not end with a message of the user"),
    ({**PAIR, "prompt": [USER, {"role": "system", "content": "x"}, USER]}, "system message comes after"),
    ({**PAIR, "prompt": [{"role": "system", "content": "x"}, USER], "system": "y"}, "system is given twice"),
    ({**PAIR, "chosen": [said("a"), said("b")]}, "not one message of the assistant"),
    ({**PAIR, "chosen": "a\x00"}, "NUL"),
    (b'{"prompt": "Why?", "chosen": "\\ud800", "rejected": "b"}', "half a character"),
    ({**PAIR, "chosen": "x" * 200_001}, "200,001 characters"),
    ({**PAIR, "strength": 4}, "strength is none of"),
    ({**PAIR, "strength": True}, "strength is none of"),
    ({**PAIR, "metadata": [1]}, "metadata is not an object"),
    ({**PAIR, "metadata": {"a": "\x00"}}, "NUL"),
    ({**PAIR, "metadata": {"\x00": 1}}, "NUL"),
    (b'{"prompt": "W?", "chosen": "a", "rejected": "b", "metadata": {"a": 1e999}}', "The database refused the row"),
    (b'{"prompt": "W?", "chosen": "a", "rejected": "b", "metadata": ' + b'{"a":' * 60 + b"1" + b"}" * 61, "too deep"),
    ({"prompt": "Why?", "responses": "a"}, "responses is not a list"),
    ({"prompt": "Why?", "responses": ["a"]}, "fewer than two different"),
    ({"prompt": "Why?", "responses": ["a", "a"]}, "fewer than two different"),
    ({"prompt": "Why?", "responses": [str(n) for n in range(10)]}, "at most 9"),
    ({"prompt": "Why?", "responses": ["a", {"text": "b", "author": 5}]}, "author is not a text"),
    ({"prompt": "Why?", "responses": ["a", None]}, "Response 2 is not a text"),
    (b'"' + b"x" * LONGEST_ROW + b'"', "longer than 2,000,000 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_a_bad_row_is_named_by_line_and_reason_and_its_neighbours_land(
    project: Project, bad: object, reason: str
) -> None:
    report = bring(project, PAIR, b"", bad, {**PAIR, "prompt": "And?"})

    assert [error["line"] for error in report.errors] == [3]
    assert reason in report.errors[0]["reason"]
    assert (report.rows, report.error_count, report.comparisons_added) == (3, 1, 2)
    assert {prompt.messages[0]["content"] for prompt in Prompt.objects.all()} == {"Why?", "And?"}
    assert report.finished_at is not None


MESSAGE = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system", 1]), "content": st.text()})
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | MESSAGE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["prompt", "messages", "chosen", "rejected", "responses", "system", "metadata", "strength"]
LINE = st.binary(max_size=200) | st.dictionaries(st.sampled_from(KEYS), VALUE).map(lambda row: json.dumps(row).encode())


# The first draw on a fresh machine builds tables of characters, which counts as slow.
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LINE)
def test_whatever_a_line_holds_it_is_a_row_or_a_reason(line: bytes) -> None:
    found = list(shaped(jsonl.read(BytesIO(line))))
    assert found or not line.strip(b" \t\r\n\xef\xbb\xbf")
    assert all(row and (isinstance(row, Row) or str(row)) for _, row in found)


def test_the_reason_against_a_broken_line_tells_the_character_in_it(project: Project) -> None:
    report = bring(project, PAIR, b'{"prompt": ')
    assert report.errors == [{"line": 2, "reason": "The line is not JSON: Expecting value (character 11)."}]


def test_more_rows_than_a_batch_all_land(project: Project) -> None:
    report = bring(project, *({**PAIR, "prompt": f"Question {n}"} for n in range(BATCH + 3)), b"bad")
    assert (report.comparisons_added, report.error_count) == (BATCH + 3, 1)
    assert report.errors[0]["line"] == BATCH + 4
    assert Comparison.objects.count() == BATCH + 3


NASTY = ["\\", "\\N", "\\.", "a\tb", "a\nb\r\n", "\\t", '{"}', "ü🦊\u2028", "\x01\x7f", "'; DROP TABLE x --", "%s"]


def test_texts_and_labels_arrive_as_they_were(project: Project) -> None:
    rows = [
        {"prompt": text, "responses": [{"text": text, "author": text}, "x"], "metadata": {text: text}} for text in NASTY
    ]
    assert bring(project, *rows).error_count == 0
    prompts = Prompt.objects.order_by("id")
    assert [prompt.messages[0]["content"] for prompt in prompts] == NASTY
    assert [prompt.metadata for prompt in prompts] == [{text: text} for text in NASTY]
    answers = Response.objects.exclude(text="x").order_by("id")
    assert list(answers.values_list("text", "author_label")) == [(text, text) for text in NASTY]


def test_answers_whose_author_the_row_does_not_name_get_the_files_label(project: Project) -> None:
    bring(project, {"prompt": "Why?", "responses": [{"text": "a", "author": "gpt"}, "b"]}, author_label="lm")
    assert list(Response.objects.order_by("id").values_list("text", "author_label")) == [("a", "gpt"), ("b", "lm")]


@pytest.mark.django_db
@pytest.mark.parametrize("step", [1, 2])
def test_ids_are_drawn_whether_or_not_somebody_else_draws_in_between(step: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER SEQUENCE annotation_prompt_id_seq INCREMENT BY {step}")
    first, second, third = new_ids(Prompt, 3)
    assert (second - first, third - second) == (step, step)
    assert new_ids(Prompt, 1)[0] == third + step


@pytest.mark.parametrize(("rows", "counts"), [(3, True), (2, False)])
def test_after_many_rows_the_server_counts_anew(
    project: Project, monkeypatch: pytest.MonkeyPatch, rows: int, counts: bool
) -> None:
    """Else each page of the export after it would sort the whole rest of the project."""
    monkeypatch.setattr(landing, "BATCH", 3)
    with CaptureQueriesContext(connection) as captured:
        bring(project, *({"prompt": f"Q{n}", "responses": ["A", "B"]} for n in range(rows)))
    asked = [query["sql"] for query in captured.captured_queries if query["sql"].startswith("ANALYZE")]
    assert len(asked) == counts
    assert all("annotation_comparison" in sql and "annotation_judgment" in sql for sql in asked)


def test_a_batch_ends_where_it_gets_too_large(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landing, "BATCH_CHARACTERS", 3_000)
    rows = [(n, read_row({**PAIR, "prompt": f"{n}" + "x" * 1_000})) for n in range(7)]
    assert [len(batch) for batch in landing._batches(rows, "")] == [3, 3, 1]


@pytest.mark.django_db(transaction=True)
def test_a_prompt_that_comes_in_another_way_meanwhile_is_found(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, asked = writing.copy_rows, [USER]

    def copy_too_late(*arguments: Any) -> None:
        if asked:
            turns = [asked.pop()]
            answers = [AnswerIn("Because."), AnswerIn("No.")]
            other = threading.Thread(target=add_elsewhere, args=(project, turns, answers))
            other.start()
            other.join(timeout=30)
        copy(*arguments)

    monkeypatch.setattr(writing, "copy_rows", copy_too_late)
    report = bring(project, PAIR)  # one row: a batch of more would be parted, and find it then
    assert (report.comparisons_added, report.duplicates, report.errors) == (0, 1, [])
    assert Prompt.objects.count() == 1


def add_elsewhere(project: Project, messages: list[dict[str, str]], answers: list[AnswerIn]) -> None:
    try:
        add_comparison(project=project, messages=messages, responses=answers)
    finally:
        connection.close()


def test_an_editors_byte_order_mark_and_line_ends_are_no_errors(project: Project) -> None:
    file = BytesIO(b"\xef\xbb\xbf" + json.dumps(PAIR).encode() + b"\r\n\r\n")
    report = import_rows(project=project, file=file)
    assert (report.comparisons_added, report.error_count) == (1, 0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("judged_by", ["", "some-dataset"])
def test_the_same_file_by_three_people_at_once_lands_once(
    project: Project, monkeypatch: pytest.MonkeyPatch, judged_by: str
) -> None:
    rows = [{**PAIR, "prompt": f"Question {n}"} for n in range(40)]
    # Prompts and answers are there, so that nobody has to wait for another's: only the pairs are new.
    bring(project, *({**row, "chosen": "Else."} for row in rows), *({**row, "rejected": "Else."} for row in rows))
    # All three look for what is there before one of them adds it, unless they take turns; then the first waits in vain.
    meeting, look = threading.Barrier(3), writing._comparisons

    def look_together(prompts: Any) -> Any:
        found = look(prompts)
        with suppress(threading.BrokenBarrierError):
            meeting.wait(timeout=2)
        return found

    monkeypatch.setattr(writing, "_comparisons", look_together)
    start, reports, problems = threading.Barrier(3), [], []

    def send() -> None:
        try:
            start.wait(timeout=30)
            reports.append(bring(project, *rows, judged_by=judged_by))
        except Exception as problem:  # noqa: BLE001  looked at below
            problems.append(problem)
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert problems == []
    assert sum(report.comparisons_added for report in reports) == 40
    assert sum(report.duplicates for report in reports) == 80
    votes = 40 if judged_by else 0
    assert (Comparison.objects.count(), Judgment.objects.count(), Preference.objects.count()) == (120, votes, votes)


def test_the_command_reports_to_the_terminal(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_bytes(lines_of(PAIR, b"nope").getvalue())
    out, err = StringIO(), StringIO()
    call_command("import_comparisons", project.slug, str(file), judged_by="some-dataset", stdout=out, stderr=err)
    assert "2 rows: 1 comparisons added, 1 votes kept, 0 pairs there already, 1 rows not taken." in out.getvalue()
    assert f"{file}:2: The line is not JSON" in err.getvalue()


@pytest.mark.parametrize(
    ("slug", "file", "judged_by", "words"),
    [
        ("nothing", "pairs.jsonl", "", "no project nothing"),
        ("everyday-help", "missing.jsonl", "", "No such file"),
        ("everyday-help", "pairs.jsonl", "ann", "ann is a person's account"),
    ],
)
def test_the_command_says_in_one_line_what_is_wrong(
    project: Project, tmp_path: Path, slug: str, file: str, judged_by: str, words: str
) -> None:
    (tmp_path / "pairs.jsonl").write_bytes(lines_of(PAIR).getvalue())
    with pytest.raises(CommandError, match=words):
        call_command("import_comparisons", slug, str(tmp_path / file), judged_by=judged_by)
    assert not Comparison.objects.exists()
