"""The download of preferences: what it holds, who gets it, and that trainers take it as it is."""

import csv
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from annotation.importing.landing import import_file
from annotation.models import Comparison, Judgment, PairLabel, Preference, Project, User
from annotation.quality.deciding import decide, order_for
from annotation.services import AnswerIn, add_comparison, record_judgment, rule_judge
from tests.annotation.test_importing import PAIR, lines_of, said
from tests.importing import import_rows

SignIn = Callable[[User], Client]
USER = {"role": "user", "content": "Wie heißt das? 🦊"}


@pytest.fixture
def judged(project: Project, ann: User, ben: User) -> Project:
    """A pair that two people judged differently, a conversation judged once, a tie, a withdrawn vote."""
    pair = add_comparison(
        project=project, messages=[USER], responses=[AnswerIn("Fuchs."), AnswerIn("Dachs.")], judgments_wanted=3
    )
    fox, badger = pair.response_ids
    record_judgment(comparison=pair, annotator=ann, tiers=[[fox], [badger]])
    record_judgment(comparison=pair, annotator=ben, tiers=[[badger], [fox]])
    record_judgment(comparison=pair, annotator=rule_judge("tie-maker"), tiers=[[fox, badger]])
    talk = add_comparison(
        project=project,
        messages=[{"role": "system", "content": "Be brief."}, USER, said("Was?"), {"role": "user", "content": "Das!"}],
        responses=[AnswerIn("Ein Fuchs."), AnswerIn("Ein Dachs.")],
    )
    first, second = talk.response_ids
    record_judgment(comparison=talk, annotator=ann, tiers=[[first], [second]])
    return project


def download(client: Client, project: Project, **asked: Any) -> list[dict[str, Any]]:
    answer = client.get(reverse("export-file", args=[project.slug]), asked)
    assert answer.status_code == 200
    return [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]


FOX, BADGER = "Fuchs.", "Dachs."


def test_every_preferring_vote_is_a_row_of_messages(judged: Project, signed_in: SignIn, manager: User) -> None:
    rows = download(signed_in(manager), judged)
    assert rows[:2] == [
        {"prompt": [USER], "chosen": [said(FOX)], "rejected": [said(BADGER)]},
        {"prompt": [USER], "chosen": [said(BADGER)], "rejected": [said(FOX)]},
    ]
    assert [message["role"] for message in rows[2]["prompt"]] == ["system", "user", "assistant", "user"]
    assert rows[2]["chosen"] == [said("Ein Fuchs.")]
    assert len(rows) == 3


def test_as_text_a_single_turn_is_bare_and_a_conversation_names_its_speakers(
    judged: Project, signed_in: SignIn, manager: User
) -> None:
    rows = download(signed_in(manager), judged, shape="preference-text")
    assert rows[0] == {"prompt": USER["content"], "chosen": "Fuchs.", "rejected": "Dachs."}
    assert rows[2]["prompt"] == (
        "System: Be brief.\n\nUser: Wie heißt das? 🦊\n\nAssistant: Was?\n\nUser: Das!\n\nAssistant: "
    )


@pytest.fixture
def pair(project: Project) -> Comparison:
    return add_comparison(
        project=project, messages=[USER], responses=[AnswerIn(FOX), AnswerIn(BADGER)], judgments_wanted=9
    )


def vote(pair: Comparison, name: str, side: int, *, strength: int | None = None, both_bad: bool = False) -> None:
    """-1 for the fox, 1 for the badger, 0 for a tie."""
    fox, badger = pair.response_ids
    tiers = {-1: [[fox], [badger]], 0: [[fox, badger]], 1: [[badger], [fox]]}[side]
    judge = User.objects.filter(username=name).first() or rule_judge(name)
    record_judgment(comparison=pair, annotator=judge, tiers=tiers, strength=strength, both_bad=both_bad)


@pytest.mark.parametrize(
    ("votes", "majority"),
    [
        ([(-1, 3), (-1, 2), (1, 1)], (FOX, 4 / 3)),
        ([(1, None)], (BADGER, 0.0)),
        ([(1, 1), (1, 1), (0, None), (-1, 3)], (BADGER, 0.0)),  # more pull back than say it
        ([(-1, 2), (1, 2)], None),
        ([(-1, 2), (0, None), (0, None)], None),
    ],
)
def test_the_majority_is_one_row_a_pair_with_the_mean_of_the_strengths(
    pair: Comparison,
    signed_in: SignIn,
    manager: User,
    votes: list[tuple[int, int | None]],
    majority: tuple[str, float] | None,
) -> None:
    for n, (side, strength) in enumerate(votes):
        vote(pair, f"source-{n}", side, strength=strength)
    rows = download(signed_in(manager), pair.project, shape="preference-text", votes="majority", margin="on")
    assert [(row["chosen"], row["margin"]) for row in rows] == (
        [] if majority is None else [(majority[0], pytest.approx(majority[1]))]
    )


