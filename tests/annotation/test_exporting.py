"""The download of preferences: what it holds, who gets it, and that trainers take it as it is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from annotation.importing.landing import import_rows
from annotation.models import Preference, Project, User
from annotation.services import AnswerIn, add_comparison, record_judgment, rule_judge
from tests.annotation.test_importing import PAIR, lines_of, said

SignIn = Callable[[User], Client]
USER = {"role": "user", "content": "Wie heißt das? 🦊"}


@pytest.fixture
def judged(project: Project, ann: User, ben: User) -> Project:
    """A pair that two people judged differently, a conversation judged once, a tie, a withdrawn vote."""
    pair = add_comparison(
        project=project, messages=[USER], responses=[AnswerIn("Fuchs."), AnswerIn("Dachs.")], judgments_wanted=3
    )
    fox, badger = pair.response_ids
    record_judgment(comparison=pair, annotator=ann, tiers=[[fox], [badger]])
    record_judgment(comparison=pair, annotator=ben, tiers=[[badger], [fox]])
    record_judgment(comparison=pair, annotator=rule_judge("tie-maker"), tiers=[[fox, badger]])
    talk = add_comparison(
        project=project,
        messages=[{"role": "system", "content": "Be brief."}, USER, said("Was?"), {"role": "user", "content": "Das!"}],
        responses=[AnswerIn("Ein Fuchs."), AnswerIn("Ein Dachs.")],
    )
    first, second = talk.response_ids
    record_judgment(comparison=talk, annotator=ann, tiers=[[first], [second]])
    return project


def download(client: Client, project: Project, form: str = "conversational") -> list[dict[str, Any]]:
    answer = client.get(reverse("export-preferences", args=[project.slug, form]))
    assert answer.status_code == 200
    return [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]


def test_every_preferring_vote_is_a_row_of_messages(judged: Project, signed_in: SignIn, manager: User) -> None:
    rows = download(signed_in(manager), judged)
    assert rows[:2] == [
        {"prompt": [USER], "chosen": [said("Fuchs.")], "rejected": [said("Dachs.")]},
        {"prompt": [USER], "chosen": [said("Dachs.")], "rejected": [said("Fuchs.")]},
    ]
    assert [message["role"] for message in rows[2]["prompt"]] == ["system", "user", "assistant", "user"]
    assert rows[2]["chosen"] == [said("Ein Fuchs.")]
    assert len(rows) == 3


def test_as_text_a_single_turn_is_bare_and_a_conversation_names_its_speakers(
    judged: Project, signed_in: SignIn, manager: User
) -> None:
    rows = download(signed_in(manager), judged, "text")
    assert rows[0] == {"prompt": USER["content"], "chosen": "Fuchs.", "rejected": "Dachs."}
    assert rows[2]["prompt"] == (
        "System: Be brief.\n\nUser: Wie heißt das? 🦊\n\nAssistant: Was?\n\nUser: Das!\n\nAssistant: "
    )


def test_it_is_a_file_with_a_name(judged: Project, signed_in: SignIn, manager: User) -> None:
    answer = signed_in(manager).get(reverse("export-preferences", args=[judged.slug, "text"]))
    assert answer.headers["Content-Disposition"] == 'attachment; filename="everyday-help-preferences-text.jsonl"'
    assert answer.headers["Content-Type"] == "application/jsonl; charset=utf-8"


def test_what_was_exported_imports_to_the_same_preferences(judged: Project, signed_in: SignIn, manager: User) -> None:
    rows = download(signed_in(manager), judged)
    other = Project.objects.create(name="Other", slug="other")
    import_rows(project=other, file=lines_of(rows[0], rows[2]), judged_by="copy")
    other.memberships.create(user=manager, role="manager")
    assert download(signed_in(manager), other) == [rows[0], rows[2]]


@pytest.mark.parametrize("count", [1, 40])
def test_it_is_one_query_however_many_rows(
    project: Project,
    signed_in: SignIn,
    manager: User,
    django_assert_num_queries: Callable[..., object],
    count: int,
) -> None:
    rows = [{**PAIR, "prompt": f"Question {n}"} for n in range(count)]
    import_rows(project=project, file=lines_of(*rows), judged_by="some-dataset")
    client = signed_in(manager)
    with django_assert_num_queries(6):  # session, person, project; project and event of the audit log; preferences
        assert len(download(client, project)) == count


def test_the_page_says_how_much_there_is(judged: Project, signed_in: SignIn, manager: User) -> None:
    html = signed_in(manager).get(reverse("export", args=[judged.slug])).content.decode()
    assert "3 preferred pairs from 4 judgments" in html
    assert "Fuchs." in html


def test_the_page_of_an_empty_project_says_what_to_do(project: Project, signed_in: SignIn, manager: User) -> None:
    html = signed_in(manager).get(reverse("export", args=[project.slug])).content.decode()
    assert "There is nothing to download yet" in html


def test_only_managers_download(judged: Project, signed_in: SignIn, ann: User, stranger: User, manager: User) -> None:
    url = reverse("export-preferences", args=[judged.slug, "conversational"])
    for person in (ann, stranger):
        assert signed_in(person).get(url).status_code == 404
    assert signed_in(manager).get(reverse("export-preferences", args=[judged.slug, "secret"])).status_code == 404
    assert signed_in(manager).post(url).status_code == 405


def test_for_training_keeps_one_order_and_reads_all_in_one_query(
    judged: Project, django_assert_num_queries: Callable[..., object]
) -> None:
    with django_assert_num_queries(1):
        found = [
            (row.pk, row.prompt.messages, row.chosen.text, row.rejected.text, row.judgment.annotator_id)
            for row in Preference.objects.for_training(judged)
        ]
    assert len(found) == 3
    assert [row[0] for row in found] == sorted(row[0] for row in found)


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    """A random two-layer chat model whose tokenizer knows bytes, saved as transformers saves it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: n for n, token in enumerate(["<pad>", "<end>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>")
    fast.chat_template = (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '<end>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(vocabulary), pad_token_id=0, eos_token_id=1, **size))
    folder = tmp_path / "tiny"
    fast.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def file(judged: Project, signed_in: SignIn, manager: User, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The download, in the form that the test's parameter names."""
    answer = signed_in(manager).get(reverse("export-preferences", args=[judged.slug, request.param]))
    file = tmp_path / "preferences.jsonl"
    file.write_bytes(b"".join(answer.streaming_content))
    return file


ON_CPU = {
    "max_steps": 1,
    "per_device_train_batch_size": 2,
    "report_to": [],
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
}


@pytest.mark.slow
@pytest.mark.parametrize("file", ["conversational", "text"], indirect=True)
def test_trls_dpo_trainer_trains_on_the_file_as_it_is(file: Path, tiny_model: Path, tmp_path: Path) -> None:
    from datasets import load_dataset
    from trl import DPOConfig, DPOTrainer

    data = load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))
    arguments = DPOConfig(output_dir=str(tmp_path / "out"), **ON_CPU)
    result = DPOTrainer(model=str(tiny_model), args=arguments, train_dataset=data).train()

    assert len(data) == 3
    assert result.training_loss == pytest.approx(0.6931, abs=1e-3)  # ln 2: policy and reference are one


@pytest.mark.slow
@pytest.mark.parametrize("file", ["conversational", "text"], indirect=True)
def test_trls_reward_trainer_trains_on_the_file_as_it_is(file: Path, tiny_model: Path, tmp_path: Path) -> None:
    from datasets import load_dataset
    from trl import RewardConfig, RewardTrainer

    data = load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))
    arguments = RewardConfig(output_dir=str(tmp_path / "out"), **ON_CPU)
    result = RewardTrainer(model=str(tiny_model), args=arguments, train_dataset=data).train()

    assert len(data) == 3
    assert 0 < result.training_loss < 5
