"""From the engine's `events.jsonl` into the database: whole lines, once each, offset and rows in one transaction."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction

from training.engine.events import read_events
from training.engine.run_dir import RunDir
from training.holding import Hold, LostRunError
from training.models import RunEvent

Event = dict[str, Any]


class Intake:
    """Reads what a run says from where the last reader stopped."""

    def __init__(self, hold: Hold, run_dir: RunDir) -> None:
        self.hold, self.run_dir = hold, run_dir
        row = hold.rows().values("events_offset", "metrics").first()
        if row is None:
            raise LostRunError
        self.offset: int = row["events_offset"]
        self.metrics: dict[str, Any] = row["metrics"]
        self.error = ""

    def read(self) -> None:
        """Store what is new. Raises LostRunError when the run is no longer ours; then nothing is stored."""
        found, offset = read_events(self.run_dir.events_path, self.offset)
        if offset == self.offset:
            return
        events = [clean(event) for event in found if is_event(event)]
        metrics = {**self.metrics, **measured(events)}
        with transaction.atomic():
            changes = progress(events)
            if self.hold.rows().update(events_offset=offset, metrics=metrics, **changes) == 0:
                raise LostRunError
            RunEvent.objects.bulk_create(
                (as_row(self.hold.run_id, event) for event in events), ignore_conflicts=True, batch_size=500
            )
        self.offset, self.metrics = offset, metrics
        for event in events:
            if event["kind"] == "error":
                self.error = str(event.get("reason", ""))


def is_event(event: Event) -> bool:
    """Whether a line has what every event has; lines that do not are left in the file."""
    return (
        isinstance(event.get("seq"), int)
        and 0 < event["seq"] < 2**31
        and isinstance(event.get("at"), int | float)
        and isinstance(event.get("kind"), str)
        and len(event["kind"]) <= 12
    )


def clean(value: Any) -> Any:
    """What PostgreSQL's JSON can hold: no NUL, no half of a surrogate pair, no number that is not finite."""
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {clean(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item) for item in value]
    return value


def as_row(run_id: int, event: Event) -> RunEvent:
    data = {name: value for name, value in event.items() if name not in ("seq", "at", "kind", "step")}
    return RunEvent(
        run_id=run_id,
        seq=event["seq"],
        kind=event["kind"],
        step=step_of(event),
        data=data,
        at=datetime.fromtimestamp(event["at"], UTC),
    )


def step_of(event: Event) -> int | None:
    step = event.get("step")
    return step if isinstance(step, int) and 0 <= step < 2**31 else None


def measured(events: Iterable[Event]) -> dict[str, Any]:
    """What evaluations say: a metric at step 0 is kept as `<name>_before`, later ones under their own name."""
    found: dict[str, Any] = {}
    for event in events:
        if event["kind"] == "eval" and isinstance(event.get("metrics"), dict):
            suffix = "_before" if step_of(event) == 0 else ""
            found |= {f"{name}{suffix}": value for name, value in event["metrics"].items()}
    return found


def progress(events: Iterable[Event]) -> dict[str, Any]:
    """The changes to the run's row that a list of events amounts to."""
    changes: dict[str, Any] = {}
    for event in events:
        if event["kind"] == "start":
            changes |= {"device": str(event.get("device", ""))[:100], "total_steps": _count(event.get("total_steps"))}
        elif event["kind"] == "phase":
            changes["phase"] = _phase(event)
            if event.get("name") == "sampling":  # its steps are answers, which it tells as a phase
                done, total = (_count(event.get(name)) for name in ("done", "total"))
                changes |= {"phase": "sampling", "step": done, "total_steps": total}
        elif event["kind"] == "step":
            changes |= {
                "step": step_of(event) or 0,
                "total_steps": _count(event.get("total_steps")),
                "phase": "training",
            }
            if isinstance(left := event.get("eta_s"), int | float) and 0 <= left < 10**8:
                changes["eta_at"] = datetime.fromtimestamp(event["at"], UTC) + timedelta(seconds=left)
    return changes


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0


def _phase(event: Event) -> str:
    done, total = _count(event.get("done")), _count(event.get("total"))
    name = str(event.get("name", ""))
    return (f"{name} {done}/{total}" if total > 1 else name)[:100]
