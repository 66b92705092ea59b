"""Reward models: sequence classifiers with one output, of any architecture. How they are loaded and how they score.

1. A decoder whose head is one linear layer called ``score`` reads it at the last token, so that its passes are packed
   as everybody's are.
2. Any other classifier (BERT, RoBERTa, DeBERTa, ModernBERT, …) looks at both sides and has a head of its own make: its
   own forward scores padded rows with their attention mask, rows of like length together.
3. The head is whatever lies outside the backbone. It is trained, saved beside the adapters, and computed in fp32.
4. Such a model reads prompt and answer as a pair of texts, unless its tokenizer has a chat template (``chat.py``).

Axes: B sequences, S places of the longest one, N response tokens of a pass, H hidden.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from peft import TaskType
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from training.engine.backbone import last_hidden, narrow_products, outside_backbone, score_head
from training.engine.chat import frame_of, read_as_pair, scoring_pad_id
from training.engine.config import TrainingConfig
from training.engine.errors import EngineError
from training.engine.models import (
    LOAD_ERRORS,
    Trainee,
    base_of,
    check_folder,
    check_tokenizer,
    derived_seed,
    first_line,
    load_base,
    load_model,
    load_tokenizer,
    loading_device,
    merge_adapter,
    moved,
    prepare,
    read_as,
    weights_dtype,
    without_dropout,
)
from training.engine.packing import Pass, Tokens, make_pass
from training.engine.run_dir import ModelRef, Spec

MOST_PADDING = 0.25  # of a row that is scored by its model's own forward
ROUNDING = 1000.0  # units of it by which a score may differ with the padding beside its row


# Scores.


def scores(
    model: PreTrainedModel, batch: Pass, *, head: nn.Module | None, tokenizer: PreTrainedTokenizerBase
) -> Tensor:
    """The score of each sequence of a pass, (B,), fp32: the ``head``'s at its last token.

    Without one that can be read so (see ``backbone.score_head``) its own forward's, on rows of its ``tokenizer``.
    """
    if head is None:
        return _own_scores(model, batch, tokenizer)
    hidden_BH = last_hidden(model, batch)[batch.last_B]
    return cast(Tensor, head(hidden_BH.float()))[:, 0]


def _own_scores(model: PreTrainedModel, batch: Pass, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    length_B = batch.position_T[batch.last_B] + 1
    frame = frame_of(tokenizer)
    answer_type = None if frame is None else frame.answer_type
    groups = of_like_length(length_B.tolist())
    found = [_padded_scores(model, batch, rows, length_B, answer_type) for rows in groups]
    place_of = {row: place for place, row in enumerate(row for rows in groups for row in rows)}
    return torch.cat(found)[[place_of[row] for row in range(batch.sequences)]]


def _padded_scores(
    model: PreTrainedModel, batch: Pass, rows: Sequence[int], length_B: Tensor, answer_type: int | None
) -> Tensor:
    """The scores of some rows of a pass, in their order, padded to the longest of them. ``length_B`` is of all rows."""
    response_B = torch.bincount(batch.row_N, minlength=batch.sequences)[rows]
    length_B = length_B[rows]
    place_S = torch.arange(int(length_B.max()), device=length_B.device)
    is_token_BS = place_S < length_B[:, None]
    ids_BS = batch.ids_T[batch.rows.source_BS[rows, : len(place_S)]]
    inputs = {"input_ids": torch.where(is_token_BS, ids_BS, pad_id_of(model)), "attention_mask": is_token_BS.long()}
    if answer_type is not None:
        is_response_BS = is_token_BS & (place_S >= (length_B - response_B)[:, None])
        inputs["token_type_ids"] = answer_type * is_response_BS.long()
    with _head_in_fp32(model):
        return cast(Tensor, model(**inputs).logits[:, 0]).float()


def pad_id_of(model: PreTrainedModel) -> int:
    """The id of the padding that the model was built for: RoBERTa counts positions by it."""
    found = model.config.pad_token_id
    return 0 if found is None else int(found)


def of_like_length(lengths: Sequence[int]) -> list[list[int]]:
    """Rows grouped so that at most a quarter of each is padding beside the longest of its group, which comes first."""
    groups: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        if groups and lengths[row] >= (1 - MOST_PADDING) * lengths[groups[-1][0]]:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


@contextlib.contextmanager
def _head_in_fp32(model: PreTrainedModel) -> Iterator[None]:
    """Inside, the backbone multiplies as it was told to and hands its states on in fp32, the format of the head."""
    narrow = contextlib.ExitStack()

    def enter(*_: Any) -> None:
        narrow.enter_context(narrow_products(model))

    def leave(module: nn.Module, args: Any, output: Any) -> Any:
        narrow.close()
        for name, item in output.items():
            if isinstance(item, Tensor) and item.is_floating_point():
                output[name] = item.float()
        return output

    backbone = model.base_model
    hooks = [backbone.register_forward_pre_hook(enter), backbone.register_forward_hook(leave)]
    try:
        yield
    finally:
        narrow.close()
        for hook in hooks:
            hook.remove()


# Models in.


def load_reward(ref: ModelRef, *, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """A reward model, its head in fp32. EngineError unless it has one output, which it gives to a text alone."""
    if ref.adapter and not is_score_adapter(ref.adapter):
        raise EngineError(f"the adapter in {ref.adapter} is not a reward model's: it was not trained to score")
    if ref.adapter:
        model = merge_adapter(new_reward_model(ModelRef(ref.path), torch.float32, pad_id=0, seed=0), ref.adapter)
    else:
        model = load_model(AutoModelForSequenceClassification, ref.path, torch.float32)
    if model.config.num_labels != 1:
        raise EngineError(f"the reward model in {ref.path} has {model.config.num_labels} outputs; it must have one")
    if score_head(model) is None:
        check_scores_rows_alone(model)
    return without_dropout(moved_but_head(model, dtype, device))


def new_reward_model(base: ModelRef, dtype: torch.dtype, *, pad_id: int, seed: int) -> PreTrainedModel:
    """A base with a score head in fp32: its own where it is a reward model, else a fresh one, std 1/sqrt(H + 1).

    A reward model is a sequence classifier with one output, or the adapter of one on its base. ``pad_id`` is what a
    decoder's forward finds the end of a padded row by. EngineError for a classifier with other than one output, or a
    model that is none and cannot carry a head called ``score``.
    """
    is_scorer, continued = is_classifier(base.path), is_score_adapter(base.adapter)
    has_head = is_scorer or continued
    kept = torch.float32 if has_head else read_as(base, dtype)
    new_head: dict[str, Any] = {} if is_scorer else {"num_labels": 1}
    model = load_model(AutoModelForSequenceClassification, base.path, kept, **new_head)
    if continued:
        model = merge_adapter(model, base.adapter)
    elif base.adapter and has_head:
        raise EngineError(f"the adapter in {base.adapter} is no reward model's and does not fit a classifier")
    elif base.adapter:
        policy = load_base(base, dtype=dtype, device=torch.device("cpu"))
        model.base_model.load_state_dict(policy.base_model.state_dict())
    head = score_head(model)
    if head is not None or model.config.pad_token_id is None:
        model.config.pad_token_id = pad_id
    if head is None and not is_scorer:
        kind = model.config.model_type
        raise EngineError(f"a model of type {kind} cannot carry a score head: give a classifier with one output")
    if head is None:
        check_scores_rows_alone(model)
    if not has_head:
        _start_head(model, seed)
    return without_dropout(moved_but_head(model, dtype, model.device))


def _start_head(model: PreTrainedModel, seed: int) -> None:
    head = cast(nn.Linear, model.score).float()
    hidden = head.weight.shape[1]
    generator = torch.Generator().manual_seed(derived_seed(seed, "score head"))
    with torch.no_grad():
        head.weight.copy_(torch.randn(1, hidden, generator=generator) / math.sqrt(hidden + 1))
        if head.bias is not None:
            head.bias.zero_()


def moved_but_head(model: PreTrainedModel, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """A model loaded in fp32, moved, with its head in fp32 as it was: rounding that would change every score."""
    heads = outside_backbone(model).values()
    weights = [{name: item.clone() for name, item in head.state_dict().items()} for head in heads]
    model = moved(model, dtype, device)
    for head, whole in zip(heads, weights, strict=True):
        head.float().load_state_dict(whole)
    return model


@torch.no_grad()
def check_scores_rows_alone(model: PreTrainedModel) -> None:
    """EngineError unless the model's own forward takes padded rows of ids and gives each the score it has alone.

    For a model in fp32. It may have no head outside its backbone, read no ids, or look at the padding (XLNet, on the
    wrong side).
    """
    kind = model.config.model_type
    if not outside_backbone(model):
        raise EngineError(f"a classifier of type {kind} has no head outside its backbone; it cannot be a reward model")
    try:
        known = cast(nn.Embedding, model.get_input_embeddings()).num_embeddings
        end = getattr(model.config, "eos_token_id", None)
        ends = [end] if isinstance(end, int) and end < known else []  # BART reads its score there
        taken = {*ends, pad_id_of(model)}
        long, short = ([token for token in range(1, size) if token not in taken] for size in (9, 6))
        batch = make_pass([Tokens(ids[:2], [*ids[2:], *ends]) for ids in (long, short)], model.device)
        length_B = batch.position_T[batch.last_B] + 1
        together_B = _padded_scores(model, batch, [0, 1], length_B, None)
        alone_B = torch.cat([_padded_scores(model, batch, [row], length_B, None) for row in (0, 1)])
    except LOAD_ERRORS as error:
        raise EngineError(f"a classifier of type {kind} cannot score texts: {first_line(error)}") from None
    unit = torch.finfo(torch.float32).eps * max(1.0, float(alone_B.abs().max()))
    if float((together_B - alone_B).abs().max()) > ROUNDING * unit:
        raise EngineError(f"a classifier of type {kind} gives a text another score when padding stands beside it")


def is_classifier(folder: str) -> bool:
    """Whether the folder holds a sequence classifier, whose head is a score. EngineError unless it has one output."""
    check_folder(Path(folder))
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except LOAD_ERRORS as error:
        raise EngineError(f"the model in {folder} cannot be loaded: {first_line(error)}") from None
    if not any(name.endswith("ForSequenceClassification") for name in config.architectures or ()):
        return False
    if config.num_labels != 1:
        raise EngineError(f"the classifier in {folder} has {config.num_labels} outputs; a reward model has one")
    return True


def is_score_adapter(folder: str) -> bool:
    """Whether an adapter folder ("" for none) is a reward model's, with its head in it."""
    try:
        content = json.loads((Path(folder) / "adapter_config.json").read_text(encoding="utf-8")) if folder else {}
    except (OSError, ValueError):
        return False  # putting the adapter on its base will say what is wrong
    return isinstance(content, dict) and content.get("task_type") == TaskType.SEQ_CLS.value


def load_reward_trainee(spec: Spec, config: TrainingConfig) -> Trainee:
    """The base of a spec with a score head, its own or a fresh one, ready to be trained."""
    base = base_of(spec)
    device = loading_device(config)
    tokenizer = load_tokenizer(base.path)
    core = new_reward_model(base, weights_dtype(config), pad_id=scoring_pad_id(tokenizer), seed=spec.seed)
    if config.shard and score_head(core) is None:
        raise EngineError(f"a classifier of type {core.config.model_type} cannot be sharded; switch shard off")
    tokenizer = reward_tokenizer(tokenizer, core)
    check_tokenizer(tokenizer, core)
    return prepare(nn.Module.to(core, device=device), tokenizer, config, reward=True, seed=spec.seed)


def reward_tokenizer(
    tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel | None = None
) -> PreTrainedTokenizerBase:
    """The tokenizer with a pad token that is not its end token, as sequence classification finds the end by it.

    That of a ``model`` which its own forward scores reads pairs of texts from now on, if it has no chat template.
    """
    tokenizer.pad_token_id = scoring_pad_id(tokenizer)
    if model is not None and score_head(model) is None:
        read_as_pair(tokenizer)
    return tokenizer
