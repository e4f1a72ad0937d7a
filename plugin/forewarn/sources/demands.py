"""What a function asks of its detector, alike for every source: which need a field, a number, a share.

Owns: `faults`, `refuse_faults`, `needs_number`. Knows nothing of where the documents are.
"""

from typing import Final

from forewarn.detector import FUNCTIONS, GOOD_WHEN_FEW, Detector
from forewarn.errors import SourceRejected
from forewarn.ports import Problem

MAX_SPLIT_FIELDS: Final = 3
NO_FIELD: Final = frozenset({"count", "rate", "ratio"})
"""These are about documents; the others are computed of a field's values."""


def needs_number(detector: Detector) -> bool:
    """Whether the detector's field must hold numbers: all functions with a field but cardinality."""
    return detector.field is not None and detector.function != "cardinality"


def faults(detector: Detector) -> list[Problem]:
    """What is wrong with the detector itself, whatever its source holds; empty if nothing."""
    function, found = detector.function, []
    if function not in FUNCTIONS and detector.percentile is None:
        return [Problem("function", f"{function!r} is not a function; there are {', '.join(FUNCTIONS)} and pNN")]
    if detector.field is None and function not in NO_FIELD:
        found.append(Problem("field", f"{function} needs the field whose values it is computed from"))
    if detector.field is not None and function in NO_FIELD:
        found.append(Problem("field", f"{function} is about documents and takes no field"))
    if (detector.of is None) == (function == "ratio"):
        found.append(Problem("of", "ratio, and no other function, needs the query whose share of the documents it is"))
    if detector.min_count > 1 and function in GOOD_WHEN_FEW:
        found.append(Problem("min_count", f"{function} is as good over few documents as over many"))
    if len(detector.split_by) > MAX_SPLIT_FIELDS or len(set(detector.split_by)) < len(detector.split_by):
        found.append(Problem("split_by", f"expected up to {MAX_SPLIT_FIELDS} different fields, got {list(detector.split_by)}"))
    return found


def refuse_faults(detector: Detector) -> None:
    """Raises SourceRejected for the first fault of the detector itself."""
    for problem in faults(detector):
        raise SourceRejected(detector.selection.name, f"{problem.setting}: {problem.why}")
