"""Who votes in a file: each voice gets an account of its own, named after the source."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256

from django.db import connection

from annotation.importing.rows import BadFileError, Vote
from annotation.models import User
from annotation.services import rule_judge

MOST_VOTERS = 1_000  # of one file: each is an account
NOT_IN_A_NAME = re.compile(r"[^\w.@+-]+")
LONGEST_NAME = 150


class Votes:
    """Under whose names the file's votes are kept; without a judge they are not kept."""

    def __init__(self, judge: User | None) -> None:
        self.judge = judge
        self._by_voter: dict[str, User] = {} if judge is None else {"": judge}

    def meet(self, votes: Iterable[Vote]) -> None:
        """Make accounts for voices that are new. Raises BadFileError if they get too many, or one is a person's."""
        if self.judge is None:
            return
        for voter in {vote.voter for vote in votes} - self._by_voter.keys():
            if len(self._by_voter) > MOST_VOTERS:
                raise BadFileError(f"The file has votes by more than {MOST_VOTERS:,} voices.")
            self._by_voter[voter] = rule_judge(_account_name(self.judge.username, voter))

    def of(self, votes: tuple[Vote, ...]) -> tuple[Vote, ...]:
        """Those of a row's votes that are kept."""
        return votes if self.judge is not None else ()

    def by(self, voter: str) -> User:
        return self._by_voter[voter]

    def hold(self) -> None:
        """Keep the accounts from being deleted until the transaction ends."""
        accounts = [user.pk for user in self._by_voter.values()]
        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM annotation_user WHERE id = ANY(%s) FOR KEY SHARE", [accounts])


def _account_name(source: str, voter: str) -> str:
    """The source's name, a dot and the voter's; with a mark where the name had to be changed: no two share one."""
    plain = NOT_IN_A_NAME.sub("-", voter)
    name = f"{source}.{plain}"
    if plain == voter and len(name) <= LONGEST_NAME:
        return name
    mark = "-" + sha256(voter.encode()).hexdigest()[:8]
    return name[: LONGEST_NAME - len(mark)] + mark
