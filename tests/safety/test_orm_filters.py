"""ORM filter leaks: no query string reads, letter by letter, what its writer may not see."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib import admin
from django.db.models import Model
from django.urls import reverse

from annotation.models import User
from tests.safety.asking import API, ask, client_of, pages_for, text_of
from tests.safety.rules import Who
from tests.safety.sources import ROOT, product_files
from tests.safety.world import World

SECRET_FIELDS = ("password__startswith", "email__contains")


def lookups_to_people(table: type[Model], depth: int = 1) -> Iterator[str]:
    """Paths of relations from a table to people: `annotator`, `project__memberships__user`."""
    for field in table._meta.get_fields():
        related = field.related_model
        if not isinstance(related, type) or not issubclass(related, Model):
            continue
        if related is User:
            yield field.name
        elif depth:
            yield from (f"{field.name}__{path}" for path in lookups_to_people(related, depth - 1))


@pytest.mark.parametrize("table", sorted(admin.site._registry, key=str), ids=lambda table: table._meta.label)
def test_a_list_of_the_admin_does_not_filter_by_passwords(world: World, table: type[Model]) -> None:
    client = client_of(world, Who.ADMIN)
    url = reverse(f"admin:{table._meta.app_label}_{table._meta.model_name}_changelist")
    paths = sorted(set(lookups_to_people(table)))
    asked = [f"{path}__{field}" for path in paths for field in SECRET_FIELDS]
    asked += ["password__startswith"] if table is User else []
    answered = [lookup for lookup in asked if ask(client, "GET", f"{url}?{lookup}=x").status_code == 200]
    assert answered == []


@pytest.mark.parametrize("who", [Who.ANNOTATOR, Who.MANAGER])
def test_no_page_takes_a_lookup_from_its_query(world: World, who: Who) -> None:
    """The same page with a lookup that fits nobody shows just what it shows without. The API refuses the lookup."""
    client, differs, read = client_of(world, who), [], 0
    query = "user__password__startswith=nobody&annotator__username=nobody&project__name=nobody&pk=0&id=0"
    for address, path in pages_for(world, who):
        if address.in_admin or "label" in address.key:  # leasing shuffles
            continue
        plain, asked = (ask(client, "GET", f"{path}{more}") for more in ("", f"?{query}"))
        read += 1
        if asked.status_code == 422 and path.startswith(API):
            continue
        if (plain.status_code, rows_of(text_of(plain))) != (asked.status_code, rows_of(text_of(asked))):
            differs.append(address.key)
    assert differs == []
    assert read > 4


def rows_of(html: str) -> int:
    return html.count("<tr") + html.count("<article") + html.count("<li")


def spreads_a_request(file: Path) -> bool:
    """Whether a call spreads something of a request into its keywords: `.filter(**request.GET)`."""
    spread = [
        ast.unparse(keyword.value)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg is None
    ]
    return any("request." in words for words in spread)


def test_no_query_is_spread_into_a_filter() -> None:
    files = product_files()
    assert [str(file.relative_to(ROOT)) for file in files if spreads_a_request(file)] == []
    assert len(files) > 50
