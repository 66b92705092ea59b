"""The house itself as a Django app: it brings commands and system checks, no tables."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """Registers the checks of `config.checks`."""

    name = "config"
    verbose_name = "Prefloop"

    def ready(self) -> None:
        """Import for its effect: tasks find our Celery application in every process; checks register themselves.

        And have the names of tables and columns follow the reader's language.
        """
        from config import celery, checks  # noqa: F401
        from config.names import translate_names

        translate_names()
