"""No operation passes over in silence what it does not know. The operations are the API's own: a new one is in."""

from typing import Any

import pytest
from django.conf import LazySettings
from ninja import Router, Schema
from ninja.operation import Operation

from annotation.models import Project, User
from api.root import Api, root
from tests.annotation.conftest import MakeComparison
from tests.api.conftest import Program, ProgramOf, error_of
from tests.importing import import_rows

OPERATIONS: list[Operation] = [
    operation
    for router in root._get_bound_routers()
    for view in router.path_operations.values()
    for operation in view.operations
]
EVERY = pytest.mark.parametrize("operation", OPERATIONS, ids=[one.view_func.__name__ for one in OPERATIONS])
TAKES_BODY = [one for one in OPERATIONS if any(model.__ninja_param_source__ == "body" for model in one.models)]
TAKES_NONE = [one for one in OPERATIONS if one not in TAKES_BODY and "requestBody" not in (one.openapi_extra or {})]
SUBMIT = "/projects/everyday-help/queue/submit"


def named(operations: list[Operation]) -> Any:
    return pytest.mark.parametrize("operation", operations, ids=[one.view_func.__name__ for one in operations])


@pytest.fixture
def program(project: Project, admin: User, program_of: ProgramOf) -> Program:
    return program_of(admin)


@pytest.fixture
def send(program: Program, project: Project) -> Any:
    """Asks an operation of the project, or of its only import."""
    report = import_rows(project=project, file=_Nothing())

    def sent(operation: Operation, *, query: str = "", body: Any = None) -> Any:
        path = operation.path.replace("{slug:slug}", project.slug).replace("{int:pk}", str(report.pk))
        more = {} if body is None else {"data": body, "content_type": "application/json"}
        return program.client.generic(operation.methods[0], f"/api/v1{path}?{query}", headers=program.headers, **more)

    return sent


def fields_of(response: Any) -> dict[str, str]:
    assert error_of(response) == (422, "invalid")
    return {field["where"]: field["problem"] for field in response.json()["error"]["fields"]}


def test_the_table_has_every_operation() -> None:
    described = root.get_openapi_schema(path_prefix="")["paths"]
    assert len(OPERATIONS) == sum(len(methods) for methods in described.values()) > 20
    assert len(TAKES_BODY) == 5
    assert len(TAKES_NONE) == len(OPERATIONS) - len(TAKES_BODY) - 1


@EVERY
def test_an_unknown_parameter_is_named(send: Any, operation: Operation) -> None:
    assert "surely_unknown" in fields_of(send(operation, query="surely_unknown=1"))


@EVERY
def test_a_misspelt_parameter_is_told_which_is_meant(send: Any, operation: Operation) -> None:
    known = [name for model in operation.models for name in getattr(model, "__ninja_flatten_map__", {})]
    queries = [name for name in known if name not in ("slug", "pk", "Idempotency-Key")]
    told = fields_of(send(operation, query="&".join(f"{name}_x=1" for name in queries) or "x=1"))
    assert {name: told[f"{name}_x"].partition(". ")[2] for name in queries} == {
        name: f"Did you mean '{name}'?" for name in queries
    }
    assert queries or told["x"] == "There is no parameter 'x', nor any other."


@named(TAKES_BODY)
def test_an_unknown_field_is_named(send: Any, operation: Operation) -> None:
    told = fields_of(send(operation, body='{"surely_unknown": 1}'))
    assert told["surely_unknown"].startswith("There is no field 'surely_unknown'. There are: ")


@named(TAKES_BODY)
@pytest.mark.parametrize("body", [None, "[1]", "null", "7", '"text"', "[]"])
def test_a_body_that_is_no_object_is_told_what_it_should_be(send: Any, operation: Operation, body: str | None) -> None:
    told = fields_of(send(operation, body=body))
    assert list(told) == ["body"]
    assert told["body"].startswith("The body must be a JSON object")


@named(TAKES_NONE)
def test_a_body_that_nobody_asked_for_is_told_so(send: Any, operation: Operation) -> None:
    assert fields_of(send(operation, body='{"surely_unknown": 1}')) == {"body": "No body is taken here."}
    assert fields_of(send(operation, body="no json")) == {"body": "No body is taken here."}
    assert send(operation, body=" {} ").status_code not in (400, 422, 500)


