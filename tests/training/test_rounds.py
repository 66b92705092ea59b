"""The loop's last arrow: a version answers a project's prompts, and people get the answers to compare."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable

import pytest

from annotation.models import Comparison, Preference, Project, Prompt, Response, User
from models_registry.models import Version
from tests.at_once import at_once
from training import landing
from training.engine.run_dir import RunDir, Spec
from training.holding import Hold, LostRunError
from training.landing import land_samples, read_samples
from training.launching import LaunchError, cancel_run
from training.models import Method, Round, Run, Snapshot, State
from training.rounds import RoundPlan, Which, launch_round, preview_round
from training.snapshots import read_rows
from training.supervision import run_directory, supervise

from .conftest import make_run, make_version, sha

pytestmark = pytest.mark.django_db(transaction=True)
Engine = Callable[[str], None]


def ask(project: Project, number: int) -> list[Prompt]:
    """So many prompts without any answer."""
    questions = [f"New question {n}?" for n in range(number)]
    return Prompt.objects.bulk_create(
        Prompt(project=project, messages=[{"role": "user", "content": text}], content_hash=sha(text))
        for text in questions
    )


def plan(project: Project, base: Version, **changes: object) -> RoundPlan:
    return RoundPlan(**{"project": project, "base": base, **changes})  # type: ignore[arg-type]


def played(run: Run) -> Run:
    """The run, executed to its end."""
    assert Run.objects.claim(run.pk, worker="test@here")
    supervise(run.pk)
    run.refresh_from_db()
    return run


def test_a_launch_freezes_the_prompts_and_what_the_answers_are_for(
    project: Project, base: Version, votes: list[Preference], admin: User
) -> None:
    other = make_version("Other", "policy")
    prompt = Prompt.objects.get(content_hash=sha("Question 0?"))
    Response.objects.create(prompt=prompt, author=other, text="Other.", content_hash="o")
    found = plan(project, base, which=Which.ALL, against=other, values={"n": 3}, seed=7)
    run = launch_round(found, created_by=admin)
    ask(project, 1)  # too late
    run.refresh_from_db()
    assert (run.method, run.state, run.project, run.base, run.seed) == ("sample", "queued", project, base, 7)
    assert (run.config["n"], run.config["temperature"], run.round.against) == (3, 0.8, other)
    assert run.snapshot is not None
    assert (run.snapshot.filter, run.snapshot.train_rows, run.snapshot.eval_rows) == ({"prompts": "all"}, 10, 0)
    rows = list(read_rows(run.snapshot, "prompts"))
    assert [row["prompt"][0]["content"] for row in rows] == [f"Question {n}?" for n in range(10)]
    assert int(rows[0]["id"]) == prompt.pk


def test_prompts_with_an_open_comparison_are_left_alone_unless_all_are_wanted(
    project: Project, base: Version, votes: list[Preference]
) -> None:
    Comparison.objects.update(closed_at="2026-01-01T00:00Z", depth=1)
    waiting = Comparison.objects.filter(prompt__content_hash=sha("Question 3?")).first()
    assert waiting is not None
    Comparison.objects.filter(pk=waiting.pk).update(closed_at=None)
    idle, every = (preview_round(project, which=which, n=3) for which in (Which.IDLE, Which.ALL))
    assert (idle.prompts, idle.all_prompts, idle.idle_prompts, idle.answers, idle.comparisons) == (9, 10, 9, 27, 27)
    assert (every.prompts, every.all_prompts, every.idle_prompts, every.answers) == (10, 10, 9, 30)
    run = launch_round(plan(project, base), created_by=None)
    assert run.snapshot is not None
    assert str(waiting.prompt_id) not in {row["id"] for row in read_rows(run.snapshot, "prompts")}


def test_a_finished_round_is_answers_and_comparisons_in_the_queue(
    engine: Engine, project: Project, base: Version, admin: User
) -> None:
    engine("answer")
    prompts = ask(project, 3)
    run = played(launch_round(plan(project, base, seed=4), created_by=admin))
    assert (run.state, run.reason, run.step, run.total_steps) == (State.SUCCEEDED, "", 6, 6)
    assert (run.round.answers, run.round.comparisons, run.round.landed_prompts) == (6, 3, 3)
    assert run.version is None
    assert run.metrics["response_tokens"] == 5.0
    answer = Response.objects.get(prompt=prompts[0], text="Answer 1 to New question 0?")
    assert (answer.author, answer.author_label) == (base, "")
    assert answer.sampling == {
        "temperature": 0.8,
        "top_p": 0.95,
        "top_k": 0,
        "max_new_tokens": 256,
        "seed": 4,
        "run": run.pk,
        "n": 1,
        "ended": False,
        "tokens": 5,
    }
    assert {comparison.prompt for comparison in Comparison.objects.still_open()} == set(prompts)


def test_the_other_versions_answers_are_met(engine: Engine, project: Project, base: Version) -> None:
    engine("answer")
    answered, _ = ask(project, 2)
    other = make_version("Other", "policy")
    old = Response.objects.create(prompt=answered, author=other, text="Old.", content_hash="o")
    run = played(launch_round(plan(project, base, values={"n": 1}, against=other), created_by=None))
    assert (run.round.answers, run.round.comparisons) == (2, 1)
    assert old.pk in Comparison.objects.get().response_ids


def test_the_same_result_taken_again_adds_nothing(engine: Engine, project: Project, base: Version) -> None:
    engine("answer")
    ask(project, 3)
    run = played(launch_round(plan(project, base), created_by=None))
    Run.objects.filter(pk=run.pk).update(state=State.QUEUED, finished_at=None)
    run = played(run)
    assert (run.state, run.round.answers, run.round.comparisons) == (State.SUCCEEDED, 6, 3)
    Round.objects.update(landed_prompts=0)  # as if the place had been forgotten, too
    Run.objects.filter(pk=run.pk).update(state=State.QUEUED, finished_at=None)
    run = played(run)
    run.round.refresh_from_db()
    assert (run.round.answers, run.round.repeated, run.round.comparisons) == (6, 6, 3)
    assert (Response.objects.count(), Comparison.objects.count()) == (6, 3)


def finished(project: Project, base: Version, prompts: int, n: int = 2) -> tuple[Run, RunDir]:
    """A running run whose engine has left its samples."""
    run = make_run(base, method=Method.SAMPLE, project=project, config={"n": n, **dict.fromkeys(landing.SAMPLING, 1)})
    Round.objects.create(run=run)
    Run.objects.claim(run.pk, worker="test@here")
    run.refresh_from_db()
    run_dir = RunDir.create(run_directory(run).path, Spec(method="sample", config={}))
    with open(run_dir.samples_path, "w") as file:
        for prompt in ask(project, prompts):
            for number in range(n):
                line = {"id": str(prompt.pk), "n": number, "text": f"Answer {number}", "ended": True, "tokens": 2}
                file.write(json.dumps(line) + "\n")
    return run, run_dir


def test_a_worker_that_dies_in_between_loses_and_doubles_nothing(
    project: Project, base: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, run_dir = finished(project, base, prompts=5)
    monkeypatch.setattr(landing, "BATCH", 2)
    real, batches = landing.land, []

    def dying(**given: object) -> object:
        batches.append(given)
        landed = real(**given)  # type: ignore[arg-type]
        if len(batches) == 2:
            raise ConnectionError("gone, with the rows of the second batch written but not committed")
        return landed

    monkeypatch.setattr(landing, "land", dying)
    with pytest.raises(ConnectionError):
        land_samples(run, Hold(run), run_dir)
    assert (Response.objects.count(), Comparison.objects.count()) == (4, 2)
    land_samples(run, Hold(run), run_dir)
    found = Round.objects.get()
    assert (found.landed_prompts, found.answers, found.repeated, found.comparisons) == (5, 10, 0, 5)
    assert (Response.objects.count(), Comparison.objects.count()) == (10, 5)


def test_two_workers_with_one_result_add_it_once(project: Project, base: Version) -> None:
    run, run_dir = finished(project, base, prompts=20)

    def work() -> str:
        try:
            land_samples(run, Hold(run), run_dir)
        except LostRunError:
            return "lost"
        return "landed"

    assert "landed" in at_once(work)
    found = Round.objects.get()
    assert (found.landed_prompts, found.answers, found.repeated, found.comparisons) == (20, 40, 0, 20)


def test_a_worker_that_has_lost_the_run_adds_nothing(project: Project, base: Version) -> None:
    run, run_dir = finished(project, base, prompts=2)
    hold = Hold(run)
    Run.objects.filter(pk=run.pk).update(attempt=2)  # somebody else's by now
    with pytest.raises(LostRunError):
        land_samples(run, hold, run_dir)
    assert not Response.objects.exists()


def test_what_no_database_holds_is_replaced(project: Project, base: Version) -> None:
    run, run_dir = finished(project, base, prompts=1)
    line = run_dir.samples_path.read_text().splitlines()[0]
    run_dir.samples_path.write_text(line.replace("Answer 0", "a\\u0000b\\ud800c") + "\n")
    land_samples(run, Hold(run), run_dir)
    assert Response.objects.get().text == "a\N{REPLACEMENT CHARACTER}b?c"


def test_samples_are_read_without_holding_them_all(base: Version) -> None:
    run = make_run(base, method=Method.SAMPLE, config=dict.fromkeys(landing.SAMPLING, 1))
    text = "x" * 10_000
    lines = (
        json.dumps({"id": str(number), "n": 0, "text": text, "ended": True, "tokens": 1}) for number in range(2000)
    )
    tracemalloc.start()
    count = sum(1 for _ in read_samples(run, lines))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 2000
    assert peak < 2_000_000  # of 20 MB


@pytest.mark.parametrize("batches", [1, 3])
def test_a_batch_takes_a_fixed_number_of_queries(
    project: Project,
    base: Version,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: Callable[..., object],
    batches: int,
) -> None:
    run, run_dir = finished(project, base, prompts=4 * batches)
    monkeypatch.setattr(landing, "BATCH", 4)
    run = Run.objects.with_names().get(pk=run.pk)
    with django_assert_num_queries(1 + 13 * batches):  # 4 of a batch are the transaction and its savepoint
        land_samples(run, Hold(run), run_dir)


def refused(found: RoundPlan) -> tuple[str, str]:
    with pytest.raises(LaunchError) as error:
        launch_round(found, created_by=None)
    assert not Run.objects.filter(method=Method.SAMPLE, state=State.QUEUED).exists()
    assert not Snapshot.objects.exists()
    return error.value.field, str(error.value)


def test_a_round_that_makes_no_sense_is_refused_with_a_reason(
    project: Project, base: Version, reward: Version, votes: list[Preference]
) -> None:
    every = {"which": Which.ALL}
    assert refused(plan(project, reward, **every))[0] == "base"
    assert refused(plan(project, base, **every, values={"n": 10}))[0] == "n"
    assert refused(plan(project, base, **every, values={"n": 1}))[0] == "n"
    assert refused(plan(project, base, **every, against=base))[1].startswith("Its own answers are compared anyway.")
    silent = make_version("Silent", "policy")
    assert refused(plan(project, base, **every, against=silent)) == (
        "against",
        "Silent v1 has answered none of these prompts.",
    )
    assert refused(plan(project, base))[0] == "prompts"  # every one has an open comparison
    empty = Project.objects.create(name="Empty", slug="empty")
    assert refused(plan(empty, base))[0] == "project"


def test_of_two_launches_at_once_one_comes_through(project: Project, base: Version) -> None:
    ask(project, 2)

    def work() -> str:
        try:
            launch_round(plan(project, base), created_by=None)
        except LaunchError as error:
            return error.field
        return "launched"

    assert sorted(at_once(work)) == ["base", "launched"]
    assert Run.objects.count() == 1


def test_the_database_lets_one_of_two_through(project: Project, base: Version, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(project, 2)
    launch_round(plan(project, base), created_by=None)
    monkeypatch.setattr(RoundPlan, "_check_models", lambda self: None)  # both looked before either had written
    with pytest.raises(LaunchError, match="has just begun to answer"):
        launch_round(plan(project, base), created_by=None)
    assert Run.objects.count() == 1


def test_a_version_that_is_answering_already_is_named_with_its_run(project: Project, base: Version) -> None:
    ask(project, 2)
    run = launch_round(plan(project, base), created_by=None)
    with pytest.raises(LaunchError, match=f"already, in run {run.pk}"):
        launch_round(plan(project, base), created_by=None)


def test_another_round_draws_other_answers(project: Project, base: Version) -> None:
    ask(project, 2)
    seeds = []
    for _ in range(3):
        run = launch_round(plan(project, base), created_by=None)
        seeds.append(run.seed)
        assert cancel_run(run)
    other = launch_round(plan(project, make_version("Other", "policy")), created_by=None)
    assert (seeds, other.seed) == ([0, 1, 2], 0)


def test_a_result_without_its_samples_fails_with_a_reason(project: Project, base: Version) -> None:
    ask(project, 2)
    run = launch_round(plan(project, base), created_by=None)
    assert Run.objects.claim(run.pk, worker="test@here")
    run_dir = RunDir.create(run_directory(run).path, Spec(method="sample", config={}))
    run_dir.result_path.write_text('{"metrics": {}}')
    supervise(run.pk)
    run.refresh_from_db()
    assert run.state == State.FAILED
    assert "samples.jsonl" in run.reason
