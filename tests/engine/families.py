"""Tiny random models of the families people use, each with a tokenizer of the kind that family comes with.

``families`` maps a name to a builder; a builder gives a fresh model in fp32 and its tokenizer, always the same ones.
Two layers, a hidden size of 32: seconds are for the tests, not for the models.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from training.engine.tiny import PAIRS

WORDS = ["system user assistant model", *(text for pair in PAIRS for text in pair)] * 4

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HEADERS = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] }}"
    "<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
TURNS_WITHOUT_SYSTEM = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}"
    "{% endif %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ m['content'] }}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def byte_level_tokenizer(
    *,
    eos: str = "",
    bos: str = "",
    pad: str = "",
    extra: tuple[str, ...] = (),
    template: str = "",
    adds_bos: bool = False,
) -> PreTrainedTokenizerBase:
    """Byte-level BPE with the special tokens asked for: GPT-2, Pythia, Qwen, Llama 3, SmolLM."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=_distinct(eos, bos, pad, *extra),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(WORDS, trainer)
    return _finished(tokenizer, eos=eos, bos=bos, pad=pad, extra=extra, template=template, adds_bos=adds_bos)


def unigram_tokenizer(
    *,
    eos: str = "",
    bos: str = "",
    pad: str = "",
    extra: tuple[str, ...] = (),
    template: str = "",
    adds_bos: bool = False,
    prefix_space: bool = False,
) -> PreTrainedTokenizerBase:
    """A unigram model over ▁-marked words with bytes to fall back on, like SentencePiece's: Gemma, Llama 2, Mistral."""
    unknown, spaces, byte_names = "<unk>", ("▁▁", "▁▁▁"), [f"<0x{number:02X}>" for number in range(256)]
    learner = Tokenizer(models.Unigram())
    learner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first" if prefix_space else "never")
    trainer = trainers.UnigramTrainer(vocab_size=200, unk_token=unknown, special_tokens=[unknown], show_progress=False)
    learner.train_from_iterator(WORDS, trainer)
    special = [item for item in _distinct(eos, bos, pad, *extra) if item != unknown]
    learnt = {piece for piece, _ in learner.get_vocab().items()} - {unknown}
    pieces = [(item, 0.0) for item in (unknown, *special)] + [(item, -20.0) for item in byte_names]
    pieces += [(item, -5.0 - place / 100) for place, item in enumerate(sorted(learnt | set(spaces)))]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    prepend = [normalizers.Prepend("▁")] if prefix_space else []
    tokenizer.normalizer = normalizers.Sequence([*prepend, normalizers.Replace(" ", "▁")])
    strip = [decoders.Strip(content=" ", left=1)] if prefix_space else []
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    tokenizer.decoder = decoders.Sequence(steps)
    return _finished(
        tokenizer, eos=eos, bos=bos, pad=pad, extra=extra, template=template, adds_bos=adds_bos, unknown=unknown
    )


def _distinct(*tokens: str) -> list[str]:
    return list(dict.fromkeys(item for item in tokens if item))


def _finished(
    tokenizer: Tokenizer,
    *,
    eos: str,
    bos: str,
    pad: str,
    extra: tuple[str, ...],
    template: str,
    adds_bos: bool,
    unknown: str = "",
) -> PreTrainedTokenizerBase:
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    names = {"eos_token": eos, "bos_token": bos, "pad_token": pad, "unk_token": unknown}
    fast: Any = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        clean_up_tokenization_spaces=False,
        additional_special_tokens=list(extra),
        **{name: value for name, value in names.items() if value},
    )
    fast.chat_template = template or None
    return fast


# Tokenizers as the families have them.


