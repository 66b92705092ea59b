"""Parquet, in row groups as they come, compressed with snappy."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow

TITLE = "Parquet"
CONTENT_TYPE = "application/vnd.apache.parquet"


ROW_GROUP = 2_000  # rows; what the file's end says of each group is held until then


def written(batches: Iterable[list[dict[str, Any]]], columns: Mapping[str, str]) -> Iterator[bytes]:
    """The file, a piece for every group of rows."""
    # Imported where it is needed: it takes the web process a second and 60 MB.
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([(name, _type(kind)) for name, kind in columns.items()])
    sink = _Taken()
    with pyarrow.parquet.ParquetWriter(sink, schema) as writer:
        for batch in _groups(batches):
            arrays = [_array([row[column.name] for row in batch], column.type) for column in schema]
            writer.write_batch(pyarrow.RecordBatch.from_arrays(arrays, schema=schema))
            yield sink.take()
    yield sink.take()


def _groups(batches: Iterable[list[dict[str, Any]]]) -> Iterator[list[dict[str, Any]]]:
    """The same rows, as many as one group has."""
    rows = chain.from_iterable(batches)
    while group := list(islice(rows, ROW_GROUP)):
        yield group


def _type(kind: str) -> pyarrow.DataType:
    import pyarrow as pa

    text, whole, truth = pa.string(), pa.int64(), pa.bool_()
    turn = pa.struct([("from", text), ("value", text)])
    aspect = pa.struct([("aspect", text), ("better", whole)])
    vote = [
        ("score", whole),
        ("strength", whole),
        ("both_bad", truth),
        ("both_good", truth),
        ("reasoning", text),
        ("tags", pa.list_(text)),
        ("acceptable", pa.list_(truth)),
        ("aspects", pa.list_(aspect)),
        ("edited", whole),
        ("edit", text),
        ("annotator", text),
        ("decides", truth),
    ]
    kinds = {
        "text": text,
        "whole": whole,
        "number": pa.float64(),
        "truth": truth,
        "messages": pa.list_(pa.struct([("role", text), ("content", text)])),
        "turn": turn,
        "turns": pa.list_(turn),
        "votes": pa.list_(pa.struct(vote)),
    }
    return kinds[kind]


def _array(values: Sequence[Any], kind: pyarrow.DataType) -> pyarrow.Array:
    """A column. Lists and objects, none of them null, are taken apart here: pyarrow looks up each object's fields by
    itself in several times the time."""
    import pyarrow as pa

    if pa.types.is_list(kind):
        ends = pa.array([0, *accumulate(map(len, values))], pa.int32())
        return pa.ListArray.from_arrays(ends, _array([*chain.from_iterable(values)], kind.value_type))
    if pa.types.is_struct(kind):
        return pa.StructArray.from_arrays(
            [_array([value[part.name] for value in values], part.type) for part in kind], fields=list(kind)
        )
    return pa.array(values, kind)


class _Taken(io.RawIOBase):
    """A file that forgets what was taken from it."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._pieces.append(bytes(data))
        return len(self._pieces[-1])

    def take(self) -> bytes:
        taken, self._pieces = b"".join(self._pieces), []
        return taken
