"""The API keeps what its OpenAPI description promises: schemathesis makes requests of every kind from it and looks at
the answers. The examples are the same each time, so that a failure can be run again."""

import gzip
import re
from collections.abc import Iterator
from functools import cache
from itertools import count, cycle
from typing import Any

import pytest
import schemathesis
from django.conf import LazySettings
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from annotation.ballots import CHOICES
from annotation.exporting.verdicts import WEIGHTED
from annotation.models import Lease, Project, User
from annotation.queue import Ticket, lease_next
from api.endpoints.imports import ANY_FILE
from api.models import Scope
from api.root import root
from api.tokens import make_token
from tests.annotation.conftest import MakeComparison
from tests.api.conftest import ROOT
from tests.importing import import_rows

EXAMPLES = 8
BOUNDED = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
NUMBERS = count()
# What any answer of any site may have, and what depends on the requests before.
EVERYWHERE = {
    *("allow", "cache-control", "content-disposition", "content-encoding", "content-language", "content-length"),
    *("content-security-policy", "content-type", "cross-origin-opener-policy", "permissions-policy", "referrer-policy"),
    *("set-cookie", "vary", "x-content-type-options", "x-frame-options"),
}
SOMETIMES = {"idempotency-replayed"}
REAL_FILES = cycle(
    [
        b'[{"prompt": "Why?", "responses": ["So.", "Hm."]}]',
        b"prompt,chosen,rejected\nWhy?,So.,Hm.\n",
        gzip.compress(b'{"prompt": "Why?", "responses": ["So.", "Hm."]}\n'),
    ]
)
ASKS: dict[str, Any] = {
    "aspects": ["helpful", "true"],
    "reason_tags": ["clearer", "safer"],
    "asks_acceptability": True,
    "offers_both_good": True,
    "offers_edit": True,
}
OPERATIONS = [
    (method, path)
    for path, methods in root.get_openapi_schema(path_prefix=f"{ROOT}/")["paths"].items()
    for method in methods
]


@schemathesis.serializer("application/jsonl")
def as_lines(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """A text is the body as it is."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@cache
def schema() -> Any:
    """As programs get it, over HTTP."""
    return schemathesis.openapi.from_wsgi(f"{ROOT}/openapi.json", get_wsgi_application())


@pytest.fixture(autouse=True)
def _one_connection() -> Iterator[None]:
    """A server closes connections between requests; here all of them are in the transaction of the test."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def test_the_description_is_made_once() -> None:
    assert root.get_openapi_schema() is root.get_openapi_schema()


def test_every_operation_tells_of_a_fault_of_ours() -> None:
    described = root.get_openapi_schema()["paths"]
    assert described
    operations = [(path, one) for path, methods in described.items() for one in methods.values()]
    assert [path for path, one in operations if 500 not in one["responses"]] == []


def test_nothing_is_described_that_no_operation_has() -> None:
    described = root.get_openapi_schema()
    named = described["components"]["schemas"]
    assert "ProjectOut" in named
    assert [name for name in named if f"'#/components/schemas/{name}'" not in str(described)] == []


def test_an_import_is_described_as_lines_or_a_file_of_any_kind() -> None:
    imports = root.get_openapi_schema(path_prefix="/")["paths"]["/projects/{slug}/imports"]
    assert set(imports["post"]["requestBody"]["content"]) == {"application/jsonl", "application/octet-stream"}


def test_a_reason_to_skip_is_described_as_more_than_white_space() -> None:
    reason = root.get_openapi_schema()["components"]["schemas"]["SkipIn"]["properties"]["reason"]
    assert (reason["minLength"], reason["maxLength"]) == (1, 400)
    assert re.search(reason["pattern"], " broken \n")
    assert not any(re.search(reason["pattern"], text) for text in ("", " \n", "a\0"))


@pytest.fixture
def held(project: Project, admin: User, make_comparison: MakeComparison) -> Lease:
    """A pair that the admin, who manages every project, holds, and more in the queue. The project asks all it can."""
    Project.objects.update(**ASKS)
    for _ in range(3):
        make_comparison(judgments_wanted=9)
    lease = lease_next(project=project, annotator=admin)
    assert lease is not None
    return lease


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[f"{method} {path}" for method, path in OPERATIONS])
def test_an_address_answers_as_it_is_described(
    admin: User, project: Project, held: Lease, settings: LazySettings, method: str, path: str, mode: str
) -> None:
    settings.API_REQUESTS_PER_MINUTE = 1_000_000
    _, token = make_token(user=admin, name="schemathesis", scopes=list(Scope), days=None)
    report = import_rows(project=project, file=_Nothing())
    asked = 0

    operation = schema()[path][method.upper()]
    positive = mode == "positive"
    given_here = {"slug": project.slug, "pk": report.pk}
    names = [name for name in given_here if f"{{{name}}}" in path]
    mine = {"path_parameters": {name: given_here[name] for name in names}} if names and positive else {}

    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode), **mine))
    def ask(case: schemathesis.Case) -> None:
        nonlocal asked
        asked += 1
        if positive:
            _mend(case, held)
        # A case may be wrong by having no token: then it gets none.
        comes_with_one = positive or "Authorization" in (case.headers or {})
        answer = case.call_and_validate(
            headers={"Authorization": f"Bearer {token}"} if comes_with_one else {},
            excluded_checks=[] if positive else [positive_data_acceptance],
        )
        declared = operation.definition.raw["responses"][str(answer.status_code)]["headers"]
        named, ours = {name.lower() for name in declared}, set(answer.headers) - EVERYWHERE
        assert ours <= named
        assert ours >= named - SOMETIMES or not positive  # an address of no view is answered before anybody is counted

    ask()
    assert asked > 0


def _mend(case: schemathesis.Case, held: Lease) -> None:
    """What no schema can say: a cursor is of this list, a ticket was handed out, a vote fits its pair and project, a
    source is no person, a file is of a kind that is read, a key came with no other request, a filter is one that
    something passes.
    """
    if isinstance(case.query, dict):
        _mend_query(case.query, held)
    if case.media_type == ANY_FILE:
        case.body = next(REAL_FILES)
    if isinstance(case.body, dict) and "ticket" in case.body:
        case.body["ticket"] = Ticket.sign(held)
        if case.path.endswith("/submit"):
            _mend_vote(case.body)
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"key-{next(NUMBERS)}"


def _mend_query(query: dict[str, Any], held: Lease) -> None:
    for name in ("cursor", "judged_by", "before", *(["since", "annotators"] if query.get("votes") == WEIGHTED else [])):
        query.pop(name, None)
    for name, real in (
        ("annotator", "mara"),
        ("annotators", ["mara"]),
        ("comparison", held.comparison_id),
    ):
        if name in query:
            query[name] = real
    if query.get("margin"):
        query["shape"] = "preference"


def _mend_vote(vote: dict[str, Any]) -> None:
    vote.pop("ranks", None)
    if vote.get("choice") not in CHOICES:
        vote["choice"] = "tie"
    for name, known in (("acceptable", "AB"), ("edits", "AB"), ("aspects", ASKS["aspects"])):
        vote[name] = dict(zip(known, vote.get(name, {}).values(), strict=False))
    vote["tags"] = ASKS["reason_tags"][: len(vote.get("tags", []))]


class _Nothing:
    """An empty file."""

    def readline(self, limit: int, /) -> bytes:
        return b""
