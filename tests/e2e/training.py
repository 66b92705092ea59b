"""What browser tests about training begin with: a tiny model in the registry, votes, and a launched run."""

from pathlib import Path

from django.utils.timezone import now
from playwright.sync_api import Page, expect

from annotation.models import Project
from annotation.services import record_judgment, rule_judge
from models_registry.models import Kind, Model, Version
from models_registry.services import register_version
from tests.e2e.people import Pair, add_pair, make_project
from training.engine import import_model
from training.engine.config import ImportConfig
from training.engine.events import EventWriter
from training.engine.run_dir import RunDir, Spec
from training.models import Method, Run, State

SUBJECTS = ("basil", "bread", "a bicycle", "tea", "a knife", "wool", "a lamp", "rice", "paint", "a boat", "ink", "soap")
PAIRS = tuple(
    Pair(f"How do I look after {subject}?", f"Keep {subject} dry.", f"Well, about {subject} one may say this and that.")
    for subject in SUBJECTS
)
# A run of the tiny model that ends within seconds.
QUICK = {"batch_size": "4", "epochs": "4", "sample_tokens": "8", "length_prompts": "2", "sample_prompts": "2"}


def build_tiny(folder: Path) -> Path:
    """The engine's import of the tiny model, here and now; the folder that it leaves is registered by many tests."""
    spec = Spec(method="import", config={"kind": "tiny"})
    run_dir = RunDir.create(folder, spec)
    import_model.run(run_dir, spec, ImportConfig(kind="tiny"), EventWriter(run_dir.events_path))
    return run_dir.model_path


def register_tiny(folder: Path) -> Version:
    """The tiny model, in the storage of the stack."""
    return register_version(
        model_name="Tiny model", kind="base", parent=None, run_id=None, folder=folder, source="tiny"
    )


def make_judged_project() -> Project:
    """Twelve prompts, two answers each, and a rule's votes for the shorter ones."""
    project = make_project(pairs=())
    judge = rule_judge("demo-rule")
    for pair in PAIRS:
        comparison = add_pair(project, pair)
        by_length = sorted(comparison.prompt.responses.all(), key=lambda response: len(response.text))
        record_judgment(
            comparison=comparison, annotator=judge, tiers=[[response.pk] for response in by_length], strength=2
        )
    return project


def started_run(project: Project) -> Run:
    """A run that says it is under way, though no engine runs: what it comes to is the test's to write."""
    model, _made = Model.objects.get_or_create(name="Small", slug="small")
    base, _made = Version.objects.get_or_create(model=model, number=1, kind=Kind.BASE)
    run = Run.objects.create(project=project, base=base, method=Method.DPO, total_steps=9)
    Run.objects.filter(pk=run.pk).update(state=State.RUNNING, worker="train@here", started_at=now(), heartbeat_at=now())
    return run


def choose_model(page: Page, name: str) -> None:
    """Choose the model to start from by its name, whatever note stands behind it."""
    select = page.locator("#id_base")
    select.select_option(select.locator("option", has_text=name).get_attribute("value"))


def launch(page: Page, method: str, base: str, options: dict[str, str] | None = None) -> int:
    """Fill in the admin's page and launch; the number of the run whose page is then shown."""
    page.goto("/admin/training/run/add/")
    page.get_by_role("link", name=method).click()
    page.locator("#id_project").select_option(label="Everyday help")
    choose_model(page, base)
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    for name, value in (QUICK if options is None else options).items():
        page.locator(f"#id_option_{name}").fill(value)
    page.get_by_role("button", name="Launch").click()
    expect(page.locator("#run-live")).to_be_visible()
    page.wait_for_load_state("load")
    return int(page.url.rstrip("/").rsplit("/", 1)[1])
