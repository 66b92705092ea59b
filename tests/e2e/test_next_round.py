"""The last arrow of the loop, through real processes: a model answers from a click, and people get the answers."""

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from annotation.models import Comparison, Project, User
from tests.e2e.conftest import Stack
from tests.e2e.people import make_annotator
from tests.e2e.training import PAIRS, build_tiny, choose_model, make_judged_project, register_tiny
from training.models import Run

SignIn = Callable[[User], None]
ANSWER_TOKENS = 6


def test_a_model_answers_and_its_answers_are_the_next_pairs(
    page: Page, live_stack: Stack, sign_in: SignIn, tmp_path: Path
) -> None:
    tiny = register_tiny(build_tiny(tmp_path / "tiny"))
    project = make_judged_project()
    sign_in(User.objects.create_superuser("ada", display_name="Ada"))

    page.goto(project.get_absolute_url())
    page.get_by_role("link", name="Next round").click()
    choose_model(page, "Tiny model v1")
    page.get_by_label("Answers for each prompt").fill("3")
    page.get_by_label("Max new tokens").fill(str(ANSWER_TOKENS))
    page.get_by_label("Max new tokens").press("Tab")
    expect(page.locator(".round-count")).to_contain_text(f"{len(PAIRS)} prompts, {3 * len(PAIRS)} answers")
    page.get_by_role("button", name="Let it answer").click()

    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(r"Sample answers · Everyday help · run \d+"))
    expect(page.locator("#run-live")).to_have_attribute("data-state", "succeeded", timeout=180_000)
    brought = Run.objects.get(method="sample").round
    expect(page.locator("#run-results")).to_contain_text(f"{brought.comparisons} comparisons")
    page.locator("#result").click()
    expect(page.locator("tr", has_text="Tiny model v1").first).to_contain_text(str(brought.answers))
    expect(page.locator("#project-runs")).to_be_visible()  # all of Ada's page is there before she leaves

    check_queue(project, answers=brought.answers, comparisons=brought.comparisons)
    sign_in(make_annotator(project))
    page.goto(f"/projects/{project.slug}/label/")
    expect(page.locator(".answer")).to_have_count(2)
    assert str(tiny) not in page.content()


def check_queue(project: Project, *, answers: int, comparisons: int) -> None:
    """What the run counted is there, by the model, and waits to be judged."""
    waiting = Comparison.objects.still_open().filter(project=project)
    assert waiting.count() == comparisons > 0
    new = [answer for prompt in project.prompts.all() for answer in prompt.responses.exclude(author=None)]
    assert len(new) == answers
    assert {str(answer.author) for answer in new} == {"Tiny model v1"}
    assert {pk for comparison in waiting for pk in comparison.response_ids} <= {answer.pk for answer in new}
    # An answer that the model did not end itself has all the tokens that it was allowed.
    assert all(answer.sampling["ended"] or answer.sampling["tokens"] == ANSWER_TOKENS for answer in new)
    assert max(answer.sampling["tokens"] for answer in new) <= ANSWER_TOKENS
