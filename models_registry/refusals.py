"""Why a model folder is not registered, made known to `sayings`: a worker registers it, and a page shows why not."""

from __future__ import annotations

from django.utils.translation import gettext_noop as _

from models_registry.sayings import saying

REFUSALS = (
    _("there is no model to register: its manifest.json is missing"),
    _("the model's manifest.json cannot be read: %(why)s"),
    _("the model's manifest.json names no formats"),
    _("the model's manifest.json does not list the files of %(name)s"),
    _("unknown model formats: %(names)s"),
    _("no free address for a model named %(name)s"),
    _("%(file)s is not a kind of file that a model may hold (safetensors, never a pickle)"),
    _("%(file)s is not a file name that can be stored"),
    _("%(file)s is missing from the model's folder"),
    _("%(file)s is not a safetensors file"),
    _("%(file)s is not the file that the manifest describes: its size or hash differs"),
    _("%(file)s is already there"),
)
for refusal in REFUSALS:
    saying(refusal)
