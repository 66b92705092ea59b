"""The peak of a process's memory, counted from a moment of its choice."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

MIB = 2**20
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak(device: str) -> None:
    """Forget the peak so far, where the system can: loading a model takes more than training it may."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
    elif CLEAR.exists():
        with contextlib.suppress(OSError):  # a system that forbids it reports the peak since the process began
            CLEAR.write_text("5")  # proc(5): resets VmHWM to what is resident now


def peak_mib(device: str) -> float:
    """Peak since :func:`reset_peak`: of the GPU, or of the process's resident memory, libraries and weights included.

    Without /proc (macOS) it is the peak since the process began. Where there is one `ru_maxrss` will not do: it begins
    with what the process had that started this one.
    """
    if device == "cuda":
        import torch

        return float(torch.cuda.max_memory_allocated()) / MIB
    if STATUS.exists():
        line = next(item for item in STATUS.read_text().splitlines() if item.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MIB if sys.platform == "darwin" else peak / 1024
