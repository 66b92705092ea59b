"""The sample method through its run directory."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from training.engine import chat, sample, stop
from training.engine.__main__ import main
from training.engine.config import SampleConfig
from training.engine.errors import EngineError, Stopped
from training.engine.events import EventWriter, read_events
from training.engine.generate import generate, stop_token_ids
from training.engine.models import load_base, load_tokenizer
from training.engine.run_dir import ModelRef, RunDir, Spec
from training.engine.sample import prompt_room, run
from training.engine.tiny import build_tiny

PROMPTS = ["Say hello.", "What do bees make?", "Name a colour of the rainbow, please, and say why you like it."]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    model, tokenizer = build_tiny(seed=0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def _run_dir(path, base, prompts=PROMPTS, **options):
    config = {"n": 2, "max_new_tokens": 12, "temperature": 1.0, "precision": "fp32", **options}
    spec = Spec(method="sample", config=config, seed=5, models={"base": ModelRef(base)})
    rows = [{"id": f"p{place}", "prompt": [{"role": "user", "content": text}]} for place, text in enumerate(prompts)]
    return RunDir.create(path, spec, {"prompts": rows})


def _count_answers(monkeypatch):
    """How many answers every call samples, from now on."""
    counted = []

    def counting(model, prompts_ids, **options):
        counted.append(len(prompts_ids))
        return generate(model, prompts_ids, **options)

    monkeypatch.setattr(sample, "generate", counting)
    return counted


def _samples(run_dir):
    return [json.loads(line) for line in run_dir.samples_path.read_text(encoding="utf-8").splitlines()]


def test_every_prompt_gets_its_answers_in_order(tmp_path, base):
    run_dir = _run_dir(tmp_path, base)
    assert main([str(tmp_path)]) == 0
    samples = _samples(run_dir)
    assert [(item["id"], item["n"]) for item in samples] == [(f"p{p}", n) for p in range(3) for n in range(2)]
    assert set(samples[0]) == {"id", "model", "n", "text", "ended", "tokens"}
    assert {item["model"] for item in samples} == {"base"}
    assert all(1 <= item["tokens"] <= 12 for item in samples)
    kinds = [event["kind"] for event in read_events(run_dir.events_path, 0)[0]]
    assert kinds[-1] == "done"
    assert "start" in kinds
    assert run_dir.result()["metrics"]["response_tokens"] == pytest.approx(sum(i["tokens"] for i in samples) / 6)


def test_the_text_is_what_the_model_says_for_that_prompt_number_and_seed(tmp_path, base):
    run_dir = _run_dir(tmp_path, base, batch_size=1)
    main([str(tmp_path)])
    tokenizer = load_tokenizer(base)
    model = load_base(ModelRef(base), dtype=next(iter(build_tiny(0)[0].parameters())).dtype, device="cpu")
    prompt_ids, _ = chat.render(tokenizer, [{"role": "user", "content": PROMPTS[1]}])
    [answer] = generate(
        model,
        [prompt_ids],
        numbers=[1],
        seed=5,
        stop_ids=stop_token_ids(model, tokenizer),
        max_new_tokens=12,
        top_p=SampleConfig().top_p,
    )
    assert _samples(run_dir)[3]["text"] == chat.decode(tokenizer, answer.token_ids)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_batch_size_changes_no_answer(tmp_path, base, batch_size):
    reference, other = _run_dir(tmp_path / "a", base), _run_dir(tmp_path / "b", base, batch_size=batch_size)
    assert main([str(reference.path)]) == main([str(other.path)]) == 0
    assert _samples(reference) == _samples(other)


def test_a_stopped_run_goes_on_after_its_last_block(tmp_path, base, monkeypatch):
    whole = _run_dir(tmp_path / "whole", base, batch_size=2)
    main([str(whole.path)])
    stopped = _run_dir(tmp_path / "stopped", base, batch_size=2)
    part = stopped.path / "samples.part.jsonl"
    monkeypatch.setattr(stop, "leave_if_requested", lambda: _raise_if(part.exists() and part.stat().st_size > 0))
    assert main([str(stopped.path)]) == 75
    assert len(part.read_text().splitlines()) == 2
    assert not stopped.samples_path.exists()
    part.write_bytes(part.read_bytes() + b'{"torn": ')
    monkeypatch.undo()
    counted = _count_answers(monkeypatch)
    assert main([str(stopped.path)]) == 0
    assert counted == [2, 2]  # of three blocks
    assert _samples(stopped) == _samples(whole)
    assert not part.exists()


def test_several_versions_answer_as_each_would_alone(tmp_path, base, monkeypatch):
    other = tmp_path / "other"
    for item in build_tiny(seed=1):
        item.save_pretrained(other)
    rows = [{"id": f"p{place}", "prompt": [{"role": "user", "content": text}]} for place, text in enumerate(PROMPTS)]
    config = {"n": 2, "max_new_tokens": 12, "temperature": 1.0, "precision": "fp32", "batch_size": 4}
    both = {"trained": ModelRef(str(other)), "base": ModelRef(base)}
    together = RunDir.create(tmp_path / "both", Spec("sample", config, 5, both), {"prompts": rows})
    part = together.path / "samples.part.jsonl"
    # Stopped within the second version.
    monkeypatch.setattr(stop, "leave_if_requested", lambda: _raise_if(part.exists() and b'"base"' in part.read_bytes()))
    assert main([str(together.path)]) == 75
    monkeypatch.undo()
    counted = _count_answers(monkeypatch)
    assert main([str(together.path)]) == 0
    assert counted == [2]  # what was left of the second; nothing of the first is sampled again
    monkeypatch.undo()
    samples = _samples(together)
    wanted = [(f"p{p}", name, n) for p in range(3) for name in both for n in range(2)]
    assert [(item["id"], item["model"], item["n"]) for item in samples] == wanted
    for name, ref in both.items():
        alone = RunDir.create(tmp_path / name, Spec("sample", config, 5, {name: ref}), {"prompts": rows})
        assert main([str(alone.path)]) == 0
        assert [item for item in samples if item["model"] == name] == _samples(alone)
    assert len({item["text"] for item in samples if item["id"] == "p0"}) == 4


def _raise_if(asked):
    if asked:
        raise Stopped


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"max_new_tokens": 64, "max_length": 64}, "no room for a prompt"), ({"top_p": 2.0}, "top_p")],
)
def test_bad_requests_end_with_one_readable_reason(tmp_path, base, options, reason, capsys):
    run_dir = _run_dir(tmp_path, base, **options)
    assert main([str(tmp_path)]) == 2
    assert reason in capsys.readouterr().err
    assert reason in read_events(run_dir.events_path, 0)[0][-1]["reason"]


def test_no_prompts_is_an_error(tmp_path, base):
    spec = Spec(method="sample", config={}, models={"base": ModelRef(base)})
    run_dir = RunDir.create(tmp_path, spec, {"prompts": []})
    with pytest.raises(EngineError, match="no prompt"):
        run(run_dir, spec, SampleConfig(), EventWriter(run_dir.events_path))


def test_a_row_that_is_no_prompt_is_named(tmp_path, base, capsys):
    rows = [{"prompt": [{"role": "user", "content": "Hi"}]}, {"text": "Hi"}]
    RunDir.create(tmp_path, Spec(method="sample", config={}, models={"base": ModelRef(base)}), {"prompts": rows})
    assert main([str(tmp_path)]) == 2
    assert "prompts row 2: a prompt must be a list" in capsys.readouterr().err


def test_a_spec_without_models_is_an_error(tmp_path, capsys):
    rows = [{"prompt": [{"role": "user", "content": "Hi"}]}]
    RunDir.create(tmp_path, Spec(method="sample", config={}), {"prompts": rows})
    assert main([str(tmp_path)]) == 2
    assert "names no model to sample from" in capsys.readouterr().err


def test_a_long_prompt_loses_its_beginning_and_is_counted(tmp_path, base):
    asked = f"{PROMPTS[2]} " * 3
    run_dir = _run_dir(tmp_path, base, ["Well, " + asked, "Now then: " + asked, asked + "Why?"], max_length=40)
    assert main([str(tmp_path)]) == 0
    assert run_dir.result()["truncated"] == 3
    # The answer follows from what was read: where only the beginning differs it is the same.
    first, second, other = (
        [item["text"] for item in _samples(run_dir) if item["id"] == f"p{place}"] for place in range(3)
    )
    assert first == second != other


def test_the_room_of_a_prompt_is_bounded_by_the_models_context(base):
    config = build_tiny(0)[0].config
    assert prompt_room(config, max_length=10**6, max_new_tokens=48) == config.max_position_embeddings - 48
    assert asdict(SampleConfig())["max_length"] - 48 == prompt_room(config, max_length=2048, max_new_tokens=48)


def test_the_most_likely_token_alone_is_the_greedy_answer(tmp_path, base):
    greedy, one = _run_dir(tmp_path / "greedy", base, temperature=0.0), _run_dir(tmp_path / "one", base, top_k=1)
    free = _run_dir(tmp_path / "free", base)
    assert [main([str(item.path)]) for item in (greedy, one, free)] == [0, 0, 0]
    assert _samples(one) == _samples(greedy) != _samples(free)
