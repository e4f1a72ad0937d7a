"""Who is told what: transitions of incidents into numbered notifications, and their delivery from the outbox.

Owns the outbox: its blocks, order and at-least-once delivery. Each target has a cursor
of its own, moved by compare-and-set after it took a notification; the target drops repeats by `Notification.key`.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from forewarn.blocks import decode, encode
from forewarn.codec import notification_from, notification_json
from forewarn.correlating import Told
from forewarn.errors import NotificationFailed, StoreConflict
from forewarn.incident import Incident
from forewarn.ports import Notifier, StateStore
from forewarn.results import Notification
from forewarn.state import Span

log = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 100
"""Notifications to one target in one tick: a slow target may not hold up the next tick."""


def notifications(told: Sequence[Told], first_number: int, late_before: int) -> list[Notification]:
    """Numbered notifications in order of (time, id). Of a subject that was late only the last transition is sent, marked so.

    A transition is late if its nominal time lies before `late_before`: an earlier tick should have sent it.
    """
    ordered = sorted(told, key=lambda item: (item[0], item[2].id, item[2].revision))
    last = {incident.id: position for position, (_, _, incident) in enumerate(ordered)}
    caught_up = {incident.id for at, _, incident in ordered if at < late_before}
    sent = [item for position, item in enumerate(ordered) if item[2].id not in caught_up or last[item[2].id] == position]
    return [
        Notification(number, incident.id, incident.revision, at, event, incident.id in caught_up, payload(incident))
        for number, (at, event, incident) in enumerate(sent, start=first_number)
    ]


def payload(incident: Incident) -> dict[str, Any]:
    """What a notification says about an incident; times are UTC ms."""
    return {
        "incident": incident.id,
        "title": incident.title,
        "state": incident.state,
        "merged_into": incident.merged_into,
        "start": incident.start,
        "end": incident.end,
        "severity": round(incident.severity, 1),
        "severity_band": incident.severity_band,
        "owner": incident.owner,
        "entities": [dict([pair]) for pair in incident.entities],
        "causes": [
            {
                "entity": dict(cause.entity),
                "confidence": round(cause.confidence, 3),
                "evidence": [line.text for line in cause.evidence],
            }
            for cause in incident.causes
        ],
        "recommendations": [
            {"card": one.card, "title": one.title, "why": list(one.why), "fixes": [fix.step for fix in one.fixes]}
            for one in incident.recommendations
        ],
        "anomalies": len(incident.anomalies),
        "pattern_changes": [change.text for change in incident.pattern_changes.values()],
        "heads_ups": len(incident.heads_ups),
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
