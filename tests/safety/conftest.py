"""What the tests of safety share: the world, and people and projects from the labelling side's own fixtures."""

from pathlib import Path

import pytest
from django.conf import LazySettings

from tests.annotation.conftest import ann, ben, make_comparison, manager, project, signed_in, stranger
from tests.safety.world import World, make_world

__all__ = ["ann", "ben", "make_comparison", "manager", "project", "signed_in", "stranger"]


@pytest.fixture
def world(db: None, tmp_path: Path, settings: LazySettings) -> World:
    """Everybody and everything, with an identity provider that does not answer."""
    app = {"provider_id": "oidc", "name": "SSO", "client_id": "x", "secret": "x"}
    nobody = {**app, "settings": {"server_url": "http://127.0.0.1:9/"}}
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [nobody]}}
    settings.OIDC_SERVER_URL = "http://127.0.0.1:9/"
    return make_world(tmp_path / "artifacts")
