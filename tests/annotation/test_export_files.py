"""How the files of an export are written, without a database."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pyarrow
import pyarrow.parquet
import pytest

from annotation.exporting import streaming
from annotation.exporting.formats import parquet
from annotation.exporting.shapes import llama_factory, votes
from annotation.exporting.wanted import Wanted
from annotation.models import Project

SAID = {
    "score": -2,
    "strength": None,
    "both_bad": False,
    "both_good": True,
    "reasoning": "Weil. 🦊",
    "tags": ("a", "b"),
    "acceptable": (True, None),
    "aspects": [{"aspect": "tone", "better": 0}, {"aspect": "facts", "better": 2}],
    "edited": 1,
    "edit": "x",
    "annotator": "ann",
    "decides": True,
}
BARE = {**SAID, "strength": 3, "tags": (), "acceptable": (), "aspects": [], "edited": None, "edit": ""}
VOTED = {
    "context": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": ""}],
    "response1": "a",
    "response2": "",
    "response1_author": "",
    "response2_author": "m",
    "overall_preference": -2,
    "individual_preference": [SAID, BARE],
}
SILENT = {**VOTED, "context": [], "individual_preference": []}
TURN = {"from": "gpt", "value": "Fuchs."}
TOLD = {"conversations": [TURN, TURN], "chosen": TURN, "rejected": {**TURN, "value": ""}, "system": ""}


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        ([VOTED, SILENT, VOTED], votes.COLUMNS),
        ([SILENT], votes.COLUMNS),
        ([TOLD, TOLD], llama_factory.COLUMNS),
        ([{"n": 0.5, "good": True}, {"n": 2.0, "good": False}], {"n": "number", "good": "truth"}),
    ],
    ids=["votes", "nobody's votes", "turns", "numbers"],
)
def test_a_parquet_file_holds_what_its_library_would_have_made_of_the_rows(
    rows: list[dict[str, Any]], columns: dict[str, str]
) -> None:
    file = io.BytesIO(b"".join(parquet.written([rows, rows[:1]], columns)))
    read = pyarrow.parquet.read_table(file)
    assert read == pyarrow.Table.from_pylist([*rows, rows[0]], schema=read.schema)
    assert read.column_names == list(columns)


def test_cycles_are_searched_for_while_the_reader_takes_a_piece_and_not_while_one_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def written(batches: object, columns: object) -> Iterator[bytes]:
        for _ in range(2):
            yield b"searched" if gc.isenabled() else b"not searched"
        raise OSError

    monkeypatch.setitem(streaming.FILES, "jsonl", cast(Any, SimpleNamespace(written=written)))
    pieces = streaming.export_bytes(Project(), Wanted())
    for _ in range(2):
        assert (next(pieces), gc.isenabled()) == (b"not searched", True)
    with pytest.raises(OSError):
        next(pieces)
    assert gc.isenabled()
