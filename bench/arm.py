"""One arm: ``python -m bench.arm`` reads its ArmSpec from standard input and takes turns until it is told to quit."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys

PROGRAMS = {
    ("ours", "dpo"): "bench.ours:dpo_arm",
    ("ours", "reward"): "bench.ours:reward_arm",
    ("ours", "sft"): "bench.ours:sft_arm",
    ("ours", "ppo"): "bench.ours_ppo:ppo_arm",
    ("ours", "sampling"): "bench.sampling:ours_arm",
    ("trl", "dpo"): "bench.peer:dpo_arm",
    ("trl", "reward"): "bench.peer:reward_arm",
    ("trl", "sft"): "bench.peer:sft_arm",
    ("trl", "ppo"): "bench.peer_ppo:ppo_arm",
    ("transformers", "sampling"): "bench.sampling:transformers_arm",
}


def main() -> None:
    """Run the arm. Whatever libraries print goes to standard error: standard output carries the answers."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from bench.turns import ArmSpec, Finished, Turns
    from training.engine.vector_maths import choose_code

    choose_code()  # in the peers' arms too: all must come to the same loss
    spec = ArmSpec(**json.loads(sys.stdin.readline()))
    module, name = PROGRAMS[spec.side, spec.work].split(":")
    with contextlib.suppress(Finished):
        getattr(importlib.import_module(module), name)(spec, Turns(spec, sys.stdin, answers))


if __name__ == "__main__":
    main()
