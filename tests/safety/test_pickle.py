"""Pickle: nothing that is read back can run code."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings
from django.core.cache import cache

from models_registry.services import RegistrationError, register_version
from tests.models_registry.conftest import make_folder  # noqa: F401  a fixture
from tests.safety.sources import callers_of, importers_of

READERS_OF_CODE = ("cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve")


def test_nobody_imports_a_reader_that_runs_code() -> None:
    assert importers_of(*READERS_OF_CODE) == set()
    # In the engine it is a model's own `eval()`, which switches its dropout off.
    assert callers_of("eval", "exec") <= {"training/engine/models.py"}


def test_sessions_messages_and_tasks_are_json() -> None:
    assert settings.SESSION_SERIALIZER.endswith("JSONSerializer")
    assert (settings.CELERY_TASK_SERIALIZER, settings.CELERY_RESULT_SERIALIZER) == ("json", "json")
    assert settings.CELERY_ACCEPT_CONTENT == ["json"]


def test_what_lies_in_the_cache_is_not_unpickled(services: None, tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
            return Path.touch, (ran,)  # type: ignore[return-value]

    client = cache._cache.get_client(write=True)  # type: ignore[attr-defined]
    client.set(cache.make_key("bomb"), pickle.dumps(Bomb()))
    with pytest.raises(ValueError):
        cache.get("bomb")
    assert not ran.exists()
    cache.delete("bomb")


def test_the_cache_keeps_plain_values(services: None) -> None:
    for value in ({"a": [1, 2.5, None, "ü"]}, 7, True, "text", [1.25]):
        cache.set("plain", value, 5)
        assert cache.get("plain") == value
    cache.delete("plain")


def test_a_pickle_under_a_models_file_name_is_refused(make_folder: Callable[..., Path], db: None) -> None:  # noqa: F811
    bomb = pickle.dumps({"w": [1]})
    for name in ("pytorch_model.bin", "model.safetensors", "model.pt"):
        folder = make_folder({"full": {"config.json": b"{}", name: bomb}})
        with pytest.raises(RegistrationError):
            register_version(
                model_name="M",
                kind="base",
                folder=folder,
                parent=None,
                run_id=None,
                dataset_sha256="",
                config={},
                metrics={},
            )
