"""The answers of a finished `sample` run become responses and comparisons of its project, batch by batch.

Each batch is one transaction that adds its rows, counts them and moves the place to go on from. A worker that dies in
between loses nothing and doubles nothing: the next one goes on at that place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import groupby, islice
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils.timezone import now
from django.utils.translation import gettext_noop

from annotation.models import Project
from annotation.rounds import Answered, Given, land
from models_registry.models import Version
from models_registry.sayings import saying
from training.engine.run_dir import RunDir
from training.holding import Hold, LostRunError
from training.intake import clean
from training.models import Round, Run

BATCH = 200  # prompts
ADDING = saying(gettext_noop("adding answers to %(n)d prompts"))
# What of the options says how an answer came about; the rest is about memory.
SAMPLING = ("temperature", "top_p", "top_k", "max_new_tokens")


def land_samples(run: Run, hold: Hold, run_dir: RunDir) -> Round:
    """Bring `samples.jsonl` into the run's project. Memory does not grow with it. Raises LostRunError and OSError."""
    landing = Round.objects.select_related("against").get(run=run)
    with open(run_dir.samples_path, encoding="utf-8") as lines:
        answered = islice(read_samples(run, lines), landing.landed_prompts, None)
        while batch := list(islice(answered, BATCH)):
            _land(run, hold, landing, batch)
    return landing


def read_samples(run: Run, lines: Iterable[str]) -> Iterator[Answered]:
    """The prompts of a samples file with their answers, which stand together and in the order drawn."""
    drawn = {name: run.config[name] for name in SAMPLING} | {"seed": run.seed, "run": run.pk}
    for prompt_id, rows in groupby(map(json.loads, lines), key=lambda row: row["id"]):
        yield Answered(int(prompt_id), [_given(row, drawn) for row in rows])


def _given(row: dict[str, Any], drawn: dict[str, Any]) -> Given:
    about = {"n": row["n"], "ended": row["ended"], "tokens": row["tokens"]}
    return Given(clean(row["text"]), drawn | about)


@transaction.atomic
def _land(run: Run, hold: Hold, landing: Round, batch: list[Answered]) -> None:
    project, author = _whose(run)
    done = landing.landed_prompts + len(batch)
    # The heartbeat locks the run's row, so that whoever has lost the run, or comes second, sees it here.
    if hold.rows().update(heartbeat_at=now(), phase=ADDING % {"n": done}) == 0:
        raise LostRunError
    added = asdict(land(project=project, author=author, against=landing.against, batch=batch))
    counts = {name: F(name) + number for name, number in added.items()}
    here = Round.objects.filter(pk=landing.pk, landed_prompts=landing.landed_prompts)
    if here.update(landed_prompts=done, **counts) == 0:
        raise LostRunError
    landing.landed_prompts = done


def _whose(run: Run) -> tuple[Project, Version]:
    assert run.project is not None
    assert run.base is not None
    return run.project, run.base
