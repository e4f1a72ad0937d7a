"""A recommendation as a page shows it.

Owns: Advice. Cards may be a user's own file: their texts are bounded, and only web addresses become links.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from forewarn.incident import Recommendation
from forewarn_datasource.pages.wording import Piece, code_pieces, line, plain

MOST_STEPS: Final = 12
SENTENCE: Final = 500
PARAGRAPH: Final = 1_500


@dataclass(frozen=True, slots=True)
class FixView:
    """One step, with its risk, and whether it can be taken back."""

    step: tuple[Piece, ...]
    risk: str
    risk_class: str
    reversible: bool


@dataclass(frozen=True, slots=True)
class LinkView:
    """A link; `address` is "" where it is not an address of the web, and only its text is shown."""

    text: str
    address: str


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do, and why this was chosen."""

    card: str
    title: str
    why: tuple[tuple[Piece, ...], ...]
    meaning: str
    impact: str
    checks: tuple[tuple[Piece, ...], ...]
    fixes: tuple[FixView, ...]
    links: tuple[LinkView, ...]


def advice_of(recommendation: Recommendation) -> Advice:
    """The recommendation, bounded."""
    return Advice(
        line(recommendation.card, 80),
        line(recommendation.title, 160),
        tuple(code_pieces(reason, 200) for reason in recommendation.why[:6]),
        plain(recommendation.meaning.strip(), PARAGRAPH),
        plain(recommendation.impact.strip(), PARAGRAPH),
        tuple(code_pieces(check, SENTENCE) for check in recommendation.checks[:MOST_STEPS]),
        tuple(
            FixView(
                code_pieces(fix.step, SENTENCE),
                line(fix.risk, 20),
                fix.risk if fix.risk in ("low", "medium", "high") else "medium",
                fix.reversible,
            )
            for fix in recommendation.fixes[:MOST_STEPS]
        ),
        tuple(_link(link) for link in recommendation.links[:MOST_STEPS]),
    )


def _link(link: str) -> LinkView:
    try:
        parts = urlsplit(link.strip())
    except ValueError:
        parts = urlsplit("")
    web = parts.scheme in ("http", "https") and bool(parts.netloc)
    return LinkView(line(link, 200), link.strip()[:2000] if web else "")
