"""The demo's committed files hold what the project promises of them."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from annotation.demo_rule import Answer, count_words, verdict

DEMO = Path(__file__).resolve().parents[2] / "demo"
FILES = ("everyday_prompts", "concise_prompts", "everyday_help", "concise_answers")
ANSWERED = ("everyday_help", "concise_answers")

Row = dict[str, Any]


@cache
def rows_of(name: str) -> list[Row]:
    with open(DEMO / f"{name}.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def is_conversation(messages: list[dict[str, str]]) -> bool:
    """An optional system message, then user and assistant in turn, the user last, no empty turn."""
    roles = [message["role"] for message in messages]
    turns = roles[1:] if roles[0] == "system" else roles
    expected = ["user" if place % 2 == 0 else "assistant" for place in range(len(turns))]
    return turns == expected and len(turns) % 2 == 1 and all(message["content"].strip() for message in messages)


@pytest.mark.parametrize(
    ("name", "least"),
    [("everyday_prompts", 60), ("concise_prompts", 200), ("everyday_help", 60), ("concise_answers", 200)],
)
def test_there_are_enough_distinct_prompts(name: str, least: int) -> None:
    rows = rows_of(name)

    assert len(rows) >= least
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({json.dumps(row["prompt"], sort_keys=True) for row in rows}) == len(rows)


@pytest.mark.parametrize("name", FILES)
def test_every_prompt_is_a_conversation_that_ends_with_the_user(name: str) -> None:
    assert [row["id"] for row in rows_of(name) if not is_conversation(row["prompt"])] == []


@pytest.mark.parametrize(
    ("tag", "least"),
    [
        ("multi-turn", 8),
        ("system", 5),
        ("code", 8),
        ("list", 8),
        ("table", 5),
        ("latex", 3),
        ("language", 15),
        ("rtl", 4),
        ("long", 1),
        ("emoji", 2),
    ],
)
def test_everyday_prompts_are_of_every_promised_kind(tag: str, least: int) -> None:
    tags = Counter(tag for row in rows_of("everyday_prompts") for tag in row["tags"])

    assert tags[tag] >= least


def test_the_tags_are_true() -> None:
    rows = rows_of("everyday_prompts")
    multi_turn = [row["id"] for row in rows if sum(message["role"] == "user" for message in row["prompt"]) > 1]
    system = [row["id"] for row in rows if row["prompt"][0]["role"] == "system"]
    long = [row["id"] for row in rows if count_words(row["prompt"][-1]["content"]) > 600]
    right_to_left = [
        row["id"] for row in rows if any("\u0590" <= sign <= "\u06ff" for sign in row["prompt"][-1]["content"])
    ]

    assert multi_turn == [row["id"] for row in rows if "multi-turn" in row["tags"]]
    assert system == [row["id"] for row in rows if "system" in row["tags"]]
    assert long == [row["id"] for row in rows if "long" in row["tags"]]
    assert right_to_left == [row["id"] for row in rows if "rtl" in row["tags"]]


@pytest.mark.parametrize(
    ("answers", "prompts"), [("everyday_help", "everyday_prompts"), ("concise_answers", "concise_prompts")]
)
def test_answers_belong_to_the_prompts_beside_them(answers: str, prompts: str) -> None:
    asked = {row["id"]: row["prompt"] for row in rows_of(prompts)}

    assert [row["id"] for row in rows_of(answers) if asked.get(row["id"]) != row["prompt"]] == []


@pytest.mark.parametrize("name", ANSWERED)
def test_every_answer_says_how_it_was_sampled(name: str) -> None:
    responses = [response for row in rows_of(name) for response in row["responses"]]
    keys = {"model", "temperature", "top_p", "max_new_tokens", "seed", "n"}

    assert [response for response in responses if set(response["sampling"]) != keys] == []
    assert {response["sampling"]["model"] for response in responses} == {"SmolLM2-135M-Instruct"}
    assert [r for r in responses if not 1 <= r["tokens"] <= r["sampling"]["max_new_tokens"]] == []
    # An answer that stopped before the limit ended by itself.
    assert [r for r in responses if not r["ended"] and r["tokens"] < r["sampling"]["max_new_tokens"]] == []


def test_everyday_prompts_have_two_to_four_different_answers() -> None:
    counts = Counter(len({response["text"] for response in row["responses"]}) for row in rows_of("everyday_help"))

    assert set(counts) == {2, 3, 4}
    assert len(rows_of("everyday_help")) == len(rows_of("everyday_prompts"))


def test_concise_answers_are_pairs_of_complete_answers() -> None:
    rows = rows_of("concise_answers")

    assert {len(row["responses"]) for row in rows} == {2}
    assert [row["id"] for row in rows if not all(response["ended"] for response in row["responses"])] == []


def test_the_rule_decides_at_least_200_pairs_and_what_it_chooses_is_much_shorter() -> None:
    chosen, rejected = [], []
    for row in rows_of("concise_answers"):
        first, second = (Answer(response["text"], response["ended"]) for response in row["responses"])
        found = verdict(row["prompt"][-1]["content"], first, second)
        if found.winner in {"first", "second"}:
            winner, loser = (first, second) if found.winner == "first" else (second, first)
            chosen.append(count_words(winner.text))
            rejected.append(count_words(loser.text))

    assert len(chosen) >= 200
    assert sum(chosen) < 0.7 * sum(rejected)


@pytest.mark.parametrize("name", ["everyday_help", "concise_answers"])
def test_guidelines_are_there(name: str) -> None:
    assert (DEMO / "guidelines" / f"{name}.md").read_text(encoding="utf-8").startswith("# ")


def test_the_concise_guidelines_say_that_the_judge_is_a_rule() -> None:
    text = (DEMO / "guidelines" / "concise_answers.md").read_text(encoding="utf-8")

    assert "`demo-rule`, is a rule and not a person" in text
