"""What can go wrong between a key and the database: no vote is lost, doubled or given blindly."""

from collections.abc import Callable

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import BrowserContext, Page, Route, expect

from annotation.models import Judgment, Lease, Membership, Project, Skip, User
from annotation.people import sign_in_link
from annotation.services import record_judgment
from tests.e2e.conftest import LABEL, Stack
from tests.e2e.people import PAIRS, make_annotator, make_project

SignIn = Callable[[User], None]


@pytest.fixture
def project(live_stack: object) -> Project:
    return make_project()


@pytest.fixture
def nina(project: Project, sign_in: SignIn) -> User:
    person = make_annotator(project)
    sign_in(person)
    return person


def open_page(page: Page) -> Page:
    """The labelling page with its first pair, ready for keys."""
    page.goto(LABEL)
    shows(page, 0)
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)  # a key this soon after a new pair is taken to be meant for the last one
    return page


def shows(page: Page, index: int) -> None:
    expect(page.locator(".conversation").get_by_text(PAIRS[index].prompt)).to_be_visible()


def test_a_vote_outlives_its_session(page: Page, nina: User, live_stack: Stack) -> None:
    open_page(page)
    Session.objects.all().delete()
    page.keyboard.press("2")
    expect(page.locator(".state")).to_contain_text("You are signed out. Your vote is kept here")
    assert not Judgment.objects.exists()

    with page.expect_popup() as opened:
        page.get_by_role("link", name="sign in in a new tab").click()
    other = opened.value
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
    nina.refresh_from_db()
    other.goto(sign_in_link(nina, live_stack.url))
    other.get_by_role("button", name="Sign in as Nina").click()

    shows(page, 1)
    expect(page.locator(".state")).to_have_text("Saved")
    assert Judgment.objects.get().strength == 2


STUMBLES = {
    "a proxy without its server": (502, "bad gateway"),
    "a hotel's network": (200, "<h1>Welcome to our hotel</h1>"),
}


@pytest.mark.parametrize(("status", "body"), STUMBLES.values(), ids=list(STUMBLES))
def test_a_vote_that_did_not_get_through_is_sent_again(page: Page, nina: User, status: int, body: str) -> None:
    open_page(page)
    failed: list[str] = []

    def fail_once(route: Route) -> None:
        if route.request.method == "POST" and not failed:
            failed.append(route.request.url)
            route.fulfill(status=status, body=body, content_type="text/html")
        else:
            route.fallback()

    page.route(f"**{LABEL}", fail_once)
    page.keyboard.press("2")
    expect(page.locator(".state")).to_contain_text("Not saved yet")
    shows(page, 1)
    assert Judgment.objects.count() == 1
    assert len(failed) == 1


def test_a_vote_that_came_late_is_told_to_wait_and_not_called_saved(page: Page, nina: User, project: Project) -> None:
    open_page(page)
    Lease.objects.all().delete()
    first = project.comparisons.earliest("pk")
    record_judgment(comparison=first, annotator=make_annotator(project, "otto"), tiers=[first.response_ids])
    page.keyboard.press("2")
    shows(page, 1)
    expect(page.locator("p.notice")).to_contain_text("It is kept, and counts as soon as one of them lets go")
    expect(page.locator(".state")).to_have_text("")


def test_a_vote_of_a_page_closed_offline_is_sent_by_the_next_page_of_the_same_person(
    page: Page, nina: User, project: Project, context: BrowserContext, sign_in: SignIn
) -> None:
    open_page(page)
    context.set_offline(True)
    page.keyboard.press("2")
    expect(page.locator(".state")).to_contain_text("Offline")
    page.on("dialog", lambda dialog: dialog.accept())
    page.close(run_before_unload=False)
    context.set_offline(False)
    other = context.new_page()
    sign_in(make_annotator(project, "otto"))
    other.goto(LABEL)
    shows(other, 1)
    other.wait_for_load_state("networkidle")
    assert not Judgment.objects.exists()
    sign_in(nina)
    other.goto(LABEL)
    shows(other, 2)
    judgment = Judgment.objects.get()
    assert (judgment.annotator, judgment.verdict) == (nina, "A clearly")
    other.close()


