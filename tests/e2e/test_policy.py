"""The strict Content-Security-Policy in front of a real browser: whatever it blocks fails the `page` fixture."""

import re
from collections.abc import Callable

from django.contrib.auth.models import AbstractBaseUser
from playwright.sync_api import Page, expect

from annotation.models import User
from tests.e2e.conftest import Stack
from tests.e2e.people import make_annotator, make_project

SignIn = Callable[[AbstractBaseUser], None]
PAGES_OF_THE_ADMIN = (
    "/admin/",
    "/admin/annotation/user/",
    "/admin/annotation/user/add/",
    "/admin/annotation/project/1/change/",
    "/admin/annotation/comparison/",
    "/admin/annotation/judgment/",
    "/admin/training/run/",
    "/admin/training/run/add/?method=dpo",
    "/admin/training/schedule/add/",
    "/admin/models_registry/model/add/",
)


def test_the_admin_works_under_the_policy(page: Page, live_stack: Stack, sign_in: SignIn) -> None:
    nina = make_annotator(make_project())
    sign_in(User.objects.create_superuser("root"))
    for path in PAGES_OF_THE_ADMIN:
        page.goto(path)
        # The theme's colours are in a style element of the page: without them its accent would be none.
        accent = page.evaluate(
            """() => {
              const probe = document.body.appendChild(document.createElement("i"));
              probe.style.color = "var(--color-primary-600, red)";
              const { color } = getComputedStyle(probe);
              probe.remove();
              return color;
            }"""
        )
        assert accent == "rgb(11, 95, 174)"  # #0b5fae
    page.goto("/admin/annotation/user/")
    page.get_by_role("row").filter(has_text=nina.get_username()).get_by_role("checkbox").check()
    page.locator("select[name=action]").select_option("make_sign_in_link")  # Alpine shows it once a row is chosen
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("signs in once, within a day")).to_be_visible()


def test_the_picture_of_a_second_factor_is_shown(page: Page, live_stack: Stack, sign_in: SignIn) -> None:
    sign_in(make_annotator(make_project()))
    page.goto("/account/two-factor/on/")
    picture = page.get_by_alt_text("The key below as a picture for the app")
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 0
    expect(page.locator("code.secret")).to_have_text(re.compile(r"^[A-Z2-7]{16,}$"))
