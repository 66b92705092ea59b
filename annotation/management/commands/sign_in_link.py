from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotation import audit
from annotation.address import kept_address
from annotation.models import Action, User
from annotation.people import sign_in_link


class Command(BaseCommand):
    help = "Print a link that signs a person in: once, within a day."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--base-url", help="Where the site is reached (default: here, by `manage.py up`).")

    def handle(self, *args: Any, username: str, base_url: str | None, **options: Any) -> None:
        user = User.objects.filter(username=username, is_active=True).first()
        if user is None:
            raise CommandError(f"There is nobody called {username} who may sign in.")
        audit.record(Action.LINK, actor=None, subject=user)
        address = base_url or kept_address()
        self.stdout.write(sign_in_link(user, address))
        if base_url is None:
            self.stderr.write(f"If the site is reached elsewhere than at {address}, say where: --base-url URL")
