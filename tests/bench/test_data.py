"""The ids that every arm reads."""

from pathlib import Path

import pytest

from bench import data
from bench.data import Row
from bench.errors import MissingError
from training.engine.tiny import PAIRS, tiny_tokenizer


def test_rows_are_those_of_the_file_in_its_order(pairs_file: Path) -> None:
    tokenizer = tiny_tokenizer()
    rows = data.short_rows(pairs_file, tokenizer, 3)
    assert len(rows) == 3
    for row, (question, answer) in zip(rows, PAIRS[:3], strict=True):
        assert question in tokenizer.decode(row.prompt_ids)
        assert tokenizer.decode(row.chosen_ids) == answer + tokenizer.eos_token


def test_a_long_prompt_has_its_length_and_ends_as_the_prompt_did(pairs_file: Path) -> None:
    rows = data.short_rows(pairs_file, tiny_tokenizer(), 4)
    longer = data.with_long_prompts(rows, 200)
    assert [len(row.prompt_ids) for row in longer] == [200] * 4
    for before, after in zip(rows, longer, strict=True):
        assert after.prompt_ids[-len(before.prompt_ids) :] == before.prompt_ids
        assert (after.chosen_ids, after.rejected_ids) == (before.chosen_ids, before.rejected_ids)
    nearest, own = rows[1].prompt_ids, rows[0].prompt_ids
    assert longer[0].prompt_ids[-len(nearest) - len(own) :] == nearest + own


def test_a_prompt_that_is_too_long_keeps_its_end() -> None:
    row = Row(list(range(10)), [1], [2])
    assert data.with_long_prompts([row], 4)[0].prompt_ids == [6, 7, 8, 9]


def test_lengthened_rows_have_so_many_times_the_tokens() -> None:
    row = Row([1, 2], [3], [4, 5])
    assert data.lengthened([row], 3)[0].pair_tokens == 3 * row.pair_tokens


def test_a_smaller_last_batch_is_left_out() -> None:
    rows = [Row([number], [1], [2]) for number in range(7)]
    assert [[row.prompt_ids[0] for row in batch] for batch in data.batches_of(rows, 3)] == [[0, 1, 2], [3, 4, 5]]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    rows = [Row([1, 2], [3], [4]), Row([5], [6], [7, 8])]
    data.write_rows(rows, tmp_path / "deep" / "rows.jsonl")
    assert data.read_rows(str(tmp_path / "deep" / "rows.jsonl")) == rows


def test_a_missing_file_is_one_line_that_says_what_to_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PREFLOOP_BENCH_DATA", str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(MissingError, match=r"nowhere\.jsonl is not there.*PREFLOOP_BENCH_DATA"):
        data.data_path()


def test_too_few_pairs_are_told(pairs_file: Path) -> None:
    with pytest.raises(MissingError, match="holds 16 pairs; 64 are needed"):
        data.short_rows(pairs_file, tiny_tokenizer())
