"""The audit log: what is written into it, that nothing changes it, who reads it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.forms.models import model_to_dict
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now
from django.utils.translation import activate, override

from annotation import audit
from annotation.models import (
    Action,
    AuditEvent,
    Comparison,
    Flag,
    Gold,
    ImportReport,
    Judgment,
    Project,
    Role,
    User,
)
from annotation.people import sign_in_link
from annotation.queue_forms import QueueForm
from annotation.services import AnswerIn, add_comparison, create_project, record_judgment, set_role
from api.models import Scope
from api.tokens import make_token
from api.webhooks import make_webhook
from models_registry.sayings import recognised
from tests.annotation.conftest import PASSWORD, MakeComparison, make_user
from tests.safety.asking import RULED
from training.models import Method, Run, State

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]

ROW = b'{"prompt": "Q", "chosen": "A", "rejected": "B"}\n'

# Every address that takes a POST and is not in `audit.BY_ADDRESS`, and where its event comes from, or why it has none.
TOLD_BY_A_SERVICE = {
    "sign-in", "account_login", "sign-in-link", "sign-out", "mfa_authenticate",  # signals of the sign-in
    "mfa_activate_totp", "mfa_deactivate_totp", "mfa_generate_recovery_codes",  # signals of the second factor
    "openid_connect_login",  # leads away; coming back is a sign-in
    "my-data-delete", "new-project", "members", "invite-member", "remove-member", "next-round",
    "import-start", "archive-project",
    "api-tokens", "webhooks", "new-webhook-secret", "api-v1:new_project",
    "api-v1:archive_project", "api-v1:reopen_project",
}  # fmt: skip
NOT_TOLD = {
    "account", "socialaccount_connections",  # one's own display name
    "account_reauthenticate", "mfa_reauthenticate",  # a second look at somebody who is in; a wrong one is told
    "import",  # a file that is looked at; when it is started that is told
    "label", "skip", "undo", "heartbeat", "release",  # each is a row of its own, with its time and its person
    "ahead", "change-judgment", "flag",  # the same
    "quality-compute",  # figures are computed anew
    "api-v1:lease", "api-v1:extend", "api-v1:release", "api-v1:submit", "api-v1:skip", "api-v1:undo",  # the same
    "test-webhook", "send-delivery-again",  # each is a delivery in the webhook's own log
    "api-v1:api-root",  # nothing is done there, by whichever method
}  # fmt: skip


def test_no_form_escapes_the_log_unnoticed() -> None:
    forms = {address.key for address, rule in RULED if "POST" in rule.methods and not address.in_admin}
    told = {name for name, method in audit.BY_ADDRESS if method == "POST"}
    assert forms - told - TOLD_BY_A_SERVICE - NOT_TOLD == set()
    assert (TOLD_BY_A_SERVICE | NOT_TOLD) - forms == set()


def log() -> list[tuple[str, str, str, str, str]]:
    """(who, did what, to whom, where, what), oldest first."""
    return [
        (
            event.actor.username if event.actor else "",
            event.action,
            event.subject.username if event.subject else "",
            event.project.slug if event.project else "",
            event.what,
        )
        for event in AuditEvent.objects.order_by("id").select_related("actor", "subject", "project")
    ]


def test_sign_ins_and_what_fails(client: Client, ann: User) -> None:
    client.post(reverse("sign-in"), {"username": "ann", "password": "wrong"})
    client.post(reverse("sign-in"), {"username": "my secret, in the wrong field", "password": "x"})
    client.post(reverse("sign-in"), {"username": "ann", "password": PASSWORD})
    client.post(reverse("sign-out"))
    client.post(urlsplit(sign_in_link(User.objects.get(pk=ann.pk), "http://x")).path)
    assert log() == [
        ("", "sign-in-failed", "ann", "", ""),
        ("ann", "signed-in", "", "", ""),
        ("ann", "signed-out", "", "", ""),
        ("ann", "signed-in", "", "", ""),
    ]


def test_roles_and_members(signed_in: SignIn, project: Project, manager: User, stranger: User) -> None:
    client = signed_in(manager)
    before = AuditEvent.objects.count()
    client.post(reverse("members", args=[project.slug]), {"username": "stranger", "role": "reviewer"})
    membership = project.memberships.get(user=stranger)
    client.post(reverse("remove-member", args=[project.slug, membership.pk]))
    assert log()[before:] == [
        ("mara", "role", "stranger", project.slug, "reviewer"),
        ("mara", "removed", "stranger", project.slug, "reviewer"),
    ]


def test_what_is_refused_is_not_in_the_log(signed_in: SignIn, project: Project, manager: User, ann: User) -> None:
    client = signed_in(manager)
    before = AuditEvent.objects.count()
    client.post(reverse("project-settings", args=[project.slug]), {"name": "", "overlap": "0"})
    client.post(reverse("import", args=[project.slug]), {})
    client.post(reverse("members", args=[project.slug]), {"username": "mara", "role": "annotator"})  # the last manager
    client.get(reverse("export-file", args=[project.slug]), {"shape": "none of them"})
    signed_in(ann).get(reverse("export-file", args=[project.slug]))
    assert [event for event in log()[before:] if event[1] != "signed-in"] == []


def test_a_redirect_that_follows_nothing_is_not_in_the_log(
    signed_in: SignIn, project: Project, manager: User, ann: User
) -> None:
    """To the sign-in page, back to a list where nothing had to be done, or to a page that says what was wrong."""
    users, delete = reverse("admin:annotation_user_changelist"), reverse("admin:annotation_project_delete", args=[1])
    person = reverse("change-person", args=[project.slug, project.memberships.get(user=ann).pk])
    run = Run.objects.create(method=Method.DPO, project=project, state=State.SUCCEEDED, finished_at=now())
    no_factor = {"action": "switch_two_factor_off", "_selected_action": [ann.pk]}
    asked = [
        (ann, delete, {"post": "yes"}),
        (make_user("root", is_staff=True, is_superuser=True), users, no_factor),
        (manager, person, {"daily_cap": "many"}),
        (manager, reverse("run-cancel", args=[run.pk]), {}),
    ]
    before = AuditEvent.objects.count()
    assert [signed_in(who).post(url, values).status_code for who, url, values in asked] == [302] * len(asked)
    assert [event for event in log()[before:] if event[1] != "signed-in"] == []


def test_a_launch_in_the_admin_is_told_once(signed_in: SignIn) -> None:
    client = signed_in(make_user("root", is_staff=True, is_superuser=True))
    before = AuditEvent.objects.count()
    client.post(reverse("admin:models_registry_model_add"), {"kind": "tiny", "model_name": "Small", "dtype": "bf16"})
    run = Run.objects.get()
    assert log()[before:] == [("root", "launched", "", "", str(run))]


def test_imports_exports_and_settings(signed_in: SignIn, project: Project, manager: User) -> None:
    client = signed_in(manager)
    before = AuditEvent.objects.count()
    client.post(reverse("import", args=[project.slug]), {"file": SimpleUploadedFile("votes.jsonl", ROW)})
    draft = ImportReport.objects.get()
    client.post(reverse("import-start", args=[project.slug, draft.pk]), {"shape": "preference"})
    client.get(reverse("export-file", args=[project.slug]))
    client.get(reverse("export-file", args=[project.slug]), {"shape": "kto", "file": "csv", "votes": "majority"})
    some = {"margin": "on", "since": "2026-01-31", "agreement": "80", "purpose": "any"}
    client.get(reverse("export-file", args=[project.slug]), some)
    client.get(reverse("quality-csv", args=[project.slug]))
    client.post(reverse("project-settings", args=[project.slug]), {"name": "Renamed", "overlap": "1", "kind": "pairs"})
    assert log()[before:] == [
        ("mara", "imported", "", project.slug, "votes.jsonl"),
        ("mara", "exported", "", project.slug, "preference raw jsonl"),
        ("mara", "exported", "", project.slug, "kto majority csv"),
        (
            "mara",
            "exported",
            "",
            project.slug,
            "preference raw jsonl, margin yes, since 2026-01-31T00:00+00:00, agreement 0.8, purpose any",
        ),
        ("mara", "exported", "", project.slug, "quality"),
        ("mara", "settings", "", project.slug, "(Name, Guidelines, Ask how much better)"),
    ]


def test_the_queue_webhooks_and_tokens(signed_in: SignIn, project: Project, manager: User, ann: User) -> None:
    client = signed_in(manager)
    shares = model_to_dict(project, QueueForm.Meta.fields)
    before = AuditEvent.objects.count()
    client.post(reverse("new-team", args=[project.slug]), {"name": "Nurses"})
    client.post(reverse("new-team", args=[project.slug]), {"name": ""})
    team = project.teams.get()
    client.post(reverse("team", args=[project.slug, team.pk]), {"name": "Nurses", "people": [ann.pk]})
    client.post(reverse("delete-team", args=[project.slug, team.pk]))
    client.post(reverse("new-batch", args=[project.slug]), {"name": "Hard", "most": "0"})
    client.post(reverse("delete-batch", args=[project.slug, project.batches.get().pk]))
    client.post(reverse("queue-settings", args=[project.slug]), shares | {"gold_share": "7", "daily_cap": "90"})
    member = reverse("change-person", args=[project.slug, project.memberships.get(user=ann).pk])
    for change in ({"daily_cap": "20"}, {"daily_cap": ""}, {"again": "1"}, {"let_in": "1"}):
        client.post(member, change)
    known = add_comparison(
        project=project, messages=[{"role": "user", "content": "Q"}], responses=[AnswerIn("one"), AnswerIn("two")]
    )
    client.post(reverse("mark-gold", args=[project.slug, known.pk]), {"expected": "a", "purpose": "gold"})
    client.post(reverse("retire-gold", args=[project.slug, Gold.objects.get().pk]))
    file = SimpleUploadedFile("sure.jsonl", ROW)
    client.post(reverse("gold", args=[project.slug]), {"file": file, "purpose": "practice"})
    url = "https://hooks.example/in?key=secret"
    webhook = make_webhook(project=project, url=url, events=["judgment.made"], created_by=manager)
    client.post(reverse("new-webhook-secret", args=[project.slug, webhook.pk]))
    client.post(reverse("switch-webhook", args=[project.slug, webhook.pk]))
    client.post(reverse("remove-webhook", args=[project.slug, webhook.pk]))
    token, _ = make_token(user=manager, name="night shift", scopes=list(Scope), days=1)
    client.post(reverse("revoke-api-token", args=[token.pk]))
    assert log()[before:] == [
        ("mara", "assigned", "", project.slug, "new team Nurses"),
        ("mara", "assigned", "", project.slug, "team Nurses"),
        ("mara", "assigned", "", project.slug, "deleted team Nurses"),
        ("mara", "assigned", "", project.slug, "new batch Hard"),
        ("mara", "assigned", "", project.slug, "dissolved batch Hard"),
        ("mara", "settings", "", project.slug, "(Gold pairs (%), Judgments per person and day)"),
        ("mara", "assigned", "ann", project.slug, "20 a day"),
        ("mara", "assigned", "ann", project.slug, "no cap"),
        ("mara", "assigned", "ann", project.slug, "back to practice"),
        ("mara", "assigned", "ann", project.slug, "let in"),
        ("mara", "gold", "", project.slug, f"pair {known.pk}"),
        ("mara", "gold", "", project.slug, f"retired pair {known.pk}"),
        ("mara", "gold", "", project.slug, "1 practice pairs from sure.jsonl"),
        ("mara", "webhook", "", project.slug, f"new webhook {webhook.pk} (hooks.example)"),
        ("mara", "webhook", "", project.slug, f"new webhook secret {webhook.pk} (hooks.example)"),
        ("mara", "webhook", "", project.slug, f"turned off webhook {webhook.pk} (hooks.example)"),
        ("mara", "webhook", "", project.slug, f"removed webhook {webhook.pk} (hooks.example)"),
        ("mara", "token", "", "", "new token night shift"),
        ("mara", "token", "", "", "revoked token night shift"),
    ]
    with override("de"):
        assert [event[4] for event in log()[before:] if recognised(event[4]) == event[4]] == []


def test_what_is_settled(
    signed_in: SignIn, manager: User, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    pair = make_comparison(judgments_wanted=2)
    first, second = pair.response_ids
    for person, tiers in ((ann, [[first], [second]]), (ben, [[second], [first]])):
        record_judgment(comparison=pair, annotator=person, tiers=tiers)
    Comparison.objects.update(closed_at=now())
    flag = Flag.objects.create(comparison=pair, annotator=ann, comment="Broken table")
    client, slug = signed_in(manager), pair.project.slug
    before = AuditEvent.objects.count()
    for _ in range(2):  # the second time there is nothing to settle
        client.post(reverse("settle", args=[slug, pair.pk]), {"choice": "a"})
    decision = Judgment.objects.get(decides=True)
    for _ in range(2):
        client.post(reverse("unsettle", args=[slug, decision.pk]))
        client.post(reverse("settle-flag", args=[slug, flag.pk]))
    assert log()[before:] == [
        ("mara", "settled", "", slug, f"dispute over pair {pair.pk}"),
        ("mara", "settled", "", slug, f"dispute over pair {pair.pk}, taken back"),
        ("mara", "settled", "", slug, f"flag on pair {pair.pk}"),
    ]
    with override("de"):
        assert [event[4] for event in log()[before:] if recognised(event[4]) == event[4]] == []


def test_what_programs_do(client: Client, project: Project, manager: User) -> None:
    _, text = make_token(user=manager, name="night shift", scopes=list(Scope), days=1)
    assert log()[-1] == ("mara", "token", "", "", "new token night shift")
    before = AuditEvent.objects.count()
    Project.objects.update(aspects=["helpful"], reason_tags=["clearer"])
    of_project = f"/api/v1/projects/{project.slug}"
    headers = {"Authorization": f"Bearer {text}"}
    client.post(f"{of_project}/imports", ROW, content_type="application/jsonl", headers=headers)
    client.get(f"{of_project}/export", headers=headers)
    client.patch(of_project, {"overlap": 2}, content_type="application/json", headers=headers)
    client.patch(of_project, {"overlap": 2}, content_type="application/json", headers=headers)  # as it was
    client.patch(of_project, {"overlap": 0}, content_type="application/json", headers=headers)
    client.get(f"{of_project}/export")
    assert log()[before:] == [
        ("mara", "imported", "", project.slug, "through the API"),
        ("mara", "exported", "", project.slug, "preference raw jsonl through the API"),
        ("mara", "settings", "", project.slug, "(Judgments per comparison) through the API"),
    ]


def test_what_is_changed_in_the_admin(signed_in: SignIn, ann: User, project: Project) -> None:
    root = make_user("root", is_staff=True, is_superuser=True)
    client = signed_in(root)
    before = AuditEvent.objects.count()
    client.get(reverse("admin:annotation_user_changelist"))
    client.post(
        reverse("admin:annotation_user_changelist"), {"action": "make_sign_in_link", "_selected_action": [ann.pk]}
    )
    client.post(reverse("admin:annotation_project_delete", args=[project.pk]), {"post": "yes"})
    assert not Project.objects.exists()
    assert log()[before:] == [
        ("root", "link", "ann", "", ""),
        ("root", "admin", "", "", f"annotation user changelist make_sign_in_link {ann.pk}"),
        ("root", "admin", "", "", f"annotation project delete {project.pk}"),
    ]


def test_the_log_is_kept_in_english_whoever_acts(project: Project, manager: User) -> None:
    run = Run(pk=7, method=Method.SAMPLE)
    factor = Authenticator(user=manager, type=Authenticator.Type.RECOVERY_CODES)
    with override("de"):
        audit.record(Action.LAUNCHED, actor=manager, project=project, what=run)
        authenticator_added.send(Authenticator, request=None, user=manager, authenticator=factor)
    assert [event[-1] for event in log()[-2:]] == ["run 7 · Sample answers", "added Recovery codes"]


def test_an_event_outlives_its_project(project: Project, manager: User) -> None:
    event = AuditEvent.objects.in_project(project).latest("id")
    Project.objects.filter(pk=project.pk).delete()
    kept = AuditEvent.objects.with_names().get(pk=event.pk)
    assert (kept.project_id, kept.project, kept.what) == (event.project_id, None, event.what)


def test_links_from_the_command_line_have_nobody_behind_them(ann: User) -> None:
    call_command("sign_in_link", "ann", stdout=io.StringIO())
    assert log() == [("", "link", "ann", "", "")]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE annotation_auditevent SET what = 'nothing'",
        "DELETE FROM annotation_auditevent",
    ],
)
def test_the_database_refuses_to_rewrite_the_log(ann: User, statement: str) -> None:
    audit.record(Action.EXPORTED, actor=ann, what="all of it")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert log() == [("ann", "exported", "", "", "all of it")]


def test_a_manager_reads_their_projects_log_and_only_that(
    signed_in: SignIn, project: Project, manager: User, stranger: User
) -> None:
    other = create_project(name="Other", manager=stranger)
    audit.record(Action.EXPORTED, actor=stranger, project=other, what="elsewhere.jsonl")
    audit.record(Action.EXPORTED, actor=manager, project=project, what="here.jsonl")
    html = signed_in(manager).get(reverse("project-audit", args=[project.slug])).content.decode()
    assert "here.jsonl" in html
    assert "elsewhere.jsonl" not in html
    assert '<td class="did whole">signed in' not in html


def test_an_admin_reads_all_of_it(signed_in: SignIn, project: Project, manager: User) -> None:
    html = signed_in(make_user("root", is_superuser=True)).get(reverse("audit")).content.decode()
    assert '<td class="did whole">signed in' in html
    assert "made the project" in html


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("votes", 1),
        ("VOTES jsonl", 1),
        ("votes nothing", 0),
        ("exported", 2),
        ("mara exported", 1),
        ("everyday", 2),
        ("ann", 1),
    ],
)
def test_the_log_is_searched(project: Project, manager: User, ann: User, words: str, found: int) -> None:
    known = list(AuditEvent.objects.values_list("pk", flat=True))
    audit.record(Action.EXPORTED, actor=manager, project=project, what="votes.jsonl")
    audit.record(Action.EXPORTED, actor=ann, project=project, what="pairs.csv")
    assert AuditEvent.objects.matching(words).exclude(pk__in=known).count() == found


def test_the_file_holds_what_the_search_found_and_no_formula(
    signed_in: SignIn, project: Project, manager: User
) -> None:
    audit.record(Action.EXPORTED, actor=manager, project=project, what="=HYPERLINK(1)")
    audit.record(Action.EXPORTED, actor=manager, project=project, what="other")
    answer = signed_in(manager).get(reverse("project-audit-csv", args=[project.slug]), {"q": "hyperlink"})
    text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    head, row = csv.reader(io.StringIO(text))
    assert head[:4] == ["time (UTC)", "who", "did", "what"]
    assert row[1:] == ["mara", "exported", "'=HYPERLINK(1)", "", project.slug]
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{project.slug}-audit.csv"'


@pytest.mark.parametrize("count", [1, 40])
def test_the_page_asks_as_often_for_few_events_as_for_many(
    signed_in: SignIn,
    project: Project,
    manager: User,
    django_assert_num_queries: Callable[..., object],
    count: int,
) -> None:
    for n in range(count):
        set_role(project=project, person=make_user(f"person{n}"), role=Role.ANNOTATOR, by=manager)
    client = signed_in(manager)
    with django_assert_num_queries(5):  # session, person, project, count, events
        client.get(reverse("project-audit", args=[project.slug]))


def test_a_long_word_is_cut_and_a_null_byte_left_out(ann: User) -> None:
    audit.record(Action.IMPORTED, actor=ann, what="a\x00b" + "x" * 500)
    assert AuditEvent.objects.get().what == ("ab" + "x" * 500)[:300]


@pytest.mark.parametrize(
    ("kept", "german"),
    [
        ("reviewer", "Prüfen"),
        ("new team Nurses", "neues Team Nurses"),
        ("(Name, Judgments per comparison) through the API", "(Name, Urteile je Vergleich) über die API"),
        ("new webhook 4 (a.example)", "neuer Webhook 4 (a.example)"),
        ("run 7 · Sample answers", "Lauf 7 · Antworten ziehen"),
        ("added Recovery codes", "Wiederherstellungscodes eingerichtet"),
        ("Preferences", "Preferences"),
        ("prompts.jsonl through the API", "prompts.jsonl über die API"),
    ],
)
def test_what_the_log_names_is_read_in_german_but_not_names_that_people_gave(
    signed_in: SignIn, kept: str, german: str
) -> None:
    root = make_user("root", is_superuser=True)
    audit.record(Action.ASSIGNED, actor=root, what=kept)
    page = signed_in(root).get(reverse("audit"), headers={"Accept-Language": "de"}).content.decode()
    activate("en")
    assert f'<span class="muted what">{german}</span>' in page
