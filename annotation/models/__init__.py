"""The tables of annotation. Import them from here."""

from annotation.models.content import Comparison, Prompt, Response
from annotation.models.importing import ImportReport
from annotation.models.judging import Judgment, Lease, Preference, Skip
from annotation.models.projects import Membership, Project, Role, User
from annotation.models.quality import PairLabel, QualityReport

__all__ = [
    "Comparison",
    "ImportReport",
    "Judgment",
    "Lease",
    "Membership",
    "PairLabel",
    "Preference",
    "Project",
    "Prompt",
    "QualityReport",
    "Response",
    "Role",
    "Skip",
    "User",
]
