"""The names of tables and columns, as the admin shows them, in the reader's language.

Django makes a name from what a class or field is called in the code. Here such a name becomes one that is looked up
when it is shown. What migrations see stays as it is: they read what a field was given, and it was given nothing.
"""

from __future__ import annotations

from django.apps import apps
from django.utils.translation import gettext_lazy

ROOMS = ("annotation", "api", "models_registry", "training")


def translate_names() -> None:
    """Call it once every model is loaded, and before any language but English is asked for."""
    for room in ROOMS:
        for model in apps.get_app_config(room).get_models():
            named = [model._meta, *model._meta.fields, *model._meta.many_to_many]
            for thing in named:
                _translate(thing, "verbose_name")
            _translate(model._meta, "verbose_name_plural")


def _translate(thing: object, attribute: str) -> None:
    setattr(thing, attribute, gettext_lazy(str(getattr(thing, attribute))))