def test_all_that_is_wrong_is_told_at_once(program: Program) -> None:
    told = fields_of(program.post(f"{SUBMIT}?key=1", {"tickt": "x", "choise": "a", "ranks": 7, "tags": [7]}))
    assert told == {
        "key": "There is no parameter 'key', nor any other.",
        "ticket": "This is needed.",
        "tickt": "There is no field 'tickt'. Did you mean 'ticket'?",
        "choise": "There is no field 'choise'. Did you mean 'choice'?",
        "ranks": "Input should be a valid dictionary",
        "tags.0": "Input should be a valid string",
    }


def test_no_more_errors_are_told_than_anybody_reads(program: Program) -> None:
    assert len(fields_of(program.post(SUBMIT, {f"x{n}": 1 for n in range(9_999)}))) == 50


def test_what_a_body_should_be_names_its_fields(program: Program) -> None:
    told = fields_of(program.post(SUBMIT, [1]))
    assert told == {
        "body": "The body must be a JSON object with ticket. It may have choice, ranks, reason, tags, acceptable,"
        " aspects, edits, active_seconds."
    }
    assert fields_of(program.post(SUBMIT.replace("submit", "extend"), [1])) == {
        "body": "The body must be a JSON object with ticket."
    }
    told = fields_of(program.patch("/projects/everyday-help", [1]))["body"]
    assert told.startswith("The body must be a JSON object. It may have name, guidelines, ")


def test_a_parameter_that_comes_twice_is_told_so_unless_it_is_a_list(
    program: Program, make_comparison: MakeComparison
) -> None:
    assert fields_of(program.get("/projects?limit=1&limit=2")) == {"limit": "This comes more than once."}
    assert program.get("/projects/everyday-help/export?annotators=mara&annotators=ann").status_code == 200


def test_the_place_of_a_wrong_value_in_a_list_is_told_by_the_lists_name(program: Program) -> None:
    told = fields_of(program.get("/projects/everyday-help/export", annotators=["ann", "a\x00n"]))
    assert told == {"annotators.1": "contains the character NUL"}


def test_how_long_a_text_may_be_is_told_in_characters(program: Program) -> None:
    told = fields_of(program.patch("/projects/everyday-help", {"name": "x" * 121, "aspects": ["y" * 41]}))
    assert told == {
        "name": "This has 121 characters, and may have 120.",
        "aspects.0": "This has 41 characters, and may have 40.",
    }
    told = fields_of(program.patch("/projects/everyday-help", {"name": "", "aspects": [""]}))
    assert told == {"name": "This is empty.", "aspects.0": "This is empty."}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", None),
        (b"{ticket", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b'{"ticket": "x", "ticket": "y"}', "the name 'ticket' comes twice"),
        (b'{"ticket": "x", "active_seconds": NaN}', "NaN is no number"),
        (b"ticket=x&choice=a", "Expecting value: line 1 column 1 (char 0)"),
        (b"[" * 100_000, "maximum recursion depth exceeded"),
        (b'{"ticket": "\xe9"}', "'utf-8' codec can't decode byte 0xe9"),
    ],
)
def test_what_is_no_json_is_told_where_and_why(program: Program, body: bytes, why: str | None) -> None:
    response = program.client.post(f"/api/v1{SUBMIT}", body, content_type="application/json", headers=program.headers)
    if why is None:
        assert error_of(response) == (422, "invalid")
    else:
        assert error_of(response) == (400, "malformed")
        assert response.json()["error"]["message"].startswith(f"The body is not JSON: {why}")


def test_what_the_server_reads_no_further_is_told_so(program: Program, settings: LazySettings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    assert error_of(program.post(SUBMIT, {"ticket": "x" * 100})) == (413, "too_large")
    assert error_of(program.post("/projects/everyday-help/queue/lease", {"ticket": "x" * 100})) == (413, "too_large")
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 2
    assert error_of(program.get("/me?a=1&b=2&c=3")) == (400, "refused")


@EVERY
def test_a_body_of_unknown_length_is_refused(program: Program, project: Project, operation: Operation) -> None:
    path = operation.path.replace("{slug:slug}", project.slug).replace("{int:pk}", "1")
    headers = {**program.headers, "Transfer-Encoding": "chunked"}
    answer = program.client.generic(operation.methods[0], f"/api/v1{path}", headers=headers)
    assert error_of(answer) == (411, "length_required")


def test_a_body_that_takes_anything_cannot_be_bound() -> None:
    class Loose(Schema):
        name: str

    def loose(request: object, body: Loose) -> None: ...

    router = Router()
    router.post("/loose")(loose)
    api = Api(urls_namespace="loose")
    api.add_router("", router)
    with pytest.raises(TypeError, match="loose"):
        api.urls  # it binds the operations


class _Nothing:
    """An empty file."""

    def readline(self, limit: int, /) -> bytes:
        return b""
