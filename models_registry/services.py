"""Registering what a run made, and finding a registered version's files again."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.db import IntegrityError, connection, transaction
from django.db.models import Max
from django.utils.text import slugify
from django.utils.timezone import now

from models_registry.archive import Archive, Member, UnsafeNameError
from models_registry.cards import CARD_FILE, write_card
from models_registry.models import Artifact, Format, Model, Version

MANIFEST_FILE = "manifest.json"
# What a model folder may hold. Everything else, and every pickle, is refused.
ALLOWED_SUFFIXES = frozenset({".safetensors", ".json", ".txt", ".jinja", ".model", ".md"})
ALLOWED_NAMES = frozenset({"LICENSE", "NOTICE"})
# Facts of an engine's manifest that are of no use, or of nobody's business, outside the trainer's machine.
NOT_HANDED_ON = frozenset({"base", "base_adapter", "files", "formats", "source"})
NUMBERING = 0x70_72_65_66  # our half of PostgreSQL's advisory lock keys
# A safetensors file starts with the length of its JSON header, which the format bounds.
LONGEST_SAFETENSORS_HEADER = 100_000_000


class RegistrationError(ValueError):
    """A model folder that cannot be registered: the message is one readable sentence."""


def register_version(
    *,
    model_name: str,
    kind: str,
    parent: Version | None,
    run_id: int | None,
    folder: Path,
    dataset_sha256: str = "",
    config: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    source: str = "",
    notice: str = "",
    created_by: AbstractBaseUser | None = None,
    card: str | None = None,
    method: str = "",
    facts: Mapping[str, object] | None = None,
    while_busy: Callable[[], None] | None = None,
) -> Version:
    """Store every format of the model in `folder` (a run's `model/`, with its manifest) as the next version of a model.

    Called twice for one run it gives the same version, also after a crash in between. `facts` are lines for the model
    card, for example how many pairs it learned from. `while_busy` is called again and again while files are copied
    or another registration holds the model's numbers: beat a heart in it. Raises RegistrationError and OSError.
    """
    manifest = _read_manifest(folder)
    model = _model_named(model_name)
    with _numbering_lock(model, while_busy):
        if run_id is not None and (existing := Version.objects.filter(run_id=run_id).first()):
            return existing
        highest = model.versions.aggregate(highest=Max("number"))["highest"] or 0
        version = Version(
            model=model,
            number=highest + 1,
            kind=kind,
            parent=parent,
            run_id=run_id,
            source=source,
            dataset_sha256=dataset_sha256,
            tokenizer_sha256=str(manifest.get("tokenizer_sha256") or ""),
            parameters=int(manifest.get("parameters") or 0),
            config=dict(config or {}),
            metrics=dict(metrics or {}),
            # Whatever is trained on a model that is not to be taken seriously is not either.
            notice=notice or str(manifest.get("notice") or "") or (parent.notice if parent else ""),
            created_by_id=created_by.pk if created_by else None,
            created_at=now(),
        )
        version.card = card or write_card(version, formats=_formats(manifest), method=method, facts=facts or {})
        _store(version, folder, manifest, while_busy)
    return version


def local_folder(artifact: Artifact) -> Path:
    """A folder on this machine that holds the artifact's files; fetched once where the storage is elsewhere."""
    storage = storages["artifacts"]
    if isinstance(storage, FileSystemStorage):
        return Path(storage.path(artifact.storage_key))
    cached = (
        Path(settings.VAR) / "cache" / "artifacts" / f"{artifact.storage_key.replace('/', '-')}-{artifact.sha256[:12]}"
    )
    if not cached.is_dir():
        _fetch(artifact, storage, cached)
    return cached


def archive_of(artifact: Artifact) -> Archive:
    """The archive that a download of this artifact streams."""
    return Archive(
        top=top_folder(artifact.storage_key),
        members=[Member.from_row(row) for row in artifact.files],
        mtime=int(artifact.version.created_at.timestamp()),
    )


def top_folder(storage_key: str) -> str:
    """The folder that the archive unpacks into, and its file name without ending, like `concise-dpo-v3-merged`."""
    return storage_key.replace("/", "-")


def open_stored(artifact: Artifact, path: str) -> IO[bytes]:
    """Open one of the artifact's files."""
    return storages["artifacts"].open(f"{artifact.storage_key}/{path}", "rb")


def missing_file(artifact: Artifact) -> str:
    """The first of the artifact's files that the storage lacks, or holds in another size; "" if it has all."""
    storage = storages["artifacts"]
    for member in map(Member.from_row, artifact.files):
        key = f"{artifact.storage_key}/{member.path}"
        if not storage.exists(key) or storage.size(key) != member.bytes:
            return member.path
    return ""


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RegistrationError("there is no model to register: its manifest.json is missing") from error
    except (OSError, ValueError) as error:
        raise RegistrationError(f"the model's manifest.json cannot be read: {error}") from error
    if not isinstance(manifest, dict) or not _formats(manifest):
        raise RegistrationError("the model's manifest.json names no formats")
    return manifest


def _formats(manifest: Mapping[str, Any]) -> list[str]:
    named = manifest.get("formats")
    formats = [str(name) for name in named] if isinstance(named, list) else []
    if unknown := set(formats) - set(Format.values):
        raise RegistrationError(f"unknown model formats: {', '.join(sorted(unknown))}")
    return formats


def _model_named(name: str) -> Model:
    """The model of this name, made if it is new, with a slug that no other has."""
    base = slugify(name)[:180] or "model"
    for attempt in range(1, 1000):
        if found := Model.objects.filter(name=name).first():
            return found
        try:
            with transaction.atomic():
                return Model.objects.create(name=name, slug=base if attempt == 1 else f"{base}-{attempt}")
        except IntegrityError:  # the slug is taken, or somebody else made it just now
            continue
    raise RegistrationError(f"no free address for a model named {name!r}")


@contextmanager
def _numbering_lock(model: Model, while_busy: Callable[[], None] | None) -> Iterator[None]:
    """Only one registration at a time numbers versions of a model and writes their files.

    A lock of the session, not of a transaction: none stays open while gigabytes are copied, and the lock of a process
    that dies is gone with its connection.
    """
    key = [NUMBERING, model.pk % 2**31]
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", key)
            if cursor.fetchone()[0]:
                break
            if while_busy:
                while_busy()
            time.sleep(0.1)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", key)


def _store(version: Version, folder: Path, manifest: Mapping[str, Any], while_busy: Callable[[], None] | None) -> None:
    storage = storages["artifacts"]
    place = f"{version.model.slug}/v{version.number}"
    _clear(storage, place)  # what a registration that died under this number left
    try:
        artifacts = [
            _store_format(version, name, folder / name, manifest, f"{place}/{name}", while_busy)
            for name in _formats(manifest)
        ]
        with transaction.atomic():
            version.save(force_insert=True)
            for artifact in artifacts:
                artifact.version = version
                artifact.save(force_insert=True)
    except BaseException:
        _clear(storage, place)
        raise


def _store_format(
    version: Version,
    name: str,
    folder: Path,
    manifest: Mapping[str, Any],
    key: str,
    while_busy: Callable[[], None] | None,
) -> Artifact:
    storage = storages["artifacts"]
    written = {CARD_FILE: version.card.encode(), MANIFEST_FILE: _own_manifest(manifest, name, key)}
    members = [member for member in _members(manifest, name) if member.path not in written]
    for member in members:
        _check_kind(folder, member)
        _copy(storage, folder, member, f"{key}/{member.path}", while_busy)
    for path, content in written.items():
        _save(storage, f"{key}/{path}", ContentFile(content))
        members.append(Member(path, len(content), hashlib.sha256(content).hexdigest()))
    archive = Archive(top=top_folder(key), members=members, mtime=int(version.created_at.timestamp()))

    def open_source(path: str) -> IO[bytes]:
        if while_busy:
            while_busy()
        return io.BytesIO(written[path]) if path in written else open(folder / path, "rb")

    return Artifact(
        format=name,
        storage_key=key,
        files=[member.as_row() for member in archive.members],
        bytes=archive.size,
        sha256=archive.sha256(open_source),
    )


def _own_manifest(manifest: Mapping[str, Any], name: str, key: str) -> bytes:
    """What travels with the files: the engine's facts without the trainer's paths, and the folder's name as a base."""
    facts = {fact: manifest[fact] for fact in sorted(manifest) if fact not in NOT_HANDED_ON}
    return json.dumps(facts | {"name": top_folder(key), "format": name}, indent=1).encode()


def _members(manifest: Mapping[str, Any], name: str) -> list[Member]:
    try:
        return [Member.from_row(row) for row in manifest["files"][name]]
    except (KeyError, TypeError, ValueError) as error:
        raise RegistrationError(f"the model's manifest.json does not list the files of {name!r}") from error


def _check_kind(folder: Path, member: Member) -> None:
    """Refuse what is not plain data inside the folder: pickles by any name, links out of it."""
    path = folder / member.path
    name = path.name
    if path.suffix.lower() not in ALLOWED_SUFFIXES and name not in ALLOWED_NAMES:
        raise RegistrationError(
            f"{member.path} is not a kind of file that a model may hold (safetensors, never a pickle)"
        )
    try:
        Archive(top="check", members=[member], mtime=0)
    except UnsafeNameError as error:
        raise RegistrationError(str(error)) from error
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        raise RegistrationError(f"{member.path} is missing from the model's folder")
    if path.suffix.lower() == ".safetensors" and not _looks_like_safetensors(path):
        raise RegistrationError(f"{member.path} is not a safetensors file")


def _looks_like_safetensors(path: Path) -> bool:
    with open(path, "rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") <= LONGEST_SAFETENSORS_HEADER


class _HashedReader:
    """A binary file that hashes what is read from it, from the start on."""

    def __init__(self, file: IO[bytes], while_busy: Callable[[], None] | None) -> None:
        self._file, self._while_busy = file, while_busy
        self.digest = hashlib.sha256()
        self.bytes = 0

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self.digest.update(piece)
        self.bytes += len(piece)
        if self._while_busy:
            self._while_busy()
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if (offset, whence) == (0, os.SEEK_SET):
            self.digest, self.bytes = hashlib.sha256(), 0
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _copy(storage: Storage, folder: Path, member: Member, key: str, while_busy: Callable[[], None] | None) -> None:
    with open(folder / member.path, "rb") as raw:
        reader = _HashedReader(raw, while_busy)
        _save(storage, key, File(reader, name=member.path))  # type: ignore[arg-type]
    if (reader.bytes, reader.digest.hexdigest()) != (member.bytes, member.sha256):
        raise RegistrationError(f"{member.path} is not the file that the manifest describes: its size or hash differs")


def _save(storage: Storage, key: str, content: File[bytes]) -> None:
    if storage.save(key, content) != key:
        raise RegistrationError(f"{key} is already there")


def _clear(storage: Storage, place: str) -> None:
    try:
        folders, files = storage.listdir(place)
    except FileNotFoundError:
        return
    for name in files:
        storage.delete(f"{place}/{name}")
    for name in folders:
        _clear(storage, f"{place}/{name}")
    storage.delete(place)


def _fetch(artifact: Artifact, storage: Storage, target: Path) -> None:
    """Copy the files next to `target`, check them, then rename: `target` is whole or not there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        for member in map(Member.from_row, artifact.files):
            path = aside / member.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with storage.open(f"{artifact.storage_key}/{member.path}", "rb") as stored, open(path, "wb") as local:
                shutil.copyfileobj(stored, local, 1 << 20)
            with open(path, "rb") as local_again:
                if hashlib.file_digest(local_again, "sha256").hexdigest() != member.sha256:
                    raise OSError(f"{member.path} of {artifact} arrived damaged")
        try:
            aside.rename(target)
        except OSError:
            if not target.is_dir():  # else: another process was first, with the same content
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
