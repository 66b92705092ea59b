"""The queue over the API: the same leases and votes as on the page, and nothing of authors."""

import inspect
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.utils.timezone import now

from annotation import queue
from annotation.archiving import archive, reopen
from annotation.gold import mark
from annotation.judging import Verdict
from annotation.models import Comparison, Judgment, Lease, Project, Response, Skip, User
from annotation.services import AnswerIn, add_comparison, record_judgment
from annotation.work import why_nothing_is_left
from api.models import RememberedAnswer, Scope
from api.once import KEPT_FOR, forget_old_answers
from api.root import root
from tests.annotation.conftest import MakeComparison
from tests.api.conftest import Program, ProgramOf, error_of

QUEUE = "/projects/everyday-help/queue"
TICKET = {"ticket": "x"}
BODIES: dict[str, dict[str, str]] = {
    "lease": {},
    "extend": TICKET,
    "release": {},
    "submit": TICKET | {"choice": "tie"},
    "skip": TICKET | {"reason": "y"},
    "undo": {},
}


def lease(program: Program) -> dict[str, Any]:
    pair: dict[str, Any] = program.post(f"{QUEUE}/lease").json()["pair"]
    return pair


@pytest.fixture
def program(ann: User, project: Project, program_of: ProgramOf) -> Program:
    return program_of(ann, Scope.LABEL)


def test_a_program_takes_a_pair_and_votes(program: Program, ann: User, make_comparison: MakeComparison) -> None:
    comparison = make_comparison()

    pair = lease(program)
    assert pair["comparison"] == comparison.pk
    assert pair["messages"] == [{"role": "user", "content": "Question 1?"}]
    assert sorted(answer["text"] for answer in pair["answers"]) == ["First answer 1", "Second answer 1"]
    assert [answer["side"] for answer in pair["answers"]] == ["A", "B"]
    assert pair["choices"] == ["a3", "a2", "a1", "tie", "b1", "b2", "b3", "both_bad"]

    vote = {"ticket": pair["ticket"], "choice": "b2", "reason": " clearer ", "active_seconds": 0.001}
    answer = program.post(f"{QUEUE}/submit", vote)

    judgment = Judgment.objects.get()
    better = Response.objects.get(text=pair["answers"][1]["text"])
    assert (judgment.annotator, judgment.tiers[0], judgment.strength) == (ann, [better.pk], 2)
    assert (judgment.reason, judgment.active_seconds) == ("clearer", 0.001)
    assert answer.json()["choice"] == "b2"
    assert not Lease.objects.exists()
    assert program.post(f"{QUEUE}/lease").json() == {"pair": None, "why": "done"}


