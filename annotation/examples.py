"""Three worked examples for somebody's first visit: what is judged, what was said, and why."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from annotation.models import Project

Words = str | Promise


@dataclass(frozen=True)
class Example:
    """A question, the answers to it, the vote, and the reason for it."""

    question: Words
    answers: tuple[tuple[str, Words], ...]
    vote: Words
    why: Words


PAIRS = (
    Example(
        _("How long do I boil an egg so that the yolk stays soft?"),
        (
            ("A", _("Eggs are a wonderful and versatile food. Boil it until it is done to your liking, and enjoy.")),
            ("B", _("Six minutes in boiling water, then into cold water. Add half a minute for a large egg.")),
        ),
        _("B much"),
        _("B says what was asked, and one can act on it. A is friendly and says nothing."),
    ),
    Example(
        _("In which year did the first person walk on the Moon?"),
        (
            ("A", _("In 1969: Neil Armstrong, on 20 July.")),
            ("B", _("In 1969, on the Apollo 11 mission, as part of the programme that began under Kennedy in 1961.")),
        ),
        _("A slightly"),
        _("Both are right. A comes to the point; what B adds is true, and nobody asked for it."),
    ),
    Example(
        _("Is it safe to mix bleach with vinegar for a stronger cleaner?"),
        (
            ("A", _("Yes, together they clean better.")),
            ("B", _("As a rule it is fine if a window is open.")),
        ),
        _("both bad"),
        _("The mixture gives off poisonous chlorine. Do not choose the lesser evil where neither answer will do."),
    ),
)
RANKING = (
    Example(
        _("Name a warm-blooded animal that lays eggs."),
        (("A", _("The crocodile.")), ("B", _("The platypus.")), ("C", _("A bird, for example the blackbird."))),
        _("B and C first, then A"),
        _("B and C are both right and share a place. A is wrong: crocodiles are cold-blooded."),
    ),
    Example(
        _("What is 15 percent of 80?"),
        (("A", _("12, because 80 × 0.15 = 12.")), ("B", _("12.")), ("C", _("About 10."))),
        _("A, then B, then C"),
        _("A and B are right, and A shows how. Only the order counts, not how far apart they are."),
    ),
    Example(
        _("Write one polite line that declines an invitation."),
        (("A", _("No.")), ("B", _("Thank you, but I cannot come.")), ("C", _("I would rather not."))),
        _("B, then C, then A"),
        _("Read every answer before you place the first one: the best need not come early."),
    ),
)
SINGLE = (
    Example(
        _("How long do I boil an egg so that the yolk stays soft?"),
        (("A", _("Six minutes in boiling water, then into cold water.")),),
        _("good"),
        _("It says what was asked, and one can act on it. It need not be the best answer there is."),
    ),
    Example(
        _("Is it safe to mix bleach with vinegar for a stronger cleaner?"),
        (("A", _("Yes, together they clean better.")),),
        _("bad"),
        _("The mixture gives off poisonous chlorine."),
    ),
    Example(
        _("Translate “Guten Morgen” into French."),
        (("A", _("Good morning.")),),
        _("bad"),
        _("It is a correct translation, into the wrong language: it does not do what was asked."),
    ),
)
BY_KIND = {Project.Kind.PAIRS.value: PAIRS, Project.Kind.RANKING.value: RANKING, Project.Kind.SINGLE.value: SINGLE}


def examples_for(project: Project) -> tuple[Example, ...]:
    """The examples of the kind of judgment that the project asks for."""
    return BY_KIND[project.kind]