@pytest.mark.parametrize(
    ("votes", "soft"),
    [
        ([(-1, 3), (-1, 2), (1, 1)], (FOX, 2 / 3, 4 / 3)),
        ([(1, None)], (BADGER, 1.0, 0.0)),
        ([(1, 1), (0, None)], (BADGER, 3 / 4, 1 / 2)),  # a tie counts half for each
        ([(-1, 2), (1, 2)], None),
        ([(-1, 2), (1, 2), (0, None)], None),
    ],
)
def test_a_soft_label_is_the_share_of_the_votes(
    pair: Comparison,
    signed_in: SignIn,
    manager: User,
    votes: list[tuple[int, int | None]],
    soft: tuple[str, float, float] | None,
) -> None:
    for n, (side, strength) in enumerate(votes):
        vote(pair, f"source-{n}", side, strength=strength)
    rows = download(signed_in(manager), pair.project, shape="preference-text", votes="soft", margin="on")
    assert [(row["chosen"], row["probability"], row["margin"]) for row in rows] == (
        [] if soft is None else [(soft[0], pytest.approx(soft[1]), pytest.approx(soft[2]))]
    )


@pytest.mark.parametrize(
    ("first_better", "weighted"),
    [(0.8, (FOX, 0.8)), (0.1, (BADGER, 0.9)), (0.5, None), (None, (FOX, 2 / 3))],  # not computed yet: by share
)
def test_a_weighted_label_is_the_probability_that_reliability_gives(
    pair: Comparison,
    signed_in: SignIn,
    manager: User,
    first_better: float | None,
    weighted: tuple[str, float] | None,
) -> None:
    for n, side in enumerate([-1, -1, 1]):
        vote(pair, f"source-{n}", side, strength=1)
    if first_better is not None:
        computed(pair, first_better)
    rows = download(signed_in(manager), pair.project, shape="preference-text", votes="weighted")
    assert [(row["chosen"], row["probability"]) for row in rows] == (
        [] if weighted is None else [(weighted[0], pytest.approx(weighted[1]))]
    )
    imitated = download(signed_in(manager), pair.project, shape="sft", votes="weighted")
    assert [row["messages"][-1]["content"] for row in imitated] == ([] if weighted is None else [weighted[0]])


def computed(pair: Comparison, first_better: float) -> None:
    PairLabel.objects.create(
        comparison=pair,
        project=pair.project,
        first_better=first_better,
        doubt=min(first_better, 1 - first_better),
        votes=3,
        preferring_votes=3,
        is_split=True,
    )


def test_what_a_reviewer_decided_is_certain_in_a_weighted_label(
    pair: Comparison, signed_in: SignIn, manager: User, ben: User
) -> None:
    for n in range(3):
        vote(pair, f"source-{n}", -1)
    computed(pair, 0.9)
    Comparison.objects.filter(pk=pair.pk).update(judgments_wanted=3, closed_at=now())
    fox, _ = order_for(pair, ben)
    decide(comparison_id=pair.pk, reviewer=ben, choice="b" if fox == pair.response_ids[0] else "a")
    rows = download(signed_in(manager), pair.project, shape="preference-text", votes="weighted")
    assert [(row["chosen"], row["probability"]) for row in rows] == [(BADGER, 1.0)]


@pytest.mark.parametrize("votes", ["raw", "majority", "soft"])
def test_where_a_reviewer_settled_a_pair_only_the_decision_speaks(
    pair: Comparison, signed_in: SignIn, manager: User, ben: User, votes: str
) -> None:
    for n in range(2):
        vote(pair, f"source-{n}", -1)
    edited, (first, second) = "Fuchs, rot.", pair.response_ids
    record_judgment(comparison=pair, annotator=rule_judge("x"), tiers=[[first, second]], edits={first: edited})
    Comparison.objects.filter(pk=pair.pk).update(judgments_wanted=3, closed_at=now())
    fox, _ = order_for(pair, ben)
    decide(comparison_id=pair.pk, reviewer=ben, choice="b" if fox == pair.response_ids[0] else "a")
    client = signed_in(manager)
    rows = download(client, pair.project, shape="preference-text", votes=votes)
    assert [(row["chosen"], row["rejected"]) for row in rows] == [(BADGER, FOX), (edited, FOX)]
    plainly = "majority" if votes == "soft" else votes  # what follows carries no share
    rated = download(client, pair.project, shape="kto", votes=plainly)
    good = {row["completion"][-1]["content"] for row in rated if row["label"]}
    assert good == {BADGER, edited}
    imitated = download(client, pair.project, shape="sft", votes=plainly)
    assert {row["messages"][-1]["content"] for row in imitated} == {BADGER, edited}
    [told] = download(client, pair.project, shape="votes")
    assert len(told["individual_preference"]) == 4
    assert told["overall_preference"] == 2  # the badger, as decided; four votes together would say nothing


