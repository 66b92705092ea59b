"""From what was measured to the results file, the table and the README."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import results, table
from bench.driver import Row, gather
from bench.flops import Flops

TURNS = {
    "ours": [{"seconds": 2.0, "tokens": 100}, {"seconds": 4.0, "tokens": 300}, {"seconds": 3.0, "tokens": 180}],
    "peer": [{"seconds": 10.0, "tokens": 100}, {"seconds": 20.0, "tokens": 300}, {"seconds": 15.0, "tokens": 180}],
}


def a_result(work: str = "dpo", precision: str = "fp32") -> dict[str, Any]:
    arms = [{"name": name, "peak_mib": 1000.0, **gather(turns)} for name, turns in TURNS.items()]
    row = Row(work, "first 64 pairs", precision, (), turns=3, warm_up=1, flops={"": Flops(2e9, 1e9)})
    return results.result_of(row, arms, {}, peak=400e9, commit="abc")


def content_of(*rows: dict[str, Any]) -> dict[str, Any]:
    return {
        "machine": {"processor": "Some processor", "cores": 2, "memory_gib": 8.0},
        "model": "tiny",
        "parameters": 200_000,
        "versions": {"torch": "2.13.0"},
        "rows": list(rows),
    }


def test_an_arm_is_told_by_medians_and_quartiles() -> None:
    found = gather(TURNS["ours"])
    assert (found["median_seconds"], found["spread_seconds"]) == (3.0, 1.0)  # quartiles of 2, 3, 4 are 2.5 and 3.5
    assert found["tokens_per_second"] == 60.0  # the middle of 50, 75 and 60


def test_shares_and_ratios_are_those_of_the_rates() -> None:
    ours, peer = a_result()["arms"]
    assert ours["share_of_peak"] == pytest.approx(60 * 2e9 / 400e9)
    assert ours["share_of_peak_with_attention"] == pytest.approx(60 * 3e9 / 400e9)
    assert peer["ours_is_faster"] == pytest.approx(60 / 12)  # the peer: 10, 15 and 12 tokens a second


def test_a_line_for_every_arm() -> None:
    assert table.lines_of(a_result()) == [
        ("dpo · first 64 pairs · fp32", "ours", "3", "1", "60", "", "1000", "30 %"),
        ("", "peer", "15", "5", "12", "5.00", "1000", "6 %"),
    ]


def test_growth_is_told_beside_the_growth_of_the_work() -> None:
    row = a_result("growth")
    row["arms"][1]["flops_per_token"] = {"matmul": 4e9, "attention": 2e9}
    # Five times the time a token for twice the operations.
    assert table.growth_lines(row)[1] == ("peer", "5.00", "2.00", "2.50", "1000")


def test_parts_of_an_iteration_are_told_apart() -> None:
    row = a_result("ppo")
    row["arms"][0]["parts"] = {"generation_seconds": 2.0}
    results.add_parts(row, {"generation": Flops(80e9, 0.0)}, {"generation": 50})
    assert table.part_lines(row) == [("ppo · fp32 · generation", "2", "25", "10 %")]


def test_columns_stand_under_each_other() -> None:
    lines = table.as_text(table.HEAD, table.lines_of(a_result())).splitlines()
    assert lines[2].index("60") + 2 == lines[3].index("12 ") + 2
    assert lines[2].startswith("dpo · first 64 pairs · fp32  ours")


def test_the_readme_is_filled_between_its_markers_and_nowhere_else() -> None:
    readme = f"# Head\n\n{table.BEGIN}\nold\n{table.END}\n\nTail\n"
    filled = table.put_into(readme, content_of(a_result()))
    assert filled.startswith(f"# Head\n\n{table.BEGIN}\nSome processor, 2 cores")
    assert filled.endswith(f"{table.END}\n\nTail\n")
    assert "old" not in filled
    assert "| dpo · first 64 pairs · fp32 | ours | 3 | 1 | 60 |  | 1000 | 30 % |" in filled
    assert table.put_into(filled, content_of(a_result())) == filled


def test_a_readme_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="to fill"):
        table.put_into("# Head\n", content_of(a_result()))


def test_the_projects_readme_has_the_markers() -> None:
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    assert table.put_into(readme, content_of(a_result())) != readme


def test_rows_that_were_not_measured_again_stay(tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    versions = {"torch": "2.13.0", "trl of PPO": "1.12"}
    results.write(path, results.merge(path, {"versions": versions}, [a_result("dpo"), a_result("sft")]))
    again = {**a_result("dpo"), "commit": "later"}
    results.write(path, results.merge(path, {"versions": {"torch": "2.14.0"}}, [again, a_result("dpo", "bf16")]))
    stored = json.loads(path.read_text())
    found = {(row["work"], row["precision"]): row["commit"] for row in stored["rows"]}
    assert list(found.items()) == [(("dpo", "fp32"), "later"), (("sft", "fp32"), "abc"), (("dpo", "bf16"), "abc")]
    assert len(stored["rows"]) == 3
    assert stored["versions"] == {"torch": "2.14.0", "trl of PPO": "1.12"}


def test_the_peaks_of_all_rows_are_told() -> None:
    slow, fast = {**a_result("sft"), "peak_flops": 316.4e9}, {**a_result("sft"), "peak_flops": 332.2e9}
    told = table.conditions(content_of(fast, slow, {**a_result("dpo", "bf16"), "peak_flops": 2e12}))
    assert "measured matmul peak: fp32 316 to 332 GFLOP/s, bf16 2000 GFLOP/s." in told
