"""A tiny model of our own: random weights, a real byte-level tokenizer, a chat template. For tests and for machines
that have no model at all.
"""

from __future__ import annotations

import time
from typing import Any, cast

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
SPECIAL = ("<|pad|>", "<|start|>", "<|end|>")
PAIRS = (
    ("What is the capital of France?", "Paris."),
    ("Name a colour of the rainbow.", "Blue is one of them."),
    ("How many days has a week?", "A week has seven days."),
    ("Say hello.", "Hello! It is good to see you."),
    ("What do bees make?", "Bees make honey and wax."),
    ("Which is larger, 3 or 5?", "5 is larger than 3."),
    ("Give me a short tip for sleeping well.", "Go to bed at the same time every night, and keep the room dark."),
    ("Write one line of Python that prints hi.", "print('hi')"),
)


def build_tiny(seed: int, train_seconds: float = 0.0) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A two-layer Llama of about 0.2 million parameters and its tokenizer; the same for the same seed if untrained."""
    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    if train_seconds > 0:
        _learn_to_talk(model, tokenizer, train_seconds)
    model.train(False)
    return model, tokenizer


def tiny_tokenizer() -> PreTrainedTokenizerBase:
    """Byte-level BPE with a few hundred merges, an end token that is not the pad token, and a chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words = [text for pair in PAIRS for text in pair]
    tokenizer.train_from_iterator(["system user assistant", *words] * 4, trainer)
    fast: Any = PreTrainedTokenizerFast
    return cast(
        PreTrainedTokenizerBase,
        fast(
            tokenizer_object=tokenizer,
            pad_token=SPECIAL[0],
            eos_token=SPECIAL[2],
            additional_special_tokens=[SPECIAL[1]],
            chat_template=TEMPLATE,
            clean_up_tokenization_spaces=False,
        ),
    )


def _learn_to_talk(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, seconds: float) -> None:
    """Learn the few lines above by heart, for so long."""
    rows = []
    for question, answer in PAIRS:
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        text = str(tokenizer.apply_chat_template(messages, tokenize=False))
        rows.append(tokenizer(text, add_special_tokens=False)["input_ids"])
    longest = max(map(len, rows))
    ids = torch.tensor([row + [tokenizer.pad_token_id] * (longest - len(row)) for row in rows])
    labels = torch.where(ids == tokenizer.pad_token_id, -100, ids)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        optimiser.zero_grad()
        model(input_ids=ids, labels=labels, use_cache=False).loss.backward()
        optimiser.step()
