"""Labelling as people do it: by mouse, by keys, without JavaScript, on a phone, in the dark, offline for a moment."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from annotation.models import Comparison, Judgment, Lease, Preference, Project, Skip, User
from annotation.services import AnswerIn
from tests.e2e.conftest import LABEL
from tests.e2e.people import PAIRS, TABLE, Pair, add_in_order, add_pair, make_annotator, make_project

SignIn = Callable[[User], None]


@pytest.fixture
def project(live_stack: object) -> Project:
    return make_project()


@pytest.fixture
def nina(project: Project, sign_in: SignIn) -> User:
    person = make_annotator(project)
    sign_in(person)
    return person


@pytest.fixture
def label(page: Page, nina: User) -> Page:
    """The labelling page with its first pair, guidelines closed."""
    page.goto(LABEL)
    shows(page, PAIRS[0])
    page.keyboard.press("Escape")
    expect(page.locator("#guidelines")).not_to_have_attribute("open", "")
    return page


def shows(page: Page, pair: Pair) -> None:
    expect(page.locator(".conversation").get_by_text(pair.prompt)).to_be_visible()


def side_of(page: Page, text: str) -> str:
    """A or B: where the server put this answer."""
    return page.locator(".answer", has_text=text).locator(".side").inner_text().split()[-1]


def state(page: Page) -> Locator:
    return page.locator(".votebar .state")


def vote_for(page: Page, text: str) -> None:
    """Say by mouse that the answer with this text is clearly better."""
    page.get_by_role("button", name=f"{side_of(page, text)} clearly").click()


def the_preference() -> tuple[str, str, int | None]:
    preference = Preference.objects.get()
    return preference.chosen.text, preference.rejected.text, preference.strength


def test_in_a_narrow_window_no_key_votes_behind_the_guidelines_and_closed_they_stay_closed(
    page: Page, nina: User
) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(LABEL)
    expect(page.locator("#guidelines .panel")).to_be_visible()
    page.wait_for_timeout(300)
    page.keyboard.press("4")
    page.keyboard.press("Escape")
    expect(page.locator("#guidelines")).not_to_have_attribute("open", "")
    page.reload()
    shows(page, PAIRS[0])
    expect(page.locator("#guidelines")).not_to_have_attribute("open", "")
    assert not Judgment.objects.exists()


def test_by_mouse(label: Page, nina: User) -> None:
    vote_for(label, PAIRS[0].better)
    shows(label, PAIRS[1])
    expect(state(label)).to_have_text("Saved")
    assert the_preference() == (PAIRS[0].better, PAIRS[0].worse, 2)
    assert Judgment.objects.get().annotator == nina


def test_by_keyboard_alone(label: Page) -> None:
    for pair in PAIRS[:3]:
        shows(label, pair)
        label.wait_for_timeout(300)  # a key this soon after a new pair is taken to be meant for the last one
        label.keyboard.press("1" if side_of(label, pair.better) == "A" else "7")
    shows(label, PAIRS[3])
    label.wait_for_timeout(300)
    label.keyboard.press("4")
    shows(label, PAIRS[4])
    label.wait_for_timeout(300)
    label.keyboard.press("0")
    shows(label, PAIRS[5])
    judgments = Judgment.objects.order_by("pk")
    assert [(len(one.tiers), one.both_bad, one.strength) for one in judgments] == [
        (2, False, 3),
        (2, False, 3),
        (2, False, 3),
        (1, False, None),
        (1, True, None),
    ]
    assert {found.chosen.text for found in Preference.objects.all()} == {pair.better for pair in PAIRS[:3]}


def test_the_last_vote_can_be_taken_back_and_given_again(label: Page) -> None:
    vote_for(label, PAIRS[0].better)
    shows(label, PAIRS[1])
    label.keyboard.press("z")
    shows(label, PAIRS[0])
    expect(state(label)).to_have_text("Taken back")
    expect(label.locator("#said")).to_have_text("Taken back. The pair before is here again.")
    assert Preference.objects.count() == 0
    vote_for(label, PAIRS[0].worse)
    shows(label, PAIRS[1])
    assert the_preference() == (PAIRS[0].worse, PAIRS[0].better, 2)
    assert Judgment.objects.filter(withdrawn_at=None).count() == 1


def test_a_pair_is_skipped_with_a_reason(label: Page) -> None:
    label.keyboard.press("s")
    label.get_by_role("button", name="Something is broken or unreadable").click()
    shows(label, PAIRS[1])
    assert Skip.objects.get().reason == "Something is broken or unreadable"
    assert Judgment.objects.count() == 0


def test_when_nothing_is_left_the_page_says_so_and_undo_still_works(label: Page) -> None:
    for pair in PAIRS:
        shows(label, pair)
        vote_for(label, pair.better)
    expect(label.locator(".answer")).to_have_count(0)
    assert Preference.objects.count() == len(PAIRS)
    label.get_by_role("button", name="Undo").click()
    shows(label, PAIRS[-1])


def test_no_word_about_the_authors_reaches_the_browser(page: Page, nina: User) -> None:
    bodies: list[str] = []
    page.on("response", lambda response: bodies.append(response.text()) if response.ok else None)
    page.goto(LABEL)
    vote_for(page, PAIRS[0].better)
    shows(page, PAIRS[1])
    page.wait_for_load_state("networkidle")
    assert any(PAIRS[1].prompt in body for body in bodies)
    assert not any("secret" in body for body in bodies)


def test_a_vote_in_a_lost_connection_is_kept_and_sent_again(label: Page, context: BrowserContext) -> None:
    context.set_offline(True)
    vote_for(label, PAIRS[0].better)
    expect(state(label)).to_contain_text("Offline")
    shows(label, PAIRS[0])
    context.set_offline(False)
    shows(label, PAIRS[1])
    assert the_preference() == (PAIRS[0].better, PAIRS[0].worse, 2)


def test_active_time_is_measured(label: Page) -> None:
    label.wait_for_timeout(2500)
    vote_for(label, PAIRS[0].better)
    shows(label, PAIRS[1])
    assert 1 <= Judgment.objects.get().active_seconds <= 10


def test_markup_is_rendered_and_hostile_text_stays_text(page: Page, live_stack: object, sign_in: SignIn) -> None:
    hostile = "<img src=x onerror=\"document.title='owned'\"> <script>document.title='owned'</script>"
    pairs = (Pair("Show me **bold**, $x^2$ and code.", TABLE + "\n```python\nprint('hi')\n```", hostile),)
    project = make_project(pairs=pairs)
    sign_in(make_annotator(project))
    page.goto(LABEL)
    expect(page.locator(".answer table td", has_text="basil")).to_be_visible()
    expect(page.locator(".answer pre")).to_contain_text("print('hi')")
    expect(page.locator(".conversation strong")).to_have_text("bold")
    expect(page.locator(".conversation math")).to_have_count(1)
    expect(page.get_by_text("onerror=")).to_be_visible()
    assert page.locator(".answer img, .answer script").count() == 0
    assert "owned" not in page.title()


def test_an_annotator_of_another_project_is_a_stranger_here(page: Page, nina: User) -> None:
    make_project(slug="another", pairs=())
    response = page.goto("/projects/another/label/")
    assert response is not None
    assert response.status == 404


# Other browsers: each a context of its own, made as the `context` fixture makes the usual one.


@pytest.fixture
def other_context(
    request: pytest.FixtureRequest, browser: Browser, context: BrowserContext, live_stack: object, nina: User
) -> Iterator[BrowserContext]:
    """A context with the options of the test's parameter, signed in as Nina."""
    other = browser.new_context(base_url=live_stack.url, **request.param)  # type: ignore[attr-defined]
    other.add_cookies(context.cookies())  # type: ignore[arg-type]
    yield other
    other.close()


