"""The admin's theme by keyboard and screen reader: landmarks, names, help texts, refusals."""

import re
from collections.abc import Callable
from itertools import cycle
from typing import Literal

import pytest
from django.contrib.auth.models import AbstractBaseUser
from playwright.sync_api import Page, expect

from annotation.models import Membership, Project, Role, User
from tests.e2e.people import Pair, make_project
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
    first = page.locator(":is(a[href], button, input:not([type=hidden]), select, textarea, [tabindex]):visible").first
    expect(first).to_have_class("skip-link")
    first.press("Enter")
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


def test_more_about_a_related_row_opens_by_keyboard(page: Page, project: Project) -> None:
    ada = User.objects.get()
    page.goto(f"/admin/annotation/user/{ada.pk}/change/")
    more = page.get_by_role("button", name="More actions: group")
    expect(more).to_have_attribute("aria-expanded", "false")
    more.press(" ")
    expect(more).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_role("link", name="Add another group")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Add another group")).to_be_hidden()
    expect(more).to_be_focused()
    more.press("Enter")
    expect(page.get_by_role("link", name="Add another group")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(more).to_be_focused()
    expect(more).to_have_attribute("aria-expanded", "false")


def test_filters_open_by_keyboard_and_close_where_the_focus_leaves(page: Page, project: Project) -> None:
    page.goto("/admin/annotation/project/")
    filters = page.get_by_role("button", name="Filters")
    filters.press("Enter")
    close = page.locator("#changelist-filter").get_by_role("button", name="Close")
    expect(close).to_be_focused()
    expect(filters).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Escape")
    expect(close).to_be_hidden()
    expect(filters).to_be_focused()
    filters.press(" ")
    expect(close).to_be_focused()
    page.keyboard.press("Enter")
    expect(filters).to_be_focused()
    filters.press("Enter")
    expect(close).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(close).to_be_hidden()


def test_more_actions_open_by_keyboard_on_a_phone(page: Page, project: Project) -> None:
    page.set_viewport_size({"width": 390, "height": 780})
    page.goto(f"/admin/annotation/project/{project.pk}/change/")
    more = page.get_by_role("button", name="More actions", exact=True)
    more.press(" ")
    expect(more).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_role("link", name="History")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="History")).to_be_hidden()
    expect(more).to_be_focused()


def test_a_row_of_a_form_is_removed_by_keyboard(page: Page, project: Project) -> None:
    Membership.objects.create(project=project, user=User.objects.get(), role=Role.MANAGER)
    page.goto(f"/admin/annotation/project/{project.pk}/change/")
    page.get_by_role("link", name="Add another Membership").press("Enter")
    page.get_by_role("button", name="Remove").press("Enter")
    expect(page.get_by_role("button", name="Remove")).to_have_count(0)
    expect(page.get_by_role("link", name="Add another Membership")).to_be_focused()
    page.get_by_role("checkbox", name="Remove").press(" ")
    page.get_by_role("button", name="Save", exact=True).press("Enter")
    page.wait_for_url("**/admin/annotation/project/")
    assert not Membership.objects.exists()


@pytest.mark.parametrize(
    ("address", "crumbs", "heading", "title"),
    [
        ("/admin/training/run/", ["Training"], "Training runs", "Training runs | Prefloop"),
        (LAUNCH, ["Training", "Training runs"], "Launch a run · DPO", "Launch a run · DPO | Prefloop"),
        ("/admin/annotation/project/1/change/", ["Annotation", "Projects"], "Everyday help", None),
        ("/admin/annotation/project/1/history/", ["Annotation", "Projects", "Everyday help"], None, None),
        ("/admin/", [], "Site administration", None),
    ],
)
def test_a_heading_says_what_the_page_is_and_crumbs_lead_back(
    page: Page, project: Project, address: str, crumbs: list[str], heading: str | None, title: str | None
) -> None:
    page.goto(address)
    expect(page.locator("nav[aria-label='Where this is'] a")).to_have_text(crumbs)
    expect(page.get_by_role("heading", level=1)).to_have_text(heading or "Change history: Everyday help")
    assert title is None or page.title().strip() == title


def test_what_scrolls_says_what_it_is(page: Page, project: Project) -> None:
    page.goto("/admin/annotation/project/")
    names = page.locator("#page [role=region]").evaluate_all("all => all.map(one => one.ariaLabel)")
    assert sorted(names) == ["All tables", "Filters", "Projects"]


# What answers to the mouse, by the theme's attributes or its pointer, and is no control.
MOUSE_ALONE = """() => [...document.querySelectorAll("#page *")].filter((one) =>
  [...one.attributes].some(({ name }) => /^(x-on:click|@click|onclick)(?!.*(outside|window))/.test(name))
  || one.classList.contains("cursor-pointer"))
  .filter((one) => !one.matches("button, a[href], input, select, textarea, summary, summary *, label"))
  .filter((one) => !one.matches(":has([role=button])"))
  .filter((one) => one.tabIndex < 0 || !one.role).map((one) => one.outerHTML)"""
