"""Tokens: made and revoked on a page, shown once, good for what their scopes and their person allow."""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from annotation.models import User
from api.models import Scope, Token
from api.root import root
from api.tokens import MOST_IN_FORCE, NameInUseError, TooManyTokensError, make_token
from tests.api.conftest import ROOT, ProgramOf, error_of
from tests.at_once import at_once

SignIn = Callable[[User], Client]
FORM = {"name": "nightly import", "scopes": ["data:write", "projects:read"], "expires": "30"}


def operations() -> list[Any]:
    """(method, address) of everything the API answers, with a project's name and numbers filled in."""
    return [
        pytest.param(method, path.replace("{slug}", "everyday-help").replace("{pk}", "1"), id=f"{method} {path}")
        for path, methods in root.get_openapi_schema(path_prefix=f"{ROOT}/")["paths"].items()
        for method in methods
    ]


def test_the_page_shows_a_new_token_once_and_keeps_only_its_hash(signed_in: SignIn, ann: User) -> None:
    client = signed_in(ann)

    made = client.post(reverse("api-tokens"), FORM)

    text = made.context["made"][1]
    token = Token.objects.get()
    assert made.status_code == 200
    assert text in made.content.decode()
    assert "no-store" in made.headers["Cache-Control"]
    assert token.text_sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert text not in str(Token.objects.values().get())
    assert (token.user, token.name, token.scopes) == (ann, "nightly import", ["data:write", "projects:read"])
    assert token.expires_at is not None
    assert abs(token.expires_at - now() - timedelta(days=30)) < timedelta(minutes=1)
    again = client.get(reverse("api-tokens")).content.decode()
    assert text not in again
    assert token.hint in again


def test_the_page_refuses_strangers_other_methods_and_bad_input(client: Client, signed_in: SignIn, ann: User) -> None:
    assert client.get(reverse("api-tokens")).headers["Location"].startswith(reverse("sign-in"))
    signed_in(ann)
    assert client.put(reverse("api-tokens")).status_code == 405
    for wrong in ({"name": ""}, {"scopes": []}, {"scopes": ["everything"]}, {"expires": "5000"}):
        assert client.post(reverse("api-tokens"), FORM | wrong).status_code == 200
    assert not Token.objects.exists()


def test_a_revoked_token_is_refused_from_the_next_request_on(
    signed_in: SignIn, ann: User, program_of: ProgramOf
) -> None:
    program = program_of(ann)
    assert program.get("/me").status_code == 200
    revoke = reverse("revoke-api-token", args=[Token.objects.get().pk])
    client = signed_in(ann)
    assert client.get(revoke).status_code == 405
    assert client.post(revoke).status_code == 302
    assert error_of(program.get("/me")) == (401, "unauthorized")


def test_nobody_revokes_or_sees_another_persons_token(
    signed_in: SignIn, ann: User, ben: User, program_of: ProgramOf
) -> None:
    program = program_of(ann)
    client = signed_in(ben)
    assert client.post(reverse("revoke-api-token", args=[Token.objects.get().pk])).status_code == 404
    assert program.get("/me").status_code == 200
    assert "program 1" not in client.get(reverse("api-tokens")).content.decode()


def test_a_token_says_whose_it_is(ann: User, program_of: ProgramOf) -> None:
    answer = program_of(ann, Scope.LABEL, days=7).get("/me").json()
    assert (answer["username"], answer["token"], answer["scopes"]) == ("ann", "program 1", ["label"])
    assert answer["expires_at"] > now().isoformat()


def test_a_token_past_its_day_is_refused(ann: User, program_of: ProgramOf) -> None:
    program = program_of(ann, days=1)
    assert program.get("/me").status_code == 200
    Token.objects.update(expires_at=now())
    assert error_of(program.get("/me")) == (401, "unauthorized")


def test_the_token_of_somebody_who_may_not_sign_in_is_refused(ann: User, program_of: ProgramOf) -> None:
    program = program_of(ann)
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert error_of(program.get("/me")) == (401, "unauthorized")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer pfl_wrong", "Basic YW5uOng=", "Bearer é\udcff"])
def test_anything_but_a_token_is_refused_with_what_to_do(db: None, header: str) -> None:
    response = Client().get(f"{ROOT}/me", headers={"Authorization": header} if header else {})
    assert error_of(response) == (401, "unauthorized")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert "Authorization: Bearer TOKEN" in response.json()["error"]["todo"]


@pytest.mark.parametrize(("method", "address"), operations())
def test_no_address_answers_without_a_token_not_even_a_browser_that_is_signed_in(
    signed_in: SignIn, manager: User, method: str, address: str
) -> None:
    assert error_of(getattr(signed_in(manager), method)(address)) == (401, "unauthorized")


@pytest.mark.parametrize(("method", "address"), operations())
def test_every_address_but_me_wants_a_scope(manager: User, project: object, method: str, address: str) -> None:
    _, text = make_token(user=manager, name="powerless", scopes=[], days=None)
    response = getattr(Client(), method)(address, headers={"Authorization": f"Bearer {text}"})
    if address == f"{ROOT}/me":
        assert response.status_code == 200
    else:
        assert error_of(response) == (403, "scope_missing")


def test_use_is_noted_at_most_once_a_minute(ann: User, program_of: ProgramOf) -> None:
    program = program_of(ann)
    program.get("/me")
    first = Token.objects.get().last_used_at
    assert first is not None
    program.get("/me")
    assert Token.objects.get().last_used_at == first
    Token.objects.update(last_used_at=first - timedelta(minutes=2))
    program.get("/me")
    assert Token.objects.get().last_used_at >= first


def test_nobody_has_more_than_so_many_tokens_in_force(ann: User, signed_in: SignIn) -> None:
    for n in range(MOST_IN_FORCE):
        make_token(user=ann, name=f"program {n}", scopes=[Scope.LABEL], days=None)
    with pytest.raises(TooManyTokensError):
        make_token(user=ann, name="too many", scopes=[Scope.LABEL], days=None)
    assert "Revoke some." in signed_in(ann).post(reverse("api-tokens"), FORM).content.decode()
    assert Token.objects.count() == MOST_IN_FORCE


def test_a_page_sent_again_makes_no_second_token(ann: User, ben: User, signed_in: SignIn) -> None:
    """As a browser does when the page with the new token is reloaded."""
    client = signed_in(ann)
    client.post(reverse("api-tokens"), FORM)
    again = client.post(reverse("api-tokens"), FORM).content.decode()
    assert "You have a token of this name already." in again
    assert "pfl_" in again.partition("Your tokens")[2], "the list shows how it begins"
    assert "Your new token" not in again
    assert Token.objects.count() == 1
    signed_in(ben).post(reverse("api-tokens"), FORM)
    assert Token.objects.count() == 2, "names are each person's own"


@pytest.mark.parametrize("over", [{"revoked_at": now()}, {"expires_at": now()}], ids=["revoked", "expired"])
def test_a_name_is_free_again_once_its_token_is_over(ann: User, signed_in: SignIn, over: dict[str, datetime]) -> None:
    client = signed_in(ann)
    client.post(reverse("api-tokens"), FORM)
    Token.objects.update(**over)
    assert "Your new token" in client.post(reverse("api-tokens"), FORM).content.decode()


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_once_make_one_token(ann: User) -> None:
    def click() -> str:
        try:
            make_token(user=ann, name="hasty", scopes=[Scope.LABEL], days=None)
        except NameInUseError:
            return "refused"
        return "made"

    assert sorted(at_once(click)) == ["made", "refused"]
    assert Token.objects.count() == 1
