"""Reading: what people and models write in any language and length, ways to look at it, and what a screen reader finds.

axe-core (MPL-2.0) lies in `axe/`, for these tests alone; no page of the site loads it.
"""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from annotation.models import Flag, Project, Role, User
from annotation.services import AnswerIn
from tests.e2e.conftest import LABEL
from tests.e2e.people import Pair, add_in_order, make_annotator, make_project

SignIn = Callable[[User], None]
AXE = Path(__file__).parent / "axe" / "axe-4.14.1.min.js"
PHONE = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
DESKTOP = {"viewport": {"width": 1280, "height": 800}}

ARABIC = "يحتاج الريحان إلى **ست ساعات** من الشمس كل يوم.\n\n1. اسقه صباحًا\n2. لا تبلل الأوراق (see RFC 9110)"
CHINESE = "罗勒每天需要六个小时的阳光。\n\n| 植物 | 水 |\n|---|---|\n| 罗勒 | 每天 |"
EMOJI = "Water it 💧, give it sun ☀️, and thank it 👩🏽‍🌾 🇨🇦."
CODE = (
    "```python\n" + "very_long_name_of_a_function(argument_one, argument_two, argument_three)  # " + "x" * 90 + "\n```"
)
LATEX = r"The area is $\pi r^2$, so" + "\n\n" + r"\[\int_0^\infty e^{-x^2}\,dx = \frac{\sqrt{\pi}}{2}\]"
LONG = "\n\n".join(f"Paragraph {n} of a long answer. " + "It goes on and on. " * 14 for n in range(102))
WIDE = "| " + " | ".join(f"column number {n}" for n in range(14)) + " |\n|" + "---|" * 14 + "\n" + "| value " * 14 + "|"

KINDS_OF_TEXT = (
    Pair("Number 1: كيف أعتني بالريحان؟", ARABIC, "اسقه."),
    Pair("Number 2: 如何照顾罗勒?", CHINESE, "浇水。"),
    Pair("Number 3: Emoji only, please.", EMOJI, "🌿"),
    Pair("Number 4: Show me code.", CODE, "`print()`"),
    Pair("Number 5: Show me a formula.", LATEX, "$x$"),
    Pair("Number 6: Tell me everything.", LONG, LONG[:15_000]),
    Pair("Number 7: A wide table?", WIDE, "No."),
)


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def view(
    request: pytest.FixtureRequest, browser: Browser, context: BrowserContext, live_stack: object
) -> Iterator[Callable[[], Page]]:
    """Pages of a window of this size, with the cookies that `context` has by then."""
    other = browser.new_context(base_url=live_stack.url, **request.param)  # type: ignore[attr-defined]

    def new_page() -> Page:
        other.add_cookies(context.cookies())  # type: ignore[arg-type]
        return other.new_page()

    yield new_page
    other.close()


def opened(page: Page) -> Page:
    page.goto(LABEL)
    expect(page.locator(".answer").first).to_be_visible()
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)
    return page


def walk(page: Page, project: Project) -> Iterator[Page]:
    """The project's comparisons one after the other; what is left is skipped."""
    total = project.comparisons.count()
    opened(page)
    for n in range(1, total + 1):
        expect(page.locator(".conversation").get_by_text(f"Number {n}", exact=False)).to_be_visible()
        yield page
        if n < total:
            page.keyboard.press("Escape")
            page.wait_for_timeout(300)
            page.keyboard.press("s")
            page.keyboard.press("1")


def test_no_text_breaks_the_page(view: Callable[[], Page], sign_in: SignIn) -> None:
    assert len(LONG) > 30_000
    project = make_project(pairs=KINDS_OF_TEXT)
    sign_in(make_annotator(project))
    for page in walk(view(), project):
        width, height = page.viewport_size["width"], page.viewport_size["height"]  # type: ignore[index]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        boxes = [box for button in page.locator(".choice").all() if (box := button.bounding_box())]
        assert len(boxes) == 8
        for box in boxes:
            assert min(box["width"], box["height"]) >= 24
            assert box["y"] + box["height"] <= height
        # No card is wider than what one sees of it.
        cards = page.locator(".answer").all()
        assert [card.evaluate("one => one.scrollWidth <= one.clientWidth") for card in cards] == [True, True]


