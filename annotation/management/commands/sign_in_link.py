from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotation import audit
from annotation.models import Action, User
from annotation.people import sign_in_link

THIS_MACHINE = "http://127.0.0.1:8000"


class Command(BaseCommand):
    help = "Print a link that signs a person in: once, within a day."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--base-url", help=f"Where the site is reached (default: {THIS_MACHINE}).")

    def handle(self, *args: Any, username: str, base_url: str | None, **options: Any) -> None:
        user = User.objects.filter(username=username, is_active=True).first()
        if user is None:
            raise CommandError(f"There is nobody called {username} who may sign in.")
        audit.record(Action.LINK, actor=None, subject=user)
        self.stdout.write(sign_in_link(user, base_url or THIS_MACHINE))
        if base_url is None:
            self.stderr.write(f"If the site is reached elsewhere than at {THIS_MACHINE}, say where: --base-url URL")
