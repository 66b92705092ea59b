"""What an address says that only takes forms when it is opened as a page, and what a broken request is told."""

from collections.abc import Callable

import pytest
from django.conf import LazySettings
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
