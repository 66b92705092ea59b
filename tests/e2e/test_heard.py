"""What somebody hears who does not look at the labelling page, and where the keyboard's focus is."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from annotation.models import Flag, Judgment, Project, Skip
from tests.e2e.conftest import LABEL, Stack, ready
from tests.e2e.people import EVERYTHING, make_annotator, make_project, many, with_answers

OpenPage = Callable[[Project], Page]
SAID = """() => {
  window.heard = [];
  new MutationObserver(() => heard.push(document.getElementById("said").textContent))
    .observe(document.getElementById("said"), { childList: true });
}"""
HIDDEN = """() => {
  const here = document.activeElement, box = here.closest("label, .answer .edit > summary, summary, button") ?? here;
  const { left, top, width, height } = box.getBoundingClientRect();
  const seen = document.elementFromPoint(left + width / 2, top + height / 2);
  return box.contains(seen) || seen?.contains(box) ? "" : here.outerHTML.slice(0, 200);
}"""


def said(page: Page) -> str:
    return page.locator("#said").inner_text()


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.className || 'body'"))


def test_what_a_key_has_changed_is_said(open_page: OpenPage) -> None:
    page = open_page(make_project(pairs=many(2), **EVERYTHING))
    heard = []
    for key in ("2", "Shift+Digit1", "Shift+Digit1", "a", "o"):
        page.keyboard.press(key)
        heard.append(said(page))
    assert heard == [
        "A clearly: chosen. Enter sends.",
        "correct: ticked",
        "correct: not ticked",
        "whether A will do: will do. 1 of 4 answered",
        "helpful: B. 2 of 4 answered",
    ]


def test_a_field_with_the_focus_speaks_for_itself(open_page: OpenPage) -> None:
    page = open_page(make_project(pairs=many(2), aspects=["helpful"]))
    page.locator("[name='aspect:helpful']").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#said")).to_have_text("1 of 1 answered")


def test_a_ranking_by_keys_is_said(open_page: OpenPage) -> None:
    page = open_page(with_answers(4))
    heard = []
    for key in ("3", "1", "t", "4", "Backspace"):
        page.keyboard.press(key)
        heard.append(said(page))
    assert heard == ["C: Place 1", "A: Place 2", "The next one shares the place of A", "A, D: Place 2", "D: Not placed"]


@pytest.mark.parametrize(
    ("key", "button", "field", "words"),
    [
        ("s", "Skip for that reason", "skip-other", "Type a reason, or choose one above."),
        ("f", "Tell them", "flag-comment", "Type what the managers should know."),
    ],
)
def test_an_empty_reason_is_asked_for(open_page: OpenPage, key: str, button: str, field: str, words: str) -> None:
    page = open_page(make_project(pairs=many(2)))
    page.keyboard.press(key)
    page.get_by_role("button", name=button).click()
    expect(page.locator("#said")).to_have_text(words)
    assert focused(page) == field
    assert page.locator(f"#{field}").evaluate("field => field.validationMessage") == words
    page.keyboard.type("Now there is one.")
    assert page.locator(f"#{field}").evaluate("field => field.validationMessage") == ""
    page.get_by_role("button", name=button).click()
    expect(page.locator("#said")).to_have_text(
        "The managers will see your comment" if key == "f" else "Skipped. Next pair."
    )


def test_escape_keeps_the_place_on_the_page(open_page: OpenPage) -> None:
    page = open_page(make_project(pairs=many(2), **EVERYTHING))
    places = []
    for key in ("f", "r", "e"):
        page.keyboard.press(key)
        expect(page.locator("textarea:focus")).to_have_count(1)
        page.keyboard.press("Escape")
        places.append(focused(page))
    assert places == ["labelling", "asks", "card-A"]  # the first had no place before: that is the page
    assert page.locator("summary:focus").count() == 0
    page.locator("#skip > summary").click()
    page.get_by_role("textbox", name="Another reason").focus()
    page.keyboard.press("Escape")
    expect(page.locator("#skip > summary")).to_be_focused()


@pytest.mark.parametrize("key", ["s", "f"])
def test_after_escape_enter_sends_and_opens_nothing_again(open_page: OpenPage, key: str) -> None:
    page = open_page(make_project(pairs=many(2), asks_reason=True))
    page.keyboard.press("2")
    expect(page.get_by_role("button", name="A clearly")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press(key)
    expect(page.locator(".pop[open]")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator(".pop[open]")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Question 2?")).to_be_visible()
    assert (Skip.objects.count(), Judgment.objects.count()) == (0, 1)


def test_enter_sends_the_vote_and_opens_nothing_again(open_page: OpenPage) -> None:
    """After a comment is sent the focus is on what opened it."""
    page = open_page(make_project(pairs=many(2), asks_reason=True))
    page.keyboard.press("f")
    page.keyboard.type("Odd.")
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_have_text("The managers will see your comment")
    expect(page.locator("#flag > summary")).to_be_focused()
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Question 2?")).to_be_visible()
    assert (Flag.objects.count(), Judgment.objects.count()) == (1, 1)


def test_a_pair_that_is_lost_is_said(page: Page, open_page: OpenPage) -> None:
    page.route("**/heartbeat/", lambda route: route.fulfill(status=409))
    page.clock.install()
    open_page(make_project(pairs=many(1)))
    page.clock.run_for(61_000)
    expect(page.locator("#said")).to_have_text(
        "Held by you no longer. Your vote is kept, and counts if a seat is free."
    )


def test_who_only_listens_is_asked_before_the_pair_goes(page: Page, open_page: OpenPage) -> None:
    """Nobody's key for five minutes: the page says that it will not hold the pair for ever, and a key is enough."""
    beats: list[str] = []

    def count(route: Route) -> None:
        beats.append(route.request.url)
        route.fulfill(status=204)

    page.route("**/heartbeat/", count)
    page.clock.install()
    open_page(make_project(pairs=many(1)))
    page.clock.run_for(290_000)
    page.wait_for_timeout(500)  # of the real clock, for the network
    assert (len(beats), said(page)) == (4, "")
    page.clock.run_for(75_000)
    expect(page.locator("#said")).to_contain_text("Still there?")
    expect(page.locator(".state")).to_contain_text("Still there?")
    page.keyboard.press("Shift")
    expect(page.locator(".state")).to_have_text("")
    page.wait_for_timeout(500)
    assert len(beats) == 6  # one at the fifth minute, one for the key


