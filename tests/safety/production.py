"""The settings of a server as they are meant to be, with its static files said to be collected."""

import os
from pathlib import Path

from config.settings import *  # noqa: F403

STATIC_ROOT = Path(os.environ["PREFLOOP_VAR"]) / "static"
