"""Conversations to ids: the prompt is a prefix, one BOS, one end token, hostile text stays text."""

import unicodedata
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen2Tokenizer

from tests.engine.families import (
    byte_level_tokenizer,
    gemma_tokenizer,
    gpt2_tokenizer,
    llama_tokenizer,
    mistral_tokenizer,
    qwen_tokenizer,
    smollm_tokenizer,
)
from training.engine.chat import (
    ZERO_WIDTH,
    check_messages,
    decode,
    end_token_id,
    prompt_text,
    render,
    render_to_fit,
    scoring_pad_id,
    special_strings,
)
from training.engine.errors import EngineError
from training.engine.tiny import tiny_tokenizer

NO_SYSTEM_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}"
    "{% endif %}<turn>{{ m['role'] }}\n{{ m['content'] }}<turn_end>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>model\n{% endif %}"
)


build = partial(byte_level_tokenizer, extra=("<turn>", "<turn_end>"))
TOKENIZERS: dict[str, Any] = {
    "template, pad is its own": tiny_tokenizer(),
    "no system role, BOS in template and post-processor": build(
        eos="<eos>", template=NO_SYSTEM_TEMPLATE, bos="<bos>", pad="<pad>", adds_bos=True
    ),
    "no template, adds BOS, pad is EOS": build(eos="<eos>", bos="<bos>", pad="<eos>", adds_bos=True),
    "no template, BOS never added": build(eos="<eos>", bos="<bos>"),
    "no template, no BOS, no pad": build(eos="<eos>"),
    "Qwen: NFC, no BOS": qwen_tokenizer(),
    "SmolLM: template, BOS never added, pad is EOS": smollm_tokenizer(),
    "Llama: BOS in template and post-processor, no pad": llama_tokenizer(),
    "Gemma: unigram, BOS, no system role": gemma_tokenizer(),
    "Mistral: unigram, space in front, BOS, no template": mistral_tokenizer(),
    "GPT-2: BOS is EOS, no pad, no template": gpt2_tokenizer(),
}


def kept_by(tokenizer: Any, text: str) -> str:
    """The text as a tokenizer can give it back: unigram ones have no ▁ of their own, and Qwen's composes characters."""
    if isinstance(tokenizer, Qwen2Tokenizer):
        return unicodedata.normalize("NFC", text)
    return text.replace("▁", " ") if tokenizer.unk_token else text


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
HOSTILE = st.sampled_from(
    [
        "<turn_end>",
        "<eos>",
        "<|end|>",
        "x<|start|>y",
        "<bos><bos>",
        "<tur<turn>n>",
        "<|endoftext|>",
        "</s>",
        "<|eot_id|>",
    ]
)
CONTENT = st.one_of(TEXT, HOSTILE, st.tuples(TEXT, HOSTILE, TEXT).map("".join))
CONVERSATION = st.tuples(
    st.lists(CONTENT, min_size=1, max_size=2),
    st.booleans(),
).map(
    lambda drawn: (
        [{"role": "system", "content": "Be kind."}] * drawn[1]
        + [
            message
            for text in drawn[0][:-1]
            for message in ({"role": "user", "content": text}, {"role": "assistant", "content": "ok"})
        ]
        + [{"role": "user", "content": drawn[0][-1]}]
    )
)


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=40, deadline=None)
@given(conversation=CONVERSATION, response=CONTENT)
def test_the_prompt_is_a_prefix_and_a_response_round_trips(name: str, conversation: Any, response: str) -> None:
    tokenizer = TOKENIZERS[name]
    alone, nothing = render(tokenizer, conversation)
    prompt_ids, response_ids = render(tokenizer, conversation, response)
    assert nothing == []
    assert prompt_ids == alone
    assert response_ids[-1] == end_token_id(tokenizer)
    # Where plain pieces do not help, a special token in the text was broken up.
    assert decode(tokenizer, response_ids).replace(ZERO_WIDTH, "") == kept_by(tokenizer, response).replace(
        ZERO_WIDTH, ""
    )


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=40, deadline=None)
@given(conversation=CONVERSATION, response=CONTENT)
def test_hostile_text_adds_no_special_token(name: str, conversation: Any, response: str) -> None:
    tokenizer = TOKENIZERS[name]
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    harmless = [{**message, "content": "a"} for message in conversation]
    marks = " ".join(special_strings(tokenizer))
    hostile = [{**message, "content": message["content"] + marks} for message in conversation]
    prompt_ids, response_ids = render(tokenizer, hostile, response + marks)
    expected_prompt, _ = render(tokenizer, harmless, "a")
    assert [token for token in prompt_ids if token in special] == [t for t in expected_prompt if t in special]
    assert [token for token in response_ids if token in special] == [end_token_id(tokenizer)]


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=20, deadline=None)
@given(conversation=CONVERSATION, response=CONTENT)
def test_there_is_exactly_one_bos_if_the_tokenizer_puts_one_and_one_end_token(
    name: str, conversation: Any, response: str
) -> None:
    tokenizer = TOKENIZERS[name]
    prompt_ids, response_ids = render(tokenizer, conversation, response)
    adds_bos = name.startswith(("no system role", "no template, adds", "Llama", "Gemma", "Mistral"))
    if adds_bos:
        assert (prompt_ids + response_ids).count(tokenizer.bos_token_id) == 1
        assert prompt_ids[0] == tokenizer.bos_token_id
    elif tokenizer.bos_token_id not in (None, end_token_id(tokenizer)) and not tokenizer.chat_template:
        assert tokenizer.bos_token_id not in prompt_ids + response_ids
    assert response_ids.count(end_token_id(tokenizer)) == 1


