"""Frozen datasets: what a filter lets through, split by prompt, counted, written as JSONL and hashed.

The same preferences, filter, split and kind of rows give the same bytes, and so the same snapshot.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from django.core.files import File
from django.core.files.storage import storages
from django.db.models import Avg, Count, QuerySet
from django.db.models.functions import Length
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotation.models import Judgment, Project, Prompt, User
from annotation.quality.labels import soft_labels
from training.models import Method, Snapshot
from training.snapshot_filter import Filter, demonstrations, learns_from_pairs, selected_preferences
from training.snapshot_rows import ROWS, rows_of

HOLDOUT = 0.1
LABELLED_PAIRS = gettext_noop("labelled pairs")


def held_out(prompts: Iterable[tuple[int, str]], *, split_seed: int, holdout: float) -> set[int]:
    """Ids of the prompts kept for evaluation, out of ``(id, content hash)``.

    A prompt's side follows from its content and the seed alone, so it stays on its side as a project grows. One
    prompt at least is on each side when there are two or more.
    """
    ranked = sorted((_share(content_hash, split_seed), prompt_id) for prompt_id, content_hash in prompts)
    wanted = sum(share < holdout for share, _ in ranked)
    if len(ranked) >= 2:
        wanted = min(max(wanted, 1), len(ranked) - 1)
    else:
        wanted = 0
    return {prompt_id for _, prompt_id in ranked[:wanted]}


def _share(content_hash: str, split_seed: int) -> float:
    """A number in [0, 1) that only the content and the seed decide."""
    digest = hashlib.sha256(f"{split_seed}:{content_hash}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def learnable_prompts(method: str, project: Project, chosen: Filter) -> list[tuple[int, str]]:
    """``(id, content hash)`` of the prompts a method would see: all of the project for PPO, else the judged ones."""
    if method == Method.PPO:
        found = Prompt.objects.filter(project=project)
    elif learns_from_pairs(method, chosen):
        found = Prompt.objects.filter(pk__in=_labels_per_prompt(project, chosen))
    else:
        judged = selected_preferences(project, chosen).order_by()
        found = Prompt.objects.filter(pk__in=judged.values("prompt_id"))
    return list(found.order_by("id").values_list("id", "content_hash"))


@dataclass(frozen=True)
class Preview:
    """What a launch would train on. Lengths are in characters; the difference is chosen minus rejected."""

    rows: int
    train_rows: int
    eval_rows: int
    prompts: int
    eval_prompts: int
    undecided: int
    mean_length_difference: float | None
    unit: str

    @property
    def length_words(self) -> str:
        """The difference in words, for example "41 characters shorter than the rejected one"."""
        difference = round(self.mean_length_difference or 0)
        if not difference:
            return _("as long as the rejected one")
        if difference > 0:
            return _("%(n)s characters longer than the rejected one") % {"n": difference}
        return _("%(n)s characters shorter than the rejected one") % {"n": -difference}


def preview(method: str, project: Project, chosen: Filter | None = None, *, holdout: float = HOLDOUT) -> Preview:
    """Count what a method would train on, without freezing anything."""
    chosen = chosen or Filter()
    prompts = learnable_prompts(method, project, chosen)
    out = held_out(prompts, split_seed=0, holdout=holdout)
    per_prompt = _rows_per_prompt(method, project, chosen, prompts)
    rows, eval_rows = sum(per_prompt.values()), sum(per_prompt.get(prompt_id, 0) for prompt_id in out)
    standing = Judgment.objects.standing().in_project(project)
    undecided = standing.filter(comparison__purpose__in=chosen.purposes, preferences=None).count()
    by_pair = learns_from_pairs(method, chosen)
    difference = selected_preferences(project, chosen).aggregate(
        value=Avg(Length("chosen__text") - Length("rejected__text"))
    )["value"]
    units = {Method.PPO.value: gettext_noop("prompts"), Method.SFT.value: gettext_noop("chosen answers")}
    return Preview(
        rows=rows,
        train_rows=rows - eval_rows,
        eval_rows=eval_rows,
        prompts=len(prompts),
        eval_prompts=len(out),
        undecided=undecided,
        mean_length_difference=None if difference is None or by_pair or method == Method.PPO else float(difference),
        unit=LABELLED_PAIRS if by_pair else units.get(method, gettext_noop("pairs")),
    )


def _rows_per_prompt(method: str, project: Project, chosen: Filter, prompts: list[tuple[int, str]]) -> dict[int, int]:
    if method == Method.PPO:
        return {prompt_id: 1 for prompt_id, _ in prompts}
    if learns_from_pairs(method, chosen):
        return _labels_per_prompt(project, chosen)
    if method == Method.SFT:
        rows, count = demonstrations(project, chosen), Count("chosen_id", distinct=True)
    else:
        rows, count = selected_preferences(project, chosen), Count("id")
    return dict(rows.order_by().values("prompt_id").annotate(rows=count).values_list("prompt_id", "rows"))


def _labels_per_prompt(project: Project, chosen: Filter) -> dict[int, int]:
    return Counter(label.prompt_id for label in soft_labels(project, purposes=chosen.purposes))


def freeze(
    *,
    method: str,
    project: Project,
    created_by: User | None,
    chosen: Filter | None = None,
    split_seed: int = 0,
    holdout: float = HOLDOUT,
) -> Snapshot:
    """Write what a method learns from into the `artifacts` storage and return its row; an identical one is reused.

    Call it inside the transaction that launches the run. Files of a transaction that is rolled back stay behind
    unreferenced; the next identical launch takes them up again.
    """
    chosen = chosen or Filter()
    out = held_out(learnable_prompts(method, project, chosen), split_seed=split_seed, holdout=holdout)
    files = _write(ROWS[method](project, chosen), out)
    split = {"filter": chosen.to_dict(), "split_seed": split_seed, "holdout": holdout}
    return _snapshot(project, files, split, created_by)


def freeze_prompts(
    *, project: Project, prompts: QuerySet[Prompt], chosen: dict[str, Any], created_by: User | None
) -> Snapshot:
    """As `freeze`, for prompts of the project that wait for answers: one file, `prompts`, and nothing held out."""
    with tempfile.TemporaryFile() as file:
        lines = _Lines(file)
        for _, row in rows_of(prompts):
            lines.add(row)
        files = {"prompts": lines.store()}
    return _snapshot(project, files, {"filter": chosen, "split_seed": 0, "holdout": 0.0}, created_by)


def _snapshot(
    project: Project, files: dict[str, dict[str, Any]], split: dict[str, Any], created_by: User | None
) -> Snapshot:
    """The row of stored files: the one that is there, if the same was frozen before."""
    sha256 = hashlib.sha256("".join(files[name]["sha256"] for name in sorted(files)).encode()).hexdigest()
    same = Snapshot.objects.filter(project=project, sha256=sha256, **split).first()
    rows = {name: entry["rows"] for name, entry in files.items()}
    return same or Snapshot.objects.create(
        project=project,
        train_rows=rows.get("train", 0) + rows.get("prompts", 0),
        eval_rows=rows.get("eval", 0),
        files=files,
        sha256=sha256,
        created_by=created_by,
        **split,
    )


def _write(rows: Iterable[tuple[int, dict[str, Any]]], out: set[int]) -> dict[str, dict[str, Any]]:
    """Split rows into two files by their prompt and store each under its own hash."""
    with tempfile.TemporaryFile() as train, tempfile.TemporaryFile() as held:
        writers = {"train": _Lines(train), "eval": _Lines(held)}
        for prompt_id, row in rows:
            writers["eval" if prompt_id in out else "train"].add(row)
        return {name: writer.store() for name, writer in writers.items()}


class _Lines:
    """JSON lines on their way into the storage, counted and hashed as they are written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest, self.rows = file, hashlib.sha256(), 0

    def add(self, row: dict[str, Any]) -> None:
        line = json.dumps(row, ensure_ascii=False, sort_keys=True).encode() + b"\n"
        self.digest.update(line)
        self.file.write(line)
        self.rows += 1

    def store(self) -> dict[str, Any]:
        sha256 = self.digest.hexdigest()
        path = f"snapshots/{sha256[:2]}/{sha256}.jsonl"
        storage = storages["artifacts"]
        if not storage.exists(path):
            self.file.seek(0)
            path = storage.save(path, File(self.file))
        return {"path": path, "sha256": sha256, "rows": self.rows}


def read_rows(snapshot: Snapshot, name: str) -> Iterator[dict[str, Any]]:
    """The rows of one of a snapshot's files. ValueError when the stored file is not the one that was frozen."""
    entry = snapshot.files[name]
    digest = hashlib.sha256()
    with storages["artifacts"].open(entry["path"]) as file:
        for line in file:
            digest.update(line)
            yield json.loads(line)
    if digest.hexdigest() != entry["sha256"]:
        raise ValueError(f"The snapshot's {name} file has changed since it was frozen; launch the run again.")
