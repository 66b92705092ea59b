"""What is to be known of a model, such as that it was built on the spot, stands wherever the model is named."""

import pytest
from django.test import Client

from annotation.models import Project, Prompt, Response, User
from models_registry.models import Version
from training.models import Method, Schedule, State

from .conftest import make_run, sha

NOTICE = "Built on this machine: its answers are noise."
PAGES = {
    "the run": "/runs/{run}/",
    "the run that brought it": "/runs/{imported}/",
    "the list of runs": "/runs/",
    "the project": "/projects/concise/",
    "the project's runs and schedules": "/projects/concise/runs/",
    "the next round": "/projects/concise/next-round/",
    "its rounds": "/versions/{base}/rounds/",
    "the list of models": "/models/",
    "its own page": "/models/small/1/",
    "the launch": "/admin/training/run/add/?method=dpo",
    "the launch of a round": "/admin/training/run/add/?method=sample",
    "the schedule": "/admin/training/schedule/add/?method=dpo",
}


@pytest.mark.django_db
@pytest.mark.parametrize("page", PAGES)
def test_the_note_stands_wherever_the_model_is_named(
    client: Client, admin: User, project: Project, base: Version, page: str
) -> None:
    imported = make_run(method=Method.IMPORT, state=State.QUEUED)
    Version.objects.filter(pk=base.pk).update(notice=NOTICE, run_id=imported.pk)
    type(imported).objects.finish(imported.pk, state=State.SUCCEEDED)
    run = make_run(base, project=project)
    Schedule.objects.create(project=project, method=Method.DPO, base=base, every_preferences=9)
    prompt = Prompt.objects.create(
        project=project, messages=[{"role": "user", "content": "Who?"}], content_hash=sha("?")
    )
    Response.objects.create(prompt=prompt, text="Me.", author=base, content_hash=sha("Me."))
    client.force_login(admin)
    address = PAGES[page].format(run=run.pk, imported=imported.pk, base=base.pk)
    assert NOTICE in client.get(address).content.decode()
