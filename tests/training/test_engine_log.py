"""What is kept of what an engine printed."""

from __future__ import annotations

from pathlib import Path

from training.engine.run_dir import RunDir
from training.engine_process import log_tail


def test_a_progress_bar_is_kept_as_it_stood_last(tmp_path: Path) -> None:
    (tmp_path / "engine.log").write_bytes(b"loading\n\r  0%|  |\r 50%|# |\r100%|##|\nsaving\r\n")

    assert log_tail(RunDir(tmp_path)) == "loading\n100%|##|\nsaving\n"


def test_a_progress_bar_that_still_moves_is_shown_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "engine.log").write_bytes(b"\r  0%|  |\r 50%|# |\r")

    assert log_tail(RunDir(tmp_path)) == " 50%|# |"
