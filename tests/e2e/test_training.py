"""Launching a run in the admin, watching it live, taking its result home, stopping it, seeing it fail."""

import hashlib
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from annotation.models import Project, User
from models_registry.models import Version
from tests.e2e.conftest import Stack
from tests.e2e.people import make_annotator
from tests.e2e.training import PAIRS, QUICK, build_tiny, choose_model, launch, make_judged_project, register_tiny
from training.models import Run, State

SignIn = Callable[[User], None]
RUN_SECONDS = 120


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny(live_stack: Stack, tiny_folder: Path) -> Version:
    return register_tiny(tiny_folder)


@pytest.fixture
def project(live_stack: Stack) -> Project:
    return make_judged_project()


@pytest.fixture
def ada(live_stack: Stack, sign_in: SignIn) -> User:
    person = User.objects.create_superuser("ada", display_name="Ada")
    sign_in(person)
    return person


def ends(page: Page, state: str) -> None:
    expect(page.locator("#run-live")).to_have_attribute("data-state", state, timeout=RUN_SECONDS * 1000)


def test_a_run_is_launched_watched_to_its_end_and_downloaded(
    page: Page, tiny: Version, project: Project, ada: User, tmp_path: Path
) -> None:
    number = launch(page, "DPO", "Tiny model v1")
    loads: list[str] = []
    page.on("load", lambda loaded: loads.append(loaded.url))
    expect(page.get_by_role("heading", level=1)).to_have_text(f"DPO · Everyday help · run {number}")
    ends(page, "succeeded")
    expect(page.locator("[data-charts] canvas").first).to_be_visible()
    expect(page.get_by_text(tiny.notice)).to_be_visible()
    assert loads == []  # live: it came to its end without being loaded again

    page.locator("#result").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Everyday help · DPO v1")
    expect(page.get_by_text(tiny.notice).first).to_be_visible()
    expect(page.locator(".lineage")).to_contain_text("Tiny model v1")
    shown = page.locator("[data-sha256=merged]").inner_text()
    with page.expect_download() as downloading:
        page.get_by_role("link", name=re.compile("Merged, ")).click()
    archive = tmp_path / "merged.tar"
    downloading.value.save_as(archive)
    assert downloading.value.suggested_filename == "everyday-help-dpo-v1-merged.tar"
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == shown
    with tarfile.open(archive) as tar:
        names = {name.rsplit("/", 1)[1] for name in tar.getnames()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md", "chat_template.jinja"} <= names

    run = Run.objects.get(pk=number)
    assert (run.state, run.created_by) == (State.SUCCEEDED, ada)
    assert run.snapshot is not None
    assert run.snapshot.train_rows + run.snapshot.eval_rows == len(PAIRS)


def test_a_run_is_cancelled(page: Page, tiny: Version, project: Project, ada: User) -> None:
    number = launch(page, "DPO", "Tiny model v1", QUICK | {"epochs": "100"})
    expect(page.locator("#run-live")).to_contain_text(re.compile(r"step \d+ of"), timeout=RUN_SECONDS * 1000)
    page.get_by_role("button", name="Cancel").click()
    ends(page, "cancelled")
    assert Run.objects.get(pk=number).state == State.CANCELLED
    assert Version.objects.filter(run_id=number).count() == 0


def test_too_little_data_is_said_before_anything_starts(page: Page, tiny: Version, ada: User) -> None:
    make_judged_project().preferences.all().delete()
    page.goto("/admin/training/run/add/?method=dpo")
    page.locator("#id_project").select_option(label="Everyday help")
    choose_model(page, "Tiny model v1")
    expect(page.locator(".launch-count")).to_contain_text("0 pairs")
    page.get_by_role("button", name="Launch").click()
    expect(page.get_by_role("alert")).to_contain_text("Too little to learn from")
    assert Run.objects.count() == 0


def test_a_failed_run_says_why(page: Page, tiny: Version, project: Project, ada: User, live_stack: Stack) -> None:
    key = tiny.artifacts.get().storage_key
    (live_stack.var / "artifacts" / key / "model.safetensors").unlink()
    launch(page, "DPO", "Tiny model v1")
    ends(page, "failed")
    expect(page.get_by_role("alert")).to_contain_text("model.safetensors")


def test_runs_and_models_are_not_for_annotators(
    page: Page, tiny: Version, project: Project, sign_in: SignIn, live_stack: Stack
) -> None:
    sign_in(make_annotator(project))
    statuses = {}
    for path in (tiny.get_absolute_url(), tiny.artifacts.get().get_absolute_url(), "/models/", "/"):
        statuses[path] = page.request.get(path).status
    assert list(statuses.values()) == [404, 404, 404, 200]


def test_an_interrupted_download_goes_on(page: Page, tiny: Version, ada: User) -> None:
    artifact = tiny.artifacts.get()
    url = artifact.get_absolute_url()
    first = page.request.get(url, headers={"Range": "bytes=0-99999"})
    rest = page.request.get(url, headers={"Range": "bytes=100000-", "If-Range": first.headers["etag"]})
    assert (first.status, rest.status) == (206, 206)
    whole = first.body() + rest.body()
    assert len(whole) == artifact.bytes
    assert hashlib.sha256(whole).hexdigest() == artifact.sha256


def test_a_base_model_is_added_in_the_admin(page: Page, ada: User, live_stack: Stack) -> None:
    page.goto("/models/")
    page.get_by_role("link", name="Add a base model").click()
    page.locator("#id_kind").select_option("tiny")
    page.locator("#id_model_name").fill("My own")
    page.get_by_role("button", name="Save", exact=True).click()
    ends(page, "succeeded")
    page.locator("#result").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("My own v1")
    assert Version.objects.get().model.name == "My own"
