"""What a project's queue settings cost in people's time, said in a line each.

Per judgment 37 seconds and 0.30 $: what a pair costs at the rates that annotation is paid by, about.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Sum
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotation.models import Comparison, Judgment, Project, Role, VoteCount, WorkCount

SECONDS = 37.0
DOLLARS = 0.30
LEAST_VOTES = 50  # from so many votes on, the project's own pace is used


@dataclass(frozen=True)
class Costs:
    """Extra judgments that each setting asks for, of those still to come, and what one takes."""

    left: int
    seconds_a_vote: float
    measured: bool
    gold: int
    repeats: int
    practice: int
    cap_minutes: float | None

    def time(self, judgments: int) -> str:
        """ "6 minutes", or hours from one on."""
        seconds = judgments * self.seconds_a_vote
        if seconds >= 3600:
            return _("%(n)s hours") % {"n": number_format(f"{seconds / 3600:.1f}", force_grouping=True)}
        minutes = round(seconds / 60)
        return ngettext("%(n)s minute", "%(n)s minutes", minutes) % {"n": minutes}

    @property
    def lines(self) -> dict[str, str]:
        """A line for each field of the form, by its name."""
        return {
            "gold_share": self._line(
                ngettext(
                    "%(n)s judgment that checks people and teaches nothing new",
                    "%(n)s judgments that check people and teach nothing new",
                    self.gold,
                ),
                self.gold,
            ),
            "repeat_share": self._line(
                ngettext(
                    "%(n)s judgment of a pair that was judged before, never counted twice",
                    "%(n)s judgments of pairs that were judged before, never counted twice",
                    self.repeats,
                ),
                self.repeats,
            ),
            "random_share": _("No extra judgments: the same work, in another order."),
            "daily_cap": _("No cap: somebody may label all day.")
            if self.cap_minutes is None
            else _("About %(n)s minutes a person and day.") % {"n": f"{self.cap_minutes:.0f}"},
            "practice_pairs": self._line(
                ngettext(
                    "%(n)s judgment before the first real vote, over all annotators",
                    "%(n)s judgments before the first real vote, over all annotators",
                    self.practice,
                ),
                self.practice,
            ),
            "pass_mark": _("Who fails waits for you: let them in, or give them the pairs again."),
        }

    def _line(self, what: str, judgments: int) -> str:
        said = what % {"n": grouped(judgments)}
        money = f"{grouped(round(judgments * DOLLARS))} $"
        return _("%(what)s: %(time)s, about %(money)s.") % {"what": said, "time": self.time(judgments), "money": money}


def grouped(number: int) -> str:
    """A whole number with its thousands apart, as the reader's language writes it: 418,211."""
    return number_format(number, force_grouping=True)


def costs_of(project: Project) -> Costs:
    """For the judgments that the project's comparisons still want."""
    left = WorkCount.objects.left_in(project)
    pace = VoteCount.objects.filter(project=project, annotator__is_active=True, seconds__gt=0)
    timed = pace.aggregate(votes=Sum("votes"), seconds=Sum("seconds"))
    measured = (timed["votes"] or 0) >= LEAST_VOTES
    seconds = timed["seconds"] / timed["votes"] if measured else SECONDS
    new = project.memberships.filter(role=Role.ANNOTATOR, passed_at=None).count()
    return Costs(
        left=left,
        seconds_a_vote=seconds,
        measured=measured,
        gold=min(_extra(left, project.gold_share), _gold_left(project)),
        repeats=_extra(left, project.repeat_share),
        practice=new * min(project.practice_pairs, _practice_there(project)),
        cap_minutes=project.daily_cap * seconds / 60 if project.daily_cap else None,
    )


def _practice_there(project: Project) -> int:
    return Comparison.objects.filter(project=project, purpose=Comparison.Purpose.PRACTICE).still_open().count()


def _gold_left(project: Project) -> int:
    """As often as its members can still meet its gold pairs: each of them each pair once."""
    pairs = Comparison.objects.filter(project=project, purpose=Comparison.Purpose.GOLD).still_open()
    judged = Judgment.objects.kept().filter(comparison__in=pairs, annotator__memberships__project=project).count()
    return pairs.count() * project.memberships.count() - judged


def _extra(work: int, percent: int) -> int:
    """Judgments on top of the work, where so many percent of all hand-outs are not work."""
    return round(work * percent / (100 - percent))