@pytest.mark.parametrize("votes", ["raw", "majority", "soft"])
def test_a_vote_that_a_reviewer_overruled_says_nothing_by_itself_either(
    pair: Comparison, signed_in: SignIn, manager: User, ben: User, votes: str
) -> None:
    edited, (first, second), said = "Fuchs, rot.", pair.response_ids, rule_judge("source-0")
    record_judgment(comparison=pair, annotator=said, tiers=[[first], [second]], edits={first: edited})
    vote(pair, "source-1", 1)
    Comparison.objects.filter(pk=pair.pk).update(judgments_wanted=2, closed_at=now())
    fox, _ = order_for(pair, ben)
    decide(comparison_id=pair.pk, reviewer=ben, choice="b" if fox == pair.response_ids[0] else "a")
    client, only = signed_in(manager), {"annotators": said.pk}
    rows = download(client, pair.project, shape="preference-text", votes=votes, **only)
    assert [(row["chosen"], row["rejected"]) for row in rows] == [(edited, FOX)]
    plainly = "majority" if votes == "soft" else votes
    rated = download(client, pair.project, shape="kto", votes=plainly, **only)
    assert [row["completion"][-1]["content"] for row in rated] == [edited]
    [told] = download(client, pair.project, shape="votes", **only)
    assert [one["annotator"] for one in told["individual_preference"]] == ["source-0"]
    decided = download(client, pair.project, shape="preference-text", votes=votes, annotators=ben.pk)
    assert [(row["chosen"], row["rejected"]) for row in decided] == [(BADGER, FOX)]


def test_a_weighted_label_of_some_of_the_votes_is_refused(pair: Comparison, signed_in: SignIn, manager: User) -> None:
    vote(pair, "source", -1)
    answer = signed_in(manager).get(
        reverse("export-file", args=[pair.project.slug]), {"votes": "weighted", "since": "2026-01-01"}
    )
    assert answer.status_code == 400
    assert "is of all votes" in answer.content.decode()


@pytest.mark.parametrize(
    ("shape", "votes", "taken"),
    [
        ("preference", "soft", True),
        ("preference-text", "weighted", True),
        ("sft", "weighted", True),
        ("llama-factory", "weighted", True),
        ("kto", "majority", True),
        ("votes", "raw", True),
        ("votes", "", True),
        ("sft", "soft", False),
        ("llama-factory", "soft", False),
        ("kto", "soft", False),
        ("kto", "weighted", False),
        ("votes", "majority", False),
        ("", "soft", True),
    ],
)
def test_a_rule_that_the_rows_cannot_tell_of_is_refused(
    pair: Comparison, signed_in: SignIn, manager: User, shape: str, votes: str, taken: bool
) -> None:
    vote(pair, "source", -1)
    answer = signed_in(manager).get(
        reverse("export-file", args=[pair.project.slug]), {"shape": shape, "votes": votes, "file": "jsonl"}
    )
    assert answer.status_code == (200 if taken else 400)
    if not taken:
        [said] = answer.context["form"].errors["votes"]
        assert said.startswith("It does not go with these rows. Choose for them: Every vote for itself")
        assert ("as most votes say" in said) == (shape != "votes")
        page = answer.content.decode()
        assert "The choice beside it cannot be exported." in page
        assert "Nothing answers this choice." not in page


@pytest.mark.parametrize("shape", ["kto", "sft", "votes", "llama-factory"])
def test_a_margin_of_rows_that_have_none_is_refused(
    pair: Comparison, signed_in: SignIn, manager: User, shape: str
) -> None:
    vote(pair, "source", -1)
    answer = signed_in(manager).get(reverse("export-file", args=[pair.project.slug]), {"shape": shape, "margin": "on"})
    assert answer.status_code == 400
    assert "These rows have no margin" in answer.content.decode()


