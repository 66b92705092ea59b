"""What a file is: its format, the shape of its rows, and the first of them as they would land."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from annotation.importing.reading import SHAPES, detect_format, opened, shaped
from annotation.importing.rows import BadFileError, BadRowError, Row, Vote
from annotation.models import Judgment

LOOKED_AT = 50  # rows


@dataclass(frozen=True)
class Shown:
    """One of the first rows: its number, and the row or the reason why it is none."""

    number: int
    row: Row | None = None
    reason: str = ""

    @property
    def votes(self) -> list[str]:
        """The row's votes in words."""
        return [in_words(vote) for vote in self.row.votes] if self.row else []


@dataclass(frozen=True)
class Found:
    """What the first rows tell. `shape` is "" where they are of several shapes: each is read in its own."""

    format: str
    shape: str
    rows: list[Shown]

    @property
    def has_votes(self) -> bool:
        return any(shown.row and shown.row.votes for shown in self.rows)

    @property
    def is_alone(self) -> bool:
        """Whether every row that can be read is one answer alone."""
        return bool(self.good) and all(len(shown.row.answers) == 1 for shown in self.rows if shown.row)

    @property
    def bad(self) -> list[Shown]:
        return [shown for shown in self.rows if shown.row is None]

    @property
    def good(self) -> int:
        return len(self.rows) - len(self.bad)


def look_at(path: Path, *, shape: str | None = None) -> Found:
    """Read the first rows. `shape` is told or found. Raises BadFileError if the file is in no known format."""
    format = detect_format(path)
    with opened(path, format) as source:
        raw = list(islice(source.rows, LOOKED_AT))
    if not raw:
        raise BadFileError("The file has no rows.")
    if shape is None:
        names = {name for _, row in raw if not isinstance(row, BadRowError) for name in _shapes_of(row)}
        shape = names.pop() if len(names) == 1 else ""
    return Found(format, shape, [_shown(number, row) for number, row in shaped(iter(raw), shape)])


def _shapes_of(row: dict[str, object]) -> list[str]:
    """The first shape that recognises the row, if one does."""
    return [name for name, shape in SHAPES.items() if shape.recognises(row)][:1]


def _shown(number: int, row: Row | BadRowError) -> Shown:
    return Shown(number, reason=str(row)) if isinstance(row, BadRowError) else Shown(number, row)


def in_words(vote: Vote) -> str:
    """`1 over 2, clearly`, `tie`, `both bad`; of one answer `good` or `bad`."""
    if len(vote.places) == 1:
        return pgettext("an answer is", "good") if vote.acceptable == (True,) else pgettext("an answer is", "bad")
    if vote.both_bad or vote.both_good:
        return _("both bad") if vote.both_bad else _("both good")
    if len(set(vote.places)) == 1:
        return _("tie")
    best_first = sorted(range(len(vote.places)), key=lambda n: vote.places[n])
    words = str(best_first[0] + 1)
    for before, after in pairwise(best_first):
        words += f" {'=' if vote.places[before] == vote.places[after] else _('over')} {after + 1}"
    return f"{words}, {Judgment.Strength(vote.strength).label}" if vote.strength else words
