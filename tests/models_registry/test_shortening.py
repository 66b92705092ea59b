"""Texts made shorter: signs of several characters are kept whole or left out."""

from pathlib import Path

import pytest

from models_registry.shortening import shortened

TEMPLATES = Path(__file__).parents[2] / "templates"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
THUMB = "\U0001f44d\U0001f3ff"
FLAGS = "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7"  # Germany, France
WALES = "\U0001f3f4\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f"
RAINBOW = "\U0001f3f3\ufe0f\u200d\U0001f308"


def test_what_fits_stays() -> None:
    assert shortened("twelve signs", 12) == "twelve signs"


def test_what_does_not_fit_ends_in_an_ellipsis_without_a_gap() -> None:
    assert shortened("How do I keep basil", 8) == "How do…"


@pytest.mark.parametrize("sign", [FAMILY, THUMB, WALES, RAINBOW, "e\u0301", "1\ufe0f\u20e3", FLAGS[:2]])
def test_a_sign_is_kept_whole_or_left_out(sign: str) -> None:
    text = f"ab{sign}cde"
    whole = 2 + len(sign)
    for most in range(3, whole + 1):
        assert shortened(text, most) == "ab…"
    assert shortened(text, whole + 1) == f"ab{sign}…"


def test_flags_are_cut_between_flags() -> None:
    assert shortened(FLAGS + "abc", 4) == FLAGS[:2] + "…"


def test_a_sign_longer_than_the_room_is_cut() -> None:
    assert shortened("e" + "\u0301" * 50, 10) == "e" + "\u0301" * 8 + "…"


def test_no_template_cuts_otherwise() -> None:
    files = sorted(TEMPLATES.rglob("*.html"))
    assert len(files) > 50
    assert [file.name for file in files if "truncatechars" in file.read_text()] == []
