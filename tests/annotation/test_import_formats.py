"""The same rows in every file format, and files made to hurt."""

import csv
import gzip
import json
import resource
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from annotation.importing import reading
from annotation.importing.detecting import look_at
from annotation.importing.formats import json_list
from annotation.importing.formats.raw import LONGEST_ROW
from annotation.importing.landing import import_file
from annotation.importing.reading import detect_format, opened
from annotation.importing.rows import BadFileError, BadRowError
from annotation.models import Comparison, Project, Prompt, Response

ROWS: list[dict[str, Any]] = [
    {
        "prompt": [{"role": "user", "content": f"Wie, {n}? 🦊\n\"so\""}],
        "chosen": [{"role": "assistant", "content": f"=So {n}"}],
        "rejected": [{"role": "assistant", "content": "[1, 2]; 'no'\r\n\t"}],
        "strength": 1 + n % 3,
    }
    for n in range(7)
]  # fmt: skip
Write = Callable[[Path, list[dict[str, Any]]], None]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_json(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(rows, indent=2))


def write_csv(path: Path, rows: list[dict[str, Any]], *, delimiter: str = ",") -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(rows[0])
        for row in rows:
            writer.writerow([json.dumps(cell) if isinstance(cell, list) else cell for cell in row.values()])


def write_semicolons(path: Path, rows: list[dict[str, Any]]) -> None:
    write_csv(path, rows, delimiter=";")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=3)


def packed(write: Write) -> Write:
    def write_packed(path: Path, rows: list[dict[str, Any]]) -> None:
        write(path, rows)
        path.write_bytes(gzip.compress(path.read_bytes()))

    return write_packed


WRITERS: dict[str, tuple[str, Write]] = {
    "jsonl": ("jsonl", write_jsonl),
    "jsonl.gz": ("jsonl", packed(write_jsonl)),
    "json": ("json", write_json),
    "json.gz": ("json", packed(write_json)),
    "csv": ("csv", write_csv),
    "csv of an office": ("csv", write_semicolons),
    "parquet": ("parquet", write_parquet),
    "parquet.gz": ("parquet", packed(write_parquet)),
}


def raw_rows(path: Path) -> list[tuple[int, dict[str, Any] | BadRowError]]:
    with opened(path, detect_format(path)) as source:
        rows = list(source.rows)
        assert source.share() == pytest.approx(1.0)
    return rows


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_rows_land_from_every_format(project: Project, tmp_path: Path, name: str) -> None:
    format, write = WRITERS[name]
    file = tmp_path / "upload"  # without an ending: the content tells
    write(file, ROWS)
    report = import_file(project=project, path=file, judged_by="some-set")
    assert (report.format, report.state, report.rows, report.errors) == (format, "succeeded", len(ROWS), [])
    assert [prompt.messages for prompt in Prompt.objects.order_by("id")] == [row["prompt"] for row in ROWS]
    assert set(Response.objects.values_list("text", flat=True)) == {
        message["content"] for row in ROWS for message in (*row["chosen"], *row["rejected"])
    }
    assert sorted(Comparison.objects.values_list("judgments__strength", flat=True)) == sorted(
        row["strength"] for row in ROWS
    )


@pytest.mark.parametrize("piece", [1, 7, 64])
def test_a_json_list_is_read_whatever_the_pieces_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(json_list, "PIECE", piece)
    file = tmp_path / "rows"
    file.write_text('\ufeff [ {"a": "ü]\\"🦊"} ,12,\n{"b": [1, {"c": null}]}, "x", null]', encoding="utf-8")
    good = {n: row for n, row in raw_rows(file) if not isinstance(row, BadRowError)}
    assert good == {1: {"a": 'ü]"🦊'}, 3: {"b": [1, {"c": None}]}}
    assert [n for n, row in raw_rows(file) if isinstance(row, BadRowError)] == [2, 4, 5]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'[{"a": 1} {"b": 2}]', "neither a comma nor the list's end"),
        (b'[{"a": 1}, {"b": ', "Row 2 is not JSON"),
        (b'[{"a": 1}, nope]', "Row 2 is not JSON: Expecting value (character 1)."),
        (b'[{"a": 1}, {"b": nope}]', "Row 2 is not JSON: Expecting value (character 7)."),
        (b'[{"a": 1}, ' + b"[" * 200_000, "Row 2 is nested too deep"),
        (b'[{"a": 1}, {"b": "' + b"x" * (LONGEST_ROW + 600_000) + b'"}]', "over 2,000,000 characters"),
        (b'[{"a": 1}, {"b": NaN}]', "Row 2 is not JSON: The line contains NaN"),
        (b'[{"a": 1}, {"b": "\xff"}]', "not UTF-8"),
        (b'[{"a": 1}', "neither a comma nor the list's end"),
    ],
)
def test_a_broken_json_list_is_read_up_to_where_it_breaks(
    project: Project, tmp_path: Path, content: bytes, reason: str
) -> None:
    file = tmp_path / "rows"
    file.write_bytes(content)
    report = import_file(project=project, path=file)
    assert report.state == "failed"
    assert reason in report.error
    assert report.rows == 1


