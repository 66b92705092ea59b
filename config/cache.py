"""What lies in the cache is JSON: Django's own would unpickle whatever somebody put into Redis."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any


class JSONSerializer:
    """For values of JSON's kinds: what is kept here is counts, times and short texts.

    The search of the admin keeps dataclasses; it gets dictionaries back, which are the same to a template.
    """

    def dumps(self, value: Any) -> bytes:
        return json.dumps(value, default=asdict).encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(data)
