"""What the quality pages show of a report. Imports no numerical library: the numbers are computed already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, pgettext_lazy

from annotation.costs import grouped
from annotation.csv_lines import csv_lines
from annotation.models import QualityReport, User
from annotation.services import NO_PASSWORD

Numbers = dict[str, Any]
Words = str | Promise  # a promise is read in the reader's language
Measure = tuple[str, Words, str, Words]
LONGER_BY_PEOPLE = 0.64  # the share of longer answers that people are known to choose; `bias` measures against it

FLAGS: dict[str, tuple[Words, Words]] = {
    "side": (
        _("clicks by side"),
        _("Votes follow the side on which an answer stands. Sides are shuffled for every vote."),
    ),
    "fast": (_("too fast to read"), _("More than half of the votes came faster than anybody reads the texts.")),
    "line": (
        _("same side"),
        _("The same side, or neither, was chosen so many times in a row that chance does not explain it."),
    ),
    "gold": (_("misses gold"), _("Fewer than 70 % of the pairs with a known answer are judged right, beyond chance.")),
    "against": (
        _("opposite of others"),
        _("Disagrees with the others more than chance: perhaps the keys are swapped."),
    ),
}
# What the pages and the CSV call each number: (name in the report, title, how it is written, what it means).
MEASURES: tuple[Measure, ...] = (
    ("percent", _("Agreement"), "share", _("How often two people who judged the same pair said the same.")),
    (
        "percent_drawn",
        _("Agreement, by lot"),
        "share",
        _("The same over pairs that came to somebody by lot: no order, priority or second look chose them."),
    ),
    ("kappa", _("Fleiss' κ"), "number", _("Agreement beyond chance: 0 is chance, 1 is always.")),
    (
        "alpha",
        _("Krippendorff's α"),
        "number",
        _("Agreement beyond chance, with a tie halfway between the answers: 0 is chance, 1 is always."),
    ),
    ("gold", _("Gold"), "share", _("Judged right, of the gold pairs, whose answer is known.")),
    ("consistency", _("Same vote again"), "share", _("The same vote when a pair came a second time, unannounced.")),
    (
        "left",
        _("Left"),
        "share",
        _("Votes for the left answer, of those for one of the two. Shuffled sides make 50 %."),
    ),
    (
        "longer",
        _("Longer"),
        "share",
        _("Votes for the longer answer, where one is longer by 5 % or more. People are known for 64 %."),
    ),
    (
        "flip_rate",
        _("Wrong votes"),
        "share",
        _("Estimated share of votes for the worse answer: the label smoothing of DPO."),
    ),
)
OF_A_PERSON: tuple[Measure, ...] = (
    ("percent", _("Like the majority"), "share", _("The vote of the majority of the others, where they have one.")),
    ("kappa", _("Cohen's κ"), "number", _("The same beyond chance: 0 is chance, 1 is always.")),
    *(measure for measure in MEASURES if measure[0] in ("gold", "consistency", "left", "longer")),
    (
        "ability",
        _("Reliability"),
        "number",
        _("How much a vote tells about the better answer: 1 is the typical person, 0 is noise."),
    ),
    ("ties", _("Ties"), "share", _("Ties and “both bad” among all votes.")),
    ("skimmed", _("Faster than reading"), "share", _("Votes given four times as fast as people read.")),
)


TWICE = _("from the first pair on that two people judged")
BY_LOT = _("from the first pair on that came by lot and that two people judged")
TEN_TIMES = _("from the tenth pair on that two people judged for one of its answers")
DIFFERENT = _("from the first pair on that two people judged, once not all votes are the same")
# From how many votes on there is a number of the project, in the order in which the page tells it.
COMES: dict[str, Words] = {
    "percent": TWICE,
    "kappa": DIFFERENT,
    "alpha": DIFFERENT,
    "flip_rate": TEN_TIMES,
    "percent_drawn": BY_LOT,
    "gold": _("from the first vote on a pair with a known answer"),
    "consistency": _("from the first pair on that comes to the same person again, 20 votes later at the earliest"),
    "left": _("from the first vote for one of two answers"),
    "longer": _("from the first vote for one of two answers that differ in length"),
}


@dataclass(frozen=True)
class Row:
    """One number with its name: `estimate` is None where there is nothing to say."""

    name: str
    title: Words
    style: str
    help: Words
    estimate: Numbers | None


@dataclass(frozen=True)
class Person:
    """One person's numbers for a table; `is_source` for a rule or an import, which is nobody."""

    user: User
    votes: int
    found: Numbers
    flags: list[tuple[Words, Words]]

    @property
    def is_source(self) -> bool:
        return not self.user.is_active and self.user.password == NO_PASSWORD


def rows(numbers: Numbers, measures: tuple[Measure, ...] = MEASURES) -> list[Row]:
    return [Row(name, title, style, help_text, numbers.get(name)) for name, title, style, help_text in measures]


