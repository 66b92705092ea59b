"""Where answers that begin alike are cut: what is shown in two parts reads as it did in one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.common_start import SHORTEST, common_start
from annotation.rendering import render

LONG = "A paragraph that both answers begin with, long enough to be worth folding away. " * 4

WORDS = "words that go on and on without a full stop " * 6

BLOCKS = st.sampled_from(
    [
        LONG.strip(),
        "Short.",
        "## A heading",
        "- one\n- two",
        "> said",
        "```python\nx = 1\n\ny = 2\n```",
        "```\nnever closed",
        "    indented",
        "$$\nx^2\n\ny\n$$",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        r"\begin{align}x\end{align}",
        "[link][1]",
        "[1]: https://example.org",
    ]
)
TEXTS = st.lists(BLOCKS, max_size=5).map("\n\n".join)


def test_the_paragraphs_that_both_begin_with_are_found() -> None:
    start = f"{LONG}\n\nSecond paragraph.\n\n"
    assert common_start([start + "Left goes on.", start + "Right goes on."]) == len(start)


def test_a_paragraph_is_cut_where_a_sentence_begins() -> None:
    assert common_start([f"{LONG}The rest is left.", f"{LONG}The rest is right."]) == len(LONG)
    assert common_start([f"{LONG}Some, e.g. left.", f"{LONG}Some, e.g. right."]) == len(
        LONG
    )  # no sentence begins small
    chinese = "我们每天早上给植物浇水，然后把它们放在阳光下。" * 10
    assert common_start([f"{chinese}左边。", f"{chinese}右边。"]) == len(chinese)


def test_a_sentence_is_taken_where_it_folds_much_more_than_the_block_before() -> None:
    start = f"{LONG}\n\n"
    assert common_start([f"{start}{LONG}Left.", f"{start}{LONG}Right."]) == len(start + LONG)
    assert common_start([f"{start}Short. Left.", f"{start}Short. Right."]) == len(start)


@pytest.mark.parametrize(
    "texts",
    [
        ["Short.\n\nLeft", "Short.\n\nRight"],
        [f"{WORDS}\n\nSame", f"{WORDS}\n\n"],  # nothing would be left of the second
        [f"{WORDS} and left\n\nx", f"{WORDS} and right\n\nx"],  # no block and no sentence ends in what is shared
        [f"*{LONG}Left.*", f"*{LONG}Right.*"],  # emphasis would end in the middle
        [f"- {LONG}Left.", f"- {LONG}Right."],
        [f"{LONG}Left {WORDS * 100}", f"{LONG}Right {WORDS * 100}"],  # to find out would take long
        [f"| {LONG}Left. |\n|---|\n| x |", f"| {LONG}Right. |\n|---|\n| x |"],
        [f"\N{HEBREW LETTER ALEF} {LONG}Left.", f"\N{HEBREW LETTER ALEF} {LONG}Right."],  # the rest would turn round
        [f"```\n{LONG}\n\nleft\n```", f"```\n{LONG}\n\nright\n```"],
        [f"$$\n{LONG}\n\nleft$$", f"$$\n{LONG}\n\nright$$"],
        [f"- {LONG}\n\n- left", f"- {LONG}\n\n- right"],
        [f"{LONG}\n\n[1]: https://a.org", f"{LONG}\n\n[1]: https://b.org"],
        [f"{LONG}\n\nonly one"],
    ],
)
def test_nothing_is_folded_where_it_would_not_pay_or_would_break(texts: list[str]) -> None:
    assert common_start(texts) == 0


@given(TEXTS, st.sampled_from(["", LONG, f"*{LONG}", f"{LONG}$x.", f"{LONG}`", f"# {LONG}"]), TEXTS, TEXTS)
def test_a_cut_never_changes_what_is_shown(shared: str, begun: str, left: str, right: str) -> None:
    texts = [f"{LONG}\n\n{shared}\n\n{begun}{side} {rest}" for side, rest in (("L. A*", left), ("R.`", right))]
    cut = common_start(texts)
    assert cut == 0 or cut > SHORTEST
    for text in texts:
        start, rest = text_of(render(text[:cut])), text_of(render(text[cut:]))
        joined = start.removesuffix("</p>") + rest.removeprefix('<pdir="ltr">').removeprefix(
            "<p>"
        )  # one paragraph became two
        assert text_of(render(text)) in (start + rest, joined)


def text_of(html: str) -> str:
    """The words and the blocks, without the white space between blocks."""
    return "".join(html.split())
