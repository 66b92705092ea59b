"""In small windows: long words, words of buttons, where the focus is, and messages that lie over no control."""

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from annotation.models import ImportReport, Project, User
from annotation.quality.computing import compute
from annotation.services import create_project, record_judgment
from tests.e2e.conftest import LABEL, Stack, ready
from tests.e2e.people import EVERYTHING, Pair, add_pair, make_annotator, make_project, many, with_answers

SignIn = Callable[[User], None]
OpenPage = Callable[[Project], Page]
LONG = "Rechtsschutzversicherungsdialoge Donaudampfschifffahrtsgesellschaft"
WORD = LONG.replace(" ", "")
CONTROLS = "button, a, input, select, textarea, label, summary, .chip, .spot, .letter"
# What the message lies over, at points of a grid.
UNDER = """(state, controls) => {
  const { left, right, top, bottom } = state.getBoundingClientRect(), found = new Set();
  state.style.pointerEvents = "none";
  for (let x = left + 1; x < right; x += 4) for (let y = top + 1; y < bottom; y += 4) {
    const control = document.elementFromPoint(x, y)?.closest(controls);
    if (control) found.add(control.outerHTML);
  }
  state.style.pointerEvents = "";
  return [...found];
}"""
OUTLINE = "one => { const { outlineStyle, outlineWidth } = getComputedStyle(one); return outlineStyle + outlineWidth; }"


def test_a_long_name_makes_no_page_of_its_project_wider(page: Page, live_stack: Stack, sign_in: SignIn) -> None:
    mara = User.objects.create_user("mara")
    project = create_project(name=LONG, manager=mara, overlap=2, **EVERYTHING)  # type: ignore[arg-type]
    pair = add_pair(project, Pair(LONG, LONG, LONG))
    for name, (first, second) in ((WORD, pair.response_ids), ("omar", pair.response_ids[::-1])):
        person = make_annotator(project, name)
        record_judgment(comparison=pair, annotator=person, tiers=[[first], [second]], reason=LONG)
    compute(project)
    report = ImportReport.objects.create(project=project, file_name=f"{WORD}.jsonl")
    sign_in(mara)
    page.set_viewport_size({"width": 320, "height": 700})
    home = project.get_absolute_url()
    page.goto(home)
    links = page.locator("main a[href]").evaluate_all("all => all.map(one => one.href)")
    addresses = {path for link in links if (path := urlsplit(link).path).startswith(home) and "file" not in path}
    assert len(addresses) > 9
    pages = {*addresses, f"{home}import/{report.pk}/", f"{home}adjudicate/", f"{home}assignment/", f"{home}gold/"}
    wide = []
    for address in sorted(pages):
        page.goto(address)
        page.locator("main details:not(.drawer, .pop)").evaluate_all("all => all.forEach(one => { one.open = true; })")
        wide += [address] * page.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert wide == []


@pytest.mark.parametrize("language", ["en", "de"])
def test_words_keep_within_their_buttons(
    browser: Browser, context: BrowserContext, open_page: OpenPage, live_stack: Stack, language: str
) -> None:
    open_page(make_project(pairs=many(1), asks_strength=True, offers_both_good=True))
    narrow = {"width": 320, "height": 700}
    other = browser.new_context(base_url=live_stack.url, viewport=narrow, locale=language)  # type: ignore[arg-type]
    other.add_cookies(context.cookies())  # type: ignore[arg-type]
    words = ready(other.new_page()).locator(".choice .words > *")
    spill = words.evaluate_all(
        "all => all.map(one => [one.innerText, one.closest('button').clientWidth - one.getBoundingClientRect().width])"
    )
    other.close()
    assert len(spill) == 15
    assert [(word, room) for word, room in spill if room < 0] == []


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_answers_with_the_focus_show_it_and_stay_where_they_are(page: Page, open_page: OpenPage, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    answers = open_page(make_project(pairs=many(1))).locator(".answers")
    answers.evaluate("one => { one.tabIndex = 0; }")
    place = answers.bounding_box()
    answers.focus()
    assert answers.evaluate(OUTLINE) == "solid2px"
    assert answers.bounding_box() == place


def test_the_ring_of_the_first_question_is_not_cut_off(page: Page, open_page: OpenPage) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    open_page(make_project(pairs=many(1), aspects=["helpful"]))
    room = page.locator(".asks .chip").first.evaluate(
        "one => one.getBoundingClientRect().top - one.closest('.asks').getBoundingClientRect().top"
    )
    assert room >= 3  # a ring of 2 px, 1 px away


@pytest.fixture(params=[320, 390])
def phone(
    request: pytest.FixtureRequest, browser: Browser, context: BrowserContext, live_stack: Stack
) -> Iterator[Callable[[], Page]]:
    """The labelling page in a phone's window, with the cookies that `context` has by then."""
    window = {"width": request.param, "height": 780}
    other = browser.new_context(base_url=live_stack.url, viewport=window, has_touch=True, is_mobile=True)  # type: ignore[arg-type]

    def labelling() -> Page:
        other.add_cookies(context.cookies())  # type: ignore[arg-type]
        return ready(other.new_page())

    yield labelling
    other.close()


def test_what_became_of_a_pair_covers_and_moves_no_control(
    phone: Callable[[], Page], sign_in: SignIn, live_stack: Stack
) -> None:
    sign_in(make_annotator(make_project(pairs=many(2), **EVERYTHING)))
    page = phone()
    state, button = page.locator(".state"), page.get_by_role("button", name="A clearly")
    place = button.bounding_box()
    page.locator("#skip summary").tap()
    page.get_by_role("button", name="The answers say the same").tap()
    expect(state).to_have_text("Skipped")
    assert state.evaluate(UNDER, CONTROLS) == []
    assert button.bounding_box() == place
    page.get_by_role("button", name="Undo").tap()
    expect(state).to_have_text("Taken back")
    assert state.evaluate(UNDER, CONTROLS) == []
    page.locator("#reason").fill("A draft.")
    page.goto(LABEL)
    expect(state).to_have_text("Your draft is back")
    assert state.evaluate(UNDER, CONTROLS) == []
    assert button.bounding_box() == place


def test_what_is_missing_in_an_order_covers_no_place(
    phone: Callable[[], Page], sign_in: SignIn, live_stack: Stack
) -> None:
    sign_in(make_annotator(with_answers(4)))
    page = phone()
    send = page.get_by_role("button", name="Next")
    place = send.bounding_box()
    send.tap()
    expect(page.locator(".state")).to_have_text("Not sent. Without a place: A, B, C, D.")
    assert page.locator(".state").evaluate(UNDER, CONTROLS) == []
    assert send.bounding_box() == place