def missing(numbers: Numbers) -> list[tuple[list[Words], Words]]:
    """The titles of the project's numbers that are not known, by what they wait for."""
    titles = {name: title for name, title, _style, _help in MEASURES}
    found: dict[Words, list[Words]] = {}
    for name, comes in COMES.items():
        if numbers.get(name) is None:
            is_agreement = name in ("kappa", "alpha", "percent_drawn")
            reason = TWICE if is_agreement and numbers.get("percent") is None else comes
            found.setdefault(reason, []).append(titles[name])
    return [(names, reason) for reason, names in found.items()]


def people(report: QualityReport) -> list[Person]:
    """Everybody who voted: those to talk to first, then by name. Nobody is ranked by speed, or by anything else."""
    found = report.numbers.get("people", [])
    users = User.objects.in_bulk([entry["person"] for entry in found])
    shown = [
        Person(users[entry["person"]], entry["votes"], entry, [FLAGS[flag] for flag in entry["flags"]])
        for entry in found
        if entry["person"] in users
    ]
    return sorted(shown, key=lambda person: (not person.flags, str(person.user).casefold()))


def of_person(report: QualityReport, user: User) -> Numbers | None:
    """One person's numbers; None while none of their votes has been counted."""
    entries = report.numbers.get("people", [])
    return next((entry for entry in entries if entry["person"] == user.pk), None)


Point = tuple[str, float, float | None, float | None, int]


@dataclass(frozen=True)
class Chart:
    """What `static/js/quality.js` draws in a place of the page: points of (name, value, low, high, n).

    The name is a week, or what a column counts. Values are written as shares, plain numbers or counts, those of columns
    as `counted` says them; `mark` is one to compare with.
    """

    title: Words
    unit: Words
    points: list[Point]
    style: str = "count"
    mark: float | None = None
    place: str = "weeks"
    by_week: bool = True
    counted: list[str] = field(default_factory=list)


def charts(weeks: list[Numbers], names: tuple[str, ...]) -> list[dict[str, Any]]:
    """One chart for each number that has at least one week, and the votes themselves; none for a single week."""
    if len(weeks) < 2:
        return []
    titles = {name: (title, style) for name, title, style, _help in MEASURES}
    marks = {"left": 0.5, "longer": LONGER_BY_PEOPLE}
    found = [
        Chart(_("Votes"), _("a week"), [(week["week"], week["votes"], None, None, week["votes"]) for week in weeks])
    ]
    for name in names:
        title, style = titles[name]
        points = [
            (week["week"], at["value"], at["low"], at["high"], at["n"]) for week in weeks if (at := week.get(name))
        ]
        unit = "%" if style == "share" else ""
        found.append(Chart(title, unit, points, style, marks.get(name)))
    return [vars(chart) for chart in found if chart.points]


def certainty(counts: list[int]) -> list[dict[str, Any]]:
    """The chart of how sure the labels are: pairs by the probability of the likelier answer."""
    if not counts:
        return []
    names = [f"{50 + 5 * place}–{55 + 5 * place} %" for place in range(len(counts))]
    points: list[Point] = [(name, float(count), None, None, count) for name, count in zip(names, counts, strict=True)]
    pairs = [ngettext("%(n)s pair", "%(n)s pairs", count) % {"n": grouped(count)} for count in counts]
    title, unit = _("Likelier answer right"), pgettext_lazy("so many", "pairs")
    return [vars(Chart(title, unit, points, place="labels", by_week=False, counted=pairs))]


def report_as_csv(report: QualityReport) -> Iterator[str]:
    """Every number with its sample size and interval: of the project, of its people, and of both by week."""
    return csv_lines(_csv_rows(report))


_CsvRow = tuple[object, ...]


def _csv_rows(report: QualityReport) -> Iterator[_CsvRow]:
    yield "who", "week", "measure", "value", "low", "high", "n"
    for row in rows(report.numbers):
        yield from _estimate_row("everybody", "", row.name, row.estimate)
    for person in people(report):
        name = str(person.user)
        for row in rows(person.found, OF_A_PERSON):
            yield from _estimate_row(name, "", row.name, row.estimate)
        for flag in person.found["flags"]:
            yield name, "", f"flag: {flag}", 1, "", "", person.votes
        yield from _week_rows(name, person.found["weeks"])
    yield from _week_rows("everybody", report.numbers.get("weeks", []))


def _week_rows(who: str, weeks: list[Numbers]) -> Iterator[_CsvRow]:
    for week in weeks:
        yield who, week["week"], "votes", week["votes"], "", "", week["votes"]
        for name, estimate in week.items():
            if name not in ("week", "votes"):
                yield from _estimate_row(who, week["week"], name, estimate)


def _estimate_row(who: str, week: str, name: str, estimate: Numbers | None) -> Iterator[_CsvRow]:
    if estimate is not None:
        yield who, week, name, estimate["value"], estimate["low"], estimate["high"], estimate["n"]
