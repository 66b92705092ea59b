"""The pages of quality: who may see which number, how old it is, and all of them as CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import translation
from django.utils.timezone import now

from annotation import tasks
from annotation.ballots import Ballot
from annotation.corrections import correct
from annotation.hand_out import REPEAT_AFTER
from annotation.models import Comparison, Judgment, Project, QualityReport, Role, User
from annotation.quality import computing, showing
from annotation.quality.renewing import ask, ask_if_old, ask_where_old, votes_given
from annotation.queue import shuffled
from annotation.services import set_role
from annotation.templatetags.quality import interval, point
from annotation.views import quality as views
from tests.annotation.conftest import MakeComparison
from tests.annotation.quality.conftest import Vote

pytestmark = pytest.mark.django_db
Compute = Callable[[], None]
SignIn = Callable[[User], Client]


def text_of(client: Client, project: Project, name: str = "quality", *args: Any) -> str:
    response = client.get(reverse(name, args=[project.slug, *args]))
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def test_a_manager_sees_every_number_with_its_interval_and_sample_size(
    project: Project, judged: list[Comparison], compute: Compute, signed_in: SignIn, manager: User
) -> None:
    compute()
    page = text_of(signed_in(manager), project)
    # Four of six pairs agree.
    assert "67 %" in page
    assert "n 6" in page
    assert "6 of 6 pairs were judged by two people or more" in page
    assert "1 pair with votes for either answer" in page
    assert "ann" in page


def test_somebody_who_always_clicks_left_is_marked_after_fifteen_votes_and_nobody_else(
    project: Project, make_comparison: MakeComparison, vote: Vote, compute: Compute, ann: User, ben: User
) -> None:
    def marked() -> list[tuple[str, bool]]:
        compute()
        people = showing.people(QualityReport.objects.get(project=project))
        return [(person.user.username, "side" in person.found["flags"]) for person in people]

    for number in range(15):
        if number == 14:
            assert sorted(marked()) == [("ann", False), ("ben", False)]
        pair = make_comparison(judgments_wanted=2)
        on_the_left = shuffled(pair.response_ids, comparison_id=pair.pk, annotator_id=ben.pk)[0]
        vote(pair, ann, number % 2 == 0)
        vote(pair, ben, on_the_left == pair.response_ids[0])
    assert marked() == [("ben", True), ("ann", False)]  # to talk to first
    assert "ben,,flag: side,1,,,15" in "".join(showing.report_as_csv(QualityReport.objects.get(project=project)))


def test_nobody_computes_where_nothing_is_new(project: Project, judged: list[Comparison], compute: Compute) -> None:
    compute()
    QualityReport.objects.update(computed_at=now() - timedelta(days=1))
    assert ask_if_old(project).asked_at is None


@pytest.mark.parametrize(
    ("found", "says_so"),
    [
        ({}, True),
        ({"pairs_judged_twice": 1}, False),
        ({"gold": {"value": 1.0, "n": 1, "low": 0.2, "high": 1.0}}, False),
    ],
    ids=["nothing", "a pair judged twice", "gold"],
)
def test_labels_are_no_surer_than_those_who_gave_them_are_known(
    project: Project, signed_in: SignIn, manager: User, found: dict[str, Any], says_so: bool
) -> None:
    numbers = {"votes": 3, "pairs": 3, "pairs_judged_twice": 0, "label_smoothing": None, "certainty": [0] * 9 + [3]}
    QualityReport.objects.create(project=project, computed_at=now(), numbers={**numbers, **found})
    assert ("everybody counts as equally reliable" in text_of(signed_in(manager), project)) == says_so


def test_a_long_table_of_people_ends_and_says_so(
    project: Project,
    judged: list[Comparison],
    compute: Compute,
    signed_in: SignIn,
    manager: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compute()
    assert "The CSV has everybody" not in text_of(signed_in(manager), project)
    monkeypatch.setattr(views, "SHOWN_PEOPLE", 1)
    assert "1 of 2 are shown. The CSV has everybody." in text_of(signed_in(manager), project)


def test_the_first_visit_asks_for_the_numbers_and_says_so(
    project: Project,
    judged: list[Comparison],
    signed_in: SignIn,
    manager: User,
    django_capture_on_commit_callbacks: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(tasks.compute_quality, "delay", asked.append)
    with django_capture_on_commit_callbacks(execute=True):
        page = text_of(signed_in(manager), project)
        text_of(signed_in(manager), project)
    assert "The numbers are being computed" in page
    assert "hx-get" in page
    assert asked == [project.pk]


def test_a_project_without_votes_says_what_to_do(
    project: Project, compute: Compute, signed_in: SignIn, manager: User
) -> None:
    compute()
    assert "There are no votes on pairs yet" in text_of(signed_in(manager), project)


def test_what_is_not_known_yet_stands_in_one_sentence_with_what_it_waits_for(
    project: Project, signed_in: SignIn, manager: User
) -> None:
    left = {"value": 0.67, "n": 12, "low": 0.39, "high": 0.86}
    counts = {"votes": 13, "pairs": 13, "pairs_judged_twice": 0, "label_smoothing": None}
    QualityReport.objects.create(project=project, computed_at=now(), numbers={**counts, "left": left})
    Project.objects.filter(pk=project.pk).update(overlap=1)
    page = text_of(signed_in(manager), project)
    told = unescape(re.sub(r"<[^>]*>", "", page))
    assert ">–<" not in page
    assert "67 %" in told
    names = "Agreement, Fleiss' κ, Krippendorff's α, Agreement, by lot"
    twice = "from the first pair on that two people judged"
    assert f"Not known yet: {names} ({twice}); Wrong votes (from the tenth pair on that" in told
    assert "Gold (from the first vote on a pair with a known answer)" in told
    assert "Same vote again (from the first pair on that comes to the same person again, 20 votes later" in told
    assert "settings one person judges each new pair" in told


def test_numbers_beyond_chance_wait_for_votes_that_differ() -> None:
    known = {"value": 1.0, "n": 3, "low": None, "high": None}
    numbers = {name: known for name in showing.COMES if name not in ("kappa", "alpha")}
    [(titles, comes)] = showing.missing(numbers)
    assert [str(title) for title in titles] == ["Fleiss' κ", "Krippendorff's α"]
    assert "once not all votes are the same" in str(comes)
    assert showing.missing(numbers | {"kappa": known, "alpha": known}) == []
    assert f"{REPEAT_AFTER} votes later" in str(showing.COMES["consistency"])


@pytest.mark.parametrize("name", ["quality", "quality-csv", "suspects"])
def test_only_managers_see_the_numbers_of_others(
    project: Project, compute: Compute, client: Client, ann: User, stranger: User, name: str
) -> None:
    address = reverse(name, args=[project.slug])
    assert client.get(address).status_code == 302
    reviewer = User.objects.create_user("rev")
    set_role(project=project, person=reviewer, role=Role.REVIEWER)
    for person in (ann, reviewer, stranger):
        client.force_login(person)
        assert client.get(address).status_code == 404


def test_a_persons_page_is_for_managers_and_for_people_who_voted_here(
    project: Project,
    judged: list[Comparison],
    compute: Compute,
    client: Client,
    manager: User,
    ann: User,
    stranger: User,
) -> None:
    compute()
    address = reverse("quality-person", args=[project.slug, ann.pk])
    client.force_login(ann)
    assert client.get(address).status_code == 404
    client.force_login(manager)
    assert client.get(address).status_code == 200
    assert client.get(reverse("quality-person", args=[project.slug, stranger.pk])).status_code == 404


def test_an_annotator_sees_their_own_numbers_and_nothing_of_others(
    project: Project, judged: list[Comparison], compute: Compute, signed_in: SignIn, ann: User
) -> None:
    compute()
    page = text_of(signed_in(ann), project, "quality-mine")
    assert "My progress" in page
    assert "ben" not in page
    for word in ("majority", "κ", "Gold", "Reliability"):
        assert word not in page


def test_ones_own_page_speaks_german(
    project: Project, judged: list[Comparison], compute: Compute, signed_in: SignIn, ann: User
) -> None:
    Judgment.objects.filter(comparison__in=judged[:3]).update(created_at=now() - timedelta(days=8))  # two weeks to draw
    compute()
    url = reverse("quality-mine", args=[project.slug])
    page = signed_in(ann).get(url, headers={"Accept-Language": "de"}).content.decode()
    charts = json.loads(page.split('id="quality-charts" type="application/json">')[1].split("</script>")[0])
    assert {chart["title"] for chart in charts} == {"Stimmen"}
    shown = re.sub(r"<script.*?</script>|<[^>]*>", " ", page.split("<main")[1], flags=re.DOTALL)
    assert "Mein Stand" in shown
    assert re.findall(r"\b(?:votes?|the|and|of|week|progress|same|computed|ago|now)\b", shown, re.IGNORECASE) == []


@pytest.mark.parametrize(
    ("value", "style", "words"),
    [
        (1_234_567.0, "count", "1,234,567"),
        (12, "count", "12"),
        (0.456789, "number", "0.46"),
        (-0.128, "number", "\N{MINUS SIGN}0.13"),
        (-1.0, "number", "\N{MINUS SIGN}1"),
        (0.456789, "share", "46 %"),
    ],
)
def test_the_table_of_a_chart_writes_its_numbers_as_the_chart_does(value: float, style: str, words: str) -> None:
    with translation.override("en"):
        assert point(value, {"style": style}) == words


def test_an_interval_is_written_in_the_readers_language() -> None:
    estimate = {"value": 0.61, "low": 0.55, "high": 0.674, "n": 812}
    with translation.override("en"):
        assert interval(estimate, "share") == "55 to 67 %, n 812"
    with translation.override("de"):
        assert interval(estimate, "share") == "55 bis 67 %, n 812"


def test_members_stand_by_name_on_their_projects_page_whatever_their_votes(
    project: Project, judged: list[Comparison], make_comparison: MakeComparison, vote: Vote, ben: User
) -> None:
    vote(make_comparison(), ben, True)  # one more than ann
    assert [member.user.username for member in project.memberships.with_votes()] == ["ann", "ben", "mara"]


def test_ones_own_page_before_the_first_vote(project: Project, signed_in: SignIn, ben: User) -> None:
    assert "You have not voted here yet" in text_of(signed_in(ben), project, "quality-mine")


def test_strangers_see_none_of_it(project: Project, client: Client, stranger: User) -> None:
    client.force_login(stranger)
    names = ["quality", "quality-mine", "quality-age", "quality-csv", "suspects", "adjudicate"]
    assert {client.get(reverse(name, args=[project.slug])).status_code for name in names} == {404}
    posted = [reverse("quality-compute", args=[project.slug]), reverse("settle", args=[project.slug, 1])]
    assert {client.post(address).status_code for address in posted} == {404}


def test_pages_refuse_the_wrong_method(project: Project, client: Client, manager: User) -> None:
    client.force_login(manager)
    for name in ("quality", "quality-mine", "quality-age", "quality-csv", "adjudicate"):
        assert client.post(reverse(name, args=[project.slug])).status_code == 405
    assert client.get(reverse("quality-compute", args=[project.slug])).status_code == 405


def test_the_fragment_asks_until_the_numbers_are_there(
    project: Project, judged: list[Comparison], compute: Compute, signed_in: SignIn, manager: User
) -> None:
    ask(project)
    waiting = signed_in(manager).get(reverse("quality-age", args=[project.slug]))
    assert "HX-Refresh" not in waiting.headers
    assert b"hx-get" in waiting.content
    compute()
    done = signed_in(manager).get(reverse("quality-age", args=[project.slug]))
    assert done.headers["HX-Refresh"] == "true"
    assert b"hx-get" not in done.content


def test_newer_votes_are_told_of_and_computed_in_their_time(
    project: Project,
    judged: list[Comparison],
    compute: Compute,
    signed_in: SignIn,
    manager: User,
    ann: User,
    make_comparison: MakeComparison,
    vote: Vote,
) -> None:
    compute()
    assert ask_if_old(project).asked_at is None
    vote(make_comparison(), ann, True)
    page = text_of(signed_in(manager), project)
    assert "1 newer vote not in yet" in page
    assert ask_if_old(project).asked_at is None  # a moment ago is not old
    QualityReport.objects.update(computed_at=now() - timedelta(minutes=1))
    assert ask_if_old(project).asked_at is not None
    QualityReport.objects.update(asked_at=None, seconds=100.0)
    assert ask_if_old(project).asked_at is None  # ten times a hundred seconds


def test_a_corrected_vote_is_a_newer_one(
    project: Project, compute: Compute, ann: User, make_comparison: MakeComparison, vote: Vote
) -> None:
    vote(make_comparison(), ann, True)
    compute()
    QualityReport.objects.update(computed_at=now() - timedelta(minutes=1))
    assert ask_if_old(project).asked_at is None
    correct(judgment_id=Judgment.objects.get().pk, annotator=ann, ballot=Ballot(choice="both_bad"))
    report = ask_if_old(project)
    assert report.votes_counted == votes_given(project)
    assert report.asked_at is not None


def test_a_vote_corrected_while_numbers_were_computed_is_newer_than_they_are(
    project: Project, compute: Compute, ann: User, make_comparison: MakeComparison, vote: Vote
) -> None:
    vote(make_comparison(), ann, True)
    compute()
    correct(judgment_id=Judgment.objects.get().pk, annotator=ann, ballot=Ballot(choice="both_bad"))
    QualityReport.objects.update(computed_at=now() - timedelta(minutes=5), seconds=1.0)
    Judgment.objects.exclude(withdrawn_at=None).update(withdrawn_at=now() - timedelta(minutes=5, seconds=0.5))
    assert ask_if_old(project).asked_at is not None
    QualityReport.objects.update(asked_at=None)
    Judgment.objects.exclude(withdrawn_at=None).update(withdrawn_at=now() - timedelta(minutes=5, seconds=2))
    assert ask_if_old(project).asked_at is None


def test_beat_asks_where_votes_have_come(project: Project, judged: list[Comparison], compute: Compute) -> None:
    ask_where_old()
    assert QualityReport.objects.get(project=project).asked_at is not None
    compute()
    ask_where_old()
    assert QualityReport.objects.get(project=project).asked_at is None


def test_of_two_who_ask_one_computes(project: Project) -> None:
    assert (ask(project), ask(project)) == (True, False)
    assert (QualityReport.objects.claim(project.pk), QualityReport.objects.claim(project.pk)) == (True, False)
    QualityReport.objects.finish(project.pk)
    assert not QualityReport.objects.claim(project.pk)
    assert ask(project)


def test_what_a_dead_worker_took_is_asked_for_again(project: Project) -> None:
    ask(project)
    QualityReport.objects.claim(project.pk)
    QualityReport.objects.update(asked_at=now() - timedelta(hours=1), started_at=now() - timedelta(hours=1))
    assert ask(project)
    assert QualityReport.objects.claim(project.pk)


def test_a_computation_that_fails_says_why_and_keeps_the_numbers_before(
    project: Project,
    judged: list[Comparison],
    compute: Compute,
    signed_in: SignIn,
    manager: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compute()

    def fail(*_: object) -> None:
        raise RuntimeError("no such thing")

    with monkeypatch.context() as patched:
        patched.setattr(computing, "read", fail)
        compute()
    report = QualityReport.objects.get(project=project)
    assert (report.error, report.asked_at) == ("RuntimeError: no such thing", None)
    assert report.numbers["votes"] == 12
    assert "could not be computed" in text_of(signed_in(manager), project)
    compute()
    assert QualityReport.objects.get(project=project).error == ""


def test_every_number_is_in_the_csv_and_no_name_is_a_formula(
    project: Project, judged: list[Comparison], compute: Compute, signed_in: SignIn, manager: User, ann: User
) -> None:
    User.objects.filter(pk=ann.pk).update(display_name='=HYPERLINK("http://x.example","ann")')
    compute()
    response = signed_in(manager).get(reverse("quality-csv", args=[project.slug]))
    rows = list(csv.DictReader(io.StringIO(response.getvalue().decode())))  # type: ignore[attr-defined]
    agreement = next(row for row in rows if (row["who"], row["week"], row["measure"]) == ("everybody", "", "percent"))
    assert (float(agreement["value"]), agreement["n"]) == (pytest.approx(4 / 6, abs=1e-5), "6")
    names = {row["who"] for row in rows}
    assert '\'=HYPERLINK("http://x.example","ann")' in names
    assert not [name for name in names if name[0] in "=+-@"]
    assert {row["measure"] for row in rows} >= {"alpha", "left", "longer", "ability", "votes"}


def test_votes_given_counts_those_that_stand(project: Project, judged: list[Comparison]) -> None:
    assert votes_given(project) == 12


def test_the_page_asks_the_database_no_more_with_more_people(
    project: Project,
    judged: list[Comparison],
    compute: Compute,
    signed_in: SignIn,
    manager: User,
    make_comparison: MakeComparison,
    vote: Vote,
    django_assert_max_num_queries: Any,
) -> None:
    for number in range(5):
        vote(make_comparison(), User.objects.create_user(f"more-{number}"), True)
    compute()
    client = signed_in(manager)
    with django_assert_max_num_queries(11):
        text_of(client, project)


def test_the_web_process_needs_no_numerical_library_for_these_pages() -> None:
    """They show what a worker computed: importing them brings neither numpy nor scipy."""
    import subprocess
    import sys

    code = (
        "import django, sys; django.setup(); import annotation.views.quality, annotation.views.deciding;"
        "import annotation.quality.labels; print(sorted({'numpy', 'scipy', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
