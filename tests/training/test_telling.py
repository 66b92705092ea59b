"""Runs tell the rooms beside theirs: once, when they end, and when their model is registered."""

from collections.abc import Iterator

import pytest

from annotation import happenings
from annotation.happenings import Happening, Kind
from annotation.models import Project, User
from models_registry.models import Version
from training.holding import Hold
from training.launching import cancel_run
from training.models import Method, Run, State
from training.telling import tell_registered


@pytest.fixture
def told() -> Iterator[list[Happening]]:
    told: list[Happening] = []
    happenings.listen(told.append)
    yield told
    happenings._listeners.remove(told.append)


@pytest.fixture
def run(project: Project) -> Run:
    return Run.objects.create(method=Method.DPO, project=project)


def test_a_run_that_ends_is_told_once(run: Run, told: list[Happening]) -> None:
    Run.objects.claim(run.pk, worker="one")
    run.refresh_from_db()
    hold = Hold(run)
    hold.finish(State.FAILED, "It broke.")
    hold.finish(State.SUCCEEDED)
    (happening,) = told
    assert (happening.kind, happening.project_id, happening.subject) == (
        Kind.RUN_FINISHED,
        run.project_id,
        str(run.pk),
    )
    assert happening.facts == {"run": run.pk, "method": "dpo", "state": "failed"}


def test_a_worker_that_lost_its_run_tells_nothing(run: Run, told: list[Happening]) -> None:
    Run.objects.claim(run.pk, worker="one")
    run.refresh_from_db()
    hold = Hold(run)
    Run.objects.filter(pk=run.pk).update(worker="another")
    hold.finish(State.SUCCEEDED)
    assert told == []


def test_a_run_that_is_cancelled_in_the_queue_is_told(run: Run, told: list[Happening]) -> None:
    assert cancel_run(run)
    assert [happening.facts["state"] for happening in told] == ["cancelled"]


def test_a_run_without_a_project_tells_nobody(db: None, told: list[Happening]) -> None:
    run = Run.objects.create(method=Method.IMPORT, model_name="A base")
    cancel_run(run)
    assert told == []


def test_a_registered_version_is_told_with_its_name(
    run: Run, told: list[Happening], base: Version, admin: User
) -> None:
    tell_registered(run, base)
    (happening,) = told
    assert (happening.kind, happening.subject) == (Kind.VERSION_REGISTERED, str(base.pk))
    assert happening.facts == {
        "run": run.pk,
        "version": base.pk,
        "model": base.model.slug,
        "number": base.number,
    }
