"""A log (testbed.nodes.core.Log): agreement, validity, integrity, order and termination of what is delivered.

agreement: entry i is the same at all nodes, also at those that died later. validity: what is delivered was submitted by
somebody. integrity: no value is delivered in more entries than it was submitted times. order: each life of a node is
told entries 0, 1, 2, .. without a hole, or goes on behind a state that it was given in place of the first ones; so
that, with agreement, what each was told is a part of one log. termination: what a node submits that lives on for the
time to settle, or what anybody was told, is told within that time to everybody that lives through it.

In a partial order (testbed.nodes.core.PartialLog) each life counts what it is told itself. agreement: in every chain of
values that keep an order the same ones stand in the same places, and each value stands behind the same number of those
that it does not commute with, in all lives. integrity: no life is told a value more often than it was submitted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from testbed.history import History
from testbed.nodes.consensus.spec import PARTIAL
from testbed.nodes.core import Decide, Install, Propose
from testbed.nodes.core.commuting import Commuting, Place, Places
from testbed.nodes.core.record import Started
from testbed.nodes.core.values import text
from testbed.nodes.registry import commuting, engine_spec
from testbed.plan import Plan
from testbed.verdicts.facts import timer_tolerance_ns
from testbed.verdicts.model import Consensus, Disagreement
from testbed.verdicts.timeline import Timeline

SUBMISSIONS = "submissions"


class _Submission(NamedTuple):
    """A node submits a value."""

    t_ns: int
    node: str
    value: bytes


def judge_log(plan: Plan, history: History, timeline: Timeline) -> Consensus | None:
    """None when nobody submitted anything."""
    liars = {plan.fabric.hosts[number] for number in plan.liars}
    partial = engine_spec(plan.protocol.consensus).order == PARTIAL
    told = _ToldInPart(commuting(plan.protocol, plan.service)) if partial else _Told()
    submissions: list[_Submission] = []
    for t_ns, node, what in history.events.of_kind(Started, Propose, Decide, Install):
        if isinstance(what, Propose):
            submissions.append(_Submission(t_ns, node, what.value))
        elif node in liars:
            continue
        elif isinstance(what, Started):
            told.begin(node)
        elif isinstance(what, Decide):
            told.entry(t_ns, node, what)
        elif isinstance(what, Install):
            told.state(t_ns, node, what)
    if not submissions:
        return None
    members = [plan.fabric.hosts[number] for number in plan.members if number not in plan.liars]
    tolerance_ns = timer_tolerance_ns(history.meta)
    fates = [_fate(one, members, told, timeline, plan.protocol.settle_ns, tolerance_ns) for one in submissions]
    ends = [fate.end for fate in fates]
    times = Counter(one.value for one in submissions)
    return Consensus(
        instances=len(submissions),
        disagreements=tuple(told.disagreements()),
        invalid=tuple(told.invalid(times)),
        decided=ends.count(_DECIDED),
        undecided=tuple(place for place, end in enumerate(ends) if end in (_UNDECIDED, _CONNECTED)),
        cut_off=tuple(place for place, end in enumerate(ends) if end == _CUT_OFF),
        rounds_to_decide=dict(sorted(told.terms.items())),
        of=SUBMISSIONS,
        repeated=tuple(told.repeated(times)),
        disordered=tuple(told.disordered),
        connected=ends.count(_DECIDED) + ends.count(_CONNECTED),
        later=sum(1 for fate in fates if fate.later),
    )


class _Told:
    """What nodes were told. entries: of each entry, its values and by whom; places: of each value, its entries; known:
    of each node, when it came to know all entries below which one (both rise)."""

    def __init__(self) -> None:
        self.entries: dict[int, dict[str, list[bytes]]] = {}
        self.places: dict[bytes, set[int]] = {}
        self.first_ns: dict[bytes, int] = {}
        self.since: dict[str, dict[bytes, int]] = {}
        self.states: dict[str, list[tuple[int, int]]] = {}  # when, and in place of the entries below which
        self.terms: Counter[int] = Counter()
        self.disordered: list[str] = []
        self._next: dict[str, int] = {}

    def begin(self, node: str) -> None:
        """A life begins: it is told the log anew."""
        self._next[node] = 0

    def entry(self, t_ns: int, node: str, made: Decide) -> None:
        """A delivery."""
        due = self._next.get(node, 0)
        if made.instance != due:
            self.disordered.append(f"{node} was told entry {made.instance} at {t_ns} ns, where {due} is the next")
        self._next[node] = made.instance + 1
        values = self.entries.setdefault(made.instance, {}).setdefault(node, [])
        if made.value not in values:
            values.append(made.value)
            self.terms[made.round] += 1
        self.places.setdefault(made.value, set()).add(made.instance)
        self.first_ns.setdefault(made.value, t_ns)
        self.since.setdefault(node, {}).setdefault(made.value, t_ns)

    def state(self, t_ns: int, node: str, given: Install) -> None:
        """A state in place of entries."""
        due = self._next.get(node, 0)
        if given.below < due:
            self.disordered.append(f"{node} was given a state of {given.below} entries at {t_ns} ns, after {due}")
        self._next[node] = given.below
        self.states.setdefault(node, []).append((t_ns, given.below))

    def knows(self, node: str, value: bytes, by_ns: int) -> bool:
        """Whether the node has it by then: told, or in a state."""
        if self.since.get(node, {}).get(value, by_ns + 1) <= by_ns:
            return True
        first = min(self.places.get(value, ()), default=None)
        given = self.states.get(node, [])
        return first is not None and any(below > first for _, below in given[: bisect_right(given, (by_ns, 1 << 62))])

    def disagreements(self) -> Iterator[Disagreement]:
        """Entries that are not the same everywhere."""
        for index, by_node in sorted(self.entries.items()):
            if len({value for values in by_node.values() for value in values}) > 1:
                yield Disagreement(index, {node: tuple(map(text, values)) for node, values in sorted(by_node.items())})

    def invalid(self, submitted: Counter[bytes]) -> Iterator[tuple[int, str, str]]:
        """Deliveries of what nobody submitted."""
        for index, by_node in sorted(self.entries.items()):
            for node, values in sorted(by_node.items()):
                yield from ((index, node, text(value)) for value in values if value not in submitted)

    def repeated(self, submitted: Counter[bytes]) -> Iterator[str]:
        """Values in more entries than they were submitted times."""
        for value, places in self.places.items():
            if value in submitted and len(places) > submitted[value]:
                where = ", ".join(map(str, sorted(places)))
                times = "once" if submitted[value] == 1 else f"{submitted[value]} times"
                yield f"{text(value)} was submitted {times} and is entry {where}"


class _ToldInPart(_Told):
    """The same in a partial order, where entries are numbered by each life. placed: of each value, where it stood, and
    at which nodes."""

    def __init__(self, commuting: Commuting) -> None:
        super().__init__()
        self.commuting = commuting
        self.chains: dict[tuple[int, int], dict[str, list[bytes]]] = {}
        self.placed: dict[bytes, dict[Place, list[str]]] = {}
        self.often: Counter[bytes] = Counter()  # the most that one life was told it
        self._lives: dict[str, tuple[Places, Counter[bytes]]] = {}

    def begin(self, node: str) -> None:
        """A life begins: it is told everything anew, in an order of its own."""
        super().begin(node)
        self._lives[node] = Places(self.commuting), Counter()

    def entry(self, t_ns: int, node: str, made: Decide) -> None:
        """A delivery."""
        super().entry(t_ns, node, made)
        if node not in self._lives:
            self.begin(node)
            self._next[node] = made.instance + 1
        places, counts = self._lives[node]
        place = places.add(made.value)
        counts[made.value] += 1
        self.often[made.value] = max(self.often[made.value], counts[made.value])
        if counts[made.value] == 1:
            self.placed.setdefault(made.value, {}).setdefault(place, []).append(node)
        if place.number is not None:
            values = self.chains.setdefault((place.chain, place.number), {}).setdefault(node, [])
            values += [made.value] if made.value not in values else []

    def disagreements(self) -> Iterator[Disagreement]:
        """Places that are not the same everywhere, and what does not stand in the same place everywhere."""
        for (_, index), by_node in sorted(self.chains.items()):
            if len({value for values in by_node.values() for value in values}) > 1:
                yield Disagreement(index, {node: tuple(map(text, values)) for node, values in sorted(by_node.items())})
        for value, places in self.placed.items():
            if len(places) > 1:
                least = min(sum(place.behind) for place in places)
                where = {
                    node: (f"{text(value)} behind {sum(place.behind)} others",)
                    for place, nodes in places.items()
                    for node in nodes
                }
                yield Disagreement(least, dict(sorted(where.items())))

    def repeated(self, submitted: Counter[bytes]) -> Iterator[str]:
        """Values that one life was told more often than they were submitted."""
        for value, often in self.often.items():
            if value in submitted and often > submitted[value]:
                times = "once" if submitted[value] == 1 else f"{submitted[value]} times"
                yield f"{text(value)} was submitted {times} and told {often} times to one life"


_DECIDED, _UNDECIDED, _CUT_OFF, _UNSEEN = "decided", "undecided", "cut off", "unseen"
_CONNECTED = "decided by all connected"  # as in testbed.verdicts.consensus


class _Fate(NamedTuple):
    """later: all that lived through it were told in the end, but not all in its time."""

    end: str
    later: bool = False


def _fate(
    one: _Submission, members: list[str], told: _Told, timeline: Timeline, settle_ns: int, tolerance_ns: int
) -> _Fate:
    """What became of a submission. Unseen: its node died or lies, and nobody was told."""
    begin_ns = one.t_ns
    if one.node not in members or not timeline.alive_through(one.node, begin_ns, begin_ns + settle_ns):
        if one.value not in told.first_ns:
            return _Fate(_UNSEEN)
        begin_ns = max(begin_ns, told.first_ns[one.value])
    end_ns = begin_ns + settle_ns
    lived = [node for node in members if timeline.alive_through(node, begin_ns, end_ns)]

    def reached(nodes: list[str], by_ns: int) -> bool:
        return all(told.knows(node, one.value, by_ns) for node in nodes)

    if reached(lived, end_ns + tolerance_ns):
        return _Fate(_DECIDED if one.value in told.first_ns else _UNSEEN)
    if end_ns + tolerance_ns > timeline.end_ns:
        return _Fate(_CUT_OFF)
    connected = timeline.connected(lived, begin_ns, end_ns) if one.value in told.first_ns else []
    by_connected = connected and reached(connected, end_ns + tolerance_ns)
    return _Fate(_CONNECTED if by_connected else _UNDECIDED, later=reached(lived, timeline.end_ns))
