"""Projects and people that browser tests begin with."""

from dataclasses import dataclass

from annotation.models import Comparison, Membership, Project, Role, User
from annotation.people import sign_in_link
from annotation.services import AnswerIn, add_comparison, create_project

TABLE = "| plant | water |\n|---|---|\n| basil | daily |\n"


@dataclass(frozen=True)
class Pair:
    """One prompt and its two answers, told apart by a word that only one of them has."""

    prompt: str
    better: str
    worse: str


PAIRS = tuple(
    Pair(f"How do I keep plant {n} fresh?", f"Water it. (short {n})", f"There are many ways to see it. (long {n})")
    for n in range(1, 7)
)


EVERYTHING = {
    "offers_both_good": True,
    "asks_acceptability": True,
    "asks_reason": True,
    "offers_edit": True,
    "reason_tags": ["correct", "clearer"],
    "aspects": ["helpful", "true"],
}


def make_project(*, pairs: tuple[Pair, ...] = PAIRS, **fields: object) -> Project:
    """A project with one comparison for each pair, in their order."""
    project = create_project(name="Everyday help", guidelines="The **shorter** one wins.", **fields)  # type: ignore[arg-type]
    for pair in pairs:
        add_pair(project, pair)
    return project


def add_pair(project: Project, pair: Pair) -> Comparison:
    asked = [{"role": "user", "content": pair.prompt}]
    answers = AnswerIn(pair.better, author_label="secret-model-a"), AnswerIn(pair.worse, author_label="secret-b")
    return add_in_order(project, asked, *answers)


def add_in_order(project: Project, messages: list[dict[str, str]], *answers: AnswerIn) -> Comparison:
    """A comparison that comes after those that are there."""
    comparison = add_comparison(project=project, messages=messages, responses=answers)
    # Lots past 1 in order of age: the random arm, which begins between 0 and 1, takes the oldest too.
    Comparison.objects.filter(pk=comparison.pk).update(lot=comparison.pk)
    return comparison


def make_annotator(project: Project, name: str = "nina") -> User:
    """A member who labels."""
    person = User.objects.create_user(name, display_name=name.capitalize())
    Membership.objects.create(project=project, user=person, role=Role.ANNOTATOR)
    return person


def link_for(person: User, url: str) -> str:
    """The sign-in link that an admin would send."""
    return sign_in_link(person, url)


def many(count: int) -> tuple[Pair, ...]:
    return tuple(Pair(f"Question {n}?", f"Short {n}.", f"A longer answer {n}.") for n in range(1, count + 1))


def with_answers(count: int, **fields: object) -> Project:
    project = make_project(pairs=(), **fields)
    for n in (1, 2):
        answers = [AnswerIn(f"Answer {letter} to {n}") for letter in "abcdefghi"[:count]]
        add_in_order(project, [{"role": "user", "content": f"Question {n}?"}], *answers)
    return project
