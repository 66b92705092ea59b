"""One's own data: all of it in a file, and forgotten on request, votes apart."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.totp.internal.auth import TOTP
from allauth.socialaccount.models import SocialAccount
from django.contrib.admin.models import LogEntry
from django.db import models
from django.test import Client
from django.urls import reverse

from annotation import personal_data, queue
from annotation.ballots import Ballot
from annotation.judging import write_judgment
from annotation.models import (
    AuditEvent,
    Batch,
    Judgment,
    Lease,
    Membership,
    Preference,
    Project,
    Role,
    Skip,
    Team,
    User,
    VoteCount,
)
from annotation.personal_data import StillNeededError, everything_about, forget
from annotation.services import record_judgment, set_role
from api.models import RememberedAnswer, Scope, Token
from api.tokens import make_token
from tests.annotation.conftest import PASSWORD, MakeComparison, make_user

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


@pytest.fixture
def ida(project: Project, make_comparison: MakeComparison) -> User:
    """Somebody of whom every kind of thing is kept."""
    ida = make_user("ida", display_name="Ida Quill", email="ida@example.org", first_name="Ida", last_name="Quill")
    set_role(project=project, person=ida, role=Role.ANNOTATOR)
    judged, skipped, _open = (make_comparison() for _ in range(3))
    tiers = [[pk] for pk in judged.response_ids]
    record_judgment(comparison=judged, annotator=ida, tiers=tiers, strength=2, reason="the first is shorter")
    Skip.objects.create(comparison=skipped, annotator=ida, reason="I do not know enough")
    queue.lease_next(project=project, annotator=ida)
    TOTP.activate(ida, "JBSWY3DPEHPK3PXP")
    EmailAddress.objects.create(user=ida, email="ida@example.org", verified=True)
    SocialAccount.objects.create(user=ida, provider="oidc", uid="u-9", extra_data={"name": "Ida Quill"})
    Team.objects.create(project=project, name="Nurses").people.add(ida)
    Batch.objects.create(project=project, name="First week").people.add(ida)
    make_token(user=ida, name="my script", scopes=[Scope.LABEL], days=None)
    RememberedAnswer.objects.create(user=ida, key="a key", request_sha256="0" * 64)
    return ida


def sure(client: Client) -> Client:
    """The client, after its person has shown once more who they are."""
    client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    return client


def test_the_file_holds_what_is_kept_and_no_secret(ida: User, project: Project, signed_in: SignIn) -> None:
    answer = sure(signed_in(ida)).get(reverse("my-data-export"))
    found = json.loads(answer.content)
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert found["account"]["email"] == "ida@example.org"
    (membership,) = found["projects"]
    assert (membership["project__name"], membership["role"]) == (project.name, "annotator")
    assert [day["votes"] for day in found["votes_a_day"]] == [1]
    assert found["teams"] == [{"project__name": project.name, "name": "Nurses"}]
    assert [token["name"] for token in found["api_tokens"]] == ["my script"]
    (judgment,) = found["judgments"]
    assert (judgment["reason"], judgment["strength"]) == ("the first is shorter", 2)
    assert [skip["reason"] for skip in found["skips"]] == ["I do not know enough"]
    assert found["sign_in"]["identity_providers"][0]["uid"] == "u-9"
    assert {event["action"] for event in found["audit_log"]} >= {"signed-in", "role", "own-data"}
    ida.refresh_from_db()
    for secret in ("JBSWY3DPEHPK3PXP", ida.password, Token.objects.get(user=ida).text_sha256):
        assert secret not in answer.content.decode()


def test_a_vote_is_told_by_sides_and_not_by_ids(project: Project, ann: User, make_comparison: MakeComparison) -> None:
    first, second = make_comparison(), make_comparison()
    better, worse = first.response_ids
    record_judgment(comparison=first, annotator=ann, tiers=[[better], [worse]], shown_order=[worse, better])
    record_judgment(comparison=second, annotator=ann, tiers=[second.response_ids])
    told = everything_about(ann)["judgments"]
    assert [judgment["tiers"] for judgment in told] == [[["B"], ["A"]], [["A", "B"]]]
    assert not any("shown_order" in judgment for judgment in told)


def test_what_was_said_beside_a_vote_is_told_by_sides_too(
    project: Project, ann: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    order = comparison.response_ids[::-1]
    said = Ballot(choice="a", acceptable={"A": True}, aspects={"true": "B"}, edits={"B": "My words"})
    write_judgment(comparison, ann, said.verdict(order), seat=1, shown_order=order)
    (told,) = everything_about(ann)["judgments"]
    assert (told["acceptable"], told["aspects"]) == ({"A": True}, {"true": [["B"], ["A"]]})
    assert (told["edited"], told["edit_of"]) == ("My words", "B")


def test_it_is_of_one_person_alone(ida: User, project: Project, ann: User, make_comparison: MakeComparison) -> None:
    comparison = make_comparison()
    record_judgment(comparison=comparison, annotator=ann, tiers=[comparison.response_ids], reason="by another")
    assert "by another" not in json.dumps(everything_about(ida), default=str)


def test_no_column_of_a_vote_is_forgotten_in_the_file() -> None:
    """A new column of the table is in the file, or it is said here why not."""
    # The arm would tell which pairs are gold, and which were shown a second time.
    not_of_the_person = {"comparison", "annotator", "seat", "seats", "arm"}
    columns = {field.name for field in Judgment._meta.concrete_fields} - not_of_the_person
    assert columns - set(personal_data.OF_A_JUDGMENT) == set()


KEPT_BY_NAME = {
    "annotation.Judgment.annotator": "votes stay",
    "annotation.Skip.annotator": "why a pair was passed on belongs to the pair",
    "annotation.VoteCount.annotator": "how many votes were given on a day, as the votes stay",
    "annotation.Comparison.only_for": "a hidden repeat belongs to the votes on it",
    "annotation.Response.written_by": "an answer stays, and nobody else may take it for a model's",
    "annotation.Gold.created_by": "what is known of a pair stays",
    "api.Webhook.created_by": "a project's webhook stays, under nobody's name",
    "annotation.ImportReport.created_by": "what an import brought stays",
    "annotation.ImportReport.judged_by": "a source, no person",
    "annotation.AuditEvent.actor": "what was done stays",
    "annotation.AuditEvent.subject": "what was done stays",
    "admin.LogEntry.user": "what was done stays",
    "models_registry.Version.created_by": "a model stays",
    "training.Snapshot.created_by": "a dataset stays",
    "training.Run.created_by": "a run stays",
}


def test_every_table_that_names_people_is_emptied_or_says_why_not(ida: User) -> None:
    """A new table with a person in it fails here until somebody decides what becomes of it."""
    forget(ida)
    naming = {
        f"{relation.related_model._meta.label}.{relation.field.name}": relation
        for relation in User._meta.get_fields(include_hidden=True)
        if relation.one_to_many or relation.one_to_one
    }
    left = {
        name
        for name, relation in naming.items()
        if relation.related_model._base_manager.filter(**{relation.field.name: ida}).exists()
    }
    assert left - set(KEPT_BY_NAME) == set()
    assert set(KEPT_BY_NAME) - set(naming) == set()


def test_forgetting_leaves_votes_without_a_name(ida: User, signed_in: SignIn, project: Project) -> None:
    votes, preferences = Judgment.objects.filter(annotator=ida).count(), Preference.objects.count()
    client = sure(signed_in(ida))
    answer = client.post(reverse("my-data-delete"), {"username": "ida"}, follow=True)
    assert "Your data is deleted" in answer.content.decode()

    ida.refresh_from_db()
    assert (Judgment.objects.filter(annotator=ida).count(), Preference.objects.count()) == (votes, preferences)
    assert str(ida) == ida.username == f"deleted-{ida.pk}"
    texts = [field.name for field in User._meta.concrete_fields if isinstance(field, models.CharField)]
    kept = " ".join(str(getattr(ida, name)) for name in texts).lower()
    assert "ida@" not in kept
    assert "quill" not in kept
    assert (ida.is_active, ida.has_usable_password(), ida.last_login) == (False, False, None)
    assert not Membership.objects.filter(user=ida).exists()
    assert not Lease.objects.filter(annotator=ida).exists()
    assert (ida.teams.count(), ida.batches.count()) == (0, 0)
    assert not SocialAccount.objects.exists()
    assert AuditEvent.objects.filter(action="deleted", actor=ida, subject=ida).exists()


def test_the_admins_log_forgets_the_name_too(ida: User, signed_in: SignIn) -> None:
    client = signed_in(make_user("root", is_staff=True, is_superuser=True))
    new = {"usable_password": "true", "password1": "another horse battery", "password2": "another horse battery"}
    client.post(reverse("admin:auth_user_password_change", args=[ida.pk]), new)
    client.post(reverse("admin:annotation_lease_delete", args=[Lease.objects.get(annotator=ida).pk]), {"post": "yes"})
    assert LogEntry.objects.filter(object_repr="Ida Quill").count() == 1
    membership = str(Membership.objects.get(user=ida))
    forget(User.objects.get(pk=ida.pk))
    kept = [f"{entry.object_repr} {entry.change_message}" for entry in LogEntry.objects.all()]
    assert len(kept) == 2
    assert "Ida" not in f"{kept} {membership}"


def test_who_is_forgotten_is_out_everywhere(ida: User, client: Client) -> None:
    other = Client()
    other.force_login(ida)
    client.force_login(ida)
    forget(ida)
    assert other.get(reverse("home")).status_code == 302
    answer = Client().post(reverse("sign-in"), {"username": "ida", "password": PASSWORD})
    assert answer.status_code == 200


def test_a_forgotten_person_is_not_taken_for_a_rule(
    ida: User, project: Project, signed_in: SignIn, manager: User
) -> None:
    forget(ida)
    assert (f"deleted-{ida.pk}", 1) not in VoteCount.objects.of_sources(project)
    assert "Ida" not in signed_in(manager).get(project.get_absolute_url()).content.decode()


def test_it_takes_the_person_and_their_own_name(ida: User, signed_in: SignIn) -> None:
    client = signed_in(ida)  # a session left open somewhere
    for path in (reverse("my-data-export"), reverse("my-data-delete")):
        assert client.get(path).headers["Location"].startswith(reverse("account_reauthenticate"))
    assert client.post(reverse("my-data-delete"), {"username": "ida"}).status_code == 302
    sure(client).post(reverse("my-data-delete"), {"username": "idar"})
    ida.refresh_from_db()
    assert ida.username == "ida"


def test_the_last_manager_and_the_last_admin_stay(manager: User, project: Project) -> None:
    with pytest.raises(StillNeededError, match="only manager of Everyday help"):
        forget(manager)
    root = make_user("root", is_superuser=True)
    with pytest.raises(StillNeededError, match="only site admin"):
        forget(root)
    make_user("second", is_superuser=True)
    forget(root)
    manager.refresh_from_db()
    root.refresh_from_db()
    assert (manager.username, root.username) == ("mara", f"deleted-{root.pk}")


def test_the_page_says_who_must_take_over(manager: User, project: Project, signed_in: SignIn) -> None:
    answer = sure(signed_in(manager)).post(reverse("my-data-delete"), {"username": "mara"})
    assert "Make somebody else a manager first" in answer.content.decode()


def test_the_page_says_what_there_is(ida: User, signed_in: SignIn) -> None:
    assert "your 1 vote with" in signed_in(ida).get(reverse("my-data")).content.decode()
