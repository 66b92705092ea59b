"""Where answers that begin alike are cut: what is shown in two parts reads as it did in one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.common_start import SHORTEST, common_start
from annotation.rendering import render

LONG = "A paragraph that both answers begin with, long enough to be worth folding away. " * 4

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


@pytest.mark.parametrize(
    "texts",
    [
        ["Short.\n\nLeft", "Short.\n\nRight"],
        [f"{LONG}\n\nSame", f"{LONG}\n\n"],  # nothing would be left of the second
        [f"{LONG} and left\n\nx", f"{LONG} and right\n\nx"],  # no block ends in what is shared
        [f"```\n{LONG}\n\nleft\n```", f"```\n{LONG}\n\nright\n```"],
        [f"$$\n{LONG}\n\nleft$$", f"$$\n{LONG}\n\nright$$"],
        [f"- {LONG}\n\n- left", f"- {LONG}\n\n- right"],
        [f"{LONG}\n\n[1]: https://a.org", f"{LONG}\n\n[1]: https://b.org"],
        [f"{LONG}\n\nonly one"],
    ],
)
def test_nothing_is_folded_where_it_would_not_pay_or_would_break(texts: list[str]) -> None:
    assert common_start(texts) == 0


@given(TEXTS, TEXTS, TEXTS)
def test_a_cut_never_changes_what_is_shown(shared: str, left: str, right: str) -> None:
    texts = [f"{LONG}\n\n{shared}\n\n{rest}" for rest in (left, right)]
    cut = common_start(texts)
    assert cut == 0 or cut > SHORTEST
    for text in texts:
        assert text_of(render(text[:cut])) + text_of(render(text[cut:])) == text_of(render(text))


def text_of(html: str) -> str:
    """The words and the blocks, without the white space between blocks."""
    return "".join(html.split())