def qwen_tokenizer() -> PreTrainedTokenizerBase:
    """Qwen's own class (byte-level, NFC, digits apart): ChatML, no BOS, a pad token of its own."""
    extra = ["<|im_start|>"]
    plain: Any = byte_level_tokenizer(eos="<|im_end|>", pad="<|endoftext|>", extra=tuple(extra))
    learnt = json.loads(plain.backend_tokenizer.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=learnt["vocab"],
        merges=[tuple(pair) for pair in learnt["merges"]],
        eos_token="<|im_end|>",
        additional_special_tokens=extra,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHATML
    return tokenizer


def smollm_tokenizer() -> PreTrainedTokenizerBase:
    """Byte-level, ChatML, a BOS that is never added, pad equal to EOS."""
    return byte_level_tokenizer(eos="<|im_end|>", bos="<|im_start|>", pad="<|im_end|>", template=CHATML)


def llama_tokenizer() -> PreTrainedTokenizerBase:
    """Byte-level, a BOS that template and tokenizer both add, turns that end in a token of their own, no pad."""
    extra = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    eos, bos = "<|end_of_text|>", "<|begin_of_text|>"
    return byte_level_tokenizer(eos=eos, bos=bos, extra=extra, template=HEADERS, adds_bos=True)


def gemma_tokenizer() -> PreTrainedTokenizerBase:
    """Unigram with bytes to fall back on, BOS added, pad of its own, no system role."""
    extra = ("<start_of_turn>", "<end_of_turn>")
    return unigram_tokenizer(
        eos="<eos>", bos="<bos>", pad="<pad>", extra=extra, template=TURNS_WITHOUT_SYSTEM, adds_bos=True
    )


def mistral_tokenizer() -> PreTrainedTokenizerBase:
    """Unigram that puts a space before a text, BOS added, no pad, no template."""
    return unigram_tokenizer(eos="</s>", bos="<s>", adds_bos=True, prefix_space=True)


def gpt2_tokenizer() -> PreTrainedTokenizerBase:
    """Byte-level, BOS and EOS one token that is never added, no pad, no template."""
    return byte_level_tokenizer(eos="<|endoftext|>", bos="<|endoftext|>")


# Models. Weights are drawn wide enough that the likeliest token stands clear of the second.

WIDE = 0.15


def _build(
    model: type[PreTrainedModel], config: type[Any], make_tokenizer: Callable[[], PreTrainedTokenizerBase], **shape: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    tokenizer = make_tokenizer()
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = model(config(vocab_size=len(tokenizer), initializer_range=WIDE, **special, **shape))
    return built.eval(), tokenizer


ROTARY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
# A window shorter than the tests' texts, or it would not be tested.
SLIDING = {
    **ROTARY,
    "head_dim": 8,
    "query_pre_attn_scalar": 8,
    "sliding_window": 16,
    "layer_types": ["sliding_attention", "full_attention"],
}
GPT2 = {"n_embd": 32, "n_inner": 48, "n_layer": 2, "n_head": 4, "n_positions": 512}
NEOX = {name: size for name, size in ROTARY.items() if name != "num_key_value_heads"}

families: dict[str, Callable[[], tuple[PreTrainedModel, PreTrainedTokenizerBase]]] = {
    "qwen2": partial(_build, Qwen2ForCausalLM, Qwen2Config, qwen_tokenizer, **ROTARY, tie_word_embeddings=True),
    "qwen3": partial(_build, Qwen3ForCausalLM, Qwen3Config, qwen_tokenizer, **ROTARY, head_dim=8),
    "llama": partial(_build, LlamaForCausalLM, LlamaConfig, llama_tokenizer, **ROTARY),
    "smollm": partial(_build, LlamaForCausalLM, LlamaConfig, smollm_tokenizer, **ROTARY, tie_word_embeddings=True),
    "gemma2": partial(_build, Gemma2ForCausalLM, Gemma2Config, gemma_tokenizer, **SLIDING),
    "gemma3": partial(_build, Gemma3ForCausalLM, Gemma3TextConfig, gemma_tokenizer, **SLIDING),
    "gpt2": partial(_build, GPT2LMHeadModel, GPT2Config, gpt2_tokenizer, **GPT2),
    "pythia": partial(_build, GPTNeoXForCausalLM, GPTNeoXConfig, gpt2_tokenizer, **NEOX),
}
