"""Statements that are prepared when a connection first asks them."""

from collections.abc import Callable

from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotation.asking import ask, ask_for
from annotation.models import Comparison, Project

ECHO = "SELECT %(text)s::text, %(numbers)s::bigint[], 7 %% 4, %(text)s::text"


def kinds(captured: CaptureQueriesContext) -> list[str]:
    return [entry["sql"].split()[0] for entry in captured.captured_queries]


def test_what_is_asked_is_prepared_once_and_told_apart_by_its_values(db: None) -> None:
    question = f"{ECHO}, 'once'"
    with CaptureQueriesContext(connection) as captured:
        first = ask(question, {"text": "it's 100 %", "numbers": [3, 4]})
        second = ask(question, {"text": "x'); DROP TABLE annotation_user; --", "numbers": []})
    assert first == [("it's 100 %", [3, 4], 3, "it's 100 %", "once")]
    assert second == [("x'); DROP TABLE annotation_user; --", [], 3, "x'); DROP TABLE annotation_user; --", "once")]
    assert kinds(captured) == ["PREPARE", "EXECUTE", "EXECUTE"]


def test_a_new_connection_prepares_anew(transactional_db: None) -> None:
    question, values = f"{ECHO}, 'anew'", {"text": "", "numbers": [1]}
    ask(question, values)
    connection.close()
    with CaptureQueriesContext(connection) as captured:
        assert ask(question, values)[0][1] == [1]
    assert "PREPARE" in kinds(captured)


def test_it_is_planned_once_for_all_values(db: None) -> None:
    # With the numbers before it, PostgreSQL expects other rows of it: by itself it would plan it anew each time.
    question = "SELECT id FROM annotation_comparison WHERE id = ANY (%(numbers)s::bigint[])"
    for _ in range(8):
        ask(question, {"numbers": [1]})
    plans = "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE %s"
    with connection.cursor() as cursor:
        cursor.execute(plans, ["%SELECT id FROM annotation_comparison WHERE id = ANY%"])
        assert cursor.fetchall() == [(8, 0)]


def test_a_question_without_blanks_is_one_too(db: None) -> None:
    assert ask("SELECT 1", {}) == [(1,)]


def test_rows_of_a_table_are_what_the_model_reads(
    make_comparison: Callable[..., Comparison], project: Project, django_assert_num_queries: Callable[..., object]
) -> None:
    comparison = make_comparison(priority=3)
    question = "SELECT {columns} FROM annotation_comparison WHERE id = %(comparison)s"
    [found] = ask_for(Comparison, question, {"comparison": comparison.pk})
    expected = Comparison.objects.filter(pk=comparison.pk).values().get()
    with django_assert_num_queries(0):
        assert {name: getattr(found, name) for name in expected} == expected
    assert not found._state.adding