PAIRS = [{"prompt": f"Question {n}", "chosen": f"So {n * n}.", "rejected": f"No {n * 7}."} for n in range(1_500)]
ENDS: dict[str, tuple[Write, Callable[[bytes], int]]] = {
    "jsonl": (write_jsonl, lambda text: text.count(b"\n")),
    "json": (write_json, lambda text: text.count(b"}")),
    "csv": (write_csv, lambda text: text.count(b"\n") - 1),
}


@pytest.mark.parametrize("format", ENDS)
def test_a_packed_file_that_breaks_off_keeps_the_rows_before(project: Project, tmp_path: Path, format: str) -> None:
    write, count = ENDS[format]
    file = tmp_path / "rows"
    packed(write)(file, PAIRS)
    broken = file.read_bytes()[:-2_000]
    file.write_bytes(broken)
    whole = count(zlib.decompressobj(wbits=31).decompress(broken))
    assert 500 < whole < 1_500
    report = import_file(project=project, path=file)
    assert (report.state, report.rows, report.comparisons_added) == ("failed", whole, whole)
    assert report.error.startswith(f"After row {whole:,}: The file cannot be unpacked: Compressed file ended")
    assert Comparison.objects.count() == whole


@pytest.mark.parametrize("format", ["jsonl", "csv"])  # a list ends with its bracket, and is read no further
def test_a_packed_file_whose_sum_is_wrong_lands_and_is_told_of(project: Project, tmp_path: Path, format: str) -> None:
    file = tmp_path / "rows"
    packed(ENDS[format][0])(file, PAIRS)
    file.write_bytes(file.read_bytes()[:-8] + bytes(8))
    report = import_file(project=project, path=file)
    assert (report.state, report.comparisons_added) == ("failed", 1_500)
    assert report.error.startswith("After row 1,500: The file cannot be unpacked: CRC check failed")


