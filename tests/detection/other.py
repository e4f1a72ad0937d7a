"""Generated labelled series, product against baseline: table A.

Owns: `judge_group`, `table`. The baseline's one threshold is the best for the first halves of all series together; the product
has the one that it ships with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.detection.baseline import seasdiff
from tests.detection.group import Group
from tests.detection.judge import Judged, Tally, best_threshold, total
from tests.detection.product import ScorerOf, run
from tests.detection.tables import aligned, number

from forewarn.series import Float


@dataclass(frozen=True, eq=False)
class Verdict:
    """One group: its series with the product's scores, and with the baseline's."""

    family: str
    minutes: int
    product: tuple[Judged, ...]
    baseline: tuple[Judged, ...]


def judge_group(group: Group, make: ScorerOf, cached: bool) -> Verdict:
    """Runs the product and the baseline over a group."""
    score = run(group, make, cached).score
    plain = seasdiff(group.values, group.grid.step)
    return Verdict(group.family, group.grid.step // 60_000, _judged(group, score), _judged(group, plain))


def _judged(group: Group, score: Float) -> tuple[Judged, ...]:
    names = [f"{group.family}-{group.grid.step // 60_000}m-{row}" for row in range(len(group.values))]
    whole = [
        Judged.of(name, group.values[row], score[row], group.label[row], group.grid.step) for row, name in enumerate(names)
    ]
    return tuple(one.part(group.judged_from, one.label.size) for one in whole)


def first_halves(many: Sequence[Judged]) -> list[Judged]:
    """The first half of each series, from which a threshold may be chosen."""
    return [one.part(0, one.label.size // 2) for one in many]


def table(verdicts: Sequence[Verdict], per_series: bool = False) -> tuple[str, dict[str, Any]]:
    """The table, and the same for JSON."""
    plain = [one for verdict in verdicts for one in verdict.baseline]
    ours = [one for verdict in verdicts for one in verdict.product]
    threshold = best_threshold(first_halves(plain))
    rows: list[list[str]] = []
    found: dict[str, Any] = {"baseline_threshold": threshold, "groups": {}}

    def line(name: str, step: str, product: Sequence[Judged], baseline: Sequence[Judged]) -> dict[str, Any]:
        a, b = total(product), total(baseline, threshold)
        rows.append([name, step, str(a.segments), *_columns(a), *_columns(b)])
        return {"product": a.figures(), "baseline": b.figures()}

    for verdict in sorted(verdicts, key=lambda one: (one.family, one.minutes)):
        at = line(verdict.family, f"{verdict.minutes}m", verdict.product, verdict.baseline)
        found["groups"][f"{verdict.family}-{verdict.minutes}m"] = at
        if per_series:
            for one, other in zip(verdict.product, verdict.baseline, strict=True):
                line(f"  {one.name}", "", [one], [other])
    for minutes in sorted({verdict.minutes for verdict in verdicts}):
        some = [verdict for verdict in verdicts if verdict.minutes == minutes]
        product = [one for verdict in some for one in verdict.product]
        found[f"{minutes}m"] = line("all", f"{minutes}m", product, [one for verdict in some for one in verdict.baseline])
    found["all"] = line("all", "", ours, plain)
    means = [_mean([total(v.product) for v in verdicts]), _mean([total(v.baseline, threshold) for v in verdicts])]
    rows.append(["mean of groups", "", "", *means[0], *means[1]])
    found["all"]["product_oracle"] = oracle = {"threshold": (best := best_threshold(ours)), **total(ours, best).figures()}
    better = sum(total(v.product).f1 >= total(v.baseline, threshold).f1 for v in verdicts)
    found["groups_at_least_baseline"] = [better, len(verdicts)]
    head = ["family", "step", "segs", "segR", "k7 F1", "evt R", "false/d", "| segR", "k7 F1", "evt R", "false/d"]
    text = "A. Generated labelled series: product at score >= 1 | seasdiff + sticky at "
    text += f"{threshold:.2f} (best for all first halves)\n{aligned(head, rows)}\n"
    text += f"product's oracle: k7 F1 {oracle['k7_f1']:.3f} at {best:.2f}; at least the baseline's k7 F1 in "
    text += f"{better} of {len(verdicts)} groups\n"
    return text, found


def _columns(at: Tally) -> list[str]:
    return [number(at.segment_recall), number(at.f1, 3), number(at.event_recall), number(at.false_a_day)]


def _mean(tallies: Sequence[Tally]) -> list[str]:
    n = len(tallies)
    names = ("segment_recall", "f1", "event_recall", "false_a_day")
    return [number(sum(getattr(one, name) for one in tallies) / n, 3 if name == "f1" else 2) for name in names]
