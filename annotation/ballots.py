"""What a person says on the labelling page, by sides: A is the response shown first.

A ballot becomes a verdict about responses once the order is known in which they were shown; `Ballot.of` goes back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from django.http import QueryDict

from annotation.judging import Tiers, Verdict
from annotation.models import Judgment, Project
from annotation.models.judging import LETTERS

Meaning = TypeVar("Meaning")

LONGEST_REASON = 2_000
LONGEST_EDIT = 200_000  # characters

PLACES = tuple("123456789")

# A vote on two answers: side, and by how much.
CHOICES: dict[str, tuple[str, int | None]] = {
    "a3": ("a", 3),
    "a2": ("a", 2),
    "a1": ("a", 1),
    "a": ("a", None),
    "tie": ("tie", None),
    "b": ("b", None),
    "b1": ("b", 1),
    "b2": ("b", 2),
    "b3": ("b", 3),
    "both_good": ("both_good", None),
    "both_bad": ("both_bad", None),
}
# A vote on one answer.
THUMBS = {"up": True, "down": False}
# A vote on one aspect of two answers.
SIDES = ("A", "B", "tie")


@dataclass(frozen=True)
class Ballot:
    """`choice` for one or two answers, `ranks` (letter to place, 1 is best) for more; the rest is what a project asks.

    `aspects` says A, B or tie for each aspect; `edits` are the texts that came back, changed or not.
    """

    choice: str = ""
    ranks: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""
    tags: tuple[str, ...] = ()
    acceptable: Mapping[str, bool] = field(default_factory=dict)
    aspects: Mapping[str, str] = field(default_factory=dict)
    edits: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, data: QueryDict, project: Project) -> Ballot:
        """The page's form. What the project does not ask is passed over, and so is what is no answer."""
        ranks = {letter: data.get(f"rank:{letter}", "") for letter in LETTERS}
        will_do = {letter: data.get(f"acceptable:{letter}", "") for letter in LETTERS}
        aspects = {name: data.get(f"aspect:{name}", "") for name in project.aspects}
        edits = {letter: _typed(data.get(f"edit:{letter}", "")) for letter in LETTERS}
        ballot = cls(
            choice=data.get("choice", ""),
            ranks={letter: int(place) for letter, place in ranks.items() if place in PLACES},
            reason=_typed(data.get("reason", "")).strip()[:LONGEST_REASON],
            tags=tuple(data.getlist("tag")),
            acceptable={letter: said == "yes" for letter, said in will_do.items() if said in ("yes", "no")},
            aspects={name: side for name, side in aspects.items() if side in SIDES},
            edits={letter: text for letter, text in edits.items() if text.strip()},
        )
        return ballot.of_what_is_asked(project)

    def of_what_is_asked(self, project: Project) -> Ballot:
        """Without what the project does not ask beside the vote."""
        return replace(
            self,
            tags=tuple(tag for tag in project.reason_tags if tag in self.tags),
            acceptable=self.acceptable if project.asks_acceptability else {},
            aspects={name: side for name, side in self.aspects.items() if name in project.aspects},
            edits=self.edits if project.offers_edit else {},
        )

    @classmethod
    def of(cls, judgment: Judgment) -> Ballot:
        """The ballot that makes this judgment."""
        letters = dict(zip(judgment.shown_order, LETTERS, strict=False))
        return cls(
            choice=choice_of(judgment),
            ranks={letters[pk]: place for place, tier in enumerate(judgment.tiers, start=1) for pk in tier}
            if len(letters) > 2
            else {},
            reason=judgment.reason,
            tags=tuple(judgment.tags),
            acceptable={letters[int(pk)]: will_do for pk, will_do in judgment.acceptable.items()}
            if len(letters) > 1
            else {},
            aspects={
                name: letters[tiers[0][0]] if len(tiers) > 1 else "tie" for name, tiers in judgment.aspects.items()
            },
            edits={letters[judgment.edit_of_id]: judgment.edited.text}
            if judgment.edited and judgment.edit_of_id
            else {},
        )

    def verdict(self, shown_order: Sequence[int]) -> Verdict:
        """What this says about the responses that were shown in this order. Raises ValueError if it says nothing."""
        shown = dict(zip(LETTERS, shown_order, strict=False))
        if not set(self.acceptable) | set(self.edits) <= set(shown) or any(
            len(text) > LONGEST_EDIT for text in self.edits.values()
        ):
            raise ValueError("There is no such answer, or an edit is too long.")
        acceptable = {shown[letter]: will_do for letter, will_do in self.acceptable.items()}
        if len(shown) == 1:
            acceptable = {shown["A"]: _looked_up(THUMBS, self.choice)}
        side, strength = _looked_up(CHOICES, self.choice) if len(shown) == 2 else ("", None)
        return Verdict(
            tiers=self._ranking(shown) if len(shown) > 2 else _tiers(side, shown_order),
            both_bad=side == "both_bad",
            both_good=side == "both_good",
            strength=strength,
            reason=self.reason,
            tags=self.tags,
            acceptable=acceptable,
            aspects={name: _tiers(said.lower(), shown_order) for name, said in self.aspects.items()}
            if len(shown) == 2
            else {},
            edits={shown[letter]: text for letter, text in self.edits.items()},
        )

    def _ranking(self, shown: Mapping[str, int]) -> Tiers:
        if set(self.ranks) != set(shown):
            raise ValueError("Every answer needs its place.")
        places = sorted(set(self.ranks.values()))
        return [sorted(shown[letter] for letter in shown if self.ranks[letter] == place) for place in places]


def _tiers(side: str, shown_order: Sequence[int]) -> Tiers:
    """A preference for one of two sides, or all in one tier."""
    if side not in ("a", "b"):
        return [sorted(shown_order)]
    first, second = shown_order
    return [[first], [second]] if side == "a" else [[second], [first]]


def choice_of(judgment: Judgment) -> str:
    """The button that makes this judgment; none for a ranking."""
    if len(judgment.shown_order) == 1:
        return "up" if judgment.acceptable.get(str(judgment.shown_order[0])) else "down"
    if len(judgment.shown_order) > 2:
        return ""
    if judgment.both_bad or judgment.both_good:
        return "both_bad" if judgment.both_bad else "both_good"
    if len(judgment.tiers) == 1:
        return "tie"
    side = "a" if judgment.tiers[0] == judgment.shown_order[:1] else "b"
    return next(value for value, meaning in CHOICES.items() if meaning == (side, judgment.strength))


def _looked_up(known: Mapping[str, Meaning], choice: str) -> Meaning:
    if choice not in known:
        raise ValueError(f"There is no choice {choice!r}.")
    return known[choice]


def _typed(text: str) -> str:
    """A text as it was before the browser sent it: line ends of one character, and none that a database refuses."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
