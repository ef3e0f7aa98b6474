"""Pure functions History -> verdict: bisynchrony, agreement, validity, termination, services, fidelity. They know no
engine.

``judge`` is the whole of it; model.py says what comes out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from testbed.history import History
from testbed.nodes.core.lies import Lied
from testbed.nodes.registry import engine_spec
from testbed.plan import Plan
from testbed.verdicts.bisynchrony import judge_rounds
from testbed.verdicts.causes import explain
from testbed.verdicts.consensus import PROPERTIES, judge_consensus
from testbed.verdicts.fidelity import judge_fidelity
from testbed.verdicts.model import Bisynchrony, Verdicts
from testbed.verdicts.paths import Paths
from testbed.verdicts.service import judge_service
from testbed.verdicts.timeline import Timeline

__all__ = ["judge"]


def judge(plan: Plan, history: History) -> Verdicts:
    """All verdicts on one run of ``plan``. Pure, and near linear in events and hops."""
    timeline = Timeline(plan, history)
    paths = Paths(plan, timeline.tables)
    rounds = judge_rounds(plan, history, paths, timeline)
    breaks = explain(plan, history, rounds.broken, paths, timeline)
    notes = []
    if rounds.excluded_splits:
        notes.append(f"{rounds.excluded_splits} of the excluded swaps ended split: an end died in their round")
    fidelity = judge_fidelity(plan, history, paths, timeline)
    consensus = judge_consensus(plan, history, timeline)
    lies = _lies(plan, history)
    notes += [_told(name, told) for name, told in lies.items()]
    if lies and consensus is not None:
        spec = engine_spec(plan.protocol.consensus)
        lost = [name for name in spec.properties if not PROPERTIES[name](consensus)]
        notes.append(f"in spite of the lies held, of what {spec.name} promises: {_listed(spec.properties, lost)}")
    return Verdicts(
        name=plan.name,
        engine=history.engine,
        seed=plan.seed,
        complete=history.complete,
        bisynchrony=Bisynchrony(rounds.judged, rounds.broken_rounds, rounds.swaps, tuple(breaks), rounds.links),
        consensus=consensus,
        fidelity=fidelity,
        notes=tuple(notes),
        service=judge_service(plan, history),
        lies=lies,
    )


def _lies(plan: Plan, history: History) -> dict[str, dict[str, int]]:
    """Of each node that had lies to tell, in order, how many it told of each kind."""
    told = Counter((event.node, event.what.kind.value) for event in history.events.of_kind(Lied))  # type: ignore[union-attr]
    return {
        name: {kind: count for (node, kind), count in sorted(told.items()) if node == name}
        for name in (plan.fabric.hosts[number] for number in sorted(plan.liars))
    }


def _told(name: str, told: Mapping[str, int]) -> str:
    counted = ", ".join(f"{kind} {count} times" for kind, count in told.items()) or "no lie is in the record"
    return f"{name} lies ({counted}): the verdicts bind the others only"


def _listed(promised: Sequence[str], lost: Collection[str]) -> str:
    kept = [name for name in promised if name not in lost]
    return f"{', '.join(kept) or 'nothing'}; did not hold: {', '.join(lost) or 'nothing'}"
