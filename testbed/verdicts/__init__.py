"""Pure functions History -> verdict: bisynchrony, agreement, validity, termination, services, fidelity. They know no
engine.

``judge`` is the whole of it; model.py says what comes out.
"""

from __future__ import annotations

from testbed.history import History
from testbed.plan import Plan
from testbed.verdicts.bisynchrony import judge_rounds
from testbed.verdicts.causes import explain
from testbed.verdicts.consensus import judge_consensus
from testbed.verdicts.fidelity import judge_fidelity
from testbed.verdicts.model import Bisynchrony, Verdicts
from testbed.verdicts.paths import Paths
from testbed.verdicts.service import judge_service
from testbed.verdicts.timeline import Timeline

__all__ = ["judge"]


def judge(plan: Plan, history: History) -> Verdicts:
    """All verdicts on one run of ``plan``. Pure, and near linear in events and hops."""
    paths, timeline = Paths(plan), Timeline(plan, history)
    rounds = judge_rounds(plan, history, paths, timeline)
    breaks = explain(plan, history, rounds.broken, paths, timeline)
    notes = []
    if rounds.excluded_splits:
        notes.append(f"{rounds.excluded_splits} of the excluded swaps ended split: an end died in their round")
    fidelity = judge_fidelity(plan, history, paths, timeline)
    return Verdicts(
        name=plan.name,
        engine=history.engine,
        seed=plan.seed,
        complete=history.complete,
        bisynchrony=Bisynchrony(rounds.judged, rounds.broken_rounds, rounds.swaps, tuple(breaks)),
        consensus=judge_consensus(plan, history, timeline),
        fidelity=fidelity,
        notes=tuple(notes),
        service=judge_service(plan, history),
    )
