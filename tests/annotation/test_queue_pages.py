"""The pages on which managers say what is handed out to whom."""

import json
import re
from collections.abc import Callable

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from annotation import gold, queue
from annotation.importing.gold import BadLineError, import_gold
from annotation.judging import Verdict
from annotation.models import Batch, Comparison, Gold, Project, Response, Role, Team, User
from annotation.services import AnswerIn, create_project, record_judgment, set_role
from tests.annotation.conftest import MakeComparison
from tests.annotation.test_queue import vote

SignIn = Callable[[User], Client]
SETTINGS = {
    "gold_share": "4",
    "repeat_share": "2",
    "random_share": "25",
    "daily_cap": "50",
    "practice_pairs": "6",
    "pass_mark": "75",
}


def page(client: Client, name: str, project: Project, *more: int) -> str:
    return client.get(reverse(name, args=[project.slug, *more])).content.decode()


def test_a_manager_sets_shares_caps_and_training(project: Project, signed_in: SignIn, manager: User) -> None:
    answer = signed_in(manager).post(reverse("queue-settings", args=[project.slug]), SETTINGS)
    assert answer.status_code == 302
    project.refresh_from_db()
    assert {name: str(getattr(project, name)) for name in SETTINGS} == SETTINGS


@pytest.mark.parametrize(
    ("name", "value"),
    [("random_share", "9"), ("random_share", "101"), ("gold_share", "51"), ("daily_cap", "0"), ("pass_mark", "101")],
)
def test_a_bad_setting_changes_nothing(
    project: Project, signed_in: SignIn, manager: User, name: str, value: str
) -> None:
    answer = signed_in(manager).post(reverse("queue-settings", args=[project.slug]), SETTINGS | {name: value})
    assert "errorlist" in answer.content.decode()
    project.refresh_from_db()
    assert project.random_share == 10


