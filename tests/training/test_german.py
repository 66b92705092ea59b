"""Managers and admins read German: pages of runs, models and the API, the launch form, and what is kept in English."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.admin import site
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils.timezone import now
from django.utils.translation import activate, gettext, override

from annotation.models import Project, User
from api.middleware import answer_in_json
from config.names import ROOMS
from models_registry.models import Version
from models_registry.sayings import said
from models_registry.templatetags.numbers import short, signed
from tests.config.test_translatable import CATALOGUE, entries, key
from training.engine.config import METHODS, describe
from training.forms import LaunchForm, form_for, name_of
from training.models import Method, Run, Schedule, State

from .conftest import make_run

pytestmark = pytest.mark.django_db

GERMAN = {"Accept-Language": "de"}
# Words that no German sentence has; names and codes are taken out before they are looked for.
ENGLISH = re.compile(
    r"\b(?:the|and|is|are|this|your|with|from|which|not|none|held|run|prompts?|answers?)\b", re.IGNORECASE
)
# What Germans call so too.
ALIKE = {
    "LoRA",
    "DPO",
    "PPO",
    "Adapter",
    "Rollout",
    "Clip",
    "Beta",
    "Gamma",
    "N",
    "Minibatches",
    "s",
    "Loss",
    "Revision",
}


@pytest.fixture(autouse=True)
def english_afterwards() -> Iterator[None]:
    """A request leaves its language behind, for the next request to change."""
    yield
    activate("en")


@pytest.fixture
def run(project: Project, base: Version) -> Run:
    return make_run(base, project=project, config={"beta": 0.3, "epochs": 1.0})


@pytest.fixture
def as_admin(admin: User) -> Client:
    client = Client()
    client.force_login(admin)
    return client


def shown(page: str) -> str:
    """What stands between the tags, without what people and machines wrote."""
    page = re.sub(r"<(script|style|code|pre|noscript)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"<[^>]*>", " ", page)


def test_a_run_page_speaks_german(as_admin: Client, run: Run, project: Project) -> None:
    started = {"started_at": now() - timedelta(minutes=4), "heartbeat_at": now() - timedelta(seconds=3)}
    Run.objects.filter(pk=run.pk).update(
        state=State.RUNNING, worker="train@here", step=84, total_steps=160, phase="evaluating 3/40", **started
    )
    page = as_admin.get(run.get_absolute_url(), headers=GERMAN).content.decode()
    assert '<html lang="de">' in page
    assert "Schritt 84 von 160" in page
    assert "Auswertung 3/40" in page
    assert re.search(r"Lebenszeichen <time [^>]*>vor \d+ Sekunden?</time>", page)
    assert 'data-held-out="zurückgehalten"' in page
    assert ENGLISH.findall(shown(page).replace(project.name, "")) == []


def test_a_chart_is_named_in_german_and_fed_with_plain_numbers(as_admin: Client, run: Run) -> None:
    run.events.create(seq=1, kind="eval", step=0, data={"metrics": {"loss": 0.5}}, at=now())
    page = as_admin.get(run.get_absolute_url(), headers=GERMAN).content.decode()
    plan = json.loads(page.split('id="chart-plan" type="application/json">')[1].split("</script>")[0])
    assert "Genauigkeit" in [chart["title"] for chart in plan]
    numbers = as_admin.get(reverse("run-metrics", args=[run.pk]), headers=GERMAN).json()
    assert numbers["rows"] == [[1, 0, True, {"loss": 0.5}]]


@pytest.mark.parametrize("name", ["runs", "models", "api-tokens", "audit"])
def test_a_list_speaks_german(as_admin: Client, run: Run, project: Project, name: str) -> None:
    page = as_admin.get(reverse(name), headers=GERMAN)
    assert page.status_code == 200
    assert ENGLISH.findall(shown(page.content.decode()).replace(project.name, "")) == []


def test_the_launch_form_speaks_german(as_admin: Client, project: Project, base: Version) -> None:
    page = as_admin.get(f"{reverse('admin:training_run_add')}?method=dpo", headers=GERMAN).content.decode()
    for words in ("Lauf starten · DPO", "Lernrate", "Speicher und Genauigkeit", "Voreingestellt 0.1.", "Basis"):
        assert words in page
    assert 'value="0.00015"' in page  # as a script, and the engine, read it


@pytest.mark.parametrize("method", METHODS)
def test_every_word_of_a_methods_options_is_in_german(method: str) -> None:
    texts = {METHODS[method].title}
    for option in describe(method):
        texts |= {name_of(option), option.help, option.group, option.unit}
        texts |= set() if re.match(r"arXiv|docs/", option.source) else {option.source}
    with override("de"):
        same = {text for text in texts - {""} if gettext(text) == text}
    assert same <= ALIKE


def test_a_number_may_be_typed_as_germans_write_it() -> None:
    field = form_for(LaunchForm, Method.DPO).base_fields["option_beta"]
    with override("de"):
        assert field.clean("0,05") == field.clean("0.05") == 0.05
    with override("en"):
        assert field.clean("0.05") == 0.05


@pytest.mark.parametrize(
    ("kept", "german"),
    [
        ("Cancelled before it began.", "Abgebrochen, bevor er begann."),
        (
            "2026-03-01 12:00 UTC: Not launched (50 new preferences): run 7 is still active.",
            "2026-03-01 12:00 UTC: Nicht gestartet (50 neue Präferenzen): Lauf 7 ist noch nicht zu Ende.",
        ),
        (
            "The worker running it went silent. It was tried 3 times.",
            "Der Worker, der ihn ausführte, verstummte. Es wurde 3-mal versucht.",
        ),
        ("a sentence nobody knows: 100 %", "a sentence nobody knows: 100 %"),
        ("", ""),
    ],
)
def test_what_is_kept_in_english_is_read_in_german(kept: str, german: str) -> None:
    with override("de"):
        assert said(kept) == german
    with override("en"):
        assert said(kept) == kept


def test_a_reason_is_kept_in_english_whoever_cancels(as_admin: Client, run: Run) -> None:
    as_admin.post(reverse("run-cancel", args=[run.pk]), headers=GERMAN)
    run.refresh_from_db()
    assert run.reason == "Cancelled before it began."
    page = as_admin.get(run.get_absolute_url(), headers=GERMAN).content.decode()
    assert "Abgebrochen, bevor er begann." in page


def test_numbers_and_spans_are_written_as_the_reader_writes_them() -> None:
    with override("de"):
        assert (short(-1234.4), short(0.125), short(12_345), signed(-0.5)) == ("−1234", "0,125", "12.345", "−0,5")
    with override("en"):
        assert (short(0.125), short(12_345)) == ("0.125", "12,345")


def test_the_admin_names_its_columns_in_german(as_admin: Client, run: Run) -> None:
    Schedule.objects.create(project=run.project, method=Method.DPO, base=run.base, crontab="0 3 * * 1")
    page = as_admin.get(reverse("admin:training_schedule_changelist"), headers=GERMAN).content.decode()
    for words in ("Zeitpläne", "Trainingsläufe", "Entscheidung", "Eingeschaltet", "DPO um 0 3 * * 1"):
        assert words in page


def test_every_table_and_column_of_the_admin_has_a_german_name() -> None:
    """Here, or in Django's own catalogue; what is the same in both languages stands in ours."""
    ours = {key(parts) for _, parts in entries(CATALOGUE)}
    shown_models = [model for model in site._registry if model._meta.app_label in ROOMS]
    assert len(shown_models) > 10
    missing = set()
    with override("en"):
        for model in shown_models:
            things = [model._meta, *model._meta.fields, *model._meta.many_to_many]
            missing |= {str(thing.verbose_name) for thing in things} | {str(model._meta.verbose_name_plural)}
        missing -= ours
    with override("de"):
        assert {name for name in missing if gettext(name) == name} == set()


def test_programs_are_answered_in_english(rf: RequestFactory) -> None:
    middleware = answer_in_json(lambda request: HttpResponse(gettext("Close")))
    with override("de"):
        assert middleware(rf.get("/api/v1/me")).getvalue() == b"Close"
        assert middleware(rf.get("/runs/")).getvalue() == "Schließen".encode()
