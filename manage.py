#!/usr/bin/env python
"""Prefloop's command line: `python manage.py help` lists the commands."""

import os
import sys


def main() -> None:
    """Run one command. What the person at the terminal can put right is said in one line, not as a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line

        from config.embedded.places import ServiceError
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed: run `make demo` once, then use .venv/bin/python manage.py.")
    try:
        execute_from_command_line(sys.argv)
    except (ImproperlyConfigured, ServiceError) as error:
        sys.exit(f"Cannot start: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped.")


if __name__ == "__main__":
    main()
