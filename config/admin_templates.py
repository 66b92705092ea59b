"""The admin's theme under a strict Content-Security-Policy, and by keyboard and ear, without a copy of its templates.

Three things in them would need `unsafe-inline`: `<style>` elements, which get the request's nonce; one style attribute
written as text by a script, which becomes an object that sets the property itself; and the styles that htmx adds, which
it is told to leave out. And what it draws for the eye and the mouse alone gets landmarks, names and keys. Templates are
rewritten as they are loaded, so nothing that a page shows can smuggle in a `<style>` of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import unfold.fields
from django.template import Origin
from django.template.loaders.app_directories import Loader as AppLoader
from django.utils.html import format_html
from django.utils.safestring import SafeString


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
SIDEBAR_ICONS = ("dock_to_right", "        close")  # what would be read out as words beside the name
SKIP = '{% load i18n %}<a class="skip-link" href="#content">{% trans "Skip to the content" %}</a>'
ALERT = 'role="alert" tabindex="-1" autofocus'
HELP_ID = '{% firstof field.auto_id field.field.auto_id as id %}{% if id %}id="{{ id }}_helptext"{% endif %}'
INTO_MENU = "openUserLinks && $nextTick(() => $el.previousElementSibling.querySelector('[role=button], a').focus())"
OUT_OF_MENU = "openUserLinks = false; $el.nextElementSibling.focus()"

MORE = "{% load i18n %}{% trans 'More actions' %}"
RELATED, RELATED_BUTTON = "openRelatedWidgetWrapper", "$refs['relatedWidgetWrapper{{ name }}']"
RELATED_NAME = f'aria-label="{MORE}: {{{{ model }}}}"'
OPENS_RELATED = (
    f'x-bind:aria-expanded="{RELATED}" x-on:click="{RELATED} = !{RELATED};'
    f""" {RELATED} && $nextTick(() => $refs.menu.querySelector('a[href]')?.focus())\""""
)
# The menu lies at the end of the page: Tab past its ends goes on from its button.
OUT_OF_RELATED = (
    f'x-on:keydown.escape="{RELATED} = false; {RELATED_BUTTON}.focus()"'
    """ x-on:keydown.tab="const links = $el.querySelectorAll('a[href]');"""
    " if ($event.target === links[$event.shiftKey ? 0 : links.length - 1])"
    f' {{ {RELATED} = false; {RELATED_BUTTON}.focus(); $event.shiftKey && $event.preventDefault() }}"'
)
OPENS_ACTIONS = (
    "role='button' x-bind:aria-expanded='showActions' x-on:keydown.space.prevent='$el.click()'"
    " x-on:click.prevent='showActions = !showActions'"
)
OUT_OF_ACTIONS = "showActions = false; $el.querySelector('[role=button]').focus()"
INTO_FILTERS = "$nextTick(() => document.getElementById('changelist-filter-close').focus())"
OUT_OF_FILTERS = "filterOpen = false; document.getElementById('filters').focus()"
LEFT = "$event.relatedTarget && !$el.contains($event.relatedTarget)"
OF_A_LIST = "{{ cl.opts.verbose_name_plural|capfirst }}"
TITLE = f"{{% if cl %}}{OF_A_LIST}{{% else %}}{{{{ title }}}}{{% endif %}}"
UNSEEN = '<span class="unseen">{% load i18n %}{% trans "Remove" %}</span>'


