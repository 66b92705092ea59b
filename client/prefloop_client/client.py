"""The addresses of the API as methods.

What can be sent twice without harm is sent again when the network or the server fails; what meets the rate limit waits.
A vote carries an idempotency key, so that it is given once however often it is sent.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

import requests

from prefloop_client.errors import AlreadyJudgedError, ApiError, NoAnswerError
from prefloop_client.rows import (
    Comparison,
    Import,
    Judgment,
    Me,
    OwnJudgment,
    Pair,
    Preference,
    Project,
    Quality,
    Vote,
    read,
)

JSON_LINES = "application/jsonl"
OVERLOADED = (502, 503, 504)
TOO_MANY = 429
LONGEST_WAIT = 60.0  # seconds between two tries
PIECE = 1 << 16  # bytes
Row = TypeVar("Row")


class Client:
    """One person's token at one site. Not for several threads at once.

    `tries` is how often a request is sent at most; `timeout` in seconds is for connecting and between two pieces of the
    answer. `why` is the API's word for why the last `lease` gave nothing (`cap`, `done`, …), empty if it gave a pair.
    Methods raise ApiError for what the server refuses and NoAnswerError if it is not reached.
    """

    def __init__(self, url: str, token: str, *, tries: int = 4, timeout: float = 30.0) -> None:
        self.root = url.rstrip("/") + "/api/v1"
        self.tries, self.timeout = tries, timeout
        self.why = ""
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token}"

    @classmethod
    def from_environment(cls) -> Self:
        """As PREFLOOP_URL and PREFLOOP_TOKEN say. Raises KeyError if one is not set."""
        return cls(os.environ["PREFLOOP_URL"], os.environ["PREFLOOP_TOKEN"])

    def close(self) -> None:
        """Give the connection back. `with Client(…) as client:` does it by itself."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def me(self) -> Me:
        return read(Me, self._json("GET", "/me"))

    # Projects

    def projects(self, *, archived: bool = False) -> Iterator[Project]:
        """Those one is in; `archived`: instead of them, the archived ones that one manages."""
        return self._rows(Project, "/projects", {"archived": str(archived).lower()})

    def project(self, slug: str) -> Project:
        return read(Project, self._json("GET", _at(slug)))

    def new_project(self, name: str, **settings: str | float | list[str]) -> Project:
        """`settings`: guidelines, overlap, kind (pairs, ranking, single), asks_strength, offers_both_good,
        asks_acceptability, aspects, reason_tags, asks_reason, offers_edit."""
        return read(Project, self._json("POST", "/projects", body={"name": name, **settings}, key=_new_key()))

    def change_project(self, slug: str, **settings: str | float | list[str]) -> Project:
        return read(Project, self._json("PATCH", _at(slug), body=settings))

    def archive(self, slug: str) -> Project:
        """End the project's work; nothing of it is lost. One that is archived stays so."""
        return read(Project, self._json("POST", f"{_at(slug)}/archive"))

    def reopen(self, slug: str) -> Project:
        """Take an archived project up again where it was left."""
        return read(Project, self._json("POST", f"{_at(slug)}/reopen"))

    # The queue

    def lease(self, slug: str) -> Pair | None:
        """The pair you hold, or the next one; None if there is nothing for you now, and `why` says why."""
        found = self._json("POST", f"{_at(slug)}/queue/lease")
        self.why = found["why"] or ""
        return read(Pair, found["pair"]) if found["pair"] else None

    def extend(self, slug: str, pair: Pair) -> None:
        """Keep it for another five minutes. Raises ApiError `lease_lost` if somebody else has it."""
        self._json("POST", f"{_at(slug)}/queue/extend", body={"ticket": pair.ticket})

    def release(self, slug: str) -> None:
        """Give back what you hold."""
        self._send("POST", f"{_at(slug)}/queue/release", again=True)

    def submit(
        self,
        slug: str,
        pair: Pair,
        choice: str = "",
        *,
        ranks: Mapping[str, int] | None = None,
        reason: str = "",
        tags: Sequence[str] = (),
        acceptable: Mapping[str, bool] | None = None,
        aspects: Mapping[str, str] | None = None,
        edits: Mapping[str, str] | None = None,
        active_seconds: float = 0.0,
    ) -> Vote:
        """Vote: `a3` is A much better, `b1` B slightly, `tie`, `both_bad`; `ranks` puts three answers or more in order
        (`{"A": 2, "B": 1, "C": 2}`). The rest is what the project asks beside the vote, by side; an aspect is A, B or
        tie. A vote that comes late, when others have taken the pair, is kept; its `counts` is false until one of them
        lets go. Raises AlreadyJudgedError for a pair with another vote of yours, which stands."""
        body = {
            "ticket": pair.ticket,
            "choice": choice,
            "ranks": dict(ranks or {}),
            "reason": reason,
            "tags": list(tags),
            "acceptable": dict(acceptable or {}),
            "aspects": dict(aspects or {}),
            "edits": dict(edits or {}),
            "active_seconds": active_seconds,
        }
        return read(Vote, self._json("POST", f"{_at(slug)}/queue/submit", body=body, key=_new_key()))

    def skip(self, slug: str, pair: Pair, reason: str) -> None:
        """Pass it on for good. Raises AlreadyJudgedError for a pair with a vote of yours."""
        body = {"ticket": pair.ticket, "reason": reason}
        self._json("POST", f"{_at(slug)}/queue/skip", body=body, key=_new_key())

    def undo(self, slug: str) -> Pair:
        """Take the last vote or skip back. Sent once: sent twice it would undo two."""
        return read(Pair, self._send("POST", f"{_at(slug)}/queue/undo", again=False).json())

    # Votes and what follows from them

    def own_judgments(self, slug: str) -> Iterator[OwnJudgment]:
        return self._rows(OwnJudgment, f"{_at(slug)}/judgments/mine")

    def judgments(self, slug: str, *, annotator: str = "", withdrawn: bool = False) -> Iterator[Judgment]:
        """Everybody's votes. For managers, like all that follows."""
        which = {"annotator": annotator, "withdrawn": str(withdrawn).lower()}
        return self._rows(Judgment, f"{_at(slug)}/judgments", which)

    def comparisons(self, slug: str) -> Iterator[Comparison]:
        return self._rows(Comparison, f"{_at(slug)}/comparisons")

    def preferences(self, slug: str) -> Iterator[Preference]:
        return self._rows(Preference, f"{_at(slug)}/preferences")

    def quality(self, slug: str) -> Quality:
        """How far people agree and what their votes follow. Asking has it computed again if votes have come."""
        return read(Quality, self._json("GET", f"{_at(slug)}/quality"))

    def export(
        self, slug: str, *, shape: str = "preference", votes: str = "raw", **more: str | float | Sequence[str]
    ) -> Iterator[dict[str, Any]]:
        """Rows of what was judged, read as they come: see the API's description for shapes, votes and filters, such as
        `annotators=["ann", "ben"]`. A filter that does not exist is an ApiError. For another kind of file than JSON
        Lines see `export_file`."""
        if "file" in more:
            raise ValueError("export reads rows from JSON Lines; export_file keeps other kinds of file.")
        query = {"shape": shape, "votes": votes, **more}
        with self._send("GET", f"{_at(slug)}/export", query=query, stream=True, again=True) as response:
            for line in response.iter_lines():
                yield json.loads(line)

    def export_file(
        self,
        slug: str,
        path: Path | str,
        *,
        file: str,
        shape: str = "preference",
        **more: str | float | Sequence[str],
    ) -> Path:
        """Keep what was judged at this path, as `jsonl`, `csv` or `parquet`; shapes and filters as for `export`.

        What was there is replaced once the whole file is here."""
        query = {"shape": shape, **more, "file": file}
        whole = Path(path)
        part = whole.with_name(f"{whole.name}.part")
        with (
            self._send("GET", f"{_at(slug)}/export", query=query, stream=True, again=True) as response,
            part.open("wb") as kept,
        ):
            for piece in response.iter_content(PIECE):
                kept.write(piece)
        return part.replace(whole)

    # Import

    def import_file(self, slug: str, path: Path | str, *, judged_by: str = "", author_label: str = "") -> Import:
        """Bring a file in, of JSON Lines, a JSON list, CSV or Parquet, and wait until it is."""
        return self._import(slug, Path(path).read_bytes(), Path(path).name, judged_by, author_label)

    def import_rows(
        self, slug: str, rows: Iterable[Mapping[str, Any]], *, judged_by: str = "", author_label: str = ""
    ) -> Import:
        """Bring rows in, of `prompt` with `chosen` and `rejected` or with `responses`, and wait until they are."""
        body = "".join(json.dumps(row) + "\n" for row in rows).encode()
        return self._import(slug, body, "", judged_by, author_label)

    def imports(self, slug: str) -> Iterator[Import]:
        return self._rows(Import, f"{_at(slug)}/imports")

    def _import(self, slug: str, body: bytes, file_name: str, judged_by: str, author_label: str) -> Import:
        query = {"file_name": file_name, "judged_by": judged_by, "author_label": author_label}
        # Sent again it adds nothing twice: what is there already is counted as a duplicate.
        answer = self._send("POST", f"{_at(slug)}/imports", query=query, data=body, content=JSON_LINES, again=True)
        report = read(Import, answer.json())
        while report.finished_at is None:
            time.sleep(1.0)
            report = read(Import, self._json("GET", f"{_at(slug)}/imports/{report.id}"))
        return report

    # Requests

    def _rows(self, kind: type[Row], path: str, query: Mapping[str, str] | None = None) -> Iterator[Row]:
        """All rows of a list, a page at a time."""
        cursor = ""
        while True:
            page = self._send("GET", path, query={**(query or {}), "cursor": cursor}, again=True).json()
            for item in page["items"]:
                yield read(kind, item)
            if not page["next_cursor"]:
                return
            cursor = page["next_cursor"]

    def _json(self, method: str, path: str, *, body: Mapping[str, Any] | None = None, key: str = "") -> Any:
        """A request that may be sent again."""
        data = None if body is None else json.dumps(body).encode()
        return self._send(method, path, data=data, key=key, again=True).json()

    def _send(
        self,
        method: str,
        path: str,
        *,
        again: bool,
        query: Mapping[str, str | float | Sequence[str]] | None = None,
        data: bytes | None = None,
        content: str = "application/json",
        key: str = "",
        stream: bool = False,
    ) -> requests.Response:
        """One request, sent up to `tries` times if `again`. Raises ApiError and NoAnswerError."""
        headers = {"Content-Type": content} | ({"Idempotency-Key": key} if key else {})
        tries = self.tries if again else 1
        for number in range(1, tries + 1):
            wait = 0.5 * 2 ** (number - 1)
            try:
                answer = self.session.request(
                    method,
                    self.root + path,
                    params=query,
                    data=data,
                    headers=headers,
                    timeout=self.timeout,
                    stream=stream,
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                if number == tries:
                    raise NoAnswerError(f"{method} {self.root + path}: {error}") from error
            else:
                if answer.status_code < 300:
                    return answer
                if number == tries or answer.status_code not in (TOO_MANY, *OVERLOADED):
                    raise _error(answer)
                wait = float(answer.headers.get("Retry-After", wait))
            time.sleep(min(wait, LONGEST_WAIT))
        raise AssertionError("tries is at least 1")


def _error(answer: requests.Response) -> ApiError:
    try:
        error = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        error = {}
    told = error if isinstance(error, dict) else {}
    kind = AlreadyJudgedError if told.get("code") == "already_judged" else ApiError
    return kind(answer.status_code, told)


def _at(slug: str) -> str:
    """A project's address. Raises ValueError without a slug, which would be the address of all projects."""
    if not slug:
        raise ValueError("Which project? Its slug, the last part of its address, is empty.")
    return f"/projects/{quote(slug, safe='')}"


def _new_key() -> str:
    return str(uuid.uuid4())
