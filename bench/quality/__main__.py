"""What the numbers about votes are worth, and how long they take.

python -m bench.quality                     proof with simulated people, then speed with 100,000 votes
python -m bench.quality --votes 0           the proof alone, a minute without a database
python -m bench.quality --seeds 0           speed alone, on a database of its own beside the configured one
"""

from __future__ import annotations

import argparse
import os

import django

from bench.quality.proof import claims


def main() -> int:
    """Prints what was found, and fails if a claim does not hold."""
    parser = argparse.ArgumentParser(prog="python -m bench.quality")
    parser.add_argument("--seeds", type=int, default=12, help="crowds of the proof; 0 leaves it out")
    parser.add_argument("--votes", type=int, default=100_000, help="of the measure of speed; 0 leaves it out")
    parser.add_argument("--people", type=int, default=100)
    options = parser.parse_args()
    failed = 0
    for claim in claims(range(1, options.seeds + 1)) if options.seeds else ():
        print(claim, flush=True)
        failed += not claim.holds
    if options.votes:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
        django.setup()
        from bench.import_export import database_of_its_own
        from bench.quality.speed import measure

        with database_of_its_own():
            measure(options.votes, options.people)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
