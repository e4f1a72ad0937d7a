"""The simulated shop's faults get the card that resolves them. Somebody wrote its lines who had not seen the cards."""

import re

import pytest
from tests.generated import START

from forewarn.detector import MINUTE
from forewarn.incident import Cause, Incident, PatternChange
from forewarn.knowledge.loading import load_cards
from forewarn.knowledge.matching import THRESHOLD, CardAdvisor
from forewarn.pattern import level_of
from forewarn.series import SeriesKey, stable_id
from forewarn.simulation.fault_lines import CARRIED, FAULT_LINES, UNREACHABLE, Telling
from forewarn.simulation.faults import KINDS, TECHNOLOGY
from forewarn.simulation.ordinary_lines import DEPLOYED, ORDINARY, RELEASED
from forewarn.simulation.vocabulary import Wording

ADVISOR = CardAdvisor(load_cards())
FAULTS = [(kind.name, root, card) for kind in KINDS.values() for root, card in kind.roots]
LAST_PHASES = ("onset", "during")


def filled(wording: Wording) -> str:
    return re.sub(r"\{\w+\}", "17", wording.text)


def new(wording: Wording, service: str) -> PatternChange:
    key = SeriesKey("shop-logs", (("service.name", service), ("pattern", stable_id(wording.text))))
    text = re.sub(r"\{\w+\}", "<*>", wording.text)
    return PatternChange(
        stable_id(str(key)), key, key.entity[-1][1], level_of(wording.level), text, filled(wording), START, START + MINUTE, 3.0
    )


def incident(root: str, *changes: PatternChange) -> Incident:
    causes = (Cause((("service.name", root),), 0.8, ()),)
    members = {change.id: change for change in changes}
    return Incident("i", "open", 1, START, START, START, START, 50.0, "t", "", (), causes, pattern_changes=members)


def told(kind: str, root: str, card: str) -> tuple[Telling, ...]:
    return FAULT_LINES[(kind, card if kind == "silent_service" else TECHNOLOGY[root])]


@pytest.mark.parametrize(("kind", "root", "card"), FAULTS, ids=str)
def test_the_lines_of_a_fault_at_its_root_and_at_its_callers_find_the_card_that_resolves_it(
    kind: str, root: str, card: str
) -> None:
    own = [new(one.wording, root) for one in told(kind, root, card) if one.phase in LAST_PHASES]
    others = [new(one.wording, service) for service, one in CARRIED.get(kind, ()) if service != root]
    callers = UNREACHABLE.items() if kind == "silent_service" else ()
    refused = [new(wording, f"caller-{technology}") for technology, wording in callers]
    assert ADVISOR.recommend(incident(root, *own, *others, *refused))[0].card == card


def test_most_single_lines_of_faults_find_their_card_and_few_find_another() -> None:
    right = wrong = 0
    lines = {(one.wording.text, card): one for kind, root, card in FAULTS for one in told(kind, root, card)}
    for (_, card), one in lines.items():
        first, score = ADVISOR.rank(filled(one.wording))[0]
        right += score >= THRESHOLD and first == card
        wrong += score >= THRESHOLD and first != card
    print(f"{len(lines)} lines of faults: {right} find their card, {wrong} another")
    assert right / len(lines) >= 0.70
    assert wrong / len(lines) <= 0.06


def test_what_the_shop_writes_on_a_good_day_finds_hardly_any_card() -> None:
    ordinary = [(habit.wording, name) for name, habits in ORDINARY.items() for habit in habits]
    ordinary += [(wording, name) for name, wordings in DEPLOYED.items() for wording in wordings]
    ordinary += [(wording, name) for name, wording in RELEASED.items()]
    calm = [(wording, name) for wording, name in ordinary if level_of(wording.level) not in ("warn", "error", "critical")]
    answered = [filled(wording) for wording, name in calm if ADVISOR.recommend(incident(name, new(wording, name)))]
    print(f"{len(answered)} of {len(calm)} calm lines are answered: {answered}")
    assert len(answered) / len(calm) <= 0.02