@pytest.mark.parametrize("other_context", [{"java_script_enabled": False}], indirect=True)
def test_without_javascript(other_context: BrowserContext) -> None:
    page = other_context.new_page()
    page.goto(LABEL)
    shows(page, PAIRS[0])
    vote_for(page, PAIRS[0].better)
    shows(page, PAIRS[1])
    assert the_preference() == (PAIRS[0].better, PAIRS[0].worse, 2)
    page.get_by_role("button", name="Undo").click()
    shows(page, PAIRS[0])
    assert Preference.objects.count() == 0
    page.locator("#skip summary").click()
    page.get_by_role("button", name="The answers say the same").click()
    shows(page, PAIRS[1])
    assert Skip.objects.count() == 1


PHONE = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


@pytest.mark.parametrize("other_context", [PHONE], indirect=True)
def test_on_a_phone_the_bar_is_in_reach(other_context: BrowserContext) -> None:
    page = other_context.new_page()
    page.goto(LABEL)
    shows(page, PAIRS[0])
    page.keyboard.press("Escape")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    button = page.get_by_role("button", name="A clearly")
    box = button.bounding_box()
    assert box is not None
    assert 0 <= box["y"] <= 780 - box["height"]
    assert min(box["width"], box["height"]) >= 24
    button.tap()
    shows(page, PAIRS[1])
    assert Judgment.objects.count() == 1