@pytest.mark.parametrize("value", ["9" * 400, "100"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_form_that_is_refused_says_what_the_settings_cost_that_are_kept(
    project: Project, signed_in: SignIn, manager: User, make_comparison: MakeComparison, name: str, value: str
) -> None:
    for _ in range(9):
        make_comparison(judgments_wanted=10)
    Project.objects.update(gold_share=10, repeat_share=25, daily_cap=30, practice_pairs=2)
    client, address = signed_in(manager), reverse("queue-settings", args=[project.slug])
    kept = client.get(address).context["costs"]
    refused = client.post(address, SETTINGS | {name: value, "random_share": "9"})
    assert (refused.status_code, refused.context["costs"]) == (200, kept)


def test_every_setting_says_what_it_costs(
    project: Project, signed_in: SignIn, manager: User, make_comparison: MakeComparison
) -> None:
    for _ in range(9):
        make_comparison(judgments_wanted=10)
    Project.objects.update(gold_share=10, repeat_share=25, daily_cap=30)
    html = page(signed_in(manager), "queue-settings", project)
    assert html.count('class="cost small"') == 6
    # 90 judgments to come are 75 % of all that are handed out beside 25 % repeats; 37 s, 0.30 $.
    assert "30 judgments of pairs that were judged before, never counted twice: 18 minutes, about 9 $." in html
    assert "About 18 minutes a person and day." in html
    assert "There are no gold pairs yet" in html


@pytest.mark.parametrize(("pairs", "judgments"), [(0, 0), (2, 5), (9, 10)])
def test_gold_costs_no_more_than_all_members_on_each_pair_once(
    project: Project, signed_in: SignIn, manager: User, ann: User, make_comparison: MakeComparison,
    pairs: int, judgments: int,
) -> None:  # fmt: skip
    """90 judgments to come are 90 % of all that are handed out beside 10 % gold. One of the three has judged one."""
    for _ in range(9):
        make_comparison(judgments_wanted=10)
    for n in range(pairs):
        asked = [{"role": "user", "content": f"Gold {n}?"}]
        gold.add(project=project, messages=asked, answers=[AnswerIn("Yes."), AnswerIn("No.")], preferred=0)
    if known := Comparison.objects.filter(purpose=Comparison.Purpose.GOLD).first():
        record_judgment(comparison=known, annotator=ann, tiers=[known.response_ids])
    assert project.memberships.count() == 3
    Project.objects.update(gold_share=10)
    html = page(signed_in(manager), "queue-settings", project)
    assert f"{judgments} judgments that check people and teach nothing new" in html


@pytest.mark.parametrize(
    ("pairs", "judgments", "warning"),
    [
        (0, 0, "There are no practice pairs yet"),
        (2, 4, "There are 2 practice pairs, so nobody gets more."),
        (3, 6, ""),
    ],
)
def test_practice_costs_what_there_is_of_it(
    project: Project, signed_in: SignIn, manager: User, pairs: int, judgments: int, warning: str
) -> None:
    """Two annotators in a training phase of three pairs."""
    for n in range(pairs):
        asked = [{"role": "user", "content": f"Practice {n}?"}]
        answers = [AnswerIn("Yes."), AnswerIn("No.")]
        practice = Comparison.Purpose.PRACTICE
        gold.add(project=project, messages=asked, answers=answers, preferred=0, purpose=practice)
    assert project.memberships.filter(role=Role.ANNOTATOR, passed_at=None).count() == 2
    Project.objects.update(practice_pairs=3, gold_share=0)
    html = page(signed_in(manager), "queue-settings", project)
    assert f"{judgments} judgments before the first real vote" in html
    assert ("practice pairs" in html.partition('class="notice warn"')[2].partition("</p>")[0]) is bool(warning)
    assert warning in html


def test_gold_is_listed_with_what_people_said(
    project: Project, signed_in: SignIn, manager: User, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    first, second = comparison.response_ids
    gold.mark(comparison=comparison, verdict=Verdict([[first], [second]]))
    Project.objects.update(gold_share=50)
    project.refresh_from_db()
    for person, best in ((ann, first), (ben, second)):
        while (lease := queue.lease_next(project=project, annotator=person)) is None:
            pass  # one of two hand-outs is gold
        choice = "a" if lease.shown_order[0] == best else "b"
        queue.submit_judgment(
            ticket=queue.Ticket(lease.comparison_id, lease.leased_at), annotator=person, choice=choice
        )
    html = page(signed_in(manager), "gold", project)
    assert "Question 1?" in html
    assert "1 (50 %)" in html
    assert f'<q dir="auto">{Response.objects.get(pk=first).text}</q>' in html


def test_only_pairs_are_found_to_become_gold(
    project: Project, signed_in: SignIn, manager: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    ranking = make_comparison(responses=[AnswerIn(text) for text in "xyz"])
    found = signed_in(manager).get(reverse("gold", args=[project.slug]), {"q": "question"}).content.decode()
    assert "Question 1?" in found
    assert "Question 2?" not in found
    mark = reverse("mark-gold", args=[project.slug, ranking.pk])
    assert signed_in(manager).get(mark).status_code == 404


def test_a_pair_is_found_and_marked(
    project: Project, signed_in: SignIn, manager: User, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    comparison = make_comparison()
    client = signed_in(manager)
    found = client.get(reverse("gold", args=[project.slug]), {"q": "question 2"}).content.decode()
    mark = reverse("mark-gold", args=[project.slug, comparison.pk])
    assert mark in found
    assert reverse("mark-gold", args=[project.slug, comparison.pk - 1]) not in found
    assert "First answer 2" in client.get(mark).content.decode()

    client.post(mark, {"expected": "b", "purpose": "practice", "explanation": "Because."})

    known = Gold.objects.get()
    first, second = comparison.response_ids
    assert (known.expected, known.both_bad, known.explanation) == ([[second], [first]], False, "Because.")
    assert known.created_by == manager
    assert known.comparison == comparison
    assert known.comparison.purpose == Comparison.Purpose.PRACTICE
    chosen = [line for line in client.get(mark).content.decode().splitlines() if "checked" in line]
    assert len(chosen) == 1
    assert 'value="b"' in chosen[0]


def test_a_pair_that_is_being_judged_is_not_marked(
    project: Project, signed_in: SignIn, manager: User, ann: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison(judgments_wanted=2)
    vote(project, ann)
    url = reverse("mark-gold", args=[project.slug, comparison.pk])
    answer = signed_in(manager).post(url, {"expected": "a", "purpose": "gold"})
    assert "People are judging this pair" in answer.content.decode()
    assert not Gold.objects.exists()


def test_retired_gold_is_handed_out_no_more(
    project: Project, signed_in: SignIn, manager: User, ann: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    gold.mark(comparison=comparison, verdict=Verdict([comparison.response_ids]))
    Project.objects.update(gold_share=50)
    signed_in(manager).post(reverse("retire-gold", args=[project.slug, comparison.pk]))
    assert [queue.lease_next(project=project, annotator=ann) for _ in range(20)] == [None] * 20
    assert "retired" in page(signed_in(manager), "gold", project)


LINES = [
    {"prompt": "Which?", "chosen": "This one.", "rejected": "That one.", "explanation": "It *is* this one."},
    {"prompt": "What?", "responses": ["Nothing.", "Nought."], "expected": "tie"},
    {"prompt": "Why?", "responses": ["Because.", "Just so."], "expected": "both_bad"},
]


def as_file(*lines: object) -> bytes:
    return b"\n".join(json.dumps(line).encode() for line in lines)


def test_a_file_of_gold_is_brought_in(project: Project, signed_in: SignIn, manager: User) -> None:
    file = SimpleUploadedFile("gold.jsonl", as_file(*LINES) + b"\n\n")
    answer = signed_in(manager).post(
        reverse("gold", args=[project.slug]), {"file": file, "purpose": "gold"}, follow=True
    )
    assert "3 gold pairs are here" in answer.content.decode()
    kept = {known.comparison.prompt.messages[0]["content"]: known for known in Gold.objects.all()}
    texts = {response.pk: response.text for response in kept["Which?"].comparison.prompt.responses.all()}
    assert [[texts[pk] for pk in tier] for tier in kept["Which?"].expected] == [["This one."], ["That one."]]
    assert kept["Which?"].explanation == "It *is* this one."
    assert [(len(kept[name].expected), kept[name].both_bad) for name in ("What?", "Why?")] == [(1, False), (1, True)]
    assert set(Comparison.objects.values_list("purpose", flat=True)) == {"gold"}


def test_the_same_file_again_adds_nothing(project: Project, manager: User) -> None:
    for _ in range(2):
        import_gold(project=project, data=as_file(*LINES), purpose=Comparison.Purpose.GOLD, by=manager)
    assert Comparison.objects.count() == Gold.objects.count() == 3


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"prompt": "Which?", "chosen": "Same.", "rejected": "Same. "}, "Line 4: the two answers are the same"),
        ({"prompt": "", "chosen": "A", "rejected": "B"}, "Line 4: prompt is empty"),
        ({"prompt": "Which?", "responses": ["A", "B"], "expected": "a"}, "Line 4: neither chosen and rejected"),
        ({"prompt": "Which?", "responses": ["A", "B", "C"], "expected": "tie"}, "Line 4: neither chosen"),
        (["Which?"], "Line 4: not a JSON object"),
    ],
)
def test_one_bad_line_and_nothing_is_brought_in(project: Project, manager: User, line: object, reason: str) -> None:
    with pytest.raises(BadLineError, match=reason):
        import_gold(project=project, data=as_file(*LINES, line), purpose=Comparison.Purpose.GOLD, by=manager)
    assert not Comparison.objects.exists()


def test_gold_that_is_being_judged_is_refused_by_its_line_and_nothing_is_brought_in(
    project: Project, manager: User, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison(judgments_wanted=2, messages=[{"role": "user", "content": "Open?"}])
    vote(project, ann)
    comparison = Comparison.objects.get()
    one, other = comparison.prompt.responses.order_by("pk")
    comparison.prompt.responses.update(author_label="")
    bad = {"prompt": "Open?", "chosen": one.text, "rejected": other.text}
    with pytest.raises(BadLineError, match="Line 4: this pair is being judged"):
        import_gold(project=project, data=as_file(*LINES, bad), purpose=Comparison.Purpose.GOLD, by=manager)
    assert not Gold.objects.exists()


def test_a_team_and_a_batch_are_made_given_and_dissolved(
    project: Project, signed_in: SignIn, manager: User, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    for n in range(4):
        make_comparison(metadata={"topic": "law" if n % 2 else "food"})
    client = signed_in(manager)
    client.post(reverse("new-team", args=[project.slug]), {"name": "Lawyers", "people": [ann.pk]})
    team = Team.objects.get()
    data = {"name": "Law", "teams": [team.pk], "people": [ben.pk], "key": "topic", "value": "law", "most": "10"}
    client.post(reverse("new-batch", args=[project.slug]), data)
    batch = Batch.objects.get()
    assert (list(batch.people.all()), list(batch.teams.all()), batch.comparisons.count()) == ([ben], [team], 2)

    html = page(client, "assignment", project)
    for words in ("Lawyers", "2 of 2 open", "team Lawyers", "ben"):
        assert words in html

    client.post(reverse("delete-batch", args=[project.slug, batch.pk]))
    client.post(reverse("delete-team", args=[project.slug, team.pk]))
    assert not Batch.objects.exists()
    assert not Team.objects.exists()
    assert Comparison.objects.filter(batch=None).count() == 4


def test_a_batch_that_finds_no_pair_says_so(
    project: Project, signed_in: SignIn, manager: User, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    client, new = signed_in(manager), reverse("new-batch", args=[project.slug])
    data = {"name": "Law", "people": [ann.pk], "containing": "nowhere", "most": "10"}
    warning = "Law is saved, but no open comparison outside of batches fits what was asked."
    assert warning in client.post(new, data, follow=True).content.decode()
    without = client.post(new, data | {"name": "Later", "most": "0"}, follow=True).content.decode()
    assert "0 comparisons were added to Later." in without


def test_a_batch_by_a_field_that_no_prompt_has_is_refused(
    project: Project, signed_in: SignIn, manager: User, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison(metadata={"topic": "law"})
    client, new = signed_in(manager), reverse("new-batch", args=[project.slug])
    data = {"name": "Law", "people": [ann.pk], "key": "topics", "value": "law", "most": "10"}
    assert "No prompt here has this field" in client.post(new, data, follow=True).content.decode()
    assert not Batch.objects.exists()
    client.post(new, data | {"key": " topic "})
    assert Batch.objects.get().comparisons.count() == 1


def test_a_batch_for_too_few_people_is_saved_only_when_that_is_meant_and_warns_while_it_is_true(
    project: Project, signed_in: SignIn, manager: User, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    for _ in range(3):
        make_comparison(judgments_wanted=3)
    client, new = signed_in(manager), reverse("new-batch", args=[project.slug])
    data = {"name": "Law", "people": [ann.pk, ben.pk], "most": "2"}
    warning = "Pairs here want up to 3 judgments each, by different people, and this batch has 2 people: 2 of them"

    html = client.post(new, data).content.decode()
    assert warning in html
    assert "Nothing is saved yet" in html
    assert not Batch.objects.exists()
    assert Comparison.objects.filter(batch=None).count() == 3

    client.post(new, data | {"anyway": "1"})
    batch = Batch.objects.get()
    assert batch.comparisons.count() == 2
    assert warning in page(client, "assignment", project)

    change = reverse("batch", args=[project.slug, batch.pk])
    assert f'action="{change}"' in client.get(f"{page_url(project)}?batch={batch.pk}").content.decode()
    client.post(change, {"name": "Law", "people": [ann.pk, ben.pk, manager.pk], "most": "0"})
    assert set(batch.people.all()) == {ann, ben, manager}
    assert "notice warn" not in page(client, "assignment", project)


def page_url(project: Project) -> str:
    return reverse("assignment", args=[project.slug])


def test_a_team_that_shrinks_shows_the_warning(
    project: Project, signed_in: SignIn, manager: User, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    make_comparison(judgments_wanted=2)
    team = Team.objects.create(project=project, name="Lawyers")
    team.people.set([ann, ben])
    batch = Batch.objects.create(project=project, name="Law")
    batch.teams.set([team])
    Comparison.objects.update(batch=batch)
    client = signed_in(manager)
    assert "never be finished" not in page(client, "assignment", project)
    change = reverse("team", args=[project.slug, team.pk])
    assert f'action="{change}"' in client.get(f"{page_url(project)}?team={team.pk}").content.decode()
    client.post(change, {"name": "Lawyers", "people": [ann.pk]})
    assert "this batch has 1 person: 1 of them can never be finished" in page(client, "assignment", project)

    gone = reverse("remove-member", args=[project.slug, project.memberships.get(user=ann).pk])
    assert "Too few people are left for a batch" in client.post(gone, follow=True).content.decode()
    assert "Nobody may judge this batch: 1 open pair of it waits" in page(client, "assignment", project)


def test_a_number_that_is_no_batch_of_the_project_opens_no_form(
    project: Project, signed_in: SignIn, manager: User, stranger: User
) -> None:
    theirs = Batch.objects.create(project=create_project(name="Other", manager=stranger), name="Theirs")
    for number in (str(theirs.pk), "x", "9" * 40, "٣"):
        html = signed_in(manager).get(page_url(project), {"batch": number, "team": number}).content.decode()
        assert "Change the" not in html


def test_teams_are_offered_where_there_are_some(project: Project, signed_in: SignIn, manager: User) -> None:
    client = signed_in(manager)
    assert "<legend>Teams</legend>" not in page(client, "assignment", project)
    Team.objects.create(project=project, name="Lawyers")
    assert "<legend>Teams</legend>" in page(client, "assignment", project)


def test_a_name_is_taken_once_and_strangers_are_not_in_a_team(
    project: Project, signed_in: SignIn, manager: User, stranger: User
) -> None:
    client, url = signed_in(manager), reverse("new-team", args=[project.slug])
    client.post(url, {"name": "Lawyers"})
    assert "There is one of this name already" in client.post(url, {"name": " Lawyers "}).content.decode()
    assert "errorlist" in client.post(url, {"name": "Others", "people": [stranger.pk]}).content.decode()
    assert Team.objects.count() == 1


def test_a_person_gets_a_cap_is_let_in_and_sent_back(
    project: Project, signed_in: SignIn, manager: User, ann: User, make_comparison: MakeComparison
) -> None:
    Project.objects.update(practice_pairs=1)
    comparison = make_comparison()
    verdict = Verdict([comparison.response_ids])
    gold.mark(comparison=comparison, verdict=verdict, purpose=Comparison.Purpose.PRACTICE)
    mine = project.memberships.get(user=ann)
    client, url = signed_in(manager), reverse("change-person", args=[project.slug, mine.pk])

    saved = client.post(url, {"daily_cap": "12"}, follow=True).content.decode()
    assert "The cap of ann is saved." in saved
    client.post(url, {"let_in": "1"})
    mine.refresh_from_db()
    assert mine.daily_cap == 12
    assert mine.passed_at is not None
    client.post(url, {"again": "1"})
    client.post(url, {"daily_cap": "0"})
    mine.refresh_from_db()
    assert (mine.daily_cap, mine.passed_at) == (12, None)
    assert "0 of 1, 0 as expected" in page(client, "assignment", project)
    client.post(url, {"daily_cap": ""})
    mine.refresh_from_db()
    assert mine.daily_cap is None


@pytest.mark.parametrize("name", ["queue-settings", "gold", "assignment"])
def test_no_two_fields_of_a_page_share_an_id(project: Project, signed_in: SignIn, manager: User, name: str) -> None:
    ids = re.findall(r'\sid="([^"]+)"', page(signed_in(manager), name, project))
    assert len(ids) == len(set(ids)) > 0


PAGES = ["queue-settings", "gold", "assignment"]
POSTS = ["new-team", "new-batch"]
NUMBERED = ["mark-gold", "retire-gold", "team", "delete-team", "batch", "delete-batch", "change-person"]


@pytest.mark.parametrize("name", PAGES + POSTS + NUMBERED)
@pytest.mark.parametrize("who", ["stranger", Role.ANNOTATOR, Role.REVIEWER])
def test_for_everybody_but_managers_these_pages_do_not_exist(
    project: Project, signed_in: SignIn, stranger: User, ann: User, name: str, who: str
) -> None:
    if who != "stranger":
        set_role(project=project, person=ann, role=Role(who))
    url = reverse(name, args=[project.slug, *([1] if name in NUMBERED else [])])
    client = signed_in(stranger if who == "stranger" else ann)
    assert {client.get(url).status_code, client.post(url).status_code} <= {404, 405}
    assert 404 in {client.get(url).status_code, client.post(url).status_code}


@pytest.mark.parametrize(
    "name", [*POSTS, "retire-gold", "team", "delete-team", "batch", "delete-batch", "change-person"]
)
def test_what_changes_something_is_a_post(project: Project, signed_in: SignIn, manager: User, name: str) -> None:
    url = reverse(name, args=[project.slug, *([1] if name in NUMBERED else [])])
    assert signed_in(manager).get(url).status_code == 405


def test_what_is_another_projects_cannot_be_changed_from_here(
    project: Project, signed_in: SignIn, manager: User, stranger: User, make_comparison: MakeComparison
) -> None:
    other = create_project(name="Other", manager=stranger)
    comparison = make_comparison(project=other)
    gold.mark(comparison=comparison, verdict=Verdict([comparison.response_ids]))
    team = Team.objects.create(project=other, name="Theirs")
    batch = Batch.objects.create(project=other, name="Theirs")
    theirs = {
        "mark-gold": comparison.pk,
        "retire-gold": comparison.pk,
        "team": team.pk,
        "delete-team": team.pk,
        "batch": batch.pk,
        "delete-batch": batch.pk,
        "change-person": other.memberships.get().pk,
    }
    client = signed_in(manager)
    for name, pk in theirs.items():
        assert client.post(reverse(name, args=[project.slug, pk])).status_code == 404


def test_names_and_explanations_are_never_markup(
    project: Project, signed_in: SignIn, manager: User, ann: User, make_comparison: MakeComparison
) -> None:
    evil = "<script>alert(1)</script>"
    comparison = make_comparison(messages=[{"role": "user", "content": evil}])
    gold.mark(comparison=comparison, verdict=Verdict([comparison.response_ids]), explanation=evil)
    Team.objects.create(project=project, name=evil)
    Batch.objects.create(project=project, name=evil)
    Project.objects.update(name=evil)
    client = signed_in(manager)
    for name in PAGES:
        assert "<script>alert" not in page(client, name, project)
    assert "<script>alert" not in page(client, "mark-gold", project, comparison.pk)


@pytest.mark.parametrize("count", [1, 12])
def test_the_pages_ask_the_database_as_often_for_few_as_for_many(
    project: Project,
    signed_in: SignIn,
    manager: User,
    make_comparison: MakeComparison,
    django_assert_max_num_queries: Callable[..., object],
    count: int,
) -> None:
    for n in range(count):
        comparison = make_comparison()
        gold.mark(comparison=comparison, verdict=Verdict([comparison.response_ids]))
        team = Team.objects.create(project=project, name=f"Team {n}")
        batch = Batch.objects.create(project=project, name=f"Batch {n}")
        batch.teams.add(team)
    client = signed_in(manager)
    for name in PAGES:
        with django_assert_max_num_queries(15):
            page(client, name, project)
