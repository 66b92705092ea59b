"""The API of Prefloop, typed."""

from prefloop_client.client import Client
from prefloop_client.errors import ApiError, NoAnswerError
from prefloop_client.rows import (
    Answer,
    BadRow,
    Comparison,
    Feedback,
    Import,
    Judgment,
    Me,
    Message,
    OwnJudgment,
    Pair,
    Preference,
    Progress,
    Project,
    Prompt,
    Response,
    Vote,
)
from prefloop_client.webhooks import BadSignatureError, verify

__all__ = [
    "Answer",
    "ApiError",
    "BadRow",
    "BadSignatureError",
    "Client",
    "Comparison",
    "Feedback",
    "Import",
    "Judgment",
    "Me",
    "Message",
    "NoAnswerError",
    "OwnJudgment",
    "Pair",
    "Preference",
    "Progress",
    "Project",
    "Prompt",
    "Response",
    "Vote",
    "verify",
]
