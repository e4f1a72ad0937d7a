"""Who may ask: bearer tokens, and basic auth with a token or a user's password.

Owns: the comparison of credentials and the 401. Must not know routes, except those that a caller declares open.
"""

from collections.abc import Collection
from hmac import compare_digest

from flask import Flask, Response, request

from forewarn_datasource.settings import DatasourceSettings
from forewarn_datasource.wire import refusal


def _among(candidate: str, accepted: Collection[str]) -> bool:
    """Compares with every accepted secret, in a time that does not tell which one was near."""
    found = False
    for secret in accepted:
        found |= compare_digest(candidate.encode("utf-8", "replace"), secret.encode("utf-8", "replace"))
    return found


def admits(settings: DatasourceSettings) -> bool:
    """Whether the credentials of the current request are good; True for everybody if none are configured."""
    if not settings.protected:
        return True
    given = request.authorization
    if given is None:
        return False
    if given.type == "bearer" and given.token is not None:
        # A header comes as bytes read as Latin-1; clients write tokens in UTF-8.
        return _among(given.token.encode("latin-1", "replace").decode("utf-8", "replace"), settings.tokens)
    if given.type == "basic":
        name, password = given.username or "", given.password or ""
        pair = _among(f"{name}\0{password}", [f"{user}\0{secret}" for user, secret in settings.users])
        return _among(password, settings.tokens) or pair
    return False


def protect(app: Flask, settings: DatasourceSettings, open_paths: Collection[str]) -> None:
    """Answers 401 to every request without good credentials.

    `open_paths` are answered without credentials, but not with wrong ones: Infinity's health check sends the data
    source's token to such a path, and "Save & test" shall fail if that token is wrong.
    """

    @app.before_request
    def check() -> Response | None:
        if admits(settings) or (request.path in open_paths and "Authorization" not in request.headers):
            return None
        given = "Authorization" in request.headers
        why = "the token or password is not accepted" if given else "send a token: Authorization: Bearer <token>"
        response = refusal(f"unauthorized: {why}", 401)
        response.headers["WWW-Authenticate"] = 'Basic realm="forewarn", Bearer realm="forewarn"'
        return response
