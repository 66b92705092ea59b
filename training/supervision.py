"""One run from claim to its end: prepare the directory, start the engine, watch it, say how it ended.

Whatever happens here, the row ends in a terminal state with the reason, or back in the queue.
"""

from __future__ import annotations

import logging
import shutil
import signal
import time
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.utils.translation import gettext_noop

from models_registry.models import Format, Version
from models_registry.sayings import saying
from models_registry.services import RegistrationError, local_folder
from training.engine.run_dir import ModelRef, RunDir, RunDirError, Spec
from training.engine_process import STOPPED, EngineBusyError, EngineProcess, log_tail
from training.holding import TOLD_TO_STOP, Hold, LostRunError
from training.intake import Intake
from training.launching import CANCELLED_EARLY
from training.models import HEARTBEAT_STALE_AFTER, Method, Run, State
from training.presence import DATABASE_AWAY, worker_is_stopping
from training.results import take_result
from training.snapshots import read_rows

logger = logging.getLogger(__name__)
TICK_SECONDS = 0.25
# Why runs end: kept in English.
COULD_NOT_GO_ON = saying(gettext_noop("The worker could not go on: %(why)s."))
FAILED_THERE = saying(gettext_noop("The worker could not go on: %(kind)s: %(why)s"))
DATA_MISSING = saying(gettext_noop("A file of %(snapshot)s is missing from the storage: %(file)s."))
NO_FILES = saying(gettext_noop("%(version)s has no %(formats)s files to train from."))
FILE_MISSING = saying(gettext_noop("%(version)s lacks the file %(file)s in the storage; add the model again."))
CRASHED = saying(gettext_noop("The engine crashed (signal %(n)d, %(name)s). Its log may say more."))
ENDED = saying(gettext_noop("The engine ended with code %(n)d: %(last)s"))
PRINTED_NOTHING = saying(gettext_noop("it printed nothing"))


class RunFailedError(Exception):
    """A run cannot go on; the message is the reason its page shows."""


def supervise(run_id: int) -> None:
    """Execute a run that this worker has claimed."""
    run = Run.objects.with_names().get(pk=run_id)
    hold, run_dir = Hold(run), run_directory(run)
    try:
        execute(run, hold, run_dir)
    except LostRunError:
        logger.warning("run %s went to somebody else; this worker leaves it alone", run_id)
    except DATABASE_AWAY:
        logger.exception("run %s: the database is away; the run goes back to the queue when it returns", run_id)
        connection.close()
    except (RunFailedError, RunDirError, RegistrationError, EngineBusyError) as error:
        hold.finish(State.FAILED, str(error), log_tail=log_tail(run_dir))
    except Exception as error:  # the one place that catches everything: a run must not stay without an end
        logger.exception("run %s failed", run_id)
        hold.finish(State.FAILED, unexpected(error), log_tail=log_tail(run_dir))


def unexpected(error: Exception) -> str:
    """A reason for what nobody foresaw, of which a full disk is the most likely."""
    if isinstance(error, OSError) and error.strerror:
        place = f" ({error.filename})" if error.filename else ""
        return COULD_NOT_GO_ON % {"why": f"{error.strerror.lower()}{place}"}
    return FAILED_THERE % {"kind": type(error).__name__, "why": error}


def execute(run: Run, hold: Hold, run_dir: RunDir) -> None:
    """Prepare, run and conclude. A directory that already holds a result only needs the conclusion."""
    if hold.cancelled:
        hold.finish(State.CANCELLED, CANCELLED_EARLY)
        return
    prepare(run, run_dir)
    intake = Intake(hold, run_dir)
    code = 0 if run_dir.result() else watch(run, hold, intake, run_dir)
    conclude(run, hold, intake, run_dir, code)


def run_directory(run: Run) -> RunDir:
    return RunDir(Path(settings.RUNS_DIR) / str(run.pk))


def prepare(run: Run, run_dir: RunDir) -> None:
    """Write the run directory, unless an earlier attempt did: then the engine goes on from its last checkpoint."""
    if run_dir.spec_path.exists():
        if run.events_offset or run_dir.spec_path.stat().st_mtime >= run.created_at.timestamp():
            return
        # Unread and older than the run: another run's of the same number, from a database that is gone.
        shutil.rmtree(run_dir.path)
    models = model_refs(run)
    processes = 1 if run.method == Method.IMPORT else settings.ENGINE_PROCESSES
    cache = str(settings.VAR / "cache")
    spec = Spec(run.method, run.config, run.seed, models, processes=processes, cache=cache)
    snapshot = run.snapshot
    try:
        data = {name: read_rows(snapshot, name) for name in snapshot.files} if snapshot else {}
        RunDir.create(run_dir.path, spec, data)
    except FileNotFoundError as error:
        raise RunFailedError(DATA_MISSING % {"snapshot": snapshot, "file": error.filename}) from error
    except ValueError as error:
        raise RunFailedError(str(error)) from error


