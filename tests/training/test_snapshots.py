"""Frozen datasets: what goes in, on which side, and that the same votes make the same bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from django.utils.timezone import now
from hypothesis import given
from hypothesis import strategies as st

from annotation.ballots import Ballot
from annotation.judging import write_judgment
from annotation.models import Comparison, Preference, Project, Prompt, User
from annotation.services import AnswerIn, add_comparison
from training.models import Snapshot
from training.snapshot_filter import Filter, FilterError
from training.snapshots import freeze, held_out, preview, read_rows

from .conftest import sha, vote

pytestmark = pytest.mark.django_db

MakeComparison = Callable[..., Comparison]


@pytest.fixture
def make_comparison(project: Project) -> MakeComparison:
    def make(question: str, *answers: str) -> Comparison:
        asked = [{"role": "user", "content": question}]
        return add_comparison(project=project, messages=asked, responses=[AnswerIn(text) for text in answers])

    return make


def rows(snapshot: Snapshot, name: str) -> list[dict[str, object]]:
    return list(read_rows(snapshot, name))


def test_pairs_are_frozen_with_prompt_answers_and_origin(
    project: Project, annotator: User, votes: list[Preference]
) -> None:
    strong = vote(project, annotator, "Strong?", "Yes.", "No, and here is why.", strength=3)
    assert strong is not None
    snapshot = freeze(method="dpo", project=project, created_by=annotator)
    found = {row["id"]: row for name in ("train", "eval") for row in rows(snapshot, name)}
    assert len(found) == 21 == snapshot.train_rows + snapshot.eval_rows
    assert found[str(strong.pk)] == {
        "id": str(strong.pk),
        "prompt": [{"role": "user", "content": "Strong?"}],
        "chosen": "Yes.",
        "chosen_ended": True,
        "rejected": "No, and here is why.",
        "rejected_ended": True,
        "margin": 3.0,
        "weight": 1.0,
        "judgment": strong.judgment_id,
    }
    assert "margin" not in found[str(votes[0].pk)]


def test_no_prompt_is_on_both_sides(project: Project, annotator: User, votes: list[Preference]) -> None:
    snapshot = freeze(method="dpo", project=project, created_by=annotator, holdout=0.3)
    sides = [{json.dumps(row["prompt"]) for row in rows(snapshot, name)} for name in ("train", "eval")]
    assert sides[0]
    assert sides[1]
    assert not sides[0] & sides[1]


def test_the_same_votes_make_the_same_snapshot(project: Project, annotator: User, votes: list[Preference]) -> None:
    first = freeze(method="dpo", project=project, created_by=annotator)
    second = freeze(method="reward", project=project, created_by=None)
    assert first == second
    assert Snapshot.objects.count() == 1


def test_one_more_vote_makes_another_snapshot(project: Project, annotator: User, votes: list[Preference]) -> None:
    first = freeze(method="dpo", project=project, created_by=annotator)
    vote(project, annotator, "One more?")
    second = freeze(method="dpo", project=project, created_by=annotator)
    assert first.sha256 != second.sha256


def test_the_hash_is_that_of_the_files(
    project: Project, annotator: User, votes: list[Preference], tmp_path: Path
) -> None:
    snapshot = freeze(method="dpo", project=project, created_by=annotator)
    for entry in (snapshot.files["train"], snapshot.files["eval"]):
        content = (tmp_path / "artifacts" / entry["path"]).read_text()
        assert sha(content) == entry["sha256"]
        assert content.count("\n") == entry["rows"]
    assert snapshot.sha256 == sha(snapshot.files["eval"]["sha256"] + snapshot.files["train"]["sha256"])


def test_sft_learns_from_an_edit_instead_of_its_original_and_from_the_first_of_a_ranking(
    project: Project, annotator: User, make_comparison: MakeComparison
) -> None:
    edited = make_comparison("Edited?", "Good.", "Bad.")
    verdict = Ballot(choice="a2", edits={"A": "Better."}).verdict(edited.response_ids)
    write_judgment(edited, annotator, verdict, seat=1, shown_order=edited.response_ids)
    ranked = make_comparison("Ranked?", "Third.", "First.", "Second.")
    verdict = Ballot(ranks={"A": 3, "B": 1, "C": 2}).verdict(ranked.response_ids)
    write_judgment(ranked, annotator, verdict, seat=1, shown_order=ranked.response_ids)

    sft = freeze(method="sft", project=project, created_by=annotator)

    answers = sorted(str(row["response"]) for name in ("train", "eval") for row in rows(sft, name))
    assert answers == ["Better.", "First."]
    assert preview("sft", project).rows == 2
    assert preview("dpo", project).rows == 6


def test_ppo_gets_every_prompt_once_and_sft_every_winning_answer_once(
    project: Project, annotator: User, votes: list[Preference]
) -> None:
    vote(project, annotator, "Question 0?", "Answer 0.", "Yet another loser.")
    Prompt.objects.create(project=project, messages=[{"role": "user", "content": "Unjudged?"}], content_hash="u")
    ppo = freeze(method="ppo", project=project, created_by=annotator)
    assert ppo.train_rows + ppo.eval_rows == 11
    assert set(rows(ppo, "train")[0]) == {"id", "prompt"}
    sft = freeze(method="sft", project=project, created_by=annotator)
    texts = [row["response"] for name in ("train", "eval") for row in rows(sft, name)]
    assert sorted(texts) == sorted(f"Answer {number}." for number in range(20))


def test_an_answer_that_was_cut_off_is_told_apart(project: Project, annotator: User, admin: User) -> None:
    for number, (winner, loser) in enumerate([(False, True), (True, False), (None, "no")]):
        made = vote(project, annotator, f"Question {number}?", f"Winner {number}", f"Loser {number}")
        assert made is not None
        for response, ended in ((made.chosen, winner), (made.rejected, loser)):
            response.sampling = {"temperature": 0.8, "ended": ended}
            response.save()
    snapshot = freeze(method="dpo", project=project, created_by=annotator)
    found = {row["chosen"]: row for name in ("train", "eval") for row in rows(snapshot, name)}
    ended = [(found[f"Winner {n}"]["chosen_ended"], found[f"Winner {n}"]["rejected_ended"]) for n in range(3)]
    assert ended == [(False, True), (True, False), (True, True)]  # what is unknown counts as ended
    sft = freeze(method="sft", project=project, created_by=annotator)
    answers = {row["response"]: row["response_ended"] for name in ("train", "eval") for row in rows(sft, name)}
    assert answers == {"Winner 0": False, "Winner 1": True, "Winner 2": True}


def test_a_filter_chooses_by_strength_purpose_date_and_person(
    project: Project, annotator: User, admin: User, votes: list[Preference]
) -> None:
    vote(project, annotator, "Much?", strength=3)
    vote(project, annotator, "Gold?", purpose=Comparison.Purpose.GOLD)
    vote(project, admin, "By Ada?")
    old = vote(project, annotator, "Old?")
    assert old is not None
    Preference.objects.filter(pk=old.pk).update(created_at=now() - timedelta(days=30))

    def count(**wanted: object) -> int:
        return preview("dpo", project, Filter(**wanted)).rows  # type: ignore[arg-type]

    assert count() == 23
    assert count(min_strength=2) == 1
    assert count(purposes=("gold",)) == 1
    assert count(annotators=("admin",)) == 1
    today = now().date()
    assert count(until=today - timedelta(days=29)) == 1
    assert count(until=today - timedelta(days=30)) == 1
    assert count(until=today - timedelta(days=31)) == 0
    assert count(since=today) == 22


def test_the_preview_counts_what_freezing_writes(project: Project, annotator: User, votes: list[Preference]) -> None:
    vote(project, annotator, "Tie?", tie=True)
    vote(project, annotator, "Question 0?", "Answer 0.", "Another loser, 18.")  # a second time: one row of SFT's
    for method in ("dpo", "reward", "sft", "ppo"):
        told = preview(method, project)
        snapshot = freeze(method=method, project=project, created_by=annotator)
        assert (told.train_rows, told.eval_rows) == (snapshot.train_rows, snapshot.eval_rows), method
        assert told.undecided == 1
    assert preview("dpo", project).mean_length_difference == pytest.approx(-9.0)


def test_a_filter_that_cannot_be_read_names_every_entry() -> None:
    with pytest.raises(FilterError) as caught:
        Filter.from_dict({"since": "yesterday", "min_strength": 7, "colour": "red", "purposes": ["none"]})
    assert set(caught.value.errors) == {"since", "min_strength", "colour", "purposes"}


def test_a_filter_comes_back_as_it_was_stored() -> None:
    chosen = Filter(2, ("collect", "gold"), date(2026, 1, 2), date(2026, 2, 3), ("nina",))
    assert Filter.from_dict(json.loads(json.dumps(chosen.to_dict()))) == chosen


@given(hashes=st.sets(st.text(min_size=1, max_size=8), max_size=40), seed=st.integers(0, 5), holdout=st.floats(0, 1))
def test_both_sides_have_a_prompt_whenever_there_are_two(hashes: set[str], seed: int, holdout: float) -> None:
    prompts = list(enumerate(sorted(hashes)))
    out = held_out(prompts, split_seed=seed, holdout=holdout)
    if len(prompts) >= 2:
        assert 1 <= len(out) <= len(prompts) - 1
    else:
        assert out == set()


@given(hashes=st.sets(st.text(min_size=1, max_size=8), min_size=20, max_size=60))
def test_a_prompt_stays_on_its_side_as_the_project_grows(hashes: set[str]) -> None:
    prompts = list(enumerate(sorted(hashes)))
    before = held_out(prompts[:-5], split_seed=0, holdout=0.5)
    after = held_out(prompts, split_seed=0, holdout=0.5)
    kept = {pk for pk, _ in prompts[:-5]}
    if 1 < len(before) < len(kept) - 1:
        assert after & kept == before
    else:
        assert after
