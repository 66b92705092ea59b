"""Packed passes: what they give is what each sequence gives alone, through the model's own attention."""

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import MambaConfig, MambaForCausalLM, PreTrainedModel

from tests.engine.families import families
from training.engine import backbone
from training.engine.backbone import last_hidden, packs
from training.engine.models import Trainee, save_memory, without_dropout
from training.engine.packing import Pass, Tokens, from_rows, make_pass, to_rows

CPU = torch.device("cpu")
# Two pairs that share prompts, a prompt that begins like another with its answer, one sequence twice, a prompt of one
# token, and rows far longer than a tiny sliding window.
SEQUENCES = [
    Tokens([5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], [3, 4, 5, 9, 9]),
    Tokens([5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], [8]),
    Tokens([7], [2, 4, 1, 5, 6, 7, 8, 9, 10, 11, 12, 9, 8, 7]),
    Tokens([7], [9, 3]),
    Tokens([7, 9], [3, 6]),
    Tokens([7, 9], [3, 6]),
]

token_lists = st.lists(st.integers(1, 9), min_size=1, max_size=6)
sequence_lists = st.lists(st.builds(Tokens, token_lists, token_lists), min_size=1, max_size=6)


def alone(model: PreTrainedModel, batch: Pass, sequences: list[Tokens]) -> Tensor:
    """Last hidden states of a pass, (T, H), from one ordinary forward pass per sequence."""
    hidden_TH: dict[int, Tensor] = {}
    for row, item in enumerate(sequences):
        ids = torch.tensor([[*item.prompt_ids, *item.response_ids]])
        hidden_SH = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
        for place in range(item.length):
            hidden_TH.setdefault(int(batch.rows.source_BS[row, place]), hidden_SH[place])
    return torch.stack([hidden_TH[token] for token in range(len(batch.ids_T))])


@pytest.mark.parametrize("name", families)
def test_packed_tokens_and_their_gradients_are_those_of_each_sequence_alone(name: str) -> None:
    model, _ = families[name]()
    untouched = copy.deepcopy(model)
    batch = make_pass(SEQUENCES, CPU)
    packed_TH = last_hidden(model, batch)
    expected_TH = alone(untouched, batch, SEQUENCES)
    assert packs(model)
    assert len(batch.ids_T) == 12 + 5 + 1 + 1 + 14 + 2 + 1  # what neighbours begin with, once
    assert (packed_TH - expected_TH).abs().max() <= 1e-5 * expected_TH.abs().max()

    weight_TH = torch.randn(packed_TH.shape, generator=torch.Generator().manual_seed(1))
    (packed_TH * weight_TH).sum().backward()
    (expected_TH * weight_TH).sum().backward()
    theirs = {key: item.grad for key, item in untouched.named_parameters() if item.grad is not None}
    ours = {key: item.grad for key, item in model.named_parameters() if item.grad is not None}
    assert set(ours) == set(theirs)
    largest = max(float(item.abs().max()) for item in theirs.values())
    assert max(float((ours[key] - theirs[key]).abs().max()) for key in theirs) <= 1e-5 * largest


