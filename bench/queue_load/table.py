"""The queue's results as words and tables: for the terminal, and for the documentation.

python -m bench.queue_load.table bench/results/queue.json                 print them
python -m bench.queue_load.table bench/results/queue.json docs/queue.md   and put them between the page's two markers
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.table import as_markdown, as_text, between_markers

Result = dict[str, Any]
Line = tuple[str, ...]

# Label Studio 1.23, labels a second by clients, each with a request for the next task (median 92 ms) and one for the
# annotation (100 ms), on a machine of this kind.
LABEL_STUDIO = {1: 5.4, 4: 11.3}
TIMES_AS_MANY = 10
P95_MS = 50

EXACT = {
    "duplicates": "second judgments of one person on one pair",
    "over_their_number": "pairs with more judgments than they want",
    "lost": "confirmed votes that are not there",
    "misread": "judgments that say something else than was sent",
    "miscounted": "pairs whose count of judgments is wrong",
    "wrong_triples": "judgments without just their preference",
    "wrong_progress": "wrong counts on pages",
    "unfinished": "pairs left unfinished",
    "server_errors": "errors of the server",
}
TRIED = {
    "votes": "votes kept",
    "confirmed": "of these, confirmed to their senders",
    "hung_up": "sent by somebody who did not wait for the answer",
    "late": "confirmed, but after others had taken the pair: kept, not counted",
    "handed_out": "pairs of work handed to a person",
    "left": "of these, left for good, their lease run out",
    "handed_out_again": "of these, given to others and finished by them",
    "gone": "people who left in the middle of a pair and did not come back",
    "kills": "processes of 25 annotators killed with SIGKILL",
    "problems": "connections that broke otherwise",
}
PROOF_HEAD = ("number", "what")
HEAD = (
    "comparisons",
    "clients",
    "requests a label",
    "labels/s (rounds)",
    "× Label Studio",
    "submit p50 ms",
    "p95 ms (rounds)",
    "hand-out p50 ms",
    "p95 ms (rounds)",
    "cores busy",
)


def proof_lines(proof: Result) -> list[Line]:
    """What must be 0 first, then what was tried."""
    return [(f"{proof[name]:,}", words) for name, words in (EXACT | TRIED).items()]


def speed_lines(size: Result) -> list[Line]:
    """One line for each way of asking. With one request a label, submit holds the hand-out of the next pair."""
    return [
        (
            f"{size['comparisons']:,}",
            f"{row['clients']}" + (f", thinking {row['think_seconds']:g} s" if row["think_seconds"] else ""),
            f"{row['requests_a_label']}",
            _with_range(row["labels_a_second"][1], row["labels_a_second"], ".1f"),
            _ratio(row),
            *_times(row["vote"]),
            *_times(row["page"]),
            f"{100 * row['busy']:.0f} %",
        )
        for row in size["rows"]
    ]


def _times(times: Result | None) -> tuple[str, str]:
    if times is None:
        return "", ""
    return f"{times['p50_ms']:.1f}", _with_range(times["p95_ms"], times["p95_ms_of_rounds"], ".1f")


def _with_range(value: float, rounds: Sequence[float], form: str) -> str:
    return f"{value:{form}} ({min(rounds):{form}} to {max(rounds):{form}})"


def _ratio(row: Result) -> str:
    peer = LABEL_STUDIO.get(row["clients"]) if not row["think_seconds"] else None
    return f"{row['labels_a_second'][1] / peer:.1f}" if peer else ""


def verdicts(content: Result) -> list[tuple[bool, str]]:
    """What the queue is asked for, each with whether it was met here."""
    found: list[tuple[bool, str]] = []
    if proof := content.get("proof"):
        words = f"{proof['annotators']} annotators on {content['processes']} web processes, overlap {proof['overlap']}"
        found.append((proof["is_exact"], f"{words}: nothing doubled, lost, over its number or left"))
    sizes = content.get("speed", [])
    for size in sizes:
        name = f"{size['comparisons']:,} comparisons"
        scanned = {*size["planned_scans"], *(table for table, times in size["counted_scans"].items() if times)}
        found.append((not scanned, f"{name}: no large table read from end to end, by plan and by PostgreSQL's count"))
        for row in size["rows"]:
            found += _verdicts_of(row, name)
    if len(sizes) > 1:
        found += _growth(sizes[0], sizes[-1])
    return found


def _verdicts_of(row: Result, name: str) -> list[tuple[bool, str]]:
    if row["requests_a_label"] != 2:
        return []  # the same, with both in one request
    who = f"{name}, clients: {row['clients']}" + (", who think" if row["think_seconds"] else "")
    vote, page = row["vote"]["p95_ms"], row["page"]["p95_ms"]
    words = f"{who}: p95 of submit and of hand-out under {P95_MS} ms ({vote:.1f} and {page:.1f})"
    found = [(max(vote, page) < P95_MS, words)]
    if not row["think_seconds"] and row["clients"] in LABEL_STUDIO:
        times = row["labels_a_second"][1] / LABEL_STUDIO[row["clients"]]
        words = f"{who}: at least {TIMES_AS_MANY} times Label Studio's labels a second ({times:.1f})"
        found.append((times >= TIMES_AS_MANY, words))
    return found


def _growth(small: Result, large: Result) -> list[tuple[bool, str]]:
    """Whether the large project is slower: by more than the rounds of the small one differ among themselves."""
    found = []
    for before, after in zip(small["rows"], large["rows"], strict=True):
        if before["think_seconds"] and before["requests_a_label"] == 2:
            for part, name in (("vote", "submit"), ("page", "hand-out")):
                late, slowest = after[part]["p95_ms"], max(before[part]["p95_ms_of_rounds"])
                words = f"{large['comparisons']:,} comparisons: p95 of {name} no slower than rounds at"
                words += f" {small['comparisons']:,} are ({late:.1f} ms, and at most {slowest:.1f})"
                found.append((late <= slowest, words))
    return found


def conditions(content: Result) -> str:
    """One paragraph: the machine, the versions, how votes are kept, the commit."""
    machine, stored = content["machine"], content["database"]
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    kept = ", ".join(f"{name} {value}" for name, value in stored.items())
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, shared by the server "
        f"({content['processes']} processes), the database ({kept}) and the clients. {versions}. "
        f"Commit {content['commit']}, {content['at'][:10]}."
    )


def sections(content: Result) -> list[tuple[Line, list[Line]]]:
    """(head, lines) of every table that there is something for."""
    found = [
        (PROOF_HEAD, proof_lines(content["proof"]) if "proof" in content else []),
        (HEAD, [line for size in content.get("speed", []) for line in speed_lines(size)]),
    ]
    return [(head, lines) for head, lines in found if lines]


def _said(content: Result) -> list[str]:
    return [f"- {'Met' if met else '**Not met**'}: {words}." for met, words in verdicts(content)]


def as_page(content: Result) -> str:
    """For between the markers of the documentation."""
    parts = [conditions(content), "\n".join(_said(content)), *(as_markdown(*section) for section in sections(content))]
    return "\n\n".join(parts)


def show(content: Result) -> str:
    """For a terminal."""
    parts = [conditions(content), "\n".join(_said(content)), *(as_text(*section) for section in sections(content))]
    return "\n\n".join(parts)


def main(arguments: Sequence[str]) -> None:
    content = json.loads(Path(arguments[0]).read_text())
    print(show(content))
    for name in arguments[1:]:
        path = Path(name)
        path.write_text(between_markers(path.read_text(), as_page(content)))
        print(f"\n{name}: filled from {arguments[0]}")


if __name__ == "__main__":
    main(sys.argv[1:])
