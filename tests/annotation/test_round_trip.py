"""What is exported and imported again is the same: import(export(x)) = x, for whatever x and every kind of file."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotation.exporting.files import FILES
from annotation.exporting.streaming import export_bytes, export_rows
from annotation.exporting.wanted import Wanted
from annotation.importing.landing import import_file
from annotation.judging import Tiers
from annotation.models import Comparison, Judgment, Project, User
from annotation.quality.deciding import decide
from annotation.services import AnswerIn, add_comparison, create_project, record_judgment, rule_judge

ROOT = Path(__file__).resolve().parents[2]
TEXT = st.text(min_size=1, max_size=30).filter(lambda text: text.strip() and "\x00" not in text)
NASTY = st.sampled_from(
    ["=1+1", "'=x", "-", "@a", "[1, 2]", '["a"]', '{"a": 1}', "a\r\nb", "\\N", "a,b;c\td", '"', "a\u2028b", "🦊"]
)
WORDS = TEXT | NASTY | st.tuples(NASTY, TEXT).map("".join)
TURNS = st.lists(st.tuples(WORDS, WORDS), max_size=2)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, str]]:
    """Perhaps a system text, perhaps turns, and the user's last."""
    messages = [{"role": "system", "content": draw(WORDS)}] if draw(st.booleans()) else []
    for asked, answered in draw(TURNS):
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    return [*messages, {"role": "user", "content": draw(WORDS)}]


SIDES = st.sampled_from([-1, 0, 1])
NAMES = (WORDS | st.just('a "b" \\')).map(lambda name: name[:40]).filter(str.strip)
VOTE = st.one_of(
    st.tuples(st.sampled_from([-1, 1]), st.sampled_from([None, 1, 2, 3]), st.just("")),
    st.tuples(st.just(0), st.none(), st.sampled_from(["", "both_bad", "both_good"])),
)
MORE = st.fixed_dictionaries(
    {},
    optional={
        "tags": st.lists(NAMES, max_size=2, unique=True),
        "acceptable": st.dictionaries(st.sampled_from([0, 1]), st.booleans()),
        "aspects": st.dictionaries(NAMES, SIDES, max_size=2),
        "edit": st.tuples(st.sampled_from([0, 1]), WORDS),
    },
)
VOTES = st.lists(st.tuples(VOTE, st.just("") | WORDS, st.just({}) | MORE), min_size=1, max_size=4)
ANSWERS = st.lists(st.tuples(WORDS, st.just("") | WORDS), min_size=2, max_size=2, unique_by=lambda answer: answer[0])
DECISIONS = st.none() | st.sampled_from(["a", "tie", "b"])
PAIR = st.tuples(conversations(), ANSWERS, VOTES, DECISIONS)
PROJECTS = st.lists(PAIR, min_size=1, max_size=4, unique_by=lambda pair: repr(pair[0]))


def made(pairs: list[Any]) -> Project:
    """A project in which this was judged."""
    project = create_project(name=f"p {uuid4()}")
    for messages, answers, votes, decision in pairs:
        comparison = add_comparison(
            project=project,
            messages=messages,
            responses=[AnswerIn(text, author_label=label) for text, label in answers],
            judgments_wanted=len(votes),
        )
        ids = comparison.response_ids
        for n, ((side, strength, both), reason, more) in enumerate(votes):
            record_judgment(
                comparison=comparison,
                annotator=rule_judge(f"judge-{n}"),
                tiers=tiers_of(ids, side),
                both_bad=both == "both_bad",
                both_good=both == "both_good",
                strength=strength,
                reason=reason,
                tags=more.get("tags", []),
                acceptable={ids[n]: said for n, said in more.get("acceptable", {}).items()},
                aspects={name: tiers_of(ids, side) for name, side in more.get("aspects", {}).items()},
                edits={ids[more["edit"][0]]: more["edit"][1]} if "edit" in more else {},
            )
        if decision:
            decide(comparison_id=comparison.pk, reviewer=rule_judge("reviewer"), choice=decision, reason="Settled.")
    return project


def tiers_of(ids: list[int], side: int) -> Tiers:
    first, second = ids
    return {-1: [[first], [second]], 0: [[first, second]], 1: [[second], [first]]}[side]


def brought_in(project: Project, wanted: Wanted) -> Project:
    """A new project with what was exported from this one."""
    other = create_project(name=f"copy {uuid4()}")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "export"
        file.write_bytes(b"".join(export_bytes(project, wanted)))
        report = import_file(project=other, path=file, judged_by="copy")
    assert (report.state, report.errors) == ("succeeded", [])
    return other


