"""Uploading in the browser: a look at the file, the start, the page while it runs, and the report."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils.html import escape
from django.utils.timezone import now

from annotation import forms
from annotation.importing import background
from annotation.models import AuditEvent, Comparison, ImportReport, Judgment, Project, Response, User
from annotation.models.importing import LATE_AFTER, ImportState
from tests.annotation.test_import_shapes import HH, SUMMARIZE
from tests.annotation.test_importing import PAIR, lines_of
from tests.importing import import_rows
from training.models import Worker

SignIn = Callable[[User], Client]


@pytest.fixture(autouse=True)
def announced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the workers are told, instead of a broker."""
    told: list[int] = []
    monkeypatch.setattr("annotation.tasks.run_import.delay", told.append)
    return told


def upload(client: Client, project: Project, content: bytes, name: str = "pairs.jsonl") -> Any:
    file = SimpleUploadedFile(name, content)
    return client.post(reverse("import", args=[project.slug]), {"file": file}, follow=True)


def start(client: Client, report: ImportReport, **told: str) -> Any:
    url = reverse("import-start", args=[report.project.slug, report.pk])
    return client.post(url, {"shape": "preference", **told}, follow=True)


def test_a_file_is_shown_before_anything_lands(project: Project, signed_in: SignIn, manager: User) -> None:
    answer = upload(signed_in(manager), project, lines_of(HH, HH, b"nope").getvalue(), name="hh.txt")

    report = ImportReport.objects.get()
    assert answer.redirect_chain == [(report.get_absolute_url(), 302)]
    assert (report.created_by, report.file_name, report.state) == (manager, "hh.txt", "draft")
    html = answer.content.decode()
    assert "2 of the first 3 rows can be taken" in html
    assert "Why is the sky blue?" in html
    assert "1 over 2" in html
    assert "The line is not JSON" in html
    assert '<option value="hh" selected>' in html
    assert '<input type="hidden" name="shape" value="hh"' in html
    assert 'value="hh-rlhf"' in html  # the name proposed for its votes
    assert not Comparison.objects.exists()


def test_every_bad_row_among_the_first_is_named_before_anything_lands(
    project: Project, signed_in: SignIn, manager: User
) -> None:
    rows = [HH] * 9 + [b"nope"] + [HH] * 20 + [{"chosen": HH["chosen"]}] + [HH] * 40
    html = upload(signed_in(manager), project, lines_of(*rows).getvalue()).content.decode()
    assert "48 of the first 50 rows can be taken" in html
    bad = html.partition("Bad rows among the first 50")[2].partition("</section>")[0]
    assert re.findall(r'<td class="number">(\d+)</td><td>(.+?)[.:]', bad) == [
        ("10", "The line is not JSON"),
        ("31", "rejected is not a text"),
    ]
    assert "Bad rows among" not in upload(signed_in(manager), project, lines_of(HH).getvalue()).content.decode()


def test_the_rows_can_be_shown_in_another_shape(project: Project, signed_in: SignIn, manager: User) -> None:
    client = signed_in(manager)
    upload(client, project, lines_of(HH).getvalue())
    report = ImportReport.objects.get()
    html = client.get(report.get_absolute_url(), {"shape": "arena"}).content.decode()
    assert "The row has no conversation_a." in html
    assert "The row cannot be taken in this shape" in html
    assert client.get(report.get_absolute_url(), {"shape": "no such"}).status_code == 200


def test_a_confirmed_file_is_queued_once_and_lands(
    project: Project,
    signed_in: SignIn,
    manager: User,
    announced: list[int],
    django_capture_on_commit_callbacks: Any,
) -> None:
    client = signed_in(manager)
    upload(client, project, lines_of(SUMMARIZE, b"nope").getvalue())
    report = ImportReport.objects.get()
    with django_capture_on_commit_callbacks(execute=True):
        for _ in range(2):
            answer = start(client, report, shape="summarize", judged_by="set-1", author_label="lm")
    assert announced == [report.pk]
    assert 'data-state="queued"' in answer.content.decode()

    background.run(report.pk, worker="w1")
    html = client.get(report.get_absolute_url()).content.decode()
    assert "1 of 2 rows could not be taken" in html
    assert "Votes by set-1" in html
    assert Judgment.objects.get().annotator.username == "set-1.w17"
    assert set(Response.objects.values_list("author_label", flat=True)) == {"sup1", "ppo1"}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"judged_by": "ann"}, "ann is a person"),
        ({"judged_by": "a b"}, "valid username"),
        ({"shape": "no such"}, "Choose one of the shapes"),
    ],
)
def test_a_wrong_form_starts_nothing(
    project: Project, signed_in: SignIn, manager: User, announced: list[int], told: dict[str, str], words: str
) -> None:
    client = signed_in(manager)
    upload(client, project, lines_of(PAIR).getvalue())
    report = ImportReport.objects.get()
    html = start(client, report, **told).content.decode()
    report.refresh_from_db()
    assert (report.state, announced) == ("draft", [])
    assert "errorlist" in html
    assert words in html.replace("&#x27;", "'")


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "empty"), (b"words", "none of JSON Lines"), (b"PK\x03\x04", "ZIP")]
)
def test_a_file_that_cannot_be_read_is_not_kept(
    project: Project, signed_in: SignIn, manager: User, settings: LazySettings, content: bytes, words: str
) -> None:
    html = upload(signed_in(manager), project, content).content.decode()
    assert words in html
    assert not ImportReport.objects.exists()
    assert [path for path in (Path(settings.VAR) / "media").rglob("*") if path.is_file()] == []


