from django.apps import AppConfig


class AnnotationConfig(AppConfig):
    name = "annotation"
    verbose_name = "Annotation"

    def ready(self) -> None:
        """Import for its effect: the audit log hears of every sign-in."""
        from annotation import audit  # noqa: F401
