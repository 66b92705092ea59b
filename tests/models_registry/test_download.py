"""The download of a version: whole, in pieces, conditional, and not for strangers."""

import base64
import hashlib
import io
import tarfile
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Permission
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.http import StreamingHttpResponse
from django.test import Client

from annotation.models import User
from models_registry.models import Artifact
from tests.models_registry.conftest import Register

pytestmark = pytest.mark.django_db


@pytest.fixture
def artifact(register: Register) -> Artifact:
    return register().artifacts.get(format="merged")


@pytest.fixture
def url(artifact: Artifact) -> str:
    return artifact.get_absolute_url()


@pytest.fixture
def whole(client: Client, admin: User, url: str) -> bytes:
    client.force_login(admin)
    return b"".join(client.get(url))


def test_it_works(client: Client, admin: User, artifact: Artifact, url: str) -> None:
    client.force_login(admin)
    response = client.get(url)
    assert response.status_code == 200
    assert isinstance(response, StreamingHttpResponse)
    content = b"".join(response)
    digest = hashlib.sha256(content)
    assert digest.hexdigest() == artifact.sha256
    assert response["Repr-Digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
    assert response["ETag"] == f'"{artifact.sha256}"'
    assert response["Content-Length"] == str(len(content))
    assert response["Accept-Ranges"] == "bytes"
    assert response["Content-Disposition"] == 'attachment; filename="concise-answers-dpo-v1-merged.tar"'
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        names = tar.getnames()
    assert names == [f"concise-answers-dpo-v1-merged/{row['path']}" for row in artifact.files]


def test_a_download_in_pieces_equals_the_whole(client: Client, url: str, whole: bytes) -> None:
    found, tag = b"", ""
    while len(found) < len(whole):
        stop = min(len(found) + 700, len(whole)) - 1
        response = client.get(url, headers={"Range": f"bytes={len(found)}-{stop}"} | ({"If-Range": tag} if tag else {}))
        assert response.status_code == 206
        assert response["Content-Range"] == f"bytes {len(found)}-{stop}/{len(whole)}"
        piece = b"".join(response)
        assert response["Content-Length"] == str(len(piece))
        found, tag = found + piece, response["ETag"]
    assert found == whole


def test_an_interrupted_download_goes_on_where_it_stopped(client: Client, url: str, whole: bytes) -> None:
    pieces: Iterator[bytes] = iter(client.get(url))
    first = next(pieces)
    assert 0 < len(first) < len(whole)
    rest = client.get(url, headers={"Range": f"bytes={len(first)}-"})
    assert first + b"".join(rest) == whole


def test_the_last_bytes_can_be_asked_for(client: Client, url: str, whole: bytes) -> None:
    response = client.get(url, headers={"Range": "bytes=-1500"})
    assert (response.status_code, b"".join(response)) == (206, whole[-1500:])


def test_a_range_behind_the_end_is_416(client: Client, url: str, whole: bytes) -> None:
    response = client.get(url, headers={"Range": f"bytes={len(whole)}-"})
    assert response.status_code == 416
    assert response["Content-Range"] == f"bytes */{len(whole)}"


@pytest.mark.parametrize("condition", ['"another"', 'W/"weak"', "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_resume_of_something_else_gets_the_whole(client: Client, url: str, whole: bytes, condition: str) -> None:
    response = client.get(url, headers={"Range": "bytes=10-", "If-Range": condition})
    assert (response.status_code, b"".join(response)) == (200, whole)


def test_a_resume_by_date_is_honoured(client: Client, url: str, whole: bytes) -> None:
    date = client.head(url)["Last-Modified"]
    response = client.get(url, headers={"Range": "bytes=10-", "If-Range": date})
    assert (response.status_code, b"".join(response)) == (206, whole[10:])


def test_head_has_the_headers_and_no_body(client: Client, url: str, whole: bytes) -> None:
    response = client.head(url)
    assert (response.status_code, response.content) == (200, b"")
    assert response["Content-Length"] == str(len(whole))
    assert response["ETag"] == f'"{hashlib.sha256(whole).hexdigest()}"'


def test_what_one_already_has_is_304(client: Client, url: str, whole: bytes) -> None:
    response = client.get(url, headers={"If-None-Match": f'"{hashlib.sha256(whole).hexdigest()}"'})
    assert (response.status_code, response.content) == (304, b"")


def test_a_stranger_gets_404(client: Client, stranger: User, url: str) -> None:
    client.force_login(stranger)
    assert client.get(url).status_code == 404
    assert client.head(url).status_code == 404
    assert client.get(url, headers={"Range": "bytes=0-9"}).status_code == 404


def test_nobody_is_sent_to_sign_in(client: Client, url: str) -> None:
    response = client.get(url)
    assert response.status_code == 302
    assert url in response["Location"]


def test_the_permission_opens_it_to_somebody_who_is_no_admin(client: Client, stranger: User, url: str) -> None:
    stranger.user_permissions.add(Permission.objects.get(codename="view_version"))
    client.force_login(stranger)
    assert client.get(url).status_code == 200


def test_a_file_that_is_gone_is_said_before_anything_is_sent(
    client: Client, admin: User, artifact: Artifact, url: str
) -> None:
    client.force_login(admin)
    gone = f"{artifact.storage_key}/model.safetensors"
    storages["artifacts"].delete(gone)
    for response in (client.get(url), client.head(url), client.get(url, headers={"Range": "bytes=0-9"})):
        assert response.status_code == 404
    assert "model.safetensors is missing from the storage" in client.get(url).content.decode()
    storages["artifacts"].save(gone, ContentFile(b"cut off"))
    assert client.get(url).status_code == 404


def test_there_is_nothing_to_post(client: Client, admin: User, url: str) -> None:
    client.force_login(admin)
    assert client.post(url).status_code == 405


@pytest.mark.parametrize("wrong", ["full", "config", "none"])
def test_a_form_that_is_not_there_is_404(client: Client, admin: User, url: str, wrong: str) -> None:
    client.force_login(admin)
    assert client.get(url.replace("merged", wrong)).status_code == 404
