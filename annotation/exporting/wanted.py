"""What somebody wants to have exported."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Wanted:
    """The shape of the rows, the format of the file, how votes become verdicts, and which votes count."""

    shape: str = "preference"
    file: str = "jsonl"
    votes: str = "raw"
    margin: bool = False  # a column with how much better, for preferences
    since: datetime | None = None  # votes of this moment or later
    before: datetime | None = None  # votes earlier than this moment
    annotators: tuple[int, ...] = ()  # user ids; none: everybody's votes
    agreement: float = 0.0  # the least share of a pair's votes that say the same, from 0 to 1
    purpose: str = "collect"  # of the comparison; "": of every purpose

    @property
    def is_part(self) -> bool:
        """Whether a comparison may come without some of its votes."""
        return bool(self.since or self.before or self.annotators)

    @property
    def words(self) -> str:
        """As the audit log names it: the shape, the rule, the format, and what else differs from the defaults."""
        filters = {
            "margin": "yes" if self.margin else "",
            "since": self.since.isoformat(timespec="minutes") if self.since else "",
            "before": self.before.isoformat(timespec="minutes") if self.before else "",
            "people": len(self.annotators) or "",
            "agreement": f"{self.agreement:g}" if self.agreement else "",
            "purpose": (self.purpose or "any") if self.purpose != Wanted.purpose else "",
        }
        told = [f"{name} {value}" for name, value in filters.items() if value]
        return ", ".join([f"{self.shape} {self.votes} {self.file}", *told])
