"""Nothing is passed over: what an operation does not know, in the query or in the body, is refused and named.

`strictly` is asked of the API as a whole, which binds every operation by it, so that none can be without.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any, ClassVar, Self

from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.errors import ValidationErrorContext
from ninja.operation import Operation
from ninja.params.models import ParamModel
from ninja.parser import Parser
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from api.errors import FieldOut, Problem, invalid_fields, length_required
from api.fields import HALF

MOST_NAMES = 30  # listed in one sentence
MOST_ERRORS = 50  # told in one answer
LONGEST_NAME = 100  # of what is told
NOTHING = (b"", b"{}")
# A text whose characters are checked has a length like a list's to pydantic.
TOO_LONG = ("string_too_long", "too_long")
TOO_SHORT = ("string_too_short", "too_short")


class Body(BaseModel):
    """A JSON object that a request brings. Every operation's is one. No text in it is a number, no number a truth."""

    model_config = ConfigDict(extra="forbid", strict=True)


class StrictParser(Parser):
    """JSON without what most readers pass over in silence: a name that comes twice, numbers that are none."""

    def parse_body(self, request: HttpRequest) -> Any:
        return json.loads(request.body, object_pairs_hook=_object, parse_constant=_no_number)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {name!r} comes twice")
        found[name] = value
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


class _NothingElse(ParamModel):
    """A source of errors, not of values: refuses what the other models of its operation leave over."""

    __ninja_param_source__ = "query"  # type: ignore[assignment]  # as ninja sets it
    __ninja_flatten_map_reverse__: ClassVar[dict[tuple[str, ...], tuple[str, ...]]] = {}

    known: ClassVar[Sequence[str]]
    lists: ClassVar[Sequence[str]]
    has_body: ClassVar[bool]

    @classmethod
    def get_request_data(cls, request: HttpRequest, api: NinjaAPI, path_params: dict[str, Any]) -> None:
        """It has no values."""

    @classmethod
    def resolve(cls, request: HttpRequest, api: NinjaAPI, path_params: dict[str, Any]) -> Self:
        if "Transfer-Encoding" in request.headers and "Content-Length" not in request.headers:
            raise length_required()
        wrong = [_error(name, unknown(name, cls.known, "parameter")) for name in request.GET if name not in cls.known]
        wrong += [
            _error(name, "This comes more than once.")
            for name, values in request.GET.lists()
            if name in cls.known and name not in cls.lists and len(values) > 1
        ]
        if not cls.has_body and request.body.strip() not in NOTHING:
            wrong.append(_error("body", "No body is taken here."))
        if wrong:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return cls()


def strictly(run: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates the run of an operation as the API binds it. Raises TypeError for a body that takes anything."""
    operation: Operation = run.__self__  # type: ignore[attr-defined]  # a bound method
    queries = [model for model in operation.models if model.__ninja_param_source__ == "query"]
    bodies = [model for model in operation.models if model.__ninja_param_source__ == "body"]
    for kind in (field.annotation for model in bodies for field in model.model_fields.values()):
        if not (isinstance(kind, type) and issubclass(kind, Body)):
            raise TypeError(f"{operation.view_func.__name__} takes {kind}, which is no api.strict.Body")
    names = {
        "known": [name for model in queries for name in model.__ninja_flatten_map__],
        "lists": [name for model in queries for name in model.__ninja_collection_fields__],
        "has_body": bool(bodies) or "requestBody" in (operation.openapi_extra or {}),
    }
    operation.models = [*operation.models, type("NothingElse", (_NothingElse,), names)]
    return run


def unknown(name: str, known: Iterable[str], kind: str) -> str:
    """What is wrong with a name that is none of those known, and which was meant or which there are."""
    names = list(known)
    small = {one.lower(): one for one in names}
    wrong = f"There is no {kind} {name[:LONGEST_NAME]!r}"
    if close := get_close_matches(name.lower(), small, n=1):
        return f"{wrong}. Did you mean {small[close[0]]!r}?"
    if not names:
        return f"{wrong}, nor any other."
    more = ", …" if len(names) > MOST_NAMES else ""
    return f"{wrong}. There are: {', '.join(names[:MOST_NAMES])}{more}."


def problem_of(contexts: Sequence[ValidationErrorContext[Any]]) -> Problem:
    """What the models of an operation refused, by the names that the client knows."""
    errors = (
        (context.model, error)
        for context in contexts
        for error in context.pydantic_validation_error.errors(include_url=False)
    )
    told = [(_place(model, error["loc"]), _told(model, error)) for model, error in islice(errors, MOST_ERRORS)]
    return invalid_fields([FieldOut(where=where, problem=problem) for where, problem in told])


def _place(model: Any, path: tuple[str | int, ...]) -> str:
    """`("which", "annotators", 0)` as `annotators.0`, `("body", "choice")` as `choice`: not by our arguments' names."""
    named: dict[Any, tuple[str, ...]] = model.__ninja_flatten_map_reverse__
    known = next((n for n in range(len(path), 0, -1) if path[:n] in named), 0)
    if known:
        path = (*named[path[:known]], *path[known:])
    elif model.__ninja_param_source__ == "body":
        path = path[1:] or ("body",)
    return ".".join(str(name) for name in path)


def _told(model: Any, error: Any) -> str:
    if model.__ninja_param_source__ == "body":
        [body] = (field.annotation for field in model.model_fields.values())
        if len(error["loc"]) == 1:
            return _wanted(body)
        if error["type"] == "extra_forbidden" and len(error["loc"]) == 2:
            return unknown(str(error["loc"][-1]), body.model_fields, "field")
    if error["type"] == "missing":
        return "This is needed."
    if error["type"] == "string_unicode":
        return HALF
    if error["type"] in TOO_LONG and isinstance(error["input"], str):
        return f"This has {len(error['input'])} characters, and may have {error['ctx']['max_length']}."
    if error["type"] in TOO_SHORT and error["input"] == "":
        return "This is empty."
    return str(error["msg"]).removeprefix("Value error, ")


def _wanted(body: type[Body]) -> str:
    needed = [name for name, field in body.model_fields.items() if field.is_required()]
    free = [name for name in body.model_fields if name not in needed]
    having = f" with {', '.join(needed)}" if needed else ""
    more = f" It may have {', '.join(free)}." if free else ""
    return f"The body must be a JSON object{having}.{more}"


def _error(name: str, problem: str) -> InitErrorDetails:
    return InitErrorDetails(
        type=PydanticCustomError("not_taken", "{problem}", {"problem": problem}), loc=(name,), input=None
    )
