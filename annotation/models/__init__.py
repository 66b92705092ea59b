"""The tables of annotation. Import them from here."""

from annotation.models.content import Comparison, Prompt, Response
from annotation.models.importing import ImportReport
from annotation.models.judging import Flag, Judgment, Lease, Preference, Skip
from annotation.models.projects import Membership, Project, Role, User

__all__ = [
    "Comparison",
    "Flag",
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
    "User",
]