def test_nothing_of_authors_ids_or_other_peoples_votes_reaches_an_annotators_program(
    ann: User, ben: User, program_of: ProgramOf, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison(judgments_wanted=2)
    record_judgment(comparison=comparison, annotator=ben, tiers=[comparison.response_ids], reason="ben says so")
    program = program_of(ann)
    pair = lease(program)
    vote = program.post(f"{QUEUE}/submit", {"ticket": pair["ticket"], "choice": "tie"})
    mine = program.get("/projects/everyday-help/judgments/mine")

    assert set(pair) == {"ticket", "comparison", "expires_at", "messages", "answers", "choices"}
    assert {name for answer in pair["answers"] for name in answer} == {"side", "text"}
    beside = {"ranks", "reason", "tags", "acceptable", "aspects", "edits"}
    of_a_vote = {"id", "comparison", "choice", "active_seconds", "created_at", "counts", "feedback"}
    assert set(vote.json()) == of_a_vote | beside
    assert [judgment["id"] for judgment in mine.json()["items"]] == [vote.json()["id"]]
    seen = f"{pair} {vote.json()} {mine.json()}"
    assert "model-one" not in seen
    assert "ben says so" not in seen
    for path in ("judgments", "comparisons", "preferences", "export", "imports"):
        assert error_of(program.get(f"/projects/everyday-help/{path}")) == (404, "not_found")


def test_a_program_puts_three_answers_in_order(program: Program, project: Project) -> None:
    asked = [{"role": "user", "content": "Which?"}]
    add_comparison(project=project, messages=asked, responses=[AnswerIn(letter) for letter in "xyz"])
    pair = lease(program)
    assert ([answer["side"] for answer in pair["answers"]], pair["choices"]) == (["A", "B", "C"], [])

    vote = {"ticket": pair["ticket"], "ranks": {"A": 2, "B": 1, "C": 2}}
    assert error_of(program.post(f"{QUEUE}/submit", vote | {"ranks": {"A": 1}})) == (422, "invalid")
    assert program.post(f"{QUEUE}/submit", vote).json()["choice"] == ""
    texts = [[Response.objects.get(pk=pk).text for pk in tier] for tier in Judgment.objects.get().tiers]
    by_side = {answer["side"]: answer["text"] for answer in pair["answers"]}
    assert [sorted(tier) for tier in texts] == [[by_side["B"]], sorted([by_side["A"], by_side["C"]])]


BESIDE = {
    "tags": ["clearer"],
    "acceptable": {"A": True, "B": False},
    "aspects": {"true": "B", "helpful": "tie"},
    "edits": {"A": "Better still."},
}


def test_a_program_says_what_is_asked_beside_the_vote(
    program: Program, project: Project, manager: User, program_of: ProgramOf, make_comparison: MakeComparison
) -> None:
    asks = {"reason_tags": ["correct", "clearer"], "asks_acceptability": True, "offers_edit": True}
    Project.objects.update(**asks, aspects=["helpful", "true"])
    make_comparison()
    pair = lease(program)

    said = program.post(f"{QUEUE}/submit", {"ticket": pair["ticket"], "choice": "a2", **BESIDE}).json()

    assert {name: said[name] for name in BESIDE} == BESIDE
    judgment = Judgment.objects.get()
    a, b = judgment.shown_order
    assert (judgment.tags, judgment.acceptable) == (["clearer"], {str(a): True, str(b): False})
    assert judgment.aspects == {"helpful": [sorted([a, b])], "true": [[b], [a]]}
    assert judgment.edited is not None
    assert (judgment.edited.text, judgment.edit_of_id) == ("Better still.", a)
    mine = program.get("/projects/everyday-help/judgments/mine").json()["items"]
    assert [{name: one[name] for name in BESIDE} for one in mine] == [BESIDE]
    (seen,) = program_of(manager).get("/projects/everyday-help/judgments").json()["items"]
    assert (seen["edited"], seen["edit_of"], seen["aspects"]) == (judgment.edited_id, a, judgment.aspects)


def wrong_with(answer: Any) -> dict[str, str]:
    """What was not taken of a vote, none of which was kept."""
    assert error_of(answer) == (422, "invalid")
    assert not Judgment.objects.exists()
    return {field["where"]: field["problem"] for field in answer.json()["error"]["fields"]}


def test_what_the_project_does_not_ask_is_refused(program: Program, make_comparison: MakeComparison) -> None:
    make_comparison()
    vote = {"ticket": lease(program)["ticket"], "choice": "a2"}
    assert wrong_with(program.post(f"{QUEUE}/submit", vote | BESIDE)) == {
        "tags.0": "There is no tag 'clearer', nor any other.",
        "acceptable": "The project does not ask whether an answer will do.",
        "aspects.true": "There is no aspect 'true', nor any other.",
        "aspects.helpful": "There is no aspect 'helpful', nor any other.",
        "edits": "The project offers no edits.",
    }
    assert wrong_with(program.post(f"{QUEUE}/submit", vote | {"aspects": {"true": "both"}})) == {
        "aspects.true": "Input should be 'A', 'B' or 'tie'"
    }
    empty: dict[str, Any] = {"tags": [], "acceptable": {}, "aspects": {}, "edits": {}, "ranks": {}}
    assert program.post(f"{QUEUE}/submit", vote | empty).status_code == 200


def test_a_strength_is_taken_where_it_is_asked_for_and_may_be_left_out(
    program: Program, make_comparison: MakeComparison
) -> None:
    make_comparison()
    make_comparison()
    assert program.post(f"{QUEUE}/submit", {"ticket": lease(program)["ticket"], "choice": "a"}).status_code == 200
    Judgment.objects.all().delete()
    Project.objects.update(asks_strength=False, offers_both_good=True)
    vote = {"ticket": lease(program)["ticket"]}
    offered = {"choice": "Take one of a, tie, b, both_good, both_bad."}
    assert wrong_with(program.post(f"{QUEUE}/submit", vote | {"choice": "a3"})) == offered
    assert program.post(f"{QUEUE}/submit", vote | {"choice": "both_good"}).status_code == 200


@pytest.mark.parametrize(
    ("said", "where"),
    [
        ({"active_seconds": "5"}, "active_seconds"),
        ({"acceptable": {"A": 1}}, "acceptable.A"),
        ({"ranks": {"A": "1"}}, "ranks.A"),
        ({"ranks": {"A": 0}}, "ranks.A"),
        ({"ranks": {"A": True}}, "ranks.A"),
        ({"ranks": {"A": 10}}, "ranks.A"),
    ],
)
def test_no_text_is_taken_for_a_number_and_no_number_for_a_truth(
    program: Program, make_comparison: MakeComparison, said: dict[str, Any], where: str
) -> None:
    make_comparison()
    vote = {"ticket": lease(program)["ticket"], "choice": "tie"}
    assert list(wrong_with(program.post(f"{QUEUE}/submit", vote | said))) == [where]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"tags": ["Clear"]}, {"tags.0": "There is no tag 'Clear'. Did you mean 'clearer'?"}),
        ({"tags": ["clearer", "nice"]}, {"tags.1": "There is no tag 'nice'. There are: correct, clearer."}),
        (
            {"aspects": {"helpfull": "A"}},
            {"aspects.helpfull": "There is no aspect 'helpfull'. Did you mean 'helpful'?"},
        ),
        ({"acceptable": {"C": True}}, {"acceptable.C": "There is no answer 'C'. There are: A, B."}),
        ({"edits": {"a": "x"}}, {"edits.a": "There is no answer 'a'. Did you mean 'A'?"}),
        ({"ranks": {"A": 1, "B": 2}}, {"ranks": "They are for three answers or more. Send a choice alone."}),
        (
            {"choice": ""},
            {"choice": "Take one of a3, a2, a1, tie, b1, b2, b3, both_bad."},
        ),
        ({"choice": "both_good"}, {"choice": "Take one of a3, a2, a1, tie, b1, b2, b3, both_bad."}),
    ],
)
def test_what_is_not_of_the_pair_or_the_project_is_named(
    program: Program, project: Project, make_comparison: MakeComparison, said: dict[str, Any], told: dict[str, str]
) -> None:
    asks = {"reason_tags": ["correct", "clearer"], "asks_acceptability": True, "offers_edit": True}
    Project.objects.update(**asks, aspects=["helpful", "true"])
    make_comparison()
    vote = {"ticket": lease(program)["ticket"], "choice": "a2"}
    assert wrong_with(program.post(f"{QUEUE}/submit", vote | said)) == told


