"""The count of the work that has to be done: by hand, against the model's weights, and against what torch counts."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, mm_flop

from bench import flops
from bench.data import Row
from bench.flops import Flops, Shape
from training.engine.models import LoraShape, add_lora
from training.engine.tiny import build_tiny

RANK = 4
BY_HAND = Shape(layers_weights=10, head_weights=5, adapter_weights=2, attention_width=3)
ROW = Row(prompt_ids=[1, 2, 3], chosen_ids=[4, 5], rejected_ids=[6])


def tiny_shape() -> Shape:
    return flops.shape_of(build_tiny(seed=0)[0].config, rank=RANK)


def test_a_forward_pass_by_hand() -> None:
    # 2·(10 + 2)·4 tokens + 2·5·2 head rows; 4·3·7 pairs of query and key
    assert flops.forward(BY_HAND, tokens=4, head_rows=2, seen=7) == Flops(116, 84)
    assert flops.forward(BY_HAND, tokens=4, head_rows=2, seen=7, adapters=False) == Flops(100, 84)


def test_a_training_step_by_hand() -> None:
    # 4·10·4 + 6·2·4 + 4·5·2; 12·3·7
    assert flops.training(BY_HAND, tokens=4, head_rows=2, seen=7) == Flops(248, 252)


def test_a_pair_counts_its_prompt_once_and_the_head_at_answers_only() -> None:
    # 3 + 2 + 1 tokens, 2 + 1 head rows. Seen: the prompt 1+2+3, the chosen answer 4+5, the rejected one 4.
    assert flops.dpo(BY_HAND, [ROW]) == flops.training(BY_HAND, tokens=6, head_rows=3, seen=19)
    assert flops.reward(BY_HAND, [ROW]) == flops.training(BY_HAND, tokens=6, head_rows=0, seen=19)


def test_a_demonstration_is_prompt_and_chosen_answer() -> None:
    assert flops.sft(BY_HAND, [ROW]) == flops.training(BY_HAND, tokens=5, head_rows=2, seen=15)


def test_sampling_feeds_every_token_but_the_last_of_an_answer() -> None:
    # A prompt of 3 and an answer of 2: 4 tokens go in, 2 are predicted, 1+2+3+4 are seen.
    expected = flops.forward(BY_HAND, tokens=4, head_rows=2, seen=10, adapters=False)
    assert flops.sampling(BY_HAND, [3], [2]) == expected


def test_a_value_of_its_own_costs_a_pass_more_without_a_head() -> None:
    body = flops.forward(BY_HAND, tokens=5, head_rows=0, seen=15)
    shared = flops.scoring(BY_HAND, [[1, 2, 3]], 2, own_value=False)
    assert flops.scoring(BY_HAND, [[1, 2, 3]], 2, own_value=True) == shared + body
    once = flops.training(BY_HAND, tokens=5, head_rows=2, seen=15)
    assert flops.ppo_training(BY_HAND, [[1, 2, 3]], 2, own_value=False, epochs=4) == once * 4


def test_what_neighbours_begin_with_counts_once_and_answers_of_a_rollout_never_do() -> None:
    # 5 tokens; 3 of the second are new: 3, 4 and 5 are seen.
    both = flops.training(BY_HAND, tokens=8, head_rows=4, seen=15 + 12)
    assert flops.ppo_training(BY_HAND, [[1, 2, 3], [1, 2, 4]], 2, own_value=False, epochs=1) == both
    same = flops.training(BY_HAND, tokens=7, head_rows=4, seen=15 + 9)
    assert flops.ppo_training(BY_HAND, [[1, 2, 3], [1, 2, 3]], 2, own_value=False, epochs=1) == same


def test_the_shape_is_that_of_the_models_weights() -> None:
    model, tokenizer = build_tiny(seed=0)
    linear = {name: part for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)}
    head = linear.pop("lm_head").weight.numel()
    layers = sum(part.weight.numel() for part in linear.values())
    trainee = add_lora(model, tokenizer, LoraShape(RANK, 8, "all-linear"), reward=False, seed=0)
    adapters = sum(item.numel() for item in trainee.trainable().values())
    config = model.config
    assert tiny_shape() == Shape(layers, head, adapters, config.num_hidden_layers * config.hidden_size)


def _in_place(sum_shape: torch.Size, a: torch.Size, b: torch.Size, **_: object) -> int:
    """The counter knows addmm, but not its in-place form."""
    return int(mm_flop(a, b))


@pytest.mark.parametrize("backward", [False, True])
def test_torch_counts_the_same_matmuls_in_a_real_pass(backward: bool) -> None:
    """All but what the docstring names: the gradient of the first layer's inputs, counted and not computed."""
    model, tokenizer = build_tiny(seed=0)
    trainee = add_lora(model, tokenizer, LoraShape(RANK, 8, "all-linear"), reward=False, seed=0)
    tokens = 12
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: _in_place}) as counter:
        logits = trainee.core(input_ids=torch.arange(tokens)[None], use_cache=False).logits
        if backward:
            logits.sum().backward()
    operations = counter.get_flop_counts()["Global"]
    matmuls = sum(count for name, count in operations.items() if "attention" not in str(name))
    shape, config = tiny_shape(), model.config
    if not backward:
        assert matmuls == flops.forward(shape, tokens=tokens, head_rows=tokens, seen=0).matmul
        return
    keys = config.hidden_size * config.num_key_value_heads // config.num_attention_heads
    spared = config.hidden_size * (config.hidden_size + 2 * keys) + 3 * RANK * config.hidden_size
    assert matmuls == flops.training(shape, tokens=tokens, head_rows=tokens, seen=0).matmul - 2 * tokens * spared
