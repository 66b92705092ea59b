"""Getting in and out with a link."""

from django.conf import LazySettings, global_settings
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Stack
from tests.e2e.people import link_for, make_annotator, make_project


def test_a_link_signs_in_once_and_signing_out_ends_it(page: Page, live_stack: Stack) -> None:
    link = link_for(make_annotator(make_project()), live_stack.url)
    page.goto(link)
    page.get_by_role("button", name="Sign in as Nina").click()
    expect(page.get_by_role("link", name="Everyday help")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{live_stack.url}/sign-in/")
    response = page.goto(link)
    assert response is not None
    assert response.status == 410
    expect(page.get_by_role("button", name="Sign in as Nina")).to_have_count(0)


def test_a_page_asked_for_without_signing_in_comes_after_it(
    page: Page, live_stack: Stack, settings: LazySettings
) -> None:
    settings.PASSWORD_HASHERS = global_settings.PASSWORD_HASHERS  # those of the stack, not the quick one of the tests
    person = make_annotator(make_project())
    person.set_password("correct horse battery")
    person.save()
    page.goto("/projects/everyday-help/label/")
    page.get_by_label("Username").fill("nina")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{live_stack.url}/projects/everyday-help/label/")
    expect(page.get_by_text("How do I keep plant 1 fresh?")).to_be_visible()
