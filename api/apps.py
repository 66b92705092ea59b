"""The API as a Django app. When it starts it asks to be told what happens in projects."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "api"
    verbose_name = "API"

    def ready(self) -> None:
        """Listen."""
        from annotation.happenings import listen
        from api.webhooks import note

        listen(note)
