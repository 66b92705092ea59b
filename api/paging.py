"""Lists come in pages: so many rows, and a cursor that goes on behind the last, whatever is added meanwhile."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Generic, TypeVar

from django.db.models import Model, QuerySet
from ninja import Query, Schema
from pydantic import Field

from api.errors import invalid

MOST = 500
LARGEST_ID = 2**63 - 1

Row = TypeVar("Row", bound=Model)
Out = TypeVar("Out")


class Page(Schema, Generic[Out]):
    """`next_cursor` is null on the last page."""

    items: list[Out]
    next_cursor: str | None


class PageQuery(Schema):
    """Which page."""

    limit: int = Field(100, ge=1, le=MOST, description="Rows of one page.")
    cursor: str = Field("", max_length=200, description="`next_cursor` of the page before; empty for the first page.")


Paging = Annotated[PageQuery, Query()]


def page_of(rows: QuerySet[Row], asked: PageQuery, to_outs: Callable[[list[Row]], list[Out]]) -> Page[Out]:
    """Rows in the order of their ids, from the cursor on. Raises Problem 422 for a cursor that is none of this list."""
    kind = rows.model.__name__
    found = list(rows.order_by("pk").filter(pk__gt=_read(asked.cursor, kind))[: asked.limit + 1])
    shown = found[: asked.limit]
    more = len(found) > asked.limit
    return Page(items=to_outs(shown), next_cursor=_write(kind, shown[-1].pk) if more else None)


def _write(kind: str, pk: int) -> str:
    return base64.urlsafe_b64encode(f"{kind}:{pk}".encode()).decode()


def _read(cursor: str, kind: str) -> int:
    if not cursor:
        return 0
    try:
        named, _, pk = base64.b64decode(cursor, altchars=b"-_", validate=True).decode("ascii").partition(":")
    except (binascii.Error, ValueError):
        named, pk = "", ""
    if named != kind or not pk.isdecimal() or not 0 < int(pk[:20]) <= LARGEST_ID:
        raise invalid("cursor", "This is not the cursor of a page of this list.")
    return int(pk)
