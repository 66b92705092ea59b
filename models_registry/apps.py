from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ModelsRegistryConfig(AppConfig):
    name = "models_registry"
    verbose_name = _("Models")

    def ready(self) -> None:
        """Know why a model was refused when a page shows it."""
        from models_registry import refusals  # noqa: F401
