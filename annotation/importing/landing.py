"""Rows become prompts, responses, comparisons and votes, batch by batch, each row whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations, islice

from django.db import DataError, IntegrityError, transaction
from django.utils.timezone import now

from annotation.happenings import Happening, Kind, tell
from annotation.importing.reading import Lines, read_rows
from annotation.importing.rows import BadRowError, Row
from annotation.judging import NoSeatLeftError, preferences_of
from annotation.models import Comparison, ImportReport, Judgment, Preference, Project, Prompt, Response, User
from annotation.regroup import regroup
from annotation.services import content_hash, record_judgment, rule_judge

BATCH = 500
MOST_ERRORS_KEPT = 1_000

Numbered = tuple[int, Row]
# Prompt id and sorted response ids: what makes a comparison that one.
_Key = tuple[int, tuple[int, ...]]


@dataclass(frozen=True)
class _Pair:
    """A comparison that a row asks for: its prompt, its two responses, the winner first, and the vote."""

    prompt_id: int
    first: int
    second: int
    judged: bool
    strength: int | None

    @property
    def key(self) -> _Key:
        return self.prompt_id, tuple(sorted((self.first, self.second)))


def import_rows(
    *,
    project: Project,
    file: Lines,
    judged_by: str = "",
    author_label: str = "",
    file_name: str = "",
    created_by: User | None = None,
) -> ImportReport:
    """Bring a JSON Lines file into a project and say what happened to every row.

    Rows of `{prompt, chosen, rejected}` become comparisons for people to judge, or, with `judged_by`, judgments of that
    named source, which wants no more. Rows of `{prompt, responses}` become one comparison for every pair. What is there
    already is counted as a duplicate and left alone. Raises ValidationError if `judged_by` is a person's account.
    """
    judge = rule_judge(judged_by) if judged_by else None
    report = ImportReport.objects.create(
        project=project, created_by=created_by, file_name=file_name[:255], judged_by=judge
    )
    for batch in _batches(read_rows(file)):
        good = [(number, row) for number, row in batch if isinstance(row, Row)]
        for number, row in batch:
            if isinstance(row, BadRowError):
                _note(report, number, str(row))
        report.rows += len(batch)
        _land_or_split(report, good, author_label)
        report.save()
    report.errors.sort(key=lambda error: error["line"])
    report.finished_at = now()
    with transaction.atomic():
        report.save()
        facts = {"import": report.pk, "comparisons_added": report.comparisons_added, "bad_rows": report.error_count}
        tell(Happening(Kind.IMPORT_FINISHED, project.pk, str(report.pk), facts))
    return report


def _batches(rows: Iterable[tuple[int, Row | BadRowError]]) -> Iterator[list[tuple[int, Row | BadRowError]]]:
    rows = iter(rows)
    while batch := list(islice(rows, BATCH)):
        yield batch


def _note(report: ImportReport, line: int, reason: str) -> None:
    report.error_count += 1
    if len(report.errors) < MOST_ERRORS_KEPT:
        report.errors.append({"line": line, "reason": reason[:400]})


def _land_or_split(report: ImportReport, rows: list[Numbered], author_label: str) -> None:
    """Land a batch. If the database refuses it, land its rows one by one, to find out which it is."""
    try:
        with transaction.atomic():
            pairs = _land([row for _, row in rows], report, author_label)
    except (DataError, IntegrityError) as error:
        if len(rows) == 1:
            _note(report, rows[0][0], f"The database refused the row: {str(error).splitlines()[0]}")
            return
        for row in rows:
            _land_or_split(report, [row], author_label)
        return
    report.comparisons_added += pairs.added
    report.judgments_added += pairs.judged
    report.duplicates += pairs.duplicates


@dataclass(frozen=True)
class _Landed:
    added: int
    judged: int
    duplicates: int


def _land(rows: list[Row], report: ImportReport, author_label: str) -> _Landed:
    # Imports into one project take turns, so that a pair is added, and counted, by one of them.
    Project.objects.select_for_update(no_key=True).get(pk=report.project_id)
    wanted = list(_pairs([_keyed(row, author_label) for row in rows], report.project))
    there = _comparisons(wanted)
    new: dict[_Key, _Pair] = {}
    for pair in wanted:
        if pair.key not in there:
            new.setdefault(pair.key, pair)
    judge = report.judged_by
    Comparison.objects.bulk_create(
        [_comparison(pair, report.project, judged=pair.judged and judge is not None) for pair in new.values()],
        ignore_conflicts=True,  # a comparison that was added by other ways a moment ago
    )
    judged = 0
    if judge is not None:
        ids = _comparisons(new.values())
        judged = _keep_votes([(pair, ids[key]) for key, pair in new.items() if pair.judged], report.project, judge)
        judged += _vote_on([(pair, there[pair.key]) for pair in wanted if pair.judged and pair.key in there], judge)
    if report.project.kind != Project.Kind.PAIRS:
        regroup(report.project, {pair.prompt_id for pair in wanted})
    return _Landed(added=len(new), judged=judged, duplicates=len(wanted) - len(new))


@dataclass(frozen=True)
class _Keyed:
    """A row with what its prompt and its answers are found by: hashes, and for answers the author's label too."""

    row: Row
    prompt: str
    answers: list[tuple[str, str]]


