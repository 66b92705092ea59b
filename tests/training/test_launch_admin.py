"""“Training runs → Add” in the admin: choosing, filling in, counting, launching, and what is refused."""

from __future__ import annotations

from datetime import date

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from annotation.models import Preference, Project, User
from models_registry.models import Kind, Version
from training.engine.config import describe
from training.forms import name_of
from training.models import Run, Schedule, Snapshot, State
from training.snapshot_filter import Filter

from .conftest import make_run, make_version

pytestmark = pytest.mark.django_db
ADD = "/admin/training/run/add/"


@pytest.fixture
def client(admin: User) -> Client:
    client = Client()
    client.force_login(admin)
    return client


def filled_in(project: Project, base: Version, **changes: object) -> dict[str, object]:
    return {"project": project.pk, "base": base.pk, "seed": 0, "purposes": ["collect"], "option_lora": "on", **changes}


def test_first_comes_the_method(client: Client, project: Project) -> None:
    page = client.get(f"{ADD}?project={project.pk}").content.decode()
    for method in ("sft", "reward", "dpo", "ppo"):
        assert f"?method={method}&amp;project={project.pk}" in page


@pytest.mark.parametrize("method", ["sft", "reward", "dpo", "ppo"])
def test_every_option_of_the_method_is_a_field_with_its_help_and_default(client: Client, method: str) -> None:
    response = client.get(f"{ADD}?method={method}")
    form = response.context["adminform"].form
    shown = [name for _, options in response.context["adminform"].fieldsets for name in options["fields"]]
    options = describe(method)
    assert len(options) > 10
    for option in options:
        field = form.fields[f"option_{option.name}"]
        assert field.initial == option.default
        assert option.help in field.help_text
        assert f"option_{option.name}" in shown
    assert ("reward" in form.fields) == (method == "ppo")


def test_launching_leads_to_the_page_of_the_run(
    client: Client, project: Project, base: Version, votes: list[Preference], admin: User
) -> None:
    answer = client.post(f"{ADD}?method=dpo", filled_in(project, base, option_beta="0.25", option_epochs="", seed="3"))
    run = Run.objects.get()
    assert answer.url == run.get_absolute_url()  # type: ignore[attr-defined]
    assert (run.state, run.method, run.seed, run.created_by) == (State.QUEUED, "dpo", 3, admin)
    assert (run.config["beta"], run.config["epochs"], run.config["lora"]) == (0.25, 1.0, True)
    assert run.config["gradient_checkpointing"] is False
    assert run.snapshot is not None


def test_ppo_launches_with_a_reward_model(
    client: Client, project: Project, base: Version, reward: Version, votes: list[Preference]
) -> None:
    client.post(f"{ADD}?method=ppo", filled_in(project, base, reward=reward.pk))
    run = Run.objects.get()
    assert (run.method, run.reward) == ("ppo", reward)


def errors(client: Client, url: str, data: dict[str, object]) -> dict[str, list[str]]:
    response = client.post(url, data)
    assert response.status_code == 200
    assert not Run.objects.exists()
    return response.context["adminform"].form.errors  # type: ignore[no-any-return]


def test_a_wrong_option_is_an_error_at_its_field(
    client: Client, project: Project, base: Version, votes: list[Preference]
) -> None:
    found = errors(client, f"{ADD}?method=dpo", filled_in(project, base, option_beta="-1", option_batch_size="many"))
    assert found["option_beta"] == ["Must be at least 1e-06."]
    assert list(found) == ["option_batch_size", "option_beta"]


def test_too_little_data_is_an_error_at_the_project(client: Client, project: Project, base: Version) -> None:
    found = errors(client, f"{ADD}?method=dpo", filled_in(project, base))
    assert found == {"project": ["Too little to learn from: 0 pairs, at least 4 are needed."]}


def test_a_value_model_from_a_reward_model_of_another_tokenizer_is_an_error_at_its_field(
    client: Client, project: Project, base: Version, votes: list[Preference]
) -> None:
    other = make_version("Other judge", Kind.REWARD, tokenizer="another")
    filled = filled_in(project, base, reward=other.pk, option_value_backbone="own")
    assert list(errors(client, f"{ADD}?method=ppo", filled)) == ["reward"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("max_kl", "Max KL"), ("kl_target", "KL target"), ("gae_lambda", "GAE lambda"), ("ema_rate", "EMA rate"),
     ("missing_eos_penalty", "Missing EOS penalty"), ("lora_rank", "LoRA rank"), ("lora", "LoRA"), ("clip", "Clip")],
)  # fmt: skip
def test_short_forms_in_options_names_are_written_as_the_field_does(name: str, words: str) -> None:
    [option] = (option for option in describe("ppo") if option.name == name)
    assert name_of(option) == words


def test_the_form_says_what_a_reward_model_of_another_tokenizer_reads(client: Client, project: Project) -> None:
    page = client.get(f"{ADD}?method=ppo&project={project.pk}").content.decode()
    assert "One with another tokenizer than the base reads them as text." in page


def test_a_reward_model_cannot_be_chosen_as_base(
    client: Client, project: Project, reward: Version, votes: list[Preference]
) -> None:
    assert list(errors(client, f"{ADD}?method=dpo", filled_in(project, reward))) == ["base"]


def test_the_count_is_there_before_the_launch(client: Client, project: Project, votes: list[Preference]) -> None:
    page = client.get(f"{ADD}?method=dpo&project={project.pk}").content.decode()
    assert "<strong>20 pairs</strong> on 10 prompts: " in page
    assert "9 characters shorter than the rejected one" in page


