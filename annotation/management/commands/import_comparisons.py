from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotation.importing.landing import import_rows
from annotation.models import Project


class Command(BaseCommand):
    help = "Import prompts with answers from a JSON Lines file: {prompt, chosen, rejected} or {prompt, responses}."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="The project's slug, as in its address.")
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--judged-by",
            default="",
            metavar="NAME",
            help="Keep chosen over rejected as a vote of this named source, instead of asking people.",
        )
        parser.add_argument("--author-label", default="", help="Who wrote the answers; annotators never see it.")

    def handle(self, *args: Any, project: str, file: Path, **options: Any) -> None:
        found = Project.objects.filter(slug=project).first()
        if found is None:
            raise CommandError(f"There is no project {project}.")
        try:
            with file.open("rb") as lines:
                report = import_rows(
                    project=found,
                    file=lines,
                    judged_by=options["judged_by"],
                    author_label=options["author_label"],
                    file_name=file.name,
                )
        except OSError as error:
            raise CommandError(f"Cannot read {file}: {error.strerror}.") from error
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        for problem in report.errors:
            self.stderr.write(f"{file}:{problem['line']}: {problem['reason']}")
        self.stdout.write(
            f"{report.rows} rows: {report.comparisons_added} comparisons added,"
            f" {report.judgments_added} of them with their vote, {report.duplicates} there already,"
            f" {report.error_count} rows not taken."
        )