def _keyed(row: Row, author_label: str) -> _Keyed:
    answers = [(content_hash(answer.text), answer.author_label or author_label) for answer in row.answers]
    return _Keyed(row, content_hash(row.messages), answers)


def _prompt_ids(rows: list[_Keyed], project: Project) -> dict[str, int]:
    """The ids of the rows' prompts by their hashes. Prompts that are missing are made."""
    first: dict[str, Row] = {}
    for keyed in rows:
        first.setdefault(keyed.prompt, keyed.row)
    Prompt.objects.bulk_create(
        [
            Prompt(project=project, messages=row.messages, metadata=dict(row.metadata), content_hash=key)
            for key, row in first.items()
        ],
        ignore_conflicts=True,
    )
    there = Prompt.objects.filter(project=project, content_hash__in=first)
    return dict(there.values_list("content_hash", "pk"))


def _response_ids(rows: list[_Keyed], prompt_ids: dict[str, int]) -> dict[tuple[int, str, str], int]:
    """The ids of the rows' answers by prompt id, hash and label. Responses that are missing are made."""
    texts = {
        (prompt_ids[keyed.prompt], *key): answer.text
        for keyed in rows
        for key, answer in zip(keyed.answers, keyed.row.answers, strict=True)
    }
    Response.objects.bulk_create(
        [
            Response(prompt_id=prompt_id, text=text, content_hash=key, author_label=label)
            for (prompt_id, key, label), text in texts.items()
        ],
        ignore_conflicts=True,
    )
    there = Response.objects.filter(prompt__in=set(prompt_ids.values()), author=None)
    found = there.values_list("prompt_id", "content_hash", "author_label", "pk")
    return {(prompt_id, key, label): pk for prompt_id, key, label, pk in found}


def _pairs(rows: list[_Keyed], project: Project) -> Iterator[_Pair]:
    """Every pair of answers of every row, with prompts and responses in place."""
    prompt_ids = _prompt_ids(rows, project)
    response_ids = _response_ids(rows, prompt_ids)
    for keyed in rows:
        prompt_id, judged = prompt_ids[keyed.prompt], keyed.row.preferred is not None
        ids = [response_ids[prompt_id, *key] for key in keyed.answers]
        for first, second in combinations(ids, 2):
            yield _Pair(prompt_id, first, second, judged=judged, strength=keyed.row.strength)


def _comparisons(pairs: Iterable[_Pair]) -> dict[_Key, int]:
    """The ids of those of these comparisons that exist, by their keys."""
    prompts = {pair.prompt_id for pair in pairs}
    there = Comparison.objects.filter(prompt__in=prompts, purpose=Comparison.Purpose.COLLECT)
    return {
        (prompt_id, tuple(response_ids)): pk
        for prompt_id, response_ids, pk in there.values_list("prompt_id", "response_ids", "pk")
    }


def _comparison(pair: _Pair, project: Project, *, judged: bool) -> Comparison:
    return Comparison(
        project=project,
        prompt_id=pair.prompt_id,
        response_ids=list(pair.key[1]),
        judgments_wanted=1 if judged else project.wanted_for(pair.key[1]),
        depth=1 if judged else 0,
        closed_at=now() if judged else None,
    )


def _keep_votes(pairs: list[tuple[_Pair, int]], project: Project, judge: User) -> int:
    """One judgment on the only seat of each comparison, with its preference. Returns how many."""
    judgments = Judgment.objects.bulk_create(
        [
            Judgment(
                comparison_id=comparison_id,
                annotator=judge,
                seat=1,
                seats=1,
                tiers=[[pair.first], [pair.second]],
                strength=pair.strength,
                shown_order=list(pair.key[1]),
            )
            for pair, comparison_id in pairs
        ]
    )
    Preference.objects.bulk_create(
        [
            preference
            for judgment, (pair, _) in zip(judgments, pairs, strict=True)
            for preference in preferences_of(judgment, project_id=project.pk, prompt_id=pair.prompt_id)
        ]
    )
    return len(judgments)


def _vote_on(pairs: list[tuple[_Pair, int]], judge: User) -> int:
    """The source's votes on comparisons that were there before, where it has not voted and a seat is free."""
    ids = [comparison_id for _, comparison_id in pairs]
    voted = set(Judgment.objects.standing().by(judge).filter(comparison__in=ids).values_list("comparison", flat=True))
    kept = 0
    for pair, comparison_id in pairs:
        if comparison_id not in voted:
            tiers = [[pair.first], [pair.second]]
            with suppress(NoSeatLeftError):
                record_judgment(
                    comparison=Comparison(pk=comparison_id), annotator=judge, tiers=tiers, strength=pair.strength
                )
                kept += 1
            voted.add(comparison_id)
    return kept
