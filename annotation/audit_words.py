"""What the audit log names beside an action, made known to `models_registry.sayings`.

The log is kept in English, for its file too. Names of projects, files and models stand in it as they are, and so do the
tables of the admin.
"""

from __future__ import annotations

from django.utils.translation import gettext_noop as _

from models_registry.sayings import saying

WORDS = (
    _("annotator"),
    _("reviewer"),
    _("manager"),
    _("archived"),
    _("reopened"),
    _("wrong code"),
    _("their personal data"),
    _("new team"),
    _("team %(n)d"),
    _("delete team %(n)d"),
    _("new batch"),
    _("batch %(n)d"),
    _("delete batch %(n)d"),
    _("change person %(n)d"),
    _("suspects"),
    _("mark gold %(n)d"),
    _("retire gold %(n)d"),
    _("new token %(n)d"),
    _("revoke api token %(n)d"),
    _("new webhook %(n)d (%(host)s)"),
    _("new webhook secret %(n)d (%(host)s)"),
    _("switch webhook %(n)d"),
    _("remove webhook %(n)d"),
    _("run %(n)d · %(method)s"),
    _("run %(n)d · Reward model"),
    _("run %(n)d · Sample answers"),
    _("added Recovery codes"),
    _("added TOTP Authenticator"),
    _("removed Recovery codes"),
    _("removed TOTP Authenticator"),
    _("renewed Recovery codes"),
    _("%(what)s through the API"),
)
for words in WORDS:
    saying(words)
