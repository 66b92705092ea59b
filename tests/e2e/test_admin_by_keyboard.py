"""The admin's theme by keyboard and screen reader: landmarks, names, help texts, refusals."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import AbstractBaseUser
from playwright.sync_api import Page, expect

from annotation.models import Project, User
from tests.e2e.people import make_project
from tests.e2e.test_reading import AXE

SignIn = Callable[[AbstractBaseUser], None]
LAUNCH = "/admin/training/run/add/?method=dpo"
PAGES = [LAUNCH, "/admin/training/run/add/", "/admin/training/run/", "/admin/annotation/project/", "/admin/"]


@pytest.fixture
def project(live_stack: object, sign_in: SignIn) -> Project:
    sign_in(User.objects.create_superuser("ada", display_name="Ada"))
    return make_project(pairs=())


@pytest.mark.parametrize("address", PAGES)
def test_a_page_has_one_heading_landmarks_and_names_without_icons(page: Page, project: Project, address: str) -> None:
    page.goto(address)
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    expect(page.get_by_role("main")).to_have_count(1)
    expect(page.locator("#page .material-symbols-outlined:not([aria-hidden], [role], input)")).to_have_count(0)
    heard = page.locator("body").aria_snapshot()
    icons = ("chevron_right", "arrow_back", "unfold_more", "more_vert", "expand_more", "settings")
    assert [icon for icon in icons if icon in heard] == []
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_every_field_of_the_launch_form_is_described(page: Page, project: Project) -> None:
    page.goto(LAUNCH)
    described = page.locator("[aria-describedby]")
    assert described.count() > 20
    lost = described.evaluate_all(
        "fields => fields.flatMap(field => field.getAttribute('aria-describedby').split(' '))"
        ".filter(id => !document.getElementById(id)?.textContent.trim())"
    )
    assert lost == []


def test_each_calendar_is_named_for_its_field(page: Page, project: Project) -> None:
    page.goto(LAUNCH)
    names = page.locator(".datetimeshortcuts a:has(.date-icon)").evaluate_all("all => all.map(one => one.ariaLabel)")
    assert len(set(names)) == len(names) == 2


def test_the_menu_and_the_sidebar_are_opened_by_keyboard(page: Page, project: Project) -> None:
    page.goto("/admin/training/run/")
    sidebar = page.get_by_role("button", name="Sidebar")
    expect(sidebar).to_have_attribute("aria-expanded", "true")
    sidebar.press("Enter")
    expect(sidebar).to_have_attribute("aria-expanded", "false")
    expect(page.locator("#nav-sidebar")).to_be_hidden()
    sidebar.press(" ")
    menu = page.get_by_role("button", name="ada")
    menu.press("Enter")
    expect(page.get_by_role("button", name="Light")).to_be_focused()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Log out")).to_be_hidden()
    expect(menu).to_be_focused()


def test_a_refused_launch_says_so_in_the_title_and_leads_to_the_field(page: Page, project: Project) -> None:
    page.goto(LAUNCH)
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    page.locator("#id_option_max_steps").fill("-3")
    page.get_by_role("button", name="Launch").click()
    alert = page.get_by_role("alert")
    expect(alert).to_be_focused()
    assert page.title().strip().startswith("Error: ")
    alert.get_by_role("link", name="Max steps").click()
    expect(page.locator("#id_option_max_steps")).to_be_focused()


@pytest.mark.parametrize("address", PAGES)
def test_axe_finds_nothing_serious_in_the_admin(page: Page, project: Project, address: str) -> None:
    page.goto(address)
    page.evaluate(AXE.read_text())
    found = page.evaluate(
        "async () => (await axe.run(document, { runOnly: ['aria-valid-attr-value', 'button-name', 'link-name',"
        " 'landmark-one-main', 'page-has-heading-one', 'label'] })).violations"
        ".flatMap((one) => one.nodes.map((node) => [one.id, node.html]))"
    )
    assert found == []
