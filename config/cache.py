"""What lies in the cache is JSON: Django's own would unpickle whatever somebody put into Redis."""

from __future__ import annotations

import json
from typing import Any


class JSONSerializer:
    """For values of JSON's kinds: what is kept here is counts, times and short texts."""

    def dumps(self, value: Any) -> bytes:
        return json.dumps(value).encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(data)