def test_where_most_say_both_bad_the_rating_is_bad(pair: Comparison, signed_in: SignIn, manager: User) -> None:
    for n, bad in enumerate([True, True, False]):
        vote(pair, f"source-{n}", 0, both_bad=bad)
    rows = download(signed_in(manager), pair.project, shape="kto", votes="majority")
    assert [row["label"] for row in rows] == [False, False]


def test_a_raw_margin_is_the_votes_strength_and_zero_where_nobody_said(
    pair: Comparison, signed_in: SignIn, manager: User
) -> None:
    vote(pair, "a", -1, strength=3)
    vote(pair, "b", 1)
    rows = download(signed_in(manager), pair.project, margin="on")
    assert [row["margin"] for row in rows] == [3.0, 0.0]


def test_rated_answers_come_from_preferences_ties_both_bad_and_answers_alone(
    pair: Comparison, signed_in: SignIn, manager: User
) -> None:
    for name, side, bad in (("a", 1, False), ("b", 0, False), ("c", 0, True)):
        vote(pair, name, side, both_bad=bad)
    alone = [{"prompt": "Why?", "completion": text, "label": text == "Because."} for text in ("Because.", "No.")]
    import_rows(project=pair.project, file=lines_of(*alone), judged_by="raters")
    rows = download(signed_in(manager), pair.project, shape="kto")
    assert [(row["completion"][0]["content"], row["label"]) for row in rows] == [
        (FOX, False), (BADGER, True), (FOX, True), (BADGER, True), (FOX, False), (BADGER, False),
        ("Because.", True), ("No.", False),
    ]  # fmt: skip


THREE = ("a", "b", "c")


@pytest.fixture
def ranked(project: Project) -> Comparison:
    return add_comparison(
        project=project, messages=[USER], responses=[AnswerIn(text) for text in THREE], judgments_wanted=3
    )


def rank(comparison: Comparison, name: str, order: str, **more: Any) -> None:
    """`c ab`: c is the best, a and b are tied."""
    by_text = dict(zip(THREE, comparison.response_ids, strict=True))
    tiers = [[by_text[text] for text in tier] for tier in order.split()]
    record_judgment(comparison=comparison, annotator=rule_judge(name), tiers=tiers, **more)


def of_answers(rows: list[dict[str, Any]], *names: str) -> list[Any]:
    """The texts of these columns, and other values as they are."""
    return [tuple(row[n][-1]["content"] if isinstance(row[n], list) else row[n] for n in names) for row in rows]


def test_a_ranking_rates_its_first_and_last_and_is_imitated_in_its_first(
    ranked: Comparison, signed_in: SignIn, manager: User
) -> None:
    rank(ranked, "one", "b a c")
    client = signed_in(manager)
    assert of_answers(download(client, ranked.project, shape="kto"), "completion", "label") == [
        ("b", True), ("c", False)
    ]  # fmt: skip
    assert of_answers(download(client, ranked.project, shape="sft"), "messages") == [("b",)]
    rank(ranked, "two", "b c a")
    rank(ranked, "three", "a b c")
    most = {"votes": "majority"}
    assert of_answers(download(client, ranked.project, shape="sft", **most), "messages") == [("b",)]
    pairs = of_answers(download(client, ranked.project, **most), "chosen", "rejected")
    assert pairs == [("b", "a"), ("a", "c"), ("b", "c")]


def test_what_was_said_of_an_answer_alone_goes_before_its_place(
    ranked: Comparison, signed_in: SignIn, manager: User
) -> None:
    a, b, _ = ranked.response_ids
    rank(ranked, "one", "a b c", acceptable={a: False, b: True})
    client = signed_in(manager)
    assert of_answers(download(client, ranked.project, shape="kto"), "completion", "label") == [
        ("a", False), ("b", True), ("c", False)
    ]  # fmt: skip
    assert download(client, ranked.project, shape="sft") == []  # nobody should imitate what will not do
    assert len(download(client, ranked.project)) == 3


def test_of_both_good_both_are_good(pair: Comparison, signed_in: SignIn, manager: User) -> None:
    record_judgment(comparison=pair, annotator=rule_judge("x"), tiers=[pair.response_ids], both_good=True)
    client = signed_in(manager)
    assert [row["label"] for row in download(client, pair.project, shape="kto")] == [True, True]
    assert download(client, pair.project) == []
    (vote,) = download(client, pair.project, shape="votes")[0]["individual_preference"]
    assert (vote["both_good"], vote["both_bad"], vote["score"]) == (True, False, 0)


