"""A project with votes, models without weights, and an engine that does what a test tells it to."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.utils.text import slugify

from annotation.models import Comparison, Judgment, Membership, Preference, Project, Prompt, Response, Role, User
from models_registry.models import Artifact, Format, Kind, Model, Version
from training import holding, supervision
from training.models import Method, Run, State

STAND_IN = Path(__file__).parent / "stand_in_engine.py"


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture(autouse=True)
def _engines_are_looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(holding, "BEAT_SECONDS", 0.2)


@pytest.fixture
def admin(db: None) -> User:
    return User.objects.create_superuser("admin", display_name="Ada")


@pytest.fixture
def annotator(db: None) -> User:
    return User.objects.create_user("nina", display_name="Nina")


@pytest.fixture
def manager(db: None, project: Project) -> User:
    user = User.objects.create_user("mona", display_name="Mona")
    Membership.objects.create(project=project, user=user, role=Role.MANAGER)
    return user


@pytest.fixture
def project(db: None) -> Project:
    return Project.objects.create(name="Concise answers", slug="concise")


def vote(
    project: Project,
    judge: User,
    question: str,
    better: str = "Short.",
    worse: str = "A much longer answer.",
    *,
    strength: int | None = None,
    tie: bool = False,
    purpose: str = Comparison.Purpose.COLLECT,
) -> Preference | None:
    """One comparison of two answers and one judgment of it; a tie makes no preference."""
    prompt, _ = Prompt.objects.get_or_create(
        project=project, content_hash=sha(question), defaults={"messages": [{"role": "user", "content": question}]}
    )
    first, second = (
        Response.objects.get_or_create(
            prompt=prompt, content_hash=sha(text), author=None, author_label="import", defaults={"text": text}
        )[0]
        for text in (better, worse)
    )
    comparison = Comparison.objects.create(
        project=project, prompt=prompt, response_ids=[first.pk, second.pk], purpose=purpose
    )
    judgment = Judgment.objects.create(
        comparison=comparison,
        annotator=judge,
        seat=1,
        seats=1,
        tiers=[[first.pk, second.pk]] if tie else [[first.pk], [second.pk]],
        strength=strength,
        shown_order=[first.pk, second.pk],
    )
    if tie:
        return None
    return Preference.objects.create(
        project=project, prompt=prompt, chosen=first, rejected=second, judgment=judgment, strength=strength
    )


@pytest.fixture
def votes(project: Project, annotator: User) -> list[Preference]:
    """Twenty preferences on ten prompts."""
    made = [
        vote(project, annotator, f"Question {number % 10}?", f"Answer {number}.", f"The long answer {number}.")
        for number in range(20)
    ]
    return [preference for preference in made if preference]


def make_version(name: str, kind: str, *, tokenizer: str = "one tokenizer", root: Path | None = None) -> Version:
    """A registered version; with ``root`` its single file stands in the storage too."""
    model, _ = Model.objects.get_or_create(name=name, defaults={"slug": slugify(name)})
    version = Version.objects.create(
        model=model, number=model.versions.count() + 1, kind=kind, tokenizer_sha256=sha(tokenizer)
    )
    key = f"{model.slug}/v{version.number}/full"
    if root:
        (root / key).mkdir(parents=True)
        (root / key / "config.json").write_text("{}")
    Artifact.objects.create(
        version=version,
        format=Format.FULL,
        storage_key=key,
        files=[{"path": "config.json", "bytes": 2, "sha256": sha("{}")}],
        bytes=2,
        sha256=sha("{}"),
    )
    return version


@pytest.fixture
def base(db: None, settings: LazySettings, tmp_path: Path) -> Version:
    return make_version("Small", Kind.BASE, root=tmp_path / "artifacts")


@pytest.fixture
def reward(db: None, tmp_path: Path) -> Version:
    return make_version("Judge", Kind.REWARD, root=tmp_path / "artifacts")


@pytest.fixture
def engine(settings: LazySettings) -> Callable[[str], None]:
    """Choose what the engine does: the name of a function in ``stand_in_engine.py``."""

    def choose(behaviour: str) -> None:
        settings.ENGINE_COMMAND = [sys.executable, str(STAND_IN), behaviour]
        settings.ENGINE_GRACE_SECONDS = 1

    return choose


def make_run(base: Version | None = None, **fields: object) -> Run:
    defaults = {"method": Method.DPO, "base": base, "model_name": "Result", "state": State.QUEUED}
    return Run.objects.create(**{**defaults, **fields})
