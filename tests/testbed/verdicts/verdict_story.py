"""Tiny handmade histories: two or three hosts at one switch (or joined directly), told event by event."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from builders import everyone

from testbed.history import Event, Events, History, Hop, Hops, node_names
from testbed.nodes.core import Outcome, Resolve, RoundStart, swap_id
from testbed.nodes.core.config import ProtocolConfig
from testbed.nodes.core.record import Received, Sent, Started, Struck, TimerFired, What
from testbed.nodes.frames import FrameKey
from testbed.plan import Fault, Plan
from testbed.topologies.fabric import Fabric, Link, LinkEnd
from testbed.topologies.impairment import Impairment

US = 1_000
WINDOW = 100 * US


def mac(host: int) -> str:
    return f"02:00:00:00:00:{host + 1:02x}"


def star(hosts: int = 2, impairment: Impairment | None = None) -> Fabric:
    """host1 .. hostN at leaf1; 10 us per direction unless told otherwise."""
    down = impairment or Impairment(10 * US)
    names = tuple(f"host{i + 1}" for i in range(hosts))
    links = tuple(
        Link(
            LinkEnd(name, f"{name}-eth0", mac(i)),
            LinkEnd("leaf1", f"leaf1-eth{i + 1}", f"02:00:00:01:00:{i + 1:02x}"),
            down,
            down,
        )
        for i, name in enumerate(names)
    )
    return Fabric("star", names, ("leaf1",), links, {"leaf1": {mac(i): f"leaf1-eth{i + 1}" for i in range(hosts)}})


def pair(impairment: Impairment | None = None) -> Fabric:
    """host1 and host2 without a switch."""
    way = impairment or Impairment(10 * US)
    ends = [LinkEnd(f"host{i + 1}", f"host{i + 1}-eth0", mac(i)) for i in range(2)]
    return Fabric("pair", ("host1", "host2"), (), (Link(ends[0], ends[1], way, way),), {})


def plan_on(fabric: Fabric, faults: tuple[Fault, ...] = (), epsilon_ns: int = 30 * US, **protocol: object) -> Plan:
    settings = replace(ProtocolConfig(depth=2, window_ns=WINDOW, period_ns=2 * WINDOW, rounds=10), **protocol)
    return Plan("story", 7, fabric, settings, everyone(fabric), faults, 2_000 * US, epsilon_ns)


@dataclass
class Story:
    """Tell it in any order; the history comes out sorted by time."""

    plan: Plan
    engine: str = "sim"
    events: list[Event] = field(default_factory=list)
    hops: list[Hop] = field(default_factory=list)
    seq: dict[str, int] = field(default_factory=dict)
    captured: bool = True

    def __post_init__(self) -> None:
        for name in self.plan.fabric.hosts:
            self.event(0, name, Started(kept=False, told_ns=0))

    def round(self, round_: int) -> Story:
        start = round_ * self.plan.protocol.period_ns
        for name in self.plan.fabric.hosts:
            self.event(start, name, RoundStart(round_))
        return self

    def send(self, src: str, dst: str, step: int, t_ns: int, round_: int = 0) -> FrameKey:
        seq = self.seq[src] = self.seq.get(src, 0) + 1
        key = FrameKey(self.number(src), 1, seq)
        self.event(t_ns, src, TimerFired("story", t_ns))  # what made it send
        self.event(t_ns, src, Sent(key, self.number(dst), round_, step))
        return key

    def recv(self, key: FrameKey, t_ns: int, at_ns: int = -1) -> None:
        sent = self.sent(key)
        stamp = at_ns if at_ns >= 0 else t_ns
        self.event(t_ns, self.plan.fabric.hosts[sent.dst], Received(key, sent.round, sent.step, stamp))

    def fly(
        self, src: str, dst: str, step: int, sent: int, *passed: int, round_: int = 0, host_hops: bool = True
    ) -> FrameKey:
        """A frame that reaches one interface after another at the given instants; the last is the receiver's."""
        key = self.send(src, dst, step, sent, round_)
        self.hop(key, *passed[:-1], host_hops=host_hops)
        arrival = passed[-1]
        if self.captured and host_hops:
            self._hop(key, arrival, dst, f"{dst}-eth0", "in")
        self.recv(key, arrival)
        return key

    def hop(self, key: FrameKey, *passed: int, host_hops: bool = True) -> None:
        """Only as far as the switch: in there, and out again once a second instant is given (before the receiver's)."""
        sender = self.plan.fabric.hosts[key.src]
        if not self.captured or not self.plan.fabric.switches:
            return
        if passed:
            if host_hops:
                self._hop(key, passed[0], sender, f"{sender}-eth0", "out")
            self._hop(key, passed[0], "leaf1", f"leaf1-eth{key.src + 1}", "in")

    def drop(self, key: FrameKey, t_ns: int, node: str, nic: str, what: str, corrupt: bool = False) -> None:
        self._hop(key, t_ns, node, nic, what, corrupt)

    def _hop(self, key: FrameKey, t_ns: int, node: str, nic: str, what: str, corrupt: bool = False) -> None:
        sent = self.sent(key)
        self.hops.append(Hop(t_ns, node, nic, what, key, sent.dst, sent.round, sent.step, corrupt))

    def sent(self, key: FrameKey) -> Sent:
        return next(e.what for e in self.events if isinstance(e.what, Sent) and e.what.key == key)

    def number(self, host: str) -> int:
        return self.plan.fabric.hosts.index(host)

    def resolve(self, node: str, peer: str, outcome: str, t_ns: int, round_: int = 0, value: bytes = b"") -> None:
        swap = swap_id(round_, self.number(node), self.number(peer))
        self.event(t_ns, node, Resolve(swap, Outcome(outcome), value))

    def event(self, t_ns: int, node: str, what: What) -> None:
        self.events.append(Event(t_ns, node, what))

    def fault(self, t_ns: int, node: str, index: int) -> None:
        self.event(t_ns, node, Struck(index, self.plan.faults[index].verb))

    def history(self, **more: object) -> History:
        meta = {"timer_tolerance_ns": 0, "limit_drops": {}}
        events = Events.of(sorted(self.events, key=lambda event: event.t_ns), node_names(self.plan.fabric))
        hops = Hops.of(sorted(self.hops, key=lambda hop: hop.t_ns))
        return History(self.engine, events, hops, meta, **more)
