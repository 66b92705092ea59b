"""Every shape that people have: the public data sets' columns, with rows of our own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotation.importing.detecting import in_words, look_at
from annotation.importing.landing import import_file
from annotation.importing.reading import SHAPES, read_row
from annotation.importing.rows import BadRowError
from annotation.models import Comparison, Judgment, Project, Prompt, Response, User

USER, ASSISTANT, SYSTEM = "user", "assistant", "system"


def turn(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


ASKED = [turn(USER, "Why is the sky blue?")]
TALK = [turn(USER, "Hi."), turn(ASSISTANT, "Hello."), turn(USER, "Why is the sky blue?")]
HH = {
    "chosen": "\n\nHuman: Hi.\n\nAssistant: Hello.\n\nHuman: Why is the sky blue?\n\nAssistant: Scattering.",
    "rejected": "\n\nHuman: Hi.\n\nAssistant: Hello.\n\nHuman: Why is the sky blue?\n\nAssistant: Paint.",
}
ULTRAFEEDBACK = {
    "source": "made up",
    "instruction": "Why is the sky blue?",
    "models": ["m1", "m2", "m3"],
    "completions": [
        {"model": "m1", "response": "Paint.", "overall_score": 2.0, "critique": "Wrong."},
        {"model": "m2", "response": "Scattering.", "overall_score": 8.5, "critique": "Right."},
        {"model": "m3", "response": "Light.", "overall_score": 2.0, "critique": "Short."},
    ],
}
BINARIZED = {
    "prompt": "Why is the sky blue?",
    "prompt_id": "0",
    "messages": [*ASKED, turn(ASSISTANT, "Scattering.")],
    "chosen": [*ASKED, turn(ASSISTANT, "Scattering.")],
    "rejected": [*ASKED, turn(ASSISTANT, "Paint.")],
    "score_chosen": 8.5,
    "score_rejected": 2.0,
}
HELPSTEER = {
    "domain": "general",
    "language": "english",
    "context": TALK,
    "response1": "Scattering.",
    "response2": "Paint.",
    "overall_preference": -2,
    "individual_preference": [
        {"score": -3, "reasoning": "The first is right.", "feedback1": "Good.", "feedback2": "Bad."},
        {"score": 0, "reasoning": "", "feedback1": "", "feedback2": ""},
        {"score": 1, "reasoning": "Shorter.", "feedback1": "", "feedback2": ""},
    ],
}
SUMMARIZE = {
    "info": {"id": "t3_1", "post": "It is blue. Why?", "title": "Sky", "subreddit": "askscience", "article": None},
    "summaries": [
        {"text": "Paint.", "policy": "sup1", "note": ""},
        {"text": "Scattering.", "policy": "ppo1", "note": ""},
    ],
    "choice": 1,
    "worker": "w17",
    "batch": "batch1",
    "split": "train",
    "extra": {"confidence": 8},
}  # fmt: skip
ARENA = {
    "question_id": "1",
    "model_a": "m1",
    "model_b": "m2",
    "winner": "tie (bothbad)",
    "judge": "arena_user_1",
    "conversation_a": [*ASKED, turn(ASSISTANT, "Paint.")],
    "conversation_b": [*ASKED, turn(ASSISTANT, "Magic.")],
    "turn": 1,
}
ARENA_TABLE = {
    "id": 1,
    "model_a": "m1",
    "model_b": "m2",
    "prompt": ["Why is the sky blue?"],
    "response_a": ["Paint."],
    "response_b": ["Scattering."],
    "winner_model_a": 0,
    "winner_model_b": 1,
    "winner_tie": 0,
}
ALPACA_EVAL = {
    "instruction": "Why is the sky blue?",
    "output_1": "Paint.",
    "output_2": "Scattering.",
    "generator_1": "m1",
    "generator_2": "m2",
    "annotator": 4,
    "preference": 2,
}
ALPACA = {"instruction": "Why is", "input": "the sky blue?", "chosen": "Scattering.", "rejected": "Paint."}
SHAREGPT = {
    "conversations": [
        {"from": "human", "value": "Hi."},
        {"from": "gpt", "value": "Hello."},
        {"from": "human", "value": "Why is the sky blue?"},
    ],
    "chosen": {"from": "gpt", "value": "Scattering."},
    "rejected": {"from": "gpt", "value": "Paint."},
    "system": "Be brief.",
}  # fmt: skip
RIGHT, WRONG = ("Scattering.", ""), ("Paint.", "")

# name: (shape, row, conversation, answers with labels, votes in words)
EXAMPLES: dict[str, tuple[str, dict[str, Any], list[dict[str, str]], list[tuple[str, str]], list[str]]] = {
    "hh-rlhf": ("hh", HH, TALK, [RIGHT, WRONG], ["1 over 2"]),
    "UltraFeedback": (
        "ultrafeedback", ULTRAFEEDBACK, ASKED,
        [("Paint.", "m1"), ("Scattering.", "m2"), ("Light.", "m3")], ["2 over 1 = 3"],
    ),
    "UltraFeedback, binarized": ("preference", BINARIZED, ASKED, [RIGHT, WRONG], ["1 over 2"]),
    "HelpSteer3": (
        "helpsteer", HELPSTEER, TALK, [RIGHT, WRONG], ["1 over 2, much", "tie", "2 over 1, slightly"],
    ),
    "HelpSteer3, overall only": (
        "helpsteer", {**HELPSTEER, "individual_preference": []}, TALK, [RIGHT, WRONG], ["1 over 2, clearly"],
    ),
    "summarize-from-feedback": (
        "summarize", SUMMARIZE,
        [turn(USER, "SUBREDDIT: r/askscience\n\nTITLE: Sky\n\nPOST: It is blue. Why?\n\nTL;DR:")],
        [("Paint.", "sup1"), ("Scattering.", "ppo1")], ["2 over 1"],
    ),
    "summarize-from-feedback, news": (
        "summarize", {**SUMMARIZE, "info": {"article": "Blue again."}, "choice": 0},
        [turn(USER, "Article: Blue again.\n\nTL;DR:")], [("Paint.", "sup1"), ("Scattering.", "ppo1")], ["1 over 2"],
    ),
    "Arena": ("arena", ARENA, ASKED, [("Paint.", "m1"), ("Magic.", "m2")], ["both bad"]),
    "Arena, tie": ("arena", {**ARENA, "winner": "tie"}, ASKED, [("Paint.", "m1"), ("Magic.", "m2")], ["tie"]),
    "Arena, a winner": (
        "arena", {**ARENA, "winner": "model_b"}, ASKED, [("Paint.", "m1"), ("Magic.", "m2")], ["2 over 1"],
    ),
    "Arena table of texts, as CSV has them": (
        "arena-table", {**ARENA_TABLE, "winner_model_a": "0", "winner_model_b": "1", "winner_tie": "0.0"},
        ASKED, [("Paint.", "m1"), ("Scattering.", "m2")], ["2 over 1"],
    ),
    "Arena table": ("arena-table", ARENA_TABLE, ASKED, [("Paint.", "m1"), ("Scattering.", "m2")], ["2 over 1"]),
    "Arena table, tie": (
        "arena-table", {**ARENA_TABLE, "winner_model_b": 0, "winner_tie": 1}, ASKED,
        [("Paint.", "m1"), ("Scattering.", "m2")], ["tie"],
    ),
    "AlpacaEval": ("alpaca-eval", ALPACA_EVAL, ASKED, [("Paint.", "m1"), ("Scattering.", "m2")], ["2 over 1"]),
    "AlpacaEval, weighed": (
        "alpaca-eval", {**ALPACA_EVAL, "preference": 1.2}, ASKED,
        [("Paint.", "m1"), ("Scattering.", "m2")], ["1 over 2"],
    ),
    "AlpacaEval, tie": (
        "alpaca-eval", {**ALPACA_EVAL, "preference": 1.5}, ASKED, [("Paint.", "m1"), ("Scattering.", "m2")], ["tie"],
    ),
    "AlpacaEval, not judged": (
        "alpaca-eval", {**ALPACA_EVAL, "preference": None}, ASKED, [("Paint.", "m1"), ("Scattering.", "m2")], [],
    ),
    "alpaca": ("alpaca", ALPACA, [turn(USER, "Why is\nthe sky blue?")], [RIGHT, WRONG], ["1 over 2"]),
    "alpaca, output as a list": (
        "alpaca", {"instruction": "Why is the sky blue?", "input": "", "output": ["Scattering.", "Paint."]}, ASKED,
        [RIGHT, WRONG], ["1 over 2"],
    ),
    "alpaca, history and system": (
        "alpaca",
        {
            **ALPACA, "instruction": "Why is the sky blue?", "input": "", "history": [["Hi.", "Hello."]],
            "system": "Be brief.",
        },
        [turn(SYSTEM, "Be brief."), *TALK], [RIGHT, WRONG], ["1 over 2"],
    ),
    "alpaca, rated": (
        "alpaca", {"instruction": "Why is the sky blue?", "input": "", "output": "Paint.", "kto_tag": False}, ASKED,
        [WRONG], ["bad"],
    ),
    "ShareGPT": ("sharegpt", SHAREGPT, [turn(SYSTEM, "Be brief."), *TALK], [RIGHT, WRONG], ["1 over 2"]),
    "ShareGPT, rated": (
        "sharegpt",
        {
            "conversations": [
                {"from": "human", "value": "Why is the sky blue?"},
                {"from": "gpt", "value": "Scattering."},
            ],
            "kto_tag": True,
        },
        ASKED, [RIGHT], ["good"],
    ),
    "KTO": ("kto", {"prompt": "Why is the sky blue?", "completion": "Paint.", "label": False}, ASKED, [WRONG], ["bad"]),
    "KTO, messages": (
        "kto", {"prompt": ASKED, "completion": [turn(ASSISTANT, "Scattering.")], "label": True}, ASKED, [RIGHT],
        ["good"],
    ),
    "pair": (
        "preference", {"prompt": "Why is the sky blue?", "chosen": "Scattering.", "rejected": "Paint.", "margin": 3.0},
        ASKED, [RIGHT, WRONG], ["1 over 2, much"],
    ),
    "answers": ("responses", {"prompt": ASKED, "responses": ["Paint.", "Scattering."]}, ASKED, [WRONG, RIGHT], []),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_row_is_read_as_what_it_says(name: str) -> None:
    _, row, messages, answers, votes = EXAMPLES[name]
    found = read_row(row)
    assert found.messages == messages
    assert [tuple(answer) for answer in found.answers] == answers
    assert [in_words(vote) for vote in found.votes] == votes


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_file_of_such_rows_is_known_by_its_first_rows(name: str, tmp_path: Path) -> None:
    shape, row, *_ = EXAMPLES[name]
    file = tmp_path / "rows"
    file.write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n")
    found = look_at(file)
    assert (found.format, found.shape, found.good) == ("jsonl", shape, 2)


def test_every_shape_has_an_example() -> None:
    assert {shape for shape, *_ in EXAMPLES.values()} == SHAPES.keys()


def test_a_file_of_several_shapes_is_read_row_by_row(tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.write_text(json.dumps(HH) + "\n" + json.dumps(ALPACA) + "\n" + "nope\n")
    found = look_at(file)
    assert (found.shape, found.good, [shown.reason[:20] for shown in found.rows if shown.reason]) == (
        "", 2, ["The line is not JSON"]
    )  # fmt: skip


def test_scores_and_reasoning_are_kept_with_the_votes() -> None:
    assert read_row(BINARIZED).votes[0].reason == "Scores 8.5 and 2"
    assert [vote.reason for vote in read_row(HELPSTEER).votes] == ["The first is right.", "", "Shorter."]
    assert [vote.voter for vote in read_row(HELPSTEER).votes] == ["1", "2", "3"]
    assert read_row(SUMMARIZE).votes[0].voter == "w17"
    assert read_row(ALPACA_EVAL).votes[0].voter == "4"


BAD: list[tuple[dict[str, Any], str]] = [
    ({**HH, "rejected": HH["rejected"].replace("Hello.", "Hey.")}, "differ before the last answer"),
    ({**HH, "chosen": "\n\nHuman: Hi."}, "is not a conversation that ends"),
    ({**ULTRAFEEDBACK, "completions": ULTRAFEEDBACK["completions"][:1]}, "fewer than two different"),
    ({**ULTRAFEEDBACK, "completions": [{"response": "a"}, {"response": "b"}]}, "overall_score is not a number"),
    ({"instruction": "Why?", "output": ["a", "b", "c"]}, "output is not a list of a chosen and a rejected"),
    ({**HELPSTEER, "individual_preference": [{"score": 4}]}, "Vote 1, score is 4"),
    ({**HELPSTEER, "individual_preference": [{"score": 0.5}]}, "Vote 1, score is 0.5"),
    ({**HELPSTEER, "individual_preference": [{"score": 1, "decides": "x"}]}, "Vote 1, decides is neither true nor"),
    ({**HELPSTEER, "individual_preference": [{"score": 1, "decides": True}] * 2}, "More than one vote decides"),
    (
        {**HELPSTEER, "individual_preference": [{"score": -1, "both_bad": True}]},
        "both bad or both good, and something else",
    ),
    *(
        ({**HELPSTEER, "individual_preference": [{"score": 0, **told}]}, reason)
        for told, reason in (
            ({"both_bad": True, "both_good": True}, "and something else"),
            ({"strength": 2}, "has a strength, and prefers nothing"),
            ({"acceptable": [True]}, "whether each will do"),
            ({"acceptable": ["x", None]}, "neither true nor false"),
            ({"tags": "clear"}, "tags is not a list"),
            ({"tags": ["x" * 41]}, "more than 40 characters"),
            ({"aspects": ["kind"]}, "no object"),
            ({"aspects": [{"aspect": "kind", "better": 3}]}, "better is 3"),
            ({"edited": 3, "edit": "x"}, "edited is 3"),
            ({"edited": 1, "edit": ""}, "edit is empty"),
        )
    ),
    ({**HELPSTEER, "individual_preference": [{"score": 0}] * 51}, "51 votes"),
    ({**HELPSTEER, "response2": HELPSTEER["response1"]}, "the same text"),
    ({**SUMMARIZE, "choice": 2}, "choice is 2"),
    ({**SUMMARIZE, "info": None}, "info is not an object"),
    ({**SUMMARIZE, "summaries": [{"text": "a"}]}, "not a list of two"),
    ({**ARENA, "winner": "model_c"}, "winner is none of"),
    ({**ARENA, "winner": ["model_a"]}, "winner is none of"),
    ({**ARENA, "conversation_b": [turn(USER, "Else?"), turn(ASSISTANT, "a")]}, "go apart"),
    ({**ARENA_TABLE, "winner_tie": 1}, "Not one of"),
    ({**ARENA_TABLE, "prompt": ["a", "b"]}, "different numbers of turns"),
    ({**ALPACA_EVAL, "preference": 3}, "preference is 3"),
    ({**ALPACA, "history": [["a"]]}, "history is not"),
    ({**SHAREGPT, "chosen": {"from": "human", "value": "a"}}, "not a message of gpt"),
    ({**SHAREGPT, "conversations": [{"from": "tool", "value": "a"}]}, "from none of"),
    ({"prompt": "a", "completion": "b", "label": "maybe"}, "neither true nor false"),
]


@pytest.mark.parametrize(("row", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_a_bad_row_is_refused_with_its_reason(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRowError, match=reason):
        read_row(row)


def test_a_row_that_is_not_of_the_shape_that_was_told_is_named(tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.write_text(json.dumps(HH) + "\n")
    assert [shown.reason for shown in look_at(file, shape="helpsteer").rows] == [
        "context is neither a text nor a list of messages."
    ]
    assert look_at(file, shape="arena").rows[0].reason == "The row has no conversation_a."


@pytest.fixture
def landed(project: Project, tmp_path: Path) -> Callable[..., None]:
    def land(*rows: dict[str, Any], judged_by: str = "") -> None:
        file = tmp_path / "rows"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        report = import_file(project=project, path=file, judged_by=judged_by)
        assert (report.state, report.errors) == ("succeeded", [])

    return land


def test_each_voice_of_a_file_votes_under_its_own_name(landed: Callable[..., None]) -> None:
    landed(HELPSTEER, judged_by="helpsteer3")
    comparison = Comparison.objects.get()
    assert (comparison.judgments_wanted, comparison.depth) == (3, 3)
    right, wrong = (Response.objects.get(text=text).pk for text in ("Scattering.", "Paint."))
    said = Judgment.objects.order_by("seat").values_list("annotator__username", "tiers", "strength", "reason")
    assert list(said) == [
        ("helpsteer3.1", [[right], [wrong]], 3, "The first is right."),
        ("helpsteer3.2", [[right, wrong]], None, ""),
        ("helpsteer3.3", [[wrong], [right]], 1, "Shorter."),
    ]
    assert not User.objects.filter(username__startswith="helpsteer3", is_active=True).exists()


def test_votes_of_several_workers_on_one_pair_are_all_kept(
    landed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotation.importing.landing.BATCH", 2)
    rows = [{**SUMMARIZE, "worker": f"worker-{n}", "choice": n % 2} for n in range(5)]
    landed(*rows, judged_by="sff")
    comparison = Comparison.objects.get()
    assert (comparison.judgments_wanted, comparison.depth) == (5, 5)
    assert set(Judgment.objects.values_list("annotator__username", flat=True)) == {f"sff.worker-{n}" for n in range(5)}


def test_a_ranking_by_scores_becomes_a_vote_on_every_pair(landed: Callable[..., None]) -> None:
    landed(ULTRAFEEDBACK, judged_by="ultrafeedback")
    texts = dict(Response.objects.values_list("pk", "text"))
    said = {tuple(tuple(sorted(texts[pk] for pk in tier)) for tier in one.tiers) for one in Judgment.objects.all()}
    assert said == {(("Scattering.",), ("Paint.",)), (("Scattering.",), ("Light.",)), (("Light.", "Paint."),)}


def answers() -> list[int]:
    return list(Response.objects.order_by("id").values_list("pk", flat=True))


WHOLE_VOTE = {
    "score": -3,
    "strength": 3,
    "tags": ['a "b" \\ c,\n{d}', "clearer"],
    "acceptable": [None, False],
    "aspects": [{"aspect": "true", "better": 2}, {"aspect": "kind", "better": 0}],
    "annotator": "ann",
}


def test_all_that_a_vote_of_ours_says_is_kept(landed: Callable[..., None]) -> None:
    landed({**HELPSTEER, "individual_preference": [WHOLE_VOTE]}, judged_by="copy")
    vote, (first, second) = Judgment.objects.get(), answers()
    assert (vote.strength, vote.tags) == (3, ['a "b" \\ c,\n{d}', "clearer"])
    assert vote.acceptable == {str(second): False}
    assert vote.aspects == {"true": [[second], [first]], "kind": [[first, second]]}


@pytest.mark.parametrize("there_before", [False, True])
def test_an_edit_is_an_answer_better_than_its_original(
    landed: Callable[..., None], project: Project, there_before: bool
) -> None:
    edited = {**WHOLE_VOTE, "edited": 1, "edit": "Better."}
    plain = {"score": 1, "annotator": "ben"}
    if there_before:
        landed({**HELPSTEER, "individual_preference": []})
    landed({**HELPSTEER, "individual_preference": [edited, plain]}, judged_by="copy")
    ann = Judgment.objects.get(annotator__username="copy.ann")
    assert (ann.edited and ann.edited.text, ann.edit_of_id) == ("Better.", answers()[0])
    assert (ann.tags, ann.aspects != {}) == (WHOLE_VOTE["tags"], True)
    pairs = {(one.chosen.text, one.rejected.text) for one in ann.preferences.select_related("chosen", "rejected")}
    one, two = HELPSTEER["response1"], HELPSTEER["response2"]
    assert pairs == {(one, two), ("Better.", one), ("Better.", two)}
    assert list(project.comparisons.values_list("judgments_wanted", "depth")) == [(2, 2)]


def test_an_answer_alone_lands_with_its_label_and_not_without(landed: Callable[..., None], project: Project) -> None:
    rows = [
        {"prompt": "Why?", "completion": "Because.", "label": True},
        {"prompt": "Why?", "completion": "No.", "label": False},
    ]
    landed(*rows, judged_by="raters")
    votes = Judgment.objects.order_by("id").values_list("acceptable", "both_bad", "comparison__response_ids")
    assert list(votes) == [({str(pk): good}, False, [pk]) for pk, good in zip(answers(), (True, False), strict=True)]
    assert [judgment.verdict for judgment in Judgment.objects.order_by("id")] == ["good", "bad"]
    assert Prompt.objects.count() == 1


def test_an_answer_alone_needs_the_source_of_its_label(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.write_text('{"prompt": "Why?", "completion": "Because.", "label": true}\n')
    report = import_file(project=project, path=file)
    assert (report.error_count, report.comparisons_added) == (1, 0)
    assert "name the source of the votes" in report.errors[0]["reason"]


def test_more_voices_than_accounts_should_be_made_for_end_the_import(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotation.importing.voices.MOST_VOTERS", 3)
    file = tmp_path / "rows"
    file.write_text("".join(json.dumps({**SUMMARIZE, "worker": f"w{n}"}) + "\n" for n in range(9)))
    report = import_file(project=project, path=file, judged_by="sff")
    assert (report.state, report.error) == ("failed", "The file has votes by more than 3 voices.")


def test_voters_whose_names_look_alike_as_accounts_are_kept_apart(project: Project, tmp_path: Path) -> None:
    voters = ["a-b", "a b", "a/b", "ä" * 200, "ä" * 199 + "o"]
    file = tmp_path / "rows"
    file.write_text("".join(json.dumps({**SUMMARIZE, "worker": voter}) + "\n" for voter in voters))
    report = import_file(project=project, path=file, judged_by="sff")
    names = set(Judgment.objects.values_list("annotator__username", flat=True))
    assert (report.judgments_added, report.errors, len(names)) == (5, [], 5)
    assert "sff.a-b" in names
    assert all(len(name) <= 150 for name in names)
