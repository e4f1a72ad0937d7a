"""The datasource for a WSGI server of one's own: `gunicorn 'forewarn_datasource.wsgi:app()'`, or
`waitress-serve --call forewarn_datasource.wsgi:app`.

Owns: app. Its importing loads no library for fitting or scheduling. Such a server decides by itself where it listens: the
`listen` of the configuration says only whether tokens may be left out.
"""

import os
from typing import Final

from flask import Flask

from forewarn.config import load
from forewarn_datasource.wiring import build_app

VARIABLE: Final = "FOREWARN_CONFIG"
DEFAULT: Final = "forewarn.yml"


def app() -> Flask:
    """The application of the file that FOREWARN_CONFIG names, else of `forewarn.yml` here. Raises ConfigError."""
    return build_app(load(os.environ.get(VARIABLE, DEFAULT), os.environ))
