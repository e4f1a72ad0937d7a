"""The Flask application: one factory, no state but short caches.

Owns: create_app. Puts the parts together; the routes are in `dialects/` and `health.py`. Adapters are chosen in `wiring.py`.
"""

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from flask import Flask, Response
from prometheus_client import CollectorRegistry

from forewarn.forecasting.predict import predict as predict_stored
from forewarn.ports import Predictor, ResultReader
from forewarn_datasource.answers import Answers
from forewarn_datasource.auth import protect
from forewarn_datasource.dialects import infinity, legacy, simpod
from forewarn_datasource.errors import answer_errors
from forewarn_datasource.health import HEALTHY, READY, blueprint, count_requests
from forewarn_datasource.pages import routes as pages
from forewarn_datasource.settings import DatasourceSettings
from forewarn_datasource.wire import reply

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MAX_REQUEST: Final = 1_000_000
"""Bytes of a request body; Grafana's are a few kB."""


class SingleSlashes:
    """Takes `//` in a path as `/`, as a base URL with a trailing slash makes it, instead of the redirect that Flask would
    answer: it would travel to the browser and break there.
    """

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        environ["PATH_INFO"] = re.sub("//+", "/", environ.get("PATH_INFO", ""))
        return self._app(environ, start_response)


def create_app(
    reader: ResultReader,
    settings: DatasourceSettings,
    *,
    clock: Callable[[], int],
    predict: Predictor = predict_stored,
) -> Flask:
    """The datasource over `reader`. `clock` gives UTC ms; `predict` makes forecasts from stored models."""
    app = Flask("forewarn_datasource", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.wsgi_app = SingleSlashes(app.wsgi_app)  # type: ignore[method-assign]  # Flask's documented way to wrap an app

    registry = CollectorRegistry()
    count_requests(app, registry)
    protect(app, settings, (HEALTHY, READY))
    answer_errors(app)

    answers = Answers(reader, settings, predict, clock)
    app.register_blueprint(blueprint(reader, clock, registry))
    app.register_blueprint(simpod.blueprint(answers))
    app.register_blueprint(legacy.blueprint(answers))
    app.register_blueprint(infinity.blueprint(answers))
    app.register_blueprint(pages.blueprint(answers))

    @app.get("/")
    def index() -> Response:
        base = settings.public_url.rstrip("/")
        return reply(
            {
                "name": "forewarn",
                "incidents": f"{base}/incidents",
                "simpod": f"{base}/grafana",
                "infinity": f"{base}/infinity",
                "health": f"{base}{HEALTHY}",
            }
        )

    return app
