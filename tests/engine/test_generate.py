"""The sampler against transformers' own generation, against naive draws, and under changes that must not matter."""

from __future__ import annotations

import itertools

import pytest
import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from training.engine.generate import draw_tokens, generate, invert_distribution, stop_token_ids
from training.engine.tiny import tiny_tokenizer

VOCABULARY = 40
PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14, 15], [0, 0, 16], [17, 18], [19, 20, 21, 22]]


def _llama() -> PreTrainedModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
        eos_token_id=2,
        pad_token_id=2,
    )
    return LlamaForCausalLM(config).eval()


def _gpt2() -> PreTrainedModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.3)
    ).eval()


def _gemma_with_a_sliding_window() -> PreTrainedModel:
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=5,
        layer_types=["sliding_attention", "full_attention"] * 2,
        initializer_range=0.3,
    )
    return Gemma3ForCausalLM(config).eval()


FAMILIES = pytest.mark.parametrize("build", [_llama, _gpt2, _gemma_with_a_sliding_window])


@FAMILIES
def test_greedy_answers_are_those_of_transformers_generate(build):
    model = build()
    ours = generate(model, PROMPTS, stop_ids=[2], max_new_tokens=12, temperature=0)
    assert len(ours) == len(PROMPTS)
    for prompt, sample in zip(PROMPTS, ours, strict=True):
        ids = torch.tensor([prompt])
        theirs = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=12,
            eos_token_id=2,
            pad_token_id=3,
        )
        assert sample.token_ids == theirs[0, len(prompt) :].tolist()


@FAMILIES
def test_an_answer_does_not_depend_on_its_company_its_place_or_the_padding(build):
    model = build()
    options = {"stop_ids": [2, 3], "max_new_tokens": 16, "seed": 7}
    together = generate(model, PROMPTS, **options)
    alone = [generate(model, [prompt], **options)[0] for prompt in PROMPTS]
    backwards = generate(model, PROMPTS[::-1], batch_rows=4, **options)[::-1]
    in_small_batches = generate(model, PROMPTS, batch_tokens=40, **options)
    assert together == alone == backwards == in_small_batches
    assert len({tuple(sample.token_ids) for sample in together}) == len(PROMPTS)


def test_several_answers_to_one_prompt_share_its_prefill_and_differ():
    model = _llama()
    options = {"stop_ids": [2], "max_new_tokens": 8, "seed": 1}
    lengths_seen = []
    forward = model.base_model.forward

    def counting_forward(**kwargs):
        lengths_seen.append(tuple(kwargs["input_ids"].shape))
        return forward(**kwargs)

    model.base_model.forward = counting_forward
    answers = generate(model, [PROMPTS[0]] * 3, numbers=[0, 1, 2], **options)
    assert lengths_seen[0] == (1, len(PROMPTS[0]))
    assert len({tuple(answer.token_ids) for answer in answers}) == 3
    assert answers[2] == generate(model, [PROMPTS[0]], numbers=[2], **options)[0]


def test_the_seed_decides_the_answer():
    model = _llama()
    first, again, other = (generate(model, PROMPTS, stop_ids=[2], max_new_tokens=8, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_a_longer_limit_only_continues_an_answer():
    model = _llama()
    short = generate(model, PROMPTS, stop_ids=[], max_new_tokens=4, seed=3)
    long = generate(model, PROMPTS, stop_ids=[], max_new_tokens=9, seed=3)
    assert [sample.token_ids for sample in short] == [sample.token_ids[:4] for sample in long]


def test_an_answer_ends_with_the_first_of_any_stop_token_and_not_otherwise():
    model = _llama()
    # 24 rows: an ended one stays in the batch for a while before it is dropped with others.
    options = {"numbers": list(range(24)), "max_new_tokens": 20, "seed": 5}
    free = generate(model, PROMPTS * 4, stop_ids=[], **options)
    assert not any(sample.ended for sample in free)
    stops = {free[0].token_ids[3], free[1].token_ids[6]}
    stopped = generate(model, PROMPTS * 4, stop_ids=stops, **options)
    expected = []
    for sample in free:
        end = next((place for place, token in enumerate(sample.token_ids) if token in stops), None)
        expected.append(sample.token_ids if end is None else sample.token_ids[: end + 1])
    assert [sample.token_ids for sample in stopped] == expected
    assert [sample.ended for sample in stopped] == [ids[-1] in stops for ids in expected]
    assert sum(sample.ended for sample in stopped) >= 2


def test_ended_rows_leave_the_batch():
    model = _llama()
    rows_fed = []
    forward = model.base_model.forward

    def counting_forward(**kwargs):
        rows_fed.append(kwargs["input_ids"].shape[0])
        return forward(**kwargs)

    free = generate(model, PROMPTS, stop_ids=[], max_new_tokens=20, seed=5)
    model.base_model.forward = counting_forward
    generate(model, PROMPTS, stop_ids=[free[0].token_ids[3]], max_new_tokens=20, seed=5)
    assert rows_fed == sorted(rows_fed, reverse=True)
    assert rows_fed[-1] < rows_fed[0] == len(PROMPTS)


def test_the_cache_stays_one_piece_of_memory_when_rows_leave():
    model = _llama()
    pieces, rows = set(), []
    forward = model.base_model.forward

    def watching_forward(**kwargs):
        layers = kwargs["past_key_values"].layers
        if hasattr(layers[0], "slabs"):  # the prompts are read into a cache of their own
            pieces.update(slab.untyped_storage().data_ptr() for layer in layers for slab in layer.slabs)
            rows.append(len(layers[0].slabs[0]))
        return forward(**kwargs)

    free = generate(model, PROMPTS, stop_ids=[], max_new_tokens=20, seed=5)
    model.base_model.forward = watching_forward
    generate(model, PROMPTS, stop_ids=[free[0].token_ids[3]], max_new_tokens=20, seed=5)
    assert rows[-1] < rows[0]
    assert len(pieces) == 1


def test_first_tokens_are_drawn_with_the_models_probabilities():
    model = _llama()
    count, temperature = 4000, 1.7
    samples = generate(
        model,
        [PROMPTS[0]] * count,
        numbers=list(range(count)),
        stop_ids=[],
        max_new_tokens=1,
        temperature=temperature,
        batch_rows=count,
        batch_tokens=10**6,
    )
    with torch.no_grad():
        logits_V = model(input_ids=torch.tensor([PROMPTS[0]])).logits[0, -1]
    expected_V = torch.softmax(logits_V / temperature, -1)
    counts_V = torch.bincount(torch.tensor([sample.token_ids[0] for sample in samples]), minlength=VOCABULARY)
    # 4000 draws over 40 tokens: the expected total variation of a right sampler is below sqrt(40 / 4000) / 2 = 0.05.
    assert 0.5 * (counts_V / count - expected_V).abs().sum() < 0.05


def test_inverting_a_distribution_agrees_with_a_cumulative_sum():
    torch.manual_seed(0)
    weight_BV = torch.rand(50, 1000).pow(4)
    uniform_B = torch.rand(50, dtype=torch.float64)
    cumulative_BV = weight_BV.double().cumsum(-1)
    expected_B = [
        next(place for place, mass in enumerate(row) if mass > uniform * row[-1])
        for row, uniform in zip(cumulative_BV.tolist(), uniform_B.tolist(), strict=True)
    ]
    assert invert_distribution(weight_BV, uniform_B).tolist() == expected_B


@pytest.mark.parametrize("place", [0, 255, 256, 300, 599])
@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-53])
def test_a_token_of_probability_zero_is_never_drawn(place, uniform):
    weight_BV = torch.zeros(1, 600)
    weight_BV[0, place] = 1e-3
    assert invert_distribution(weight_BV, torch.tensor([uniform], dtype=torch.float64)).tolist() == [place]