def test_a_vote_fits_the_number_of_answers(program: Program, project: Project) -> None:
    Project.objects.update(aspects=["true"], asks_acceptability=True)
    asked = [{"role": "user", "content": "Which?"}]
    add_comparison(project=project, messages=asked, responses=[AnswerIn("alone")])
    pair = lease(program)
    vote = {"ticket": pair["ticket"], "choice": "a", "acceptable": {"A": True}, "aspects": {"true": "A"}}
    assert wrong_with(program.post(f"{QUEUE}/submit", vote)) == {
        "choice": "Take one of up, down.",
        "acceptable": "Of one answer the choice says it.",
        "aspects": "They are of two answers.",
    }
    assert program.post(f"{QUEUE}/submit", {"ticket": pair["ticket"], "choice": "up"}).status_code == 200


def test_a_ranking_places_every_answer_and_has_no_choice(program: Program, project: Project) -> None:
    asked = [{"role": "user", "content": "Which?"}]
    add_comparison(project=project, messages=asked, responses=[AnswerIn(letter) for letter in "xyz"])
    vote = {"ticket": lease(program)["ticket"]}
    places = "Every answer needs its place, 1 is best: "
    assert wrong_with(program.post(f"{QUEUE}/submit", vote)) == {"ranks": f"{places}A, B, C have none."}
    assert wrong_with(program.post(f"{QUEUE}/submit", vote | {"ranks": {"A": 1, "B": 2, "D": 3}})) == {
        "ranks": f"{places}C has none.",
        "ranks.D": "There is no answer 'D'. There are: A, B, C.",
    }
    assert wrong_with(program.post(f"{QUEUE}/submit", vote | {"choice": "a", "ranks": {"A": 1, "B": 2, "C": 3}})) == {
        "choice": "Three answers or more are put in order. Send ranks alone."
    }


