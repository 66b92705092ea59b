"""What the API answers where its own code is not asked: unknown addresses and methods, in the API's shape too."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import override

from api.errors import Problem, not_found, unexpected

ROOT = "/api/"
BEGINNING = "/api/v1/"
View = Callable[[HttpRequest], HttpResponseBase]


def answer_in_json(get_response: View) -> View:
    """Put errors under /api/ into JSON, keep answers out of caches, and tell what is left of the rate limit.

    Programs are answered in English, whatever they say they accept: they compare words.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if not request.path.startswith(ROOT):
            return get_response(request)
        with override("en"):
            response = get_response(request)
        if response.status_code >= 400 and not response.get("Content-Type", "").startswith("application/json"):
            response = _problem(request, response).response()
        response.setdefault("Cache-Control", "no-store")
        for name, value in getattr(request, "rate_headers", {}).items():
            response[name] = value
        return response

    return middleware


def _problem(request: HttpRequest, response: HttpResponseBase) -> Problem:
    if response.status_code == 404 and request.path == BEGINNING:
        return Problem(404, "not_found", "The API begins here.", f"{BEGINNING}openapi.json describes its addresses.")
    if response.status_code == 404:
        return not_found()
    if response.status_code == 405:
        allowed = ", ".join(sorted(word.strip() for word in response["Allow"].split(",")))
        message = f"{request.method} is not answered here."
        return Problem(405, "method_not_allowed", message, f"Use {allowed}.", headers={"Allow": allowed})
    if response.status_code < 500:
        return Problem(response.status_code, "refused", "The request was refused.", "Check its address and headers.")
    return unexpected()
