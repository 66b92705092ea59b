"""Answers of a model become comparisons: the rule, what is counted, and that nothing comes twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from annotation.content_hashes import content_hash
from annotation.models import Comparison, Project, Prompt, Response, User
from annotation.rounds import Answered, Given, Landed, land
from annotation.services import AnswerIn, add_comparison, record_judgment
from annotation.sources import sources_of
from models_registry.models import Model, Version
from tests.at_once import at_once

pytestmark = pytest.mark.django_db


def make_version(name: str) -> Version:
    model = Model.objects.create(name=name, slug=name.lower())
    return Version.objects.create(model=model, number=1, kind="policy")


@pytest.fixture
def policy(db: None) -> Version:
    return make_version("Policy")


@pytest.fixture
def prompt(project: Project) -> Prompt:
    return make_prompt(project, "How?")


def make_prompt(project: Project, question: str) -> Prompt:
    messages = [{"role": "user", "content": question}]
    return Prompt.objects.create(project=project, messages=messages, content_hash=content_hash(messages))


def answered(prompt: Prompt, *texts: str) -> Answered:
    return Answered(prompt.pk, [Given(text, {"n": n, "ended": n == 0}) for n, text in enumerate(texts)])


def texts_of(comparison: Comparison) -> set[str]:
    return set(Response.objects.filter(pk__in=comparison.response_ids).values_list("text", flat=True))


def test_two_answers_make_one_comparison_that_wants_the_projects_overlap(
    project: Project, prompt: Prompt, policy: Version
) -> None:
    Project.objects.filter(pk=project.pk).update(overlap=3)
    project.refresh_from_db()
    landed = land(project=project, author=policy, against=None, batch=[answered(prompt, "So.", "Or so.")])
    assert landed == Landed(answers=2, comparisons=1)
    comparison = Comparison.objects.get()
    assert (comparison.project, comparison.prompt, comparison.judgments_wanted) == (project, prompt, 3)
    assert (comparison.purpose, comparison.closed_at, comparison.depth) == ("collect", None, 0)
    assert comparison.response_ids == sorted(comparison.response_ids)
    assert texts_of(comparison) == {"So.", "Or so."}
    first = Response.objects.get(text="So.")
    assert (first.author, first.author_label, first.sampling) == (policy, "", {"n": 0, "ended": True})


def test_more_answers_make_every_pair(project: Project, prompt: Prompt, policy: Version) -> None:
    landed = land(project=project, author=policy, against=None, batch=[answered(prompt, "a", "b", "c", "d")])
    assert (landed.answers, landed.comparisons) == (4, 6)
    assert {frozenset(texts_of(comparison)) for comparison in Comparison.objects.all()} == {
        frozenset(pair) for pair in ("ab", "ac", "ad", "bc", "bd", "cd")
    }


def test_a_ranking_project_ranks_what_a_version_answered(project: Project, prompt: Prompt, policy: Version) -> None:
    project.kind = Project.Kind.RANKING
    project.save()
    for _ in range(2):  # the same batch again changes nothing
        land(project=project, author=policy, against=None, batch=[answered(prompt, "a", "b", "c", "d")])
        assert texts_of(Comparison.objects.get()) == {"a", "b", "c", "d"}


def test_equal_answers_are_kept_once_and_not_compared(project: Project, prompt: Prompt, policy: Version) -> None:
    other = make_prompt(project, "Why?")
    batch = [answered(prompt, "Same.", "Same.\n", " Same."), answered(other, "", " \n", "Only one.")]
    landed = land(project=project, author=policy, against=None, batch=batch)
    assert landed == Landed(answers=2, repeated=2, empty=2, comparisons=0)
    assert sorted(Response.objects.values_list("text", flat=True)) == ["Only one.", "Same."]
    assert not Comparison.objects.exists()


def test_the_same_batch_again_adds_nothing(project: Project, prompt: Prompt, policy: Version) -> None:
    other = make_version("Other")
    Response.objects.create(prompt=prompt, author=other, text="Old.", content_hash=content_hash("Old."))
    batch = [answered(prompt, "a", "b", "c")]
    assert land(project=project, author=policy, against=other, batch=batch).comparisons == 4
    assert land(project=project, author=policy, against=other, batch=batch) == Landed(repeated=3)
    assert (Response.objects.count(), Comparison.objects.count()) == (4, 4)


def test_the_first_answer_meets_the_newest_of_the_other_version(
    project: Project, prompt: Prompt, policy: Version
) -> None:
    base = make_version("Base")
    for text in ("Older.", "Newest."):
        Response.objects.create(prompt=prompt, author=base, text=text, content_hash=content_hash(text))
    Response.objects.create(prompt=prompt, author_label="import", text="Label.", content_hash=content_hash("Label."))
    silent = make_prompt(project, "Why?")
    batch = [answered(prompt, "One.", "Two."), answered(silent, "Three.")]
    landed = land(project=project, author=policy, against=base, batch=batch)
    assert landed == Landed(answers=3, comparisons=2)
    assert {frozenset(texts_of(comparison)) for comparison in Comparison.objects.all()} == {
        frozenset({"One.", "Two."}),
        frozenset({"One.", "Newest."}),
    }


def test_the_same_text_by_both_versions_is_counted_and_not_compared(
    project: Project, prompt: Prompt, policy: Version
) -> None:
    base = make_version("Base")
    Response.objects.create(prompt=prompt, author=base, text="Same.", content_hash=content_hash("Same."))
    landed = land(project=project, author=policy, against=base, batch=[answered(prompt, "Same.")])
    assert landed == Landed(answers=1, same_as_other=1)
    assert not Comparison.objects.exists()


def test_prompts_of_other_projects_or_of_none_are_passed_over(
    project: Project, prompt: Prompt, policy: Version
) -> None:
    elsewhere = make_prompt(Project.objects.create(name="Other", slug="other"), "How?")
    batch = [answered(elsewhere, "a", "b"), Answered(999_999, [Given("a", {}), Given("b", {})])]
    assert land(project=project, author=policy, against=None, batch=batch) == Landed()
    assert not Response.objects.exists()


@pytest.mark.parametrize("prompts", [1, 30])
def test_a_batch_takes_as_many_queries_for_few_prompts_as_for_many(
    project: Project, policy: Version, django_assert_num_queries: Callable[..., object], prompts: int
) -> None:
    other = make_version("Other")
    batch = [answered(make_prompt(project, f"Question {n}?"), "a", "b") for n in range(prompts)]
    with django_assert_num_queries(10):  # two of them the savepoint
        land(project=project, author=policy, against=other, batch=batch)


@pytest.mark.django_db(transaction=True)
def test_two_at_once_add_and_count_it_once(project: Project, prompt: Prompt, policy: Version) -> None:
    landed = at_once(
        lambda: land(project=project, author=policy, against=None, batch=[answered(prompt, "a", "b", "c")])
    )
    assert sorted((found.answers, found.comparisons) for found in landed) == [(0, 0), (3, 3)]
    assert (Response.objects.count(), Comparison.objects.count()) == (3, 3)


def test_prompts_without_open_comparisons_are_the_judged_and_the_new_ones(
    project: Project, ann: User, make_comparison: Callable[..., Comparison]
) -> None:
    judged, half, waiting = make_comparison(), make_comparison(judgments_wanted=2), make_comparison()
    new = make_prompt(project, "New?")
    for comparison in (judged, half):
        record_judgment(comparison=comparison, annotator=ann, tiers=[[pk] for pk in comparison.response_ids])
    assert set(Prompt.objects.without_open_comparisons()) == {judged.prompt, new}
    assert waiting.prompt not in Prompt.objects.without_open_comparisons()


def test_sources_tell_versions_and_labels_apart(
    project: Project, policy: Version, prompt: Prompt, django_assert_num_queries: Callable[..., object]
) -> None:
    messages = [{"role": "user", "content": "How?"}]
    answers = [AnswerIn("By hand.", author_label="a book"), AnswerIn("By machine.", author_label="a book")]
    add_comparison(project=project, messages=messages, responses=answers)
    land(project=project, author=policy, against=None, batch=[answered(prompt, "a", "b", "c")])
    elsewhere = make_prompt(Project.objects.create(name="Other", slug="other"), "Else?")
    Response.objects.create(prompt=elsewhere, author=policy, text="Not here.", content_hash="x")
    with django_assert_num_queries(2):
        found = sources_of(project)
    assert [(source.version, source.label, source.answers, source.cut_off) for source in found] == [
        (policy, "", 3, 2),
        (None, "a book", 2, 0),
    ]
