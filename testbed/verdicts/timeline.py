"""When who was up, paused, slow, or cut off: what the events say of lives and faults, as intervals of time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from testbed.faults.outages import Outages
from testbed.history import NOBODY, Event, History, Ints, Mask
from testbed.nodes.core.clock import Clock
from testbed.nodes.core.record import KINDS, Died, Started, Struck
from testbed.plan import Fault, Plan
from testbed.topologies.fabric import LinkEnd
from testbed.topologies.impairment import Impairment
from testbed.topologies.netem import UNIFORM_TABLE, changed_params, netem_params
from testbed.verdicts.paths import Direction, Tables

FOREVER_NS = 1 << 62
CARRIER_LOST = ("nic_down", "link_down", "switch_kill")
_NIC_OFF = ("nic_down", "nic_mute", "nic_half")
_HELD = {"node_pause": "paused", "node_slow": "slow"}
_LET_GO = {"node_resume": "paused", "node_quick": "slow"}
# A link that leads from host to host goes down at a NIC of a host, which nic_up then brings up like any other.
_NIC_ON = {"nic_up": ("nic_down", "link_down"), "nic_unmute": ("nic_mute", "nic_half")}


class Span(NamedTuple):
    """From ``since_ns`` on until just before ``until_ns``; ``what`` says what was the case."""

    since_ns: int
    until_ns: int
    what: str = ""

    def meets(self, from_ns: int, to_ns: int) -> bool:
        """True when it shares an instant with [from_ns, to_ns]."""
        return self.since_ns <= to_ns and from_ns < self.until_ns


class Timeline:
    """Lives, and times of being held up (paused, slow), by host name, NIC faults by (host, NIC), changed
    impairments by (link, way). clocks: of hosts that have one of their own, what it began with and what faults made of
    it, each until the next's ``since_ns``.

    end_ns: when the run ended: its planned end, or the last instant of which all is known when it was cut short.
    """

    def __init__(self, plan: Plan, history: History) -> None:
        self.plan = plan
        self.end_ns = plan.duration_ns
        self.lives: dict[str, list[Span]] = {}
        self.holds: dict[str, list[Span]] = {}  # by their beginning
        self.nic_faults: dict[tuple[str, str], list[Span]] = {}
        self.deaf: dict[tuple[str, str, str], list[Span]] = {}  # (host, NIC, peer): it drops what comes from the peer
        self.changes: dict[tuple[int, str], list[Span]] = {}
        self.clocks: dict[str, list[Clock]] = {name: [clock] for name, clock in plan.clocks.items()}
        self.outages = Outages(plan.fabric)
        self.tables: list[tuple[int, Tables]] = []  # when switches began to forward otherwise, and how
        self.struck: dict[int, list[int]] = {}  # a fault's index in the plan -> when it struck
        self._impaired: dict[tuple[int, str], list[tuple[int, Impairment | None]]] = {}
        self._births: dict[str, list[int]] = {}
        for event in history.events.of_kind(Started, Died, Struck):
            if isinstance(event.what, Started):
                self._start(event, event.what)
            elif isinstance(event.what, Struck):
                self._fault(event, event.what)
            else:
                self._close(self.lives.get(event.node), event.t_ns)
                self._end(self.holds.get(event.node, []), event.t_ns, ("paused",))
        if not history.complete:
            self.end_ns = min(plan.duration_ns, self._known_until_ns(history))

    # -- questions ---------------------------------------------------------------------------------------------------

    def alive_through(self, node: str, from_ns: int, to_ns: int) -> bool:
        """Whether one life of ``node`` reaches from ``from_ns`` over ``to_ns``. Pauses do not matter. A restarted
        node's counts for what begins after its birth only: at that very instant the life before may have acted."""
        place = bisect_right(self._births.get(node, []), from_ns) - 1
        return place >= 0 and self.lives[node][place].until_ns > to_ns

    def alive_through_all(self, node: str, from_ns: Ints, to_ns: Ints) -> Mask:
        """The same of many spans of time at once."""
        births = np.array(self._births.get(node, []), dtype=np.int64)
        until_ns = np.array([span.until_ns for span in self.lives.get(node, [])] or [0], dtype=np.int64)
        place = np.searchsorted(births, from_ns, side="right") - 1
        return np.asarray((place >= 0) & (until_ns[place] > to_ns))

    def held_up(self, node: str, from_ns: int, to_ns: int) -> Span | None:
        """When ``node`` was paused, or slow, at an instant of the given time."""
        return _first(self.holds.get(node, ()), from_ns, to_ns)

    def cut_off(self, node: str, nic: str, from_ns: int, to_ns: int, direction: str = "", src: str = "") -> Span | None:
        """A fault at this NIC in the given time; ``direction`` tx or rx leaves out those of the other direction. src:
        the host that sent what it may have dropped."""
        spans = self.nic_faults.get((node, nic), ())
        other = {"tx": "nic_half rx", "rx": "nic_half tx"}.get(direction)
        found = _first((span for span in spans if span.what != other), from_ns, to_ns)
        if found is None and direction != "tx":
            found = _first(self.deaf.get((node, nic, src), ()), from_ns, to_ns)
        return found

    def connected(self, hosts: Sequence[str], from_ns: int, to_ns: int) -> list[str]:
        """Those of ``hosts`` that were connected all through the given time: each over a link with no fault at either
        of its NICs, and all in the greatest group whose members hear each other, directly or over one another."""
        if not self.nic_faults and not self.deaf:
            return list(hosts)
        left = [host for host in hosts if self._reached(host, from_ns, to_ns)]
        parted = {
            (host, peer)
            for (host, _, peer), spans in self.deaf.items()
            if _first(spans, from_ns, to_ns) is not None and host != peer
        }
        return max(hearing_groups(left, parted), key=len, default=[])

    def _reached(self, host: str, from_ns: int, to_ns: int) -> bool:
        return any(
            all(_first(self.nic_faults.get((end.node, end.nic), ()), from_ns, to_ns) is None for end in ends)
            for ends in self._links_of.get(host, ())
        )

    @cached_property
    def _links_of(self) -> dict[str, list[tuple[LinkEnd, LinkEnd]]]:
        found: dict[str, list[tuple[LinkEnd, LinkEnd]]] = {}
        for link in self.plan.fabric.links:
            for end in (link.a, link.b):
                found.setdefault(end.node, []).append((link.a, link.b))
        return found

    def changed(self, link: int, way: str, from_ns: int, to_ns: int) -> Span | None:
        """A change of this direction's impairment in the given time."""
        return _first(self.changes.get((link, way), ()), from_ns, to_ns)

    def shows_ns(self, node: str, local_ns: int) -> int:
        """When the clock of ``node`` shows a time first: that very time where it has none of its own."""
        due_ns = local_ns
        for clock, following in zip_longest(self.clocks.get(node, []), self.clocks.get(node, [])[1:]):
            due_ns = clock.true_ns(local_ns, clock.since_ns)
            if following is None or due_ns < following.since_ns:
                break
        return due_ns

    def shows_all_ns(self, node: str, local_ns: Ints) -> Ints:
        """The same of many times at once."""
        if node not in self.clocks:
            return local_ns
        return np.array([self.shows_ns(node, at_ns) for at_ns in local_ns.tolist()], dtype=np.int64)

    def in_force(self, direction: Direction) -> tuple[NDArray[np.int64], list[Impairment]]:
        """The instants at which faults changed this direction, and what was in force: before the first, from the
        first on, and so on. As the kernel does it: see testbed.topologies.netem.changed_params for what tables leave
        behind."""
        changes = self._impaired.get((direction.link, direction.way), [])
        found = [direction.impairment]
        for _, changed in changes:
            had_table = any(netem_params(asked).table is not None for asked in found)
            asked = changed or direction.impairment
            if changed_params(asked, had_table).table is UNIFORM_TABLE:
                asked = replace(asked, distribution="table", table=UNIFORM_TABLE)
            found.append(asked)
        return np.array([t_ns for t_ns, _ in changes], dtype=np.int64), found

    # -- making it ---------------------------------------------------------------------------------------------------

    def _start(self, event: Event, started: Started) -> None:
        spans = self.lives.setdefault(event.node, [])
        self._close(spans, event.t_ns)
        restarted = bool(spans)
        spans.append(Span(event.t_ns, FOREVER_NS, "kept" if started.kept else "fresh"))
        self._births.setdefault(event.node, []).append(event.t_ns + restarted)

    def _known_until_ns(self, history: History) -> int:
        """What cut the run short may have cut each node's record at another instant, and in the middle of one."""
        last: dict[str, int] = {}
        for table in map(history.events.table, KINDS):
            for number in np.unique(table.node).tolist():
                node = history.names[number] if number != NOBODY else ""
                last[node] = max(last.get(node, -FOREVER_NS), int(table.t_ns[table.node == number].max()))
        alive = (node for node, lives in self.lives.items() if lives[-1].until_ns == FOREVER_NS)
        return min((last[node] for node in alive), default=max(last.values(), default=0)) - 1

    @staticmethod
    def _close(spans: list[Span] | None, at_ns: int) -> None:
        if spans and spans[-1].until_ns == FOREVER_NS:
            spans[-1] = spans[-1]._replace(until_ns=at_ns)

    @staticmethod
    def _end(spans: list[Span], at_ns: int, whats: tuple[str, ...]) -> None:
        """All of these kinds that nothing ended yet."""
        for place, span in enumerate(spans):
            if span.until_ns == FOREVER_NS and span.what.split()[0] in whats:
                spans[place] = span._replace(until_ns=at_ns)

    def _fault(self, event: Event, struck: Struck) -> None:
        faults, verb = self.plan.faults, struck.verb
        fault = faults[struck.fault] if 0 <= struck.fault < len(faults) else None
        self.struck.setdefault(struck.fault, []).append(event.t_ns)
        if verb in ("clock_step", "clock_drift") and fault is not None and event.node in self.clocks:
            clocks = self.clocks[event.node]
            clocks.append(clocks[-1].struck(verb, event.t_ns, fault.amount))
        elif verb == "reroute":
            self.tables.append((event.t_ns, self.outages.forwarding()))
        elif fault is not None and verb in ("link_down", "link_up", "switch_kill", "switch_restart"):
            down, up = self.outages.strike(fault)
            for end in down:
                spans = self.nic_faults.setdefault((end.node, end.nic), [])
                spans.append(Span(event.t_ns, FOREVER_NS, "link_down" if verb == "link_down" else "switch_kill"))
            for end in up:
                self._end(self.nic_faults.get((end.node, end.nic), []), event.t_ns, CARRIER_LOST)
        elif verb in _HELD:
            self._end(self.holds.get(event.node, []), event.t_ns, (_HELD[verb],))
            self.holds.setdefault(event.node, []).append(Span(event.t_ns, FOREVER_NS, _HELD[verb]))
        elif verb in _LET_GO:
            self._end(self.holds.get(event.node, []), event.t_ns, (_LET_GO[verb],))
        elif fault is not None and verb in ("nic_deaf", "nic_hear"):
            self._deafened(event, verb, fault)
        elif verb in _NIC_OFF or verb in _NIC_ON:
            self._nic_fault(event, verb, fault)
        elif fault is not None and verb in ("impair", "unimpair"):
            for link in fault.links:
                spans = self.changes.setdefault(link, [])
                self._close(spans, event.t_ns)
                changed = fault.impairment if verb == "impair" else None
                self._impaired.setdefault(link, []).append((event.t_ns, changed))
                if verb == "impair":
                    spans.append(Span(event.t_ns, FOREVER_NS, "impair"))

    def _nic_fault(self, event: Event, verb: str, fault: Fault | None) -> None:
        for nic in self._nics(event.node, fault):
            spans = self.nic_faults.setdefault((event.node, nic), [])
            if verb in _NIC_OFF:
                direction = fault.direction if fault is not None and verb == "nic_half" else ""
                spans.append(Span(event.t_ns, FOREVER_NS, f"{verb} {direction}".strip()))
                continue
            self._end(spans, event.t_ns, _NIC_ON[verb])

    def _deafened(self, event: Event, verb: str, fault: Fault) -> None:
        for nic in self._nics(event.node, fault):
            for peer in fault.peers or self.plan.fabric.hosts:
                spans = self.deaf.setdefault((event.node, nic, peer), [])
                if verb == "nic_hear":
                    self._close(spans, event.t_ns)
                elif not spans or spans[-1].until_ns < FOREVER_NS:
                    spans.append(Span(event.t_ns, FOREVER_NS, f"nic_deaf to {peer}"))

    def _nics(self, node: str, fault: Fault | None) -> list[str]:
        """The NICs of ``node`` that the fault strikes: the one it names, or all."""
        if fault is not None and fault.nic:
            return [fault.nic]
        ends = [end for link in self.plan.fabric.links for end in (link.a, link.b)]
        return [end.nic for end in ends if end.node == node]


def hearing_groups(hosts: Sequence[str], parted: Collection[tuple[str, str]]) -> Iterator[list[str]]:
    """Hosts that hear each other, each with all that it can reach over others; parted: (host, peer) that does not hear
    it."""
    left = list(hosts)
    while left:
        group = [left.pop(0)]
        for host in group:  # it grows
            near = [other for other in left if (host, other) not in parted and (other, host) not in parted]
            group += near
            left = [other for other in left if other not in near]
        yield sorted(group, key=hosts.index)


def _first(spans: Iterable[Span], from_ns: int, to_ns: int) -> Span | None:
    return next((span for span in spans if span.meets(from_ns, to_ns)), None)