def test_an_edit_is_preferred_rated_and_imitated(ranked: Comparison, signed_in: SignIn, manager: User) -> None:
    rank(ranked, "one", "a b c", edits={ranked.response_ids[1]: "B!"}, strength=2)
    client = signed_in(manager)
    rows = download(client, ranked.project, margin="on")
    assert of_answers(rows, "chosen", "rejected", "margin") == [
        ("a", "b", 2.0), ("a", "c", 2.0), ("b", "c", 2.0), ("B!", "b", 0.0), ("B!", "c", 0.0)
    ]  # fmt: skip
    assert of_answers(download(client, ranked.project, shape="kto"), "completion", "label")[-1] == ("B!", True)
    assert of_answers(download(client, ranked.project, shape="sft"), "messages") == [("a",), ("B!",)]


def test_an_edit_is_better_than_what_its_original_was_tied_with(
    ranked: Comparison, signed_in: SignIn, manager: User
) -> None:
    rank(ranked, "one", "ab c", edits={ranked.response_ids[1]: "B!"})
    rows = download(signed_in(manager), ranked.project)
    assert of_answers(rows, "chosen", "rejected")[-3:] == [("B!", "b"), ("B!", "a"), ("B!", "c")]


def test_an_answer_that_was_edited_is_left_to_its_edit(pair: Comparison, signed_in: SignIn, manager: User) -> None:
    fox, badger = pair.response_ids
    record_judgment(comparison=pair, annotator=rule_judge("x"), tiers=[[fox], [badger]], edits={fox: "Ein Fuchs!"})
    rows = download(signed_in(manager), pair.project, shape="sft")
    assert of_answers(rows, "messages") == [("Ein Fuchs!",)]


def test_a_vote_is_told_with_all_that_it_says(pair: Comparison, signed_in: SignIn, manager: User) -> None:
    fox, badger = pair.response_ids
    record_judgment(
        comparison=pair,
        annotator=rule_judge("x"),
        tiers=[[fox], [badger]],
        tags=["clearer"],
        acceptable={badger: True},
        aspects={"true": [[badger], [fox]], "kind": [[fox, badger]]},
        edits={badger: "Ein Dachs."},
    )
    (vote,) = download(signed_in(manager), pair.project, shape="votes")[0]["individual_preference"]
    assert (vote["tags"], vote["acceptable"], vote["edited"], vote["edit"]) == (
        ["clearer"], [None, True], 2, "Ein Dachs."
    )  # fmt: skip
    assert vote["aspects"] == [{"aspect": "kind", "better": 0}, {"aspect": "true", "better": 2}]


def test_a_late_vote_that_waits_for_a_seat_is_not_exported(pair: Comparison, signed_in: SignIn, manager: User) -> None:
    vote(pair, "a", -1)
    vote(pair, "b", -1)
    Judgment.objects.filter(annotator__username="b").update(seat=None)
    assert len(download(signed_in(manager), pair.project)) == 1


def test_conversations_to_imitate_end_with_the_better_answer(judged: Project, signed_in: SignIn, manager: User) -> None:
    rows = download(signed_in(manager), judged, shape="sft", votes="majority")
    assert [[message["content"] for message in row["messages"]][-2:] for row in rows] == [["Das!", "Ein Fuchs."]]


def test_votes_are_told_one_by_one(pair: Comparison, signed_in: SignIn, manager: User, ann: User) -> None:
    vote(pair, "ann", -1, strength=3)
    vote(pair, "b", 1)
    vote(pair, "c", 0, both_bad=True)
    (row,) = download(signed_in(manager), pair.project, shape="votes")
    assert (row["context"], row["response1"], row["response2"]) == ([USER], FOX, BADGER)
    told = [(one["annotator"], one["score"], one["strength"], one["both_bad"]) for one in row["individual_preference"]]
    assert told == [("ann", -3, 3, False), ("b", 2, None, False), ("c", 0, None, True)]
    assert row["overall_preference"] == 0  # a third of -1


def test_llama_factory_gets_turns_from_human_and_gpt(judged: Project, signed_in: SignIn, manager: User) -> None:
    row = download(signed_in(manager), judged, shape="llama-factory")[2]
    assert [turn["from"] for turn in row["conversations"]] == ["human", "gpt", "human"]
    assert (row["system"], row["chosen"]) == ("Be brief.", {"from": "gpt", "value": "Ein Fuchs."})


