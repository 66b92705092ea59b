"""What makes the engine fast, each of which an arm can do without: the name, and how it is switched off.

A lever is off by a change of the method's config, inside a context (for switches that the engine exposes), or by a
branch of the arm itself. To add one is to add a line to LEVERS.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Lever:
    """One lever: for which work it exists, and what takes it away."""

    works: tuple[str, ...]
    config: dict[str, Any] = field(default_factory=dict)
    context: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext


CACHED_REFERENCE = "cached reference"

LEVERS: dict[str, Lever] = {
    # The arm computes the reference's log-probs in every step.
    CACHED_REFERENCE: Lever(works=("dpo",)),
    # One pass a step, padded to its longest sequence.
    "little padding": Lever(works=("dpo", "reward", "sft"), config={"tokens_per_pass": 10_000_000}),
}


def levers_of(work: str) -> list[str]:
    """The levers that this work has."""
    return [name for name, lever in LEVERS.items() if work in lever.works]