@pytest.mark.parametrize("name", families)
def test_recomputed_activations_give_the_same_gradients(name: str) -> None:
    """Gradient checkpointing hands every layer its rows again, and training mode brings no dropout back."""
    found = []
    for saving in (False, True):
        model, tokenizer = families[name]()
        if saving:
            save_memory(Trainee(without_dropout(model), tokenizer, CPU))
            assert model.is_gradient_checkpointing
            assert model.training
        hidden_TH = last_hidden(model, make_pass(SEQUENCES, CPU))
        assert packs(model)
        (hidden_TH * torch.randn(hidden_TH.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
        found.append({key: item.grad for key, item in model.named_parameters() if item.grad is not None})
    plain, recomputed = found
    assert len(plain) > 10
    torch.testing.assert_close(recomputed, plain, rtol=1e-5, atol=1e-5)


def test_a_model_without_replaceable_attention_gets_padded_rows() -> None:
    config = MambaConfig(vocab_size=32, hidden_size=16, num_hidden_layers=2, pad_token_id=0, eos_token_id=0)
    torch.manual_seed(0)
    model = MambaForCausalLM(config).eval()
    batch = make_pass(SEQUENCES, CPU)
    with torch.no_grad():
        torch.testing.assert_close(last_hidden(model, batch), alone(model, batch, SEQUENCES), rtol=1e-4, atol=1e-5)
    assert not packs(model)


def test_the_probe_finds_attention_that_looks_beyond_its_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = families[next(iter(families))]()
    before = model.config._attn_implementation

    def without_rows(*args: Any, rows: object = None, **kwargs: Any) -> tuple[Tensor, None]:
        return backbone.attention(*args, **kwargs)

    monkeypatch.setitem(backbone.AttentionInterface._global_mapping, backbone.NAME, without_rows)
    assert not packs(model)
    assert model.config._attn_implementation == before
    batch = make_pass(SEQUENCES, CPU)
    with torch.no_grad():
        torch.testing.assert_close(last_hidden(model, batch), alone(model, batch, SEQUENCES), rtol=1e-4, atol=1e-5)


@given(sequence_lists)
def test_every_response_token_is_told_its_row_its_id_and_the_token_before(sequences: list[Tokens]) -> None:
    batch = make_pass(sequences, CPU)
    before = [([*item.prompt_ids, *item.response_ids])[len(item.prompt_ids) - 1 : -1] for item in sequences]
    assert batch.token_N.tolist() == [token for item in sequences for token in item.response_ids]
    assert batch.row_N.tolist() == [row for row, item in enumerate(sequences) for _ in item.response_ids]
    assert batch.ids_T[batch.before_N].tolist() == [token for row in before for token in row]
    assert batch.ids_T[batch.last_B].tolist() == [item.response_ids[-1] for item in sequences]
    assert batch.position_T[batch.last_B].tolist() == [item.length - 1 for item in sequences]


@given(sequence_lists)
def test_neighbours_have_one_place_for_what_both_begin_with_and_no_other(sequences: list[Tokens]) -> None:
    source_BS = make_pass(sequences, CPU).rows.source_BS.tolist()
    whole = [[*item.prompt_ids, *item.response_ids] for item in sequences]
    for (left, right), (places, next_places) in zip(pairwise(whole), pairwise(source_BS), strict=True):
        for end in range(1, min(len(left), len(right)) + 1):
            assert (places[end - 1] == next_places[end - 1]) == (left[:end] == right[:end])


@given(sequence_lists)
def test_rows_hold_each_sequence_and_give_every_token_back(sequences: list[Tokens]) -> None:
    batch = make_pass(sequences, CPU)
    rows = [row[: item.length] for row, item in zip(batch.ids_T[batch.rows.source_BS].tolist(), sequences, strict=True)]
    assert rows == [[*item.prompt_ids, *item.response_ids] for item in sequences]
    value_TX = torch.randn(len(batch.ids_T), 3)
    assert torch.equal(from_rows(to_rows(value_TX, batch.rows), batch.rows), value_TX)


def test_a_second_answer_to_a_long_prompt_asks_for_its_own_tokens_alone() -> None:
    prompt = list(range(2, 14))
    rows = make_pass([Tokens(prompt, [1] * 6), Tokens(prompt, [15, 16]), Tokens(prompt, [17, 18, 19])], CPU).rows
    assert rows.tails is not None
    assert rows.tails.whole == 1
    assert rows.tails.queries.source_BS.shape == (1, 18 + 3 + 3)
    assert rows.tails.place_QW.tolist() == [[11, 12, 13], [12, 13, 14]]
    assert make_pass([Tokens(prompt, [1] * 6), Tokens(prompt, [15] * 7)], CPU).rows.tails is None  # too long for a mask


@given(sequence_lists)
def test_a_tails_queries_stand_where_their_tokens_do_in_its_row(sequences: list[Tokens]) -> None:
    batch = make_pass(sequences, CPU)
    tails = batch.rows.tails
    if tails is None:
        return
    value_TX = torch.randn(len(batch.ids_T), 3)
    assert torch.equal(from_rows(to_rows(value_TX, tails.queries), tails.queries), value_TX)
    asked_F, keys_BS = tails.queries.source_BS[0], tails.keys.source_BS
    border = tails.whole * keys_BS.shape[1]
    assert torch.equal(asked_F[:border].view(tails.whole, -1), keys_BS[: tails.whole])
    assert torch.equal(asked_F[border:].view(tails.place_QW.shape), keys_BS[tails.whole :].gather(1, tails.place_QW))


@given(sequence_lists, st.booleans())
def test_the_gradients_of_spreading_are_those_of_plain_indexing(sequences: list[Tokens], share: bool) -> None:
    batch = make_pass(sequences, CPU, share=share)
    rows, tokens = batch.rows, len(batch.ids_T)
    value_TX = torch.randn(tokens, 2, requires_grad=True, dtype=torch.double)
    is_real_BS1 = torch.tensor(
        [[place < item.length for place in range(rows.source_BS.shape[1])] for item in sequences]
    )
    weight_BSX = torch.randn(*rows.source_BS.shape, 2, dtype=torch.double) * is_real_BS1[..., None]
    weight_TX = torch.randn(tokens, 2, dtype=torch.double)
    (to_rows(value_TX, rows) * weight_BSX).sum().backward()
    ours, value_TX.grad = value_TX.grad, None
    (value_TX[rows.source_BS] * weight_BSX).sum().backward()
    torch.testing.assert_close(ours, value_TX.grad)

    value_BSX = torch.randn(*rows.source_BS.shape, 2, requires_grad=True, dtype=torch.double)
    (from_rows(value_BSX, rows) * weight_TX).sum().backward()
    ours, value_BSX.grad = value_BSX.grad, None
    (value_BSX.flatten(0, 1)[rows.place_T] * weight_TX).sum().backward()
    torch.testing.assert_close(ours, value_BSX.grad)


def test_a_gradient_that_is_not_a_number_in_the_padding_changes_nothing() -> None:
    batch = make_pass(SEQUENCES, CPU)
    value_TX = torch.randn(len(batch.ids_T), 2, requires_grad=True)
    spread_BSX = to_rows(value_TX, batch.rows)
    gradient_BSX = torch.full(spread_BSX.shape, float("nan"))
    for row, item in enumerate(SEQUENCES):
        gradient_BSX[row, : item.length] = 1.0
    (found_TX,) = torch.autograd.grad(spread_BSX, value_TX, gradient_BSX)
    times_seen_T = torch.zeros(len(batch.ids_T))
    for row, item in enumerate(SEQUENCES):
        times_seen_T[batch.rows.source_BS[row, : item.length]] += 1
    assert torch.equal(found_TX, times_seen_T[:, None].expand(-1, 2))
