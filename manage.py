#!/usr/bin/env python
"""Prefloop's command line: `python manage.py help` lists the commands."""

import errno
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
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sys.exit("The disk is full: free some space and run the same command again.")
        if isinstance(error, PermissionError) and error.filename:
            sys.exit(f"Cannot use {error.filename}: it belongs to another user. Run as that user, or set PREFLOOP_VAR.")
        raise
    except KeyboardInterrupt:
        sys.exit("Stopped.")


if __name__ == "__main__":
    main()
