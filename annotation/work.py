"""What the labelling page shows: one pair without its authors, the choices, and how far one is."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection
from django.utils.safestring import SafeString

from annotation.hand_out import Place, has_practice
from annotation.models import Comparison, Judgment, Lease, Project, Response, User
from annotation.models.projects import today
from annotation.queue import CHOICES, Ticket
from annotation.rendering import render


@dataclass(frozen=True)
class Choice:
    """A button of the bar: what it sends, the words on it (side and strength), and its key."""

    value: str
    side: str
    words: str
    key: str
    key_name: str


WITH_STRENGTH = (
    Choice("a3", "A", "much", "1", "1"),
    Choice("a2", "A", "clearly", "2", "2"),
    Choice("a1", "A", "slightly", "3", "3"),
    Choice("tie", "", "tie", "4", "4"),
    Choice("b1", "B", "slightly", "5", "5"),
    Choice("b2", "B", "clearly", "6", "6"),
    Choice("b3", "B", "much", "7", "7"),
    Choice("both_bad", "", "both bad", "0", "0"),
)
WITHOUT_STRENGTH = (
    Choice("a", "A", "is better", "ArrowLeft", "←"),
    Choice("tie", "", "tie", "4", "4"),
    Choice("b", "B", "is better", "ArrowRight", "→"),
    Choice("both_bad", "", "both bad", "0", "0"),
)
SKIP_REASONS = (
    "I do not know enough about this",
    "The two answers say the same",
    "Something is broken or unreadable",
    "It is against the guidelines",
)


@dataclass(frozen=True)
class Turn:
    """One message of the conversation: who speaks, and what, as safe HTML."""

    role: str
    html: SafeString


@dataclass(frozen=True)
class Progress:
    """Judgments: given by me today and ever, given by all, wanted in all."""

    mine_today: int
    mine: int
    done: int
    wanted: int

    @property
    def percent(self) -> int:
        """Whole percents done, 100 only when nothing is left."""
        return self.done * 100 // self.wanted if self.wanted else 0


@dataclass(frozen=True)
class Work:
    """One pair to be judged. Nothing here names an author, and nothing tells the two answers apart but their texts."""

    ticket: str
    conversation: list[Turn]
    answers: list[tuple[str, SafeString]]
    choices: tuple[Choice, ...]
    earlier_choice: str
    earlier_reason: str


def work_on(lease: Lease) -> Work:
    """What to show for a lease. A is the response that its order puts first."""
    comparison = lease.comparison
    shown = Response.objects.filter(pk__in=lease.shown_order).values_list("pk", "text", "prompt__messages")
    texts = {pk: text for pk, text, _ in shown}
    messages = shown[0][2]
    withdrawn = Judgment.objects.filter(comparison=comparison, annotator=lease.annotator_id)
    earlier = withdrawn.exclude(withdrawn_at=None).order_by("-withdrawn_at").first()
    return Work(
        ticket=Ticket.sign(lease),
        conversation=[Turn(turn["role"], render(turn["content"])) for turn in messages],
        answers=[(side, render(texts[pk])) for side, pk in zip("AB", lease.shown_order, strict=True)],
        choices=WITH_STRENGTH if comparison.project.asks_strength else WITHOUT_STRENGTH,
        earlier_choice=choice_of(earlier) if earlier else "",
        earlier_reason=earlier.reason if earlier else "",
    )


def choice_of(judgment: Judgment) -> str:
    """The button that made this judgment."""
    if judgment.both_bad:
        return "both_bad"
    if len(judgment.tiers) == 1:
        return "tie"
    side = "a" if judgment.tiers[0] == judgment.shown_order[:1] else "b"
    return next(value for value, meaning in CHOICES.items() if meaning == (side, judgment.strength))


def progress(project: Project, person: User) -> Progress:
    """How far this person and the project are."""
    with connection.cursor() as cursor:
        cursor.execute(PROGRESS, {"project": project.pk, "person": person.pk, "today": today()})
        [counts] = cursor.fetchall()
    return Progress(*counts)


# With every pair, so by hand.
PROGRESS = """
SELECT mine.today::int, mine.votes::int, work.done::bigint, work.wanted::bigint
  FROM (SELECT COALESCE(sum(votes) FILTER (WHERE day = %(today)s), 0) AS today, COALESCE(sum(votes), 0) AS votes
          FROM annotation_votecount WHERE project_id = %(project)s AND annotator_id = %(person)s) AS mine,
       (SELECT COALESCE(sum(done), 0) AS done, COALESCE(sum(wanted), 0) AS wanted
          FROM annotation_workcount WHERE project_id = %(project)s) AS work
"""


def why_nothing_is_left(project: Project, person: User) -> str:
    """Why this person gets no pair.

    `empty`, `archived`, `cap` (enough for today), `practice` (the training phase is over and a manager decides), `done`
    (all judged), `held` (others hold the rest) or `yours` (you did your part).
    """
    comparisons = Comparison.objects.filter(project=project)
    if project.archived_at is not None:
        return "archived"
    place = Place.of(project, person)
    if not place.may_have(1):
        return "cap"
    if place.practises and has_practice(project):
        return "practice"
    comparisons = comparisons.work()
    if not comparisons.exists():
        return "empty"
    if not comparisons.still_open().exists():
        return "done"
    return "held" if comparisons.still_open().new_to(person).exists() else "yours"
