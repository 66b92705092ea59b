"""DPO on a tiny model: its oracles, and a run from start to end."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.engine.conftest import PREFERENCES
from training.engine import dpo
from training.engine.__main__ import BAD_INPUT, DONE, main
from training.engine.chat import end_token_id
from training.engine.config import DPOConfig
from training.engine.events import EventWriter, read_events
from training.engine.logprobs import response_logprobs, sequence_logprobs
from training.engine.maths import sum_by_row
from training.engine.models import LoraShape, Trainee, add_lora, load_base, load_tokenizer, train_everything
from training.engine.packing import Tokens, make_pass
from training.engine.pairs import Pair, Tally, read_pairs, read_train_and_eval
from training.engine.run_dir import ModelRef, RunDir

CPU = torch.device("cpu")


class QuietLoop:
    """Stands in for the loop where nothing is to be stopped."""

    def leave_if_requested(self) -> None:
        return None


def make_trainee(folder: str, *, lora: bool) -> Trainee:
    core = load_base(ModelRef(folder), dtype=torch.float32, device=CPU)
    if not lora:
        return train_everything(core, load_tokenizer(folder))
    trainee = add_lora(core, load_tokenizer(folder), LoraShape(4, 8, "all-linear"), reward=False, seed=1)
    torch.manual_seed(2)
    for name, item in trainee.module.named_parameters():
        if "lora_B" in name:
            item.data.normal_(std=0.1)
    return trainee


def make_pairs() -> list[Pair]:
    generator = torch.Generator().manual_seed(4)

    def ids(low: int, high: int) -> list[int]:
        length = int(torch.randint(low, high, (), generator=generator))
        return torch.randint(3, 400, (length,), generator=generator).tolist()

    pairs = []
    for number in range(5):
        prompt = ids(1, 12)
        pairs.append(Pair(str(number), [], Tokens(prompt, ids(1, 9)), Tokens(prompt, ids(1, 20)), 0.0, 1.0))
    return pairs


def gradients(trainee: Trainee) -> dict[str, torch.Tensor]:
    found = {name: item.grad for name, item in trainee.trainable().items()}
    assert all(item is not None for item in found.values())
    return found  # type: ignore[return-value]


def run_ours(trainee: Trainee, pairs: list[Pair], **config: Any) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    trainee.module.zero_grad()
    options = DPOConfig(**{"beta": 0.2, **config})
    reference_BK = torch.tensor([[-20.0 - row, -30.0 + row] for row in range(len(pairs))])
    metrics = dpo.accumulate_gradients(trainee, pairs, reference_BK, options, QuietLoop())  # type: ignore[arg-type]
    return metrics, {name: item.clone() for name, item in gradients(trainee).items()}


def test_where_policy_and_reference_agree_the_gradient_is_half_beta_times_that_of_the_margin(base_folder: str) -> None:
    trainee, pairs = make_trainee(base_folder, lora=False), make_pairs()[:1]
    trainee.module.zero_grad()
    chosen_B, rejected_B = dpo.pair_logprobs(trainee, pairs)
    reference_BK = torch.stack((chosen_B, rejected_B), dim=1).detach()
    # -(β/2)·(∇ log π(y_w) - ∇ log π(y_l))
    (-0.15 * (chosen_B - rejected_B)).sum().backward()
    expected = {name: item.clone() for name, item in gradients(trainee).items()}
    trainee.module.zero_grad()
    metrics = dpo.accumulate_gradients(trainee, pairs, reference_BK, DPOConfig(beta=0.3), QuietLoop())  # type: ignore[arg-type]
    assert metrics["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert (metrics["margin"], metrics["reward_chosen"], metrics["reward_rejected"]) == (0.0, 0.0, 0.0)
    found = gradients(trainee)
    assert expected.keys() == found.keys()
    assert min(float(item.norm()) for item in expected.values()) > 0
    assert max(float((found[name] - item).norm() / item.norm()) for name, item in expected.items()) <= 1e-5


@pytest.mark.parametrize(
    ("options", "loss", "rewards"),
    [
        # β 0.5; log π - log π_ref: chosen 6 over 3 tokens, rejected 2 over 2. Sums: Δ = 4; means: Δ = 2 - 1 = 1.
        ({}, math.log1p(math.exp(-2.0)), (3.0, 1.0)),
        ({"average_logprobs": True}, math.log1p(math.exp(-0.5)), (1.0, 0.5)),
        (
            {"label_smoothing": 0.25},
            0.75 * math.log1p(math.exp(-2.0)) + 0.25 * math.log1p(math.exp(2.0)),
            (3.0, 1.0),
        ),
        # A vote of strength 7: δ = 0.7, to be won by on both sides of the smoothing; β·Δ - δ = 1.3.
        (
            {"label_smoothing": 0.25, "margin_scale": 0.1},
            # Half of the margin of 0.7, as 0.75 - 0.25: 2 - 0.35.
            0.75 * math.log1p(math.exp(-1.65)) + 0.25 * math.log1p(math.exp(1.65)),
            (3.0, 1.0),
        ),
        ({"loss": "ipo"}, (4 - 1) ** 2, (3.0, 1.0)),
        ({"loss": "ipo", "average_logprobs": True}, (1 - 1) ** 2, (1.0, 0.5)),
        (
            {"loss": "robust", "label_smoothing": 0.25},
            (0.75 * math.log1p(math.exp(-2.0)) - 0.25 * math.log1p(math.exp(2.0))) / 0.5,
            (3.0, 1.0),
        ),
    ],
)
def test_each_loss_worked_by_hand(options: dict[str, Any], loss: float, rewards: tuple[float, float]) -> None:
    pair = Pair("1", [], Tokens([5], [1, 2, 3]), Tokens([5], [1, 2]), 7.0, 1.0)
    reference_BK = torch.tensor([[-10.0, -5.0]])
    config = DPOConfig(beta=0.5, **options)
    loss_B, rows = dpo.losses(torch.tensor([-4.0]), torch.tensor([-3.0]), [pair], reference_BK, config)
    told = dict(zip(dpo.METRICS, rows[:, 0].tolist(), strict=True))
    assert loss_B.item() == pytest.approx(loss, rel=1e-6, abs=1e-6)
    assert (told["reward_chosen"], told["reward_rejected"]) == pytest.approx(rewards)
    assert told["margin"] == pytest.approx(rewards[0] - rewards[1])
    assert (told["logprob_chosen"], told["logprob_rejected"]) == (-4.0, -3.0)


@pytest.mark.parametrize(
    ("options", "before"),
    [
        ({"loss": "ipo", "beta": 0.5}, 1.0),
        ({"loss": "robust", "label_smoothing": 0.2}, math.log(2)),
        ({"average_logprobs": True, "beta": 2.0}, math.log(2)),
        ({"label_smoothing": 0.2, "margin_scale": 0.0}, math.log(2)),
    ],
)
def test_every_loss_raises_the_margin_from_zero(
    make_run: Callable[..., RunDir], options: dict[str, Any], before: float
) -> None:
    run_dir = make_run("dpo", epochs=4.0, learning_rate=5e-3, length_prompts=0, sample_prompts=0, **options)
    assert main([str(run_dir.path)]) == DONE
    metrics = (run_dir.result() or {})["metrics"]
    assert metrics["loss_before"] == pytest.approx(before, abs=1e-6)
    assert metrics["margin_before"] == 0.0
    assert metrics["margin"] > 0.1
    assert metrics["accuracy"] == 1.0


def test_passes_of_one_pair_give_the_gradients_of_one_pass(base_folder: str) -> None:
    trainee, pairs = make_trainee(base_folder, lora=True), make_pairs()
    metrics, whole = run_ours(trainee, pairs, tokens_per_pass=100_000)
    in_pieces, pieces = run_ours(trainee, pairs, tokens_per_pass=16)
    assert in_pieces == pytest.approx(metrics, rel=1e-5)
    largest = max(float(item.abs().max()) for item in whole.values())
    assert largest > 0
    assert max(float((whole[name] - pieces[name]).abs().max()) for name in whole) <= 1e-5 * largest


def test_a_pair_of_weight_two_counts_like_the_pair_given_twice(base_folder: str) -> None:
    trainee, pairs = make_trainee(base_folder, lora=True), make_pairs()[:2]
    heavy = [Pair(p.id, [], p.chosen, p.rejected, 0.0, 2.0 if place == 0 else 1.0) for place, p in enumerate(pairs)]
    options, loop = DPOConfig(), QuietLoop()
    reference_BK = torch.zeros(3, 2)
    once = dpo.accumulate_gradients(trainee, heavy, reference_BK[:2], options, loop)  # type: ignore[arg-type]
    weighted = {name: item.clone() for name, item in gradients(trainee).items()}
    trainee.module.zero_grad()
    both = [pairs[0], pairs[0], pairs[1]]
    twice = dpo.accumulate_gradients(trainee, both, reference_BK, options, loop)  # type: ignore[arg-type]
    assert once == pytest.approx(twice, rel=1e-5)
    repeated = gradients(trainee)
    largest = max(float(item.abs().max()) for item in repeated.values())
    assert max(float((weighted[name] - repeated[name]).abs().max()) for name in weighted) <= 1e-5 * largest


@pytest.mark.parametrize("loss", ["sigmoid", "ipo", "robust"])
def test_a_label_of_seven_in_ten_is_seven_votes_one_way_and_three_the_other(base_folder: str, loss: str) -> None:
    trainee, pairs = make_trainee(base_folder, lora=True), make_pairs()[:2]
    options, loop = DPOConfig(loss=loss, label_smoothing=0.1 if loss == "robust" else 0.0), QuietLoop()
    reference_BK = torch.tensor([[-3.0, -5.0], [-8.0, -6.0]])
    soft = [replace(pairs[0], label=0.7), pairs[1]]
    dpo.accumulate_gradients(trainee, soft, reference_BK, options, loop)  # type: ignore[arg-type]
    labelled = {name: item.clone() for name, item in gradients(trainee).items()}
    trainee.module.zero_grad()
    turned = replace(pairs[0], chosen=pairs[0].rejected, rejected=pairs[0].chosen, weight=0.3)
    votes = [replace(pairs[0], weight=0.7), turned, pairs[1]]
    counted_BK = torch.stack((reference_BK[0], reference_BK[0].flip(0), reference_BK[1]))
    dpo.accumulate_gradients(trainee, votes, counted_BK, options, loop)  # type: ignore[arg-type]
    voted = gradients(trainee)
    largest = max(float(item.abs().max()) for item in voted.values())
    assert largest > 0
    assert max(float((labelled[name] - voted[name]).abs().max()) for name in voted) <= 1e-5 * largest


def test_log_probs_do_not_depend_on_company_or_shared_prompts(base_folder: str) -> None:
    trainee, pairs = make_trainee(base_folder, lora=True), make_pairs()
    sequences = [item for pair in pairs for item in (pair.chosen, pair.rejected)]
    with torch.no_grad():
        together_B = sequence_logprobs(trainee.core, sequences, CPU)
        alone_B = torch.cat([sequence_logprobs(trainee.core, [item], CPU) for item in sequences])
        apart = make_pass(sequences, CPU, share=False)
        apart_B = sum_by_row(response_logprobs(trainee.core, apart), apart.row_N, apart.sequences)
    torch.testing.assert_close(together_B, alone_B, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(apart_B, alone_B, rtol=1e-5, atol=1e-4)


def test_log_probs_are_those_of_the_models_own_logits(base_folder: str) -> None:
    trainee, sequence = make_trainee(base_folder, lora=True), make_pairs()[0].rejected
    ids = torch.tensor([[*sequence.prompt_ids, *sequence.response_ids]])
    with torch.no_grad():
        logprob_SV = torch.log_softmax(trainee.core(input_ids=ids).logits[0], -1)
        ours_B = sequence_logprobs(trainee.core, [sequence], CPU)
    start = len(sequence.prompt_ids)
    by_hand = sum(logprob_SV[start - 1 + place, token] for place, token in enumerate(sequence.response_ids))
    torch.testing.assert_close(ours_B[0], by_hand, rtol=1e-5, atol=1e-4)


def test_with_adapters_off_the_policy_is_its_base(base_folder: str) -> None:
    trainee, sequence = make_trainee(base_folder, lora=True), [make_pairs()[0].chosen]
    base = load_base(ModelRef(base_folder), dtype=torch.float32, device=CPU)
    with torch.no_grad():
        with_adapters = sequence_logprobs(trainee.core, sequence, CPU)
        expected = sequence_logprobs(base, sequence, CPU)
        with trainee.as_reference():
            without = sequence_logprobs(trainee.core, sequence, CPU)
    assert torch.equal(without, expected)
    assert not torch.allclose(with_adapters, expected)


def test_training_raises_the_margin_from_zero_and_ln_2(make_run: Callable[..., RunDir]) -> None:
    run_dir = make_run("dpo", epochs=8.0, learning_rate=5e-3)
    assert main([str(run_dir.path)]) == DONE
    result = run_dir.result()
    assert result is not None
    metrics = result["metrics"]
    assert metrics["loss_before"] == pytest.approx(math.log(2), abs=1e-6)
    assert (metrics["margin_before"], metrics["accuracy_before"], metrics["kl_before"]) == (0.0, 0.5, 0.0)
    assert metrics["margin"] > 0.5
    assert metrics["accuracy"] == 1.0
    assert metrics["kl_k3"] > 0
    before_and_after = [item for item in read_events(run_dir.events_path, 0)[0] if item["kind"] == "eval"]
    assert [item["step"] for item in before_and_after] == [0, 16]
    assert before_and_after[0]["metrics"].keys() == before_and_after[1]["metrics"].keys()


def test_a_run_tells_its_start_steps_samples_and_end(make_run: Callable[..., RunDir]) -> None:
    run_dir = make_run("dpo")
    assert main([str(run_dir.path)]) == DONE
    events, _ = read_events(run_dir.events_path, 0)
    kinds = [item["kind"] for item in events if item["kind"] != "phase"]
    assert kinds == ["start", "sample", "eval", "step", "step", "checkpoint", "sample", "eval", "done"]
    step = next(item for item in events if item["kind"] == "step")
    assert set(dpo.METRICS) | {"grad_norm", "lr", "tokens_per_second"} == set(step["metrics"])
    samples = [item["samples"] for item in events if item["kind"] == "sample"]
    assert [[row["id"] for row in rows] for rows in samples] == [["0", "1"], ["0", "1"]]
    assert set(samples[0][0]) == {"id", "prompt", "text", "ended", "tokens"}


def test_the_merged_model_is_the_adapter_on_its_base(make_run: Callable[..., RunDir], base_folder: str) -> None:
    run_dir = make_run("dpo", learning_rate=5e-3, epochs=4.0)
    assert main([str(run_dir.path)]) == DONE
    merged = AutoModelForCausalLM.from_pretrained(run_dir.model_path / "merged")
    base: Any = AutoModelForCausalLM.from_pretrained(base_folder)
    ids = torch.tensor([[5, 60, 100, 200, 300, 7]])
    with torch.no_grad():
        expected = base(input_ids=ids).logits
        adapted = PeftModel.from_pretrained(base, str(run_dir.model_path / "adapter"))(input_ids=ids).logits
        found = merged(input_ids=ids).logits
    torch.testing.assert_close(found, adapted, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, expected, atol=1e-3)


def test_what_is_saved_has_tokenizer_template_and_a_true_manifest(make_run: Callable[..., RunDir]) -> None:
    run_dir = make_run("dpo")
    assert main([str(run_dir.path)]) == DONE
    manifest = run_dir.manifest()
    assert manifest is not None
    assert manifest["formats"] == ["adapter", "merged"]
    assert (manifest["kind"], manifest["method"]) == ("policy", "dpo")
    named = {f"{form}/{item['path']}" for form in manifest["formats"] for item in manifest["files"][form]}
    on_disk = {str(path.relative_to(run_dir.model_path)) for path in run_dir.model_path.rglob("*") if path.is_file()}
    assert on_disk == named | {"manifest.json"}
    assert AutoTokenizer.from_pretrained(run_dir.model_path / "merged").chat_template
    assert AutoTokenizer.from_pretrained(run_dir.model_path / "adapter").chat_template
    adapter = (run_dir.model_path / "adapter" / "adapter_config.json").read_text()
    assert str(run_dir.path.parent) not in adapter
    assert json.loads(adapter)["base_model_name_or_path"] == "full"


def test_every_weight_can_be_trained(make_run: Callable[..., RunDir]) -> None:
    run_dir = make_run("dpo", lora=False, learning_rate=1e-3, epochs=4.0)
    assert main([str(run_dir.path)]) == DONE
    result = run_dir.result()
    assert result is not None
    assert result["metrics"]["margin"] > result["metrics"]["margin_before"] == 0.0
    assert result["metrics"]["kl_before"] == 0.0
    assert [path.name for path in sorted(run_dir.model_path.iterdir())] == ["manifest.json", "merged"]


def test_equal_and_empty_answers_are_left_out_and_counted(make_run: Callable[..., RunDir]) -> None:
    equal = {**PREFERENCES[0], "rejected": PREFERENCES[0]["chosen"]}
    empty = {**PREFERENCES[1], "chosen": "  "}
    run_dir = make_run("dpo", train=[equal, empty, *PREFERENCES], held_out=PREFERENCES[:2])
    assert main([str(run_dir.path)]) == DONE
    result = run_dir.result()
    assert result is not None
    assert result["dropped"] == 2
    warnings = [item["message"] for item in read_events(run_dir.events_path, 0)[0] if item["kind"] == "warning"]
    assert warnings == ["2 train pairs were left out, 1 with equal answers, 1 with an empty answer"]


@pytest.mark.parametrize("method", ["dpo", "reward"])
def test_one_pair_and_nothing_held_out_are_warned_of_and_trained_on(
    make_run: Callable[..., RunDir], method: str
) -> None:
    run_dir = make_run(method, train=PREFERENCES[:1], held_out=[])
    assert main([str(run_dir.path)]) == DONE
    told = [(item["kind"], item.get("message", "")) for item in read_events(run_dir.events_path, 0)[0]]
    warnings = [message for kind, message in told if kind == "warning"]
    assert warnings == [
        "there is only one pair to train on: it will be learned by heart",
        "no pair is held out: nothing can be measured on pairs that were not seen",
    ]
    kinds = [kind for kind, _ in told]
    assert kinds.index("warning") < kinds.index("step")


def test_cut_rows_are_counted_and_told(make_run: Callable[..., RunDir]) -> None:
    run_dir = make_run("dpo", max_length=32)
    assert main([str(run_dir.path)]) == DONE
    result = run_dir.result()
    assert result is not None
    assert result["truncated"] > 0
    warnings = [item["message"] for item in read_events(run_dir.events_path, 0)[0] if item["kind"] == "warning"]
    assert any("cut to max_length 32" in message for message in warnings)


def test_a_rows_label_is_its_pairs_and_one_where_it_has_none(make_run: Callable[..., RunDir]) -> None:
    run_dir = make_run("dpo", train=[{**PREFERENCES[0], "label": 0.7}, PREFERENCES[1]])
    tokenizer = load_tokenizer(run_dir.spec().models["base"].path)
    pairs = read_pairs(run_dir, "train", tokenizer, 400, Tally(), EventWriter(run_dir.events_path))
    assert [pair.label for pair in pairs] == [0.7, 1.0]


def test_labels_smoothing_and_margins_of_pairs_reach_the_loss() -> None:
    # β 0.5, Δ = 4 and -2: leads of 2 and -1. Label 0.9 flipped by 0.1 is 0.82, of margin 2·1.5 it asks 0.64·3 = 1.92;
    # label 1 is 0.9 and asks 0.8·2·0.5 = 0.8.
    pairs = [
        replace(pair, margin=margin, label=label)
        for pair, margin, label in zip(make_pairs(), (1.5, 0.5), (0.9, 1.0), strict=False)
    ]
    options = DPOConfig(beta=0.5, label_smoothing=0.1, margin_scale=2.0)
    loss_B, _ = dpo.losses(torch.tensor([4.0, -2.0]), torch.zeros(2), pairs, torch.zeros(2, 2), options)
    expected = [
        0.82 * math.log(1 + math.exp(-0.08)) + 0.18 * math.log(1 + math.exp(0.08)),
        0.9 * math.log(1 + math.exp(1.8)) + 0.1 * math.log(1 + math.exp(-1.8)),
    ]
    assert loss_B.tolist() == pytest.approx(expected, abs=1e-6)


def test_both_answers_of_a_pair_share_the_prompt_that_is_left_after_the_cut(make_run: Callable[..., RunDir]) -> None:
    long_prompt = [{"role": "user", "content": "What do bees make? " * 20}]
    row = {"id": "1", "prompt": long_prompt, "chosen": "Honey.", "rejected": "Bees make honey and wax and more."}
    run_dir = make_run("dpo", train=[row])
    tally = Tally()
    tokenizer = load_tokenizer(run_dir.spec().models["base"].path)
    pairs = read_pairs(run_dir, "train", tokenizer, 40, tally, EventWriter(run_dir.events_path))
    assert pairs[0].chosen.prompt_ids == pairs[0].rejected.prompt_ids
    assert pairs[0].rejected.length == 40
    assert pairs[0].chosen.length < 40
    assert (tally.dropped, tally.truncated) == (0, 1)


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        ([], "there is no pair to train on"),
        (
            [{**PREFERENCES[0], "rejected": PREFERENCES[0]["chosen"] + "\n"}, {**PREFERENCES[0], "rejected": ""}],
            "no pair to train on: all 2 were left out, 1 with equal answers, 1 with an empty answer",
        ),
        (
            [{**PREFERENCES[0], "chosen": "so " * 99 + "good", "rejected": "so " * 99 + "bad"}],
            "no pair to train on: all 1 were left out, 1 with answers that are equal once cut to max_length 128",
        ),
        ([{"prompt": [{"role": "user", "content": "a"}], "chosen": "b"}], "train row 1: rejected must be text"),
        ([{**PREFERENCES[0], "weight": -1}], "weight must be a number of at least 0"),
        ([{**PREFERENCES[0], "label": 1.5}], "train row 1: label must be a probability"),
        ([{**PREFERENCES[0], "label": None}], "train row 1: label must be a probability"),
        ([{**PREFERENCES[0], "prompt": "a"}], "train row 1: a prompt must be a list of at least one"),
    ],
)
def test_data_that_will_not_do_is_one_readable_sentence(
    make_run: Callable[..., RunDir], capsys: pytest.CaptureFixture[str], train: list[dict[str, Any]], reason: str
) -> None:
    run_dir = make_run("dpo", train=train)
    assert main([str(run_dir.path)]) == BAD_INPUT
    assert reason in capsys.readouterr().err
    last = read_events(run_dir.events_path, 0)[0][-1]
    assert last["kind"] == "error"
    assert reason in last["reason"]
    assert run_dir.result() is None


def test_a_strong_vote_must_be_won_by_more(base_folder: str) -> None:
    trainee, pairs = make_trainee(base_folder, lora=True), make_pairs()[:1]
    strong = [Pair(p.id, [], p.chosen, p.rejected, 3.0, 1.0) for p in pairs]
    indifferent, _ = run_ours(trainee, strong)
    demanding, _ = run_ours(trainee, strong, margin_scale=0.5)
    plain, _ = run_ours(trainee, pairs)
    assert indifferent == plain
    # loss = log(1 + e^-(margin - 1.5))
    assert demanding["loss"] == pytest.approx(math.log1p(math.exp(-(plain["margin"] - 1.5))), rel=1e-4)


def test_only_answers_that_ended_are_trained_with_an_end_token(
    make_run: Callable[..., RunDir], base_folder: str
) -> None:
    rows = [{**PREFERENCES[0], "rejected_ended": False}, {**PREFERENCES[1]}]
    run_dir = make_run("dpo", train=rows, max_length=256)
    tokenizer = load_tokenizer(base_folder)
    pairs, _, _ = read_train_and_eval(run_dir, tokenizer, 256, 8, EventWriter(run_dir.events_path))
    ends = [
        answer.response_ids[-1] == end_token_id(tokenizer) for pair in pairs for answer in (pair.chosen, pair.rejected)
    ]
    assert ends == [True, False, True, True]


def test_every_evaluation_measures_and_tells_fresh_answers(make_run: Callable[..., RunDir]) -> None:
    run_dir = make_run("dpo", epochs=3.0, learning_rate=5e-3, eval_every=2)
    assert main([str(run_dir.path)]) == DONE
    events = read_events(run_dir.events_path, 0)[0]
    evaluations = {event["step"]: event["metrics"] for event in events if event["kind"] == "eval"}
    assert sorted(evaluations) == [0, 2, 4, 6]
    assert [{"kl", "kl_k3", "response_tokens"} <= set(metrics) for metrics in evaluations.values()] == [True] * 4
    assert evaluations[0]["kl_k3"] == 0.0 < evaluations[2]["kl_k3"] < evaluations[6]["kl_k3"]
    assert [event["step"] for event in events if event["kind"] == "sample"] == [0, 2, 4, 6]


def test_in_bf16_the_policy_starts_as_its_reference_and_what_it_learns_is_kept_in_fp32(
    make_run: Callable[..., RunDir],
) -> None:
    run_dir = make_run("dpo", precision="bf16", epochs=4.0, learning_rate=5e-3)
    assert main([str(run_dir.path)]) == DONE
    metrics = (run_dir.result() or {})["metrics"]
    assert (metrics["margin_before"], metrics["kl_before"]) == (0.0, 0.0)
    assert metrics["margin"] > 0.1
    merged, adapter = (load_file(path) for path in sorted(run_dir.model_path.rglob("*.safetensors"), reverse=True))
    assert {item.dtype for item in (*merged.values(), *adapter.values())} == {torch.float32}
    # What was frozen is as bf16 had it; what the adapter changed is finer than that.
    finer = {name for name, item in merged.items() if not torch.equal(item, item.bfloat16().float())}
    assert finer == {name for name in merged if ".mlp." in name or ".self_attn." in name}
