"""Uploading in the browser, and the report that follows."""

import json
from collections.abc import Callable

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from annotation import forms
from annotation.importing.landing import import_rows
from annotation.models import Comparison, ImportReport, Judgment, Project, User
from tests.annotation.test_importing import PAIR, lines_of

SignIn = Callable[[User], Client]


def upload(client: Client, project: Project, content: bytes, name: str = "pairs.jsonl", **more: str) -> object:
    file = SimpleUploadedFile(name, content)
    return client.post(reverse("import", args=[project.slug]), {"file": file, **more}, follow=True)


def test_an_upload_lands_and_leads_to_its_report(project: Project, signed_in: SignIn, manager: User) -> None:
    answer = upload(signed_in(manager), project, lines_of(PAIR, b"nope").getvalue())

    report = ImportReport.objects.get()
    assert answer.redirect_chain == [(report.get_absolute_url(), 302)]
    assert (report.created_by, report.file_name, report.comparisons_added) == (manager, "pairs.jsonl", 1)
    html = answer.content.decode()
    assert "1 of 2 rows could not be taken" in html
    assert "The line is not JSON" in html


def test_an_upload_may_bring_its_votes(project: Project, signed_in: SignIn, manager: User) -> None:
    answer = upload(signed_in(manager), project, lines_of(PAIR).getvalue(), judged_by="set-1", author_label="lm")
    assert Judgment.objects.get().annotator.username == "set-1"
    assert "Votes by set-1" in answer.content.decode()


@pytest.mark.parametrize(("content", "more"), [(b"", {}), (b"{}", {"judged_by": "ann"})], ids=["empty", "a person"])
def test_a_bad_form_imports_nothing(
    project: Project, signed_in: SignIn, manager: User, content: bytes, more: dict[str, str]
) -> None:
    answer = upload(signed_in(manager), project, content, **more)
    assert "errorlist" in answer.content.decode()
    assert not ImportReport.objects.exists()


def test_a_file_that_is_too_large_is_sent_to_the_command_line(
    project: Project, signed_in: SignIn, manager: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "LARGEST_UPLOAD", 10)
    answer = upload(signed_in(manager), project, lines_of(PAIR).getvalue())
    assert "manage.py import_comparisons" in answer.content.decode()
    assert not Comparison.objects.exists()


def test_a_hostile_file_name_and_reason_are_text(project: Project, signed_in: SignIn, manager: User) -> None:
    client = signed_in(manager)
    html = upload(client, project, b"nope", name="<img src=x onerror=alert(1)>.jsonl").content.decode()
    assert "<img" not in html
    assert "&lt;img" in html
    # No reason quotes its row so far, so here is one that does.
    report = ImportReport.objects.get()
    report.errors = [{"line": 1, "reason": "<script>alert(1)</script>"}]
    report.save()
    html = client.get(report.get_absolute_url()).content.decode()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html


def test_the_bad_rows_can_be_downloaded(project: Project, signed_in: SignIn, manager: User) -> None:
    report = import_rows(project=project, file=lines_of(b"nope", PAIR, {**PAIR, "chosen": 1}))
    answer = signed_in(manager).get(reverse("import-errors", args=[project.slug, report.pk]))
    assert (
        answer.headers["Content-Disposition"] == f'attachment; filename="everyday-help-import-{report.pk}-errors.jsonl"'
    )
    assert [json.loads(line)["line"] for line in answer.content.splitlines()] == [1, 3]


@pytest.mark.parametrize("name", ["import-report", "import-errors"])
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


def test_an_upload_by_others_than_managers_lands_nowhere(
    project: Project, signed_in: SignIn, ann: User, stranger: User
) -> None:
    for person in (ann, stranger):
        assert upload(signed_in(person), project, lines_of(PAIR).getvalue()).status_code == 404
    assert not ImportReport.objects.exists()
