"""The pages /incidents and /incidents/<id>: HTML made here, without scripts, readable without Grafana.

Owns: the routes, their headers and their errors. Every text is escaped by the templates; the policy lets a browser load
nothing and run nothing, so that a text that slipped through could still do nothing.
"""

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

from flask import Blueprint, Response, render_template, request

from forewarn.errors import RequestError, StoreError
from forewarn_datasource.answers import Answers
from forewarn_datasource.dialects.infinity import given_parameters
from forewarn_datasource.pages.incident_list import PARAMETERS, list_of
from forewarn_datasource.pages.incident_page import page_of
from forewarn_datasource.pages.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH

STYLE: Final = files("forewarn_datasource.pages").joinpath("templates", "style.css").read_text(encoding="utf-8")
_STYLE_HASH: Final = b64encode(sha256(STYLE.encode()).digest()).decode()
HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
LONGEST_ID: Final = 128
REFRESH: Final = 60
"""After how many seconds a page of something that goes on is loaded again."""


def blueprint(answers: Answers) -> Blueprint:
    """The pages."""
    bp = Blueprint("pages", __name__, url_prefix="/incidents", template_folder="templates")

    @bp.get("")
    @bp.get("/")
    def incidents() -> Response:
        return _page("incidents.html", page=list_of(answers, given_parameters(PARAMETERS)), refresh=REFRESH)

    @bp.get("/<incident_id>")
    def incident(incident_id: str) -> Response:
        found = answers.reader.incident(incident_id) if len(incident_id) <= LONGEST_ID else None
        if found is None:
            return _trouble("This incident is not known", "It may have been dropped with old results.", 404)
        page = page_of(answers, found)
        frame = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM}
        return _page("incident.html", page=page, frame=frame, refresh=REFRESH if page.state == "open" else 0)

    @bp.errorhandler(RequestError)
    def refused(error: RequestError) -> Response:
        return _trouble("This cannot be shown", str(error), 400)

    @bp.errorhandler(StoreError)
    def away(error: StoreError) -> Response:
        response = _trouble("The store is not available", str(error), 503)
        response.headers["Retry-After"] = "5"
        return response

    return bp


def _trouble(what: str, why: str, status: int) -> Response:
    return _page("trouble.html", status, what=what, why=why[:1000], refresh=0)


def _page(template: str, status: int = 200, **content: Any) -> Response:
    # Relative addresses hold behind any prefix that a reverse proxy adds, and whether or not the address ends in a slash.
    top = "../" * (request.path.count("/") - 1)
    text = render_template(template, top=top, style=STYLE, **content)
    response = Response(text, status=status, mimetype="text/html")
    response.headers.update(HEADERS)
    return response
