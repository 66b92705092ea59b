from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotation.importing.landing import import_file
from annotation.importing.reading import SHAPES
from annotation.importing.rows import BadFileError
from annotation.models import Project


class Command(BaseCommand):
    help = "Import prompts with answers, judged or not, from a JSON Lines, JSON, CSV or Parquet file of any size."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="The project's slug, as in its address.")
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--judged-by",
            default="",
            metavar="NAME",
            help="Keep the file's votes as judgments of this named source, instead of asking people.",
        )
        parser.add_argument("--author-label", default="", help="Who wrote the answers; annotators never see it.")
        parser.add_argument(
            "--shape", default="", choices=["", *SHAPES], help="Read every row in this shape. Otherwise as it looks."
        )

    def handle(self, *args: Any, project: str, file: Path, **options: Any) -> None:
        found = Project.objects.filter(slug=project).first()
        if found is None:
            raise CommandError(f"There is no project {project}.")
        try:
            report = import_file(
                project=found,
                path=file,
                shape=options["shape"],
                judged_by=options["judged_by"],
                author_label=options["author_label"],
            )
        except OSError as error:
            raise CommandError(f"Cannot read {file}: {error.strerror}.") from error
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        except BadFileError as error:
            raise CommandError(f"{file}: {error}") from error
        for problem in report.errors:
            self.stderr.write(f"{file}:{problem['line']}: {problem['reason']}")
        self.stdout.write(
            f"{report.rows} rows: {report.comparisons_added} comparisons added,"
            f" {report.judgments_added} votes kept, {report.duplicates} pairs there already,"
            f" {report.error_count} rows not taken."
        )
        if report.error:
            raise CommandError(f"{file}: {report.error}")