def test_a_lost_connection_is_said_once_and_its_end_too(
    page: Page, context: BrowserContext, open_page: OpenPage
) -> None:
    open_page(make_project(pairs=many(2)))
    page.evaluate(SAID)
    context.set_offline(True)
    page.keyboard.press("2")
    page.wait_for_timeout(4_000)
    context.set_offline(False)
    expect(page.locator("#said")).to_have_text("Saved. Next pair.")
    assert page.evaluate("heard") == ["Offline. Your vote is kept here and sent again.", "Saved. Next pair."]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("s1", "Offline. That you skip it is kept here and sent again."),
        ("z", "Offline. It is taken back once the line is there again; keep this page open."),
    ],
)
def test_offline_a_skip_and_an_undo_are_no_vote(
    page: Page, context: BrowserContext, open_page: OpenPage, keys: str, words: str
) -> None:
    open_page(make_project(pairs=many(3)))
    page.keyboard.press("2")
    expect(page.get_by_text("Question 2?", exact=True)).to_be_visible()
    page.wait_for_timeout(500)
    context.set_offline(True)
    for key in keys:
        page.keyboard.press(key)
    expect(page.locator("#said")).to_have_text(words)
    expect(page.locator(".pop[open]")).to_have_count(0)
    context.set_offline(False)
    expect(page.locator("#said")).to_contain_text({"s1": "Skipped.", "z": "Taken back."}[keys])
    assert (Skip.objects.count(), Judgment.objects.standing().count()) == {"s1": (1, 1), "z": (0, 0)}[keys]


def test_the_way_to_sign_in_again_can_be_reached_by_tab(page: Page, open_page: OpenPage) -> None:
    open_page(make_project(pairs=many(2)))
    page.route(
        f"**{LABEL}", lambda route: route.fulfill(status=403) if route.request.method == "POST" else route.fallback()
    )
    page.evaluate(SAID)
    page.keyboard.press("2")
    page.get_by_role("link", name="sign in in a new tab").focus()
    page.wait_for_timeout(4_000)
    expect(page.get_by_role("link", name="sign in in a new tab")).to_be_focused()
    assert page.evaluate("heard") == ["You are signed out. Your vote is kept here: sign in in a new tab"]


@pytest.mark.parametrize("window", [(640, 512), (640, 400), (320, 512), (320, 256), (1280, 800), (1280, 400)])
def test_what_has_the_focus_is_never_under_a_bar(
    browser: Browser, context: BrowserContext, open_page: OpenPage, live_stack: Stack, window: tuple[int, int]
) -> None:
    """Windows of 1280 by 1024 in prints of 200 and 400 %, and lower ones."""
    open_page(make_project(pairs=many(1), **EVERYTHING))
    other = browser.new_context(
        base_url=live_stack.url, viewport={"width": window[0], "height": window[1]}, reduced_motion="reduce"
    )
    other.add_cookies(context.cookies())  # type: ignore[arg-type]
    page = ready(other.new_page())
    page.evaluate("document.activeElement.blur()")
    hidden, stops = [], 0
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        stops += 1
        page.wait_for_timeout(30)
        hidden += [page.evaluate(HIDDEN)] if page.evaluate(HIDDEN) else []
    other.close()
    assert stops > 20
    assert hidden == []


def test_open_guidelines_make_way_for_what_is_under_them(
    page: Page, live_stack: Stack, sign_in: Callable[..., None]
) -> None:
    sign_in(make_annotator(make_project(pairs=many(1), **EVERYTHING)))
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(LABEL)
    expect(page.locator("#guidelines")).to_have_attribute("open", "")
    page.get_by_role("checkbox", name="Use single keys").focus()
    assert page.evaluate(HIDDEN) == ""
    for _ in range(12):
        page.keyboard.press("Tab")
        assert page.evaluate(HIDDEN) == ""


def test_the_pause_says_what_it_is(open_page: OpenPage) -> None:
    page = open_page(make_project(pairs=many(1)))
    page.keyboard.press("p")
    button = page.get_by_role("button", name="Go on")
    expect(button).to_be_focused()
    expect(button).to_have_accessible_description("Paused: the clock stands still.")
