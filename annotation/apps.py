from django.apps import AppConfig


class AnnotationConfig(AppConfig):
    name = "annotation"
    verbose_name = "Annotation"

    def ready(self) -> None:
        """Import for their effect: the audit log hears of every sign-in, and pages know what is kept in English."""
        from annotation import audit, audit_words  # noqa: F401
        from annotation.importing import reasons  # noqa: F401
