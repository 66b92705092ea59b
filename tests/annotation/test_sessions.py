"""Who asks: a session and its person, as the site reads them with every request."""

from datetime import timedelta

from django.contrib.auth import BACKEND_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils.timezone import now

from annotation.models import User
from annotation.sessions import People, SessionStore


def test_a_session_is_read_as_it_was_written(db: None) -> None:
    written = SessionStore()
    written["seen"] = [1, "two"]
    written.create()
    read = SessionStore(written.session_key)
    assert read["seen"] == [1, "two"]
    assert read.session_key == written.session_key


def test_a_session_that_ran_out_holds_nothing_and_its_key_is_forgotten(db: None) -> None:
    written = SessionStore()
    written["seen"] = 1
    written.create()
    Session.objects.update(expire_date=now() - timedelta(seconds=1))
    read = SessionStore(written.session_key)
    assert "seen" not in read
    assert read.session_key is None


def test_a_key_that_nobody_was_given_holds_nothing(db: None) -> None:
    assert SessionStore("x' OR true --" + 20 * "x").load() == {}


def test_a_session_of_somebody_who_was_switched_off_lets_nobody_in(client: Client, ann: User) -> None:
    client.force_login(ann)
    assert client.get("/").context["user"] == ann
    assert client.session[BACKEND_SESSION_KEY].endswith("PeopleAndTheirModels")
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert client.get("/").status_code == 302
    assert People().get_user(ann.pk) is None


def test_a_session_ends_with_a_new_password(client: Client, ann: User) -> None:
    client.force_login(ann)
    assert client.session[SESSION_KEY] == str(ann.pk)
    ann.set_password("another one entirely")
    ann.save()
    assert client.get("/").status_code == 302


def test_the_person_of_a_session_is_read_whole(ann: User) -> None:
    found = People().get_user(ann.pk)
    assert found is not None
    expected = User.objects.get(pk=ann.pk)
    values = {field.attname: getattr(found, field.attname) for field in User._meta.concrete_fields}
    assert values == {name: getattr(expected, name) for name in values}
    assert not found.get_deferred_fields()
