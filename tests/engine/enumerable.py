"""A language model so small that every answer it can give is listed: what optima are compared on."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

VOCABULARY, END, PROMPT = 8, 0, [1, 3]
# Answers of one or two tokens: END, or two tokens of which the first is not END. Their probabilities sum to 1.
ANSWERS = [[END]] + [[first, second] for first in range(1, VOCABULARY) for second in range(VOCABULARY)]


def tiny_policy() -> LlamaForCausalLM:
    """The same random weights at every call."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        initializer_range=0.15,
    )
    return LlamaForCausalLM(config).eval()
