"""Bombs: a small upload cannot become a large one, nor a deep one end a process."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from annotation.importing import background
from annotation.models import Comparison, ImportReport, Project, User
from annotation.rendering import render
from tests.safety.sources import importers_of

# Files that unpack something, and what bounds it.
MAY_UNPACK = {
    "annotation/importing/reading.py",  # stops where a file unpacks to out of all proportion
    "models_registry/archive.py",  # writes the headers of a tar, and reads none
}
UNPACKERS = ("bz2", "gzip", "lzma", "shutil.unpack_archive", "tarfile", "zipfile", "zlib", "zstandard")


def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("votes.jsonl", b'{"prompt": "Q", "chosen": "A", "rejected": "B"}\n' * 200_000)
    return packed.getvalue()


BOMBS = {
    "zip": zipped(),
    "gzip": gzip.compress(b"0" * 20_000_000),
    "nested lists": b"[" * 200_000,
    "nested objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "one long line": b'{"prompt": "' + b"x" * 5_000_000 + b'"}',
    "a huge number": b'{"prompt": ' + b"9" * 100_000 + b"}",
    "no text": bytes(range(256)) * 10,
}

# In no format that is read, or broken in the first row of a list. The others are read row by row.
REFUSED = {"zip", "gzip", "no text", "nested lists"}


@pytest.mark.parametrize("kind", BOMBS)
def test_an_upload_that_is_a_bomb_is_a_report(
    signed_in: Callable[[User], Client], project: Project, manager: User, kind: str
) -> None:
    file = SimpleUploadedFile("votes.jsonl", BOMBS[kind])
    client = signed_in(manager)
    answer = client.post(reverse("import", args=[project.slug]), {"file": file})
    if kind in REFUSED:
        assert answer.status_code == 200
        assert "errorlist" in answer.content.decode()
        assert not ImportReport.objects.exists()
        return
    report = ImportReport.objects.get()
    assert client.get(report.get_absolute_url()).status_code == 200
    ImportReport.objects.queue(report.pk)
    background.run(report.pk, worker="w1")
    report.refresh_from_db()
    assert report.error_count >= 1 or report.error
    assert not Comparison.objects.exists()
    assert len(str(report.errors)) < 200_000


def test_whoever_unpacks_is_on_the_list() -> None:
    found = {file for file in importers_of(*UNPACKERS) if not file.startswith("training/engine/")}
    assert found - MAY_UNPACK == set()


@pytest.mark.parametrize(
    "text", ["> " * 5_000 + "x", "[" * 20_000, "$" + "{" * 5_000 + "$", "*" * 50_000, "- " * 3_000 + "x", "`" * 30_000]
)
def test_a_text_that_is_a_bomb_is_rendered_all_the_same(text: str) -> None:
    assert len(render(text)) < 50 * len(text)
