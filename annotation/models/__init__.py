"""The tables of annotation. Import them from here."""

from annotation.models.assigning import Batch, Team
from annotation.models.auditing import Action, AuditEvent
from annotation.models.content import Comparison, Gold, Prompt, Response
from annotation.models.counts import VoteCount, WorkCount
from annotation.models.importing import ImportReport
from annotation.models.judging import Arm, Flag, Judgment, Lease, Preference, Skip
from annotation.models.projects import Membership, Project, Role, User

__all__ = [
    "Action",
    "Arm",
    "AuditEvent",
    "Batch",
    "Comparison",
    "Flag",
    "Gold",
    "ImportReport",
    "Judgment",
    "Lease",
    "Membership",
    "Preference",
    "Project",
    "Prompt",
    "Response",
    "Role",
    "Skip",
    "Team",
    "User",
    "VoteCount",
    "WorkCount",
]
