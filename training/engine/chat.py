"""Conversations to token ids and back.

1. Prompt and response are tokenised apart and joined, so the prompt is always a prefix.
2. A response that was not cut ends in exactly one end-of-turn token: the one the chat template writes after an answer.
3. Text that looks like a special token is text: in a response it is encoded as plain pieces, in a prompt broken up. A
   response is broken up too where plain pieces do not help, as a unigram model knows special tokens as words.
4. A template without a system role gets the system message at the head of the first user message; a tokenizer without
   a template gets "User: …" and "Assistant:" lines.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from training.engine.errors import EngineError

Message = Mapping[str, str]

PLAIN_TURN_END = "\n\n"
ZERO_WIDTH = "\u200b"


@dataclass(frozen=True)
class Rendered:
    """A prompt and its response as ids that fit ``max_length`` together, and what was cut to make them fit."""

    prompt_ids: list[int]
    response_ids: list[int]
    prompt_cut: int = 0
    response_cut: int = 0


def render(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], response: str | None = None, *, ended: bool = True
) -> tuple[list[int], list[int]]:
    """Ids of the prompt (ready for the assistant to speak) and of the response with its end token; [] without one.

    A response that has not ``ended`` was cut off where it was written: it gets no end token, or it would teach to stop
    in the middle of a sentence. An empty one keeps it, as a response has at least one token.
    """
    check_messages(messages)
    prompt_ids = encode(tokenizer, prompt_text(tokenizer, messages))
    prompt_ids = with_one_bos(tokenizer, prompt_ids)
    if response is None:
        return prompt_ids, []
    response_ids = encode(tokenizer, response, special_as_text=True)
    return prompt_ids, response_ids if response_ids and not ended else [*response_ids, end_token_id(tokenizer)]


def render_to_fit(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    response: str | None,
    max_length: int,
    *,
    ended: bool = True,
) -> Rendered:
    """Like :func:`render`, cut to ``max_length``: the response keeps at least half, the prompt loses its beginning.

    A cut response has lost its end token; a leading BOS survives the cut of the prompt.
    """
    prompt_ids, response_ids = render(tokenizer, messages, response, ended=ended)
    kept = response_ids[: max(1, max_length - min(len(prompt_ids), max_length // 2))]
    room = max(1, max_length - len(kept))
    cut = max(0, len(prompt_ids) - room)
    head = prompt_ids[:1] if cut and room > 1 and prompt_ids[0] == tokenizer.bos_token_id else []
    shown = [*head, *prompt_ids[len(prompt_ids) - room + len(head) :]] if cut else prompt_ids
    return Rendered(shown, kept, prompt_cut=cut, response_cut=len(response_ids) - len(kept))


def decode(tokenizer: PreTrainedTokenizerBase, response_ids: Sequence[int]) -> str:
    """The text of an answer: without its end token and without any other special token."""
    text = tokenizer.decode(list(response_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text


def check_messages(messages: Sequence[Message]) -> None:
    """EngineError unless this is a conversation that waits for the assistant: known roles, text contents, not empty."""
    if not isinstance(messages, list | tuple) or not messages:
        raise EngineError("a prompt must be a list of at least one message")
    for message in messages:
        known = isinstance(message, Mapping) and message.get("role") in ("system", "user", "assistant")
        if not known or not isinstance(message.get("content"), str):
            raise EngineError("a message needs a role (system, user or assistant) and its content as text")
    if messages[-1]["role"] == "assistant":
        raise EngineError("a prompt must not end with an assistant message")


def check_prompt(row: Mapping[str, object], place: str) -> None:
    """EngineError that names the place of a row whose prompt is no conversation that waits for the assistant."""
    with of_row(place):
        check_messages(cast(Sequence[Message], row.get("prompt")))


@contextlib.contextmanager
def of_row(place: str) -> Iterator[None]:
    """Inside, an EngineError names the row that it is about."""
    try:
        yield
    except EngineError as error:
        raise EngineError(f"{place}: {error}") from None


def prompt_text(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """The conversation as the model reads it, up to the point where the assistant speaks."""
    clean = [{"role": item["role"], "content": _defused(tokenizer, item["content"])} for item in messages]
    if not tokenizer.chat_template:
        turns = [f"{item['role'].capitalize()}: {item['content']}{PLAIN_TURN_END}" for item in clean]
        return "".join(turns) + "Assistant:\n"
    try:
        return _apply_template(tokenizer, clean)
    except TemplateError as error:
        if clean[0]["role"] != "system" or len(clean) < 2:
            raise EngineError(f"the chat template refuses a conversation: {error}") from None
    head = {"role": clean[1]["role"], "content": f"{clean[0]['content']}\n\n{clean[1]['content']}"}
    try:
        return _apply_template(tokenizer, [head, *clean[2:]])
    except TemplateError as error:
        raise EngineError(f"the chat template refuses a conversation: {error}") from None


def _apply_template(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> str:
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert isinstance(text, str)
    return text


def special_strings(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Every text the tokenizer reads as one special token, longest first."""
    added = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return sorted(added | set(tokenizer.all_special_tokens), key=len, reverse=True)


