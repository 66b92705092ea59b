"""What runs tell the rooms beside ours, in the words of `annotation.happenings`. Runs without a project tell nobody."""

from __future__ import annotations

from annotation.happenings import Happening, Kind, tell
from models_registry.models import Version
from training.models import Run


def tell_finished(run_id: int) -> None:
    """A run is in its terminal state. Call it in the transaction that has put it there."""
    run = Run.objects.get(pk=run_id)
    if run.project_id is not None:
        facts: dict[str, int | str] = {"run": run.pk, "method": run.method, "state": run.state}
        tell(Happening(Kind.RUN_FINISHED, run.project_id, str(run.pk), facts))


def tell_registered(run: Run, version: Version) -> None:
    """The result of a run is in the registry. Harmless when told again by an attempt that comes after a crash."""
    if run.project_id is not None:
        number, model = version.number, version.model.slug
        facts: dict[str, int | str] = {"run": run.pk, "version": version.pk, "model": model, "number": number}
        tell(Happening(Kind.VERSION_REGISTERED, run.project_id, str(version.pk), facts))
