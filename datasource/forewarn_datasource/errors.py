"""Every error as JSON with a `message`, which is what Grafana shows.

Owns: the mapping from errors to statuses. Internals go to the log, never to the client.
"""

import logging
from typing import Final

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from forewarn.errors import RequestError, StoreUnavailable
from forewarn_datasource.answers import NoStateKnown
from forewarn_datasource.catalogue import UnknownName
from forewarn_datasource.wire import refusal

log = logging.getLogger(__name__)
RETRY_AFTER: Final = "5"
HINT: Final = (
    "the data source answers /grafana (simPod JSON, SimpleJSON), /infinity/series, scores, anomalies, annotations, "
    "alert-state, incidents, incident-annotations, incident-state and variables (Infinity), /incidents (pages), and "
    "/-/healthy, /-/ready and /-/metrics"
)


def answer_errors(app: Flask) -> None:
    """Registers the handlers; after this no error leaves the app as HTML."""

    @app.errorhandler(RequestError)
    def refused(error: RequestError) -> Response:
        return refusal(str(error), 404 if isinstance(error, UnknownName) else 400, field=error.field)

    @app.errorhandler(StoreUnavailable)
    def away(error: StoreUnavailable) -> Response:
        log.warning("unavailable path=%s error=%s", request.path, error)
        response = refusal(str(error) if isinstance(error, NoStateKnown) else f"the store is not available: {error}", 503)
        response.headers["Retry-After"] = RETRY_AFTER
        return response

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        status = error.code or 500
        message = error.description or error.name
        if isinstance(error, NotFound):
            log.info("unknown path method=%s path=%s", request.method, request.path)
            message = f"nothing is found at {request.path[:200]}: {HINT}"
        elif isinstance(error, MethodNotAllowed):
            allowed = ", ".join(sorted(set(error.valid_methods or ()) - {"HEAD", "OPTIONS"}))
            message = f"{request.path} is asked by {allowed}, not by {request.method}"
        elif isinstance(error, RequestEntityTooLarge):
            message = f"the request is larger than {app.config['MAX_CONTENT_LENGTH']:,} bytes"
        response = refusal(message, status)
        for name, value in error.get_headers():
            if name.lower() in ("allow", "retry-after"):
                response.headers[name] = value
        return response

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        log.exception("request failed method=%s path=%s", request.method, request.path, exc_info=error)
        return refusal("the data source failed on this request; its log says why", 500)
