"""What happens to every request before and after the views."""

from codecs import lookup
from collections.abc import Callable

from csp.constants import NONCE, SELF, UNSAFE_EVAL
from django.core.exceptions import BadRequest
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.shortcuts import render

from config.embedded.places import ServiceError

View = Callable[[HttpRequest], HttpResponseBase]


def health(get_response: View) -> View:
    """Answer /health with 200 or 503, under any host name and without a redirect: a load balancer asks."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path != "/health":
            return get_response(request)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except (DatabaseError, ServiceError):
            return HttpResponse("the database does not answer\n", status=503, content_type="text/plain")
        return HttpResponse("ok\n", content_type="text/plain")

    return middleware


def texts_alone(get_response: View) -> View:
    """Refuse what is no text here: another charset than UTF-8, and NUL in the question of a page's address.

    The API names the parameter that has a NUL.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if lookup(request.encoding or "utf-8").name not in ("utf-8", "ascii"):
            raise BadRequest("The charset is not UTF-8.")
        if "%00" in request.GET.urlencode() and not request.path.startswith("/api/"):
            raise BadRequest("The address has a NUL.")
        return get_response(request)

    return middleware


def readable_refusals(get_response: View) -> View:
    """An address that takes forms alone, opened as a page (by loading it again, say), answers in words."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        is_bare = isinstance(response, HttpResponseNotAllowed) and not response.content
        if not is_bare or request.method != "GET" or not request.accepts("text/html"):
            return response
        page = render(request, "405.html", status=405)
        page.headers["Allow"] = response.headers["Allow"]
        return page

    return middleware


def admin_content_security_policy(get_response: View) -> View:
    """The admin's own pages: its theme evaluates expressions in its attributes, and its few styles carry a nonce."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        match = request.resolver_match
        if match and "admin" in match.app_names:
            response._csp_replace = {  # type: ignore[attr-defined]  # the name django-csp reads
                "script-src": [SELF, UNSAFE_EVAL],
                "style-src": [SELF, NONCE],
            }
        return response

    return middleware


def permissions_policy(get_response: View) -> View:
    """No page here, nor anything shown in one, asks for a camera, a place or a payment."""
    policy = ", ".join(f"{feature}=()" for feature in ("camera", "geolocation", "microphone", "payment", "usb"))

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        response.headers.setdefault("Permissions-Policy", policy)
        return response

    return middleware
