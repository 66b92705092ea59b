"""Launching and cancelling: what is checked, what is written, what the queue hears."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks

from annotation.models import Preference, Project, User
from models_registry.models import Kind, Version
from training import tasks
from training.engine.config import ConfigError
from training.launching import LaunchError, cancel_run, launch_run
from training.models import Run, Snapshot, State
from training.upkeep import announce_unheard_runs

from .conftest import make_run, make_version, vote

pytestmark = pytest.mark.django_db


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """What the queue hears."""
    delay = Mock()
    monkeypatch.setattr(tasks.execute_run, "delay", delay)
    return delay


def test_a_launch_freezes_writes_and_tells_the_queue_after_the_commit(
    project: Project,
    base: Version,
    votes: list[Preference],
    admin: User,
    told: Mock,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        run = launch_run(method="dpo", project=project, base=base, values={"beta": 0.2}, seed=7, created_by=admin)
        told.assert_not_called()
    told.assert_called_once_with(run.pk)
    run.refresh_from_db()
    assert (run.state, run.seed, run.model_name, run.created_by) == (State.QUEUED, 7, "Concise answers · DPO", admin)
    assert run.config["beta"] == 0.2
    assert "learning_rate" in run.config
    assert run.snapshot is not None
    assert run.snapshot.train_rows + run.snapshot.eval_rows == 20


def test_a_broker_that_is_away_leaves_a_queued_run_that_is_announced_later(
    project: Project,
    base: Version,
    votes: list[Preference],
    told: Mock,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    told.side_effect = ConnectionError("no broker")
    with django_capture_on_commit_callbacks(execute=True):
        run = launch_run(method="dpo", project=project, base=base, values={}, created_by=None)
    told.side_effect = None
    assert announce_unheard_runs() == 0
    Run.objects.update(enqueued_at="2020-01-01T00:00Z")
    with django_capture_on_commit_callbacks(execute=True):
        assert announce_unheard_runs() == 1
    assert told.call_args_list[-1].args == (run.pk,)
    assert announce_unheard_runs() == 0


def test_options_that_make_no_sense_are_all_named(project: Project, base: Version, votes: list[Preference]) -> None:
    with pytest.raises(ConfigError) as caught:
        launch_run(method="dpo", project=project, base=base, values={"beta": -1, "colour": 1}, created_by=None)
    assert set(caught.value.errors) == {"beta", "colour"}
    assert not Run.objects.exists()
    assert not Snapshot.objects.exists()


def refused(**launch: object) -> LaunchError:
    with pytest.raises(LaunchError) as caught:
        launch_run(**{"values": {}, "created_by": None, **launch})  # type: ignore[arg-type]
    assert not Run.objects.exists()
    return caught.value


def test_too_few_preferences_are_refused(project: Project, base: Version, annotator: User) -> None:
    vote(project, annotator, "One?")
    vote(project, annotator, "Two?")
    error = refused(method="dpo", project=project, base=base)
    assert error.field == "project"
    assert str(error) == "Too little to learn from: 2 pairs, at least 4 are needed."


def test_a_single_prompt_is_refused(project: Project, base: Version, annotator: User) -> None:
    for number in range(4):
        vote(project, annotator, "The same?", f"Good {number}.", f"Bad {number}.")
    assert "Too few prompts: 1" in str(refused(method="dpo", project=project, base=base))


def test_ppo_needs_a_reward_model(project: Project, base: Version, votes: list[Preference]) -> None:
    error = refused(method="ppo", project=project, base=base)
    assert error.field == "reward"


def test_a_reward_model_of_another_tokenizer_is_taken(project: Project, base: Version, votes: list[Preference]) -> None:
    other = make_version("Other judge", Kind.REWARD, tokenizer="another tokenizer")
    run = launch_run(method="ppo", project=project, base=base, reward=other, values={}, created_by=None)
    assert run.reward == other


def test_no_value_model_starts_from_a_reward_model_of_another_tokenizer(
    project: Project, base: Version, votes: list[Preference]
) -> None:
    other = make_version("Other judge", Kind.REWARD, tokenizer="another tokenizer")
    error = refused(method="ppo", project=project, base=base, reward=other, values={"value_backbone": "own"})
    assert error.field == "reward"
    assert "another tokenizer than Small v1" in str(error)


def test_a_reward_model_of_the_same_tokenizer_is_taken(
    project: Project, base: Version, reward: Version, votes: list[Preference]
) -> None:
    run = launch_run(method="ppo", project=project, base=base, reward=reward, values={}, created_by=None)
    assert run.reward == reward


def test_a_policy_is_no_reward_model_and_a_reward_model_no_base(
    project: Project, base: Version, reward: Version, votes: list[Preference]
) -> None:
    assert refused(method="ppo", project=project, base=base, reward=base).field == "reward"
    assert refused(method="dpo", project=project, base=reward).field == "base"
    assert refused(method="dpo", project=project, base=base, reward=reward).field == "reward"


def test_a_base_model_is_imported_without_a_project(db: None) -> None:
    run = launch_run(
        method="import", project=None, base=None, values={"kind": "tiny"}, created_by=None, model_name="Tiny"
    )
    assert (run.method, run.project, run.model_name) == ("import", None, "Tiny")
    assert run.config["kind"] == "tiny"


def test_a_queued_run_is_cancelled_at_once(base: Version) -> None:
    run = make_run(base)
    assert cancel_run(run)
    run.refresh_from_db()
    assert run.state == State.CANCELLED
    assert not Run.objects.claim(run.pk, worker="late@here")


def test_a_running_run_is_asked_to_stop(base: Version) -> None:
    run = make_run(base)
    Run.objects.claim(run.pk, worker="w@here")
    assert cancel_run(run)
    run.refresh_from_db()
    assert run.state == State.RUNNING
    assert run.cancel_requested_at is not None


def test_an_ended_run_cannot_be_cancelled(base: Version) -> None:
    run = make_run(base)
    Run.objects.finish(run.pk, state=State.FAILED, reason="x")
    assert not cancel_run(run)
    run.refresh_from_db()
    assert (run.state, run.reason, run.cancel_requested_at) == (State.FAILED, "x", None)
