"""XSS: whatever models, imports, managers and annotators wrote, no page gets a tag, a handler or a script from it."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from django.utils.timezone import now

from annotation.models import Batch, Gold, ImportReport, Judgment, Project, Prompt, Response, Skip, Team, User
from annotation.rendering import render
from api.models import Delivery, Token, Webhook
from models_registry.cards import render_card
from models_registry.models import Model, Version
from tests.safety.asking import ask, client_of, pages_for, text_of
from tests.safety.rules import Who
from tests.safety.sources import ROOT, callers_of, importers_of
from tests.safety.world import World
from training.models import Run, RunEvent, Schedule

MARK = "planted-by-a-writer"
EVIL = (
    f'"><script>/*{MARK}*/alert(1)</script><img src=x onerror="{MARK}"><svg onload={MARK}>'
    f"<a href=\"javascript:{MARK}\">x</a>'-{MARK}-'{{{{ {MARK} }}}}</textarea></title><b class={MARK}>"
)
SHORT = f'"><img src=x onerror={MARK}>'
ALLOWED_INLINE_TYPES = {"application/json"}
HTML = "text/html"


class Complaints(HTMLParser):
    """What stands in a page that only an attack, or a mistake, puts there."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        where = f"<{tag} {given}>"
        if tag == "script" and "src" not in given and given.get("type") not in ALLOWED_INLINE_TYPES:
            self.found.append(f"an inline script: {where}")
        if any(name.startswith("on") for name in given):
            self.found.append(f"a handler: {where}")
        if given.get("href", given.get("action", "")).strip().lower().startswith(("javascript:", "data:", "vbscript:")):
            self.found.append(f"a script for an address: {where}")
        if MARK in given.get("class", ""):
            self.found.append(f"a tag that somebody wrote: {where}")


class Parts(HTMLParser):
    """The names of the tags and attributes of a page; what is shown as text is neither."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag, *(name for name, _ in attrs)}


def parts_of(html: str) -> set[str]:
    reader = Parts()
    reader.feed(html)
    return reader.found


def complaints_about(html: str) -> list[str]:
    reader = Complaints()
    reader.feed(html)
    return reader.found


def plant(world: World) -> None:
    """The attack in every field that somebody else's text ends up in."""
    Project.objects.update(name=SHORT, guidelines=EVIL)
    User.objects.update(display_name=SHORT)
    Prompt.objects.update(messages=[{"role": "user", "content": EVIL}, {"role": SHORT, "content": EVIL}])
    Response.objects.update(text=EVIL, author_label=SHORT)
    Judgment.objects.update(reason=EVIL)
    Skip.objects.update(reason=EVIL)
    ImportReport.objects.update(file_name=SHORT, errors=[{"line": 1, "reason": EVIL}], error_count=1)
    for model in Model.objects.all():
        Model.objects.filter(pk=model.pk).update(name=f"{SHORT}{model.pk}", description=EVIL)
    Version.objects.update(card=EVIL, notice=SHORT, source=SHORT, config={SHORT: EVIL}, metrics={SHORT: 1.0})
    Run.objects.update(
        model_name=SHORT, log_tail=EVIL, worker=SHORT, device=SHORT, config={SHORT: EVIL}, metrics={SHORT: 1}
    )
    Schedule.objects.update(decision=EVIL)
    Gold.objects.update(explanation=EVIL)
    for named in (Team, Batch, Token):
        named.objects.update(name=SHORT)
    Webhook.objects.update(off_why=EVIL, off_at=now(), url=f"https://hooks.example/{SHORT}")
    Delivery.objects.update(error=EVIL[:300], body={"data": EVIL})
    sample = {"prompt": [{"role": "user", "content": EVIL}], "text": EVIL, "title": EVIL, "index": 0}
    RunEvent.objects.create(
        run=Run.objects.earliest("id"),
        seq=1,
        kind="sample",
        step=1,
        data=sample,
        at=Run.objects.earliest("id").created_at,
    )


@pytest.mark.parametrize("who", [Who.ANNOTATOR, Who.MANAGER, Who.ADMIN])
def test_no_page_gives_a_tag_to_what_people_and_models_wrote(world: World, who: Who) -> None:
    plant(world)
    client, found, read, told = client_of(world, who), {}, 0, 0
    for address, path in pages_for(world, who):
        response = ask(client, "GET", path)
        if not response.headers.get("Content-Type", "").startswith(HTML):
            continue
        read += 1
        html = text_of(response)
        told += MARK in html
        if wrong := complaints_about(html):
            found[address.key] = wrong
    assert found == {}
    assert read > 5
    assert told > 3, "the planted text is on no page: this test looks at nothing"


def test_the_complaints_would_be_seen() -> None:
    assert parts_of('<p style="x">a<img src="y"></p>') == {"p", "style", "img", "src"}
    assert len(complaints_about(EVIL)) == 5
    assert complaints_about('<script src="/static/a.js"></script><a href="/x">y</a>') == []


def test_what_is_sent_as_data_is_not_read_as_a_page(world: World) -> None:
    """Logs, errors and exports hold the text as it is: their type says so, and browsers may not guess another."""
    plant(world)
    client, read = client_of(world, Who.MANAGER), 0
    for _, path in pages_for(world, Who.MANAGER):
        response = ask(client, "GET", path)
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        if not response.headers.get("Content-Type", "").startswith(HTML):
            read += 1
            assert (
                "charset=utf-8" in response.headers["Content-Type"]
                or "json" in response.headers["Content-Type"]
                or ("attachment" in response.headers["Content-Disposition"])
            )
    assert read >= 3


@pytest.mark.parametrize("reader", [render, render_card])
@pytest.mark.parametrize(
    "attack",
    [
        EVIL,
        "[x](javascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](//evil.example/)",
        "![x](https://evil.example/pixel.png)",
        '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">',
        "```html\n</code></pre><script>alert(1)</script>\n```",
        "<style>*{display:none}</style>",
        '<a href="https://ok.example" style="position:fixed;inset:0">x</a>',
        "<form action=https://evil.example><input name=password></form>",
    ],
)
def test_both_readers_of_rich_text_end_in_the_one_sanitiser(reader: type, attack: str) -> None:
    html = str(reader(attack))
    assert complaints_about(html) == []
    assert parts_of(html) & {"script", "style", "img", "form", "input", "iframe"} == set()


def test_there_is_one_sanitiser() -> None:
    assert importers_of("nh3") == {"models_registry/sanitising.py"}
    assert callers_of("mark_safe") == {"models_registry/sanitising.py"}
    assert callers_of("SafeString", "SafeText") == set()


def test_no_template_trusts_a_text() -> None:
    templates = [*ROOT.glob("templates/**/*.html"), *ROOT.glob("*/templates/**/*.html")]
    trusting = [
        str(file.relative_to(ROOT))
        for file in templates
        if any(word in file.read_text() for word in ("|safe", "autoescape off", "safeseq"))
    ]
    assert len(templates) > 20
    assert trusting == []
