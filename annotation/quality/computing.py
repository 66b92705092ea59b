"""Computing a project's numbers and labels, in a worker. Whoever asks does it through `annotation.quality.renewing`."""

from __future__ import annotations

import logging
import time

from django.db import transaction
from django.utils.timezone import now

from annotation.models import PairLabel, Project, QualityReport
from annotation.quality.bradley_terry import Posterior, fit, posterior, soft_label
from annotation.quality.reading import Reading, read
from annotation.quality.renewing import votes_given
from annotation.quality.report import numbers

BATCH = 2_000
logger = logging.getLogger(__name__)


def compute(project: Project) -> None:
    """Write the newest numbers and labels of a project. It ends with numbers or with the reason why not."""
    began = time.monotonic()
    given = votes_given(project)  # before reading: a vote that comes meanwhile makes the numbers old, not lost
    try:
        found = _write(project)
    except Exception as error:
        logger.exception("The quality of project %s could not be computed.", project.pk)
        QualityReport.objects.finish(project.pk, error=f"{type(error).__name__}: {error}"[:500])
        return
    QualityReport.objects.finish(
        project.pk,
        numbers=found,
        votes_counted=given,
        computed_at=now(),
        seconds=round(time.monotonic() - began, 3),
        error="",
    )


def _write(project: Project) -> dict[str, object]:
    reading = read(project)
    if not reading.votes.pairs:
        PairLabel.objects.filter(project=project).delete()
        return {"votes": 0}
    parameters = fit(reading.votes)
    found = posterior(reading.votes, parameters)
    labels = _labels(project, reading, found)
    with transaction.atomic():
        PairLabel.objects.filter(project=project).delete()
        PairLabel.objects.bulk_create(labels, batch_size=BATCH)
    return numbers(reading, parameters, found)


def _labels(project: Project, reading: Reading, found: Posterior) -> list[PairLabel]:
    counts_P3 = reading.votes.counts_by_outcome()
    columns = (reading.comparison_P, soft_label(reading.votes, found).tolist(), counts_P3.tolist())
    return [
        PairLabel(
            comparison_id=comparison,
            project=project,
            first_better=first_better,
            doubt=min(first_better, 1 - first_better),
            votes=first + ties + second,
            preferring_votes=first + second,
            is_split=first > 0 and second > 0,
        )
        for comparison, first_better, (first, ties, second) in zip(*columns, strict=True)
    ]
