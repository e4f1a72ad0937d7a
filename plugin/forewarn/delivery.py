"""Who is told what: transitions into numbered notifications, and their delivery from the outbox.

Owns the outbox: its blocks, which transitions are worth telling, order and at-least-once delivery. Each target has a cursor
of its own, moved by compare-and-set after it took a notification; the target drops repeats by `Notification.key`.
"""

import logging
from collections.abc import Callable, Sequence
from math import isnan
from typing import Any, Final

from forewarn.anomaly import Anomaly, severity_band
from forewarn.blocks import decode, encode
from forewarn.codec import notification_from, notification_json
from forewarn.errors import NotificationFailed, StoreConflict
from forewarn.ports import Notifier, StateStore
from forewarn.results import Notification
from forewarn.state import Span

log = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 100
"""Notifications to one target in one tick: a slow target may not hold up the next tick."""


def transitions(opened: Sequence[Anomaly], changes: Sequence[tuple[int, Anomaly]]) -> list[tuple[int, str, Anomaly]]:
    """The changes that somebody is told about, as (nominal time, event, anomaly): opened, another band, resolved.

    `opened` are the episodes that were open before the changes.
    """
    told: list[tuple[int, str, Anomaly]] = []
    band = {anomaly.id: anomaly.severity_band for anomaly in opened}
    for at, anomaly in changes:
        before = band.get(anomaly.id)
        band[anomaly.id] = anomaly.severity_band
        if anomaly.revision == 1:
            told.append((at, "opened", anomaly))
        if anomaly.state != "open":
            told.append((at, "resolved", anomaly))
        elif anomaly.revision > 1 and before is not None and before != anomaly.severity_band:
            told.append((at, "updated", anomaly))
    return told


def notifications(
    told: Sequence[tuple[int, str, Anomaly]], first_number: int, late_before: Callable[[Anomaly], int]
) -> list[Notification]:
    """Numbered notifications in order of (time, id). Of a subject that was late only the last transition is sent, marked so.

    A transition is late if its nominal time lies before `late_before(anomaly)`: an earlier tick should have sent it.
    """
    ordered = sorted(told, key=lambda item: (item[0], item[2].id, item[2].revision))
    last = {anomaly.id: position for position, (_, _, anomaly) in enumerate(ordered)}
    caught_up = {anomaly.id for at, _, anomaly in ordered if at < late_before(anomaly)}
    sent = [item for position, item in enumerate(ordered) if item[2].id not in caught_up or last[item[2].id] == position]
    return [
        Notification(number, anomaly.id, anomaly.revision, at, event, anomaly.id in caught_up, payload(anomaly))
        for number, (at, event, anomaly) in enumerate(sent, start=first_number)
    ]


def payload(anomaly: Anomaly) -> dict[str, Any]:
    """What a notification says about an anomaly; times are UTC ms."""
    return {
        "anomaly": anomaly.id,
        "series": str(anomaly.key),
        "series_id": anomaly.key.id,
        "detector": anomaly.key.detector,
        "entity": dict(anomaly.key.entity),
        "state": anomaly.state,
        "start": anomaly.start,
        "end": anomaly.end,
        "score": anomaly.score,
        "severity": anomaly.severity,
        "severity_band": severity_band(anomaly.severity),
        "direction": anomaly.direction,
        "actual": None if isnan(anomaly.actual) else anomaly.actual,
        "expected": None if isnan(anomaly.expected) else anomaly.expected,
    }


def outbox_block(entries: Sequence[Notification]) -> bytes:
    """Notifications as a block."""
    return encode({"outbox": [notification_json(entry) for entry in entries]}, {})


def load_outbox(store: StateStore, spans: Sequence[Span]) -> tuple[Notification, ...]:
    """The notifications of the named blocks, in order."""
    contents = (decode(store.get_block(name))[0] for span in spans for name in span.names)
    return tuple(notification_from(entry) for content in contents for entry in content["outbox"])


def deliver(
    store: StateStore, notifiers: Sequence[Notifier], outbox: Sequence[Notification], passed: Callable[[str], None]
) -> None:
    """Hands each target what it has not taken yet, in order; a target that fails is tried again on the next tick."""
    for notifier in notifiers:
        cursor = store.cursor(notifier.name)
        for entry in [entry for entry in outbox if entry.number > cursor][:MOST_AT_ONCE]:
            try:
                notifier.deliver(entry)
                passed("delivered")
                store.advance(notifier.name, cursor, entry.number)
            except NotificationFailed as error:
                log.warning("event=delivery_failed target=%s number=%s why=%s", notifier.name, entry.number, error.why)
                break
            except StoreConflict:
                log.info("event=delivery_yielded target=%s number=%s", notifier.name, entry.number)
                break
            cursor = entry.number


def still_needed(store: StateStore, notifiers: Sequence[Notifier], spans: Sequence[Span]) -> tuple[Span, ...]:
    """The outbox blocks that hold something that some target has not taken."""
    taken = min((store.cursor(notifier.name) for notifier in notifiers), default=None)
    return () if taken is None else tuple(span for span in spans if span.end - 1 > taken)