def test_arabic_runs_from_the_right_beside_english(page: Page, live_stack: object, sign_in: SignIn) -> None:
    sign_in(make_annotator(make_project(pairs=(Pair("Basil?", ARABIC, "Water it."),))))
    opened(page)

    def direction(text: str) -> str:
        return str(
            page.locator(".answer p, .answer li")
            .filter(has_text=text)
            .first.evaluate("e => getComputedStyle(e).direction")
        )

    assert direction("الشمس") == "rtl"
    assert direction("اسقه") == "rtl"
    assert direction("Water it") == "ltr"


def test_differences_are_marked_by_word_and_move_nothing(page: Page, live_stack: object, sign_in: SignIn) -> None:
    sign_in(
        make_annotator(
            make_project(
                pairs=(Pair("Basil?", "Water it **every** day in the sun.", "Water it every morning in the sun."),)
            )
        )
    )
    opened(page)
    before = page.locator(".answers").bounding_box()
    page.keyboard.press("d")
    expect(page.locator("[data-lens=diff]")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("[...CSS.highlights.get('differs')].map(String).sort()") == ["day", "morning"]
    expect(page.locator("#said")).to_have_text("Differences: 1 / 1")
    assert page.locator(".answers").bounding_box() == before
    page.keyboard.press("d")
    assert page.evaluate("CSS.highlights.has('differs')") is False


def test_the_words_that_differ(page: Page, live_stack: object, sign_in: SignIn) -> None:
    cases = (
        ("a b c d e f", "a x c d f", ["b", "e", "x"]),
        ("the the the cat", "the cat the the", ["cat", "cat"]),
        ("one", "two", ["one", "two"]),
        ("same words here", "same words here", []),
        ("罗勒每天需要阳光", "罗勒每天需要水", ["水", "阳光"]),
    )
    project = make_project(pairs=())
    for n, (one, other, _marked) in enumerate(cases, start=1):
        asked = [{"role": "user", "content": f"Number {n}"}]
        add_in_order(project, asked, AnswerIn(one, author_label="x"), AnswerIn(other, author_label="y"))
    sign_in(make_annotator(project))
    found = []
    for n, _ in enumerate(walk(page, project)):
        if n == 0:
            page.keyboard.press("d")  # once: it stays so
        page.wait_for_function("() => CSS.highlights.has('differs')")
        found.append(page.evaluate("[...CSS.highlights.get('differs')].map(String).sort()"))
    assert found == [marked for _one, _other, marked in cases]


def test_the_differences_of_long_answers_are_found_fast(page: Page, live_stack: object, sign_in: SignIn) -> None:
    other = LONG.replace("Paragraph 50 of", "Paragraph fifty of").replace(
        "Paragraph 90 of a long", "Paragraph 90 of a short"
    )
    sign_in(make_annotator(make_project(pairs=(Pair("Everything?", LONG, other),))))
    opened(page)
    took = page.evaluate(
        "() => { const at = performance.now(); document.querySelector('[data-lens=diff]').click();"
        " return performance.now() - at; }"
    )
    assert page.evaluate("[...CSS.highlights.get('differs')].map(String).sort()") == ["50", "fifty", "long", "short"]
    assert took < 1000  # once, at a key; a busy machine is slow


def test_answers_scroll_in_step_or_apart(page: Page, live_stack: object, sign_in: SignIn) -> None:
    sign_in(make_annotator(make_project(pairs=(Pair("Everything?", LONG, f"Well.\n\n{LONG[:15_000]}"),))))
    opened(page)
    panes = page.locator(".answer .text")
    page.keyboard.press("y")
    expect(page.get_by_role("button", name="Scroll: in step")).to_be_visible()
    panes.nth(0).evaluate("pane => { pane.scrollTop = pane.scrollHeight; }")
    page.wait_for_timeout(300)
    at_end = "pane => pane.scrollTop + pane.clientHeight >= pane.scrollHeight - 2"
    assert panes.nth(1).evaluate(at_end)
    page.keyboard.press("y")
    panes.nth(0).evaluate("pane => { pane.scrollTop = 0; }")
    page.wait_for_timeout(300)
    assert panes.nth(1).evaluate(at_end)


def test_in_step_the_wheel_over_a_short_answer_moves_the_long_one(
    page: Page, live_stack: object, sign_in: SignIn
) -> None:
    sign_in(make_annotator(make_project(pairs=(Pair("Everything?", LONG, "Yes."),))))
    opened(page)
    page.keyboard.press("y")
    long, short = sorted(page.locator(".answer .text").all(), key=lambda pane: len(pane.inner_text()), reverse=True)
    short.hover()
    page.mouse.wheel(0, 200)
    page.wait_for_timeout(300)
    assert long.evaluate("pane => pane.scrollTop") == 200
    assert page.evaluate("scrollY") == 0


def test_a_common_start_is_folded_and_opens_at_a_key(page: Page, live_stack: object, sign_in: SignIn) -> None:
    start = "Both say this at first, at length. " * 9
    sign_in(make_annotator(make_project(pairs=(Pair("Basil?", f"{start}\n\nWater it.", f"{start}\n\nMove it."),))))
    opened(page)
    both = page.get_by_text("Both say this")
    assert [one.is_visible() for one in both.all()] == [False, False]
    page.keyboard.press("c")
    assert [one.is_visible() for one in both.all()] == [True, True]


def test_a_long_conversation_folds_its_earlier_turns(page: Page, live_stack: object, sign_in: SignIn) -> None:
    project = make_project(pairs=())
    turns = [{"role": "system", "content": "Be brief."}]
    for n in range(1, 5):
        turns += [{"role": "user", "content": f"Question {n}"}, {"role": "assistant", "content": f"Reply {n}"}]
    turns.append({"role": "user", "content": "The last question"})
    add_in_order(project, turns, AnswerIn("Yes."), AnswerIn("No."))
    sign_in(make_annotator(project))
    opened(page)
    expect(page.get_by_text("The last question")).to_be_visible()
    expect(page.get_by_text("Be brief.")).to_be_visible()
    expect(page.get_by_text("Question 1")).to_be_hidden()
    page.get_by_text("6 earlier messages").click()
    expect(page.get_by_text("Question 1")).to_be_visible()


def everything(*counts: int) -> Project:
    """A project that asks all there is, with one comparison of as many answers as each count says."""
    project = make_project(
        pairs=(),
        offers_both_good=True,
        asks_acceptability=True,
        asks_reason=True,
        offers_edit=True,
        reason_tags=["correct", "clearer", "safer", "shorter"],
        aspects=["helpful", "true", "harmless"],
    )
    start = "Basil wants sun. " * 15
    for n, count in enumerate(counts, start=1):
        texts = [f"{start}\n\n{text}" for text in (ARABIC, CHINESE, CODE, LATEX, WIDE, EMOJI, "g", "h", "i")[:count]]
        messages = [
            {"role": "system", "content": "Be brief."},
            *[{"role": role, "content": f"{role} {turn}"} for turn in range(3) for role in ("user", "assistant")],
            {"role": "user", "content": f"Number {n}, and **basil**?"},
        ]
        add_in_order(project, messages, *[AnswerIn(text) for text in texts])
    return project


def test_no_kind_is_wider_than_the_window(view: Callable[[], Page], sign_in: SignIn) -> None:
    counts = (1, 2, 9)
    project = everything(*counts)
    sign_in(make_annotator(project))
    for page, count in zip(walk(view(), project), counts, strict=True):
        expect(page.locator(".answer")).to_have_count(count)
        width = page.viewport_size["width"]  # type: ignore[index]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        tools = [
            box for one in page.locator(".tools :is(.quiet, .primary):visible").all() if (box := one.bounding_box())
        ]
        assert len(tools) >= 5
        assert max(box["x"] + box["width"] for box in tools) <= width
        # One row of them, with nothing pushed below.
        middles = [box["y"] + box["height"] / 2 for box in tools]
        assert max(middles) - min(middles) < 8


RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}


def violations(page: Page) -> list[str]:
    """What axe calls serious or critical, by the rules of WCAG 2.2 A and AA; in the dark too, where colours differ."""
    if not page.evaluate("typeof axe !== 'undefined'"):
        page.evaluate(AXE.read_text())
    found = []
    for scheme, only in (("light", RULES), ("dark", COLOURS)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        found += page.evaluate(
            """async (runOnly) => (await axe.run(document, { runOnly })).violations.map(
              (one) => [one.impact, one.id, one.nodes.map((node) => node.target.join(" ")).join(", ")])""",
            only,
        )
    return [f"{rule}: {where}" for impact, rule, where in found if impact in ("serious", "critical")]


def test_axe_finds_nothing_serious(view: Callable[[], Page], live_stack: object, sign_in: SignIn) -> None:
    counts = (1, 2, 4)
    project = everything(*counts)
    sign_in(make_annotator(project))
    for page, count in zip(walk(view(), project), counts, strict=True):
        expect(page.locator(".answer")).to_have_count(count)
        page.keyboard.press("g")
        expect(page.locator("#guidelines .panel")).to_be_visible()
        assert violations(page) == []
        page.keyboard.press("Escape")
        for key in ("c", "e", "d"):
            page.keyboard.press(key)
            if key == "e":
                page.keyboard.press("Escape")
        page.locator("#skip summary").click()
        expect(page.locator("#skip .panel")).to_be_visible()
        assert violations(page) == []
        page.locator("#flag summary").click()
        expect(page.locator("#flag .panel")).to_be_visible()
        assert violations(page) == []


def test_axe_finds_nothing_serious_on_the_pages_around(page: Page, live_stack: object, sign_in: SignIn) -> None:
    project = everything(2)
    nina = make_annotator(project)
    project.memberships.update(role=Role.MANAGER)
    Flag.objects.create(comparison=project.comparisons.get(), annotator=nina, comment="Look at this")
    sign_in(nina)
    page.goto(LABEL)
    page.get_by_role("button", name="both bad").click()
    page.evaluate("document.querySelectorAll('[required]').forEach((one) => one.removeAttribute('required'))")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_role("heading", name="All done")).to_be_visible()
    expect(page.locator("#said")).to_have_text("Saved. All done")
    assert violations(page) == []
    for address in ("label/history/", "flags/", "settings/"):
        page.goto(f"/projects/everyday-help/{address}")
        assert violations(page) == []


