"""What an address says that only takes forms when it is opened as a page, and what a broken request is told."""

from collections.abc import Callable

import pytest
from django.conf import LazySettings
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from annotation.models import User
from annotation.services import create_project
from tests.annotation.conftest import make_user

PAGE = {"HTTP_ACCEPT": "text/html"}


@pytest.fixture
def mara(db: None) -> User:
    return make_user("mara")


def test_it_is_a_page_that_leads_back(client: Client, mara: User) -> None:
    project = create_project(name="Tone", manager=mara)
    client.force_login(mara)
    answer = client.get(reverse("new-team", args=[project.slug]), **PAGE)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert "It only takes what a form sends" in answer.content.decode()
    assert f'href="{project.get_absolute_url()}"' in answer.content.decode()


def test_it_leads_to_no_project_from_elsewhere(client: Client, mara: User) -> None:
    client.force_login(mara)
    html = client.get(reverse("sign-out"), **PAGE).content.decode()
    assert "It only takes what a form sends" in html
    assert "This project" not in html


@pytest.mark.parametrize("method", ["put", "patch"])
def test_other_methods_are_refused_without_a_word(client: Client, mara: User, method: str) -> None:
    client.force_login(mara)
    ask: Callable[..., object] = getattr(client, method)
    answer = ask(reverse("sign-out"), **PAGE)
    assert (answer.status_code, answer.content) == (405, b"")  # type: ignore[attr-defined]


def test_what_cannot_be_taken_is_told_in_the_readers_language(client: Client, settings: LazySettings) -> None:
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 1
    fields = {"username": "a", "password": "b", "next": "/"}
    answer = client.post(reverse("sign-in"), fields, headers={"accept-language": "de"})
    assert answer.status_code == 400
    assert '<html lang="de">' in answer.content.decode()
    assert "Nichts wurde gespeichert." in answer.content.decode()


def test_an_unknown_name_of_the_site_is_explained(client: Client) -> None:
    answer = client.get(reverse("home"), headers={"host": "elsewhere.example"})
    assert answer.status_code == 400
    assert "the setting ALLOWED_HOSTS" in answer.content.decode()


@pytest.fixture
def sent_by(mara: User, settings: LazySettings) -> Callable[..., HttpResponse]:
    """Mara's browser sends a body to an address, with the token of the site's forms in a header."""
    settings.DEBUG_PROPAGATE_EXCEPTIONS = False
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    client.force_login(mara)
    client.get(reverse("account"))
    token = {"x-csrftoken": client.cookies["csrftoken"].value}

    def send(path: str, kind: str, body: bytes = b"a=b") -> HttpResponse:
        return client.post(path, body, content_type=kind, headers=token)

    return send


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("path", ["/sign-in/", "/account/", "/projects/new/", "/admin/login/", "/nowhere/"])
@pytest.mark.parametrize("kind", [f"{FORM}; charset=utf-16", "multipart/form-data; boundary=x; charset=utf-7"])
def test_a_form_in_another_charset_is_not_taken(sent_by: Callable[..., HttpResponse], path: str, kind: str) -> None:
    answer = sent_by(path, kind)
    assert answer.status_code == 400
    assert "That could not be taken" in answer.content.decode()


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", "us-ascii"])
def test_a_form_is_taken_in_utf_8_by_any_name(sent_by: Callable[..., HttpResponse], mara: User, charset: str) -> None:
    boundary = b"--x\r\nContent-Disposition: form-data; name=display_name\r\n\r\nMara M.\r\n--x--\r\n"
    sent_by(reverse("account"), f"multipart/form-data; boundary=x; charset={charset}", boundary)
    mara.refresh_from_db()
    assert mara.display_name == "Mara M."


@pytest.mark.parametrize("charset", ["utf-7", "utf-16"])
def test_an_address_is_not_read_in_another_charset(client: Client, mara: User, charset: str) -> None:
    client.force_login(mara)
    client.raise_request_exception = False
    for path in (reverse("home"), "/api/v1/projects"):
        answer = client.get(f"{path}?q=%41", headers={"content-type": f"text/plain; charset={charset}"})
        assert answer.status_code == 400


@pytest.mark.parametrize(("path", "status"), [("/nowhere/", 404), ("/account/", 400)])
def test_a_form_without_boundaries_is_no_fault_of_ours(
    sent_by: Callable[..., HttpResponse], path: str, status: int
) -> None:
    assert sent_by(path, "multipart/form-data").status_code == status


def test_who_is_where_nothing_is_can_sign_out(mara: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(mara)
    lost = client.post("/nowhere/")
    token = lost.content.decode().partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
    assert (lost.status_code, len(token)) == (404, 64)
    assert client.post(reverse("sign-out"), {"csrfmiddlewaretoken": token}).status_code == 302
    assert "_auth_user_id" not in client.session


def test_a_nul_in_a_question_is_not_taken(client: Client, mara: User) -> None:
    client.force_login(mara)
    for question in ("q=%00", "%00=q", "q=a&q=a%00b"):
        answer = client.get(f"{reverse('home')}?{question}")
        assert answer.status_code == 400
        assert "That could not be taken" in answer.content.decode()
