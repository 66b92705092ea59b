"""The API as a Django app. When it starts it asks to be told what happens in projects."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "api"
    verbose_name = "API"

    def ready(self) -> None:
        """Listen, and say what of a person is kept here."""
        from annotation.happenings import listen
        from annotation.personal_data import Belonging, keep_in_mind
        from api.models import RememberedAnswer, Token
        from api.webhooks import note

        listen(note)
        columns = ("name", "hint", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")
        keep_in_mind(Belonging("api_tokens", lambda person: Token.objects.filter(user=person), columns))
        keep_in_mind(Belonging("remembered_answers", lambda person: RememberedAnswer.objects.filter(user=person)))
