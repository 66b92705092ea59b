"""How the demo's script chooses which of the sampled answers it keeps."""

from __future__ import annotations

from typing import Any

from demo.sample_answers import CONCISE, EVERYDAY, choose_pair, distinct


def response(text: str, *, ended: bool = True) -> dict[str, Any]:
    return {"text": text, "ended": ended}


def test_the_shortest_and_the_longest_complete_answer_are_a_pair_in_the_order_drawn() -> None:
    middle, long, short = response("one two three"), response("one two three four"), response("one two")

    assert choose_pair([middle, long, short]) == [long, short]


def test_an_answer_that_was_cut_off_is_in_no_pair() -> None:
    cut_off = response("one two three four five", ended=False)

    assert choose_pair([cut_off, response("one"), response("one two")]) == [response("one"), response("one two")]
    assert choose_pair([cut_off, response("one")]) is None


def test_the_same_text_twice_is_no_pair() -> None:
    assert choose_pair([response("one two"), response("one two")]) is None


def test_equal_lengths_still_make_a_pair_of_two_answers() -> None:
    assert choose_pair([response("one two"), response("two one")]) == [response("one two"), response("two one")]


def test_empty_and_repeated_texts_are_dropped_and_the_first_is_kept() -> None:
    first, second = {**response("one"), "n": 0}, {**response("one"), "n": 1}

    assert distinct([response("  "), first, response("two"), second]) == [first, response("two")]


def test_everyday_prompts_get_two_to_four_answers_and_concise_ones_at_least_two() -> None:
    assert {sampling.n for sampling in EVERYDAY} == {2, 3, 4}
    assert CONCISE.n >= 2