def test_the_same_vote_again_is_answered_with_the_one_that_is_kept(
    program: Program, project: Project, make_comparison: MakeComparison
) -> None:
    asks = {"reason_tags": ["correct", "clearer"], "asks_acceptability": True, "offers_edit": True}
    Project.objects.update(**asks, aspects=["helpful", "true"])
    make_comparison()
    vote = {"ticket": lease(program)["ticket"], "choice": "a2", "reason": "so ", **BESIDE}
    first = program.post(f"{QUEUE}/submit", vote)
    again = program.post(f"{QUEUE}/submit", vote | {"active_seconds": 3, "reason": " so"})
    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())
    assert Judgment.objects.count() == 1


@pytest.mark.parametrize(
    "other",
    [
        {"choice": "a1"},
        {"choice": "b2"},
        {"reason": "other"},
        {"tags": []},
        {"acceptable": {"A": True}},
        {"aspects": {}},
        {"edits": {}},
        {"edits": {"A": "Another."}},
        {"edits": {"B": "Better still."}},
    ],
)
def test_another_vote_on_a_judged_pair_is_refused(
    program: Program, project: Project, make_comparison: MakeComparison, other: dict[str, Any]
) -> None:
    asks = {"reason_tags": ["correct", "clearer"], "asks_acceptability": True, "offers_edit": True}
    Project.objects.update(**asks, aspects=["helpful", "true"])
    make_comparison()
    vote = {"ticket": lease(program)["ticket"], "choice": "a2", "reason": "so", **BESIDE}
    first = program.post(f"{QUEUE}/submit", vote, key="one").json()

    refused = program.post(f"{QUEUE}/submit", vote | other)

    assert error_of(refused) == (409, "already_judged")
    assert "undo" in refused.json()["error"]["todo"]
    assert error_of(program.post(f"{QUEUE}/submit", vote | {"choice": ""})) == (422, "invalid")
    assert program.post(f"{QUEUE}/submit", vote, key="one").json() == first
    mine = program.get("/projects/everyday-help/judgments/mine").json()["items"]
    assert [one["id"] for one in mine] == [first["id"]]
    assert program.post(f"{QUEUE}/undo").status_code == 200
    changed = program.post(f"{QUEUE}/submit", vote | other)
    assert changed.status_code == 200
    assert {name: changed.json()[name] for name in other} == other


