import pytest

from models_registry.ranges import ByteRange, UnsatisfiableError, parse_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=0-99", ByteRange(0, 100)),
        ("bytes=10-", ByteRange(10, 100)),
        ("bytes=99-", ByteRange(99, 100)),
        ("bytes=-1", ByteRange(99, 100)),
        ("bytes=-500", ByteRange(0, 100)),
        ("bytes=90-500", ByteRange(90, 100)),
        (" Bytes = 5 - 6 ", ByteRange(5, 7)),
    ],
)
def test_one_range_is_cut_to_the_size(header: str, expected: ByteRange) -> None:
    assert parse_range(header, 100) == expected


@pytest.mark.parametrize(
    "header",
    ["", "bytes=", "bytes=-", "bytes=5-4", "bytes=0-1,5-6", "lines=0-5", "bytes=a-b", "bytes=" + "9" * 40 + "-"],
)
def test_what_is_not_one_range_of_bytes_is_ignored(header: str) -> None:
    assert parse_range(header, 100) is None


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_behind_the_end_cannot_be_served(header: str) -> None:
    with pytest.raises(UnsatisfiableError):
        parse_range(header, 100)
