"""What the labelling page shows: answers without their authors, what is asked about them, and how far one is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from django.db.models import Q
from django.utils.crypto import salted_hmac
from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, override, pgettext_lazy

from annotation.asking import ask
from annotation.ballots import Ballot
from annotation.common_start import common_start
from annotation.hand_out import Place, has_practice
from annotation.models import Comparison, Judgment, Lease, Project, User
from annotation.models.judging import LETTERS
from annotation.models.projects import today
from annotation.queue import Ticket
from annotation.rendering import render

Words = str | Promise  # a promise is read in the reader's language

# Turns of a conversation after its system prompt are folded when they are more than this many, the last ones left open.
OPEN_TURNS = 4


@dataclass(frozen=True)
class Choice:
    """A button of the bar: what it sends, the words on it (side and strength), and its key."""

    value: str
    side: str
    words: Words
    key: str
    key_name: str


MUCH, CLEARLY, SLIGHTLY = gettext_lazy("much"), gettext_lazy("clearly"), gettext_lazy("slightly")
TIE = Choice("tie", "", gettext_lazy("tie"), "4", "4")
BOTH_GOOD = Choice("both_good", "", gettext_lazy("both good"), "9", "9")
BOTH_BAD = Choice("both_bad", "", gettext_lazy("both bad"), "0", "0")
WITH_STRENGTH = (
    Choice("a3", "A", MUCH, "1", "1"),
    Choice("a2", "A", CLEARLY, "2", "2"),
    Choice("a1", "A", SLIGHTLY, "3", "3"),
    TIE,
    Choice("b1", "B", SLIGHTLY, "5", "5"),
    Choice("b2", "B", CLEARLY, "6", "6"),
    Choice("b3", "B", MUCH, "7", "7"),
)
WITHOUT_STRENGTH = (
    Choice("a", "A", gettext_lazy("is better"), "ArrowLeft", "←"),
    TIE,
    Choice("b", "B", gettext_lazy("is better"), "ArrowRight", "→"),
)
THUMBS = (
    Choice("up", "", pgettext_lazy("an answer is", "good"), "1", "1"),
    Choice("down", "", pgettext_lazy("an answer is", "bad"), "0", "0"),
)
SAME_ANSWERS = gettext_lazy("The answers say the same")
SKIP_REASONS = (
    gettext_lazy("I do not know enough about this"),
    SAME_ANSWERS,
    gettext_lazy("Something is broken or unreadable"),
    gettext_lazy("It is against the guidelines"),
)
ROLES = {
    "user": pgettext_lazy("who speaks", "User"),
    "assistant": pgettext_lazy("who speaks", "Assistant"),
    "system": pgettext_lazy("who speaks", "System"),
}
# Keys of what is asked beside the vote: sides by letters, aspects by three rows of the right hand.
ACCEPTABLE_KEYS = {"A": ("a", "x"), "B": ("b", "n")}
ASPECT_KEYS = (("u", "i", "o"), ("j", "k", "l"), ("m", ",", "."))


@dataclass(frozen=True)
class Turn:
    """One message of the conversation: who speaks, and what, as safe HTML."""

    role: str
    speaker: Words
    html: SafeString


@dataclass(frozen=True)
class Option:
    """One of the answers to a question, or a tag; without a key where there are more than keys."""

    value: str
    words: str
    key: str
    checked: bool


@dataclass(frozen=True)
class Question:
    """Radio buttons under one name; `asked` is the question in words that stand alone, where `words` do not."""

    name: str
    words: str
    options: list[Option]
    asked: str = ""


@dataclass(frozen=True)
class Answer:
    """One answer: its letter, its HTML, of which `start` is what all answers begin with, and its text for editing.

    In a ranking the card itself asks whether the answer `will_do`: up to nine such questions would fill the bar.
    """

    side: str
    start: SafeString | str
    html: SafeString
    text: str
    was_edited: bool
    place: int | None
    will_do: Question | None


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
    """What is to be judged. Nothing here names an author, and nothing tells the answers apart but their texts.

    `key` is the same whenever this person sees this comparison. `judgment_id` is set where a vote is being changed.
    """

    ticket: str
    key: str
    system: list[Turn]
    earlier_turns: list[Turn]
    turns: list[Turn]
    answers: list[Answer]
    start_characters: int
    choices: Sequence[Choice]
    tags: list[Option]
    questions: list[list[Question]]
    earlier: Ballot | None
    judgment_id: int | None = None

    @property
    def kind(self) -> str:
        """`single`, `pair` or `ranking`, by the number of answers."""
        return {1: "single", 2: "pair"}.get(len(self.answers), "ranking")

    @property
    def asked(self) -> list[Question]:
        """What must be answered beside the choice or the order."""
        in_cards = [answer.will_do for answer in self.answers if answer.will_do]
        return [*in_cards, *(question for group in self.questions for question in group)]

    @property
    def answered(self) -> int:
        """How much of it the earlier vote says."""
        return sum(any(option.checked for option in question.options) for question in self.asked)

    @property
    def places(self) -> range:
        return range(1, len(self.answers) + 1)


def turns_of(messages: list[dict[str, str]]) -> list[Turn]:
    """The messages of a prompt as they are shown."""
    return [Turn(one["role"], ROLES.get(one["role"], one["role"]), render(one["content"])) for one in messages]


# With every pair, so by hand. Mostly there is no vote that was taken back; where there is, it is looked up.
SHOWN = """
SELECT answer.id, answer.text, prompt.messages::text,
       EXISTS (SELECT FROM annotation_judgment former
                WHERE former.comparison_id = %(comparison)s AND former.annotator_id = %(person)s
                  AND former.withdrawn_at IS NOT NULL)
  FROM annotation_response answer JOIN annotation_prompt prompt ON prompt.id = answer.prompt_id
 WHERE answer.id = ANY (%(shown)s)
