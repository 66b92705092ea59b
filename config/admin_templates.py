"""The admin's theme under a strict Content-Security-Policy, and by keyboard and ear, without a copy of its templates.

Three things in them would need `unsafe-inline`: `<style>` elements, which get the request's nonce; one style attribute
written as text by a script, which becomes an object that sets the property itself; and the styles that htmx adds, which
it is told to leave out. And what it draws for the eye and the mouse alone gets landmarks, names and keys. Templates are
rewritten as they are loaded, so nothing that a page shows can smuggle in a `<style>` of its own.
"""

from __future__ import annotations

from django.template import Origin
from django.template.loaders.app_directories import Loader as AppLoader


def _add(attributes: str, tag: str) -> tuple[str, str]:
    """The repair that gives attributes to a tag, which is named by its beginning."""
    name, _space, rest = tag.partition(" ")
    return tag, f"{name} {attributes} {rest}"


UNDER_CSP = (
    ("<style", '<style nonce="{{ request.csp_nonce }}"'),
    ("</head>", """<meta name="htmx-config" content='{"includeIndicatorStyles": false}'></head>"""),
    ("x-bind:style=\"'width: ' + changeListWidth + 'px'\"", "x-bind:style=\"{width: changeListWidth + 'px'}\""),
)

BUTTON = 'role="button" tabindex="0" x-on:keydown.enter.prevent="$el.click()" x-on:keydown.space.prevent="$el.click()"'
SIDEBAR = f"""{BUTTON} aria-label="{{% load i18n %}}{{% trans 'Sidebar' %}}" x-bind:aria-expanded="""
SKIP = '{% load i18n %}<a class="skip-link" href="#content">{% trans "Skip to the content" %}</a>'
ALERT = 'role="alert" tabindex="-1" autofocus'
HELP_ID = '{% firstof field.auto_id field.field.auto_id as id %}{% if id %}id="{{ id }}_helptext"{% endif %}'
INTO_MENU = "openUserLinks && $nextTick(() => $el.previousElementSibling.querySelector('[role=button], a').focus())"
OUT_OF_MENU = "openUserLinks = false; $el.nextElementSibling.focus()"

FOR_READERS = (
    # Landmarks, and a way past the sidebar.
    ('<div id="page" class="flex', f'{SKIP}<div id="page" class="flex'),
    _add('role="main"', '<div id="main"'),
    _add('tabindex="-1"', '<div id="content"'),
    _add("""aria-label="{% trans 'Admin' %}\"""", '<nav id="nav-sidebar-inner"'),
    # What is a picture only.
    ('class="bg-primary-600 flex h-[38px]', """aria-label="{% trans 'Home' %}" class="bg-primary-600 flex h-[38px]"""),
    _add(
        """aria-label="{% trans 'Search' %}\"""", '<button type="submit" class="flex items-center focus:outline-hidden"'
    ),
    # What answers to clicks can be reached by Tab and pressed by Enter and Space.
    _add(f'{SIDEBAR}"sidebarDesktopOpen"', '<span class="material-symbols-outlined hidden! xl:block!"'),
    _add(f'{SIDEBAR}"sidebarMobileOpen"', '<span class="material-symbols-outlined block! xl:hidden!"'),
    _add(
        f'{SIDEBAR}"sidebarMobileOpen"',
        '<span class="material-symbols-outlined block cursor-pointer h-[18px] xl:hidden!',
    ),
    (
        'x-on:click="openUserLinks = !openUserLinks"',
        f'x-on:click="openUserLinks = !openUserLinks; {INTO_MENU}" {BUTTON}',
    ),
    _add(
        'x-bind:aria-expanded="openUserLinks"',
        '<div class="cursor-pointer flex flex-row gap-3 items-center min-h-[64px]',
    ),
    _add(
        f'role="group" aria-label="{{{{ user }}}}" x-on:keydown.escape="{OUT_OF_MENU}"', '<nav class="absolute bg-white'
    ),
    _add(BUTTON, '<a class="cursor-pointer flex flex-row grow'),
    # Django ties a field to its help by this id.
    _add(HELP_ID, '<div class="leading-relaxed mt-2 text-xs"'),
    # A form that was refused says so, in the title too, and where.
    ("<title>", '<title>{% if errors %}{% trans "Error:" %} {% endif %}'),
    ('<p class="errornote', f'<div {ALERT} class="errornote'),
    (
        "{% endblocktranslate %}\n    </p>",
        '{% endblocktranslate %}{% include "forms/error_links.html" with form=adminform.form %}</div>',
    ),
)
REPAIRS = UNDER_CSP + FOR_READERS


class Loader(AppLoader):
    """Django's own, with the repairs made in the theme's files."""

    def get_contents(self, origin: Origin) -> str:
        text = super().get_contents(origin)
        if "/unfold/templates/" not in str(origin.name):
            return text
        for old, new in REPAIRS:
            text = text.replace(old, new)
        return text
