"""events.jsonl: whole lines, read by offset, no step told twice."""

import json
from pathlib import Path

import pytest

from training.engine.events import EventWriter, read_events


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_events_are_read_in_order_and_by_offset(path: Path) -> None:
    writer = EventWriter(path)
    writer.write("start", total_steps=2)
    first, offset = read_events(path, 0)
    writer.write("step", step=1, metrics={"loss": 0.5})
    second, end = read_events(path, offset)
    assert [(event["seq"], event["kind"]) for event in first + second] == [(1, "start"), (2, "step")]
    assert end == path.stat().st_size
    assert read_events(path, end) == ([], end)


def test_a_torn_last_line_is_left_for_the_next_read(path: Path) -> None:
    path.write_bytes(b'{"kind": "start"}\n{"kind": "st')
    events, offset = read_events(path, 0)
    assert [event["kind"] for event in events] == ["start"]
    with open(path, "ab") as file:
        file.write(b'ep"}\n')
    assert read_events(path, offset)[0] == [{"kind": "step"}]


def test_a_missing_file_has_no_events(path: Path) -> None:
    assert read_events(path, 0) == ([], 0)


def test_going_on_cuts_the_torn_line_and_counts_on(path: Path) -> None:
    path.write_bytes(b'{"seq": 4, "kind": "start"}\n{"seq": 5, "ki')
    EventWriter(path).write("warning", message="ü")
    events, _ = read_events(path, 0)
    assert [(event["seq"], event["kind"]) for event in events] == [(4, "start"), (5, "warning")]


def test_a_resumed_run_does_not_tell_a_step_twice(path: Path) -> None:
    EventWriter(path).write("step", step=3, metrics={})
    resumed = EventWriter(path)
    assert resumed.write("step", step=3, metrics={}) is False
    assert resumed.write("eval", step=3, metrics={}) is True
    assert resumed.write("step", step=4, metrics={}) is True
    assert [(event["kind"], event["step"]) for event in read_events(path, 0)[0]] == [
        ("step", 3),
        ("eval", 3),
        ("step", 4),
    ]


def test_a_number_that_is_not_finite_becomes_null(path: Path) -> None:
    EventWriter(path).write("step", step=1, metrics={"loss": float("nan"), "kl": [float("inf"), 1.0]})
    line = path.read_text()
    assert json.loads(line)["metrics"] == {"loss": None, "kl": [None, 1.0]}
    assert "NaN" not in line
