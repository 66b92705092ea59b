"""The rule that judged the demo project "Concise answers": of two answers, the shorter adequate one wins.

A rule and not a person: its judge is called `demo-rule`. Adequate means every one of these, and nothing more:

1. It is complete: the model ended it, it was not cut off, and it ends like a sentence.
2. It has at least 4 words.
3. It speaks of what was asked: it shares a word with the question, small words aside.
4. It neither refuses nor talks about being an assistant.
5. It does not go round in circles: no sentence twice, and at least 7 in 10 of its three-word sequences are new.

Nothing here checks whether an answer is true.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

JUDGE = "demo-rule"

MIN_WORDS = 4
MIN_NEW_TRIGRAMS = 0.7
# Answers this close are a tie: fewer words apart than TIE_WORDS, or by less than TIE_SHARE of the longer one.
TIE_WORDS = 3
TIE_SHARE = 0.1
MUCH_RATIO = 2.0
CLEARLY_RATIO = 1.4

SLIGHTLY, CLEARLY, MUCH = 1, 2, 3

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]*`]*$")
_ABOUT_ITSELF = re.compile(
    r"\b(?:as an? (?:ai|assistant|language model|smollm\w*)|smollm\w*|i(?:['’]m| am) (?:an? ai|here to (?:help|assist))"
    r"|i (?:cannot|can['’]t|am unable to|['’]m unable to) (?:help|assist|answer|provide)|i(?:['’]m| am) sorry)\b",
    re.IGNORECASE,
)
# What a question is made of besides its subject, the demo's own "in a short paragraph" included.
_SMALL_WORDS = """
    a about an and answer are at be best between brief briefly by can choose difference do does enough explain
    explanation few for from get give good have how i if in is it its know long make many me mean my of on or out
    paragraph people please sentence sentences short should simple so some take tell than that the there to two three
    used use we what when which who why with without words you your
"""
_SMALL = frozenset(_SMALL_WORDS.split())
_STEM = 4  # "yawning" speaks of "yawn", "cooking" of "cooked"


@dataclass(frozen=True)
class Answer:
    """One answer: its text, and whether the model ended it by itself (False: cut off at the token limit)."""

    text: str
    ended: bool


@dataclass(frozen=True)
class Verdict:
    """What the rule says. `strength` (1 slightly, 2 clearly, 3 much) is None unless there is a winner."""

    winner: Literal["first", "second", "tie", "both_bad"]
    strength: int | None
    reason: str


def verdict(question: str, first: Answer, second: Answer) -> Verdict:
    """Judge two answers to one question. Swapping the answers swaps the verdict."""
    first_fault, second_fault = fault(question, first), fault(question, second)
    if first_fault and second_fault:
        return Verdict("both_bad", None, f"Neither is adequate: one {first_fault}, the other {second_fault}.")
    if first_fault or second_fault:
        winner: Literal["first", "second"] = "second" if first_fault else "first"
        return Verdict(winner, CLEARLY, f"Only this one is adequate: the other {first_fault or second_fault}.")
    return _shorter(count_words(first.text), count_words(second.text))


def _shorter(first_words: int, second_words: int) -> Verdict:
    short, long = sorted((first_words, second_words))
    if long - short < max(TIE_WORDS, TIE_SHARE * long):
        return Verdict("tie", None, f"Both are adequate and about as long: {first_words} and {second_words} words.")
    ratio = long / short
    strength = MUCH if ratio >= MUCH_RATIO else CLEARLY if ratio >= CLEARLY_RATIO else SLIGHTLY
    winner: Literal["first", "second"] = "first" if first_words < second_words else "second"
    return Verdict(winner, strength, f"Both are adequate, this one is shorter: {short} against {long} words.")


def fault(question: str, answer: Answer) -> str:
    """Why the answer is not adequate, as the end of a sentence about it; "" when it is adequate."""
    text = answer.text.strip()
    words = [word.lower() for word in _WORD.findall(text)]
    if not answer.ended or not _SENTENCE_END.search(text):
        return "is not complete"
    if len(words) < MIN_WORDS:
        return f"has fewer than {MIN_WORDS} words"
    if _ABOUT_ITSELF.search(text):
        return "refuses or talks about being an assistant"
    if not _shares_a_word(question, words):
        return "does not speak of what was asked"
    if _repeats(text, words):
        return "repeats itself"
    return ""


def count_words(text: str) -> int:
    """Words as the rule counts them; "don't" and "well-known" are one each."""
    return len(_WORD.findall(text))


def _shares_a_word(question: str, answer_words: list[str]) -> bool:
    asked = {word.lower() for word in _WORD.findall(question)} - _SMALL
    if not asked:
        return True
    return bool({word[:_STEM] for word in asked} & {word[:_STEM] for word in answer_words})


def _repeats(text: str, words: list[str]) -> bool:
    sentences = [" ".join(_WORD.findall(part.lower())) for part in re.split(r"[.!?\n]+", text)]
    long_enough = [sentence for sentence in sentences if sentence.count(" ") >= MIN_WORDS - 1]
    if len(set(long_enough)) < len(long_enough):
        return True
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    return len(set(trigrams)) < MIN_NEW_TRIGRAMS * len(trigrams)
