"""The archive that is computed, not stored."""

import io
import tarfile
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_registry.archive import Archive, Member, UnsafeNameError

FILES = {
    "config.json": b"{}",
    "model.safetensors": bytes(range(256)) * 5,
    "empty.txt": b"",
    "deep/er/x.txt": b"x" * 512,
}


def make(files: dict[str, bytes] = FILES, top: str = "model-v1-merged") -> Archive:
    return Archive(
        top=top, members=[Member(path, len(content)) for path, content in files.items()], mtime=1_700_000_000
    )


def opener(files: dict[str, bytes] = FILES):  # type: ignore[no-untyped-def]
    return lambda path: io.BytesIO(files[path])


def whole(archive: Archive) -> bytes:
    return b"".join(archive.read(opener()))


def test_a_plain_tar_reader_finds_every_file_with_its_content() -> None:
    archive = make()
    with tarfile.open(fileobj=io.BytesIO(whole(archive))) as tar:
        found = {info.name: tar.extractfile(info).read() for info in tar.getmembers()}  # type: ignore[union-attr]
        times = {info.mtime for info in tar.getmembers()}
    assert found == {f"model-v1-merged/{path}": content for path, content in FILES.items()}
    assert times == {1_700_000_000}


def test_its_size_is_known_before_it_is_read() -> None:
    archive = make()
    assert archive.size == len(whole(archive))
    assert archive.size % 512 == 0


@given(st.lists(st.integers(0, make().size), max_size=6))
def test_pieces_cut_anywhere_join_to_the_whole(cuts: list[int]) -> None:
    archive = make()
    edges = sorted({0, *cuts, archive.size})
    pieces = [b"".join(archive.read(opener(), start=first, stop=last)) for first, last in pairwise(edges)]
    assert [len(piece) for piece in pieces] == [last - first for first, last in pairwise(edges)]
    assert b"".join(pieces) == whole(archive)


def test_the_order_in_which_files_are_named_changes_nothing() -> None:
    assert whole(make(dict(reversed(FILES.items())))) == whole(make())


def test_a_file_larger_than_eight_gigabytes_has_a_header_that_says_so() -> None:
    size = 9 * 2**30
    archive = Archive(top="big", members=[Member("model.safetensors", size)], mtime=0)
    head = b"".join(archive.read(lambda path: io.BytesIO(), stop=archive.size - size - 1024))
    with tarfile.open(fileobj=io.BytesIO(head)) as tar:
        first = tar.next()
    assert first is not None
    assert (first.name, first.size) == ("big/model.safetensors", size)


@pytest.mark.parametrize(
    "path",
    ["../evil.txt", "/etc/passwd", "a/../../b.txt", ".hidden", "a//b", "", "a\nb.txt", "a\\b.txt", "-rf.txt", "a/"],
)
def test_an_unsafe_name_is_refused(path: str) -> None:
    with pytest.raises(UnsafeNameError):
        make({path: b""})
    with pytest.raises(UnsafeNameError):
        make(top=path)


def test_a_stored_file_that_ends_early_is_an_error_not_a_short_archive() -> None:
    with pytest.raises(OSError, match=r"config\.json is shorter"):
        list(make().read(opener(FILES | {"config.json": b""})))


def test_memory_stays_flat() -> None:
    archive = Archive(top="big", members=[Member("model.safetensors", 2**30)], mtime=0)

    class Zeros(io.RawIOBase):
        def seek(self, offset: int, whence: int = 0) -> int:
            return offset

        def read(self, size: int = -1) -> bytes:
            assert 0 < size <= 2**20
            return bytes(size)

    sizes = [len(piece) for piece in archive.read(lambda path: Zeros(), stop=2**24)]  # type: ignore[arg-type,return-value]
    assert sum(sizes) == 2**24
    assert max(sizes) <= 2**20
