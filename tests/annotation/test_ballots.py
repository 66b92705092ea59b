"""What the page sends, as a verdict about responses and back."""

from typing import Any

import pytest
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from annotation.ballots import CHOICES, THUMBS, Ballot
from annotation.judging import Verdict, edited_pairs
from annotation.models import Judgment, Project

CHECKED = st.dictionaries(st.sampled_from("AB"), st.booleans())
ASPECTS = st.dictionaries(st.sampled_from(["helpful", "true", "ganz wahr"]), st.sampled_from(["A", "B", "tie"]))
MORE = {"reason": st.text(max_size=20), "tags": st.lists(st.sampled_from(["clear", "safe"]), unique=True).map(tuple)}

one_answer = st.builds(Ballot, choice=st.sampled_from(sorted(THUMBS)), **MORE)
two_answers = st.builds(Ballot, choice=st.sampled_from(sorted(CHOICES)), acceptable=CHECKED, aspects=ASPECTS, **MORE)


@st.composite
def more_answers(draw: st.DrawFn) -> Ballot:
    letters = "ABCDEFGHI"[: draw(st.integers(3, 9))]
    places = {letter: draw(st.integers(1, len(letters))) for letter in letters}
    dense = {place: n for n, place in enumerate(sorted(set(places.values())), start=1)}
    return Ballot(ranks={letter: dense[place] for letter, place in places.items()})


def judgment_of(verdict: Verdict, shown_order: list[int]) -> Judgment:
    return Judgment(
        tiers=verdict.tiers,
        both_bad=verdict.both_bad,
        both_good=verdict.both_good,
        strength=verdict.strength,
        reason=verdict.reason,
        tags=list(verdict.tags),
        acceptable={str(pk): will_do for pk, will_do in verdict.acceptable.items()},
        aspects=dict(verdict.aspects),
        shown_order=shown_order,
    )


@given(st.one_of(one_answer, two_answers, more_answers()), st.randoms(use_true_random=False))
def test_a_ballot_becomes_a_judgment_and_the_judgment_gives_the_ballot_back(ballot: Ballot, random) -> None:  # type: ignore[no-untyped-def]
    answers = len(ballot.ranks) or (1 if ballot.choice in THUMBS else 2)
    shown_order = random.sample(range(10, 99), answers)
    verdict = ballot.verdict(shown_order)
    verdict.check(shown_order)
    assert Ballot.of(judgment_of(verdict, shown_order)) == ballot


def test_a_side_is_the_response_that_was_shown_there() -> None:
    verdict = Ballot(choice="b2", acceptable={"A": False, "B": True}, aspects={"true": "A"}).verdict([70, 12])
    assert verdict.tiers == [[12], [70]]
    assert verdict.strength == 2
    assert verdict.acceptable == {70: False, 12: True}
    assert verdict.aspects == {"true": [[70], [12]]}


def test_places_may_be_shared_and_need_not_be_numbered_without_gaps() -> None:
    assert Ballot(ranks={"A": 4, "B": 1, "C": 4}).verdict([30, 20, 10]).tiers == [[20], [10, 30]]


def test_a_thumb_is_the_whole_vote_on_one_answer() -> None:
    up, down = (Ballot(choice=choice).verdict([5]) for choice in ("up", "down"))
    assert (up.tiers, up.acceptable, down.acceptable) == ([[5]], {5: True}, {5: False})


@pytest.mark.parametrize(
    ("ballot", "answers"),
    [
        (Ballot(), 2),
        (Ballot(choice="up"), 2),
        (Ballot(choice="a1"), 1),
        (Ballot(choice="a1"), 3),
        (Ballot(ranks={"A": 1, "B": 2}), 3),
        (Ballot(ranks={"A": 1, "B": 2, "D": 3}), 3),
        (Ballot(choice="tie", acceptable={"C": True}), 2),
        (Ballot(choice="tie", edits={"C": "x"}), 2),
        (Ballot(choice="tie", edits={"A": "x" * 200_001}), 2),
    ],
)
def test_a_ballot_that_says_nothing_about_these_answers_is_refused(ballot: Ballot, answers: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        ballot.verdict(list(range(answers)))


@pytest.mark.parametrize("beside", [{"acceptable": {3: True}}, {"edits": {3: "Mine"}}])
def test_a_verdict_speaks_of_these_responses_alone(beside: dict[str, Any]) -> None:
    Verdict([[1], [2]]).check([1, 2])
    with pytest.raises(ValueError, match="Only responses of the comparison"):
        Verdict([[1], [2]], **beside).check([1, 2])


def test_only_what_the_project_asks_is_read() -> None:
    sent = QueryDict(
        "choice=a1&reason=%20why%0D%0A&tag=clear&tag=wrong&acceptable:A=yes&acceptable:B=perhaps"
        "&aspect:true=B&aspect:kind=A&edit:A=one%0D%0Atwo%00&rank:A=12&rank:B=3"
    )
    asks = Project(reason_tags=["safe", "clear"], aspects=["true"], asks_acceptability=True, offers_edit=True)
    assert Ballot.read(sent, asks) == Ballot(
        choice="a1",
        ranks={"B": 3},
        reason="why",
        tags=("clear",),
        acceptable={"A": True},
        aspects={"true": "B"},
        edits={"A": "one\ntwo"},
    )
    assert Ballot.read(sent, Project()) == Ballot(choice="a1", ranks={"B": 3}, reason="why")


@pytest.mark.parametrize(
    ("tiers", "edit_of", "pairs"),
    [
        ([[1], [2]], 1, [(9, 1), (9, 2)]),
        ([[1], [2]], 2, [(9, 2)]),  # that the edit beats the better one, nobody said
        ([[1, 2]], 2, [(9, 1), (9, 2)]),
        ([[1], [2, 3], [4]], 2, [(9, 2), (9, 3), (9, 4)]),
    ],
)
def test_an_edit_is_better_than_its_original_and_what_that_was_no_worse_than(
    tiers: list[list[int]], edit_of: int, pairs: list[tuple[int, int]]
) -> None:
    assert edited_pairs(tiers, edited=9, edit_of=edit_of) == pairs
