"""What the audit log names beside an action, made known to `models_registry.sayings`.

The log is kept in English, for its file too. Names of projects, files and models stand in it as they are, and so do the
tables of the admin.
"""

from __future__ import annotations

from django.utils.translation import gettext_noop as _
from django.utils.translation import override

from annotation.forms import ProjectForm
from annotation.queue_forms import QueueForm
from models_registry.sayings import saying

WORDS = (
    _("annotator"),
    _("reviewer"),
    _("manager"),
    _("archived"),
    _("reopened"),
    _("wrong code"),
    _("their personal data"),
    _("quality"),
    _("new team %(name)s"),
    _("team %(name)s"),
    _("deleted team %(name)s"),
    _("new batch %(name)s"),
    _("batch %(name)s"),
    _("dissolved batch %(name)s"),
    _("%(n)d a day"),
    _("no cap"),
    _("let in"),
    _("back to practice"),
    _("%(n)d suspects"),
    _("%(n)d gold pairs from %(file)s"),
    _("%(n)d practice pairs from %(file)s"),
    _("pair %(n)d"),
    _("retired pair %(n)d"),
    _("pair %(n)d, taken back"),
    _("dispute over pair %(n)d"),
    _("dispute over pair %(n)d, taken back"),
    _("flag on pair %(n)d"),
    _("new token %(name)s"),
    _("revoked token %(name)s"),
    _("new webhook %(n)d (%(host)s)"),
    _("new webhook secret %(n)d (%(host)s)"),
    _("turned on webhook %(n)d (%(host)s)"),
    _("turned off webhook %(n)d (%(host)s)"),
    _("removed webhook %(n)d (%(host)s)"),
    _("run %(n)d · %(method)s"),
    _("run %(n)d · Reward model"),
    _("run %(n)d · Sample answers"),
    _("added Recovery codes"),
    _("added TOTP Authenticator"),
    _("removed Recovery codes"),
    _("removed TOTP Authenticator"),
    _("renewed Recovery codes"),
    _("%(what)s through the API"),
    _("(%(settings)s)"),
)
for words in WORDS:
    saying(words)
with override("en"):
    for form in (ProjectForm, QueueForm):
        for field in form.base_fields.values():
            saying(str(field.label))