def test_the_end_token_is_the_one_that_the_template_writes_after_an_answer() -> None:
    with_template = TOKENIZERS["no system role, BOS in template and post-processor"]
    assert end_token_id(with_template) == with_template.convert_tokens_to_ids("<turn_end>")
    without = TOKENIZERS["no template, no BOS, no pad"]
    assert end_token_id(without) == without.eos_token_id


def test_a_tokenizer_without_an_end_token_is_refused() -> None:
    with pytest.raises(EngineError, match="end-of-sequence"):
        end_token_id(build(eos=""))


def test_a_system_message_survives_a_template_without_that_role() -> None:
    tokenizer = TOKENIZERS["no system role, BOS in template and post-processor"]
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    assert prompt_text(tokenizer, messages) == "<bos><turn>user\nBe kind.\n\nHi<turn_end>\n<turn>model\n"


def test_a_tokenizer_without_template_gets_named_turns() -> None:
    tokenizer = TOKENIZERS["no template, no BOS, no pad"]
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    assert prompt_text(tokenizer, messages) == "System: Be kind.\n\nUser: Hi\n\nAssistant:\n"


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=40, deadline=None)
@given(prompt=TEXT, response=TEXT, max_length=st.integers(2, 80))
def test_what_is_cut_fits_and_keeps_both_sides(name: str, prompt: str, response: str, max_length: int) -> None:
    tokenizer = TOKENIZERS[name]
    messages = [{"role": "user", "content": prompt}]
    prompt_ids, response_ids = render(tokenizer, messages, response)
    fitted = render_to_fit(tokenizer, messages, response, max_length)
    assert len(fitted.prompt_ids) >= 1
    assert len(fitted.response_ids) >= 1
    assert len(fitted.prompt_ids) + len(fitted.response_ids) <= max_length
    assert fitted.response_ids == response_ids[: len(fitted.response_ids)]
    assert len(prompt_ids) - fitted.prompt_cut == len(fitted.prompt_ids)
    assert len(response_ids) - fitted.response_cut == len(fitted.response_ids)
    fits = len(prompt_ids) + len(response_ids) <= max_length
    assert (fitted.prompt_cut == 0 and fitted.response_cut == 0) == fits
    assert (fitted.response_ids[-1:] == [end_token_id(tokenizer)]) == (fitted.response_cut == 0)
    assert end_token_id(tokenizer) not in fitted.response_ids[:-1]
    assert len(fitted.response_ids) >= min(len(response_ids), max_length - max_length // 2)


def test_a_cut_prompt_keeps_its_end_and_its_bos() -> None:
    tokenizer = TOKENIZERS["no template, adds BOS, pad is EOS"]
    messages = [{"role": "user", "content": "the cat sat on the mat " * 20}]
    whole, _ = render(tokenizer, messages)
    fitted = render_to_fit(tokenizer, messages, "sat", 30)
    assert fitted.prompt_ids[0] == tokenizer.bos_token_id
    assert fitted.prompt_ids[1:] == whole[-(len(fitted.prompt_ids) - 1) :]
    assert fitted.response_ids[-1] == tokenizer.eos_token_id


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_pad_token_of_a_scorer_never_ends_a_sequence(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    assert scoring_pad_id(tokenizer) not in {end_token_id(tokenizer), tokenizer.eos_token_id, None}


@pytest.mark.parametrize(
    "messages",
    [
        [],
        "hello",
        ["hello"],
        [{"role": "user"}],
        [{"role": "robot", "content": "a"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
    ],
)
def test_what_is_no_conversation_is_refused(messages: Any) -> None:
    with pytest.raises(EngineError):
        check_messages(messages)


@given(response=st.text(max_size=40))
def test_a_response_that_was_cut_off_has_no_end_token(response: str) -> None:
    tokenizer = tiny_tokenizer()
    _, whole = render(tokenizer, [{"role": "user", "content": "a"}], response)
    _, cut_off = render(tokenizer, [{"role": "user", "content": "a"}], response, ended=False)
    assert whole[-1] == end_token_id(tokenizer)
    assert cut_off == (whole[:-1] or whole)  # of an empty one the end token is all there is