def _defused(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """The text with a zero-width space inside whatever would be read as a special token."""
    pattern = "|".join(re.escape(item) for item in special_strings(tokenizer) if item)
    if not pattern:
        return text
    return re.sub(pattern, lambda found: found[0][:1] + ZERO_WIDTH + found[0][1:], text)


def encode(tokenizer: PreTrainedTokenizerBase, text: str, *, special_as_text: bool = False) -> list[int]:
    """Ids of a text, nothing added."""
    logging.getLogger("transformers.tokenization_utils_base").setLevel(logging.ERROR)  # no "longer than" warnings

    def plain(text: str) -> list[int]:
        found = tokenizer(text, add_special_tokens=False, split_special_tokens=special_as_text)["input_ids"]
        return [int(token) for token in found]

    ids = plain(text)
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return plain(_defused(tokenizer, text)) if special_as_text and special & set(ids) else ids


def with_one_bos(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[int]:
    """The ids with one BOS in front when this tokenizer puts one there by itself; doubled ones are made one."""
    bos = tokenizer.bos_token_id
    if bos is None:
        return ids
    while ids[:2] == [bos, bos]:
        ids = ids[1:]
    adds_bos = list(tokenizer("a")["input_ids"])[:1] == [bos]
    return [bos, *ids] if adds_bos and ids[:1] != [bos] else ids


def end_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends an answer: what the chat template writes after one, else EOS. EngineError without either."""
    marker = "answer-goes-here"
    if tokenizer.chat_template:
        conversation = [{"role": "user", "content": "a"}, {"role": "assistant", "content": marker}]
        try:
            text = str(tokenizer.apply_chat_template(conversation, tokenize=False))
        except TemplateError:
            text = ""
        after = text.rpartition(marker)[2].lstrip()
        for item in special_strings(tokenizer):
            if item and after.startswith(item):
                return cast(int, tokenizer.convert_tokens_to_ids(item))
    if tokenizer.eos_token_id is None:
        raise EngineError("the tokenizer has no end-of-sequence token, so no answer could ever end")
    return cast(int, tokenizer.eos_token_id)


def scoring_pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """A pad token for sequence classification that no sequence ends in: never the end-of-answer token nor EOS."""
    taken = {end_token_id(tokenizer), tokenizer.eos_token_id}
    wanted = [tokenizer.pad_token_id, tokenizer.unk_token_id, *sorted(tokenizer.added_tokens_decoder, reverse=True)]
    for token in [*wanted, *range(len(tokenizer) - 1, -1, -1)]:
        if token is not None and token not in taken:
            return int(token)
    raise EngineError("the tokenizer has no token besides its end token")