def test_a_ranking_is_every_pair_of_it(project: Project, signed_in: SignIn, manager: User) -> None:
    three = add_comparison(project=project, messages=[USER], responses=[AnswerIn(text) for text in "abc"])
    a, b, c = three.response_ids
    record_judgment(comparison=three, annotator=rule_judge("ranker"), tiers=[[c], [a, b]])
    rows = download(signed_in(manager), project, shape="preference-text")
    assert [(row["chosen"], row["rejected"]) for row in rows] == [("c", "a"), ("c", "b")]


def test_filters_keep_the_votes_that_were_asked_for(
    pair: Comparison, signed_in: SignIn, manager: User, ann: User
) -> None:
    for name, side in (("ann", -1), ("b", -1), ("c", 1)):
        vote(pair, name, side)
    day = datetime(2026, 3, 5, tzinfo=UTC)  # its first moment
    Judgment.objects.update(created_at=day)
    Judgment.objects.filter(annotator=ann).update(created_at=day - timedelta(days=1))
    client, project = signed_in(manager), pair.project
    others = list(User.objects.filter(username__in="bc").values_list("pk", flat=True))

    def chosen(**asked: Any) -> str:
        return "".join(row["chosen"][0] for row in download(client, project, shape="preference-text", **asked))

    assert chosen() == "FFD"
    assert chosen(since="2026-03-05") == "FD"
    assert chosen(since="2026-03-04", until="2026-03-04") == "F"
    assert chosen(until="2026-03-03") == ""
    assert chosen(annotators=[ann.pk]) == "F"
    assert chosen(annotators=others) == "FD"
    assert chosen(agreement=66) == "FFD"
    assert chosen(agreement=67) == ""
    assert chosen(agreement=50, annotators=others) == "FD"
    assert chosen(purpose="gold") == ""
    Comparison.objects.update(purpose="gold")
    assert chosen() == ""
    assert (chosen(purpose="gold"), chosen(purpose="any")) == ("FFD", "FFD")


@pytest.mark.parametrize(
    "asked",
    [
        {"shape": "secret"},
        {"file": "exe"},
        {"agreement": "101"},
        {"annotators": "0"},
        {"since": "soon"},
        {"since": "2026-03-05", "until": "2026-03-04"},
    ],
)
def test_a_wrong_choice_is_explained_and_nothing_is_sent(
    judged: Project, signed_in: SignIn, manager: User, asked: dict[str, str]
) -> None:
    answer = signed_in(manager).get(reverse("export-file", args=[judged.slug]), asked)
    assert (answer.status_code, "Content-Disposition" in answer.headers) == (400, False)
    assert "errorlist" in answer.content.decode()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "'=1", "''+", "'tis", "1=1"])
def test_no_cell_of_a_table_is_a_formula_and_an_import_reads_the_text(
    project: Project, signed_in: SignIn, manager: User, tmp_path: Path, text: str
) -> None:
    import_rows(project=project, file=lines_of({"prompt": text, "chosen": text, "rejected": "x"}), judged_by="s")
    client = signed_in(manager)
    answer = client.get(reverse("export-file", args=[project.slug]), {"file": "csv", "shape": "preference-text"})
    content = b"".join(answer.streaming_content)
    header, row = csv.reader(StringIO(content.decode(), newline=""))
    assert header == ["prompt", "chosen", "rejected"]
    assert not row[0].startswith(("=", "+", "-", "@", "\t", "\r"))
    (tmp_path / "file").write_bytes(content)
    other = Project.objects.create(name="Other", slug="other")
    import_file(project=other, path=tmp_path / "file")
    assert other.prompts.get().messages[0]["content"] == text


@pytest.mark.parametrize("file", ["jsonl", "csv", "parquet"])
def test_it_is_a_file_with_a_name(judged: Project, signed_in: SignIn, manager: User, file: str) -> None:
    answer = signed_in(manager).get(reverse("export-file", args=[judged.slug]), {"file": file, "votes": "majority"})
    name = f"everyday-help-preference-majority.{file}"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert len(b"".join(answer.streaming_content)) > 0


@pytest.mark.parametrize("count", [1, 40])
def test_it_is_the_same_number_of_queries_however_many_rows(
    project: Project,
    signed_in: SignIn,
    manager: User,
    django_assert_num_queries: Callable[..., object],
    count: int,
) -> None:
    rows = [{**PAIR, "prompt": f"Question {n}"} for n in range(count)]
    import_rows(project=project, file=lines_of(*rows), judged_by="some-dataset")
    client = signed_in(manager)
    # Session, person, project; a page of comparisons, its votes, its answers; the page after it, which is empty. Then
    # the log of who did what: the project again, and its new line.
    with django_assert_num_queries(9):
        assert len(download(client, project)) == count


