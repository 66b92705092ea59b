"""The environment of TRL 1.12: its package alone in a virtual environment, everything else from .venv.

So both sides of the PPO row run on the same torch, transformers and peft, and the download is one megabyte.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from bench.errors import MissingError

PINNED = "trl==1.12.0"


def python_with_trl_1_12(folder: Path) -> str:
    """Its Python; the environment is made in ``folder`` if it is not there. MissingError when it cannot be made."""
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        make(folder, python)
    return str(python)


def make(folder: Path, python: Path) -> None:
    run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)])
    site = Path(run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    options = ["--disable-pip-version-check", "--no-input", "--quiet", "--no-deps"]
    run([sys.executable, "-m", "pip", "install", *options, "--target", str(site), PINNED])
    # Searched after the environment's own packages, so this trl is found before the other.
    (site / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run([str(python), "-c", "import torch, trl; assert trl.__version__.startswith('1.12.'), trl.__version__"])
    (folder / "complete").touch()


def run(command: list[str]) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise MissingError(f"{PINNED} cannot be set up: {said[-1] if said else command}")
    return done.stdout