def model_refs(run: Run) -> dict[str, ModelRef]:
    """The run's models as local folders. A reward model trained from the very base is its adapter on that base: policy,
    reward and reference then share one backbone in memory."""
    refs = {}
    if run.base:
        refs["base"] = ModelRef(path=_folder(run.base, Format.FULL, Format.MERGED))
    if run.reward:
        on_base = run.base and run.reward.parent_id == run.base.pk
        if on_base and run.reward.artifacts.filter(format=Format.ADAPTER).exists():
            refs["reward"] = ModelRef(path=refs["base"].path, adapter=_folder(run.reward, Format.ADAPTER))
        else:
            refs["reward"] = ModelRef(path=_folder(run.reward, Format.FULL, Format.MERGED))
    return refs


def _folder(version: Version, *formats: Format) -> str:
    """A local folder with the version in one of these formats, none of its files missing."""
    artifact = version.artifacts.filter(format__in=formats).order_by("format").first()
    if artifact is None:
        raise RunFailedError(NO_FILES % {"version": version, "formats": " or ".join(formats)})
    folder = local_folder(artifact)
    missing = [entry["path"] for entry in artifact.files if not (folder / entry["path"]).is_file()]
    if missing:
        raise RunFailedError(FILE_MISSING % {"version": version, "file": missing[0]})
    return str(folder)


def watch(run: Run, hold: Hold, intake: Intake, run_dir: RunDir) -> int:
    """Start the engine, take in what it says, beat the heart, pass on a cancel. Returns its exit code."""
    engine = EngineProcess.start(run_dir, offline=run.method != Method.IMPORT)
    heard_at = time.monotonic()
    try:
        while True:
            code = engine.poll()
            try:
                intake.read()
                hold.beat()
                heard_at = time.monotonic()
            except DATABASE_AWAY:
                connection.close()
                if time.monotonic() - heard_at > HEARTBEAT_STALE_AFTER.total_seconds():
                    raise
                if code is not None:
                    time.sleep(TICK_SECONDS)
                    continue
            if code is not None:
                return code
            if hold.cancelled or worker_is_stopping():
                engine.stop()
            time.sleep(TICK_SECONDS)
    finally:
        engine.kill()


def conclude(run: Run, hold: Hold, intake: Intake, run_dir: RunDir, code: int) -> None:
    """Turn an exit code into the end of the run."""
    tail = log_tail(run_dir)
    if code == 0:
        result = run_dir.result()
        if result is None:
            raise RunFailedError(gettext_noop("The engine ended without a result."))
        take_result(run, hold, run_dir, result)
        hold.rows().update(metrics={**intake.metrics, **result.get("metrics", {})})
        hold.finish(State.SUCCEEDED, log_tail=tail)
        discard_weights(run_dir)
    elif hold.cancelled:
        hold.finish(State.CANCELLED, gettext_noop("Cancelled while it ran; nothing of it was kept."), log_tail=tail)
    elif worker_is_stopping():
        hold.hand_back()
    elif code == STOPPED:
        hold.try_again(TOLD_TO_STOP, log_tail=tail)
    else:
        hold.finish(State.FAILED, intake.error or reason_of(code, tail), log_tail=tail)


def reason_of(code: int, tail: str) -> str:
    """Why an engine that said nothing itself has ended."""
    if code == -signal.SIGKILL:
        return gettext_noop(
            "The engine was killed (signal 9), most often because the memory ran out. "
            "Set the tokens of one pass to 512, or lower the batch or the lengths, and launch again."
        )
    if code < 0:
        return CRASHED % {"n": -code, "name": signal.Signals(-code).name}
    last = next((line.strip() for line in reversed(tail.splitlines()) if line.strip()), PRINTED_NOTHING)
    return ENDED % {"n": code, "last": last[:300]}


def discard_weights(run_dir: RunDir) -> None:
    """Free the disk: the registry has the result, and a finished run needs no checkpoint."""
    shutil.rmtree(run_dir.checkpoints_path, ignore_errors=True)
    shutil.rmtree(run_dir.model_path, ignore_errors=True)
