"""`python -m annotation.importing.formats.parquet_child FILE`: the number of rows, then the rows as JSON Lines.

Its memory is bounded. Ends with 1 and one line on the error stream if the file cannot be read within the bounds.
"""

from __future__ import annotations

import resource
import sys
from typing import Any

import orjson

MOST_MEMORY = 3 << 30  # bytes of address space; pyarrow and its libraries map about one gigabyte of it
MOST_ROWS = 50_000_000
MOST_COLUMNS = 200
ROWS_AT_A_TIME = 500


def main(path: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    import pyarrow
    import pyarrow.parquet

    pyarrow.set_memory_pool(pyarrow.system_memory_pool())
    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if file.metadata.num_rows > MOST_ROWS or file.metadata.num_columns > MOST_COLUMNS:
                raise SystemExit(f"The file has more than {MOST_ROWS:,} rows or {MOST_COLUMNS} columns.")
            sys.stdout.buffer.write(b"%d\n" % file.metadata.num_rows)
            for batch in file.iter_batches(batch_size=ROWS_AT_A_TIME, use_threads=False):
                sys.stdout.buffer.writelines(_line(row) for row in batch.to_pylist())
    except MemoryError:
        raise SystemExit("The file unpacks to more than can be held in memory.") from None
    except (pyarrow.ArrowException, OSError, TypeError, ValueError, RecursionError) as error:
        raise SystemExit(f"The Parquet file cannot be read: {str(error).splitlines()[0]}") from None


def _line(row: dict[str, Any]) -> bytes:
    """Numbers that are none become null: Parquet's writers put NaN where a value is missing."""
    return orjson.dumps(row, default=str, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_DATETIME)


if __name__ == "__main__":
    main(sys.argv[1])
