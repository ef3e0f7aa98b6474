"""Two hosts and the cells between them, in one process: messages take no time, those that are named are lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from builders import Disk

from testbed.nodes.core import Life, Machine, Note, Resolve, Send, SetTimer
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.frames import Carried, Message, carried
from testbed.nodes.registry import build_machine
from testbed.scenario import compile_plan, from_data

WINDOW_NS = 100_000
PERIOD_NS = 400_000


@dataclass
class Hop:
    """One transmission: between whom (places on the line), and what."""

    src: int
    dst: int
    message: Message

    @property
    def known(self) -> Carried:
        """What it carries."""
        found = carried(self.message)
        assert found is not None
        return found


@dataclass
class Line:
    """host, cell, .., cell, host: ``machines`` by place. loses: whether a transmission, the n-th of all, gets lost."""

    configs: list[NodeConfig]
    machines: list[Machine] = field(default_factory=list)
    loses: Callable[[int, Hop], bool] = lambda _number, _hop: False
    now_ns: int = -1_000_000
    hops: list[Hop] = field(default_factory=list)
    endings: list[list[str]] = field(default_factory=list)  # by place, one after the other
    values: list[list[bytes]] = field(default_factory=list)
    notes: list[tuple[int, str]] = field(default_factory=list)
    timers: dict[tuple[int, str], int] = field(default_factory=dict)
    waiting: deque[Hop] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.endings = [[] for _ in self.configs]
        self.values = [[] for _ in self.configs]
        for place in range(len(self.configs)):
            self.begin(place)

    def begin(self, place: int, epoch: int = 1, disk: Disk | None = None) -> None:
        """A life of the node at this place."""
        self.configs[place] = replace(self.configs[place], epoch=epoch)
        self.machines[place : place + 1] = [build_machine(self.configs[place])]
        for key in [key for key in self.timers if key[0] == place]:
            del self.timers[key]
        self.do(place, self.machines[place].on_start(self.now_ns, disk or {}))

    def do(self, place: int, effects: list[Any]) -> None:
        """Effects of a machine."""
        numbers = [config.node for config in self.configs]
        for effect in effects:
            if isinstance(effect, Send):
                peer = self.configs[place].peers[effect.port].node
                hop = Hop(place, numbers.index(peer), effect.message)
                if not self.loses(len(self.hops), hop):
                    self.waiting.append(hop)
                self.hops.append(hop)
            elif isinstance(effect, SetTimer):
                self.timers[place, effect.name] = effect.at_ns
            elif isinstance(effect, Resolve):
                self.endings[place].append(effect.outcome.value)
                self.values[place].append(effect.value)
            elif isinstance(effect, Note):
                self.notes.append((place, effect.what))

    def settle(self) -> None:
        """All that is on its way arrives."""
        while self.waiting:
            self.say(self.waiting.popleft())

    def say(self, hop: Hop) -> None:
        """One message arrives."""
        sender = self.configs[hop.src]
        port = [peer.node for peer in self.configs[hop.dst].peers].index(sender.node)
        life = Life(sender.epoch, 0)
        self.do(hop.dst, self.machines[hop.dst].on_message(port, hop.message, life, self.now_ns))

    def until(self, at_ns: int) -> None:
        """Timers fire in order up to and with this instant; what they have sent arrives at once."""
        while True:
            due = sorted((when, place, name) for (place, name), when in self.timers.items() if when <= at_ns)
            if not due:
                break
            when, place, name = due[0]
            del self.timers[place, name]
            self.now_ns = max(self.now_ns, when)
            self.do(place, self.machines[place].on_timer(name, self.now_ns))
            if not [one for one in self.timers.values() if one <= self.now_ns]:
                self.settle()
        self.settle()
        self.now_ns = at_ns

    @property
    def outcomes(self) -> list[str]:
        """How the latest swap stands at every place."""
        return [told[-1] if told else "" for told in self.endings]


def line(cells: int, **protocol: Any) -> Line:
    """Two hosts and so many cells between them, one or two; one round is run."""
    topology = {"kind": "star", "hosts": 2} if cells == 1 else {"kind": "dumbbell", "left": 1, "right": 1}
    settings = {"depth": 4, "window": "100us", "period": "400us", "rounds": 1, **protocol}
    plan = compile_plan(from_data({"name": "l", "topology": topology, "switches": "cells", "protocol": settings}))
    return Line([plan.node_config(plan.fabric.hosts[node]) for node in plan.way(0, 1)])