SERIOUS = """async () => (await axe.run()).violations.filter((one) => ["serious", "critical"].includes(one.impact))
  .flatMap((one) => one.nodes.map((node) => [one.id, node.html]))"""


def test_a_cell_on_a_phone_has_the_name_of_its_column(page: Page, live_stack: object, sign_in: SignIn) -> None:
    """The theme calls the first column of a list without actions "Select record", and spells names in its own way."""
    sign_in(User.objects.create_superuser("ada", display_name="Ada"))
    make_project(pairs=(Pair("Tea?", "Yes.", "No."),))
    page.set_viewport_size({"width": 390, "height": 780})
    page.goto("/admin/annotation/comparison/")
    cell = page.get_by_role("row").filter(has_text="Tea?").locator("td, th")
    labels = cell.evaluate_all("all => all.map(one => getComputedStyle(one, '::before').content.slice(1, -1))")
    assert labels[:3] == ["ID", "Project", "Prompt"]
    assert "Judgments wanted" in labels
    assert cell.last.evaluate("one => getComputedStyle(one, '::before').textTransform") == "none"


def test_a_link_to_a_field_shows_its_label(page: Page, project: Project) -> None:
    page.set_viewport_size({"width": 390, "height": 780})
    page.goto(LAUNCH)
    page.locator("#run_form").evaluate("form => form.noValidate = true")
    page.get_by_label("Max steps").fill("-7")
    page.get_by_role("button", name="Launch").click()
    page.locator(".error-links").get_by_role("link", name="Max steps").click()
    expect(page.get_by_label("Max steps")).to_be_focused()
    expect(page.get_by_text("Max steps (steps)", exact=True).last).to_be_in_viewport()


def test_nothing_serious_and_nothing_for_the_mouse_alone_on_any_page(
    page: Page, live_stack: object, sign_in: SignIn
) -> None:
    """One page in the light on a desktop, the next in the dark on a phone."""
    ada = User.objects.create_superuser("ada", display_name="Ada")
    sign_in(ada)
    long = "Why do people in all countries of the world drink tea? " * 4
    Membership.objects.create(project=make_project(pairs=(Pair(long, long, long),)), user=ada, role=Role.MANAGER)
    looks: tuple[tuple[Literal["light", "dark"], int], ...] = (("light", 1280), ("dark", 390))
    found = {}
    for address, (scheme, width) in zip(sorted(addresses_of_the_admin(page)), cycle(looks), strict=False):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        response = page.goto(address)
        assert response is not None
        assert response.ok
        page.evaluate(AXE.read_text())
        found[address] = [*page.evaluate(SERIOUS), *page.evaluate(MOUSE_ALONE)]
        found[address] += ["too wide"] * page.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert {address: complaints for address, complaints in found.items() if complaints} == {}


def addresses_of_the_admin(page: Page) -> set[str]:
    """Its lists, what each adds, and one row of each."""
    page.goto("/admin/")
    lists = {link for link in links_of(page) if re.fullmatch(r"/admin/\w+/\w+/", link)}
    assert len(lists) > 12
    found = {"/admin/", "/admin/password_change/", LAUNCH, "/admin/training/run/add/?method=sample", *lists}
    for address in lists:
        page.goto(address)
        links = links_of(page)
        found.update([link for link in links if re.fullmatch(rf"{address}\d+/change/", link)][:1])
        found.update({f"{address}add/"}.intersection(links))
    return found


def links_of(page: Page) -> list[str]:
    """Without what the list's filters add to each."""
    links = page.locator("#page a[href]").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    return [link.partition("?")[0] for link in links]


def test_switches_and_the_filters_of_lists_show_the_focus(page: Page, project: Project) -> None:
    page.goto(f"/admin/annotation/user/{User.objects.get().pk}/change/")
    plain = page.locator("[type=checkbox][name^='is_'], .selector-filter input")
    expect(plain).to_have_count(7)
    for field in plain.all():
        field.focus()
        assert field.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
        assert field.evaluate("one => getComputedStyle(one).outlineColor") == "rgb(11, 95, 174)"


def test_arrows_between_two_lists_are_not_spoken(page: Page, project: Project) -> None:
    page.goto(f"/admin/annotation/user/{User.objects.get().pk}/change/")
    expect(page.locator(".selector-add").first).to_have_accessible_name("Choose selected groups")
    expect(page.locator(".selector-remove").first).to_have_accessible_name("Remove selected groups")


@pytest.mark.parametrize("width", [390, 1280])
def test_a_button_that_is_an_icon_holds_no_word_of_it(page: Page, project: Project, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(LAUNCH)
    heard = page.locator("body").aria_snapshot()
    page.get_by_role("button", name="Sidebar").first.click()
    heard += page.locator("body").aria_snapshot()
    assert "Sidebar" in heard
    assert [icon for icon in ("dock_to_right", "close", "arrow_") if icon in heard] == []
