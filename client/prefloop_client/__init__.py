"""The API of Prefloop, typed."""

from prefloop_client.client import Client
from prefloop_client.errors import AlreadyJudgedError, ApiError, NoAnswerError
from prefloop_client.rows import (
    Answer,
    BadRow,
    Comparison,
    Estimate,
    Feedback,
    Import,
    Judgment,
    Me,
    Message,
    OwnJudgment,
    Pair,
    PersonQuality,
    Preference,
    Progress,
    Project,
    Prompt,
    Quality,
    Response,
    Vote,
)
from prefloop_client.webhooks import BadSignatureError, verify

__all__ = [
    "AlreadyJudgedError",
    "Answer",
    "ApiError",
    "BadRow",
    "BadSignatureError",
    "Client",
    "Comparison",
    "Estimate",
    "Feedback",
    "Import",
    "Judgment",
    "Me",
    "Message",
    "NoAnswerError",
    "OwnJudgment",
    "Pair",
    "PersonQuality",
    "Preference",
    "Progress",
    "Project",
    "Prompt",
    "Quality",
    "Response",
    "Vote",
    "verify",
]
