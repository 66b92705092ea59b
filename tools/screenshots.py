"""The pictures of the README, taken from a running Prefloop: `python tools/screenshots.py SIGN_IN_LINK`.

The link is what `make demo` or `manage.py sign_in_link` prints. The run in the picture is the newest DPO run that has
succeeded; where there is none, one is launched in the admin with the defaults, and waited for.
"""

import argparse
import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Playwright, sync_playwright

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LABELLED = "everyday-help"
TRAINED_ON = "Concise answers"
RUN_MINUTES = 60


def main() -> None:
    """Sign in, take both pictures, say where they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("link", help="a sign-in link of an admin")
    parser.add_argument("--skip", type=int, default=0, metavar="N", help="skip so many pairs before the picture")
    arguments = parser.parse_args()
    address = urlsplit(arguments.link)
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = open_browser(driver)
        page = browser.new_page(
            base_url=f"{address.scheme}://{address.netloc}",
            viewport={"width": 1280, "height": 800},
            device_scale_factor=1.5,
            color_scheme="light",
        )
        page.goto(arguments.link)
        page.get_by_role("button", name="Sign in as").click()
        for picture in (picture_of_labelling(page, arguments.skip), picture_of_a_run(page)):
            print(picture)
        browser.close()


def open_browser(driver: Playwright) -> Browser:
    """The machine's own Chromium."""
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        raise SystemExit("No Chromium here: `make test` installs it.")
    return driver.chromium.launch(executable_path=program, args=["--no-sandbox"] if os.getuid() == 0 else [])


def picture_of_labelling(page: Page, skip: int) -> Path:
    """A pair as an annotator sees it, the guidelines closed."""
    page.goto(f"/projects/{LABELLED}/label/")
    for _ in range(skip):
        before = page.locator("input[name=ticket]").input_value()
        page.locator("#skip summary").click()
        page.get_by_role("button", name="I do not know enough about this").click()
        page.wait_for_function("before => document.querySelector('[name=ticket]')?.value !== before", arg=before)
    page.keyboard.press("Escape")
    return take(page, "labelling.png")


def picture_of_a_run(page: Page) -> Path:
    """The page of a DPO run that has ended well, with its charts."""
    page.goto("/runs/")
    rows = page.get_by_role("row").filter(has_text="DPO").filter(has_text="succeeded")
    if rows.count():
        rows.first.get_by_role("link").first.click()
    else:
        launch(page)
    page.locator("[data-charts] canvas").first.wait_for()
    page.wait_for_load_state("networkidle")
    return take(page, "run.png", height=1200)


def launch(page: Page) -> None:
    """A DPO run with the defaults, from the admin, to its end."""
    page.goto("/admin/training/run/add/?method=dpo")
    page.locator("#id_project").select_option(label=TRAINED_ON)
    page.locator("#id_base").select_option(index=1)
    page.get_by_role("button", name="Launch").click()
    page.locator("#run-live[data-state=succeeded]").wait_for(timeout=RUN_MINUTES * 60_000)
    page.reload()


def take(page: Page, name: str, *, height: int = 800) -> Path:
    """The part of the page that a window of this height shows."""
    page.set_viewport_size({"width": 1280, "height": height})
    page.wait_for_timeout(500)  # charts draw themselves again for the new size
    page.screenshot(path=IMAGES / name)
    return IMAGES / name


if __name__ == "__main__":
    main()
