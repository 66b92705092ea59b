"""Every address of the site, read from the URL table itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver, reverse


@dataclass(frozen=True)
class Address:
    """One pattern of the table. `key` is its full name, or its route where it has none."""

    key: str
    route: str
    parameters: tuple[str, ...]

    @property
    def in_admin(self) -> bool:
        return self.route.startswith("admin/")

    @property
    def in_api(self) -> bool:
        return self.route.startswith("api/")

    def path(self, arguments: dict[str, Any]) -> str:
        """The address with these arguments; only those that the pattern knows are used."""
        used = {name: arguments[name] for name in self.parameters}
        if self.key != self.route:
            return reverse(self.key, kwargs=used)
        # Patterns without a name are the admin's, in their plain forms: `…/<path:object_id>/` and `(?P<url>.*)$`.
        filled = self.route.replace("(?P<url>.*)$", "<url>").replace("<path:object_id>", "<object_id>")
        for name, value in used.items():
            filled = filled.replace(f"<{name}>", str(value))
        return f"/{filled}"


def every_address() -> list[Address]:
    """The whole table, in its order."""
    return list(_below(get_resolver(), "", ""))


def _below(resolver: URLResolver, namespace: str, route: str) -> Iterator[Address]:
    for found in resolver.url_patterns:
        whole = route + str(found.pattern)
        if isinstance(found, URLResolver):
            yield from _below(found, f"{namespace}{found.namespace}:" if found.namespace else namespace, whole)
        elif isinstance(found, URLPattern):
            key = f"{namespace}{found.name}" if found.name else whole
            yield Address(key, whole, _parameters(found))


def _parameters(pattern: URLPattern) -> tuple[str, ...]:
    converters = getattr(pattern.pattern, "converters", None)
    return tuple(converters or pattern.pattern.regex.groupindex)
