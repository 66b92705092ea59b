"""Runs the checks, by themselves or beside the tests; what a failed one says comes last.

    python tools/checks.py                as many at a time as there are cores
    python tools/checks.py -m pytest …    one after another, beside this command of the same Python

Beside the tests they take the time in which those wait for browsers, disks and clocks.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKS = {
    "mypy": ["-m", "mypy"],
    "ruff check": ["-m", "ruff", "check"],
    "ruff format": ["-m", "ruff", "format", "--check"],
    "import rules": ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
    "migrations": ["manage.py", "makemigrations", "--check", "--dry-run"],
}


def main(beside: list[str]) -> int:
    """The exit code: that of the command beside the checks; 1 if it was well and a check was not."""
    print(f"Checking: {', '.join(CHECKS)} …", flush=True)
    with ThreadPoolExecutor(1 if beside else os.cpu_count()) as pool:
        said = {name: pool.submit(failure, name, arguments) for name, arguments in CHECKS.items()}
        try:
            code = subprocess.run([sys.executable, *beside], cwd=ROOT, check=False).returncode if beside else 0
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            return 130
    failed = {name: found for name in CHECKS if (found := said[name].result())}
    for name, words in failed.items():
        print(f"\n{name} failed:\n{words}")
    print(f"Failed checks: {', '.join(failed)}." if failed else f"{len(CHECKS)} checks passed.", flush=True)
    return code or bool(failed)


def failure(name: str, arguments: list[str]) -> str:
    """What the check says if it fails, else nothing. That it failed is told at once."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode == 0:
        return ""
    print(f"\n{name} failed; what it says comes last.", flush=True)
    return done.stdout.strip() or f"It ended with code {done.returncode}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
