"""What the tests of safety share: the world, and people and projects from the labelling side's own fixtures."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.db import transaction
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from tests.annotation.conftest import ann, ben, make_comparison, manager, project, signed_in, stranger
from tests.safety.world import World, make_world

__all__ = ["ann", "ben", "make_comparison", "manager", "project", "signed_in", "stranger"]


@pytest.fixture(scope="module")
def lasting_world(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """One world for all the tests of a file: to build it takes longer than most of them."""
    quick = override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"])
    with quick, django_db_blocker.unblock(), transaction.atomic():
        yield make_world(tmp_path_factory.mktemp("world") / "artifacts")
        transaction.set_rollback(True)


@pytest.fixture
def world(lasting_world: World, db: None, settings: LazySettings) -> World:
    """Everybody and everything, as it was made: what the tests before did is rolled back."""
    _set_up(settings, lasting_world)
    return lasting_world


@pytest.fixture
def own_world(db: None, settings: LazySettings, tmp_path: Path) -> World:
    """For a test in a file that has others without a world."""
    made = make_world(tmp_path / "artifacts")
    _set_up(settings, made)
    return made


def _set_up(settings: LazySettings, world: World) -> None:
    """The world's files, and an identity provider that does not answer."""
    artifacts = {**settings.STORAGES["artifacts"], "OPTIONS": {"location": world.artifacts}}
    settings.STORAGES = {**settings.STORAGES, "artifacts": artifacts}
    app = {"provider_id": "oidc", "name": "SSO", "client_id": "x", "secret": "x"}
    nobody = {**app, "settings": {"server_url": "http://127.0.0.1:9/"}}
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [nobody]}}
    settings.OIDC_SERVER_URL = "http://127.0.0.1:9/"