def test_more_comparisons_than_a_page_all_come_and_in_order(
    project: Project, signed_in: SignIn, manager: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotation.exporting.judged.PAGE", 7)
    monkeypatch.setattr("annotation.exporting.streaming.BATCH", 5)
    rows = [{**PAIR, "prompt": f"Question {n}"} for n in range(30)]
    import_rows(project=project, file=lines_of(*rows), judged_by="some-dataset")
    asked = [row["prompt"] for row in download(signed_in(manager), project, shape="preference-text")]
    assert asked == [row["prompt"] for row in rows]


def test_the_page_says_how_much_there_is(judged: Project, signed_in: SignIn, manager: User) -> None:
    html = signed_in(manager).get(reverse("export", args=[judged.slug])).content.decode()
    assert "3 preferred pairs from 4 judgments" in html
    assert "Fuchs." in html


def test_the_page_shows_the_first_row_of_what_is_asked(judged: Project, signed_in: SignIn, manager: User) -> None:
    html = signed_in(manager).get(reverse("export", args=[judged.slug]), {"shape": "kto"}).content.decode()
    assert "&quot;completion&quot;" in html
    html = signed_in(manager).get(reverse("export", args=[judged.slug]), {"purpose": "gold"}).content.decode()
    assert "Nothing answers this choice" in html


def test_the_page_of_an_empty_project_says_what_to_do(project: Project, signed_in: SignIn, manager: User) -> None:
    html = signed_in(manager).get(reverse("export", args=[project.slug])).content.decode()
    assert "There is nothing to download yet" in html


def test_only_managers_download(judged: Project, signed_in: SignIn, ann: User, stranger: User, manager: User) -> None:
    url = reverse("export-file", args=[judged.slug])
    for person in (ann, stranger):
        assert signed_in(person).get(url).status_code == 404
    assert signed_in(manager).post(url).status_code == 405


def test_for_training_keeps_one_order_and_reads_all_in_one_query(
    judged: Project, django_assert_num_queries: Callable[..., object]
) -> None:
    with django_assert_num_queries(1):
        found = [
            (row.pk, row.prompt.messages, row.chosen.text, row.rejected.text, row.judgment.annotator_id)
            for row in Preference.objects.for_training(judged)
        ]
    assert len(found) == 3
    assert [row[0] for row in found] == sorted(row[0] for row in found)


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    """A random two-layer chat model whose tokenizer knows bytes, saved as transformers saves it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: n for n, token in enumerate(["<pad>", "<end>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>")
    fast.chat_template = (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '<end>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(vocabulary), pad_token_id=0, eos_token_id=1, **size))
    folder = tmp_path / "tiny"
    fast.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def file(judged: Project, signed_in: SignIn, manager: User, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The download that the test's parameter names: shape and file format."""
    shape, kind = request.param
    asked = {"shape": shape, "file": kind, "margin": "on" if shape.startswith("preference") else ""}
    answer = signed_in(manager).get(reverse("export-file", args=[judged.slug]), asked)
    file = tmp_path / f"export.{kind}"
    file.write_bytes(b"".join(answer.streaming_content))
    return file


PREFERENCES = [
    ("preference", "jsonl"),
    ("preference", "parquet"),
    ("preference-text", "jsonl"),
    ("preference-text", "csv"),
]
ON_CPU = {
    "max_steps": 1,
    "per_device_train_batch_size": 2,
    "report_to": [],
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
}


def loaded(file: Path, tmp_path: Path) -> Any:
    """The file as a trainer's user loads it: by its kind, and nothing else."""
    from datasets import load_dataset

    kind = {"jsonl": "json"}.get(file.suffix[1:], file.suffix[1:])
    return load_dataset(kind, data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))


@pytest.mark.slow
@pytest.mark.parametrize("file", PREFERENCES, indirect=True)
def test_trls_dpo_trainer_trains_on_the_file_as_it_is(file: Path, tiny_model: Path, tmp_path: Path) -> None:
    from trl import DPOConfig, DPOTrainer

    data = loaded(file, tmp_path)
    arguments = DPOConfig(output_dir=str(tmp_path / "out"), **ON_CPU)
    result = DPOTrainer(model=str(tiny_model), args=arguments, train_dataset=data).train()

    assert len(data) == 3
    assert result.training_loss == pytest.approx(0.6931, abs=1e-3)  # ln 2: policy and reference are one


