"""The API: its name, its errors, its endpoints. To add one, copy a sibling in `endpoints` and name it here."""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from ninja import NinjaAPI
from ninja.errors import ValidationErrorContext
from ninja.openapi import get_schema
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from api.answer_headers import declare_headers
from api.endpoints import comparisons, imports, judgments, me, preferences, projects, quality, queue
from api.errors import answer_errors
from api.strict import StrictParser, problem_of, strictly

DESCRIPTION = """
Everything here follows the rules of the pages: what a person may do there, their tokens may do here, if the token has
the scope. Send `Authorization: Bearer TOKEN`. Errors have one shape:
`{"error": {"code", "message", "todo", "fields"}}`.
"""


class Api(NinjaAPI):
    """An API whose operations are strict, and called in OpenAPI as their functions are."""

    def __init__(self, **named: Any) -> None:
        super().__init__(parser=StrictParser(), **named)
        self.add_decorator(strictly, mode="view")

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def validation_error_from_error_contexts(  # type: ignore[override]  # it is raised, whatever it is
        self, error_contexts: Sequence[ValidationErrorContext[Any]]
    ) -> Exception:
        return problem_of(error_contexts)

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        """Made once: it takes a tenth of a second, and nobody has to sign in to ask for it."""
        return _schema(self.get_root_path(path_params or {}) if path_prefix is None else path_prefix)


@cache
def _schema(path_prefix: str) -> OpenAPISchema:
    described = get_schema(root, path_prefix=path_prefix)
    text, named = json.dumps(described), described["components"]["schemas"]
    # Without the groups of parameters: each parameter is described where it is taken.
    for name in [name for name in named if f'"#/components/schemas/{name}"' not in text]:
        del named[name]
    declare_headers(described)
    return described


root = Api(
    title="Prefloop",
    version="1",
    description=DESCRIPTION,
    docs_url=None,
    docs_decorator=lambda described: csrf_exempt(require_safe(described)),  # no form leads here: other methods are 405
    urls_namespace="api-v1",
)
answer_errors(root)
for endpoints in (me, projects, queue, judgments, comparisons, preferences, imports, quality):
    root.add_router("", endpoints.router)
