"""A file on its way in: looked at, confirmed, landed by a real worker, reported."""

import csv
from collections.abc import Callable
from pathlib import Path

from django.contrib.auth.models import AbstractBaseUser
from playwright.sync_api import Page, expect

from annotation.models import Comparison, Judgment, User
from annotation.services import create_project


def test_a_table_is_confirmed_and_lands_while_the_page_follows(
    page: Page, sign_in: Callable[[AbstractBaseUser], None], tmp_path: Path
) -> None:
    manager = User.objects.create_user("mara")
    project = create_project(name="Everyday help", manager=manager)
    file = tmp_path / "pairs.csv"
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["instruction", "output_1", "output_2", "preference", "annotator"])
        writer.writerows([f"Question {n}?", "One.", "Two.", 1 + n % 2, f"rater-{n % 3}"] for n in range(300))
        writer.writerow(["Question?", "One.", "Two.", 7, "rater-0"])
    sign_in(manager)

    page.goto(f"/projects/{project.slug}/import/")
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_text("CSV, ")).to_be_visible()
    expect(page.get_by_role("cell", name="1 over 2").first).to_be_visible()
    assert not Comparison.objects.exists()
    page.get_by_role("button", name="Import", exact=True).click()

    expect(page.locator("#import-live")).to_have_attribute("data-state", "succeeded")
    expect(page.locator(".notice", has_text="1 of 301 rows could not be taken")).to_be_visible()
    expect(page.get_by_text("preference is 7, neither 0 nor between 1 and 2.")).to_be_visible()
    assert Comparison.objects.filter(project=project).count() == 300
    assert Judgment.objects.filter(annotator__username="alpaca-eval.rater-1").count() == 100
