"""An artifact over HTTP: streamed, resumable, with its checksum (RFC 9110, sections 13 and 14; RFC 9530)."""

from __future__ import annotations

import base64
from functools import partial

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import http_date
from django.utils.translation import gettext as _

from models_registry.models import Artifact
from models_registry.ranges import ByteRange, UnsatisfiableError, parse_range
from models_registry.services import archive_of, missing_file, open_stored, top_folder


def stream_artifact(request: HttpRequest, artifact: Artifact) -> HttpResponseBase:
    """Answer 200 with the whole archive, 206 with the range asked for, 304 or 416. HEAD gives the headers only."""
    if missing := missing_file(artifact):
        # Said before the first byte: a stream that ends in the middle looks like a lost connection.
        reason = _("%(file)s is missing from the storage: restore it from a backup, or make the version again.")
        reason = reason % {"file": missing} + "\n"
        return HttpResponse(reason, status=404, content_type="text/plain; charset=utf-8")
    etag = f'"{artifact.sha256}"'
    if etag in request.headers.get("If-None-Match", ""):
        return _with_headers(HttpResponseNotModified(), artifact, etag)
    try:
        part = _wanted(request, artifact, etag)
    except UnsatisfiableError:
        response = HttpResponse(status=416, headers={"Content-Range": f"bytes */{artifact.bytes}"})
        return _with_headers(response, artifact, etag)
    body = _body(request, artifact, part or ByteRange(0, artifact.bytes))
    if part:
        body.status_code = 206
        body["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{artifact.bytes}"
    body["Content-Disposition"] = f'attachment; filename="{top_folder(artifact.storage_key)}.tar"'
    return _with_headers(body, artifact, etag)


def _wanted(request: HttpRequest, artifact: Artifact, etag: str) -> ByteRange | None:
    """The range to send; None for all of it. A resume of something that has changed since gets all of it."""
    condition = request.headers.get("If-Range", "").strip()
    if condition and condition not in (etag, _last_modified(artifact)):
        return None
    return parse_range(request.headers.get("Range", ""), artifact.bytes)


def _body(request: HttpRequest, artifact: Artifact, part: ByteRange) -> HttpResponseBase:
    response: HttpResponseBase
    if request.method == "HEAD":
        response = HttpResponse(content_type="application/x-tar")
    else:
        pieces = archive_of(artifact).read(partial(open_stored, artifact), start=part.start, stop=part.stop)
        response = StreamingHttpResponse(pieces, content_type="application/x-tar")
    response["Content-Length"] = str(part.stop - part.start)
    return response


def _with_headers(response: HttpResponseBase, artifact: Artifact, etag: str) -> HttpResponseBase:
    digest = base64.b64encode(bytes.fromhex(artifact.sha256)).decode()
    response["ETag"] = etag
    response["Last-Modified"] = _last_modified(artifact)
    response["Accept-Ranges"] = "bytes"
    response["Repr-Digest"] = f"sha-256=:{digest}:"
    response["Cache-Control"] = "private, no-transform"
    return response


def _last_modified(artifact: Artifact) -> str:
    return http_date(artifact.version.created_at.timestamp())
