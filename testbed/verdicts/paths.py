"""Which way frames go: the link directions between two hosts of a plan, from its static forwarding."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from testbed.nodes.registry import engine_spec
from testbed.plan import Plan
from testbed.topologies.fabric import LinkEnd
from testbed.topologies.impairment import Impairment

Tables = dict[str, dict[str, str]]
"""Switch -> destination address -> interface."""


class Direction(NamedTuple):
    """One direction of a link: frames leave at ``tx``, impaired there (netem acts on egress), for ``rx``."""

    link: int
    way: str
    tx: LinkEnd
    rx: LinkEnd
    impairment: Impairment

    @property
    def name(self) -> str:
        """``host1>leaf1``, as the verdicts name it."""
        return f"{self.tx.node}>{self.rx.node}"


class Pair(NamedTuple):
    """Two members that swap with each other (node numbers, ``low < high``)."""

    low: int
    high: int


class NoPathError(ValueError):
    """The forwarding of the fabric leads nowhere, or in a circle."""


class Paths:
    """The plan's map, looked up quickly: directions by NIC, paths by pair of hosts, pairs that swap.

    changes: when switches began to forward otherwise, in order, and their tables from then on.
    """

    def __init__(self, plan: Plan, changes: Sequence[tuple[int, Tables]] = ()) -> None:
        self.plan = plan
        self.hosts = plan.fabric.hosts
        self.number = {name: index for index, name in enumerate(self.hosts)}
        self.directions: list[Direction] = []  # two a link, one after the other: the other way of d is d ^ 1
        for index, link in enumerate(plan.fabric.links):
            self.directions.append(Direction(index, "ab", link.a, link.b, link.ab))
            self.directions.append(Direction(index, "ba", link.b, link.a, link.ba))
        self.nics = [(direction.tx.node, direction.tx.nic) for direction in self.directions]
        self.by_nic = dict(zip(self.nics, self.directions, strict=True))
        self.in_rounds = engine_spec(plan.protocol.consensus).made_of_swaps
        self.changed_ns = [at_ns for at_ns, _ in changes]  # when each era but the first begins
        self._tables = [plan.fabric.forwarding, *(tables for _, tables in changes)]  # of every era
        self._paths: dict[tuple[int, int, int], tuple[Direction, ...]] = {}

    def era(self, at_ns: int) -> int:
        """Which tables were in force then."""
        return bisect_right(self.changed_ns, at_ns)

    def path(self, src: int, dst: int, era: int = 0) -> tuple[Direction, ...]:
        """The directions that a frame from host ``src`` to host ``dst`` passes, in order. Raises NoPathError."""
        found = self._paths.get((src, dst, era))
        if found is None:
            found = self._paths[src, dst, era] = self._walk(src, dst, era)
        return found

    def hops(self, src: int, dst: int) -> list[tuple[int, int]]:
        """The transmissions that a message between two that swap takes, in order: one, or one for each link where cells
        carry it."""
        way = self.plan.way(min(src, dst), max(src, dst))
        return list(pairwise(way if src < dst else way[::-1]))

    def route(self, src: int, dst: int) -> tuple[Direction, ...]:
        """The directions that a message between two that swap passes, by whatever switches or cells."""
        return tuple(direction for hop in self.hops(src, dst) for direction in self.path(*hop))

    def address(self, src: int, dst: int) -> str:
        """The destination address on frames from ``src`` to ``dst``."""
        return self.plan.routes.port(self.hosts[src], self.hosts[dst]).mac

    def nic(self, src: int, dst: int) -> str:
        """The NIC of ``src`` through which ``dst`` is reached."""
        return self.plan.routes.port(self.hosts[src], self.hosts[dst]).nic

    def _walk(self, src: int, dst: int, era: int) -> tuple[Direction, ...]:
        if not self.plan.has_port(src, dst):
            raise NoPathError(f"{self.hosts[src]} has no port to {self.hosts[dst]}")
        _, nic, mac = self.plan.routes.port(self.hosts[src], self.hosts[dst])
        node = self.hosts[src]
        steps: list[Direction] = []
        while True:
            direction = self.by_nic.get((node, nic))
            if direction is None:
                raise NoPathError(
                    f"{node} has no link at {nic}, on the way from {self.hosts[src]} to {self.hosts[dst]}"
                )
            steps.append(direction)
            node = direction.rx.node
            if node == self.hosts[dst]:
                return tuple(steps)
            nic = self._tables[era].get(node, {}).get(mac, "")
            if not nic or len(steps) > len(self.by_nic):
                raise NoPathError(f"{node} forwards nothing from {self.hosts[src]} to {self.hosts[dst]}")

    def pairs(self) -> list[Pair]:
        """All pairs of members that swap, in order. Empty when the protocol is not made of swaps."""
        if not self.in_rounds:
            return []
        members = set(self.plan.members)
        return sorted(
            {
                Pair(min(node, peer), max(node, peer))
                for node in self.plan.members
                for peer in self.plan.peers(node)
                if peer in members
            }
        )
