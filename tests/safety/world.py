"""Two projects side by side with everything that an address can name, and one person of each kind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib import admin
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.utils.timezone import now

from annotation.models import (
    Batch,
    Comparison,
    Flag,
    Gold,
    ImportReport,
    Lease,
    Membership,
    Preference,
    Project,
    QualityReport,
    Role,
    Skip,
    Team,
    User,
)
from annotation.people import sign_in_link
from annotation.quality.deciding import decide
from annotation.services import AnswerIn, add_comparison, create_project, record_judgment, set_role
from api.models import Delivery, Scope, Token, Webhook
from api.tokens import make_token
from models_registry.models import Kind, Version
from tests.annotation.conftest import PASSWORD
from tests.safety.rules import Who
from tests.safety.url_table import Address
from tests.training.conftest import make_version
from training.models import Method, Run, Schedule, Snapshot, State

# What an annotator must never be sent: who wrote an answer, who else votes here, and what they said.
AUTHOR = "planted-author-label"
MODEL = "Planted model name"
COLLEAGUE = "Planted Colleague"
REASON = "planted reason of a colleague"
SECRETS_OF_A_PROJECT = (AUTHOR, MODEL, COLLEAGUE, REASON)

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """One project's things, as arguments of addresses."""

    project: Arguments
    membership: Arguments
    judgment: Arguments
    flag: Arguments
    report: Arguments
    version: Arguments
    artifact: Arguments
    run: Arguments
    version_by_id: Arguments
    voter: Arguments
    judged: Arguments
    decision: Arguments
    comparison: Arguments
    gold: Arguments
    team: Arguments
    batch: Arguments
    webhook: Arguments
    delivery: Arguments


@dataclass(frozen=True)
class World:
    """Everybody, and both sides; the roles are those in `mine`. `tokens` have every scope; `token` is the manager's.

    `artifacts` is the folder of the artifact storage.
    """

    people: dict[Who, User]
    tokens: dict[Who, str]
    token: Arguments
    mine: Side
    theirs: Side
    link: Arguments
    artifacts: Path

    def arguments(self, at: str, address: Address) -> Arguments:
        """What fills in an address of `mine`."""
        if at == "nothing":
            return {}
        if at == "link":
            return self.link
        if at == "token":
            return self.token
        if at == "provider":
            return {"provider_id": "oidc"}
        if at == "admin":
            return _admin_arguments(address)
        found: Arguments = getattr(self.mine, at)
        return found


def make_world(artifacts: Path) -> World:
    """`artifacts` is the folder of the artifact storage: the models' files are there to be downloaded."""
    people = {who: _person(who) for who in Who if who != Who.ANONYMOUS}
    project = create_project(name="Everyday help", guidelines="Be **fair**.", manager=people[Who.MANAGER])
    for who, role in ((Who.ANNOTATOR, Role.ANNOTATOR), (Who.REVIEWER, Role.REVIEWER)):
        set_role(project=project, person=people[who], role=role)
    neighbours = create_project(name="Next door", manager=people[Who.NEIGHBOUR])
    invited = User.objects.create_user("invited")
    tokens = {who: make_token(user=person, name=str(who), scopes=list(Scope), days=1) for who, person in people.items()}
    # So that no request of the next hour notes that a token was used: what is refused must not write.
    Token.objects.update(last_used_at=now() + timedelta(hours=1))
    return World(
        people=people,
        tokens={who: text for who, (_, text) in tokens.items()},
        token={"pk": tokens[Who.MANAGER][0].pk},
        mine=_fill(project, artifacts, people[Who.ANNOTATOR], reviewer=people[Who.REVIEWER]),
        theirs=_fill(neighbours, artifacts, people[Who.NEIGHBOUR], reviewer=people[Who.NEIGHBOUR]),
        link={"token": urlsplit(sign_in_link(invited, "http://x")).path.split("/")[-2]},
        artifacts=artifacts,
    )


def _person(who: Who) -> User:
    """Somebody with a password and a second factor, so that each of their own pages has something to show."""
    person = User.objects.create_user(
        f"{who}-person", password=PASSWORD, is_staff=who in (Who.STAFF, Who.ADMIN), is_superuser=who == Who.ADMIN
    )
    TOTP.activate(person, "JBSWY3DPEHPK3PXP")
    RecoveryCodes.activate(person)
    return person