@pytest.mark.parametrize("other_context", [PHONE], indirect=True)
@pytest.mark.parametrize("asked", [{}, {"aspects": ["true"]}, {"kind": Project.Kind.RANKING}])
def test_on_a_phone_stop_gives_the_pair_back(
    other_context: BrowserContext, project: Project, asked: dict[str, object]
) -> None:
    Project.objects.update(**asked)
    three = [AnswerIn("Water it."), AnswerIn("Move it."), AnswerIn("Talk to it.")]
    if "kind" in asked:
        Comparison.objects.all().delete()
        add_in_order(project, [{"role": "user", "content": "Which?"}], *three)
    page = other_context.new_page()
    page.goto(LABEL)
    page.get_by_role("button", name="Close").tap()
    assert Lease.objects.exists()
    assert page.locator("[data-board]").count() == int("kind" in asked)
    stop = page.get_by_role("button", name="Stop")
    expect(stop).to_be_in_viewport(ratio=1)
    box = stop.bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) >= 24
    stop.tap()
    expect(page).to_have_url(re.compile("/projects/everyday-help/$"))
    assert not Lease.objects.exists()


def tap_twice(page: Page, name: str, *, by: str, apart: int) -> None:
    """At one place, so many milliseconds apart."""
    box = page.get_by_role("button", name=name).bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    for count in (1, 2):
        if by == "finger":
            page.touchscreen.tap(x, y)
        else:
            page.mouse.down(click_count=count)
            page.mouse.up(click_count=count)
        page.wait_for_timeout(apart)


@pytest.mark.parametrize("other_context", [PHONE], indirect=True)
@pytest.mark.parametrize(("by", "apart"), [("mouse", 20), ("mouse", 200), ("finger", 20), ("finger", 200)])
def test_two_taps_in_a_hurry_are_one_vote_and_one_undo(other_context: BrowserContext, by: str, apart: int) -> None:
    page = other_context.new_page()
    page.goto(LABEL)
    shows(page, PAIRS[0])
    page.keyboard.press("Escape")
    for given in (1, 2):
        page.wait_for_load_state("networkidle")  # the next pair is here
        tap_twice(page, "A clearly", by=by, apart=apart)
        page.wait_for_timeout(600)
        assert Judgment.objects.count() == given

    tap_twice(page, "Undo", by=by, apart=apart)
    shows(page, PAIRS[1])
    page.wait_for_timeout(600)
    assert Judgment.objects.standing().count() == 1