"""


@dataclass(frozen=True)
class _Shown:
    """The texts of a comparison in the order of its answers, and whether the person has taken a vote on it back."""

    texts: list[str]
    messages: list[dict[str, str]]
    was_withdrawn: bool

    @classmethod
    def of(cls, comparison_id: int, annotator_id: int, shown_order: list[int]) -> _Shown:
        values = {"comparison": comparison_id, "person": annotator_id, "shown": shown_order}
        rows = ask(SHOWN, values)
        by_id = {pk: text for pk, text, _messages, _was_withdrawn in rows}
        return cls([by_id[pk] for pk in shown_order], json.loads(rows[0][2]), rows[0][3])


def work_on(lease: Lease) -> Work:
    """What to show for a lease. A is the response that its order puts first."""
    shown = _Shown.of(lease.comparison_id, lease.annotator_id, lease.shown_order)
    return _work(
        lease.comparison,
        shown,
        annotator_id=lease.annotator_id,
        ticket=Ticket.sign(lease),
        earlier=_earlier(lease) if shown.was_withdrawn else None,
    )


def _earlier(lease: Lease) -> Ballot | None:
    """The vote that this person has taken back last. The order is their own, so it saw the same one."""
    withdrawn = Judgment.objects.filter(comparison=lease.comparison_id, annotator=lease.annotator_id)
    earlier = withdrawn.exclude(withdrawn_at=None).select_related("edited").order_by("-withdrawn_at").first()
    return Ballot.of(earlier) if earlier and earlier.shown_order == lease.shown_order else None


def work_again(judgment: Judgment) -> Work:
    """What to show to somebody who wants to change this judgment of theirs."""
    return _work(
        judgment.comparison,
        _Shown.of(judgment.comparison_id, judgment.annotator_id, judgment.shown_order),
        annotator_id=judgment.annotator_id,
        ticket="",
        earlier=Ballot.of(judgment),
        judgment_id=judgment.pk,
    )


def _work(
    comparison: Comparison,
    shown: _Shown,
    *,
    annotator_id: int,
    ticket: str,
    earlier: Ballot | None,
    judgment_id: int | None = None,
) -> Work:
    project, texts = comparison.project, shown.texts
    start = common_start(texts)
    turns = turns_of(shown.messages)
    first = int(turns[0].role == "system")  # it says how to answer, so it stays in view
    folded = len(turns) - OPEN_TURNS + 1 if len(turns) - first > OPEN_TURNS else first
    said = earlier or Ballot()
    sides = LETTERS[: len(texts)]
    will_do = _acceptable(sides, said) if project.asks_acceptability else {}
    in_cards = will_do if len(texts) > 2 else {}
    groups = [] if in_cards else [*will_do.values()], _aspects(project.aspects, sides, said)
    return Work(
        ticket=ticket,
        key=salted_hmac("annotation.work.key", f"{comparison.pk}:{annotator_id}").hexdigest()[:20],
        system=turns[:first],
        earlier_turns=turns[first:folded],
        turns=turns[folded:],
        answers=[
            Answer(
                side,
                start=render(text[:start]) if start else "",
                html=render(text[start:]),
                text=said.edits.get(side, text) if project.offers_edit else "",
                was_edited=side in said.edits,
                place=said.ranks.get(side),
                will_do=in_cards.get(side),
            )
            for side, text in zip(sides, texts, strict=True)
        ],
        start_characters=start,
        choices=choices_for(project, len(texts)),
        tags=[
            Option(tag, tag, str(n) if n < 10 else "", tag in said.tags)
            for n, tag in enumerate(project.reason_tags, start=1)
        ],
        questions=[group for group in groups if group],
        earlier=earlier,
        judgment_id=judgment_id,
    )


def skip_reasons(work: Work | None) -> list[tuple[str, Promise]]:
    """What one may say by a key when passing something on: as it is kept, in English whoever says it, and as shown."""
    offered = [one for one in SKIP_REASONS if one is not SAME_ANSWERS or work is None or work.kind != "single"]
    with override("en"):
        return [(str(reason), reason) for reason in offered]


def choices_for(project: Project, answers: int) -> Sequence[Choice]:
    """The buttons of the bar; none for a ranking."""
    if answers == 1:
        return THUMBS
    if answers > 2:
        return ()
    both = (BOTH_GOOD, BOTH_BAD) if project.offers_both_good else (BOTH_BAD,)
    return (*(WITH_STRENGTH if project.asks_strength else WITHOUT_STRENGTH), *both)


def _acceptable(sides: str, said: Ballot) -> dict[str, Question]:
    """Whether each of several answers will do, by its letter; keys for a pair alone."""
    found = {}
    for side in sides if len(sides) > 1 else "":
        yes, no = ACCEPTABLE_KEYS[side] if len(sides) == 2 else ("", "")
        will_do = said.acceptable.get(side)
        options = [
            Option("yes", _("will do"), yes, will_do is True),
            Option("no", _("will not do"), no, will_do is False),
        ]
        found[side] = Question(f"acceptable:{side}", side, options, _("whether %(side)s will do") % {"side": side})
    return found


def _aspects(aspects: list[str], sides: str, said: Ballot) -> list[Question]:
    found = []
    for n, aspect in enumerate(aspects if len(sides) == 2 else []):
        keys = ASPECT_KEYS[n] if n < len(ASPECT_KEYS) else ("", "", "")
        options = [
            Option(value, words, key, said.aspects.get(aspect) == value)
            for (value, words), key in zip((("A", "A"), ("tie", _("tie")), ("B", "B")), keys, strict=True)
        ]
        found.append(Question(f"aspect:{aspect}", aspect, options))
    return found


def progress(project: Project, person: User) -> Progress:
    """How far this person and the project are."""
    [counts] = ask(PROGRESS, {"project": project.pk, "person": person.pk, "today": today()})
    return Progress(*counts)


# With every pair, so by hand.
PROGRESS = """
SELECT mine.today::int, mine.votes::int, work.done::bigint, work.wanted::bigint
  FROM (SELECT COALESCE(sum(votes) FILTER (WHERE day = %(today)s), 0) AS today, COALESCE(sum(votes), 0) AS votes
          FROM annotation_votecount WHERE project_id = %(project)s AND annotator_id = %(person)s) AS mine,
       (SELECT COALESCE(sum(done), 0) AS done, COALESCE(sum(wanted), 0) AS wanted
          FROM annotation_workcount WHERE project_id = %(project)s) AS work
"""


Why = Literal["archived", "cap", "practice", "empty", "done", "held", "given", "yours"]


def why_nothing_is_left(project: Project, person: User) -> Why:
    """Why this person gets no pair.

    `empty`, `archived`, `cap` (enough for today), `practice` (the training phase is over and a manager decides), `done`
    (all judged), `held` (others hold the rest), `given` (the rest is for others alone) or `yours` (you did your part).
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
    new = comparisons.still_open().new_to(person).not_written_by(person)
    if new.filter(Q(batch=None) | Q(batch__in=place.batches)).exists():
        return "held"
    return "given" if new.exists() else "yours"