def test_the_count_follows_the_form_without_launching(
    client: Client, project: Project, base: Version, votes: list[Preference]
) -> None:
    fragment = client.get("/admin/training/run/add/count/", {"method": "dpo", **filled_in(project, base)})
    assert "<strong>20 pairs</strong>" in fragment.content.decode()
    assert "<html" not in fragment.content.decode()
    none = client.get("/admin/training/run/add/count/", {"method": "dpo", "project": project.pk, "purposes": "gold"})
    assert "<strong>0 pairs</strong>" in none.content.decode()
    by_button = client.post(f"{ADD}?method=dpo", filled_in(project, base, _count="1"))
    assert "<strong>20 pairs</strong>" in by_button.content.decode()
    assert not Run.objects.exists()


def test_launching_again_starts_from_the_same_options(client: Client, project: Project, base: Version) -> None:
    chosen = Filter(min_strength=2, since=date(2026, 1, 2))
    snapshot = Snapshot.objects.create(
        project=project, train_rows=1, eval_rows=1, sha256="0" * 64, filter=chosen.to_dict()
    )
    run = make_run(base, project=project, seed=5, config={"beta": 0.7}, snapshot=snapshot)
    form = client.get(f"{ADD}?method=dpo&again={run.pk}").context["adminform"].form
    assert form.get_initial_for_field(form.fields["option_beta"], "option_beta") == 0.7
    assert form.get_initial_for_field(form.fields["base"], "base") == base.pk
    assert form.get_initial_for_field(form.fields["seed"], "seed") == 5
    assert form.get_initial_for_field(form.fields["min_strength"], "min_strength") == 2
    assert form.get_initial_for_field(form.fields["since"], "since") == "2026-01-02"


def staff(*permissions: str) -> Client:
    user, _ = User.objects.get_or_create(username="sam", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize("url", [ADD, f"{ADD}?method=dpo", f"{ADD}count/?method=dpo"])
def test_only_staff_with_the_permission_launch(url: str, manager: User) -> None:
    assert staff("view_run").get(url).status_code == 403
    assert staff("add_run").get(url).status_code == 200
    client = Client()
    client.force_login(manager)
    assert client.get(url).status_code == 302


def test_a_run_is_neither_edited_nor_deleted(client: Client, base: Version) -> None:
    run = make_run(base)
    change, delete = (reverse(f"admin:training_run_{name}", args=[run.pk]) for name in ("change", "delete"))
    assert client.post(change, {"state": "succeeded"}).status_code == 403
    assert client.post(delete, {"post": "yes"}).status_code == 403
    run.refresh_from_db()
    assert run.state == State.QUEUED


def test_the_list_of_runs_can_be_scanned(client: Client, project: Project, base: Version) -> None:
    make_run(base, project=project, metrics={"margin": 2.0, "margin_before": 0.5})
    page = client.get(reverse("admin:training_run_changelist")).content.decode()
    assert "margin 2 (+1.5)" in page
    assert "queued" in page


def test_a_schedule_is_made_from_the_method_and_counts_from_now(
    client: Client, project: Project, base: Version, votes: list[Preference]
) -> None:
    url = "/admin/training/schedule/add/?method=dpo"
    data = {"project": project.pk, "base": base.pk, "every_preferences": 50, "crontab": "", "enabled": "on"}
    answer = client.post(url, {**data, "option_beta": "0.4"})
    assert answer.status_code == 302
    schedule = Schedule.objects.get()
    assert (schedule.method, schedule.every_preferences, schedule.config["beta"]) == ("dpo", 50, 0.4)
    assert schedule.counted_preferences == 20
    change = client.get(f"/admin/training/schedule/{schedule.pk}/change/").context["adminform"].form
    assert change.fields["option_beta"].initial == 0.4


@pytest.mark.parametrize(
    ("when", "field"),
    [
        ({"every_preferences": "", "crontab": ""}, "every_preferences"),
        ({"every_preferences": 5, "crontab": "0 3 * * *"}, "every_preferences"),
        ({"every_preferences": "", "crontab": "at three"}, "crontab"),
        ({"every_preferences": 5, "crontab": "", "option_beta": "-3"}, "option_beta"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(
    client: Client, project: Project, base: Version, when: dict[str, object], field: str
) -> None:
    url = "/admin/training/schedule/add/?method=dpo"
    response = client.post(url, {"project": project.pk, "base": base.pk, **when})
    assert response.status_code == 200
    assert field in response.context["adminform"].form.errors
    assert not Schedule.objects.exists()


def test_a_schedule_of_what_is_archived_can_be_switched_off(client: Client, project: Project, base: Version) -> None:
    schedule = Schedule.objects.create(project=project, base=base, method="dpo", crontab="0 3 * * *")
    Project.objects.filter(pk=project.pk).update(archived_at=schedule.created_at)
    Version.objects.filter(pk=base.pk).update(stage=Version.Stage.ARCHIVED)
    data = {"project": project.pk, "base": base.pk, "crontab": "0 3 * * *"}
    assert client.post(f"/admin/training/schedule/{schedule.pk}/change/", data).status_code == 302
    schedule.refresh_from_db()
    assert not schedule.enabled
    new = client.post("/admin/training/schedule/add/?method=dpo", data).context["adminform"].form
    assert set(new.errors) == {"project", "base"}


def test_the_list_of_snapshots_shows_the_beginning_of_a_digest(client: Client, project: Project) -> None:
    Snapshot.objects.create(project=project, train_rows=1, eval_rows=1, sha256="0a1b2c3d" + "9" * 56)
    page = client.get(reverse("admin:training_snapshot_changelist")).content.decode()
    assert "0a1b2c3d" in page
    assert "0a1b2c3d9" not in page
