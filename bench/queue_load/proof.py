"""What must hold after a crowd has worked: compared with what its clients noted, from the tables themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from django.core import signing

from annotation.models import Comparison, Judgment, Project
from annotation.queue import TICKET_SALT
from bench.queue_load.crowd import Line


@dataclass(frozen=True)
class Findings:
    """Counts; the first five must be 0 when a crowd has finished its project."""

    duplicates: int  # judgments kept of one person on one comparison beyond the first
    over_their_number: int  # comparisons with more judgments that count than they want
    lost: int  # votes that the server has confirmed and that the tables do not have
    miscounted: int  # comparisons whose depth is not the number of their judgments
    unfinished: int  # comparisons of the work that still want judgments
    confirmed: int
    late: int  # of these, votes that were told that others had taken their pair
    hung_up: int
    abandoned: int  # pairs left until their lease ran out
    handed_out_again: int  # of these, pairs that have all their judgments in the end
    kills: int
    problems: int

    @property
    def is_exact(self) -> bool:
        return not (self.duplicates or self.over_their_number or self.lost or self.miscounted or self.unfinished)


def find(project: Project, lines: Sequence[Line]) -> Findings:
    """Look at everything."""
    standing = Judgment.objects.standing().in_project(project)
    said = Counter(Judgment.objects.kept().in_project(project).values_list("comparison", "annotator"))
    depths = Counter(standing.values_list("comparison", flat=True))
    comparisons = Comparison.objects.filter(project=project)
    of = {what: [line for line in lines if line.what == what] for what in ("voted", "late", "abandoned", "hung up")}
    confirmed = {(_comparison(line.ticket), line.person) for line in of["voted"] + of["late"]}
    abandoned = {_comparison(line.ticket) for line in of["abandoned"]}
    closed = set(comparisons.exclude(closed_at=None).values_list("pk", flat=True))
    return Findings(
        duplicates=sum(count - 1 for count in said.values()),
        over_their_number=sum(depths[pk] > wanted for pk, wanted in comparisons.values_list("pk", "judgments_wanted")),
        lost=len(confirmed - set(said)),
        miscounted=sum(depths[pk] != depth for pk, depth in comparisons.values_list("pk", "depth")),
        unfinished=comparisons.work().still_open().count(),
        confirmed=len(confirmed),
        late=len(of["late"]),
        hung_up=len(of["hung up"]),
        abandoned=len(abandoned),
        handed_out_again=len(abandoned & closed),
        kills=sum(line.what == "killed" for line in lines),
        problems=sum(line.what == "problem" for line in lines),
    )


def _comparison(ticket: str) -> int:
    content: list[int] = signing.loads(ticket, salt=TICKET_SALT)
    return content[0]