def test_a_judged_pair_cannot_be_passed_on(program: Program, make_comparison: MakeComparison) -> None:
    make_comparison()
    ticket = lease(program)["ticket"]
    program.post(f"{QUEUE}/submit", {"ticket": ticket, "choice": "tie"})
    refused = program.post(f"{QUEUE}/skip", {"ticket": ticket, "reason": "broken"}, key="k")
    assert error_of(refused) == (409, "already_judged")
    assert not RememberedAnswer.objects.exists()
    assert not Skip.objects.exists()


def test_a_practice_pair_is_answered_with_what_was_expected(
    program: Program, project: Project, make_comparison: MakeComparison
) -> None:
    Project.objects.update(practice_pairs=1, pass_mark=100)
    comparison = make_comparison()
    first, second = comparison.response_ids
    mark(
        comparison=comparison,
        verdict=Verdict(tiers=[[first], [second]]),
        purpose=Comparison.Purpose.PRACTICE,
        explanation="It is **right**.",
        by=None,
    )
    pair = lease(program)
    sides = {answer["text"]: answer["side"] for answer in pair["answers"]}
    best = sides[Response.objects.get(pk=first).text]
    vote = {"ticket": pair["ticket"], "choice": "tie"}
    answer = program.post(f"{QUEUE}/submit", vote, key="one")
    again = program.post(f"{QUEUE}/submit", vote, key="one")
    other = program.post(f"{QUEUE}/submit", vote | {"choice": "a"})
    assert (error_of(other), "undo" in other.json()["error"]["todo"]) == ((409, "already_judged"), False)
    assert answer.json()["feedback"] == {
        "right": False,
        "expected": f"{best} better",
        "explanation": "It is **right**.",
    }
    assert again.json() == answer.json()
    assert program.post(f"{QUEUE}/lease").json() == {"pair": None, "why": "practice"}


@pytest.mark.parametrize("path", BODIES)
def test_the_queue_of_a_project_one_is_not_in_is_not_there(
    project: Project, stranger: User, program_of: ProgramOf, path: str
) -> None:
    assert error_of(program_of(stranger).post(f"{QUEUE}/{path}", BODIES[path])) == (404, "not_found")


@pytest.mark.parametrize("path", ["extend", "submit", "skip"])
def test_another_persons_ticket_is_refused(
    program: Program, ben: User, program_of: ProgramOf, make_comparison: MakeComparison, path: str
) -> None:
    make_comparison()
    body = BODIES[path] | {"ticket": lease(program_of(ben))["ticket"]}
    assert error_of(program.post(f"{QUEUE}/{path}", body)) == (409, "ticket_unknown")
    assert not Judgment.objects.exists()
    assert not Skip.objects.exists()


def test_an_unknown_choice_is_refused_and_keeps_the_pair(program: Program, make_comparison: MakeComparison) -> None:
    make_comparison()
    ticket = lease(program)["ticket"]
    refused = program.post(f"{QUEUE}/submit", {"ticket": ticket, "choice": "c"}, key="k")
    assert error_of(refused) == (422, "invalid")
    assert refused.json()["error"]["fields"][0]["where"] == "choice"
    assert Lease.objects.exists()
    assert not RememberedAnswer.objects.exists()


def test_a_pair_is_kept_longer_and_given_back(
    program: Program, ann: User, ben: User, project: Project, make_comparison: MakeComparison
) -> None:
    make_comparison()
    ticket = lease(program)["ticket"]
    Lease.objects.update(expires_at=now())
    assert program.post(f"{QUEUE}/extend", {"ticket": ticket}).json()["expires_at"] > now().isoformat()
    assert queue.lease_next(project=project, annotator=ben) is None

    assert program.post(f"{QUEUE}/release").status_code == 204
    assert queue.lease_next(project=project, annotator=ben) is not None
    assert error_of(program.post(f"{QUEUE}/extend", {"ticket": ticket})) == (409, "lease_lost")


