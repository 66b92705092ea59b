"""The admin's theme under a strict Content-Security-Policy, without a copy of its templates.

Three things in them would need `unsafe-inline`: `<style>` elements, which get the request's nonce; one style attribute
written as text by a script, which becomes an object that sets the property itself; and the styles that htmx adds, which
it is told to leave out. Templates are rewritten as they are loaded, so nothing that a page shows can smuggle in a
`<style>` of its own.
"""

from __future__ import annotations

from django.template import Origin
from django.template.loaders.app_directories import Loader as AppLoader

REPAIRS = (
    ("<style", '<style nonce="{{ request.csp_nonce }}"'),
    ("</head>", """<meta name="htmx-config" content='{"includeIndicatorStyles": false}'></head>"""),
    ("x-bind:style=\"'width: ' + changeListWidth + 'px'\"", "x-bind:style=\"{width: changeListWidth + 'px'}\""),
)


class Loader(AppLoader):
    """Django's own, with the repairs made in the theme's files."""

    def get_contents(self, origin: Origin) -> str:
        text = super().get_contents(origin)
        if "/unfold/templates/" not in str(origin.name):
            return text
        for old, new in REPAIRS:
            text = text.replace(old, new)
        return text
