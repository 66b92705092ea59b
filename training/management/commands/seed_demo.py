"""`manage.py seed_demo`: an admin, a base model and two projects with answers to compare. Twice is as good as once."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from training.demo import DemoError, seed_demo


class Command(BaseCommand):
    help = "Add the demo: an admin without a password, a base model, and two projects with answers to compare."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--admin", default="admin", metavar="NAME", help="Who manages the demo (default: admin).")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            seed_demo(admin=options["admin"], progress=self._tell)
        except DemoError as error:
            raise CommandError(str(error)) from error
        self._tell(self.style.SUCCESS("The demo is ready."))

    def _tell(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
