"""The results as tables: for the terminal, and for the README's performance section.

python -m bench.table bench/results/MACHINE.json          print them
python -m bench.table bench/results/MACHINE.json README.md    and put them between the README's two markers
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Result = dict[str, Any]
Line = tuple[str, ...]
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
HEAD = ("work", "arm", "s a turn", "± IQR", "real tokens/s", "ours is × as fast", "peak MiB", "of matmul peak")


def lines_of(row: Result) -> list[Line]:
    """One line for each arm of a row."""
    found: list[Line] = []
    for place, arm in enumerate(row["arms"]):
        share = arm.get("share_of_peak")
        found.append(
            (
                f"{row['work']} · {row['data']} · {row['precision']}" if place == 0 else "",
                arm["name"],
                f"{arm['median_seconds']:.3g}",
                f"{arm['spread_seconds']:.2g}",
                f"{arm['tokens_per_second']:.0f}",
                "" if place == 0 or row["work"] == "growth" else f"{arm['ours_is_faster']:.2f}",
                f"{arm['peak_mib']:.0f}",
                "" if share is None else f"{100 * share:.0f} %",
            )
        )
    return found


def growth_lines(row: Result) -> list[Line]:
    """How time and counted work for each token grow from the first arm to the others."""
    first = row["arms"][0]
    found: list[Line] = []
    for arm in row["arms"]:
        time = first["tokens_per_second"] / arm["tokens_per_second"]
        work = total(arm) / total(first)
        found.append((arm["name"], f"{time:.2f}", f"{work:.2f}", f"{time / work:.2f}", f"{arm['peak_mib']:.0f}"))
    return found


GROWTH_HEAD = ("DPO, ours", "time a token, × the first", "operations a token, × the first", "ratio", "peak MiB")


def total(arm: Result) -> float:
    return float(arm["flops_per_token"]["matmul"] + arm["flops_per_token"]["attention"])


def part_lines(row: Result) -> list[Line]:
    """Generation, scoring and training of a PPO iteration apart."""
    return [
        (
            f"ppo · {row['precision']} · {name}",
            f"{part['seconds']:.3g}",
            f"{part['tokens_per_second']:.0f}",
            f"{100 * part['share_of_peak']:.0f} %",
        )
        for name, part in row.get("parts", {}).items()
    ]


PART_HEAD = ("part of an iteration, ours", "s", "tokens/s", "of matmul peak")


def sections(content: Result) -> list[tuple[Line, list[Line]]]:
    """(head, lines) of every table that the results have lines for."""
    rows = content["rows"]
    found = [
        (HEAD, [line for row in rows for line in lines_of(row)]),
        (PART_HEAD, [line for row in rows for line in part_lines(row)]),
        (GROWTH_HEAD, [line for row in rows if row["work"] == "growth" for line in growth_lines(row)]),
    ]
    return [(head, lines) for head, lines in found if lines]


def as_text(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Columns for a terminal; all but those of words stand to the right."""
    widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]

    def laid_out(line: Sequence[str]) -> str:
        numbers = [is_number_column(lines, column) for column in range(len(head))]
        cells = zip(line, widths, numbers, strict=True)
        return "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells).rstrip()

    return "\n".join([laid_out(head), "  ".join("-" * width for width in widths), *map(laid_out, lines)])


def as_markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---:" if is_number_column(lines, column) else "---" for column in range(len(head))]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *lines])


def is_number_column(lines: Sequence[Sequence[str]], column: int) -> bool:
    cells = [line[column] for line in lines if line[column]]
    return bool(cells) and all(cell[0].isdigit() for cell in cells)


def conditions(content: Result) -> str:
    """One paragraph: the machine, the peaks measured before its rows, the versions, the commits that were measured."""
    machine = content["machine"]
    precisions = dict.fromkeys(row["precision"] for row in content["rows"])
    measured = ", ".join(_span(precision, content["rows"]) for precision in precisions)
    stood_on = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    commits = ", ".join(dict.fromkeys(row["commit"] for row in content["rows"]))
    days = ", ".join(dict.fromkeys(row["at"][:10] for row in content["rows"]))
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB; "
        f"measured matmul peak: {measured}. {content['model']} ({content['parameters'] / 1e6:.0f} M parameters), "
        f"LoRA rank 16 on all linear layers, batch 8. {stood_on}. Commit {commits}, {days}."
    )


def _span(precision: str, rows: list[Result]) -> str:
    """ "fp32 300 to 332 GFLOP/s": the matmul peak was measured again in every run."""
    peaks = [row["peak_flops"] / 1e9 for row in rows if row["precision"] == precision]
    low, high = f"{min(peaks):.0f}", f"{max(peaks):.0f}"
    return f"{precision} {low if low == high else f'{low} to {high}'} GFLOP/s"


def show(content: Result) -> str:
    return "\n\n".join([conditions(content), *(as_text(*section) for section in sections(content))])


def put_into(readme: str, content: Result) -> str:
    """The README with the tables between its markers. ValueError when it has none."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"there is no {BEGIN} … {END} to fill")
    parts = [conditions(content), *(as_markdown(*section) for section in sections(content))]
    return before + BEGIN + "\n" + "\n\n".join(parts) + "\n" + END + after


def main(arguments: Sequence[str]) -> None:
    content = json.loads(Path(arguments[0]).read_text())
    print(show(content))
    for name in arguments[1:]:
        path = Path(name)
        path.write_text(put_into(path.read_text(), content))
        print(f"\n{name}: performance section filled from {arguments[0]}")


if __name__ == "__main__":
    main(sys.argv[1:])
