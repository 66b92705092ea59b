"""The real engine under supervision, on the tiny model: what it reports, rows, pages and the registry take in.

Most of the engines are forks that have torch loaded; who asks for `command` gets what a trainer starts.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test import Client

from annotation.models import Comparison, Project, User
from models_registry.models import Version
from tests.e2e.training import build_tiny, register_tiny
from tests.engine import forks
from training.base_models import add_base_model
from training.engine.run_dir import RunDir
from training.engine_process import EngineProcess
from training.launching import cancel_run, launch_run
from training.models import Run, RunEvent, State
from training.presentation import headline, measures, samples
from training.rounds import RoundPlan, Which, launch_round
from training.supervision import run_directory, supervise

from .conftest import vote
from .workers import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
QUICK = {"lora_rank": 4, "lora_alpha": 8, "checkpoint_every": 2}
SHORT = {"sample_prompts": 2, "length_prompts": 2, "sample_tokens": 8}
ROLLOUTS = {
    "iterations": 2,
    "rollout_batch": 8,
    "minibatches": 2,
    "epochs": 1,
    "max_new_tokens": 8,
    "eval_prompts": 2,
}
TOPICS = ("basil", "bread", "a bicycle", "tea", "a knife", "wool", "a lamp", "rice", "paint", "a boat", "ink", "soap")


class Fork:
    """An engine that is a fork, as `EngineProcess` sees any."""

    def __init__(self, run_dir: RunDir) -> None:
        self._process = forks.start_engine(run_dir)
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> None:
        self._process.join()


@pytest.fixture
def command() -> None:
    """The engine is the command of the settings."""


@pytest.fixture(autouse=True)
def _engines_are_forks(request: pytest.FixtureRequest, settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(run_dir: RunDir, *, offline: bool = True) -> EngineProcess:
        return EngineProcess(Fork(run_dir), settings.ENGINE_GRACE_SECONDS)  # type: ignore[arg-type]

    if "command" not in request.fixturenames:
        monkeypatch.setattr(EngineProcess, "start", start)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny(db: None, tiny_folder: Path) -> Version:
    return register_tiny(tiny_folder)


@pytest.fixture
def judged(project: Project, annotator: User) -> Project:
    for topic in TOPICS:
        vote(
            project,
            annotator,
            f"How do I keep {topic}?",
            f"Keep {topic} dry.",
            f"Well, about {topic} one may say this.",
        )
    return project


def trained(
    method: str, project: Project, base: Version, values: dict[str, object], reward: Version | None = None
) -> Run:
    run = launch_run(method=method, project=project, base=base, reward=reward, values=values, created_by=None)
    assert Run.objects.claim(run.pk, worker="test@here")
    supervise(run.pk)
    run.refresh_from_db()
    assert run.state == State.SUCCEEDED, f"{run.reason}\n{run.log_tail[-2000:]}"
    check_pages(run)
    return run


def check_pages(run: Run) -> None:
    """Whatever a method reports, the pages of the run and of its version can show it."""
    client = Client()
    client.force_login(User.objects.get_or_create(username="ada", is_staff=True, is_superuser=True)[0])
    assert run.version is not None
    for address in (run.get_absolute_url(), run.version.get_absolute_url()):
        assert client.get(address).status_code == 200


def test_the_tiny_model_is_built_and_registered_here_and_now() -> None:
    run = add_base_model(source_kind="tiny", created_by=None, wait=True)
    assert run.state == State.SUCCEEDED, run.reason
    assert run.version is not None
    assert (run.version.kind, str(run.version)) == ("base", "Tiny model v1")


def test_dpo_reports_and_registers(tiny: Version, judged: Project) -> None:
    run = trained("dpo", judged, tiny, {**QUICK, **SHORT, "batch_size": 4, "epochs": 2, "learning_rate": 1e-3})
    assert run.snapshot is not None
    assert run.total_steps == run.step > 0
    assert run.events.filter(kind="step").count() == run.step
    assert run.metrics["margin"] != run.metrics["margin_before"] == 0
    found = headline(run)
    assert found is not None
    assert (found.name, found.before) == ("margin", 0)
    said = samples(run)
    assert said.titles[0] == "base"
    assert said.titles[-1] == "now"
    assert len(said.exchanges) == min(2, run.snapshot.eval_rows)
    version = run.version
    assert version is not None
    assert [artifact.format for artifact in version.artifacts.all()] == ["adapter", "merged"]
    assert (version.parent, version.notice, version.tokenizer_sha256) == (tiny, tiny.notice, tiny.tokenizer_sha256)
    assert version.metrics["margin"] == run.metrics["margin"]


def test_a_reward_model_is_trained_and_ppo_takes_it(tiny: Version, judged: Project) -> None:
    reward = trained("reward", judged, tiny, {**QUICK, "batch_size": 4, "epochs": 2, "eval_every": 2})
    assert reward.version is not None
    assert reward.version.kind == "reward"
    assert {"accuracy", "accuracy_before"} <= {*reward.metrics}
    ppo = trained(
        "ppo",
        judged,
        tiny,
        {
            **QUICK,
            "iterations": 2,
            "rollout_batch": 8,
            "minibatches": 2,
            "epochs": 1,
            "max_new_tokens": 8,
            "eval_prompts": 2,
        },
        reward=reward.version,
    )
    models = run_directory(ppo).spec().models
    assert models["reward"].path == models["base"].path  # one backbone: the reward model is an adapter on it
    assert models["reward"].adapter
    assert ppo.version is not None
    assert (ppo.version.kind, ppo.version.parent) == ("policy", tiny)
    found = {measure.name: measure for measure in measures(ppo)}
    assert found["score"].before is not None
    assert "kl" in found


def test_sft_learns_from_the_chosen_answers(tiny: Version, judged: Project) -> None:
    run = trained("sft", judged, tiny, {**QUICK, **SHORT, "batch_size": 4, "epochs": 4, "learning_rate": 1e-2})
    assert run.metrics["loss"] < run.metrics["loss_before"]
    assert run.version is not None
    assert run.version.kind == "sft"


def test_a_trained_policy_writes_the_next_pairs(tiny: Version, judged: Project) -> None:
    cut_off = judged.prompts.all()[0].responses.all()[0]
    cut_off.sampling = {"ended": False}
    cut_off.save()
    trained_policy = trained("dpo", judged, tiny, {**QUICK, **SHORT, "batch_size": 4, "max_steps": 2}).version
    assert trained_policy is not None
    plan = RoundPlan(
        project=judged, base=trained_policy, which=Which.ALL, values={"n": 2, "temperature": 2.0, "max_new_tokens": 8}
    )
    run = launch_round(plan, created_by=None)
    assert Run.objects.claim(run.pk, worker="test@here")
    supervise(run.pk)
    run.refresh_from_db()
    assert run.state == State.SUCCEEDED, f"{run.reason}\n{run.log_tail[-2000:]}"
    drawn = run.round.answers + run.round.repeated + run.round.empty
    assert (drawn, run.step, run.total_steps) == (2 * len(TOPICS), 2 * len(TOPICS), 2 * len(TOPICS))
    waiting = Comparison.objects.still_open().filter(created_at__gte=run.created_at)
    assert waiting.count() == run.round.comparisons > 0
    answers = trained_policy.responses.filter(pk__in=[pk for comparison in waiting for pk in comparison.response_ids])
    assert answers.count() == 2 * waiting.count()


@pytest.mark.usefixtures("command")
def test_a_cancelled_engine_leaves_a_checkpoint(tiny: Version, judged: Project) -> None:
    values = {**QUICK, **SHORT, "batch_size": 4, "epochs": 100}
    run = launch_run(method="dpo", project=judged, base=tiny, values=values, created_by=None)
    assert Run.objects.claim(run.pk, worker="test@here")

    def work() -> None:
        supervise(run.pk)
        connection.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    wait_for(lambda: RunEvent.objects.filter(run=run, kind="step").exists(), seconds=60)
    assert cancel_run(run)
    thread.join(30)
    run.refresh_from_db()
    assert run.state == State.CANCELLED
    assert run.step < run.total_steps
    assert run_directory(run).checkpoints()


def test_a_base_model_that_lacks_its_weights_fails_with_their_name(
    tiny: Version, judged: Project, tmp_path: Path
) -> None:
    [artifact] = tiny.artifacts.all()
    (tmp_path / "artifacts" / artifact.storage_key / "model.safetensors").unlink()
    run = launch_run(method="dpo", project=judged, base=tiny, values={}, created_by=None)
    assert Run.objects.claim(run.pk, worker="test@here")
    supervise(run.pk)
    run.refresh_from_db()
    assert run.state == State.FAILED
    assert "model.safetensors" in run.reason