@pytest.mark.slow
@pytest.mark.parametrize("file", PREFERENCES[::3], indirect=True)  # the same files as DPO's, so two will do
def test_trls_reward_trainer_trains_on_the_file_as_it_is(file: Path, tiny_model: Path, tmp_path: Path) -> None:
    from trl import RewardConfig, RewardTrainer

    data = loaded(file, tmp_path)
    arguments = RewardConfig(output_dir=str(tmp_path / "out"), **ON_CPU)
    result = RewardTrainer(model=str(tiny_model), args=arguments, train_dataset=data).train()

    assert len(data) == 3
    assert 0 < result.training_loss < 5


@pytest.mark.slow
@pytest.mark.parametrize("file", [("kto", "parquet")], indirect=True)
def test_trls_kto_trainer_trains_on_the_file_as_it_is(file: Path, tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer
    from trl import KTOConfig, KTOTrainer

    data = loaded(file, tmp_path)
    arguments = KTOConfig(output_dir=str(tmp_path / "out"), **ON_CPU)
    tokenizer = AutoTokenizer.from_pretrained(str(tiny_model))
    result = KTOTrainer(model=str(tiny_model), args=arguments, train_dataset=data, processing_class=tokenizer).train()

    assert len(data) == 8
    assert 0 < result.training_loss < 5


@pytest.fixture
def thumbs(project: Project, ann: User) -> Project:
    """A project of one answer at a time, with a thumb up and one down."""
    Project.objects.update(kind=Project.Kind.SINGLE)
    project.refresh_from_db()
    for text, good in ((FOX, True), (BADGER, False)):
        alone = add_comparison(project=project, messages=[USER], responses=[AnswerIn(text)])
        thumb(alone, ann, good=good)
    return project


def thumb(alone: Comparison, person: User, *, good: bool, edit: str = "") -> None:
    [answer] = alone.response_ids
    said = {"acceptable": {answer: good}, "edits": {answer: edit} if edit else {}}
    record_judgment(comparison=alone, annotator=person, tiers=[[answer]], both_bad=not good, **said)


PAIRS_ALONE = ["preference", "preference-text", "votes", "llama-factory"]


@pytest.mark.parametrize("shape", PAIRS_ALONE)
def test_rows_of_pairs_are_refused_where_every_answer_was_judged_alone(
    thumbs: Project, signed_in: SignIn, manager: User, shape: str
) -> None:
    answer = signed_in(manager).get(reverse("export-file", args=[thumbs.slug]), {"shape": shape})
    assert answer.status_code == 400
    why = "Nothing here can be such a row: the answers were judged one at a time."
    there = "Rated answers (TRL KTO) · Conversations with the better answer (SFT)"
    assert answer.context["form"].errors == {"shape": [f"{why} Choose: {there}."]}


@pytest.mark.parametrize("path", ["export", "export-file"])
@pytest.mark.parametrize("asked", [{}, {"file": "jsonl"}])
def test_without_a_choice_answers_judged_alone_are_exported_as_rated(
    thumbs: Project, signed_in: SignIn, manager: User, path: str, asked: dict[str, str]
) -> None:
    client = signed_in(manager)
    if path == "export-file":
        assert [row["label"] for row in download(client, thumbs, **asked)] == [True, False]
    else:
        answer = client.get(reverse(path, args=[thumbs.slug]), asked)
        [first] = re.findall(r'<select name="shape"[^>]*>\s*<option value="(\w+)"', answer.content.decode())
        assert first == "kto"
        assert json.loads(answer.context["sample"])["completion"] == [said(FOX)]


def test_pairs_that_were_judged_before_the_project_showed_one_answer_are_still_exported(
    thumbs: Project, pair: Comparison, signed_in: SignIn, manager: User, ann: User
) -> None:
    vote(pair, "source", -1)
    client = signed_in(manager)
    assert [len(download(client, thumbs, shape=shape)) for shape in PAIRS_ALONE] == [1, 1, 1, 1]


def test_an_edit_of_an_answer_judged_alone_is_a_preference(
    thumbs: Project, signed_in: SignIn, manager: User, ann: User
) -> None:
    alone = add_comparison(project=thumbs, messages=[USER], responses=[AnswerIn("Ein Tier.")])
    thumb(alone, ann, good=False, edit="Ein Fuchs!")
    client = signed_in(manager)
    [row] = download(client, thumbs, shape="preference-text")
    assert (row["chosen"], row["rejected"]) == ("Ein Fuchs!", "Ein Tier.")
    answer = client.get(reverse("export-file", args=[thumbs.slug]), {"shape": "votes"})
    assert (answer.status_code, list(answer.context["form"].errors)) == (400, ["shape"])
    assert [row["label"] for row in download(client, thumbs)] == [True, False, False, True]
