"""Pages that follow work: focus stays where it is, the end is told once, and nothing asks when nothing runs."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import AbstractBaseUser
from django.utils.timezone import now
from playwright.sync_api import Page, expect

from annotation.models import ImportReport, Project, User
from annotation.models.importing import ImportState
from tests.e2e.people import make_project
from tests.e2e.training import started_run
from training.models import Run, State

SignIn = Callable[[AbstractBaseUser], None]


@pytest.fixture
def ada(live_stack: object, sign_in: SignIn) -> User:
    person = User.objects.create_superuser("ada", display_name="Ada")
    sign_in(person)
    return person


@pytest.fixture
def project(live_stack: object) -> Project:
    return make_project(pairs=())


def make_import(project: Project, person: User) -> ImportReport:
    return ImportReport.objects.create(
        project=project, created_by=person, file_name="pairs.csv", state=ImportState.RUNNING, heartbeat_at=now()
    )


def next_answer(page: Page, address: str) -> None:
    """The live part asks once more, and the answer is shown."""
    with page.expect_response(lambda response: response.url.partition("?")[0].endswith(address)):
        pass
    page.wait_for_timeout(200)


def asks(page: Page, address: str) -> list[str]:
    """Every time the page asks for its live part, from now on."""
    found: list[str] = []
    page.on("request", lambda request: found.append(request.url) if address in request.url else None)
    return found


def test_the_list_of_runs_keeps_the_focus_while_it_lives(page: Page, ada: User, project: Project) -> None:
    run = started_run(project)
    page.goto("/runs/")
    link = page.get_by_role("link", name=f"DPO · {run.pk}")
    link.focus()
    started_run(project)  # comes above it
    expect(page.get_by_role("link", name="DPO · ")).to_have_count(2)
    expect(link).to_be_focused()
    Run.objects.filter(pk=run.pk).update(step=5)
    expect(page.get_by_text("5/9")).to_be_visible()
    expect(link).to_be_focused()


def test_the_list_of_runs_asks_seldom_when_nothing_runs(page: Page, ada: User, project: Project) -> None:
    started_run(project)
    page.goto("/runs/")
    next_answer(page, "/runs/")
    Run.objects.update(state=State.SUCCEEDED, finished_at=now())
    expect(page.locator("#runs-live .badge")).to_have_text("succeeded")
    later = asks(page, "/runs/")
    page.wait_for_timeout(5000)
    assert later == []


def test_the_page_of_a_run_keeps_the_focus_and_at_its_end_moves_it_to_the_heading(
    page: Page, ada: User, project: Project
) -> None:
    run = started_run(project)
    page.goto(run.get_absolute_url())
    model = page.get_by_role("link", name="Small v1")
    model.focus()
    Run.objects.filter(pk=run.pk).update(step=5)
    expect(page.get_by_text("step 5 of 9")).to_be_visible()
    expect(model).to_be_focused()
    page.get_by_role("button", name="Cancel").focus()
    Run.objects.finish(run.pk, state=State.SUCCEEDED)
    expect(page.locator("#run-live")).to_have_attribute("data-state", "succeeded")
    expect(page.get_by_role("heading", level=1)).to_be_focused()


def test_the_page_of_an_import_keeps_the_focus_and_at_its_end_moves_it_to_the_heading(
    page: Page, ada: User, project: Project
) -> None:
    report = make_import(project, ada)
    page.goto(report.get_absolute_url())
    cancel = page.get_by_role("button", name="Cancel")
    cancel.focus()
    ImportReport.objects.update(progress=0.5)
    expect(page.get_by_text("50 % of the file")).to_be_visible()
    expect(cancel).to_be_focused()
    ImportReport.objects.update(state=ImportState.DONE)
    expect(page.get_by_role("heading", level=1)).to_be_focused()


def listen(page: Page) -> None:
    """Note what the page's status line says, from now on, in `window.told`."""
    page.evaluate(
        """() => {
          window.told = [];
          const status = document.querySelector("main > p[role=status]");
          new MutationObserver(() => window.told.push(status.textContent)).observe(status, { childList: true });
        }"""
    )


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELLED])
def test_the_end_of_a_run_is_told_once_and_stands_in_the_title(
    page: Page, ada: User, project: Project, state: State
) -> None:
    run = started_run(project)
    page.goto(run.get_absolute_url())
    expect(page).to_have_title(f"Running · DPO · run {run.pk} · Prefloop")
    listen(page)
    for step in (2, 3):
        Run.objects.filter(pk=run.pk).update(step=step)
        expect(page.get_by_text(f"step {step} of 9")).to_be_visible()
    Run.objects.finish(run.pk, state=state, reason="It was so.")
    expect(page).to_have_title(f"{state.capitalize()} · DPO · run {run.pk} · Prefloop")
    later = asks(page, "/live/")
    page.wait_for_timeout(3000)
    assert page.evaluate("window.told") == [f"Run {run.pk}: {state}"]
    assert later == []


def test_the_end_of_an_import_is_told_once_with_the_rows_that_could_not_be_taken(
    page: Page, ada: User, project: Project
) -> None:
    report = make_import(project, ada)
    page.goto(report.get_absolute_url())
    listen(page)
    ImportReport.objects.update(progress=0.5)
    expect(page.get_by_text("50 % of the file")).to_be_visible()
    ImportReport.objects.update(state=ImportState.DONE, rows=300, error_count=2)
    expect(page).to_have_title("Done · Import of pairs.csv · Everyday help · Prefloop")
    later = asks(page, "/live/")
    page.wait_for_timeout(3000)
    [said] = page.evaluate("window.told")
    assert said.startswith("Import of pairs.csv: done. 2 of 300 rows could not be taken.")
    assert later == []
