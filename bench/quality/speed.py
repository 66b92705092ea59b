"""How long the quality of a project's votes takes: computing it in a worker, and showing the page.

Simulated people of different reliability judge pairs, three votes on each, over ten weeks; answers differ in length.
Everything happens in a database of its own, which is removed at the end.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from bench.memory import peak_mib

OVERLAP = 3
BATCH = 5_000
START = datetime(2026, 1, 5, tzinfo=UTC)
WEEKS = 10


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def fill(project: Any, pairs: int, people: int) -> None:
    """Rows as an import and a queue would have left them."""
    import numpy as np

    from annotation.models import Comparison, Judgment, Prompt, Response, User

    rng = np.random.default_rng(1)
    users = User.objects.bulk_create([User(username=f"person-{n}", last_login=START) for n in range(people)])
    ability_A, difference_P = rng.uniform(0.3, 1.7, people), rng.normal(0, 2, pairs)
    for first in range(0, pairs, BATCH):
        span = range(first, min(first + BATCH, pairs))
        questions = [[{"role": "user", "content": f"Question {n}: what is to be done about it?"}] for n in span]
        prompts = Prompt.objects.bulk_create(
            [Prompt(project=project, messages=said, content_hash=sha(str(said))) for said in questions]
        )
        texts = [f"Answer {n}, {side}. " + "So it is. " * int(rng.integers(1, 30)) for n in span for side in "ab"]
        answers = Response.objects.bulk_create(
            [Response(prompt=prompts[n // 2], text=text, content_hash=sha(text)) for n, text in enumerate(texts)]
        )
        comparisons = Comparison.objects.bulk_create(
            [
                Comparison(
                    project=project,
                    prompt=prompt,
                    response_ids=[answers[2 * n].pk, answers[2 * n + 1].pk],
                    judgments_wanted=OVERLAP,
                    depth=OVERLAP,
                    closed_at=START,
                )
                for n, prompt in enumerate(prompts)
            ]
        )
        votes = []
        for n, comparison in zip(span, comparisons, strict=True):
            for seat, who in enumerate(rng.choice(people, OVERLAP, replace=False), start=1):
                votes.append(vote(rng, comparison, users[who], seat, ability_A[who] * difference_P[n], n / pairs))
        Judgment.objects.bulk_create(votes)


def vote(rng: Any, comparison: Any, person: Any, seat: int, utility: float, when: float) -> Any:
    """One vote by Davidson's probabilities, with sides that were shuffled."""
    import numpy as np

    from annotation.models import Judgment

    weights = np.exp([utility / 2, -1.0, -utility / 2])
    outcome = rng.choice(3, p=weights / weights.sum())
    one, other = comparison.response_ids
    return Judgment(
        comparison=comparison,
        annotator=person,
        seat=seat,
        seats=OVERLAP,
        tiers=[[[one], [other]], [[one, other]], [[other], [one]]][outcome],
        shown_order=[one, other] if rng.random() < 0.5 else [other, one],
        active_seconds=float(rng.uniform(10, 60)),
        created_at=START + timedelta(weeks=WEEKS * when, seconds=seat),
    )


def timed(name: str, work: Callable[[], Any]) -> Any:
    start, own = time.perf_counter(), time.process_time()
    result = work()
    wall, own = time.perf_counter() - start, time.process_time() - own
    print(f"{name}: {wall:.2f} s, of it {own:.2f} s CPU time here; peak memory {peak_mib('cpu'):.0f} MB", flush=True)
    return result


def measure(votes: int, people: int) -> None:
    from django.test import Client
    from django.urls import reverse

    from annotation.models import PairLabel, QualityReport, User
    from annotation.quality.bradley_terry import fit, posterior
    from annotation.quality.computing import compute
    from annotation.quality.reading import read
    from annotation.quality.renewing import ask
    from annotation.quality.report import numbers
    from annotation.services import create_project

    project = create_project(name="Bench of quality", overlap=OVERLAP)
    fill(project, votes // OVERLAP, people)
    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.create_superuser("admin"))
    print(f"{votes:,} votes of {people} people; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    reading = timed("read the votes", lambda: read(project))
    parameters = timed("fit", lambda: fit(reading.votes))
    labels = timed("labels", lambda: posterior(reading.votes, parameters))
    timed("numbers", lambda: numbers(reading, parameters, labels))
    ask(project)
    timed("all of it, and written", lambda: compute(project))
    report = QualityReport.objects.get(project=project)
    if report.error or PairLabel.objects.count() != votes // OVERLAP:
        raise SystemExit(f"Not every pair has a label: {report.error}")
    for name in ("quality", "suspects", "adjudicate", "quality-mine", "quality-csv"):
        address = reverse(name, args=[project.slug])
        for turn in ("first", "again"):
            timed(f"page {name}, {turn}", partial(_body, client, address))


def _body(client: Any, address: str) -> bytes:
    answer = client.get(address)
    if answer.status_code != 200:
        raise SystemExit(f"{address} answered {answer.status_code}")
    return b"".join(answer)
