"""tools/checks.py: a check that fails fails the run, and what it says is not lost in what the tests say."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "checks.py"
WELL = ["-S", "-c", "print('nothing to say')"]
BROKEN = ["-S", "-c", "import sys; print('line 7 is wrong'); sys.exit(2)"]
DEAD = ["-S", "-c", "import os; os.kill(os.getpid(), 9)"]
TESTS = ["-S", "-c", "print('3 passed')"]
FAILING_TESTS = ["-S", "-c", "import sys; print('1 failed'); sys.exit(5)"]

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """The exit code and what is printed, with these checks, beside this command."""

    def checked(beside: list[str], **checks: list[str]) -> tuple[int, str]:
        main = runpy.run_path(str(SCRIPT))["main"]
        main.__globals__["CHECKS"] = checks
        return main(beside), capfd.readouterr().out

    return checked


@pytest.mark.parametrize("beside", [[], TESTS])
def test_checks_that_pass_are_counted(run: Run, beside: list[str]) -> None:
    code, said = run(beside, one=WELL, two=WELL)
    assert code == 0
    assert said.endswith("2 checks passed.\n")
    assert "nothing to say" not in said
    assert ("3 passed" in said) == bool(beside)


@pytest.mark.parametrize("beside", [[], TESTS])
def test_a_failing_check_fails_the_run_and_has_the_last_word(run: Run, beside: list[str]) -> None:
    code, said = run(beside, one=WELL, two=BROKEN)
    assert code == 1
    assert "two failed; what it says comes last." in said
    assert said.endswith("\ntwo failed:\nline 7 is wrong\nFailed checks: two.\n")
    assert said.find("3 passed") < said.find("line 7 is wrong")


def test_a_check_that_is_killed_without_a_word_fails_the_run(run: Run) -> None:
    code, said = run(TESTS, one=DEAD, two=WELL)
    assert code == 1
    assert said.endswith("\none failed:\nIt ended with code -9.\nFailed checks: one.\n")


@pytest.mark.parametrize("check", [WELL, BROKEN])
def test_the_exit_code_of_the_tests_is_kept(run: Run, check: list[str]) -> None:
    assert run(FAILING_TESTS, one=check)[0] == 5
