"""Text tables. Owns: `aligned`, `number`. Must not know what the figures mean."""

from collections.abc import Sequence

import numpy as np


def number(value: float, digits: int = 2) -> str:
    """A figure, or a dash for what there is none of."""
    return "-" if np.isnan(value) else f"{value:.{digits}f}"


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    widths = [max(len(line[column]) for line in (head, *rows)) for column in range(len(head))]
    lines = []
    for line in (head, *rows):
        cells = [
            text.ljust(width) if not column else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
