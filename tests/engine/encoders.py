"""Tiny random classifiers with one output that are no plain decoders, each with the tokenizer of its family.

``encoders`` maps a name to a builder; a builder gives a fresh model in fp32 and its tokenizer, always the same ones.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BartConfig,
    BartForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DebertaV2Tokenizer,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertTokenizer,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaTokenizer,
)

from tests.engine.families import WORDS, byte_level_tokenizer

PLACES = 128  # the longest row


@functools.cache
def word_pieces() -> dict[str, int]:
    """Ids of word pieces of the tests' sentences, BERT's special tokens first."""
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer = normalizers.BertNormalizer(lowercase=True)
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    learner.train_from_iterator(WORDS, trainer)
    return learner.get_vocab()


def bert_tokenizer() -> PreTrainedTokenizerBase:
    """Word pieces, [CLS] and [SEP], no BOS, no EOS, types of tokens."""
    return BertTokenizer(vocab=dict(word_pieces()))


def distilbert_tokenizer() -> PreTrainedTokenizerBase:
    """The same without types."""
    return DistilBertTokenizer(vocab=dict(word_pieces()))


def roberta_tokenizer() -> PreTrainedTokenizerBase:
    """Byte-level; two separators between the texts of a pair; the pad token is not the first of the vocabulary."""
    plain: Any = byte_level_tokenizer(bos="<s>", pad="<pad>", eos="</s>", extra=("<unk>", "<mask>"))
    learnt = json.loads(plain.backend_tokenizer.to_str())["model"]
    return RobertaTokenizer(vocab=learnt["vocab"], merges=[tuple(pair) for pair in learnt["merges"]])


def deberta_tokenizer() -> PreTrainedTokenizerBase:
    """Unigram that puts a space before each text; [CLS] and [SEP] are BOS and EOS too; types of tokens."""
    learner = Tokenizer(models.Unigram())
    learner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    trainer = trainers.UnigramTrainer(vocab_size=200, unk_token="[UNK]", special_tokens=special, show_progress=False)
    learner.train_from_iterator(WORDS, trainer)
    vocab = json.loads(learner.to_str())["model"]["vocab"]
    return DebertaV2Tokenizer(vocab=[(piece, score) for piece, score in vocab], unk_id=3)


def modernbert_tokenizer() -> PreTrainedTokenizerBase:
    """Byte-level with BERT's special tokens, no BOS, no EOS, no types."""
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    plain: Any = byte_level_tokenizer(extra=special)
    backend = plain.backend_tokenizer
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(name, backend.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    names = {f"{item[1:-1].lower()}_token": item for item in special}
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_input_names=["input_ids", "attention_mask"], **names)


def _build(
    model: type[PreTrainedModel],
    config: type[Any],
    make_tokenizer: Callable[[], PreTrainedTokenizerBase],
    **shape: Any,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    tokenizer = make_tokenizer()
    special = {
        f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad", "cls", "sep")
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = model(config(vocab_size=len(tokenizer), num_labels=1, initializer_range=0.15, **special, **shape))
    return built.eval(), tokenizer


SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": PLACES,
}
# RoBERTa counts positions from behind that of its pad token, which is 2 here.
ROBERTA = {**SHAPE, "max_position_embeddings": PLACES + 3, "type_vocab_size": 1}
DEBERTA = {
    **SHAPE,
    "relative_attention": True,
    "position_buckets": 16,
    "pos_att_type": ["p2c", "c2p"],
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "position_biased_input": False,
    "type_vocab_size": 0,
}
DISTIL = {"dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4, "max_position_embeddings": PLACES}
# A window shorter than the tests' texts.
MODERN = {**SHAPE, "local_attention": 8, "global_attn_every_n_layers": 2, "classifier_pooling": "mean"}

encoders: dict[str, Callable[[], tuple[PreTrainedModel, PreTrainedTokenizerBase]]] = {
    "bert": partial(_build, BertForSequenceClassification, BertConfig, bert_tokenizer, **SHAPE),
    "roberta": partial(_build, RobertaForSequenceClassification, RobertaConfig, roberta_tokenizer, **ROBERTA),
    "deberta": partial(_build, DebertaV2ForSequenceClassification, DebertaV2Config, deberta_tokenizer, **DEBERTA),
    "distil": partial(_build, DistilBertForSequenceClassification, DistilBertConfig, distilbert_tokenizer, **DISTIL),
    "modern": partial(_build, ModernBertForSequenceClassification, ModernBertConfig, modernbert_tokenizer, **MODERN),
}
# An encoder and a decoder; its forward finds the place of its score by the ids of the row.
BART = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": PLACES,
    "init_std": 0.15,
    "activation_dropout": 0.5,
    "encoder_layerdrop": 0.5,
}
build_bart = partial(_build, BartForSequenceClassification, BartConfig, roberta_tokenizer, **BART)


def save_encoder(name: str, folder: Path) -> str:
    """Model and tokenizer as people find them on the hub."""
    model, tokenizer = {**encoders, "bart": build_bart}[name]()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
