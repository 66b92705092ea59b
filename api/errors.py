"""Whatever goes wrong is told in one shape, with a code for programs and a sentence that says what to do."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from django.core.exceptions import (
    ObjectDoesNotExist,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI, Schema
from ninja.errors import AuthenticationError, HttpError

logger = logging.getLogger(__name__)

MALFORMED = "Send one JSON object in UTF-8, with Content-Type: application/json."
ABOUT_TOKENS = "Send the header Authorization: Bearer TOKEN. Tokens are made on the page Your account, API tokens."


class FieldOut(Schema):
    """What was not taken: where, in the names that were sent (`choice`, `ranks.A`, `body`), and what is wrong."""

    where: str
    problem: str


class ErrorDetailOut(Schema):
    code: str
    message: str
    todo: str
    fields: list[FieldOut]


class ErrorOut(Schema):
    """`code` stays the same for one kind of error, `message` says what happened, `todo` what to do about it."""

    error: ErrorDetailOut


class Problem(Exception):  # noqa: N818  as RFC 9457 calls it; it is an answer, not a fault
    """An answer that is not what was asked for."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        todo: str,
        *,
        fields: Sequence[FieldOut] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})
        self.out = ErrorOut(error=ErrorDetailOut(code=code, message=message, todo=todo, fields=list(fields)))

    def response(self) -> HttpResponse:
        return JsonResponse(self.out.model_dump(), status=self.status, headers=self.headers)


def not_found() -> Problem:
    """Also for what is there but not for this person."""
    return Problem(
        404, "not_found", "There is nothing here for you.", "Check the address and your role in the project."
    )


def unauthorized(message: str = "There is no token in the request.") -> Problem:
    return Problem(401, "unauthorized", message, ABOUT_TOKENS, headers={"WWW-Authenticate": 'Bearer realm="Prefloop"'})


def invalid_fields(fields: Sequence[FieldOut]) -> Problem:
    return Problem(
        422, "invalid", "The request has values that are not taken.", "Mend the fields listed.", fields=fields
    )


def invalid(where: str, problem: str) -> Problem:
    """One value was not taken, for a reason that the request's shape does not show."""
    return invalid_fields([FieldOut(where=where, problem=problem)])


def _from_http(error: HttpError) -> Problem:
    if error.status_code == 400:
        return Problem(400, "malformed", f"The body is not JSON: {error.__cause__}.", MALFORMED)
    return Problem(error.status_code, "refused", str(error), "See the documentation of this address.")


def length_required() -> Problem:
    """A body of unknown length is cut to nothing before it comes here."""
    return Problem(411, "length_required", "The request does not say how long its body is.", "Send Content-Length.")


def unexpected() -> Problem:
    return Problem(500, "unexpected", "The server failed.", "Try again; if it stays so, tell the site's admin.")


def answer_errors(api: NinjaAPI) -> None:
    """Teach an API to tell every error in our shape."""

    def tell(problem: Problem) -> HttpResponse:
        return problem.response()

    def fail(request: HttpRequest, error: Exception) -> HttpResponse:
        logger.error("%s %s failed", request.method, request.path, exc_info=error)
        return tell(unexpected())

    too_large = Problem(413, "too_large", "The body is too large.", "Send less in one request.")
    refused = Problem(400, "refused", "The request was refused.", "Check its address and headers.")
    forbidden = Problem(403, "forbidden", "You may not do this.", "Ask an admin of the site.")
    api.add_exception_handler(Problem, lambda _, error: tell(error))  # type: ignore[arg-type]  # never the class
    api.add_exception_handler(HttpError, lambda _, error: tell(_from_http(error)))  # type: ignore[arg-type]
    api.add_exception_handler(AuthenticationError, lambda _, __: tell(unauthorized()))
    api.add_exception_handler(ObjectDoesNotExist, lambda _, __: tell(not_found()))
    api.add_exception_handler(Http404, lambda _, __: tell(not_found()))
    api.add_exception_handler(PermissionDenied, lambda _, __: tell(forbidden))
    api.add_exception_handler(RequestDataTooBig, lambda _, __: tell(too_large))
    api.add_exception_handler(SuspiciousOperation, lambda _, __: tell(refused))
    api.add_exception_handler(Exception, fail)  # type: ignore[arg-type]  # never the class
