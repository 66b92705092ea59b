"""The house itself as a Django app: it brings commands and system checks, no tables."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """Registers the checks of `config.checks`."""

    name = "config"
    verbose_name = "Prefloop"

    def ready(self) -> None:
        """Import for its effect: tasks find our Celery application in every process; checks register themselves."""
        from config import celery, checks  # noqa: F401
