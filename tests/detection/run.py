"""The judge of detection on generated data: `make detection`.

    python -m tests.detection.run [--cached] [--only PART ...] [--families NAME ...] [--ablate NAME] [--per-series]

Without --cached the product runs as it does live: fits, forecasts, scores. With it the forecasts of the last such run are
scored anew (where they are missing, they are made), which takes a minute or two. Prints tables and writes build/detection.txt
and build/detection.json.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from tests.detection import clean, injected, other, series, special_days
from tests.detection.product import INGREDIENTS, scorer_of
from tests.generated import KINDS

BUILD: Final = Path(__file__).resolve().parent.parent.parent / "build"
Part = Callable[[argparse.Namespace], tuple[str, dict[str, Any]]]


def spread(work: Callable[[Any], Any], items: list[Any], processes: int) -> list[Any]:
    """`work` over `items`, the first ones first, in so many processes."""
    if processes <= 1:
        return [work(item) for item in items]
    with get_context("spawn").Pool(processes) as pool:
        return pool.map(work, items, chunksize=1)


def _other(asked: argparse.Namespace, item: tuple[str, int]) -> other.Verdict:
    group = series.family(*item, seed=asked.seed)
    return other.judge_group(group, scorer_of(asked.ablate), asked.cached)


def part_other(asked: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Table A."""
    names = asked.families or list(series.FAMILIES)
    items = [(name, minutes) for minutes in series.STEPS for name in names]  # the longest first
    verdicts = spread(partial(_other, asked), items, asked.processes)
    return other.table(verdicts, asked.per_series)


def _clean(asked: argparse.Namespace, item: tuple[str, int]) -> clean.Rate:
    return clean.judge_group(clean.group(*item, seed=asked.seed), scorer_of(asked.ablate), asked.cached)


def part_clean(asked: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Table C."""
    items = [(kind, minutes) for minutes in clean.STEPS for kind in KINDS]
    return clean.table(spread(partial(_clean, asked), items, asked.processes))


def _injected(asked: argparse.Namespace, item: tuple[str, int, int]) -> list[injected.Found]:
    base, minutes, number = item
    cases = injected.groups(base, minutes, asked.seed)[number]
    return injected.judge_group(cases, scorer_of(asked.ablate), asked.cached)


def part_injected(asked: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Table B."""
    items = [(b, minutes, n) for minutes in injected.STEPS for b in injected.BASES for n in range(injected.parts(b))]
    return injected.table([one for found in spread(partial(_injected, asked), items, asked.processes) for one in found])


def _special(asked: argparse.Namespace, item: tuple[special_days.Fleet, str]) -> special_days.Days:
    return special_days.judge_group(*item, make=scorer_of(asked.ablate), cached=asked.cached, seed=asked.seed)


def part_special(asked: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Table D."""
    items = [(fleet, variant) for variant in special_days.VARIANTS for fleet in special_days.FLEETS]
    return special_days.table(spread(partial(_special, asked), items, asked.processes))


PARTS: Final[dict[str, Part]] = {
    "other": part_other,
    "injected": part_injected,
    "clean": part_clean,
    "special": part_special,
}


def main() -> None:
    """Runs the parts that are asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cached", action="store_true", help="score the forecasts of the last full run anew")
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), default=list(PARTS))
    parser.add_argument("--families", nargs="+", choices=sorted(series.FAMILIES), help="of part other")
    parser.add_argument("--ablate", choices=INGREDIENTS, help="an ingredient of the scorer that is switched off")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-series", action="store_true")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    report: dict[str, Any] = {"cached": asked.cached, "ablate": asked.ablate, "seed": asked.seed}
    texts = []
    for name in asked.only:
        began = time.monotonic()
        text, report[name] = PARTS[name](asked)
        report[name]["seconds"] = round(time.monotonic() - began, 1)
        texts.append(f"{text}({report[name]['seconds']} s)\n")
        print(texts[-1], flush=True)
    BUILD.mkdir(exist_ok=True)
    (BUILD / "detection.txt").write_text("\n".join(texts), encoding="utf-8")
    (BUILD / "detection.json").write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