def test_a_vote_on_a_pair_that_others_finished_is_kept_and_does_not_count(
    program: Program, ben: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    ticket = lease(program)["ticket"]
    Lease.objects.update(expires_at=now())
    record_judgment(comparison=comparison, annotator=ben, tiers=[comparison.response_ids])
    Lease.objects.all().delete()
    late = program.post(f"{QUEUE}/submit", {"ticket": ticket, "choice": "a"}, key="k")
    assert (late.status_code, late.json()["counts"]) == (200, False)
    assert Judgment.objects.kept().count() == 2
    assert Judgment.objects.standing().get().annotator == ben


def test_every_word_for_why_there_is_no_pair_is_described() -> None:
    described = root.get_openapi_schema(path_prefix="")["components"]["schemas"]["LeaseOut"]
    words = re.findall(r'"(\w+)"', inspect.getsource(why_nothing_is_left))
    assert len(words) == 8
    assert set(described["properties"]["why"]["anyOf"][0]["enum"]) == set(words)
    assert [word for word in words if f"`{word}`" not in described["description"]] == []


def test_a_pair_is_skipped_and_the_skip_taken_back(program: Program, make_comparison: MakeComparison) -> None:
    make_comparison()
    ticket = lease(program)["ticket"]
    for nothing in ("", " ", " \n\t\u00a0"):
        refused = program.post(f"{QUEUE}/skip", {"ticket": ticket, "reason": nothing})
        assert error_of(refused) == (422, "invalid")
        assert refused.json()["error"]["fields"] == [{"where": "reason", "problem": "This is empty."}]
    assert not Skip.objects.exists()
    assert program.post(f"{QUEUE}/skip", {"ticket": ticket, "reason": "broken"}).json() == {"skipped": True}
    assert Skip.objects.get().reason == "broken"
    assert program.post(f"{QUEUE}/lease").json()["why"] == "yours"
    assert program.post(f"{QUEUE}/undo").json()["ticket"]
    assert not Skip.objects.exists()


def test_a_vote_is_taken_back(program: Program, make_comparison: MakeComparison) -> None:
    make_comparison()
    assert error_of(program.post(f"{QUEUE}/undo")) == (409, "nothing_to_undo")
    first = lease(program)
    program.post(f"{QUEUE}/submit", {"ticket": first["ticket"], "choice": "a1"})
    again = program.post(f"{QUEUE}/undo").json()
    assert again["answers"] == first["answers"]
    assert not Judgment.objects.standing().exists()


def test_an_archived_project_takes_no_vote_back_and_says_why(
    program: Program, project: Project, manager: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    program.post(f"{QUEUE}/submit", {"ticket": lease(program)["ticket"], "choice": "a1"})
    archive(project=project, by=manager)
    refused = program.post(f"{QUEUE}/undo")
    assert error_of(refused) == (409, "archived")
    assert "reopen" in refused.json()["error"]["todo"]
    assert Judgment.objects.standing().count() == 1
    reopen(project=project, by=manager)
    assert program.post(f"{QUEUE}/undo").status_code == 200


def test_a_vote_sent_twice_with_one_key_is_given_once_and_answered_alike(
    program: Program, make_comparison: MakeComparison
) -> None:
    make_comparison()
    make_comparison()
    vote = {"ticket": lease(program)["ticket"], "choice": "a"}

    first = program.post(f"{QUEUE}/submit", vote, key="vote-1")
    program.post(f"{QUEUE}/undo")
    second = program.post(f"{QUEUE}/submit", vote, key="vote-1")

    assert first.json() == second.json()
    assert ("Idempotency-Replayed" in first.headers, second.headers["Idempotency-Replayed"]) == (False, "true")
    assert not Judgment.objects.standing().exists()  # the vote that was undone does not come back

    other = program.post(f"{QUEUE}/submit", vote | {"choice": "b"}, key="vote-1")
    assert error_of(other) == (422, "idempotency_key_reused")
    assert program.post(f"{QUEUE}/submit", vote | {"choice": "b"}, key="vote-2").json()["choice"] == "b"


def test_one_persons_key_is_not_anothers(
    ann: User, ben: User, program_of: ProgramOf, make_comparison: MakeComparison
) -> None:
    make_comparison(judgments_wanted=2)
    for person in (ann, ben):
        program = program_of(person)
        program.post(f"{QUEUE}/submit", {"ticket": lease(program)["ticket"], "choice": "tie"}, key="same")
    assert Judgment.objects.count() == 2


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("with space", "Only letters, digits and signs of ASCII, without spaces, make a key."),
        ("é", "Only letters, digits and signs of ASCII, without spaces, make a key."),
        ("x" * 201, "This has 201 characters, and may have 200."),
    ],
)
def test_a_key_that_is_none_is_refused(program: Program, make_comparison: MakeComparison, key: str, why: str) -> None:
    make_comparison()
    vote = {"ticket": lease(program)["ticket"], "choice": "a"}
    assert wrong_with(program.post(f"{QUEUE}/submit", vote, key=key)) == {"Idempotency-Key": why}


