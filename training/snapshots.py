"""Frozen datasets: which preferences a run learns from, split by prompt, written as JSONL and hashed.

The same preferences, filter, split and kind of rows give the same bytes, and so the same snapshot.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import IO, Any

from django.core.files import File
from django.core.files.storage import storages
from django.db.models import Avg, Count, Exists, OuterRef, QuerySet
from django.db.models.functions import Length
from django.utils.timezone import make_aware
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotation.models import Comparison, Judgment, Preference, Project, Prompt, Response, User
from annotation.quality.labels import Label, soft_labels
from training.models import Method, Snapshot

HOLDOUT = 0.1
SPLITS = ("train", "eval")
# A row for each vote as it was given, or one for each pair by all its votes, with a soft label.
VOTES, PAIRS = "votes", "pairs"
LABELLED_PAIRS = gettext_noop("labelled pairs")
LABELS_AT_A_TIME = 1_000


class FilterError(ValueError):
    """A filter that cannot be read. ``errors`` maps a bad entry to one sentence."""

    def __init__(self, errors: dict[str, str]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in sorted(errors.items())))


@dataclass(frozen=True)
class Filter:
    """Which preferences count. Everything off is every preference collected by people or rules."""

    min_strength: int = 0
    purposes: tuple[str, ...] = (Comparison.Purpose.COLLECT.value,)
    since: date | None = None
    until: date | None = None
    annotators: tuple[str, ...] = field(default=())
    labels: str = VOTES

    def to_dict(self) -> dict[str, Any]:
        """As it is stored with the snapshot; entries that do nothing are left out."""
        values: dict[str, Any] = {"purposes": sorted(self.purposes)}
        if self.min_strength:
            values["min_strength"] = self.min_strength
        if self.since:
            values["since"] = self.since.isoformat()
        if self.until:
            values["until"] = self.until.isoformat()
        if self.annotators:
            values["annotators"] = sorted(self.annotators)
        if self.labels != VOTES:
            values["labels"] = self.labels
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Filter:
        """Read what ``to_dict`` wrote. FilterError names every entry that is unknown or not understood."""
        known = {"min_strength", "purposes", "since", "until", "annotators", "labels"}
        errors = {name: "unknown entry" for name in values if name not in known}
        dates: dict[str, date | None] = {"since": None, "until": None}
        for name in dates:
            try:
                dates[name] = date.fromisoformat(values[name]) if values.get(name) else None
            except (TypeError, ValueError):
                errors[name] = "must be a date such as 2026-01-31"
        strength = values.get("min_strength", 0)
        if not isinstance(strength, int) or not 0 <= strength <= max(Judgment.Strength.values):
            errors["min_strength"] = "must be 0, 1, 2 or 3"
        purposes = tuple(values.get("purposes", cls.purposes))
        if not purposes or not set(purposes) <= set(Comparison.Purpose.values):
            errors["purposes"] = f"must be some of {', '.join(Comparison.Purpose.values)}"
        labels = values.get("labels", VOTES)
        if labels not in (VOTES, PAIRS):
            errors["labels"] = f"must be {VOTES} or {PAIRS}"
        if labels == PAIRS and (strength or any(dates.values()) or values.get("annotators")):
            errors["labels"] = "the label of a pair holds all its votes: no strength, dates or annotators beside it"
        if errors:
            raise FilterError(errors)
        annotators = tuple(values.get("annotators", ()))
        return cls(strength, purposes, dates["since"], dates["until"], annotators, labels)


def selected_preferences(project: Project, chosen: Filter) -> QuerySet[Preference]:
    """The preferences of a project that pass a filter, oldest first. Dates are whole days, UTC."""
    found = Preference.objects.filter(project=project, judgment__comparison__purpose__in=chosen.purposes)
    if chosen.min_strength:
        found = found.filter(strength__gte=chosen.min_strength)
    if chosen.since:
        found = found.filter(created_at__gte=_start_of(chosen.since))
    if chosen.until:
        found = found.filter(created_at__lt=_start_of(chosen.until) + timedelta(days=1))
    if chosen.annotators:
        found = found.filter(judgment__annotator__username__in=chosen.annotators)
    return found.order_by("id")


def demonstrations(project: Project, chosen: Filter) -> QuerySet[Preference]:
    """The preferences whose winner lost to nothing in the same judgment: an edit instead of its original, the first of
    a ranking."""
    better = Preference.objects.filter(judgment=OuterRef("judgment"), rejected=OuterRef("chosen"))
    return selected_preferences(project, chosen).exclude(Exists(better))


def _start_of(day: date) -> datetime:
    return make_aware(datetime.combine(day, time.min))


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


def learns_from_pairs(method: str, chosen: Filter) -> bool:
    """Whether a method would see one label a pair. SFT learns from answers that won, PPO from no vote at all."""
    return chosen.labels == PAIRS and method in (Method.DPO, Method.REWARD)


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
    files = _write(_rows(method, project, chosen), out)
    split = {"filter": chosen.to_dict(), "split_seed": split_seed, "holdout": holdout}
    return _snapshot(project, files, split, created_by)


def freeze_prompts(
    *, project: Project, prompts: QuerySet[Prompt], chosen: dict[str, Any], created_by: User | None
) -> Snapshot:
    """As `freeze`, for prompts of the project that wait for answers: one file, `prompts`, and nothing held out."""
    with tempfile.TemporaryFile() as file:
        lines = _Lines(file)
        for _, row in _rows_of(prompts):
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


def _rows(method: str, project: Project, chosen: Filter) -> Iterator[tuple[int, dict[str, Any]]]:
    return ROWS[method](project, chosen)


def _ended(found: object) -> bool:
    """Whether the author ended an answer, or the token limit cut it off. What nobody noted down counts as ended."""
    return found is not False


def _pair_rows(project: Project, chosen: Filter) -> Iterator[tuple[int, dict[str, Any]]]:
    return _label_rows(project, chosen) if chosen.labels == PAIRS else _vote_rows(project, chosen)


def _label_rows(project: Project, chosen: Filter) -> Iterator[tuple[int, dict[str, Any]]]:
    """One row a pair: the likelier answer over the other, and in `label` the probability that it is the better one."""
    labels = soft_labels(project, purposes=chosen.purposes)
    while some := list(islice(labels, LABELS_AT_A_TIME)):
        ids = {pk for label in some for pk in (label.chosen_id, label.rejected_id)}
        answers = Response.objects.in_bulk(ids)
        prompts = Prompt.objects.in_bulk({label.prompt_id for label in some})
        for label in some:
            yield label.prompt_id, _label_row(label, prompts[label.prompt_id], answers)


def _label_row(label: Label, prompt: Prompt, answers: dict[int, Response]) -> dict[str, Any]:
    chosen, rejected = answers[label.chosen_id], answers[label.rejected_id]
    return {
        "id": f"pair-{label.comparison_id}",
        "prompt": prompt.messages,
        "chosen": chosen.text,
        "chosen_ended": _ended(chosen.sampling.get("ended")),
        "rejected": rejected.text,
        "rejected_ended": _ended(rejected.sampling.get("ended")),
        "label": round(label.probability, 6),
        "votes": label.votes,
        "decided": label.decided,
        "comparison": label.comparison_id,
    }


def _vote_rows(project: Project, chosen: Filter) -> Iterator[tuple[int, dict[str, Any]]]:
    """`chosen_ended` and `rejected_ended` are False for answers that the token limit cut off: their text has no end,
    and a model that is trained to end there learns to stop in mid-sentence."""
    found = selected_preferences(project, chosen).values(
        "id",
        "prompt_id",
        "prompt__messages",
        "chosen__text",
        "chosen__sampling__ended",
        "rejected__text",
        "rejected__sampling__ended",
        "strength",
        "weight",
        "judgment_id",
    )
    for preference in found.iterator(chunk_size=2000):
        row = {
            "id": str(preference["id"]),
            "prompt": preference["prompt__messages"],
            "chosen": preference["chosen__text"],
            "chosen_ended": _ended(preference["chosen__sampling__ended"]),
            "rejected": preference["rejected__text"],
            "rejected_ended": _ended(preference["rejected__sampling__ended"]),
            "weight": preference["weight"],
            "judgment": preference["judgment_id"],
        }
        if preference["strength"] is not None:
            row["margin"] = float(preference["strength"])
        yield preference["prompt_id"], row


def _answer_rows(project: Project, chosen: Filter) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each answer that a judgment put first, once, in the order of its first win; `response_ended` as for pairs."""
    found = demonstrations(project, chosen).values_list(
        "chosen_id", "prompt_id", "prompt__messages", "chosen__text", "chosen__sampling__ended"
    )
    seen: set[int] = set()
    for pk, prompt_id, messages, text, ended in found.iterator(chunk_size=2000):
        if pk not in seen:
            seen.add(pk)
            yield prompt_id, {"id": str(pk), "prompt": messages, "response": text, "response_ended": _ended(ended)}


def _prompt_rows(project: Project, chosen: Filter) -> Iterator[tuple[int, dict[str, Any]]]:
    return _rows_of(Prompt.objects.filter(project=project))


def _rows_of(prompts: QuerySet[Prompt]) -> Iterator[tuple[int, dict[str, Any]]]:
    for pk, messages in prompts.order_by("id").values_list("id", "messages").iterator(chunk_size=2000):
        yield pk, {"id": str(pk), "prompt": messages}


ROWS = {
    Method.SFT.value: _answer_rows,
    Method.REWARD.value: _pair_rows,
    Method.DPO.value: _pair_rows,
    Method.PPO.value: _prompt_rows,
}


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


def new_preferences(project: Project) -> QuerySet[Preference]:
    """What a schedule counts: the preferences that a launch without a filter would learn from."""
    return selected_preferences(project, Filter())
