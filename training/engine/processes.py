"""Several processes at work on one run, as `accelerate launch` starts them. Alone, nothing here does anything.

1. Every process has the whole run: it reads the data, counts the steps, draws the same random numbers. Of the rows of a
   step it takes a share; gradients and figures are added up before anything is decided by them, so all decide alike.
2. Only the main process writes.
3. Processes meet before they exchange anything. One that is asked to stop says so there, and all stop at that place.
4. The weights are the same everywhere, or each process holds a part of them (`sharding.py`). Then a pass is itself an
   exchange: all make as many, and meet before each.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training.engine.errors import EngineError, Finished, LostProcess, Stopped

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)  # how long one waits for another: reading a large model, answering long prompts
BUCKET = 1 << 24  # gradients exchanged at once, in numbers
PR_SET_PDEATHSIG = 1


@dataclass
class Team:
    """This process among the others. What is agreed upon goes through ``control``, on the CPU, past the GPU's queue."""

    rank: int
    count: int
    device: torch.device
    control: dist.ProcessGroup
    in_step: bool = False  # every pass is an exchange


_team: Team | None = None


def join() -> None:
    """Find the other processes of this run, where it was started as several."""
    global _team
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    from accelerate import PartialState

    _end_with_launcher()
    state = PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)
    control = cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=PATIENCE))
    _team = Team(state.process_index, state.num_processes, state.device, control)


def part() -> None:
    """Let go of the others, once all have come here: what the main process had to write is written."""
    global _team
    if _team is not None:
        with _exchange():
            dist.barrier(group=_team.control)
            dist.destroy_process_group()
        _team = None


def count() -> int:
    """How many processes there are."""
    return 1 if _team is None else _team.count


def is_main() -> bool:
    """Whether this process is the one that writes."""
    return _team is None or _team.rank == 0


def device() -> torch.device | None:
    """The device that is this process's own; None when it is alone and may choose."""
    return None if _team is None else _team.device


def go_in_step() -> None:
    """From now on every pass is an exchange. EngineError when a process is alone."""
    if _team is None:
        raise EngineError("shard shares the weights out over processes, and this run has one; switch it off")
    _team.in_step = True


def in_step() -> bool:
    return _team is not None and _team.in_step


@contextlib.contextmanager
def main_first() -> Iterator[None]:
    """The main process goes through the block before the others do, as it may clean up what they read."""
    if _team is not None and not is_main():
        meet()
    yield
    if _team is not None and is_main():
        meet()


# Meeting and leaving.


def meet(*, leaving: bool = False) -> None:
    """Wait for the others. Raises Stopped in all of them when one is leaving."""
    if _team is None:
        if leaving:
            raise Stopped
        return
    is_leaving = torch.tensor(int(leaving))
    with _exchange():
        dist.all_reduce(is_leaving, dist.ReduceOp.MAX, group=_team.control)
    if is_leaving:
        raise Stopped


def leave(*, asked: bool) -> None:
    """Raise Stopped when asked to, once the others know. In step, when any of them is asked."""
    if asked or in_step():
        meet(leaving=asked)


def leave_the_rest_to_main() -> None:
    """All the work that is shared is done: Finished ends every process but the main one."""
    meet()
    if not is_main():
        raise Finished


@contextlib.contextmanager
def _exchange() -> Iterator[None]:
    """Say it readably when another process is gone."""
    try:
        yield
    except RuntimeError as error:
        raise LostProcess(f"another process of this run has ended or does not answer: {error}") from error


# Shares and sums.


def share(tokens: Sequence[int], rank: int | None = None) -> list[int]:
    """The rows that this process takes (or that of ``rank``): dealt out by length, so that all have about as much."""
    order = sorted(range(len(tokens)), key=lambda row: (-tokens[row], row))
    if _team is None:
        return order
    return order[_team.rank if rank is None else rank :: _team.count]


def total(value: Tensor) -> Tensor:
    """The sum of every process's value. All have the same shape; it is changed in place."""
    if _team is not None:
        meet()
        with _exchange():
            dist.all_reduce(value, group=_team.control if value.device.type == "cpu" else None)
    return value


def totals(values: dict[str, float]) -> dict[str, float]:
    """The sums of every process's values by name; all have the same names."""
    if _team is None:
        return values
    added: list[float] = total(torch.tensor(list(values.values()), dtype=torch.float64)).tolist()
    return dict(zip(values, added, strict=True))


def total_of(number: int) -> int:
    """The sum of every process's number."""
    return int(total(torch.tensor(number)))


def any_of(is_so: bool) -> bool:
    """Whether it is so in any process."""
    return total_of(int(is_so)) > 0


def gather(value: T) -> list[T]:
    """What every process has, in the order of the processes. Tensors must be on the CPU."""
    if _team is None:
        return [value]
    meet()
    found: list[Any] = [None] * _team.count
    with _exchange():
        dist.all_gather_object(found, value, group=_team.control)
    return found


def concatenated(value_N: Tensor) -> Tensor:
    """Every process's numbers, (N,) of any length, one after the other."""
    if _team is None:
        return value_N
    return torch.cat(gather(value_N.cpu())).to(value_N.device)


def own_part(value_N: Tensor, own: int) -> Tensor:
    """Of what :func:`concatenated` made of every process's numbers, this process's: so many."""
    if _team is None:
        return value_N
    start = sum(gather(own)[: _team.rank])
    return value_N[start : start + own]


def sum_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Add up the gradients of all processes, unless their passes have. Where none has a gradient, none gets one."""
    meet()
    if _team is None or _team.in_step:
        return
    has_gradient = torch.tensor([item.grad is not None for item in parameters], dtype=torch.int32)
    with _exchange():
        dist.all_reduce(has_gradient, dist.ReduceOp.MAX, group=_team.control)
    learning = [item for item, has in zip(parameters, has_gradient.tolist(), strict=True) if has]
    for item in learning:
        if item.grad is None:
            item.grad = torch.zeros_like(item)
    for bucket in _buckets(learning):
        gradients = [cast(Tensor, item.grad) for item in bucket]
        flat = torch.cat([item.flatten() for item in gradients])
        with _exchange():
            dist.all_reduce(flat)
        parts = torch.split(flat, [item.numel() for item in gradients])
        for gradient, summed in zip(gradients, parts, strict=True):
            gradient.copy_(summed.view_as(gradient))


def _buckets(parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Neighbours together, as many as make one exchange worth its while."""
    buckets: list[list[nn.Parameter]] = []
    room = 0
    for item in parameters:
        if not buckets or item.numel() > room:
            buckets.append([])
            room = BUCKET
        buckets[-1].append(item)
        room -= item.numel()
    return buckets


def _end_with_launcher() -> None:
    """On Linux: a launcher that is killed takes its processes along, so that none works on beside a new attempt."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
