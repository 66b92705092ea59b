"""From a run's model folder to a version: numbers, files, hashes, and what is refused."""

import hashlib
import io
import json
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.storage import InMemoryStorage, storages
from django.db import IntegrityError, connection

from models_registry import services
from models_registry.models import Artifact, Model, Version
from models_registry.services import RegistrationError, archive_of, local_folder, open_stored
from tests.models_registry.conftest import MakeFolder, Register, safetensors

pytestmark = pytest.mark.django_db


def stored_files() -> set[str]:
    root = Path(settings.STORAGES["artifacts"]["OPTIONS"]["location"])
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_a_version_keeps_every_file_of_every_format_with_its_hash(register: Register, make_folder: MakeFolder) -> None:
    folder = make_folder()
    version = register(folder=folder, run_id=7)
    version.refresh_from_db()
    assert (version.number, version.run_id, version.parameters) == (1, 7, 134_515_008)
    assert version.tokenizer_sha256 == "f" * 64
    artifacts = {artifact.format: artifact for artifact in version.artifacts.all()}
    assert set(artifacts) == {"adapter", "merged"}
    rows = {row["path"]: row for row in artifacts["merged"].files}
    assert set(rows) == {"README.md", "config.json", "manifest.json", "model.safetensors", "tokenizer/merges.txt"}
    content = (folder / "merged" / "model.safetensors").read_bytes()
    assert rows["model.safetensors"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert (local_folder(artifacts["merged"]) / "model.safetensors").read_bytes() == content


def test_the_archives_size_and_hash_are_those_of_what_is_stored(register: Register) -> None:
    artifact = register().artifacts.get(format="merged")
    whole = b"".join(archive_of(artifact).read(lambda path: open_stored(artifact, path)))
    assert (artifact.bytes, artifact.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())


def test_versions_of_a_model_are_numbered_from_one(register: Register) -> None:
    assert [register().number, register().number, register(model_name="Other").number] == [1, 2, 1]


def test_two_names_with_one_slug_are_two_models(register: Register) -> None:
    first, second = register(model_name="A b"), register(model_name="a B!")
    assert (first.model.slug, second.model.slug) == ("a-b", "a-b-2")


def test_a_run_is_registered_once_however_often_it_is_tried(register: Register) -> None:
    first, second = register(run_id=3), register(run_id=3)
    assert first.pk == second.pk
    assert Version.objects.count() == 1
    assert Artifact.objects.count() == 2


def test_a_crash_between_files_and_rows_leaves_nothing_that_the_retry_trips_over(
    register: Register, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder()
    with monkeypatch.context() as patch:
        patch.setattr(services, "_clear", lambda storage, place: None)  # as if the process were gone
        patch.setattr(Version, "save", lambda *args, **kwargs: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            register(folder=folder, run_id=3)
    left = stored_files()
    assert "concise-answers-dpo/v1/merged/model.safetensors" in left
    (local := Path(settings.STORAGES["artifacts"]["OPTIONS"]["location"])).joinpath(
        "concise-answers-dpo/v1/merged/half.json"
    ).write_text("{")
    version = register(folder=folder, run_id=3)
    assert version.number == 1
    assert stored_files() == left
    assert local.is_dir()


def test_a_failure_removes_what_it_stored(register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        assert stored_files()
        raise IntegrityError

    monkeypatch.setattr(Artifact, "save", refuse)
    with pytest.raises(IntegrityError):
        register()
    assert stored_files() == set()
    assert Version.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_registrations_at_the_same_time_get_different_numbers(make_folder: MakeFolder, register: Register) -> None:
    folders = [make_folder() for _ in range(4)]
    numbers: list[int] = []
    start = threading.Barrier(len(folders))

    def work(index: int) -> None:
        try:
            start.wait(10)
            numbers.append(register(folder=folders[index], run_id=100 + index).number)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(folders))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(numbers) == [1, 2, 3, 4]


@pytest.mark.django_db(transaction=True)
def test_one_run_registered_twice_at_the_same_time_is_one_version(make_folder: MakeFolder, register: Register) -> None:
    folders = [make_folder() for _ in range(3)]
    found: list[int] = []
    start = threading.Barrier(len(folders))

    def work(folder: Path) -> None:
        try:
            start.wait(10)
            found.append(register(folder=folder, run_id=5).pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 3
    assert len(set(found)) == 1


def test_while_files_are_copied_the_caller_is_called_back(register: Register) -> None:
    calls: list[int] = []
    register(while_busy=lambda: calls.append(1))
    assert len(calls) > 4


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl", "modeling.py", "adapter.ckpt", "x"])
def test_what_is_not_plain_data_is_refused(register: Register, make_folder: MakeFolder, name: str) -> None:
    with pytest.raises(RegistrationError, match=name):
        register(folder=make_folder({"full": {"config.json": b"{}", name: b"x"}}))
    assert stored_files() == set()
    assert Version.objects.count() == 0


def test_a_pickle_that_calls_itself_safetensors_is_refused(register: Register, make_folder: MakeFolder) -> None:
    with pytest.raises(RegistrationError, match="not a safetensors file"):
        register(folder=make_folder({"full": {"model.safetensors": pickle.dumps({"w": list(range(100))})}}))


@pytest.mark.parametrize("path", ["../escape.json", "a/../../escape.json", ".hidden.json"])
def test_a_manifest_cannot_name_files_elsewhere(register: Register, make_folder: MakeFolder, path: str) -> None:
    folder = make_folder({"full": {"config.json": b"{}"}})
    content = b"{}"
    target = folder / "full" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    (folder / "full" / "a").mkdir(exist_ok=True)
    target.write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    row = {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["files"]["full"].append(row)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RegistrationError, match="file name"):
        register(folder=folder)


def test_a_link_out_of_the_folder_is_refused(register: Register, make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder({"full": {"config.json": b"{}"}})
    outside = tmp_path / "secret.json"
    outside.write_bytes(b"{}")
    (folder / "full" / "config.json").unlink()
    (folder / "full" / "config.json").symlink_to(outside)
    with pytest.raises(RegistrationError, match="missing from the model's folder"):
        register(folder=folder)


def test_a_file_that_is_not_the_one_in_the_manifest_is_refused(register: Register, make_folder: MakeFolder) -> None:
    folder = make_folder()
    path = folder / "merged" / "model.safetensors"
    path.write_bytes(safetensors(b"\xff" * 5120))
    with pytest.raises(RegistrationError, match="not the file that the manifest describes"):
        register(folder=folder)
    assert stored_files() == set()


@pytest.mark.parametrize("content", ["", "[]", '{"formats": []}', '{"formats": ["exe"]}', '{"formats": ["full"]}'])
def test_a_manifest_of_another_shape_is_refused(register: Register, make_folder: MakeFolder, content: str) -> None:
    folder = make_folder()
    (folder / "manifest.json").write_text(content)
    with pytest.raises(RegistrationError):
        register(folder=folder)


def test_a_notice_is_handed_down_to_everything_that_grows_from_the_model(
    register: Register, make_folder: MakeFolder
) -> None:
    base = register(
        model_name="tiny", kind="base", folder=make_folder({"full": {"config.json": b"{}"}}, notice="A toy.")
    )
    child = register(parent=base)
    grandchild = register(parent=child)
    assert [base.notice, child.notice, grandchild.notice] == ["A toy.", "A toy.", "A toy."]
    assert [version.pk for version in grandchild.lineage()] == [base.pk, child.pk, grandchild.pk]


def test_facts_that_the_engine_needs_again_travel_with_the_files_and_its_paths_do_not(
    register: Register, make_folder: MakeFolder
) -> None:
    folder = make_folder(reward={"mean": 1.5, "std": 2.0}, base="/srv/secret/place", name="run")
    artifact = register(folder=folder).artifacts.get(format="merged")
    manifest = json.loads((local_folder(artifact) / "manifest.json").read_text())
    assert manifest["reward"] == {"mean": 1.5, "std": 2.0}
    assert manifest["name"] == "concise-answers-dpo-v1-merged"
    assert "secret" not in json.dumps(manifest)


def test_in_a_storage_elsewhere_the_files_are_fetched_once_and_checked(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = InMemoryStorage()
    monkeypatch.setitem(storages._storages, "artifacts", storage)  # type: ignore[attr-defined]
    artifact = register().artifacts.get(format="merged")
    folder = local_folder(artifact)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        row["path"] for row in artifact.files
    }
    storage.delete(f"{artifact.storage_key}/config.json")
    assert local_folder(artifact) == folder  # from the cache

    other = register().artifacts.get(format="merged")
    storage.delete(f"{other.storage_key}/config.json")
    storage.save(f"{other.storage_key}/config.json", io.BytesIO(b"{damaged"))  # type: ignore[arg-type]
    with pytest.raises(OSError, match="damaged"):
        local_folder(other)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_the_card_says_where_the_version_comes_from_and_is_stored_with_it(register: Register) -> None:
    base = register(model_name="SmolLM2", kind="base", metrics={}, dataset_sha256="")
    version = register(
        parent=base, run_id=14, method="DPO", facts={"Training pairs": 180}, config={"beta": 0.1}, notice="Beware."
    )
    card = version.card
    for expected in (
        "# Concise answers · DPO v1",
        "Beware.",
        "SmolLM2 v1",
        "Training run: 14",
        "Made by: DPO",
        "Training pairs: 180",
        "d" * 64,
        "| margin | 0 | 0.75 |",
        "| beta | 0.1 |",
        'PeftModel.from_pretrained(base, "concise-answers-dpo-v1-adapter")',
        'from_pretrained("concise-answers-dpo-v1-merged")',
        'from_pretrained("smollm2-v1-merged", dtype="float32")',
    ):
        assert expected in card
    assert (local_folder(version.artifacts.get(format="adapter")) / "README.md").read_text() == card
    assert Model.objects.count() == 2
