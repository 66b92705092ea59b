"""The rule of the demo project "Concise answers", by examples worked out by hand."""

from __future__ import annotations

import pytest

from annotation.demo_rule import CLEARLY, MUCH, SLIGHTLY, Answer, count_words, fault, verdict

QUESTION = "Briefly: Why do ships float?"
SHORT = Answer("A ship floats because it pushes water aside.", ended=True)  # 8 words
# 16 words: twice as many.
TWICE = Answer("A ship floats because it pushes aside as much water as the whole ship itself weighs.", ended=True)
# 12 words: one and a half times.
LONGER = Answer("A ship floats because it pushes water aside with its wide hull.", ended=True)
# 11 words: 3 more.
THREE_MORE = Answer("A ship floats because it pushes water aside with its hull.", ended=True)
# 10 words: 2 more.
TWO_MORE = Answer("A big ship always floats because it pushes water aside.", ended=True)
BAD = Answer("I'm sorry, I can't help with ships.", ended=True)


@pytest.mark.parametrize(
    ("other", "words", "strength"), [(TWICE, 16, MUCH), (LONGER, 12, CLEARLY), (THREE_MORE, 11, SLIGHTLY)]
)
def test_the_shorter_adequate_answer_wins_by_as_much_as_the_lengths_differ(
    other: Answer, words: int, strength: int
) -> None:
    found = verdict(QUESTION, SHORT, other)

    assert (found.winner, found.strength) == ("first", strength)
    assert found.reason == f"Both are adequate, this one is shorter: 8 against {words} words."


def test_the_side_makes_no_difference() -> None:
    found = verdict(QUESTION, TWICE, SHORT)

    assert (found.winner, found.strength) == ("second", MUCH)


def test_answers_about_as_long_are_a_tie() -> None:
    found = verdict(QUESTION, SHORT, TWO_MORE)

    assert (found.winner, found.strength) == ("tie", None)
    assert "8 and 10 words" in found.reason


def test_three_words_more_are_still_a_tie_between_long_answers() -> None:
    words = [f"ship{number}" for number in range(60)]
    long, longer = Answer(" ".join(words) + ".", ended=True), Answer(" ".join(words + words[:3]) + ".", ended=True)

    assert verdict(QUESTION, long, longer).winner == "tie"


def test_the_only_adequate_answer_wins_although_it_is_longer() -> None:
    found = verdict(QUESTION, TWICE, BAD)

    assert (found.winner, found.strength) == ("first", CLEARLY)
    assert found.reason == "Only this one is adequate: the other refuses or talks about being an assistant."
    assert verdict(QUESTION, BAD, TWICE).winner == "second"


def test_two_inadequate_answers_are_both_bad() -> None:
    found = verdict(QUESTION, BAD, Answer("Ships float because", ended=False))

    assert (found.winner, found.strength) == ("both_bad", None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A ship floats because it pushes water aside.", ""),
        ('They float, and the hull is "hollow."', ""),
        ("**Ships float because they are hollow.**", ""),
        ("The reasons why ships float are these:", "is not complete"),
        ("A ship floats because it pushes water", "is not complete"),
        ("", "is not complete"),
        ("Ships are hollow.", "has fewer than 4 words"),
        ("As an AI, I think that ships float well.", "refuses or talks about being an assistant"),
        ("I'm SmolLM, and ships are what I like.", "refuses or talks about being an assistant"),
        ("I’m here to help you with ships today.", "refuses or talks about being an assistant"),
        ("It pushes a lot of water aside.", "does not speak of what was asked"),
        ("Briefly, this is a very short explanation.", "does not speak of what was asked"),
        ("Ships float on water. They are hollow. Ships float on water.", "repeats itself"),
        ("A ship is a ship is a ship is a ship is a ship.", "repeats itself"),
    ],
)
def test_an_answer_is_adequate_unless_it_has_one_of_the_stated_faults(text: str, expected: str) -> None:
    assert fault(QUESTION, Answer(text, ended=True)) == expected


def test_an_answer_that_was_cut_off_is_not_adequate() -> None:
    assert fault(QUESTION, Answer(SHORT.text, ended=False)) == "is not complete"


def test_a_word_of_the_question_counts_in_another_form() -> None:
    assert fault("Why do we yawn?", Answer("Yawning cools the brain a little.", ended=True)) == ""


def test_a_question_of_small_words_alone_asks_for_nothing_in_particular() -> None:
    assert fault("What is it?", Answer("Nobody can say that for sure.", ended=True)) == ""


@pytest.mark.parametrize(("text", "words"), [("don't look", 2), ("a well-known fact", 3), ("", 0), ("7 × 8 = 56", 3)])
def test_words_are_counted_as_people_do(text: str, words: int) -> None:
    assert count_words(text) == words
