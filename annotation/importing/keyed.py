"""A row made ready to be written, where the file is read: the server takes the rows before it meanwhile."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from annotation.content_hashes import canonical_json
from annotation.importing.copying import field
from annotation.importing.rows import Row, Vote

AnswerKey = tuple[str, str]  # content hash, author's label


class Keyed(NamedTuple):
    """What a row's prompt and answers are found by, and their texts as COPY's fields: only ids are wanting.

    `prompt` is a content hash. The fields of a prompt are its messages, metadata and hash, those of an answer its text,
    label, sampling parameters (none) and hash.
    """

    prompt: str
    prompt_fields: str
    answers: list[AnswerKey]
    answer_fields: list[str]
    votes: tuple[Vote, ...]
    characters: int

    @classmethod
    def of(cls, row: Row, author_label: str) -> Keyed:
        messages = canonical_json(row.messages)
        prompt = sha256(messages).hexdigest()
        keys, fields, characters = [], [], len(messages)
        for text, label in row.answers:
            label = label or author_label
            key = sha256(canonical_json(text)).hexdigest()
            keys.append((key, label))
            fields.append(f"{field(text)}\t{field(label)}\t{{}}\t{key}")
            characters += len(text)
        prompt_fields = f"{field(messages.decode())}\t{_metadata(row.metadata)}\t{prompt}"
        return cls(prompt, prompt_fields, keys, fields, row.votes, characters)


def _metadata(metadata: Mapping[str, Any]) -> str:
    return field(json.dumps(dict(metadata), ensure_ascii=False)) if metadata else "{}"
