"""What the page shows after a practice pair: the pair again, what was said, what was expected, and how far one is."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.safestring import SafeString

from annotation.gold import Feedback, Practice, feedback_on, practice_of
from annotation.models import Comparison, Judgment, Membership, Project, Response, User
from annotation.models.judging import LETTERS
from annotation.rendering import render
from annotation.work import Turn, turns_of


@dataclass(frozen=True)
class LookBack:
    """A practice pair after its judgment. The answers are (letter, safe HTML)."""

    turns: list[Turn]
    answers: list[tuple[str, SafeString]]
    feedback: Feedback
    explanation: SafeString
    so_far: Practice
    is_in: bool


def look_back_on(judgment: Judgment) -> LookBack:
    """What to tell the person who gave this judgment of a practice pair."""
    comparison = judgment.comparison
    texts = dict(Response.objects.filter(pk__in=judgment.shown_order).values_list("pk", "text"))
    feedback = feedback_on(judgment)
    waits = Membership.objects.filter(project=comparison.project_id, user=judgment.annotator_id, passed_at=None)
    return LookBack(
        turns=turns_of(comparison.prompt.messages),
        answers=[(side, render(texts[pk])) for side, pk in zip(LETTERS, judgment.shown_order, strict=False)],
        feedback=feedback,
        explanation=render(feedback.explanation),
        so_far=practice_of(comparison.project, judgment.annotator),
        is_in=not waits.exists(),
    )


def practised_by(person: User, project: Project, judgment_id: str) -> Judgment | None:
    """This person's own standing judgment of a practice pair of the project; None for any other number or text."""
    if not judgment_id.isdecimal() or len(judgment_id) > 18:
        return None
    mine = Judgment.objects.standing().in_project(project).by(person)
    return mine.filter(pk=int(judgment_id), comparison__purpose=Comparison.Purpose.PRACTICE).first()
