"""Who may do what, stated once for every view: what the generated tests hold the site to.

A view that is not in `RULES` makes the tests fail. To add one: say who may be there, which methods it answers, and
which thing of the world its address names.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tests.safety.url_table import Address

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


class Who(StrEnum):
    """Everybody there is, seen from one project."""

    ANONYMOUS = "anonymous"
    STRANGER = "stranger"  # signed in, in no project
    NEIGHBOUR = "neighbour"  # manages another project
    ANNOTATOR = "annotator"
    REVIEWER = "reviewer"
    MANAGER = "manager"
    STAFF = "staff"  # runs the site's trainers and models; the admin shows them what they have permissions for: nothing
    ADMIN = "admin"


EVERYBODY = frozenset(Who)
SIGNED_IN = EVERYBODY - {Who.ANONYMOUS}
MEMBERS = frozenset({Who.ANNOTATOR, Who.REVIEWER, Who.MANAGER, Who.ADMIN})
REVIEWERS = frozenset({Who.REVIEWER, Who.MANAGER, Who.ADMIN})
MANAGERS = frozenset({Who.MANAGER, Who.ADMIN})
ADMINS = frozenset({Who.ADMIN})
STAFF = frozenset({Who.STAFF, Who.ADMIN})
TRAINERS = MANAGERS | STAFF
NOBODY = frozenset[Who]()

READ = frozenset({"GET", "HEAD"})
READ_ONLY_GET = frozenset({"GET"})
FORM = READ | {"POST"}
SEND = frozenset({"POST"})
ANY = frozenset(METHODS)


@dataclass(frozen=True)
class Rule:
    """Who is let in, by which methods; `at` names the attribute of the world that fills the address in.

    An address of the API has a rule for every method, as one may be for more people than another. `query` is what an
    address must be asked for to answer at all.
    """

    who: frozenset[Who]
    methods: frozenset[str]
    at: str = "nothing"
    query: str = ""


RULES = {
    # Signing in and out, and one's own account
    "sign-in": Rule(EVERYBODY, FORM),
    "account_login": Rule(EVERYBODY, FORM),
    "sign-in-link": Rule(EVERYBODY, FORM, "link"),
    "sign-out": Rule(EVERYBODY, SEND | {"OPTIONS"}),
    "mfa_authenticate": Rule(EVERYBODY, FORM),
    "account_reauthenticate": Rule(SIGNED_IN, FORM),
    "mfa_reauthenticate": Rule(SIGNED_IN, FORM),
    "account_inactive": Rule(EVERYBODY, READ),
    "socialaccount_login_cancelled": Rule(EVERYBODY, READ),
    "openid_connect_login": Rule(EVERYBODY, SEND, "provider"),
    "openid_connect_callback": Rule(EVERYBODY, READ_ONLY_GET, "provider"),
    "account": Rule(SIGNED_IN, FORM),
    "socialaccount_connections": Rule(SIGNED_IN, FORM),
    "password": Rule(SIGNED_IN, FORM),
    "mfa_index": Rule(SIGNED_IN, READ),
    "mfa_activate_totp": Rule(SIGNED_IN, FORM),
    "mfa_deactivate_totp": Rule(SIGNED_IN, FORM),
    "mfa_view_recovery_codes": Rule(SIGNED_IN, READ),
    "mfa_generate_recovery_codes": Rule(SIGNED_IN, FORM),
    "my-data": Rule(SIGNED_IN, READ),
    "my-data-export": Rule(SIGNED_IN, READ_ONLY_GET),
    "my-data-delete": Rule(SIGNED_IN, FORM),
    # Who did what
    "audit": Rule(ADMINS, READ),
    "audit-csv": Rule(ADMINS, READ),
    "project-audit": Rule(MANAGERS, READ, "project"),
    "project-audit-csv": Rule(MANAGERS, READ, "project"),
    # Projects
    "home": Rule(SIGNED_IN, READ),
    "new-project": Rule(STAFF, FORM),
    "project": Rule(MEMBERS, READ, "project"),
    "project-settings": Rule(MANAGERS, FORM, "project"),
    "archive-project": Rule(MANAGERS, SEND, "project"),
    "members": Rule(MANAGERS, FORM, "project"),
    "invite-member": Rule(MANAGERS, SEND, "project"),
    "remove-member": Rule(MANAGERS, SEND, "membership"),
    # Labelling
    "label": Rule(MEMBERS, READ_ONLY_GET | SEND, "project"),  # whose GET hands out: HEAD would too
    "skip": Rule(MEMBERS, SEND, "project"),
    "undo": Rule(MEMBERS, SEND, "project"),
    "heartbeat": Rule(MEMBERS, SEND, "project"),
    "release": Rule(MEMBERS, SEND, "project"),
    "ahead": Rule(MEMBERS, SEND, "project"),
    "flag": Rule(MEMBERS, SEND, "project"),
    "history": Rule(MEMBERS, READ, "project"),
    "change-judgment": Rule(frozenset({Who.ANNOTATOR}), FORM, "judgment"),
    "flags": Rule(MANAGERS, READ, "project"),
    "settle-flag": Rule(MANAGERS, SEND, "flag"),
    # The quality of votes
    "quality": Rule(MANAGERS, READ, "project"),
    "quality-compute": Rule(MANAGERS, SEND, "project"),
    "quality-age": Rule(MEMBERS, READ, "project"),
    "quality-csv": Rule(MANAGERS, READ, "project"),
    "quality-person": Rule(MANAGERS, READ, "voter"),
    "quality-mine": Rule(MEMBERS, READ, "project"),
    "suspects": Rule(MANAGERS, FORM, "project"),
    "adjudicate": Rule(REVIEWERS, READ, "project"),
    "settle": Rule(REVIEWERS, SEND, "judged"),
    "unsettle": Rule(frozenset({Who.REVIEWER}), SEND, "decision"),  # one's own decision alone
    # Data in and out
    "import": Rule(MANAGERS, FORM, "project"),
    "import-report": Rule(MANAGERS, READ, "report"),
    "import-live": Rule(MANAGERS, READ, "report"),
    "import-start": Rule(MANAGERS, SEND, "report"),
    "import-cancel": Rule(MANAGERS, SEND, "report"),
    "import-errors": Rule(MANAGERS, READ, "report"),
    "export": Rule(MANAGERS, READ, "project"),
    "export-file": Rule(MANAGERS, READ, "project"),
    # What is handed out to whom
    "queue-settings": Rule(MANAGERS, FORM, "project"),
    "gold": Rule(MANAGERS, FORM, "project"),
    "mark-gold": Rule(MANAGERS, FORM, "comparison"),
    "retire-gold": Rule(MANAGERS, SEND, "gold"),
    "assignment": Rule(MANAGERS, READ, "project"),
    "new-team": Rule(MANAGERS, SEND, "project"),
    "team": Rule(MANAGERS, SEND, "team"),
    "delete-team": Rule(MANAGERS, SEND, "team"),
    "new-batch": Rule(MANAGERS, SEND, "project"),
    "batch": Rule(MANAGERS, SEND, "batch"),
    "delete-batch": Rule(MANAGERS, SEND, "batch"),
    "change-person": Rule(MANAGERS, SEND, "membership"),
    # Programs
    "api-tokens": Rule(SIGNED_IN, FORM),
    "revoke-api-token": Rule(frozenset({Who.MANAGER}), SEND, "token"),  # whose token it is
    "webhooks": Rule(MANAGERS, FORM, "project"),
    "webhook": Rule(MANAGERS, READ, "webhook"),
    "test-webhook": Rule(MANAGERS, SEND, "webhook"),
    "switch-webhook": Rule(MANAGERS, SEND, "webhook"),
    "new-webhook-secret": Rule(MANAGERS, SEND, "webhook"),
    "remove-webhook": Rule(MANAGERS, SEND, "webhook"),
    "send-delivery-again": Rule(MANAGERS, SEND, "delivery"),
    # The API, asked with a token that has every scope
    "api-v1:openapi-json": Rule(EVERYBODY, READ),  # what the API is, without a word of what is in it
    "api-v1:api-root": Rule(NOBODY, ANY),
    "api-v1:me": Rule(SIGNED_IN, READ_ONLY_GET),
    "api-v1:list_projects": Rule(SIGNED_IN, READ_ONLY_GET),
    "api-v1:new_project": Rule(STAFF, SEND),
    "api-v1:show_project": Rule(MEMBERS, READ_ONLY_GET, "project"),
    "api-v1:change_project": Rule(MANAGERS, frozenset({"PATCH"}), "project"),
    "api-v1:archive_project": Rule(MANAGERS, SEND, "project"),
    "api-v1:reopen_project": Rule(MANAGERS, SEND, "project"),
    "api-v1:lease": Rule(MEMBERS, SEND, "project"),
    "api-v1:extend": Rule(MEMBERS, SEND, "project"),
    "api-v1:release": Rule(MEMBERS, SEND, "project"),
    "api-v1:submit": Rule(MEMBERS, SEND, "project"),
    "api-v1:skip": Rule(MEMBERS, SEND, "project"),
    "api-v1:undo": Rule(MEMBERS, SEND, "project"),
    "api-v1:list_own_judgments": Rule(MEMBERS, READ_ONLY_GET, "project"),
    "api-v1:list_judgments": Rule(MANAGERS, READ_ONLY_GET, "project"),
    "api-v1:list_comparisons": Rule(MANAGERS, READ_ONLY_GET, "project"),
    "api-v1:show_quality": Rule(MANAGERS, READ_ONLY_GET, "project"),
    "api-v1:list_preferences": Rule(MANAGERS, READ_ONLY_GET, "project"),
    "api-v1:export": Rule(MANAGERS, READ_ONLY_GET, "project"),
    "api-v1:new_import": Rule(MANAGERS, SEND, "project"),
    "api-v1:list_imports": Rule(MANAGERS, READ_ONLY_GET, "project"),
    "api-v1:show_import": Rule(MANAGERS, READ_ONLY_GET, "report"),
    # Models
    "models": Rule(STAFF, READ),
    "version": Rule(TRAINERS, READ, "version"),
    "download": Rule(TRAINERS, READ, "artifact"),
    # Training
    "runs": Rule(TRAINERS | {Who.NEIGHBOUR}, READ),
    "run": Rule(TRAINERS, READ, "run"),
    "run-live": Rule(TRAINERS, READ, "run"),
    "run-metrics": Rule(TRAINERS, READ, "run"),
    "run-log": Rule(TRAINERS, READ, "run"),
    "run-cancel": Rule(TRAINERS, SEND, "run"),
    "project-runs": Rule(TRAINERS, READ, "project"),
    "next-round": Rule(MANAGERS, FORM, "project"),
    "next-round-count": Rule(MANAGERS, READ, "project"),
    "version-rounds": Rule(TRAINERS, READ, "version_by_id"),
    # The admin's few pages that are not for site admins alone, or not by every method
    "admin:login": Rule(STAFF, FORM | {"PUT", "OPTIONS"}),
    "admin:logout": Rule(STAFF, SEND | {"OPTIONS"}),
    "admin:password_change": Rule(STAFF, FORM | {"PUT", "OPTIONS"}),
    "admin:password_change_done": Rule(STAFF, READ | {"OPTIONS"}),
    "admin:jsi18n": Rule(STAFF, READ | {"OPTIONS"}),
    "admin:autocomplete": Rule(
        ADMINS,
        READ | {"OPTIONS"},
        query="?app_label=annotation&model_name=membership&field_name=user",
    ),
    "admin:index": Rule(STAFF, ANY),
    "admin:search": Rule(STAFF, ANY, query="?s=user"),  # finds what its asker may see
    "admin:view_on_site": Rule(STAFF, ANY, "admin"),
    "admin:training_run_count": Rule(ADMINS, ANY, query="?method=dpo"),
    "admin/(?P<url>.*)$": Rule(NOBODY, ANY, "admin"),  # what the admin does not have
}
# Whatever else the admin has, or will have, is for site admins alone; its views do not look at the method.
ADMIN_PAGE = Rule(ADMINS, ANY, "admin")
# Its old addresses of rows lead on to the new ones, which then look at who it is.
LEADS_ON = Rule(STAFF, ANY, "admin")
# But of these tables nobody adds rows there, nobody deletes any, nobody changes any: they follow from what people do.
NOT_ADDED = {
    "annotation_prompt", "annotation_response", "annotation_comparison", "annotation_judgment", "annotation_lease",
    "annotation_skip", "annotation_preference", "annotation_importreport", "models_registry_version",
    "training_snapshot",
}  # fmt: skip
NOT_DELETED = NOT_ADDED - {"annotation_lease"} | {"annotation_project", "models_registry_model", "training_run"}
NOT_CHANGED = NOT_ADDED - {"annotation_comparison", "models_registry_version"} | {"training_run"}
RULES |= {f"admin:{table}_add": Rule(NOBODY, ANY) for table in NOT_ADDED}
RULES |= {f"admin:{table}_delete": Rule(NOBODY, ANY, "admin") for table in NOT_DELETED}
RULES |= {f"admin:{table}_change": Rule(ADMINS, ANY - {"POST"}, "admin") for table in NOT_CHANGED}


def rule_of(address: Address) -> Rule | None:
    """What holds for an address; None if nobody has said so yet."""
    if address.key in RULES:
        return RULES[address.key]
    if not address.in_admin:
        return None
    return LEADS_ON if address.key.endswith("<path:object_id>/") else ADMIN_PAGE
