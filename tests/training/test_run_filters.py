"""Spans, moments and numbers as people read them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.timezone import now

from models_registry.templatetags.numbers import short, signed
from training.templatetags.runs import brief, left


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (250, "4 min 10 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (90_000, "1 d 1 h"),
        (-3, "0 s"),
    ],
)
def test_a_span_is_told_in_two_units(seconds: float, words: str) -> None:
    assert brief(timedelta(seconds=seconds)) == words


def test_a_span_that_is_not_known_is_a_dash() -> None:
    assert brief(None) == "–"


def test_what_is_left_is_rounded_to_minutes_and_never_negative() -> None:
    assert left(now() + timedelta(seconds=250)) == "4 min left"
    assert left(now() + timedelta(seconds=45.5)).endswith("s left")
    assert left(now() - timedelta(seconds=1)) == ""
    assert left(None) == ""


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.123456, "0.1235"),
        (123_456.7, "123,457"),
        (5e-6, "5e-06"),
        (None, "–"),
        (2.0, "2"),
        (-1.5, "\N{MINUS SIGN}1.5"),
    ],
)
def test_a_number_has_four_digits(value: float | None, words: str) -> None:
    assert short(value) == words


def test_a_change_has_its_sign() -> None:
    assert signed(1.5) == "+1.5"
    assert signed(-0.25) == "\N{MINUS SIGN}0.25"
    assert signed(0.0) == "0"
    assert signed(None) == ""
