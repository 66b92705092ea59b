"""What an address says that only takes forms when it is opened as a page."""

from collections.abc import Callable

import pytest
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
