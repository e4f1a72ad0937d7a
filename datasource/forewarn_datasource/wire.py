"""JSON in and out: the one place that reads a request body and writes an answer.

Owns: body, reply, refusal. NaN never reaches the wire: it is written as null. Must know no dialect.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Response, request

from forewarn.errors import RequestError

_encoder = msgspec.json.Encoder()


def body() -> Mapping[str, Any]:
    """The JSON object that was posted; an absent body is an empty object. RequestError for anything else."""
    content = request.get_data(cache=False)
    if not content.strip():
        return {}
    try:
        decoded = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError("body", f"not JSON: {error}") from error
    if not isinstance(decoded, dict):
        raise RequestError("body", f"expected a JSON object, got {type(decoded).__name__}")
    return decoded


def reply(content: Any, status: int = 200) -> Response:
    """An answer of this content; floats that are NaN or infinite become null."""
    return Response(_encoder.encode(content), status=status, mimetype="application/json")


def refusal(message: str, status: int, **more: Any) -> Response:
    """The shape of every error: `message` is what Grafana shows on the panel."""
    readable = message.encode("utf-8", "replace").decode()
    return reply({"message": readable, **more}, status)
