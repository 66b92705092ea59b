"""What a row measured, as it is written and shown: shares of the peak, ratios to ours, parts of a PPO iteration."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from bench.driver import Row
from bench.flops import Flops

Result = dict[str, Any]


def result_of(
    row: Row, arms: list[dict[str, Any]], apart: dict[str, dict[str, float]] | None, peak: float, commit: str
) -> Result:
    """A row of the results file. ``peak`` is the machine's in this precision, in operations per second."""
    for arm in arms:
        rate, taken = arm["tokens_per_second"], row.flops_of(arm["name"])
        if taken is not None:
            arm["flops_per_token"] = {"matmul": taken.matmul, "attention": taken.attention}
            arm["share_of_peak"] = rate * taken.matmul / peak
            arm["share_of_peak_with_attention"] = rate * (taken.matmul + taken.attention) / peak
        arm["ours_is_faster"] = arms[0]["tokens_per_second"] / rate
    return {
        "work": row.work,
        "data": row.data,
        "precision": row.precision,
        "rounds": row.turns,
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "peak_flops": peak,
        "agreement": apart,
        "arms": arms,
    }


def add_parts(result: Result, parts: dict[str, Flops], tokens: dict[str, int]) -> None:
    """Tokens per second and share of the peak of generation, scoring and training, for our first arm of a PPO row."""
    seconds = result["arms"][0]["parts"]
    result["parts"] = {
        name: {
            "seconds": seconds[f"{name}_seconds"],
            "tokens_per_second": tokens[name] / seconds[f"{name}_seconds"],
            "share_of_peak": taken.matmul / seconds[f"{name}_seconds"] / result["peak_flops"],
        }
        for name, taken in parts.items()
    }


def merge(path: Path, head: Result, rows: list[Result]) -> Result:
    """The results file with these rows in place of those of the same work, data and precision; others stay, and so do
    the versions of what only they ran against."""
    stored: Result = json.loads(path.read_text()) if path.exists() else {"rows": []}
    found = {key_of(row): row for row in [*stored["rows"], *rows]}  # a row measured again stands where it stood
    versions = {**stored.get("versions", {}), **head["versions"]}
    return {**head, "versions": versions, "rows": list(found.values())}


def key_of(row: Result) -> tuple[str, str, str]:
    return row["work"], row["data"], row["precision"]


def write(path: Path, content: Result) -> None:
    """Written aside and renamed: an interrupted bench leaves the file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part")
    aside.write_text(json.dumps(content, indent=1) + "\n")
    aside.replace(path)
