"""Rated answers as TRL's KTOTrainer reads them: `prompt`, `completion`, and whether it is good.

Of a preference the better answer is good and the worse bad, as TRL unpairs preferences; of a tie both are good, of
"both bad" both are bad. An answer judged alone is what was said of it. To rate by another judgment (say, acceptability
of each side), yield its rows here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotation.exporting.judged import Judged
from annotation.exporting.shapes.preference import said
from annotation.exporting.verdicts import Rule

TITLE = "Rated answers (TRL KTO)"
COLUMNS = {"prompt": "messages", "completion": "messages", "label": "truth"}


def rows(judged: Judged, rule: Rule) -> Iterator[dict[str, Any]]:
    for verdict in rule(judged.votes):
        # The first answer is good unless the second is better, and the other way round.
        for answer, better in zip(judged.answers, (-1, 1), strict=False):
            good = not verdict.both_bad and verdict.side in (0, better)
            yield {"prompt": judged.messages, "completion": said(answer.text), "label": good}