def test_on_a_phone_answers_are_cards_to_swipe_between(
    browser: Browser, context: BrowserContext, live_stack: object, sign_in: SignIn
) -> None:
    sign_in(make_annotator(make_project(pairs=(Pair("Basil?", "Water it. " * 40, "Move it."),))))
    other = browser.new_context(base_url=live_stack.url, **PHONE)  # type: ignore[attr-defined]
    other.add_cookies(context.cookies())  # type: ignore[arg-type]
    page = opened(other.new_page())
    first, second = page.locator(".answer").nth(0), page.locator(".answer").nth(1)
    expect(first).to_be_in_viewport(ratio=0.3)
    assert (second.bounding_box() or {"x": 0})["x"] > 300
    page.get_by_role("link", name="B", exact=True).tap()
    expect(page.locator(".sides [aria-current]")).to_have_text("B")
    expect(second).to_be_in_viewport(ratio=0.9)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    other.close()


def test_the_scripts_are_small() -> None:
    """All scripts of the labelling page, compressed as a server would: at most 60 KB."""
    root = Path(__file__).resolve().parents[2] / "static" / "js"
    scripts = [
        root / name for name in ("theme.js", "label.js", "lenses.js", "ranking.js", "questions.js", "drawers.js")
    ]
    assert sum(len(gzip.compress(script.read_bytes())) for script in scripts) <= 60_000