def _named_scroll(name: str) -> str:
    """A region that scrolls has the focus, and says its name then."""
    return f'data-simplebar data-simplebar-aria-label="{name}"'


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
    *((f"{icon}\n", f'<span aria-hidden="true">{icon}</span>\n') for icon in SIDEBAR_ICONS),
    (
        'x-on:click="openUserLinks = !openUserLinks"',
        f'x-on:click="openUserLinks = !openUserLinks; {INTO_MENU}" {BUTTON}',
    ),
    _add(
        'x-bind:aria-expanded="openUserLinks"',
        '<div class="cursor-pointer flex flex-row gap-3 items-center min-h-[64px]',
    ),
    (
        'x-cloak x-show="openUserLinks"',
        f'role="group" aria-label="{{{{ user }}}}" x-on:keydown.escape="{OUT_OF_MENU}" x-cloak x-show="openUserLinks"',
    ),
    _add(BUTTON, '<a class="cursor-pointer flex flex-row grow'),
    (f'x-on:click="{RELATED} = !{RELATED}"', f"{BUTTON} {RELATED_NAME} {OPENS_RELATED}"),
    (f'x-on:keydown.escape="{RELATED} = false"', f'x-ref="menu" role="group" {RELATED_NAME} {OUT_OF_RELATED}'),
    _add(f'id="filters" {BUTTON} x-bind:aria-expanded="filterOpen"', '<a class="{% if cl.has_active_filters %}'),
    ('x-on:click="filterOpen = true"', f'x-on:click="filterOpen = true; {INTO_FILTERS}"'),
    (
        'x-on:keydown.escape.window="filterOpen = false"',
        f'x-on:keydown.escape.window="if (filterOpen) {{ {OUT_OF_FILTERS} }}"',
    ),
    _add(f'x-on:focusout="if ({LEFT}) filterOpen = false"', '<div id="changelist-filter" class="backdrop-blur-xs'),
    _add(f"""{BUTTON} aria-label="{{% trans 'Close' %}}\"""", '<div id="changelist-filter-close"'),
    ('x-on:click="filterOpen = false"></div>', f'x-on:click="{OUT_OF_FILTERS}"></div>'),
    (
        """extra_attrs="x-on:click='showActions = !showActions'" %}""",
        f"""extra_attrs="{OPENS_ACTIONS}" %}}<span class="unseen">{MORE}</span>""",
    ),
    (
        'x-on:click.outside="showActions = false"',
        f'x-on:click.outside="showActions = false" x-on:keydown.escape="{OUT_OF_ACTIONS}"',
    ),
    # A row of a table in a form is taken away by its checkbox, or by a button where it is new.
    (
        '{% else %}div{% endif %} class="cursor-pointer flex h-[38px] w-[38px]',
        f'{{% else %}}div {BUTTON}{{% endif %}} class="cursor-pointer relative flex h-[38px] w-[38px]',
    ),
    (
        """{% if inline_admin_form.original %}
        <div class="hidden">
            {{ inline_admin_form.deletion_field""",
        f"""{UNSEEN}{{% if inline_admin_form.original %}}
        <div class="unseen">
            {{{{ inline_admin_form.deletion_field""",
    ),
    (
        'whitespace-nowrap lg:w-px dark:text-font-important-dark">',
        f'relative whitespace-nowrap lg:w-px dark:text-font-important-dark">{UNSEEN}',
    ),
    # What scrolls.
    (
        'class="h-0 grow overflow-auto" data-simplebar',
        'class="h-0 grow overflow-auto" ' + _named_scroll("{% load i18n %}{% trans 'All tables' %}"),
    ),
    (
        'simplebar-horizontal-scrollbar-top{% endif %}" data-simplebar',
        'simplebar-horizontal-scrollbar-top{% endif %}" ' + _named_scroll(OF_A_LIST),
    ),
    (
        "{% if not nested_inline %}data-simplebar",
        "{% if not nested_inline %}" + _named_scroll("{{ inline_admin_formset.opts.verbose_name_plural|capfirst }}"),
    ),
    (
        'data-simplebar data-simplebar-direction="rtl"',
        _named_scroll("{% trans 'Filters' %}") + ' data-simplebar-direction="rtl"',
    ),
    # The heading is what the page is about; the way to it is links beside it.
    ('<h1 class="overflow-hidden leading-5', '<div class="min-w-0 overflow-hidden leading-5'),
    ("{% header_title %}", '{% include "admin/heading.html" %}'),
    ("    </h1>\n</div>", "    </div>\n</div>"),
    (
        "{{ title }} | {{ site_title",
        f"{TITLE} | {{{{ site_title",
    ),
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


def repair(text: str, repairs: Iterable[tuple[str, str]] = REPAIRS) -> str:
    for old, new in repairs:
        text = text.replace(old, new)
    return text


class Loader(AppLoader):
    """Django's own, with the repairs made in the theme's files."""

    def get_contents(self, origin: Origin) -> str:
        text = super().get_contents(origin)
        if "/unfold/templates/" not in str(origin.name):
            return text
        return repair(text)


def as_text(value: Any, encoder: type[json.JSONEncoder] | None) -> SafeString:
    """JSON as it is: the theme would colour it with styles that the policy forbids, where it finds the means to."""
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False, cls=encoder))


unfold.fields.prettify_json = as_text