@pytest.mark.parametrize("other_context", [PHONE], indirect=True)
def test_on_a_phone_words_are_read_and_no_button_moves(other_context: BrowserContext) -> None:
    page = other_context.new_page()
    page.goto(LABEL)
    page.get_by_role("button", name="Close").tap()
    button, state = page.get_by_role("button", name="A clearly"), page.locator(".state")
    place = button.bounding_box()
    button.tap()
    shows(page, PAIRS[1])
    expect(state).to_have_css("font-size", "0px")  # saved: a dot
    page.get_by_role("button", name="Undo").tap()
    expect(state).to_have_text("Taken back")
    expect(state).not_to_have_css("font-size", "0px")
    assert button.bounding_box() == place
    page.wait_for_timeout(300)
    other_context.set_offline(True)
    button.tap()
    expect(state).to_contain_text("Offline. Your vote is kept here")
    expect(state).to_be_in_viewport(ratio=1)
    assert page.get_by_role("button", name="A clearly").bounding_box() == place
    other_context.set_offline(False)
    shows(page, PAIRS[1])
    assert Judgment.objects.standing().count() == 1


@pytest.mark.parametrize("other_context", [PHONE], indirect=True)
def test_on_a_phone_a_tap_right_after_a_drag_is_taken(other_context: BrowserContext) -> None:
    Project.objects.update(kind=Project.Kind.RANKING)
    Comparison.objects.all().delete()
    answers = [AnswerIn("Water it."), AnswerIn("Move it."), AnswerIn("Talk to it.")]
    add_in_order(Project.objects.get(), [{"role": "user", "content": "Which?"}], *answers)
    page = other_context.new_page()
    page.goto(LABEL)
    page.get_by_role("button", name="Close").tap()
    finger = other_context.new_cdp_session(page)
    for letter, place in (("B", 1), ("A", 2), ("C", 3)):
        start = middle(page, f".board .letter[data-letter={letter}]")
        end = middle(page, f".spot[data-place='{place}']")
        finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [start]})
        for share in (0.3, 0.7, 1):
            between = {axis: start[axis] + share * (end[axis] - start[axis]) for axis in ("x", "y")}
            finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [between]})
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.get_by_role("button", name="Next").tap()
    expect(page.get_by_role("heading", name="All done")).to_be_visible()
    a, b, c = Judgment.objects.get().shown_order
    assert Judgment.objects.get().tiers == [[b], [a], [c]]


def middle(page: Page, selector: str) -> dict[str, float]:
    box = page.locator(selector).bounding_box()
    assert box is not None
    return {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}


@pytest.mark.parametrize("other_context", [{"color_scheme": "dark"}], indirect=True)
def test_in_the_dark_by_the_systems_wish_and_the_switch_overrules_it(other_context: BrowserContext) -> None:
    page = other_context.new_page()
    page.goto("/")

    def brightness() -> float:
        colour = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        parts = [float(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
        return sum(parts) / (3 * 255)

    assert brightness() < 0.2
    switch = page.get_by_role("button", name="Theme: system")
    switch.click()
    assert brightness() > 0.8
    page.reload()
    expect(page.get_by_role("button", name="Theme: light")).to_be_visible()
    assert brightness() > 0.8


def test_two_annotators_never_hold_the_same_pair(
    label: Page, project: Project, browser: Browser, context: BrowserContext, live_stack: object, sign_in: SignIn
) -> None:
    other = browser.new_context(base_url=live_stack.url)  # type: ignore[attr-defined]
    sign_in(make_annotator(project, "otto"))
    other.add_cookies(context.cookies())  # type: ignore[arg-type]
    page = other.new_page()
    page.goto(LABEL)
    shows(page, PAIRS[1])
    other.close()


def test_a_pair_added_meanwhile_comes_at_the_end(label: Page, project: Project) -> None:
    new = Pair("One more?", "Yes. (short)", "Well, perhaps. (long)")
    add_pair(project, new)
    for pair in (*PAIRS, new):
        shows(label, pair)
        vote_for(label, pair.better)
    expect(label.locator(".answer")).to_have_count(0)
