"""What is kept in English is recognised by its sentence, whatever stands in it."""

from collections.abc import Iterator
from time import process_time

import pytest
from django.utils.translation import override

from models_registry import sayings
from models_registry.sayings import said, saying

KNOWN = {
    "%(what)s has %(rest)s.": "%(what)s besitzt %(rest)s.",
    "%(what)s has %(n)d eggs.": "%(what)s hat %(n)d Eier.",
    "%(what)s is at least %(share)s.": "Mindestens %(share)s ist %(what)s.",
    "%(what)s is 100 %% %(full)s.": "%(what)s ist zu 100 %% %(full)s.",
    "%(where)s: %(what)s": "%(where)s: %(what)s",
    "the nest": "das Nest",
    "branch %(n)d": "Ast %(n)d",
}
ONLY_TRANSLATED = {"prompt": "Frage", "": "what a catalogue says of itself"}


@pytest.fixture(autouse=True)
def reads_german(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sayings, "_known", [])
    monkeypatch.setattr(sayings, "gettext", lambda text: (KNOWN | ONLY_TRANSLATED).get(text, text))
    for sentence in KNOWN:
        saying(sentence)
    with override("de"):
        yield


@pytest.mark.parametrize(
    ("kept", "german"),
    [
        ("the nest", "das Nest"),
        ("the nest has 3 eggs.", "das Nest hat 3 Eier."),
        ("It has -3 eggs.", "It hat -3 Eier."),
        ("the nest has no eggs.", "das Nest besitzt no eggs."),
        ("branch 2, the nest, left has 3 eggs.", "Ast 2, das Nest, left hat 3 Eier."),
        ("It has 2012 eggs.", "It hat 2012 Eier."),
        ("It has 1,234,567 eggs.", "It hat 1.234.567 Eier."),
        ("It is at least 0.05.", "Mindestens 0,05 ist It."),
        ("It is at least 1,234.50.", "Mindestens 1.234,50 ist It."),
        ("It is at least 1.2.3.", "Mindestens 1.2.3 ist It."),
        ("the nest is 100 % wet.", "das Nest ist zu 100 % wet."),
        ("It has two\nlines.", "It besitzt two\nlines."),
        ("branch 2: leaf: the nest has 3 eggs.", "Ast 2: leaf: das Nest hat 3 Eier."),
        ("nobody knows this", "nobody knows this"),
        ("", ""),
    ],
)
def test_a_sentence_is_told_with_what_stands_in_it(kept: str, german: str) -> None:
    assert said(kept) == german


def test_a_name_that_happens_to_be_a_word_stays() -> None:
    assert said("prompt") == "Frage"
    assert said("prompt has 3 eggs.") == "prompt hat 3 Eier."


def test_a_text_that_looks_like_sentences_all_through_is_soon_done_with() -> None:
    """What a library writes has no bounds: neither time nor the stack may grow with it."""
    error = "a, b: " * 400
    began = process_time()
    assert said(error) == error
    assert process_time() - began < 1


def test_english_stays_as_it_was_kept() -> None:
    with override("en"):
        assert said("the nest has 3 eggs.") == "the nest has 3 eggs."