def test_a_file_that_is_too_large_is_sent_to_the_command_line(
    project: Project, signed_in: SignIn, manager: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "LARGEST_UPLOAD", 10)
    answer = upload(signed_in(manager), project, lines_of(PAIR).getvalue())
    assert "manage.py import_comparisons" in answer.content.decode()
    assert not ImportReport.objects.exists()


@pytest.mark.parametrize("name", ["../../evil.jsonl", "/etc/passwd", "a\\..\\b", "<img src=x onerror=alert(1)>.jsonl"])
def test_a_hostile_file_name_is_shown_as_text_and_names_no_file(
    project: Project, signed_in: SignIn, manager: User, settings: LazySettings, name: str
) -> None:
    html = upload(signed_in(manager), project, lines_of(PAIR).getvalue(), name=name).content.decode()
    assert "<img" not in html
    assert escape(re.split(r"[/\\]", name)[-1]) in html
    media = Path(settings.VAR) / "media"
    (kept,) = (path for path in media.rglob("*") if path.is_file())
    assert kept.parent == media / "imports"
    assert kept.name.isalnum()


def test_a_reason_is_shown_as_text(project: Project, signed_in: SignIn, manager: User) -> None:
    # No reason quotes its row so far, so here is one that does.
    errors = [{"line": 1, "reason": "<script>alert(1)</script>"}]
    report = ImportReport.objects.create(project=project, error_count=1, errors=errors)
    html = signed_in(manager).get(report.get_absolute_url()).content.decode()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html


def test_a_file_that_is_not_wanted_is_thrown_away(
    project: Project, signed_in: SignIn, manager: User, announced: list[int]
) -> None:
    client = signed_in(manager)
    upload(client, project, lines_of(PAIR).getvalue())
    report = ImportReport.objects.get()
    path = Path(report.upload.path)
    answer = client.post(reverse("import-cancel", args=[project.slug, report.pk]))
    assert answer.headers["Location"] == reverse("import", args=[project.slug])
    assert not path.exists()
    start(client, report)
    assert announced == []


@pytest.fixture
def queued(project: Project) -> ImportReport:
    return ImportReport.objects.create(project=project, state=ImportState.QUEUED, upload="imports/x")


def heard(ago: timedelta) -> None:
    Worker.objects.update_or_create(name="w1", defaults={"queues": ["default"], "seen_at": now() - ago})


LATE = LATE_AFTER + timedelta(seconds=1)
NOW = timedelta(0)


@pytest.mark.parametrize(
    ("state", "beat", "worker", "words"),
    [
        ("queued", NOW, None, "No worker is alive. The import begins"),
        ("queued", NOW, LATE, "No worker is alive. The import begins"),
        ("queued", NOW, NOW, ""),
        ("queued", LATE, NOW, "The workers are busy"),
        ("running", NOW, NOW, ""),
        ("running", LATE, NOW, "The worker went silent"),
        ("running", LATE, LATE, "No worker is alive. The import goes on where it stopped"),
    ],
)
def test_the_page_says_within_ten_seconds_that_nobody_works(
    queued: ImportReport,
    signed_in: SignIn,
    manager: User,
    state: str,
    beat: timedelta,
    worker: timedelta | None,
    words: str,
) -> None:
    assert LATE_AFTER + timedelta(seconds=2) < timedelta(seconds=10)  # it asks every two seconds
    ImportReport.objects.filter(pk=queued.pk).update(state=state, heartbeat_at=now() - beat)
    if worker is not None:
        heard(worker)
    html = signed_in(manager).get(reverse("import-live", args=[queued.project.slug, queued.pk])).content.decode()
    assert ("notice" in html) == bool(words)
    assert words in html


