"""The API: its name, its errors, its endpoints. To add one, copy a sibling in `endpoints` and name it here."""

from functools import cache
from typing import Any

from ninja import NinjaAPI
from ninja.openapi import get_schema
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from api.endpoints import comparisons, imports, judgments, me, preferences, projects, queue
from api.errors import answer_errors

DESCRIPTION = """
Everything here follows the rules of the pages: what a person may do there, their tokens may do here, if the token has
the scope. Send `Authorization: Bearer TOKEN`. Errors have one shape:
`{"error": {"code", "message", "todo", "fields"}}`.
"""


class Api(NinjaAPI):
    """An API whose operations are called in OpenAPI as their functions are."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        """Made once: it takes a tenth of a second, and nobody has to sign in to ask for it."""
        return _schema(self.get_root_path(path_params or {}) if path_prefix is None else path_prefix)


@cache
def _schema(path_prefix: str) -> OpenAPISchema:
    return get_schema(root, path_prefix=path_prefix)


root = Api(
    title="Prefloop",
    version="1",
    description=DESCRIPTION,
    docs_url=None,
    urls_namespace="api-v1",
)
answer_errors(root)
for endpoints in (me, projects, queue, judgments, comparisons, preferences, imports):
    root.add_router("", endpoints.router)