def test_a_list_that_stops_being_utf_8_keeps_the_rows_before(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.write_bytes(json.dumps(PAIRS).encode().replace(b"Question 1400", b"Question \xff"))
    report = import_file(project=project, path=file)
    assert (report.state, report.comparisons_added) == ("failed", 1_400)
    assert report.error == "After row 1,400: The file is not UTF-8; it is read no further."


@pytest.mark.parametrize("around", ["%s\n", "[%s]"], ids=["jsonl", "json"])
def test_of_a_name_that_stands_twice_in_a_row_the_last_one_counts(tmp_path: Path, around: str) -> None:
    file = tmp_path / "rows"
    file.write_text(around % '{"chosen": "first", "rejected": "other", "chosen": "last"}')
    assert raw_rows(file) == [(1, {"chosen": "last", "rejected": "other"})]


def test_cells_of_a_table_are_texts_unless_their_column_holds_lists(tmp_path: Path) -> None:
    file = tmp_path / "rows"
    rows = [
        ["chosen", "metadata", "note", "n"],
        ["[1, 2]", '{"a": 1}', '["x"]', "3"],
        ["'=1+1", "", "'tis", "''-x"],
        ['[{"role": "assistant", "content": "x"}]', "{broken", "@", ""],
        ['{"a": 1}', "[]", "", ""],
    ]
    with file.open("w", newline="") as out:
        csv.writer(out).writerows(rows)
    assert [row for _, row in raw_rows(file)] == [
        {"chosen": "[1, 2]", "metadata": {"a": 1}, "note": '["x"]', "n": "3"},
        {"chosen": "=1+1", "note": "'tis", "n": "'-x"},
        {"chosen": [{"role": "assistant", "content": "x"}], "metadata": "{broken", "note": "@"},
        {"chosen": '{"a": 1}', "metadata": []},
    ]


def test_rows_of_a_table_that_do_not_fit_are_named_and_the_others_land(tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.write_bytes(b"a,b\n1,2\n1,2,3\n\x00,2\n3,4\n" + b'"' + b"x" * (LONGEST_ROW + 5) + b'",1\n')
    rows = raw_rows_until_broken(file)
    assert rows[:2] == [(1, {"a": "1", "b": "2"}), (2, "The row has 3 cells; the first line names 2 columns.")]
    assert (4, {"a": "3", "b": "4"}) in rows


def raw_rows_until_broken(path: Path) -> list[tuple[int, Any]]:
    found: list[tuple[int, Any]] = []
    with opened(path, detect_format(path)) as source, suppress(BadFileError):
        for number, row in source.rows:
            found.append((number, str(row) if isinstance(row, BadRowError) else row))
        pytest.fail("The file is read to its end.")
    return found


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "The file is empty"),
        (b"   \n", "The file is empty"),
        (b"just words", "none of JSON Lines"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "none of JSON Lines"),
        (b"\x1f\x8b\x08\x00garbage", "cannot be unpacked"),
        (gzip.compress(b'{"a": 1}\n' * 999, mtime=0)[:-20], "cannot be unpacked"),
        (b"PAR1garbage", "The Parquet file cannot be read"),
        (gzip.compress(b"PAR1garbage", mtime=0), "The Parquet file cannot be read"),
        (gzip.compress(b"PAR1" + bytes(range(256)) * 999, mtime=0)[:-20], "cannot be unpacked"),
    ],
)
def test_a_file_in_no_known_format_is_refused_in_words(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "rows"
    file.write_bytes(content)
    with pytest.raises(BadFileError, match=reason), opened(file, detect_format(file)) as source:
        list(source.rows)


def test_a_zip_is_not_opened(tmp_path: Path) -> None:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.jsonl", b"0" * 1_000_000)
    file = tmp_path / "rows"
    file.write_bytes(buffer.getvalue())
    with pytest.raises(BadFileError, match="Unpack it"):
        look_at(file)


def test_a_gzip_bomb_is_left_alone(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SUSPICIOUS_FROM", 1 << 20)
    file = tmp_path / "rows"
    file.write_bytes(gzip.compress(b'{"a": "' + b" " * (30 << 20) + b'"}\n'))
    report = import_file(project=project, path=file)
    assert (report.state, "far more than text does" in report.error) == ("failed", True)


@pytest.mark.parametrize("bound", ["SUSPICIOUS_FROM", "MOST_UNPACKED_TABLE"])
def test_a_table_that_unpacks_to_a_bomb_fills_no_disk(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(reading, bound, 1 << 20)
    file = tmp_path / "rows"
    file.write_bytes(gzip.compress(b"PAR1" + bytes(30 << 20)))
    report = import_file(project=project, path=file)
    assert (report.state, "far more than text does" in report.error) == ("failed", True)


def test_a_packed_table_lies_unpacked_only_as_long_as_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, space = tmp_path / "rows", tmp_path / "space"
    packed(write_parquet)(file, ROWS)
    space.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(space))
    with opened(file, detect_format(file)) as source:
        assert next(source.rows)[1] == ROWS[0]
        assert len(list(space.iterdir())) == 1
    assert look_at(file).good == len(ROWS)
    assert list(space.iterdir()) == []


def peak() -> int:
    """The most memory that this process and those it waited for have had, in MB."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) >> 10


@pytest.mark.slow
def test_a_parquet_bomb_ends_its_reader_and_nothing_else(project: Project, tmp_path: Path) -> None:
    """One text of 8 MB, 2,000 times: a file of a few kilobytes, 16 GB when it is unpacked."""
    file = tmp_path / "rows"
    text = pyarrow.array(["x" * (8 << 20)])
    column = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 2_000, pyarrow.int32()), text)
    pyarrow.parquet.write_table(pyarrow.table({"chosen": column, "rejected": column}), file, store_schema=False)
    assert file.stat().st_size < 5 << 20
    before = peak()
    report = import_file(project=project, path=file)
    assert (report.state, report.comparisons_added) == ("failed", 0)
    assert "more than can be held in memory" in report.error
    assert peak() < max(before, 3 << 10)


def test_numbers_that_are_none_and_dates_come_out_of_parquet(tmp_path: Path) -> None:
    file = tmp_path / "rows"
    table = pyarrow.table(
        {"a": [float("nan"), 1.5], "at": pyarrow.array([0, 1], pyarrow.timestamp("s")), "b": [None, "x"]}
    )
    pyarrow.parquet.write_table(table, file)
    assert [row for _, row in raw_rows(file)] == [
        {"a": None, "at": "1970-01-01 00:00:00", "b": None},
        {"a": 1.5, "at": "1970-01-01 00:00:01", "b": "x"},
    ]


def test_leaving_a_parquet_file_early_leaves_no_process(tmp_path: Path) -> None:
    file = tmp_path / "rows"
    write_parquet(file, ROWS * 2_000)
    with opened(file, "parquet") as source:
        next(source.rows)
        child = source.share.__self__._child  # type: ignore[attr-defined]
    assert child.returncode is not None
