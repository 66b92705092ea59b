"""From what the queue's load measured to the words and tables of the documentation."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.queue_load import table
from bench.queue_load.speed import Taken, Way, percentile_95, summary
from bench.table import BEGIN, END


def rounds_of(rate: float, ms: float) -> list[Taken]:
    """Three rounds around a rate and a time."""
    return [
        Taken(rate * factor, vote_ms=[ms * factor] * 20, page_ms=[ms * factor + 1] * 20, busy=0.5, load=0.1)
        for factor in (0.9, 1.0, 1.1)
    ]


def a_size(comparisons: int, ms: float = 20.0, rate: float = 60.0) -> dict[str, Any]:
    return {
        "comparisons": comparisons,
        "planned_scans": [],
        "counted_scans": {"annotation_comparison": 0},
        "rows": [
            summary(Way(1, plain=True), rounds_of(rate, ms)),
            summary(Way(1, plain=False), rounds_of(rate, ms)),
            summary(Way(200, plain=True, think_seconds=8.0), rounds_of(25.0, ms)),
        ],
    }


def content_of(*sizes: dict[str, Any]) -> dict[str, Any]:
    proof = dict.fromkeys([*table.EXACT, *table.TRIED], 0) | {"votes": 6000, "annotators": 200, "overlap": 3}
    return {
        "machine": {"processor": "Some processor", "cores": 2, "memory_gib": 8.0},
        "versions": {"django": "5.2"},
        "database": {"fsync": "on"},
        "processes": 4,
        "commit": "abc",
        "at": "2026-11-22T07:00:00+00:00",
        "proof": {**proof, "is_exact": True},
        "speed": list(sizes),
    }


def unmet(content: dict[str, Any]) -> list[str]:
    return [words for met, words in table.verdicts(content) if not met]


def test_rounds_are_told_by_the_middle_one_and_their_range() -> None:
    found = summary(Way(4, plain=True), rounds_of(100.0, 10.0))
    assert found["labels_a_second"] == pytest.approx([90.0, 100.0, 110.0])
    assert found["vote"]["number"] == 60
    assert found["vote"]["p50_ms"] == pytest.approx(10.0)
    assert found["vote"]["p95_ms_of_rounds"] == pytest.approx([9.0, 10.0, 11.0])


def test_the_95th_percentile_leaves_a_twentieth_above() -> None:
    assert percentile_95(range(1, 102)) == pytest.approx(96.0)  # of 1 to 101, 5 of a hundred steps lie above


def test_a_line_for_every_way() -> None:
    lines = table.speed_lines(a_size(100_000))
    assert lines[0][:5] == ("100,000", "1", "2", "60.0 (54.0 to 66.0)", "11.1")  # of Label Studio's 5.4
    assert lines[1][7:9] == ("", "")  # one request: no hand-out apart
    assert lines[2][1] == "200, thinking 8 s"


def test_what_was_asked_for_is_met() -> None:
    content = content_of(a_size(100_000), a_size(1_000_000))
    assert len(table.verdicts(content)) == 11
    assert unmet(content) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"counted_scans": {"annotation_judgment": 1}}, "no large table read"),
        ({"planned_scans": ["annotation_prompt"]}, "no large table read"),
        ({"rows": a_size(1, rate=53.0)["rows"]}, "10 times Label Studio's"),  # 9.8 times 5.4
        ({"rows": a_size(1, ms=45.0)["rows"]}, "under 50 ms"),  # 49.5 for submit, hand-out takes one more
        ({"rows": a_size(1, ms=30.0)["rows"]}, "no slower"),
    ],
)
def test_what_is_not_met_is_said(change: dict[str, Any], words: str) -> None:
    found = unmet(content_of(a_size(100_000), a_size(1_000_000) | change))
    assert found
    assert any(words in one for one in found)


def test_a_proof_that_fails_is_said() -> None:
    content = content_of()
    content["proof"]["is_exact"] = False
    assert len(unmet(content)) == 1


def test_the_page_is_filled_between_its_markers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, page = tmp_path / "queue.json", tmp_path / "queue.md"
    results.write_text(json.dumps(content_of(a_size(100_000))))
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")

    table.main([str(results), str(page)])

    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\nSome processor, 2 cores")
    assert "| 6,000 | votes kept |" in text
    assert "old" not in text
    assert text.endswith(f"{END}\nafter\n")
    assert "Some processor" in capsys.readouterr().out
