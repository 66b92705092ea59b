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
    ADMIN = "admin"


EVERYBODY = frozenset(Who)
SIGNED_IN = EVERYBODY - {Who.ANONYMOUS}
MEMBERS = frozenset({Who.ANNOTATOR, Who.REVIEWER, Who.MANAGER, Who.ADMIN})
MANAGERS = frozenset({Who.MANAGER, Who.ADMIN})
ANY_MANAGER = MANAGERS | {Who.NEIGHBOUR}
ADMINS = frozenset({Who.ADMIN})
NOBODY = frozenset[Who]()

READ = frozenset({"GET", "HEAD"})
READ_ONLY_GET = frozenset({"GET"})
FORM = frozenset({"GET", "POST"})
SEND = frozenset({"POST"})
ANY = frozenset(METHODS)


@dataclass(frozen=True)
class Rule:
    """Who is let in, by which methods; `at` names the attribute of the world that fills the address in.

    An address of the API has a rule for every method, as one may be for more people than another.
    """

    who: frozenset[Who]
    methods: frozenset[str]
    at: str = "nothing"


RULES = {
    # Signing in and out, and one's own account
    "sign-in": Rule(EVERYBODY, FORM),
    "account_login": Rule(EVERYBODY, FORM),
    "sign-in-link": Rule(EVERYBODY, FORM, "link"),
    "sign-out": Rule(EVERYBODY, SEND | {"OPTIONS"}),
    "mfa_authenticate": Rule(EVERYBODY, FORM),
    "account_reauthenticate": Rule(SIGNED_IN, FORM),
    "mfa_reauthenticate": Rule(SIGNED_IN, FORM),
    "account_inactive": Rule(EVERYBODY, READ_ONLY_GET),
    "socialaccount_login_cancelled": Rule(EVERYBODY, READ_ONLY_GET),
    "openid_connect_login": Rule(EVERYBODY, SEND, "provider"),
    "openid_connect_callback": Rule(EVERYBODY, READ_ONLY_GET, "provider"),
    "account": Rule(SIGNED_IN, FORM),
    "socialaccount_connections": Rule(SIGNED_IN, FORM),
    "password": Rule(SIGNED_IN, FORM),
    "mfa_index": Rule(SIGNED_IN, READ_ONLY_GET),
    "mfa_activate_totp": Rule(SIGNED_IN, FORM),
    "mfa_deactivate_totp": Rule(SIGNED_IN, FORM),
    "mfa_view_recovery_codes": Rule(SIGNED_IN, READ_ONLY_GET),
    "mfa_generate_recovery_codes": Rule(SIGNED_IN, FORM),
    "my-data": Rule(SIGNED_IN, READ_ONLY_GET),
    "my-data-export": Rule(SIGNED_IN, READ_ONLY_GET),
    "my-data-delete": Rule(SIGNED_IN, FORM),
    # Who did what
    "audit": Rule(ADMINS, READ_ONLY_GET),
    "audit-csv": Rule(ADMINS, READ_ONLY_GET),
    "project-audit": Rule(MANAGERS, READ_ONLY_GET, "project"),
    "project-audit-csv": Rule(MANAGERS, READ_ONLY_GET, "project"),
    # Projects
    "home": Rule(SIGNED_IN, READ_ONLY_GET),
    "new-project": Rule(ADMINS, FORM),
    "project": Rule(MEMBERS, READ_ONLY_GET, "project"),
    "project-settings": Rule(MANAGERS, FORM, "project"),
    "members": Rule(MANAGERS, FORM, "project"),
    "invite-member": Rule(MANAGERS, SEND, "project"),
    "remove-member": Rule(MANAGERS, SEND, "membership"),
    # Labelling
    "label": Rule(MEMBERS, FORM, "project"),
    "skip": Rule(MEMBERS, SEND, "project"),
    "undo": Rule(MEMBERS, SEND, "project"),
    "heartbeat": Rule(MEMBERS, SEND, "project"),
    "release": Rule(MEMBERS, SEND, "project"),
    # Data in and out
    "import": Rule(MANAGERS, FORM, "project"),
    "import-report": Rule(MANAGERS, READ_ONLY_GET, "report"),
    "import-live": Rule(MANAGERS, READ_ONLY_GET, "report"),
    "import-start": Rule(MANAGERS, SEND, "report"),
    "import-cancel": Rule(MANAGERS, SEND, "report"),
    "import-errors": Rule(MANAGERS, READ_ONLY_GET, "report"),
    "export": Rule(MANAGERS, READ_ONLY_GET, "project"),
    "export-file": Rule(MANAGERS, READ_ONLY_GET, "project"),
    # What is handed out to whom
    "queue-settings": Rule(MANAGERS, FORM, "project"),
    "gold": Rule(MANAGERS, FORM, "project"),
    "mark-gold": Rule(MANAGERS, FORM, "comparison"),
    "retire-gold": Rule(MANAGERS, SEND, "gold"),
    "assignment": Rule(MANAGERS, READ_ONLY_GET, "project"),
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
    "webhook": Rule(MANAGERS, READ_ONLY_GET, "webhook"),
    "test-webhook": Rule(MANAGERS, SEND, "webhook"),
    "switch-webhook": Rule(MANAGERS, SEND, "webhook"),
    "new-webhook-secret": Rule(MANAGERS, SEND, "webhook"),
    "remove-webhook": Rule(MANAGERS, SEND, "webhook"),
    "send-delivery-again": Rule(MANAGERS, SEND, "delivery"),
    # The API, asked with a token that has every scope
    "api-v1:openapi-json": Rule(EVERYBODY, ANY),  # what the API is, without a word of what is in it
    "api-v1:api-root": Rule(NOBODY, ANY),
    "api-v1:me": Rule(SIGNED_IN, READ_ONLY_GET),
    "api-v1:list_projects": Rule(SIGNED_IN, READ_ONLY_GET),
    "api-v1:new_project": Rule(ADMINS, SEND),
    "api-v1:show_project": Rule(MEMBERS, READ_ONLY_GET, "project"),
    "api-v1:change_project": Rule(MANAGERS, frozenset({"PATCH"}), "project"),
    "api-v1:lease": Rule(MEMBERS, SEND, "project"),
    "api-v1:extend": Rule(MEMBERS, SEND, "project"),
    "api-v1:release": Rule(MEMBERS, SEND, "project"),
    "api-v1:submit": Rule(MEMBERS, SEND, "project"),
    "api-v1:skip": Rule(MEMBERS, SEND, "project"),
    "api-v1:undo": Rule(MEMBERS, SEND, "project"),
    "api-v1:list_own_judgments": Rule(MEMBERS, READ_ONLY_GET, "project"),
    "api-v1:list_judgments": Rule(MANAGERS, READ_ONLY_GET, "project"),
    "api-v1:list_comparisons": Rule(MANAGERS, READ_ONLY_GET, "project"),
    "api-v1:list_preferences": Rule(MANAGERS, READ_ONLY_GET, "project"),
    "api-v1:export": Rule(MANAGERS, READ_ONLY_GET, "project"),
    "api-v1:new_import": Rule(MANAGERS, SEND, "project"),
    "api-v1:list_imports": Rule(MANAGERS, READ_ONLY_GET, "project"),
    "api-v1:show_import": Rule(MANAGERS, READ_ONLY_GET, "report"),
    # Models
    "models": Rule(ADMINS, READ),
    "version": Rule(MANAGERS, READ, "version"),
    "download": Rule(MANAGERS, READ, "artifact"),
    # Training
    "runs": Rule(ANY_MANAGER, READ_ONLY_GET),
    "run": Rule(MANAGERS, READ_ONLY_GET, "run"),
    "run-live": Rule(MANAGERS, READ_ONLY_GET, "run"),
    "run-metrics": Rule(MANAGERS, READ_ONLY_GET, "run"),
    "run-log": Rule(MANAGERS, READ_ONLY_GET, "run"),
    "run-cancel": Rule(MANAGERS, SEND, "run"),
    "project-runs": Rule(MANAGERS, READ_ONLY_GET, "project"),
    "next-round": Rule(MANAGERS, FORM, "project"),
    "next-round-count": Rule(MANAGERS, READ_ONLY_GET, "project"),
    "version-rounds": Rule(MANAGERS, READ_ONLY_GET, "version_by_id"),
    # The admin's few pages that are not for site admins alone, or not by every method
    "admin:login": Rule(ADMINS, FORM | READ | {"PUT", "OPTIONS"}),
    "admin:logout": Rule(ADMINS, SEND | {"OPTIONS"}),
    "admin:password_change": Rule(ADMINS, FORM | READ | {"PUT", "OPTIONS"}),
    "admin:jsi18n": Rule(ADMINS, READ | {"OPTIONS"}),
    "admin:autocomplete": Rule(ADMINS, READ | {"OPTIONS"}, "autocomplete"),
}
# Whatever else the admin has, or will have, is for site admins alone; its views do not look at the method.
ADMIN_PAGE = Rule(ADMINS, ANY, "admin")


def rule_of(address: Address) -> Rule | None:
    """What holds for an address; None if nobody has said so yet."""
    return RULES.get(address.key) or (ADMIN_PAGE if address.in_admin else None)
