"""Telling the log: one structured line a notification.

Owns: LogNotifier. Must not decide who hears of what.
"""

import json
import logging
import re
from collections.abc import Mapping
from typing import Any

from forewarn.results import Notification

_log = logging.getLogger(__name__)
_BARE = re.compile(r"[^\s\"'=\\{}\[\]]+")


class LogNotifier:
    """Writes each notification as one INFO line of `key=value` pairs to the logger `forewarn.notify.log`.

    First what is told (`event=notification target= what= key= number= at= late=`), then the payload in its order. Values
    that are not one plain word are written as JSON, so that neither a blank nor a line break can forge a pair or a line.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def deliver(self, notification: Notification) -> None:
        """Writes the line; the log takes everything."""
        told: dict[str, Any] = {
            "event": "notification",
            "target": self.name,
            "what": notification.event,
            "key": notification.key,
            "number": notification.number,
            "at": notification.at,
            "late": notification.late,
        }
        pairs = [*told.items(), *((name, value) for name, value in notification.payload.items() if name not in told)]
        _log.info("%s", " ".join(f"{_word(name)}={_word(value)}" for name, value in pairs))


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value if _BARE.fullmatch(value) and value.isprintable() else json.dumps(value)
    if isinstance(value, Mapping):
        value = dict(value)
    return json.dumps(value, separators=(",", ":"), default=str)