def test_the_page_asks_again_until_the_import_is_over(queued: ImportReport, signed_in: SignIn, manager: User) -> None:
    client, url = signed_in(manager), reverse("import-live", args=[queued.project.slug, queued.pk])
    heard(NOW)
    ImportReport.objects.filter(pk=queued.pk).update(state="running", attempt=1, progress=0.42, rows=1234)
    html = client.get(url).content.decode()
    assert 'hx-trigger="every 2s' in html
    assert 'value="42"' in html
    ImportReport.objects.filter(pk=queued.pk).update(state="failed", error="Broken <here>.")
    html = client.get(url).content.decode()
    assert "hx-get" not in html
    assert "Broken &lt;here&gt;." in html


def test_the_bad_rows_can_be_downloaded(project: Project, signed_in: SignIn, manager: User) -> None:
    report = import_rows(project=project, file=lines_of(b"nope", PAIR, {**PAIR, "chosen": 1}))
    answer = signed_in(manager).get(reverse("import-errors", args=[project.slug, report.pk]))
    assert (
        answer.headers["Content-Disposition"] == f'attachment; filename="everyday-help-import-{report.pk}-errors.jsonl"'
    )
    assert [json.loads(line)["line"] for line in answer.content.splitlines()] == [1, 3]


@pytest.mark.parametrize("name", ["import-report", "import-errors", "import-live"])
def test_reports_are_for_the_projects_managers(
    project: Project, signed_in: SignIn, manager: User, ann: User, stranger: User, name: str
) -> None:
    report = import_rows(project=project, file=lines_of(PAIR))
    url = reverse(name, args=[project.slug, report.pk])
    other = Project.objects.create(name="Other", slug="other")
    other.memberships.create(user=manager, role="manager")
    assert signed_in(ann).get(url).status_code == 404
    assert signed_in(stranger).get(url).status_code == 404
    assert signed_in(manager).get(reverse(name, args=["other", report.pk])).status_code == 404
    assert signed_in(manager).get(url).status_code == 200
    assert signed_in(manager).post(url).status_code == 405


@pytest.mark.parametrize("name", ["import-start", "import-cancel"])
def test_imports_are_started_and_ended_by_the_projects_managers(
    queued: ImportReport, signed_in: SignIn, manager: User, ann: User, stranger: User, name: str
) -> None:
    url = reverse(name, args=[queued.project.slug, queued.pk])
    for person in (ann, stranger):
        assert signed_in(person).post(url).status_code == 404
    assert signed_in(manager).get(url).status_code == 405
    queued.refresh_from_db()
    assert queued.state == "queued"


def test_an_upload_by_others_than_managers_lands_nowhere(
    project: Project, signed_in: SignIn, ann: User, stranger: User
) -> None:
    for person in (ann, stranger):
        assert upload(signed_in(person), project, lines_of(PAIR).getvalue()).status_code == 404
    assert not ImportReport.objects.exists()


def test_answers_alone_ask_for_the_source_of_their_votes_before_they_are_read(
    project: Project, signed_in: SignIn, manager: User
) -> None:
    """Without one no row would land, unless people see one answer at a time."""
    client = signed_in(manager)
    upload(client, project, lines_of({"prompt": "Q", "completion": "A", "label": True}).getvalue())
    report = ImportReport.objects.get()
    assert "say by whom, and they are kept" in client.get(report.get_absolute_url()).content.decode()
    page = start(client, report, shape="kto").content.decode()
    assert "name the source of the votes" in page
    report.refresh_from_db()
    assert report.state == ImportState.DRAFT
    start(client, report, shape="kto", judged_by="raters")
    report.refresh_from_db()
    assert report.state != ImportState.DRAFT


def test_where_no_row_could_be_taken_no_other_is_said_to_be_in(
    project: Project, signed_in: SignIn, manager: User
) -> None:
    report = ImportReport.objects.create(project=project, state=ImportState.DONE, rows=3, error_count=3)
    page = signed_in(manager).get(report.get_absolute_url()).content.decode()
    assert "None of the 3 rows could be taken." in page
    assert "The others are in" not in page
    ImportReport.objects.update(error_count=2)
    assert "The others are in" in signed_in(manager).get(report.get_absolute_url()).content.decode()


def test_the_log_names_the_file_that_was_thrown_away(project: Project, signed_in: SignIn, manager: User) -> None:
    client = signed_in(manager)
    upload(client, project, lines_of(HH).getvalue(), name="wrong.jsonl")
    report = ImportReport.objects.get()
    client.post(reverse("import-cancel", args=[project.slug, report.pk]))
    event = AuditEvent.objects.order_by("-pk")[0]
    assert (event.action, event.what) == ("cancelled", "wrong.jsonl")
