"""The labelling page over HTTP, mostly as a browser without JavaScript sees it."""

import re
from collections.abc import Callable
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from annotation import hand_out
from annotation.models import Arm, Batch, Comparison, Judgment, Lease, Project, Response, Skip, User
from annotation.services import AnswerIn, add_comparison
from models_registry.models import Kind, Model, Version
from tests.annotation.conftest import MakeComparison

SignIn = Callable[[User], Client]


@pytest.fixture
def url(project: Project) -> str:
    return reverse("label", args=[project.slug])


class Forms(HTMLParser):
    """The hidden fields of the page's form, and the values of its choices."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.hidden: dict[str, str] = {}
        self.choices: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "input" and found.get("type") == "hidden":
            self.hidden[found["name"]] = found["value"]
        if tag == "button" and found.get("name") == "choice":
            self.choices.append(found["value"])


def form_of(client: Client, url: str) -> Forms:
    return Forms(client.get(url).content.decode())


def test_a_vote_by_plain_form_leads_to_the_next_pair(
    url: str, signed_in: SignIn, ann: User, make_comparison: MakeComparison
) -> None:
    first, second = make_comparison(), make_comparison()
    client = signed_in(ann)
    page = client.get(url)
    assert "Question 1?" in page.content.decode()

    answer = client.post(
        url, {**Forms(page.content.decode()).hidden, "choice": "a3", "active_seconds": ""}, follow=True
    )

    assert answer.redirect_chain == [(url, 302)]
    judgment = Judgment.objects.get()
    assert (judgment.comparison, judgment.annotator, judgment.strength) == (first, ann, 3)
    assert "Question 2?" in answer.content.decode()
    assert Lease.objects.get().comparison == second


def test_the_side_that_was_voted_for_is_the_side_that_was_shown(
    url: str, signed_in: SignIn, ann: User, make_comparison: MakeComparison
) -> None:
    for _ in range(6):
        make_comparison()
    client, won = signed_in(ann), []
    for _ in range(6):
        html = client.get(url).content.decode()
        on_the_left = re.search(r'id="answer-A".*?<p dir="ltr">(.*?)</p>', html, re.DOTALL)
        assert on_the_left is not None
        client.post(url, {**Forms(html).hidden, "choice": "a2"})
        chosen = Judgment.objects.latest("pk").tiers[0][0]
        won.append((on_the_left[1], Response.objects.get(pk=chosen).text))
    assert [shown for shown, _ in won] == [chosen for _, chosen in won]


def test_a_page_with_javascript_gets_the_next_pair_as_a_fragment(
    url: str, signed_in: SignIn, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    make_comparison()
    client = signed_in(ann)
    data = {**form_of(client, url).hidden, "choice": "tie"}

    answer = client.post(url, data, headers={"X-Fragment": "1"})

    html = answer.content.decode()
    assert answer.status_code == 200
    assert html.startswith('<section id="work"')
    assert "<html" not in html
    assert "Question 2?" in html
    assert '1 today<span class="of-all"> · 50 % of project</span>' in html


def test_the_page_gives_no_author_away(url: str, project: Project, signed_in: SignIn, ann: User) -> None:
    version = Version.objects.create(
        model=Model.objects.create(name="SecretLM-9000", slug="secretlm"), number=7, kind=Kind.POLICY
    )
    # Ids of five digits: they cannot turn up in the page by chance.
    prompt_ids = add_comparison(
        project=project,
        messages=[{"role": "user", "content": "Which?"}],
        responses=[
            AnswerIn("One way.", author=version, sampling={"temperature": 0.123}),
            AnswerIn("Another way.", author_label="imported-from-rival"),
        ],
    )
    for n, response in enumerate(Response.objects.order_by("pk")):
        Response.objects.filter(pk=response.pk).update(id=54321 + n)
    Comparison.objects.filter(pk=prompt_ids.pk).update(response_ids=[54321, 54322])

    client = signed_in(ann)
    html = client.get(url).content.decode()
    assert "One way." in html
    assert "Another way." in html
    voted = client.post(url, {**Forms(html).hidden, "choice": "tie"}, headers={"X-Fragment": "1"}).content.decode()
    undone = client.post(
        reverse("undo", args=[project.slug]), Forms(html).hidden, headers={"X-Fragment": "1"}
    ).content.decode()
    assert "One way." in undone

    for page in (html, voted, undone):
        for secret in ("SecretLM", "secretlm", "imported-from-rival", "0.123", "54321", "54322"):
            assert secret not in page


@pytest.mark.parametrize("strength", [True, False])
def test_the_choices_follow_the_project(
    url: str, project: Project, signed_in: SignIn, ann: User, make_comparison: MakeComparison, strength: bool
) -> None:
    make_comparison()
    project.asks_strength = strength
    project.save()

    form = form_of(signed_in(ann), url)

    with_strength = ["a3", "a2", "a1", "tie", "b1", "b2", "b3", "both_bad"]
    assert form.choices == (with_strength if strength else ["a", "tie", "b", "both_bad"])


def test_the_reason_is_asked_for_and_kept_only_where_the_project_wants_it(
    url: str, project: Project, signed_in: SignIn, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    client = signed_in(ann)
    assert 'name="reason"' not in client.get(url).content.decode()
    project.asks_reason = True
    project.save()
    assert 'name="reason"' in client.get(url).content.decode()

    client.post(url, {**form_of(client, url).hidden, "choice": "b1", "reason": " more\x00 precise "})

    assert Judgment.objects.get().reason == "more precise"


def test_active_seconds_come_from_the_page(
    url: str, signed_in: SignIn, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    client = signed_in(ann)
    data = form_of(client, url).hidden
    Lease.objects.update(leased_at=now() - timedelta(minutes=4))

    client.post(url, {**data, "choice": "b1", "active_seconds": "17"})

    assert Judgment.objects.get().active_seconds == 17


@pytest.mark.parametrize("seconds", ["nan", "inf", "-5", "a while", ""])
def test_a_time_that_is_none_counts_as_nothing(
    url: str, signed_in: SignIn, ann: User, make_comparison: MakeComparison, seconds: str
) -> None:
    make_comparison()
    client = signed_in(ann)
    client.post(url, {**form_of(client, url).hidden, "choice": "b1", "active_seconds": seconds})
    assert Judgment.objects.get().active_seconds == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"choice": "c7"}, "out of date"),
        ({"choice": ""}, "out of date"),
        ({"ticket": "forged"}, "out of date"),
        ({"ticket": ""}, "out of date"),
    ],
)
def test_a_bad_form_saves_nothing_and_says_so(
    url: str, signed_in: SignIn, ann: User, make_comparison: MakeComparison, change: dict[str, str], words: str
) -> None:
    make_comparison()
    client = signed_in(ann)

    answer = client.post(url, {**form_of(client, url).hidden, "choice": "a1", **change}, follow=True)

    assert words in answer.content.decode()
    assert not Judgment.objects.exists()


def test_a_vote_that_comes_too_late_is_kept_and_told_so(
    url: str, signed_in: SignIn, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    client = signed_in(ann)
    data = form_of(client, url).hidden
    Lease.objects.update(annotator=ben)  # as if ben were given it after it ran out
    Lease.objects.update(expires_at=now() + timedelta(minutes=5))

    answer = client.post(url, {**data, "choice": "a1"}, follow=True)

    assert "Others had taken this pair when your vote came. It is kept" in answer.content.decode()
    kept = Judgment.objects.get()
    assert (kept.annotator, kept.seat) == (ann, None)


def test_another_vote_on_a_pair_from_another_tab_is_not_called_saved(
    url: str, signed_in: SignIn, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    client = signed_in(ann)
    hidden = form_of(client, url).hidden
    words = "You had judged this pair already"
    assert words not in client.post(url, {**hidden, "choice": "a2"}, follow=True).content.decode()

    again = client.post(url, {**hidden, "choice": "a2"}, follow=True)
    other = client.post(url, {**hidden, "choice": "b2"}, follow=True)

    assert words not in again.content.decode()
    assert words in other.content.decode()
    assert Judgment.objects.count() == 1


@pytest.mark.parametrize(
    "more", [{"reason": "It is shorter."}, {"tag": "clearer"}, {"aspect:true": "B"}, {"edit:A": "Better."}]
)
def test_what_is_said_beside_the_same_vote_from_another_tab_is_not_called_saved(
    url: str, project: Project, signed_in: SignIn, ann: User, make_comparison: MakeComparison, more: dict[str, str]
) -> None:
    Project.objects.update(asks_reason=True, reason_tags=["clearer"], aspects=["true"], offers_edit=True)
    make_comparison()
    client = signed_in(ann)
    data = {**form_of(client, url).hidden, "choice": "a2"}
    client.post(url, data)

    assert "You had judged this pair already" not in client.post(url, data, follow=True).content.decode()
    assert "You had judged this pair already" in client.post(url, {**data, **more}, follow=True).content.decode()


@pytest.mark.parametrize("choice", ["a3", "b2", "tie", "both_bad"])
def test_undo_brings_the_last_pair_back_with_its_choice_marked(
    url: str, project: Project, signed_in: SignIn, ann: User, make_comparison: MakeComparison, choice: str
) -> None:
    make_comparison()
    make_comparison()
    client = signed_in(ann)
    client.post(url, {**form_of(client, url).hidden, "choice": choice})

    answer = client.post(reverse("undo", args=[project.slug]), form_of(client, url).hidden, follow=True)

    html = answer.content.decode()
    assert "Question 1?" in html
    assert re.search(rf'value="{choice}"[^>]*data-earlier', html)
    assert html.count("data-earlier") == 1
    assert not Judgment.objects.standing().exists()


@pytest.mark.parametrize(("turns", "folded"), [(4, 0), (5, 2), (9, 6)])
def test_a_system_prompt_stays_in_view_where_earlier_turns_are_folded(
    url: str, signed_in: SignIn, ann: User, make_comparison: MakeComparison, turns: int, folded: int
) -> None:
    talk = [{"role": ("user", "assistant")[n % 2], "content": f"Turn {n}."} for n in range(turns)]
    make_comparison(messages=[{"role": "system", "content": "Be brief."}, *talk])
    html = signed_in(ann).get(url).content.decode()
    before, _, after = html.partition("earlier messages</summary>")
    assert "Be brief." in before
    inside = after.partition("</details>")[0]
    assert [f"Turn {n}." in inside for n in range(turns)] == [n < folded for n in range(turns)]


@pytest.mark.parametrize("name", ["label", "skip", "flag"])
def test_what_was_taken_out_of_the_project_meanwhile_is_told(
    name: str, project: Project, url: str, signed_in: SignIn, ann: User, make_comparison: MakeComparison
) -> None:
    comparison, _ = make_comparison(), make_comparison()
    client = signed_in(ann)
    form = form_of(client, url)
    comparison.delete()
    sent = {**form.hidden, "choice": "a1", "skip": "Unclear", "flag": "Odd"}
    answer = client.post(reverse(name, args=[project.slug]), sent, follow=True)
    assert "taken out of the project" in answer.content.decode()
    assert "Question 2?" in answer.content.decode()


def test_undo_without_a_vote_says_so(
    url: str, project: Project, signed_in: SignIn, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    answer = signed_in(ann).post(reverse("undo", args=[project.slug]), follow=True)
    assert "There is nothing to undo" in answer.content.decode()


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ({"skip": "The answers say the same"}, "The answers say the same"),
        ({"skip": "", "skip_other": " No idea "}, "No idea"),
        ({"skip": "", "skip_other": "No\x00 idea"}, "No idea"),
    ],
)
def test_skip_keeps_the_reason_and_moves_on(
    url: str,
    project: Project,
    signed_in: SignIn,
    ann: User,
    make_comparison: MakeComparison,
    typed: dict[str, str],
    kept: str,
) -> None:
    make_comparison()
    make_comparison()
    client = signed_in(ann)

    answer = client.post(reverse("skip", args=[project.slug]), {**form_of(client, url).hidden, **typed}, follow=True)

    assert Skip.objects.get().reason == kept
    assert "Question 2?" in answer.content.decode()


def test_a_skip_needs_a_reason(
    url: str, project: Project, signed_in: SignIn, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    client = signed_in(ann)
    answer = client.post(reverse("skip", args=[project.slug]), form_of(client, url).hidden, follow=True)
    assert "Say why you skip it" in answer.content.decode()
    assert not Skip.objects.exists()


def test_the_heartbeat_says_whether_the_pair_is_still_held(
    url: str, project: Project, signed_in: SignIn, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    client, beat = signed_in(ann), reverse("heartbeat", args=[project.slug])
    data = form_of(client, url).hidden
    Lease.objects.update(expires_at=now())

    assert client.post(beat, data).status_code == 204
    assert Lease.objects.get().expires_at > now() + timedelta(minutes=4)
    Lease.objects.all().delete()
    assert client.post(beat, data).status_code == 409
    assert client.post(beat, {"ticket": "forged"}).status_code == 409


def test_stop_gives_the_pair_back(
    url: str, project: Project, signed_in: SignIn, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    client = signed_in(ann)
    client.get(url)
    answer = client.post(reverse("release", args=[project.slug]))
    assert answer.headers["Location"] == project.get_absolute_url()
    assert not Lease.objects.exists()


NAMES = ["label", "skip", "undo", "heartbeat", "release"]


@pytest.mark.parametrize("name", NAMES)
def test_strangers_get_404_and_nobody_gets_the_sign_in_page(
    project: Project, signed_in: SignIn, client: Client, stranger: User, make_comparison: MakeComparison, name: str
) -> None:
    make_comparison()
    address = reverse(name, args=[project.slug])
    sent_away = client.post(address)
    assert sent_away.status_code == 302
    assert sent_away.headers["Location"].startswith(reverse("sign-in"))

    assert signed_in(stranger).post(address).status_code == 404
    assert not Lease.objects.exists()


@pytest.mark.parametrize("name", NAMES)
def test_wrong_methods_are_refused(project: Project, signed_in: SignIn, ann: User, name: str) -> None:
    address = reverse(name, args=[project.slug])
    assert signed_in(ann).put(address).status_code == 405
    if name != "label":
        assert signed_in(ann).get(address).status_code == 405


def test_the_pages_own_form_is_taken(url: str, ann: User, make_comparison: MakeComparison) -> None:
    make_comparison()
    client = Client(enforce_csrf_checks=True)
    client.force_login(ann)
    assert client.post(url, {**form_of(client, url).hidden, "choice": "a1"}).status_code == 302
    assert Judgment.objects.exists()


@pytest.mark.parametrize("name", NAMES)
def test_another_sites_form_is_refused(project: Project, ann: User, name: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ann)
    answer = client.post(reverse(name, args=[project.slug]))
    assert answer.status_code == 403
    assert "That form was out of date" in answer.content.decode()


@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("empty", "There is nothing to label yet"),
        ("archived", "This project is archived"),
        ("done", "1 in all. You have given 0 votes."),
        ("held", "Others are on the last ones"),
        ("given", "the managers have given to other people"),
        ("yours", "You have done your part"),
    ],
)
def test_when_nothing_is_left_the_page_says_why(
    url: str,
    project: Project,
    signed_in: SignIn,
    ann: User,
    ben: User,
    make_comparison: MakeComparison,
    why: str,
    words: str,
) -> None:
    if why != "empty":
        make_comparison(judgments_wanted=2 if why == "yours" else 1)
    if why == "archived":
        Project.objects.update(archived_at=now())
    if why == "given":  # nobody is thanked for nothing
        words = f"{words}.</p>"
        Comparison.objects.update(batch=Batch.objects.create(project=project, name="Of nobody"))
    client = signed_in(ben if why in ("held", "done") else ann)
    data = form_of(client, url).hidden
    if why in ("done", "yours"):
        client.post(url, {**data, "choice": "tie"})

    html = signed_in(ann).get(url).content.decode()

    assert words in html
    assert 'name="choice"' not in html


@pytest.mark.parametrize("count", [1, 30])
def test_the_page_asks_the_database_as_often_for_few_as_for_many(
    url: str,
    signed_in: SignIn,
    ann: User,
    make_comparison: MakeComparison,
    django_assert_num_queries: Callable[..., object],
    count: int,
) -> None:
    for _ in range(count):
        make_comparison()
    client = signed_in(ann)
    client.get(url)  # from here on the pair is held
    with django_assert_num_queries(11):
        client.get(url)


def test_what_a_hand_out_and_a_vote_ask_is_counted(
    url: str,
    signed_in: SignIn,
    ann: User,
    make_comparison: MakeComparison,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: Callable[..., object],
) -> None:
    monkeypatch.setattr(hand_out, "drawn_arms", lambda project: [Arm.ORDER])
    for _ in range(3):
        make_comparison(judgments_wanted=2)
    client = signed_in(ann)
    client.post(url, {**form_of(client, url).hidden, "choice": "a1"})  # from here on every question is prepared

    # Session, person, project; a savepoint; the person's lock, their place, the pick, its seats, the lease; what is
    # shown, how far one is.
    with django_assert_num_queries(12):
        page = client.get(url)
    hidden = Forms(page.content.decode()).hidden
    # Session, person, project; a savepoint; the person's and the comparison's locks, the lease's end, the judgment, its
    # count, its preference, webhooks.
    with django_assert_num_queries(12):
        client.post(url, {**hidden, "choice": "a1"})
    assert Judgment.objects.count() == 2


def test_what_pages_share_is_in_the_readers_language_and_as_the_project_says_now(
    project: Project, url: str, signed_in: SignIn, ann: User, make_comparison: MakeComparison
) -> None:
    """The guidelines' drawer and the words of the scripts are kept from one page to the next."""
    make_comparison()
    client = signed_in(ann)
    english = client.get(url).content.decode()
    german = client.get(url, headers={"accept-language": "de"}).content.decode()
    Project.objects.filter(pk=project.pk).update(guidelines="Now <script>be</script> **strict**.")
    strict = client.get(url).content.decode()
    Project.objects.filter(pk=project.pk).update(asks_reason=True)
    asking = client.get(url).content.decode()

    assert 'data-saved="Saved"' in english
    assert 'data-saved="Gespeichert"' in german
    assert "Three worked examples" in english
    assert "Three worked examples" not in german
    assert "Be <strong>fair</strong>." in english
    assert "A key alone is the whole vote." in english
    assert "Be <strong>fair</strong>." not in strict
    assert "Now &lt;script&gt;be&lt;/script&gt; <strong>strict</strong>." in strict
    assert "A key alone is the whole vote." not in asking