def _fill(project: Project, artifacts: Path, annotator: User, *, reviewer: User) -> Side:
    """`annotator` has given one judgment, their colleague the rest; `reviewer` has settled one."""
    colleague = User.objects.create_user(f"colleague-of-{project.slug}", display_name=COLLEAGUE)
    membership = Membership.objects.create(project=project, user=colleague)
    comparisons = [_comparison(project, n) for n in range(5)]
    judged, settled, held, skipped, _open = comparisons
    for voted in (judged, settled):
        record_judgment(
            comparison=voted, annotator=colleague, tiers=[[pk] for pk in voted.response_ids], reason=REASON, strength=2
        )
    decision = decide(comparison_id=settled.pk, reviewer=reviewer, choice="tie")
    counted = {"votes": 2, "people": [{"person": colleague.pk, "votes": 2, "flags": [], "weeks": []}]}
    QualityReport.objects.create(project=project, numbers=counted, computed_at=now())
    judgment = judged.judgments.get()
    own = _comparison(project, 6)
    own_judgment = record_judgment(
        comparison=own, annotator=annotator, tiers=[[pk] for pk in own.response_ids], strength=1
    )
    flag = Flag.objects.create(comparison=judged, annotator=colleague, comment=REASON)
    chosen, rejected = judged.response_ids
    Preference.objects.get_or_create(
        judgment=judgment,
        chosen_id=chosen,
        rejected_id=rejected,
        defaults={"project": project, "prompt": judged.prompt},
    )
    later = now() + timedelta(minutes=5)
    Lease.objects.create(comparison=held, annotator=colleague, seat=1, shown_order=held.response_ids, expires_at=later)
    Skip.objects.create(comparison=skipped, annotator=colleague, reason=REASON)
    report = ImportReport.objects.create(project=project, file_name="votes.jsonl", created_by=colleague)
    version, run = _trained(project, artifacts)
    where = {"slug": project.slug}
    return Side(
        project=where,
        membership={**where, "pk": membership.pk},
        judgment={**where, "pk": own_judgment.pk},
        flag={**where, "pk": flag.pk},
        report={**where, "pk": report.pk},
        version={"slug": version.model.slug, "number": version.number},
        artifact={"slug": version.model.slug, "number": version.number, "format": "full"},
        run={"pk": run.pk},
        version_by_id={"pk": version.pk},
        voter={**where, "pk": colleague.pk},
        judged={**where, "pk": judged.pk},
        decision={**where, "pk": decision.pk},
        **_handed_out(project),
        **_told(project),
    )


def _handed_out(project: Project) -> dict[str, Arguments]:
    """What says who judges what, and what is known already."""
    where = {"slug": project.slug}
    known = _comparison(project, 4)
    Comparison.objects.filter(pk=known.pk).update(purpose=Comparison.Purpose.GOLD)
    Gold.objects.create(comparison=known, expected=[[pk] for pk in known.response_ids], explanation="Because.")
    return {
        "comparison": {**where, "pk": _comparison(project, 5).pk},
        "gold": {**where, "pk": known.pk},
        "team": {**where, "pk": Team.objects.create(project=project, name="Nurses").pk},
        "batch": {**where, "pk": Batch.objects.create(project=project, name="First week").pk},
    }


def _told(project: Project) -> dict[str, Arguments]:
    """A webhook, and something that it was told."""
    webhook = Webhook.objects.create(project=project, url="https://hooks.example/in", events=["judgment.made"])
    delivery = Delivery.objects.create(webhook=webhook, event="ping", subject="1", body={}, state="failed")
    where = {"slug": project.slug, "pk": webhook.pk}
    return {"webhook": where, "delivery": {**where, "delivery_pk": delivery.pk}}


def _comparison(project: Project, number: int) -> Comparison:
    asked = [{"role": "user", "content": f"Question {number} of {project.name}?"}]
    answers = [AnswerIn(f"Answer {number}, {side}", author_label=AUTHOR) for side in ("first", "second")]
    return add_comparison(project=project, messages=asked, responses=answers)


def _trained(project: Project, artifacts: Path) -> tuple[Version, Run]:
    """A finished run of the project, the version it made, and what stands around them."""
    version = make_version(f"{MODEL} {project.slug}", Kind.POLICY, root=artifacts)
    snapshot = Snapshot.objects.create(project=project, train_rows=1, eval_rows=0, sha256="0" * 64)
    run = Run.objects.create(
        method=Method.DPO, project=project, snapshot=snapshot, state=State.SUCCEEDED, finished_at=now()
    )
    Version.objects.filter(pk=version.pk).update(run_id=run.pk)
    Schedule.objects.create(project=project, method=Method.DPO, base=version, crontab="0 3 * * 1")
    return version, run


def _admin_arguments(address: Address) -> Arguments:
    """An object of the table that the address is about; the first that there is."""
    Group.objects.get_or_create(name="clerks")
    # What is on no table of its own is a way to a row's page on the site: projects have one.
    model = next((table for table in admin.site._registry if _is_about(address, table)), Project)
    pk = model._default_manager.values_list("pk", flat=True).first()
    assert pk is not None, f"the world has no {model._meta.verbose_name}: give it one"
    kind = ContentType.objects.get_for_model(model).pk
    return {"object_id": pk, "id": pk, "app_label": "annotation", "content_type_id": kind, "url": "nothing/here"}


def _is_about(address: Address, table: type[Model]) -> bool:
    return f"admin/{table._meta.app_label}/{table._meta.model_name}/" in address.route
