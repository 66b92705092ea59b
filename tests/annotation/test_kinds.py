"""Every kind of judgment over HTTP, as a browser without JavaScript sends it: what is asked, kept and derived."""

from collections.abc import Callable

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from annotation.ballots import Ballot
from annotation.forms import ProjectForm
from annotation.judging import write_judgment
from annotation.models import Comparison, Judgment, Preference, Project, Response, User
from annotation.services import AnswerIn
from annotation.sources import sources_of
from tests.annotation.conftest import MakeComparison
from tests.annotation.test_labelling_page import Forms

SignIn = Callable[[User], Client]
Vote = Callable[..., Judgment]


@pytest.fixture
def vote(project: Project, signed_in: SignIn, ann: User) -> Vote:
    """Opens the page and sends its form with these fields; the judgment that it made."""

    def vote(**fields: object) -> Judgment:
        client, url = signed_in(ann), reverse("label", args=[project.slug])
        html = client.get(url).content.decode()
        client.post(url, {**Forms(html).hidden, **fields})
        return Judgment.objects.standing().latest("pk")

    return vote


def asks(project: Project, **fields: object) -> None:
    Project.objects.filter(pk=project.pk).update(**fields)


def page(client: Client, project: Project) -> str:
    return client.get(reverse("label", args=[project.slug])).content.decode()


def test_both_good_is_offered_where_the_project_wants_it_and_makes_no_pair(
    project: Project, signed_in: SignIn, ann: User, vote: Vote, make_comparison: MakeComparison
) -> None:
    make_comparison()
    assert "both_good" not in Forms(page(signed_in(ann), project)).choices
    asks(project, offers_both_good=True)
    assert Forms(page(signed_in(ann), project)).choices[-2:] == ["both_good", "both_bad"]

    judgment = vote(choice="both_good")

    assert (judgment.both_good, judgment.both_bad, judgment.verdict) == (True, False, "both good")
    assert not Preference.objects.exists()


def test_tags_acceptability_and_aspects_are_kept_beside_the_preference(
    project: Project, vote: Vote, make_comparison: MakeComparison
) -> None:
    make_comparison()
    asks(project, reason_tags=["correct", "clearer"], asks_acceptability=True, aspects=["helpful", "harmless"])

    judgment = vote(
        **{
            "choice": "a2",
            "tag": ["clearer", "made up"],
            "acceptable:A": "yes",
            "acceptable:B": "no",
            "aspect:helpful": "B",
            "aspect:harmless": "tie",
        }
    )

    a, b = judgment.shown_order
    assert judgment.tiers == [[a], [b]]
    assert judgment.tags == ["clearer"]
    assert judgment.acceptable == {str(a): True, str(b): False}
    assert judgment.aspects == {"helpful": [[b], [a]], "harmless": [sorted([a, b])]}
    assert Preference.objects.get().chosen_id == a


def test_a_vote_without_what_is_asked_beside_it_is_kept_all_the_same(
    project: Project, vote: Vote, make_comparison: MakeComparison
) -> None:
    make_comparison()
    asks(project, asks_acceptability=True, aspects=["helpful"])
    judgment = vote(choice="a2")
    assert (judgment.acceptable, judgment.aspects) == ({}, {})


