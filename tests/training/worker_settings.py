"""Settings of a worker whose engine is the stand-in: STAND_IN names what it does."""

import os
import sys
from pathlib import Path

from config.settings import *  # noqa: F403

ENGINE_COMMAND = [sys.executable, str(Path(__file__).parent / "stand_in_engine.py"), os.environ["STAND_IN"]]
