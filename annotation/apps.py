from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AnnotationConfig(AppConfig):
    name = "annotation"
    verbose_name = _("Annotation")

    def ready(self) -> None:
        """Import for its effect: the audit log hears of every sign-in."""
        from annotation import audit  # noqa: F401
