"""A run from claim to its end, with a stand-in for the engine: a real process that keeps the engine's contract."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.db import connection
from django.utils.timezone import now

from annotation.models import Preference, Project, User
from models_registry.models import Format, Version
from training import presence, supervision
from training.engine.run_dir import ModelRef, RunDir, Spec, write_json
from training.engine_process import environment
from training.launching import cancel_run, launch_run
from training.models import Run, RunEvent, State
from training.supervision import run_directory, supervise
from training.upkeep import reap_stale_runs

from .conftest import make_run
from .workers import is_alive, wait_for

pytestmark = pytest.mark.django_db(transaction=True)
Engine = Callable[[str], None]


def claim_and_supervise(run: Run) -> Run:
    assert Run.objects.claim(run.pk, worker="test@here")
    supervise(run.pk)
    run.refresh_from_db()
    return run


def in_background(run: Run) -> threading.Thread:
    """Supervise in another thread, as another process would; waits until the engine has reported a step."""

    def work() -> None:
        try:
            supervise(run.pk)
        finally:
            connection.close()

    assert Run.objects.claim(run.pk, worker="test@here")
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    wait_for(lambda: RunEvent.objects.filter(run=run).exists())
    return thread


def test_a_run_that_works_registers_a_version(
    engine: Engine, project: Project, base: Version, votes: list[Preference], admin: User
) -> None:
    engine("succeed")
    launched = launch_run(method="dpo", project=project, base=base, values={}, created_by=admin)
    run = claim_and_supervise(launched)
    assert (run.state, run.reason) == (State.SUCCEEDED, "")
    assert (run.step, run.total_steps, run.device) == (4, 4, "pretend")
    assert run.metrics["accuracy_before"] == 0.4
    assert run.metrics["accuracy"] == 0.8
    assert run.finished_at is not None
    version = run.version
    assert version is not None
    assert run.snapshot is not None
    assert (version.kind, version.parent, version.dataset_sha256) == ("policy", base, run.snapshot.sha256)
    assert [artifact.format for artifact in version.artifacts.all()] == ["merged"]
    assert "Concise answers" in version.card
    assert not run_directory(run).model_path.exists()


def test_every_line_is_stored_once_and_the_offset_is_the_length_of_the_file(engine: Engine, base: Version) -> None:
    engine("succeed")
    run = claim_and_supervise(make_run(base))
    path = run_directory(run).events_path
    lines = path.read_text().splitlines()
    assert list(run.events.values_list("seq", flat=True)) == list(range(1, len(lines) + 1))
    assert run.events_offset == path.stat().st_size


def test_a_line_that_is_half_written_is_read_when_it_is_whole(engine: Engine, base: Version) -> None:
    engine("write_a_torn_line")
    run = claim_and_supervise(make_run(base))
    assert list(run.events.values_list("step", "data__metrics__loss")) == [(1, 0.5), (2, 0.4)]
    assert run.state == State.SUCCEEDED


def test_text_that_no_database_holds_is_made_harmless(engine: Engine, base: Version) -> None:
    engine("say_what_no_database_holds")
    run = claim_and_supervise(make_run(base))
    assert run.state == State.FAILED
    event = run.events.get()
    assert event.data == {"message": "a\N{REPLACEMENT CHARACTER}b?c", "value": None}


def test_an_engine_that_runs_out_of_memory_leaves_its_own_reason_and_the_log(engine: Engine, base: Version) -> None:
    engine("run_out_of_memory")
    run = claim_and_supervise(make_run(base))
    assert run.state == State.FAILED
    assert run.reason == "out of memory: lower tokens_per_pass (now 4096)"
    assert "Traceback: something long" in run.log_tail


def test_an_engine_that_is_killed_fails_the_run_and_the_worker_lives(engine: Engine, base: Version) -> None:
    engine("be_killed")
    run = claim_and_supervise(make_run(base))
    assert run.state == State.FAILED
    assert run.reason.startswith("The engine was killed (signal 9), most often because the memory ran out.")
    assert "Set the tokens of one pass to 512" in run.reason  # they are 0 by default, which cannot be lowered
    assert "about to be killed" in run.log_tail
    assert run.step == 1


def test_an_engine_without_words_is_quoted_from_its_log(engine: Engine, base: Version) -> None:
    engine("bad_input")
    run = claim_and_supervise(make_run(base))
    assert run.state == State.FAILED
    assert run.reason == "The engine ended with code 2: the base model's folder lacks a shard"


def test_ending_well_without_a_result_is_a_failure(engine: Engine, base: Version) -> None:
    engine("end_without_result")
    run = claim_and_supervise(make_run(base))
    assert (run.state, run.reason) == (State.FAILED, "The engine ended without a result.")


def test_a_reward_model_grown_from_the_base_is_its_adapter_on_it(
    base: Version, reward: Version, tmp_path: Path
) -> None:
    run = make_run(base, method="ppo", reward=reward)
    full = reward.artifacts.get()
    shutil.copytree(tmp_path / "artifacts" / full.storage_key, tmp_path / "artifacts" / "judge/v1/adapter")
    full.pk, full.format, full.storage_key = None, Format.ADAPTER, "judge/v1/adapter"
    full.save(force_insert=True)
    alone = supervision.model_refs(run)
    assert (Path(alone["reward"].path).parts[-3], alone["reward"].adapter) == ("judge", "")
    reward.parent = base
    reward.save()
    shared = supervision.model_refs(run)
    assert shared["reward"].path == shared["base"].path
    assert shared["reward"].adapter.endswith("judge/v1/adapter")


def test_a_missing_model_file_fails_the_run_before_the_engine_starts(
    engine: Engine, base: Version, tmp_path: Path
) -> None:
    engine("succeed")
    (tmp_path / "artifacts" / base.artifacts.get().storage_key / "config.json").unlink()
    run = claim_and_supervise(make_run(base))
    assert run.state == State.FAILED
    assert run.reason == "Small v1 lacks the file config.json in the storage; add the model again."
    assert not run.events.exists()


def test_a_snapshot_that_was_changed_is_refused(
    engine: Engine, project: Project, base: Version, votes: list[Preference], tmp_path: Path
) -> None:
    engine("succeed")
    run = launch_run(method="dpo", project=project, base=base, values={}, created_by=None)
    assert run.snapshot is not None
    path = tmp_path / "artifacts" / run.snapshot.files["train"]["path"]
    path.write_bytes(path.read_bytes().replace(b"Answer", b"Onswer", 1))
    claim_and_supervise(run)
    assert run.state == State.FAILED
    assert "has changed since it was frozen" in run.reason


def test_cancelling_a_running_run_lets_the_engine_write_a_checkpoint(engine: Engine, base: Version) -> None:
    engine("work_until_told")
    run = make_run(base)
    thread = in_background(run)
    assert cancel_run(run)
    thread.join(20)
    run.refresh_from_db()
    assert run.state == State.CANCELLED
    assert run.events.filter(kind="checkpoint").exists()


def test_an_engine_that_ignores_the_request_is_killed_with_everything_it_started(engine: Engine, base: Version) -> None:
    engine("ignore_the_request")
    run = make_run(base)
    thread = in_background(run)
    child = int(run.events.get().data["name"].split()[1])
    cancel_run(run)
    thread.join(20)
    run.refresh_from_db()
    assert run.state == State.CANCELLED
    wait_for(lambda: not is_alive(child))


def test_a_worker_that_stops_hands_its_run_back_and_the_next_goes_on(
    engine: Engine, base: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine("finish_or_go_on")
    run = make_run(base)
    thread = in_background(run)
    with monkeypatch.context() as stopping:
        stopping.setattr(presence, "_stopping", True)
        thread.join(20)
    run.refresh_from_db()
    assert (run.state, run.worker, run.attempt) == (State.QUEUED, "", 0)
    claim_and_supervise(run)
    assert (run.state, run.attempt) == (State.SUCCEEDED, 1)
    steps = list(run.events.filter(kind="step").values_list("step", flat=True))
    assert steps == sorted(set(steps))


def test_an_engine_that_is_stopped_from_outside_is_tried_three_times(engine: Engine, base: Version) -> None:
    engine("work_until_told")
    run = make_run(base)
    for _ in range(3):
        thread = in_background(run)
        time.sleep(0.5)
        os.kill(engine_pid(run), signal.SIGTERM)
        thread.join(20)
        run.refresh_from_db()
    assert run.state == State.FAILED
    assert run.reason == "The engine was told to stop from outside. It was tried 3 times."


def engine_pid(run: Run) -> int:
    return int((run_directory(run).path / "engine.lock").read_text().split()[0])


def test_a_worker_that_lost_its_run_ends_its_engine_and_writes_nothing(engine: Engine, base: Version) -> None:
    # One that would outlive the SIGTERM which the kernel sends when the thread that started it is gone.
    engine("ignore_the_request")
    run = make_run(base)
    thread = in_background(run)
    pid = engine_pid(run)
    Run.objects.filter(pk=run.pk).update(heartbeat_at=now() - timedelta(minutes=5))
    reaped_at_once = Run.objects.filter(pk=run.pk).update(state=State.QUEUED, worker="", heartbeat_at=None)
    assert reaped_at_once == 1
    thread.join(20)
    run.refresh_from_db()
    assert (run.state, run.worker, run.log_tail) == (State.QUEUED, "", "")
    assert not is_alive(pid)


def test_the_orphan_of_a_dead_worker_is_ended_before_a_second_engine_starts(engine: Engine, base: Version) -> None:
    engine("work_until_told")
    run = make_run(base)
    assert Run.objects.claim(run.pk, worker="dead@here")
    supervision.prepare(Run.objects.with_names().get(pk=run.pk), run_directory(run))
    orphan = supervision.EngineProcess.start(run_directory(run))
    pid = engine_pid(run)
    Run.objects.filter(pk=run.pk).update(heartbeat_at=now() - timedelta(minutes=5))
    assert reap_stale_runs() == 1
    engine("succeed")
    claim_and_supervise(run)
    assert run.state == State.SUCCEEDED
    assert run.attempt == 2
    assert orphan.poll() == -signal.SIGKILL
    assert not is_alive(pid)


def test_a_message_delivered_twice_has_one_winner(engine: Engine, base: Version) -> None:
    run = make_run(base)
    won: list[bool] = []
    ready = threading.Barrier(8)

    def claim() -> None:
        ready.wait()
        won.append(Run.objects.claim(run.pk, worker=threading.current_thread().name))
        connection.close()

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.refresh_from_db()
    assert sorted(won) == [False] * 7 + [True]
    assert run.attempt == 1


def test_a_result_whose_worker_died_before_registering_is_registered_without_training_again(
    engine: Engine, base: Version
) -> None:
    engine("succeed")
    run = make_run(base)
    assert Run.objects.claim(run.pk, worker="dead@here")
    supervision.prepare(Run.objects.with_names().get(pk=run.pk), run_directory(run))
    dying = supervision.EngineProcess.start(run_directory(run))
    wait_for(lambda: dying.poll() is not None)
    Run.objects.filter(pk=run.pk).update(heartbeat_at=now() - timedelta(minutes=5))
    reap_stale_runs()
    engine("be_killed")
    claim_and_supervise(run)
    assert run.state == State.SUCCEEDED
    assert run.version is not None


def test_an_engine_outlives_a_database_connection_that_breaks(engine: Engine, base: Version) -> None:
    engine("work_until_told")
    run = make_run(base)
    thread = in_background(run)
    pid = engine_pid(run)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        assert cursor.fetchone()[0] >= 1
    before = Run.objects.get(pk=run.pk).heartbeat_at
    wait_for(lambda: Run.objects.get(pk=run.pk).heartbeat_at != before)
    assert is_alive(pid)
    cancel_run(run)
    thread.join(20)
    run.refresh_from_db()
    assert run.state == State.CANCELLED


def test_a_directory_left_from_another_database_is_not_taken_for_this_run(engine: Engine, base: Version) -> None:
    engine("succeed")
    run = make_run(base)
    run_dir = RunDir.create(run_directory(run).path, Spec(method="dpo", config={}, models={"base": ModelRef("/gone")}))
    write_json(run_dir.result_path, {"metrics": {"margin": 99.0}})
    old = run.created_at.timestamp() - 60
    os.utime(run_dir.spec_path, (old, old))
    run = claim_and_supervise(run)
    assert (run.state, run.reason) == (State.SUCCEEDED, "")
    assert run.metrics["margin"] == 1.5


def test_a_full_disk_is_a_readable_reason(engine: Engine, base: Version, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/train.jsonl")

    monkeypatch.setattr(supervision.RunDir, "create", full)
    run = claim_and_supervise(make_run(base))
    assert run.state == State.FAILED
    assert run.reason == "The worker could not go on: no space left on device (/data/train.jsonl)."


def test_secrets_stay_with_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:secret@db/prefloop")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    found = environment(offline=True)
    assert "DATABASE_URL" not in found
    assert found["CUDA_VISIBLE_DEVICES"] == "1"
    assert found["HF_HUB_OFFLINE"] == "1"


def test_the_trainers_setting_decides_how_many_processes_work_on_a_run(
    engine: Engine, base: Version, settings: LazySettings
) -> None:
    settings.ENGINE_PROCESSES = 3
    engine("succeed")
    run = claim_and_supervise(make_run(base))
    assert run_directory(run).spec().processes == 3


def test_runs_share_a_folder_for_what_need_not_be_computed_twice(
    engine: Engine, base: Version, settings: LazySettings
) -> None:
    engine("succeed")
    run = claim_and_supervise(make_run(base))
    assert run_directory(run).spec().cache == str(settings.VAR / "cache")
