"""A process that is one of several at work on a run, without a launcher."""

import os
import signal
import socket
from multiprocessing.process import BaseProcess

import torch

from tests.engine import forks
from training.engine import processes
from training.engine.__main__ import main
from training.engine.run_dir import RunDir


def start(run_dir: RunDir, count: int, *, stopped_rank: int = -1, looks: int = 0) -> list[BaseProcess]:
    """So many processes. The one of ``stopped_rank`` gets SIGTERM when it looks for it so often."""
    log, port = run_dir.path / "engine.log", free_port()
    return [
        forks.start(log, member, str(run_dir.path), rank, count, port, looks if rank == stopped_rank else 0)
        for rank in range(count)
    ]


def member(run_dir: str, rank: int, count: int, port: int, looks: int) -> int:
    """The exit code of one of them."""
    torch.set_num_threads(1)
    if count > 1:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        os.environ.update({name: str(number) for name, number in place.items()})
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="1")
    if looks:
        stop_at(looks)
    return main([run_dir])


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
