"""Agreement, validity and termination, per consensus instance.

Agreement is uniform: a node that died later is held to what it decided. Termination asks only those that lived through
the instance. Instance i of a swap engine occupies the rounds [i * instance_rounds, (i + 1) * instance_rounds); a
message engine's instance i begins at i * period_ns and has settle_ns, beside those that follow; where it is an entry of
a service's log, it begins with the first proposal, asks only those that proposed in it, and who has applied the entry
knows the decision. Where the run ends decides nothing but whether this can be said: an instance whose time the end cuts
off is neither decided nor undecided.

An engine that keeps a log is judged by testbed.verdicts.delivery.

What a node that lies decides binds nobody, and nobody waits for it; but what it proposed counts as proposed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from enum import Enum
from typing import NamedTuple

from testbed.history import Event, History
from testbed.nodes.core import Apply, Decide, Propose
from testbed.nodes.registry import engine_spec
from testbed.plan import Plan
from testbed.verdicts.delivery import judge_log
from testbed.verdicts.facts import timer_tolerance_ns
from testbed.verdicts.model import Consensus, Disagreement
from testbed.verdicts.timeline import Timeline
from testbed.verdicts.values import value_text

PROPERTIES: dict[str, Callable[[Consensus], bool]] = {
    "agreement": lambda found: not found.disagreements,
    "validity": lambda found: not found.invalid,
    "integrity": lambda found: not found.repeated,
    "order": lambda found: not found.disordered,
    "termination": lambda found: not found.undecided,
}
"""What an engine may promise (EngineSpec.properties), and how it is checked: whether it held."""


class _Made(NamedTuple):
    """A decision."""

    t_ns: int
    node: str
    value: bytes
    round: int


def judge_consensus(plan: Plan, history: History, timeline: Timeline) -> Consensus | None:
    """None when nobody proposed anything. ``instances`` counts those that began; those that the run's end cut off, or
    that nobody lived through or decided, are judged for agreement and validity, and are neither decided nor undecided.
    """
    if engine_spec(plan.protocol.consensus).keeps_a_log:
        return judge_log(plan, history, timeline)
    liars = {plan.fabric.hosts[number] for number in plan.liars}
    proposals: dict[int, set[bytes]] = {}
    decisions: dict[int, list[_Made]] = {}
    judge = _Termination(plan, history, timeline)
    for event in history.events.of_kind(Propose, Decide, Apply):
        what = event.what
        if isinstance(what, Propose):
            proposals.setdefault(what.instance, set()).add(what.value)
            judge.proposed(what.instance, event)
        elif isinstance(what, Apply):
            judge.applied(what.entry, event)
        elif isinstance(what, Decide) and event.node not in liars:
            decisions.setdefault(what.instance, []).append(_Made(event.t_ns, event.node, what.value, what.round))
    if not proposals:
        return None
    fates = {instance: judge.fate(instance, decisions.get(instance, [])) for instance in sorted(proposals)}
    ends = {instance: fate.end for instance, fate in fates.items()}
    return Consensus(
        instances=len(proposals),
        disagreements=tuple(_disagreements(plan, decisions)),
        invalid=tuple(_invalid(plan, proposals, decisions)),
        decided=sum(1 for end in ends.values() if end is _End.DECIDED),
        undecided=tuple(instance for instance, end in ends.items() if end in (_End.UNDECIDED, _End.CONNECTED)),
        cut_off=tuple(instance for instance, end in ends.items() if end is _End.CUT_OFF),
        rounds_to_decide=_rounds_to_decide(plan, decisions),
        connected=sum(1 for end in ends.values() if end in (_End.DECIDED, _End.CONNECTED)),
        later=sum(1 for fate in fates.values() if fate.later),
    )


def _disagreements(plan: Plan, decisions: dict[int, list[_Made]]) -> Iterable[Disagreement]:
    for instance, made in sorted(decisions.items()):
        if len({event.value for event in made}) > 1:
            values: dict[str, tuple[str, ...]] = {}
            for event in sorted(made, key=lambda event: event.node):
                values[event.node] = (*values.get(event.node, ()), value_text(plan, event.value))
            yield Disagreement(instance, values)


def _invalid(
    plan: Plan, proposals: dict[int, set[bytes]], decisions: dict[int, list[_Made]]
) -> Iterable[tuple[int, str, str]]:
    for instance, made in sorted(decisions.items()):
        proposed = proposals.get(instance, ())
        wrong = {(instance, event.node, value_text(plan, event.value)) for event in made if event.value not in proposed}
        yield from sorted(wrong)


def _rounds_to_decide(plan: Plan, decisions: dict[int, list[_Made]]) -> dict[int, int]:
    """How many rounds the first decision of each node in each instance took, counted from 1."""
    protocol = plan.protocol
    counts: Counter[int] = Counter()
    for instance, made in decisions.items():
        for event in {event.node: event for event in reversed(made)}.values():
            counts[event.round - instance * protocol.instance_rounds + 1] += 1
    return dict(sorted(counts.items()))


class _End(Enum):
    """UNSEEN: nobody lived through it, and nobody decided. CUT_OFF: the run ended before it should have. CONNECTED: not
    everybody who lived decided, but who was not cut off did."""

    DECIDED = "decided"
    UNDECIDED = "undecided"
    CUT_OFF = "cut off"
    UNSEEN = "unseen"
    CONNECTED = "decided by all connected"


class _Fate(NamedTuple):
    """later: all that lived through it decided, but not all in its time."""

    end: _End
    later: bool = False


class _Termination:
    def __init__(self, plan: Plan, history: History, timeline: Timeline) -> None:
        self.plan, self.timeline = plan, timeline
        self.tolerance_ns = timer_tolerance_ns(history.meta)
        self.members = [plan.fabric.hosts[number] for number in plan.members if number not in plan.liars]
        self.in_rounds = engine_spec(plan.protocol.consensus).made_of_swaps
        self._first_ns: dict[int, int] = {}
        self._proposers: dict[int, set[str]] = {}
        self._appliers: dict[int, list[Event]] = {}

    def proposed(self, instance: int, event: Event) -> None:
        """Somebody proposes in it."""
        self._first_ns.setdefault(instance, event.t_ns)
        proposers = self._proposers.setdefault(instance, set())
        if event.node in self.members:
            proposers.add(event.node)

    def applied(self, instance: int, event: Event) -> None:
        """Somebody applies the entry that it decides."""
        self._appliers.setdefault(instance, []).append(event)

    def fate(self, instance: int, decisions: list[_Made]) -> _Fate:
        """What became of the instance: whether all that lived through it decided in it."""
        begin_ns, end_ns = self._span(instance)
        cut_off = end_ns + self.tolerance_ns > self.timeline.end_ns
        known = [*decisions, *self._appliers.get(instance, ())]
        deciders = {event.node for event in known if event.t_ns <= end_ns + self.tolerance_ns}
        asked = self._proposers.get(instance, set()) if self._on_demand else self.members
        lived = {node for node in asked if self.timeline.alive_through(node, begin_ns, end_ns)}
        if lived <= deciders:
            return _Fate(_End.DECIDED if deciders else _End.UNSEEN)
        if cut_off:
            return _Fate(_End.CUT_OFF)
        connected = self.timeline.connected(sorted(lived), begin_ns, end_ns) if deciders else []
        reached = connected and deciders.issuperset(connected)
        return _Fate(_End.CONNECTED if reached else _End.UNDECIDED, later=lived <= {event.node for event in known})

    @property
    def _on_demand(self) -> bool:
        return bool(self.plan.service) and not self.in_rounds

    def _span(self, instance: int) -> tuple[int, int]:
        """When the instance begins, and by when its decisions must have fallen."""
        protocol = self.plan.protocol
        if self._on_demand:
            return self._first_ns[instance], self._first_ns[instance] + protocol.settle_ns
        if not self.in_rounds:
            return instance * protocol.period_ns, instance * protocol.period_ns + protocol.settle_ns
        begin_ns = instance * protocol.instance_rounds * protocol.period_ns
        return begin_ns, begin_ns + (protocol.instance_rounds - 1) * protocol.period_ns + protocol.window_ns
