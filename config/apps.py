"""The house itself as a Django app: it brings commands and system checks, no tables."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """Registers the checks of `config.checks`."""

    name = "config"
    verbose_name = "Prefloop"

    def ready(self) -> None:
        """Import for its effect: each check registers itself."""
        from config import checks  # noqa: F401