@pytest.mark.parametrize(("top_p", "top_k"), list(itertools.product([0.3, 0.9, 1.0], [0, 1, 5])))
def test_truncated_draws_follow_the_truncated_distribution(top_p, top_k):
    torch.manual_seed(0)
    probability_V = torch.softmax(torch.randn(20) * 2, -1)
    draws = 4001
    uniform_B = (torch.arange(draws, dtype=torch.float64) + 0.5) / draws
    tokens_B = draw_tokens(probability_V.expand(draws, -1), uniform_B, top_p, top_k)
    ranked = sorted(range(20), key=lambda token: -probability_V[token].item())[: top_k or 20]
    kept, mass, total = [], 0.0, sum(probability_V[token].item() for token in ranked)
    for token in ranked:
        if mass < top_p:
            kept.append(token)
        mass += probability_V[token].item() / total
    kept_mass = sum(probability_V[token].item() for token in kept)
    shares = torch.bincount(tokens_B, minlength=20) / draws
    for token in range(20):
        expected = probability_V[token].item() / kept_mass if token in kept else 0.0
        assert shares[token].item() == pytest.approx(expected, abs=1 / draws)


def test_rounding_at_the_end_of_a_distribution_never_draws_a_token_of_probability_zero():
    torch.manual_seed(0)
    weight_BV = torch.rand(500, 600)
    weight_BV[:, 500:] = 0
    uniform_B = torch.full((500,), 1 - 2**-53, dtype=torch.float64)
    token_B = invert_distribution(weight_BV, uniform_B)
    assert set(token_B.tolist()) <= set(range(490, 500))


def test_a_flat_distribution_falls_back_to_sorting_the_whole_vocabulary():
    draws = 2000
    uniform_B = (torch.arange(draws, dtype=torch.float64) + 0.5) / draws
    drawn_B = draw_tokens(torch.full((1, 2000), 1 / 2000).expand(draws, -1), uniform_B, 0.9)
    assert drawn_B.unique().numel() == pytest.approx(1800, abs=1)


def test_stop_tokens_come_from_tokenizer_config_and_generation_config():
    model = _llama()
    model.config.eos_token_id = 2
    model.generation_config.eos_token_id = [4, 5]

    tokenizer = tiny_tokenizer()
    turn_end, eos = tokenizer.convert_tokens_to_ids(["<|end|>", "<|pad|>"])
    tokenizer.eos_token = "<|pad|>"
    assert turn_end != eos
    assert stop_token_ids(model, tokenizer) == {2, 4, 5, turn_end, eos}


@pytest.mark.parametrize(
    "change", [{"max_new_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"prompts_ids": [[5], []]}]
)
def test_impossible_requests_are_refused(change):
    options = {"prompts_ids": [[5]], "stop_ids": [2], "max_new_tokens": 4, **change}
    with pytest.raises(ValueError, match=r"must be at least|without tokens"):
        generate(_llama(), **options)


def test_the_model_comes_back_in_the_mode_it_was_in():
    model = _llama().train()
    generate(model, PROMPTS, stop_ids=[2], max_new_tokens=2)
    assert model.training
