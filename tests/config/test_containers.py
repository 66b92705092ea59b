"""docker-compose.yml, Dockerfile and .env.example against the settings that they configure."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
APPLICATION = ("migrate", "web", "worker", "beat", "trainer")
READERS = ("text", "flag", "number", "words", "networks", "choice", "database", "redis", "secret", "web_address")
FOR_COMPOSE_ONLY = {"POSTGRES_PASSWORD", "WEB_PORT"}


def read_by_the_settings() -> set[str]:
    """The variables that settings.py reads: the first argument of its helpers."""
    tree = ast.parse((ROOT / "config" / "settings.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    found = {
        str(call.args[0].value)
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in READERS and isinstance(call.args[0], ast.Constant)
    }
    assert len(found) > 10
    return found


def stages() -> dict[str, str]:
    """The Dockerfile's stages by name, each with what it stands on."""
    parts = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    named = {part.split()[2]: part for part in parts}

    def whole(name: str) -> str:
        base = named[name].split()[0]
        return (whole(base) if base in named else "") + named[name]

    return {name: whole(name) for name in named}


def test_the_services_of_the_house_are_there() -> None:
    assert set(SERVICES) == {"db", "redis", "migrate", "web", "worker", "beat", "trainer"}
    assert SERVICES["trainer"]["profiles"] == ["gpu"]
    assert [name for name, service in SERVICES.items() if "profiles" in service] == ["trainer"]


def test_every_image_is_pinned_by_version() -> None:
    images = {name: service["image"] for name, service in SERVICES.items()}
    assert {name: image for name, image in images.items() if not re.search(r":\d+\.\d+", image)} == {}
    assert re.findall(r"^FROM (\S+:\S+)", DOCKERFILE, re.MULTILINE) == ["python:3.11.14-slim-bookworm"]


@pytest.mark.parametrize("name", APPLICATION)
def test_a_service_sets_only_variables_that_the_settings_read(name: str) -> None:
    given = set(SERVICES[name]["environment"])
    assert {"SECRET_KEY", "DATABASE_URL", "REDIS_URL", "ALLOWED_HOSTS"} <= given
    assert given - read_by_the_settings() == set()
    assert SERVICES[name]["environment"]["PREFLOOP_ENV"] == "production"


def test_every_variable_of_the_settings_is_explained_in_the_example() -> None:
    explained = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert explained == read_by_the_settings() | FOR_COMPOSE_ONLY


def test_every_placeholder_is_explained_in_the_example() -> None:
    used = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    explained = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert used - explained == set()
    assert "POSTGRES_PASSWORD" in used


def test_no_secret_is_written_down() -> None:
    secrets = [COMPOSE["x-environment"]["SECRET_KEY"], SERVICES["db"]["environment"]["POSTGRES_PASSWORD"]]
    assert [re.match(r"\$\{[A-Z_]+:\?", value) is not None for value in secrets] == [True, True]
    assert re.search(r"^(SECRET_KEY|POSTGRES_PASSWORD)=.+", (ROOT / ".env.example").read_text(), re.MULTILINE) is None


@pytest.mark.parametrize("name", ["web", "worker", "beat", "trainer"])
def test_a_process_waits_for_healthy_servers_and_for_the_tables(name: str) -> None:
    assert {needed: how["condition"] for needed, how in SERVICES[name]["depends_on"].items()} == {
        "db": "service_healthy",
        "redis": "service_healthy",
        "migrate": "service_completed_successfully",
    }


@pytest.mark.parametrize("name", ["db", "redis", "web", "worker", "trainer"])
def test_a_service_that_can_be_asked_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries"} <= set(check)


def test_state_survives_a_new_container() -> None:
    assert set(COMPOSE["volumes"]) == {"database", "queue", "state"}
    assert SERVICES["db"]["volumes"] == ["database:/var/lib/postgresql"]
    assert SERVICES["redis"]["volumes"] == ["queue:/data"]
    state = re.search(r"PREFLOOP_VAR=(\S+)", DOCKERFILE)
    assert state is not None
    assert {name: SERVICES[name]["volumes"] for name in APPLICATION} == {
        name: [f"state:{state[1]}"] for name in APPLICATION
    }


def test_the_queues_have_their_workers() -> None:
    queues = {
        name: SERVICES[name]["command"][SERVICES[name]["command"].index("-Q") + 1] for name in ("worker", "trainer")
    }
    assert queues == {"worker": "default", "trainer": "train"}


def test_only_the_trainer_asks_for_a_gpu_and_for_torch() -> None:
    assert [name for name, service in SERVICES.items() if "deploy" in service] == ["trainer"]
    assert {name: SERVICES[name]["build"]["target"] for name in APPLICATION} == {
        **dict.fromkeys(APPLICATION, "web"),
        "trainer": "trainer",
    }
    assert re.findall(r"\[(\w+)\]\"", stages()["web"]) == []
    assert re.findall(r"\[(\w+)\]\"", stages()["trainer"]) == ["train"]


def test_what_every_image_installs_has_no_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[^A-Za-z0-9-]", requirement)[0].lower() for requirement in project["dependencies"]]
    assert "django" in names
    heavy = {
        re.split(r"[^A-Za-z0-9-]", requirement)[0].lower() for requirement in project["optional-dependencies"]["train"]
    }
    assert "torch" in heavy
    assert heavy & set(names) == set()


@pytest.mark.parametrize("name", ["web", "trainer"])
def test_an_image_runs_as_a_plain_user(name: str) -> None:
    assert re.findall(r"^USER (\S+)", stages()[name], re.MULTILINE)[-1] == "prefloop"


def test_what_the_images_copy_is_there_and_not_ignored() -> None:
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    assert {"annotation", "config", "training", "constraints.txt"} <= sources
    assert {source for source in sources if not (ROOT / source).exists()} == set()
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sources - kept == set()
