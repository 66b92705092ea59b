"""Label a project by a rule: of two answers that both say something, the shorter one is better.

    PREFLOOP_URL=http://127.0.0.1:8000 PREFLOOP_TOKEN=pfl_… python client/examples/label_shorter.py everyday-help

The votes are in the name of the token's person. Give a rule an account of its own: nobody should take it for a person.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from prefloop_client import Client, Pair


def choice(pair: Pair) -> str:
    """The rule: an empty answer loses, within a tenth of each other's length it is a tie, else the shorter one wins."""
    a, b = len(pair.a.split()), len(pair.b.split())
    if not a and not b:
        return "both_bad"
    if not a or not b:
        return "b" if not a else "a"
    if abs(a - b) <= max(a, b) / 10:
        return "tie"
    return "a" if a < b else "b"


def label(client: Client, slug: str, *, most: int) -> int:
    """Vote on up to `most` pairs. Returns how many votes were given."""
    votes = 0
    try:
        while votes < most and (pair := client.lease(slug)) is not None:
            check(pair)
            client.submit(slug, pair, choice(pair), reason="rule: the shorter answer")
            votes += 1
    finally:
        client.release(slug)
    return votes


def check(pair: Pair) -> None:
    """End the program unless there are two answers."""
    count = len(pair.answers)
    if count != 2:
        sys.exit(f"This rule labels pairs; the project shows {count} answer{'s' if count > 1 else ''} at a time.")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Label a project by the rule that the shorter answer wins.")
    parser.add_argument("project", help="the last part of the project's address")
    parser.add_argument("--most", type=int, default=1_000, help="stop after this many votes")
    asked = parser.parse_args(arguments)
    with Client.from_environment() as client:
        votes = label(client, asked.project, most=asked.most)
        progress = client.project(asked.project).progress
        why = f" No more pairs: {client.why}." if client.why else ""
    print(f"{votes} votes given; the project has {progress.done} of {progress.wanted}.{why}")


if __name__ == "__main__":
    main()
