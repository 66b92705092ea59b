"""A form that comes back says so first: in the title, and in a summary that has the focus and leads to the fields."""

from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import AbstractBaseUser
from playwright.sync_api import Browser, BrowserContext, Page, expect

from annotation.models import User
from tests.e2e.conftest import Stack
from tests.e2e.people import make_project

SignIn = Callable[[AbstractBaseUser], None]


@pytest.fixture(params=[True, False], ids=["scripts", "no scripts"])
def anywhere(
    request: pytest.FixtureRequest, browser: Browser, context: BrowserContext, live_stack: Stack, sign_in: SignIn
) -> Iterator[Page]:
    """A page of an admin, with JavaScript and without."""
    sign_in(User.objects.create_superuser("ada", display_name="Ada"))
    other = browser.new_context(base_url=live_stack.url, java_script_enabled=request.param)
    other.add_cookies(context.cookies())  # type: ignore[arg-type]
    yield other.new_page()
    other.close()


def test_a_refused_project_says_so_and_leads_to_its_fields(anywhere: Page) -> None:
    anywhere.goto("/new-project/")
    anywhere.locator("form[method=post] [required]").evaluate_all("all => all.forEach(one => { one.required = false })")
    anywhere.locator("main form[method=post] .primary").click()
    expect(anywhere).to_have_title("Error: New project · Prefloop")
    alert = anywhere.get_by_role("alert")
    expect(alert).to_be_focused()
    alert.get_by_role("link", name="Name").click()
    expect(anywhere.get_by_role("textbox", name="Name")).to_be_focused()


def test_a_refused_batch_says_so_where_it_is(anywhere: Page) -> None:
    project = make_project()
    anywhere.goto(f"/projects/{project.slug}/assignment/?batch=#batch")
    anywhere.get_by_text("New batch").click()
    anywhere.locator("#batch [required]").evaluate_all("all => all.forEach(one => { one.required = false })")
    anywhere.get_by_role("button", name="Make the batch").click()
    expect(anywhere).to_have_title("Error: Assignment · Everyday help · Prefloop")
    expect(anywhere.get_by_role("alert")).to_be_focused()
    expect(anywhere.get_by_role("alert").get_by_role("link")).not_to_have_count(0)