def everything(project: Project) -> list[Any]:
    """Every vote of a project with all that it hangs on, without ids; names as an import of them gives."""
    found = []
    for one in Judgment.objects.filter(comparison__project=project).select_related("comparison__prompt", "annotator"):
        written = one.comparison.prompt.responses.all()
        texts = {answer.pk: (answer.text, "" if answer.written_by_id else answer.author_label) for answer in written}

        def by_texts(tiers: Tiers, texts: dict[int, tuple[str, str]] = texts) -> list[list[tuple[str, str]]]:
            return [sorted(texts[pk] for pk in tier) for tier in tiers]

        preferences = sorted((p.chosen.text, p.rejected.text, p.strength or 0, p.weight) for p in one.preferences.all())
        found.append(
            {
                "messages": one.comparison.prompt.messages,
                "tiers": by_texts(one.tiers),
                "both": (one.both_bad, one.both_good),
                "strength": one.strength,
                "reason": one.reason,
                "tags": one.tags,
                "acceptable": sorted((texts[int(pk)], said) for pk, said in one.acceptable.items()),
                "aspects": {name: by_texts(tiers) for name, tiers in one.aspects.items()},
                "edit": one.edited_id and (texts[one.edited_id], texts[one.edit_of_id or 0]),
                "name": one.annotator.username.removeprefix("copy."),
                "preferences": preferences,
                "decides": one.decides,
            }
        )
    return sorted(found, key=repr)


# Few examples of what starts a process for each file, to read it.
FILES_AND_EXAMPLES = {"jsonl": 8, "csv": 6, "parquet": 2}
SHAPES = ["preference", "preference-text", "kto", "llama-factory"]


def many(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.django_db
@pytest.mark.parametrize("file", FILES)
def test_votes_come_back_whole(file: str) -> None:
    @many(FILES_AND_EXAMPLES[file])
    @given(pairs=PROJECTS)
    def holds(pairs: list[Any]) -> None:
        project = made(pairs)
        other = brought_in(project, Wanted(shape="votes", file=file))
        assert everything(other) == everything(project)
        assert seats(other) == seats(project)

    holds()


def seats(project: Project) -> list[tuple[int, int]]:
    """Of every comparison how many judgments it wants and has."""
    return sorted(Comparison.objects.filter(project=project).values_list("judgments_wanted", "depth"))


@pytest.mark.django_db
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_file_says_comes_back_as_the_same_file(shape: str, file: str) -> None:
    wanted = Wanted(shape=shape, file=file, margin=shape.startswith("preference"))

    @many(FILES_AND_EXAMPLES[file] // 2)
    @given(pairs=PROJECTS)
    def holds(pairs: list[Any]) -> None:
        # One vote a pair, and no edit: rows that contradict each other would be votes of one source against itself.
        project = made([(messages, answers, [(*votes[0][:2], {})], None) for messages, answers, votes, _ in pairs])
        if not next(export_rows(project, wanted), None):
            return  # only ties, which prefer nothing
        other = brought_in(project, wanted)
        assert by_text(export_rows(other, wanted)) == by_text(export_rows(project, wanted))

    holds()


def by_text(rows: Any) -> list[dict[str, Any]]:
    return sorted(rows, key=repr)


@pytest.mark.django_db
def test_a_persons_votes_come_back_as_a_sources(ann: User) -> None:
    project = made([([{"role": "user", "content": "Why?"}], [("a", ""), ("b", "")], [((-1, 2, ""), "so", {})], None)])
    Judgment.objects.update(annotator=ann)
    other = brought_in(project, Wanted(shape="votes"))
    vote = Judgment.objects.get(comparison__project=other)
    assert (vote.annotator.username, vote.annotator.is_active) == ("copy.ann", False)


def peaks(rows: int) -> list[int]:
    """The benchmark in small: the peak of memory, in MB, after an import and after each kind of export."""
    command = [sys.executable, "-m", "bench.import_export", "--voted", str(rows)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found = [int(line.split("->")[1].split()[0]) for line in done.stdout.splitlines() if "->" in line]
    assert len(found) == 1 + len(FILES), done.stdout
    return found


@pytest.mark.slow
def test_neither_import_nor_export_takes_more_memory_for_more_rows() -> None:
    """After 60,000 rows at most 20 MB above that after 20,000, whose two batches are in memory at once too.

    A kilobyte kept of each of the 40,000 would be 40 MB.
    """
    small, large = peaks(20_000), peaks(60_000)
    assert all(much <= little + 20 for little, much in zip(small, large, strict=True)), (small, large)
