"""Where each member of a project stands: votes today, cap, training."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Exists, OuterRef

from annotation.gold import Practice, practice_of
from annotation.hand_out import has_practice
from annotation.models import Comparison, Membership, Project, Role


@dataclass(frozen=True)
class Standing:
    """One member. `practice` is None for those who need none or are through with it."""

    member: Membership
    practice: Practice | None


def standings_of(project: Project) -> list[Standing]:
    """Everybody, by name. Those in training cost a few queries each."""
    members = project.memberships.with_votes()
    trains = project.practice_pairs > 0
    return [
        Standing(member, practice_of(project, member.user) if trains and _is_new(member) else None)
        for member in members
    ]


def waiting_in(project: Project) -> list[Standing]:
    """Those who have been through the practice pairs in vain: a manager decides. Only they cost a few queries each."""
    if not (project.practice_pairs and has_practice(project)):
        return []
    open_pairs = Comparison.objects.filter(project=project, purpose=Comparison.Purpose.PRACTICE, closed_at=None)
    in_training = project.memberships.with_votes().filter(role=Role.ANNOTATOR, passed_at=None)
    through = in_training.exclude(Exists(open_pairs.new_to(OuterRef(OuterRef("user")))))
    standings = [(member, practice_of(project, member.user)) for member in through]
    return [Standing(member, practice) for member, practice in standings if practice.is_over]


def _is_new(member: Membership) -> bool:
    return member.role == Role.ANNOTATOR and member.passed_at is None