def test_an_edit_of_the_better_answer_comes_before_both_and_names_its_writer(
    project: Project, ann: User, vote: Vote, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    asks(project, offers_edit=True)
    texts = dict(Response.objects.values_list("pk", "text"))

    judgment = vote(**{"choice": "a3", "edit:A": "Better still.\r\nTwo lines.", "edit:B": "Sent back\r\n"})

    better, worse = judgment.tiers[0][0], judgment.tiers[1][0]
    edited = judgment.edited
    assert edited is not None
    assert (edited.text, edited.written_by, edited.author_id) == ("Better still.\nTwo lines.", ann, None)
    assert judgment.edit_of_id == better
    assert edited.prompt == comparison.prompt
    found = {(p.chosen_id, p.rejected_id): (p.strength, p.weight) for p in Preference.objects.all()}
    third = pytest.approx(1 / 3)
    assert found == {
        (edited.pk, better): (None, third),
        (edited.pk, worse): (None, third),
        (better, worse): (3, third),
    }
    assert texts == dict(Response.objects.exclude(pk=edited.pk).values_list("pk", "text"))


def test_managers_see_edits_as_one_source(
    project: Project, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison(judgments_wanted=2)
    for seat, person in enumerate((ann, ben), start=1):
        edit = Ballot(choice="tie", edits={"A": f"Edited by {person}"}).verdict(comparison.response_ids)
        write_judgment(comparison, person, edit, seat=seat, shown_order=comparison.response_ids)
    found = [(source.label, source.people, source.answers) for source in sources_of(project)]
    assert sorted(found) == [("", False, 1), ("", True, 2), ("model-one", False, 1)]


def test_a_text_that_comes_back_as_it_was_is_no_edit(
    project: Project, vote: Vote, make_comparison: MakeComparison
) -> None:
    make_comparison(responses=[AnswerIn("Line one  \nline two\n"), AnswerIn("Other")])
    asks(project, offers_edit=True)
    for sent in ("Line one  \r\nline two\r\n", "Line one\nline two", "Other"):
        judgment = vote(**{"choice": "tie", "edit:A": sent, "edit:B": sent})
        assert judgment.edited is None
        Judgment.objects.all().delete()
        Comparison.objects.update(depth=0, closed_at=None)


def test_two_people_may_edit_an_answer_into_the_same_text(
    project: Project, vote: Vote, make_comparison: MakeComparison, signed_in: SignIn, ben: User
) -> None:
    make_comparison(judgments_wanted=2)
    asks(project, offers_edit=True)
    vote(**{"choice": "tie", "edit:A": "The same edit"})
    client, url = signed_in(ben), reverse("label", args=[project.slug])
    client.post(url, {**Forms(client.get(url).content.decode()).hidden, "choice": "tie", "edit:A": "The same edit"})
    assert Response.objects.filter(text="The same edit").values("written_by").distinct().count() == 2


@pytest.fixture
def three(make_comparison: MakeComparison) -> Comparison:
    return make_comparison(responses=[AnswerIn(f"Answer number {n}") for n in range(3)])


def test_a_ranking_makes_every_pair_and_counts_once(project: Project, vote: Vote, three: Comparison) -> None:
    judgment = vote(**{"rank:A": "2", "rank:B": "1", "rank:C": "2"})
    a, b, c = judgment.shown_order
    assert judgment.tiers == [[b], sorted([a, c])]
    assert judgment.verdict == "B > A = C"
    found = {(p.chosen_id, p.rejected_id): p.weight for p in Preference.objects.all()}
    assert found == {(b, a): 0.5, (b, c): 0.5}


def test_a_ranking_without_ties_of_nine_weighs_as_much_as_one_pair(vote: Vote, make_comparison: MakeComparison) -> None:
    make_comparison(responses=[AnswerIn(f"Answer number {n}") for n in range(9)])
    vote(**{f"rank:{letter}": str(n) for n, letter in enumerate("ABCDEFGHI", start=1)})
    weights = list(Preference.objects.values_list("weight", flat=True))
    assert len(weights) == 36
    assert sum(weights) == pytest.approx(1)


def test_a_ranking_that_leaves_an_answer_out_saves_nothing(
    project: Project, signed_in: SignIn, ann: User, three: Comparison
) -> None:
    client, url = signed_in(ann), reverse("label", args=[project.slug])
    data = {**Forms(client.get(url).content.decode()).hidden, "rank:A": "1", "rank:B": "2"}
    assert "out of date" in client.post(url, data, follow=True).content.decode()
    assert not Judgment.objects.exists()


def test_each_card_of_a_ranking_asks_whether_its_answer_will_do(
    project: Project, signed_in: SignIn, ann: User, vote: Vote, three: Comparison
) -> None:
    asks(project, asks_acceptability=True)
    cards, bar = page(signed_in(ann), project).split('<div class="votebar">')
    assert [cards.count(f'name="acceptable:{side}"') for side in "ABC"] == [2, 2, 2]
    assert "acceptable:" not in bar
    said = {"acceptable:A": "yes", "acceptable:B": "no", "acceptable:C": "yes"}
    judgment = vote(**{"rank:A": "1", "rank:B": "3", "rank:C": "2"}, **said)
    a, b, c = map(str, judgment.shown_order)
    assert judgment.acceptable == {a: True, b: False, c: True}


def test_a_thumb_is_kept_as_acceptability_and_makes_no_pair(
    project: Project, signed_in: SignIn, ann: User, vote: Vote, make_comparison: MakeComparison
) -> None:
    make_comparison(responses=[AnswerIn("The only answer")])
    assert Forms(page(signed_in(ann), project)).choices == ["up", "down"]
    judgment = vote(choice="down")
    assert (judgment.acceptable, judgment.verdict) == ({str(judgment.shown_order[0]): False}, "bad")
    assert not Preference.objects.exists()


def test_an_edited_single_answer_makes_a_pair(project: Project, vote: Vote, make_comparison: MakeComparison) -> None:
    make_comparison(responses=[AnswerIn("The only answer")])
    asks(project, offers_edit=True)
    judgment = vote(**{"choice": "down", "edit:A": "A better one"})
    preference = Preference.objects.get()
    assert (preference.chosen_id, preference.rejected_id) == (judgment.edited_id, judgment.shown_order[0])
    assert preference.weight == 1


def test_what_was_said_is_marked_again_after_undo(
    project: Project, signed_in: SignIn, ann: User, vote: Vote, make_comparison: MakeComparison
) -> None:
    make_comparison()
    asks(project, reason_tags=["correct", "clearer"], aspects=["helpful"], asks_reason=True, offers_edit=True)
    vote(**{"choice": "b1", "tag": "clearer", "aspect:helpful": "A", "reason": "why", "edit:B": "My own words"})
    client = signed_in(ann)
    client.post(reverse("undo", args=[project.slug]))

    html = page(client, project)

    assert 'value="clearer" checked' in html
    assert 'value="correct" checked' not in html
    assert 'name="aspect:helpful" value="A" required checked' in html
    assert ">why</textarea>" in html
    assert "My own words</textarea>" in html
    assert not Preference.objects.exists()


@pytest.mark.parametrize(
    ("kind", "sets"),
    [("pairs", [(1, 2), (1, 3), (2, 3)]), ("ranking", [(1, 2, 3)]), ("single", [(1,), (2,), (3,)])],
)
def test_a_projects_kind_says_which_answers_are_seen_together(kind: str, sets: list[tuple[int, ...]]) -> None:
    assert Project(kind=kind).sets_to_judge([3, 1, 2]) == sets


@pytest.mark.parametrize(
    "broken",
    [
        {"both_bad": True, "both_good": True},
        {"edit_of": "first"},
        {"edited": "first"},
    ],
)
def test_the_database_refuses_contradictions(
    vote: Vote, make_comparison: MakeComparison, broken: dict[str, object]
) -> None:
    comparison = make_comparison()
    judgment = vote(choice="tie")
    values = {name: comparison.response_ids[0] if value == "first" else value for name, value in broken.items()}
    with pytest.raises(IntegrityError), transaction.atomic():
        Judgment.objects.filter(pk=judgment.pk).update(**values)


def test_a_project_is_asked_what_its_manager_says(project: Project, signed_in: SignIn, manager: User) -> None:
    data = {
        "name": "Everyday help",
        "overlap": "1",
        "kind": "ranking",
        "offers_both_good": "on",
        "asks_acceptability": "on",
        "offers_edit": "on",
        "aspects": "helpful, true , helpful,",
        "reason_tags": "clearer",
    }
    settings = reverse("project-settings", args=[project.slug])
    signed_in(manager).post(settings, data)
    project.refresh_from_db()
    assert (project.kind, project.aspects, project.reason_tags) == ("ranking", ["helpful", "true"], ["clearer"])
    assert (project.offers_both_good, project.asks_acceptability, project.offers_edit) == (True, True, True)
    assert 'value="helpful, true"' in signed_in(manager).get(settings).content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(("field", "most"), [("aspects", 6), ("reason_tags", 12)])
def test_there_is_a_limit_to_what_is_asked(field: str, most: int) -> None:
    def errors(count: int) -> bool:
        names = ",".join(f"n{n}" for n in range(count))
        return field in ProjectForm({"name": "x", "overlap": 1, "kind": "pairs", field: names}).errors

    assert not errors(most)
    assert errors(most + 1)


def test_names_of_tags_and_aspects_are_never_markup(
    project: Project, signed_in: SignIn, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    asks(project, reason_tags=['"><script>alert(1)'], aspects=["<b onclick=x>"])
    html = page(signed_in(ann), project)
    assert "<script>alert" not in html
    assert "<b onclick" not in html
