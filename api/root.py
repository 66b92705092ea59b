"""The API: its name, its errors, its endpoints. To add one, copy a sibling in `endpoints` and name it here."""

from ninja import NinjaAPI
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