def test_answers_are_forgotten_after_a_day(program: Program, make_comparison: MakeComparison) -> None:
    make_comparison()
    program.post(f"{QUEUE}/submit", {"ticket": lease(program)["ticket"], "choice": "a"}, key="vote-1")
    assert forget_old_answers() == 0
    RememberedAnswer.objects.update(created_at=now() - KEPT_FOR)
    assert forget_old_answers() == 1


@pytest.mark.django_db(transaction=True)
def test_two_that_send_one_key_at_the_same_moment_give_one_vote(
    ann: User, project: Project, program_of: ProgramOf, make_comparison: MakeComparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second arrives while the first is at work, and waits for its answer."""
    make_comparison()
    one, other = program_of(ann), program_of(ann)
    vote = {"ticket": lease(one)["ticket"], "choice": "a"}
    at_work, go_on = threading.Event(), threading.Event()
    submit: Callable[..., Judgment] = queue.submit_judgment
    times: list[int] = []

    def slow(**more: Any) -> Judgment:
        times.append(1)
        at_work.set()
        assert go_on.wait(20)
        return submit(**more)

    monkeypatch.setattr(queue, "submit_judgment", slow)
    answers: list[Any] = []

    def send(program: Program) -> None:
        answers.append(program.post(f"{QUEUE}/submit", vote, key="vote-1").json())
        connection.close()

    first = threading.Thread(target=send, args=[one])
    first.start()
    assert at_work.wait(20)
    second = threading.Thread(target=send, args=[other])
    second.start()
    second.join(0.5)
    assert second.is_alive()
    go_on.set()
    first.join(20)
    second.join(20)

    assert len(times) == 1
    assert answers[0] == answers[1]
    assert answers[0]["id"] == Judgment.objects.get().pk


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("choices", "statuses"), [(("a", "a"), [200, 200]), (("a", "b"), [200, 409])])
def test_of_two_votes_at_the_same_moment_one_is_kept_and_another_is_told_so(
    ann: User,
    project: Project,
    program_of: ProgramOf,
    make_comparison: MakeComparison,
    choices: tuple[str, str],
    statuses: list[int],
) -> None:
    make_comparison()
    programs = [program_of(ann), program_of(ann)]
    ticket = lease(programs[0])["ticket"]
    start = threading.Barrier(2)
    answers: list[Any] = []

    def send(program: Program, choice: str) -> None:
        start.wait(20)
        answers.append(program.post(f"{QUEUE}/submit", {"ticket": ticket, "choice": choice}))
        connection.close()

    threads = [threading.Thread(target=send, args=[*one]) for one in zip(programs, choices, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert sorted(answer.status_code for answer in answers) == statuses
    kept = Judgment.objects.get()
    assert {answer.json()["id"] for answer in answers if answer.status_code == 200} == {kept.pk}
