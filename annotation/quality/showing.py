"""What the quality pages show of a report. Imports no numerical library: the numbers are computed already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from annotation.csv_lines import csv_lines
from annotation.models import QualityReport, User
from annotation.services import NO_PASSWORD

Numbers = dict[str, Any]
LONGER_BY_PEOPLE = 0.64  # the share of longer answers that people are known to choose; `bias` measures against it

FLAGS = {
    "side": ("clicks by side", "Votes follow the side on which an answer stands. Sides are shuffled for every vote."),
    "fast": ("too fast to read", "More than half of the votes came faster than anybody reads the texts."),
    "line": ("same button", "The same button was pressed so many times in a row that chance does not explain it."),
    "gold": ("misses gold", "Fewer than 70 % of the pairs with a known answer are judged right, beyond chance."),
    "against": (
        "opposite of others",
        "Disagrees with the others more than chance: perhaps the keys are swapped.",
    ),
}
# What the pages and the CSV call each number: (name in the report, title, how it is written, what it means).
MEASURES = (
    ("percent", "Agreement", "share", "How often two people who judged the same pair said the same."),
    (
        "percent_drawn",
        "Agreement, by lot",
        "share",
        "The same over pairs that came to somebody by lot: no order, priority or second look chose them.",
    ),
    ("kappa", "Fleiss' κ", "number", "Agreement beyond chance: 0 is chance, 1 is always."),
    (
        "alpha",
        "Krippendorff's α",
        "number",
        "Agreement beyond chance, with a tie halfway between the answers: 0 is chance, 1 is always.",
    ),
    ("gold", "Gold", "share", "Judged right, of the gold pairs, whose answer is known."),
    ("consistency", "Same vote again", "share", "The same vote when a pair came a second time, unannounced."),
    ("left", "Left", "share", "Votes for the left answer, of those for one of the two. Shuffled sides make 50 %."),
    ("longer", "Longer", "share", "Votes for the longer answer, where one is longer. People are known for 64 %."),
    ("flip_rate", "Wrong votes", "share", "Estimated share of votes for the worse answer: the label smoothing of DPO."),
)
OF_A_PERSON = (
    ("percent", "Like the majority", "share", "The vote of the majority of the others, where they have one."),
    ("kappa", "Cohen's κ", "number", "The same beyond chance: 0 is chance, 1 is always."),
    *(measure for measure in MEASURES if measure[0] in ("gold", "consistency", "left", "longer")),
    (
        "ability",
        "Reliability",
        "number",
        "How much a vote tells about the better answer: 1 is the typical person, 0 is noise.",
    ),
    ("ties", "Ties", "share", "Ties and “both bad” among all votes."),
    ("skimmed", "Faster than reading", "share", "Votes given four times as fast as people read."),
)


@dataclass(frozen=True)
class Row:
    """One number with its name: `estimate` is None where there is nothing to say."""

    name: str
    title: str
    style: str
    help: str
    estimate: Numbers | None


@dataclass(frozen=True)
class Person:
    """One person's numbers for a table; `is_source` for a rule or an import, which is nobody."""

    user: User
    votes: int
    found: Numbers
    flags: list[tuple[str, str]]

    @property
    def is_source(self) -> bool:
        return not self.user.is_active and self.user.password == NO_PASSWORD


def rows(numbers: Numbers, measures: tuple[tuple[str, str, str, str], ...] = MEASURES) -> list[Row]:
    return [Row(name, title, style, help_text, numbers.get(name)) for name, title, style, help_text in measures]


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

    The name is a week, or what a column counts. Values are written as shares, plain numbers or counts; `mark` is one to
    compare with.
    """

    title: str
    unit: str
    points: list[Point]
    style: str = "count"
    mark: float | None = None
    place: str = "weeks"
    by_week: bool = True


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
        found.append(Chart(_(title), unit, points, style, marks.get(name)))
    return [vars(chart) for chart in found if chart.points]


def certainty(counts: list[int]) -> list[dict[str, Any]]:
    """The chart of how sure the labels are: pairs by the probability of the likelier answer."""
    if not counts:
        return []
    names = [f"{50 + 5 * place}–{55 + 5 * place} %" for place in range(len(counts))]
    points: list[Point] = [(name, float(count), None, None, count) for name, count in zip(names, counts, strict=True)]
    chart = Chart("Likelier answer right", "pairs", points, place="labels", by_week=False)
    return [vars(chart)]


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
