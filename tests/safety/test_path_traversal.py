"""Path traversal: no name that comes from outside leads out of its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import storages
from django.test import Client
from django.urls import reverse

from annotation.models import ImportReport, Project, User
from models_registry.archive import UnsafeNameError, check_path
from models_registry.services import RegistrationError, register_version
from tests.models_registry.conftest import make_folder  # noqa: F401  a fixture
from tests.safety.asking import client_of
from tests.safety.rules import Who
from tests.safety.world import World

OUT = [
    "../settings.py",
    "..%2fsettings.py",
    "%2e%2e/settings.py",
    "....//settings.py",
    "/etc/passwd",
    "..\\settings.py",
]


@pytest.mark.parametrize("name", OUT)
def test_static_files_stay_in_their_folder(client: Client, name: str) -> None:
    answer = client.get(f"/static/{name}")
    assert answer.status_code == 404


@pytest.mark.parametrize("name", OUT)
def test_a_download_has_no_other_name_than_its_format(own_world: World, name: str) -> None:
    where = own_world.mine.version
    answer = client_of(own_world, Who.ADMIN).get(f"/models/{where['slug']}/{where['number']}/download/{name}/")
    assert answer.status_code == 404


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a//x", ".hidden", "a/.git/x", "a\\x", "a\x00b", ""])
def test_an_archive_holds_no_such_name(name: str) -> None:
    with pytest.raises(UnsafeNameError):
        check_path(name)


def test_a_models_manifest_cannot_name_a_file_outside(make_folder: Callable[..., Path], db: None) -> None:  # noqa: F811
    folder = make_folder()
    manifest = folder / "manifest.json"
    outside = "../../secret.json"
    manifest.write_text(manifest.read_text().replace('"config.json"', f'"{outside}"'))
    (folder / "merged" / outside).write_bytes((folder / "merged" / "config.json").read_bytes())  # size and hash fit
    with pytest.raises(RegistrationError, match="not a file name that can be stored"):
        register_version(
            model_name="M",
            kind="policy",
            folder=folder,
            parent=None,
            run_id=None,
            dataset_sha256="",
            config={},
            metrics={},
        )


@pytest.mark.parametrize("key", ["../outside", "/etc/passwd", "a/../../outside"])
@pytest.mark.parametrize("storage", ["default", "artifacts"])
def test_a_storage_key_cannot_lead_out(storage: str, key: str) -> None:
    with pytest.raises(SuspiciousFileOperation):
        storages[storage].open(key)


def test_an_uploads_name_is_words_and_no_place(
    signed_in: Callable[[User], Client], project: Project, manager: User, tmp_path: Path
) -> None:
    before = set(tmp_path.parent.glob("*"))
    part = b'--X\r\nContent-Disposition: form-data; name="file"; filename="../../../evil.jsonl"\r\n\r\n'
    body = part + b'{"prompt": "Q", "chosen": "A", "rejected": "B"}\r\n--X--\r\n'
    url = reverse("import", args=[project.slug])
    answer = signed_in(manager).post(url, body, content_type="multipart/form-data; boundary=X")
    assert answer.status_code == 302
    assert ImportReport.objects.get().file_name == "evil.jsonl"
    assert set(tmp_path.parent.glob("*")) == before
