"""`python -m annotation.importing.formats.parquet_child FILE`: the number of rows, then the rows as JSON Lines.

Its memory is bounded. Ends with 1 and one line on the error stream if the file cannot be read within the bounds.
"""

from __future__ import annotations

import json
import math
import resource
import sys
from typing import Any

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
            print(file.metadata.num_rows)
            for batch in file.iter_batches(batch_size=ROWS_AT_A_TIME, use_threads=False):
                sys.stdout.writelines(_line(row) for row in batch.to_pylist())
    except MemoryError:
        raise SystemExit("The file unpacks to more than can be held in memory.") from None
    except (pyarrow.ArrowException, OSError, ValueError, RecursionError) as error:
        raise SystemExit(f"The Parquet file cannot be read: {str(error).splitlines()[0]}") from None


def _line(row: dict[str, Any]) -> str:
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False, default=str) + "\n"
    except ValueError:
        return json.dumps(_finite(row), ensure_ascii=False, default=str) + "\n"


def _finite(value: Any) -> Any:
    """The same with null for numbers that are none: Parquet's writers put NaN where a value is missing."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return value


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogatepass")  # type: ignore[union-attr]
    main(sys.argv[1])
