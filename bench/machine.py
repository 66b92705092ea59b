"""What the bench ran on: its name, its versions, and how fast it multiplies matrices."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import statistics
import subprocess
import time
from pathlib import Path

import torch

PACKAGES = ("torch", "transformers", "peft", "accelerate", "trl")
SIDE = {"cpu": 2048, "cuda": 8192}
REPEATS = 15


def describe(device: str) -> dict[str, str | int | float]:
    """Processor or GPU, cores, threads, memory, system."""
    processor = torch.cuda.get_device_name() if device == "cuda" else cpu_name()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": processor,
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "memory_gib": round(pages / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "spin_count": os.environ.get("GOMP_SPINCOUNT", "unset"),
    }


def cpu_name() -> str:
    """The processor's model, with its number where the name alone says little."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.+)$", text, re.MULTILINE))
    name = fields.get("model name", platform.machine())
    return f"{name} (family {fields.get('cpu family', '?')}, model {fields.get('model', '?')})"


def slug(description: dict[str, str | int | float], device: str) -> str:
    """A file name for the machine: processor and cores, no host name."""
    words = re.sub(r"\(r\)|\(tm\)", "", str(description["processor"]).lower())
    name = re.sub(r"[^a-z0-9]+", "-", words).strip("-")
    return name if device == "cuda" else f"{name}-{description['cores']}-cores"


def versions(peer_ppo: str = "") -> dict[str, str]:
    """Versions of what both sides stand on."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return found | ({"trl (PPO)": peer_ppo} if peer_ppo else {})


def commit() -> str:
    """The commit that was measured; "+" behind it when files were changed."""
    try:
        name = subprocess.run(["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name.stdout.strip()


def matmul_peak(dtype: torch.dtype, device: str, side: int = 0) -> float:
    """Operations per second of a large square matmul: the best of many, as nothing can be faster than the machine."""
    side = side or SIDE[device]
    left, right = (torch.randn(side, side, dtype=torch.float32, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        left @ right
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return 2.0 * side**3 / min(seconds)


def spread(values: list[float]) -> float:
    """Interquartile range; 0 for fewer than two values."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return high - low
