"""Runs of the engine by one process or a team of them, each a fork of this one, so that torch is loaded once.

``python -m tests.engine.team COUNT:RUN_DIR …``: one after the other; prints the exit codes of each team as JSON.
With COUNT:RUN_DIR:RANK:N the process of that rank gets SIGTERM when it looks for it the N-th time.
"""

import json
import os
import signal
import socket
import sys

import torch

from training.engine import dpo, ppo, processes, reward, sample, sft
from training.engine.__main__ import main

METHODS = (dpo, ppo, reward, sample, sft)  # all imported before the first fork


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def stop_at(looks: int) -> None:
    """SIGTERM to this process when it looks for it so often."""
    before, left = processes.leave, [looks]

    def leave(*, asked: bool) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        before(asked=asked)

    processes.leave = leave


def run(count: int, run_dir: str, stopped_rank: int, looks: int) -> list[int]:
    """The exit codes of a team."""
    port, children = free_port(), []
    for rank in range(count):
        child = os.fork()
        if not child:
            torch.set_num_threads(1)
            if count > 1:
                place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
                os.environ.update({name: str(number) for name, number in place.items()})
                os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="1")
            if rank == stopped_rank:
                stop_at(looks)
            code = 99
            try:
                code = main([run_dir])
            finally:
                os._exit(code)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


if __name__ == "__main__":
    codes = []
    for order in sys.argv[1:]:
        size, folder, *stopping = order.split(":")
        rank, looks = map(int, stopping) if stopping else (-1, 0)
        codes.append(run(int(size), folder, rank, looks))
    print(json.dumps(codes))
