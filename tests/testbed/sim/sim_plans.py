"""Plans and small machines that the simulator's tests share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from builders import everyone

from testbed.history import Event, History, Hop
from testbed.nodes.core import Effects, Life, Machine, Persist, Port, Send, SetTimer
from testbed.nodes.core.config import NodeConfig, ProtocolConfig
from testbed.nodes.core.record import What
from testbed.nodes.frames import Kind, Message
from testbed.plan import Fault, Plan, derive_seed
from testbed.topologies.build import make_fabric
from testbed.topologies.fabric import Fabric
from testbed.topologies.impairment import CLEAN, Impairment

US = 1_000


def impaired(fabric: Fabric, impairment: Impairment, seed: int = 1) -> Fabric:
    """Every direction of every link impaired alike, each with a seed of its own."""
    return replace(
        fabric,
        links=tuple(
            replace(
                link,
                ab=impairment.with_seed(derive_seed(seed, "link", index, "ab")),
                ba=impairment.with_seed(derive_seed(seed, "link", index, "ba")),
            )
            for index, link in enumerate(fabric.links)
        ),
    )


def make_plan(
    impairment: Impairment = CLEAN,
    kind: str = "pair",
    parameters: dict[str, int] | None = None,
    faults: tuple[Fault, ...] = (),
    duration_ns: int = 1_000 * US,
    seed: int = 1,
    protocol: ProtocolConfig | None = None,
) -> Plan:
    """A plan over a fabric impaired alike everywhere."""
    fabric = impaired(make_fabric(kind, parameters or {}), impairment, seed)
    return Plan("test", seed, fabric, protocol or ProtocolConfig(), everyone(fabric), faults, duration_ns, 0)


@dataclass
class Beacon:
    """Sends ``count`` frames to every peer, ``gap_ns`` apart from time 0 on; answers every step 1 with a step 2."""

    config: NodeConfig
    count: int
    gap_ns: int
    answers: bool = False
    only: int = -1
    sent: int = 0
    heard: list[tuple[int, int]] = field(default_factory=list)

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        """The first frames go at time 0, or at once when that is past; those after the last life's."""
        self.sent = len(disk)
        if self.only not in (-1, self.config.node) or self.sent >= self.count:
            return []
        return [SetTimer("next", max(0, now_ns))]

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """The next frames."""
        effects: Effects = [self._frame(port, self.sent, 1) for port in range(len(self.config.peers))]
        if self.config.keeps:
            effects.insert(0, Persist(f"sent {self.sent}", b""))
        self.sent += 1
        if self.sent < self.count:
            effects.append(SetTimer("next", now_ns + self.gap_ns))
        return effects

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        """Keep it, and answer when asked to."""
        self.heard.append((self.config.peers[port].node, message.round))
        return [self._frame(port, message.round, 2)] if self.answers and message.step == 1 else []

    def _frame(self, port: int, round_: int, step: int) -> Send:
        return Send(port, Message(Kind.DATA, round_, step))


def beacons(count: int, gap_ns: int, answers: bool = False, only: int = -1) -> object:
    """A ``build`` for SimEngine."""

    def build(config: NodeConfig) -> Machine:
        return Beacon(config, count, gap_ns, answers, only)

    return build


def events(history: History, kind: type[What], node: str = "") -> list[Event]:
    """The events of one kind, at one node when it is named."""
    return [row for row in history.events.of_kind(kind) if node in ("", row.node)]


def hops(history: History, what: str) -> list[Hop]:
    """The hops of one sort."""
    return [hop for hop in history.hops if hop.what == what]
