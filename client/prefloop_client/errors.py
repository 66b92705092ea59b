"""What can go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class NoAnswerError(Exception):
    """The server was not reached, or broke off, as often as was tried."""


class ApiError(Exception):
    """The server answered with an error. `code` is for programs, `message` and `todo` are for people.

    `fields` lists the values that were not taken, as (where, problem).
    """

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(error.get("code", "unknown"))
        self.message = str(error.get("message", f"The server answered {status}."))
        self.todo = str(error.get("todo", ""))
        self.fields = [(str(one["where"]), str(one["problem"])) for one in error.get("fields", [])]
        super().__init__(
            " ".join([self.message, *(f"{where}: {problem.rstrip('.')}." for where, problem in self.fields), self.todo])
        )


class AlreadyJudgedError(ApiError):
    """The pair has a vote of yours, another than this one, which was not kept. `todo` says how to change it."""