def test_a_skip_of_a_page_closed_offline_is_sent_by_the_next_page(
    page: Page, nina: User, context: BrowserContext
) -> None:
    open_page(page)
    page.wait_for_timeout(500)
    context.set_offline(True)
    for key in ("s", "1"):
        page.keyboard.press(key)
    expect(page.locator(".state")).to_contain_text("That you skip it is kept here")
    page.on("dialog", lambda dialog: dialog.accept())
    page.close(run_before_unload=False)
    context.set_offline(False)
    other = context.new_page()
    other.goto(LABEL)
    shows(other, 1)
    assert (Skip.objects.count(), Judgment.objects.count()) == (1, 0)
    other.close()


def test_two_pages_closed_offline_lose_no_vote_of_each_other(page: Page, nina: User, context: BrowserContext) -> None:
    """One has gone on to the second pair, the other still shows the first."""
    open_page(page)
    other = open_page(context.new_page())
    page.keyboard.press("2")
    shows(page, 1)
    expect(page.locator(".state")).to_have_text("Saved")
    page.wait_for_timeout(300)
    context.set_offline(True)
    for one in (page, other):
        one.keyboard.press("2")
        expect(one.locator(".state")).to_contain_text("Offline")
    for one in (page, other):
        one.on("dialog", lambda dialog: dialog.accept())
        one.close(run_before_unload=False)
    context.set_offline(False)
    third = context.new_page()
    third.goto(LABEL)
    shows(third, 2)
    for _ in range(50):  # the pair may be in view before the last answer is here
        if not (unsent := third.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('unsent:'))")):
            break
        third.wait_for_timeout(200)
    assert unsent == []
    assert [vote.verdict for vote in Judgment.objects.all()] == ["A clearly"] * 2
    third.close()


def test_a_vote_that_is_refused_for_good_is_not_sent_for_ever(page: Page, nina: User, project: Project) -> None:
    open_page(page)
    Membership.objects.filter(project=project).delete()
    page.keyboard.press("2")
    expect(page.locator(".state")).to_contain_text("The server took no vote here")
    expect(page.get_by_role("link", name="Load the page again")).to_be_visible()
    assert not Judgment.objects.exists()


def test_the_same_key_twice_in_a_hurry_is_one_vote(page: Page, nina: User) -> None:
    open_page(page)
    page.keyboard.press("2")
    page.keyboard.press("2")
    shows(page, 1)
    page.keyboard.press("2")  # within the moment in which nobody can have read anything
    page.wait_for_timeout(500)
    assert Judgment.objects.count() == 1
    page.keyboard.press("2")
    shows(page, 2)
    assert Judgment.objects.count() == 2


def test_where_a_reason_is_asked_a_key_chooses_and_enter_sends(page: Page, nina: User, project: Project) -> None:
    Project.objects.update(asks_reason=True)
    open_page(page)
    page.keyboard.press("6")
    expect(page.get_by_role("button", name="B clearly")).to_have_attribute("aria-pressed", "true")
    assert not Judgment.objects.exists()
    page.keyboard.press("r")
    page.keyboard.type("clearer 123")
    page.keyboard.press("Enter")
    shows(page, 1)
    judgment = Judgment.objects.get()
    assert (judgment.strength, judgment.reason) == (2, "clearer 123")


def test_single_keys_can_be_switched_off(page: Page, nina: User) -> None:
    open_page(page)
    page.keyboard.press("g")
    page.get_by_label("Use single keys").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    page.wait_for_timeout(500)
    shows(page, 0)
    assert not Judgment.objects.exists()
    page.get_by_role("button", name="A clearly").click()
    shows(page, 1)
    assert Judgment.objects.count() == 1


def test_the_next_pair_takes_the_focus_and_is_announced(page: Page, nina: User) -> None:
    open_page(page)
    page.keyboard.press("2")
    shows(page, 1)
    expect(page.locator("#said")).to_have_text("Saved. Next pair.")
    expect(page.get_by_role("heading", name="Which answer is better?")).to_be_focused()
