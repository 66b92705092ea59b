"""Charts say in words and as a table what they draw; the drawing itself is nothing to listen to."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import AbstractBaseUser
from django.utils.timezone import now
from playwright.sync_api import Page, expect

from annotation.models import Project, QualityReport, User
from tests.e2e.people import make_annotator, make_project
from tests.e2e.test_reading import AXE
from tests.e2e.training import started_run
from training.models import Run, RunEvent, State

SignIn = Callable[[AbstractBaseUser], None]


@pytest.fixture
def project(live_stack: object, sign_in: SignIn) -> Project:
    sign_in(User.objects.create_superuser("ada", display_name="Ada"))
    return make_project(pairs=())


def measured(run: Run, step: int, **metrics: float) -> None:
    seq = run.events.count() + 1
    RunEvent.objects.create(run=run, seq=seq, kind="eval", step=step, data={"metrics": metrics}, at=now())


def landmarks_that_share_a_name(page: Page) -> list[str]:
    page.evaluate(AXE.read_text())
    found: list[str] = page.evaluate(
        "async () => (await axe.run(document, { runOnly: ['landmark-unique'] })).violations"
        ".flatMap((one) => one.nodes.map((node) => node.html))"
    )
    return found


def test_the_numbers_of_a_run_are_a_table_too_that_follows_and_stays_open(page: Page, project: Project) -> None:
    run = started_run(project)
    measured(run, 0, loss=0.75)
    page.goto(run.get_absolute_url())
    page.get_by_text("As a table").click()
    rows = page.get_by_role("region", name="Steps").get_by_role("row")
    expect(rows).to_have_text(["StepWhatMeasured", "0held outloss 0.75"])
    measured(run, 4, loss=0.5)
    expect(rows.nth(2)).to_have_text("4held outloss 0.5")
    expect(rows.nth(2)).to_be_visible()


def test_the_drawings_are_hidden_from_readers(page: Page, project: Project) -> None:
    run = started_run(project)
    measured(run, 0, loss=0.75)
    page.goto(run.get_absolute_url())
    expect(page.locator("canvas").first).to_be_visible()
    figure = page.get_by_role("figure").first
    expect(figure).to_contain_text("step 0: held out 0.75")
    assert page.locator("canvas:not([aria-hidden=true] *)").count() == 0


def test_a_single_pair_is_one_pair(page: Page, project: Project) -> None:
    numbers = {"votes": 3, "pairs": 3, "pairs_judged_twice": 0, "label_smoothing": None, "certainty": [0] * 9 + [1]}
    QualityReport.objects.create(project=project, computed_at=now(), numbers=numbers)
    page.goto(f"/projects/{project.slug}/quality/")
    expect(page.locator(".chart .reading")).to_have_text("95–100 %: 1 pair")
    assert page.locator("canvas:not([aria-hidden=true] *)").count() == 0


@pytest.mark.parametrize("address", ["quality/", "assignment/", "gold/", "."])
def test_no_two_landmarks_share_a_name(page: Page, project: Project, address: str) -> None:
    nina = make_annotator(project)
    weeks = [{"week": f"2026-01-{day:02}", "votes": 3} for day in (5, 12)]
    numbers = {"votes": 3, "pairs": 3, "pairs_judged_twice": 0, "label_smoothing": None, "weeks": weeks}
    people = [{"person": nina.pk, "votes": 3, "flags": [], "weeks": []}]
    QualityReport.objects.create(project=project, computed_at=now(), numbers={**numbers, "people": people})
    page.goto(f"/projects/{project.slug}/{address}")
    assert landmarks_that_share_a_name(page) == []


def test_no_two_landmarks_of_an_ended_run_share_a_name(page: Page, project: Project) -> None:
    run = started_run(project)
    measured(run, 0, loss=0.75)
    Run.objects.filter(pk=run.pk).update(metrics={"loss": 0.5, "loss_before": 0.75})
    Run.objects.finish(run.pk, state=State.SUCCEEDED)
    page.goto(run.get_absolute_url())
    expect(page.get_by_role("heading", name="Held out: before and after")).to_be_visible()
    assert landmarks_that_share_a_name(page) == []
