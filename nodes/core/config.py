"""What a node is told at birth: plain data that crosses a process or machine border as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from testbed.nodes.core.clock import Clock
from testbed.nodes.core.lies import Lie
from testbed.nodes.core.own import EngineName, OwnEngine

START_NS = -1_000_000
"""When machines of first lives are started, on the run's clock: 1 ms before round 0, so that all is set by then."""

RING_FRAMES = 4096
"""Frames that may wait at a NIC for its node, as it is paused or slow; more are lost, and counted (Overrun)."""

MEMBER = "member"
CLIENT = "client"
RELAY = "relay"
ROLES = (MEMBER, CLIENT, RELAY, "foreign")
"""What a node can be. Of the last there is no program yet."""

PLAIN_SWAPS = "none"
"""The engine that runs unless another is asked for: swaps, and nothing to decide."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One port of a node: the peer behind it, the NIC that leads there, and the address on the wire (``aa:bb:..``)."""

    node: int
    name: str
    nic: str
    mac: str


@dataclass(frozen=True, slots=True)
class Way:
    """How the swaps of two ends that are not neighbours pass a node. low, high: the ends' numbers (low < high).

    to_low, to_high: the node's ports to the next one on the way to either; NOWHERE at that end itself.
    """

    low: int
    high: int
    to_low: int
    to_high: int


NOWHERE = -1


@dataclass(frozen=True, slots=True)
class ProtocolConfig:
    """Which machine runs and its parameters; times in nanoseconds. All nodes of a run share it.

    consensus: an engine's name (testbed.nodes.registry), or an engine of the user's own, whole. handshake: alternating
    | simultaneous. depth: messages per swap (k). horizon: abort | hold | reconcile. window_ns: W. period_ns: from one
    round's start to the next (>= W), and from one instance's to the next for engines that are not made of swaps.
    rounds: how many are run. instances: how many of consensus there are; for swaps those that the rounds hold whole.
    settle_ns: from the beginning of the last instance (of swaps: of the last round) until whatever is to come of it
    should have come. f: crashes that the engine must bear. retry_ns: the retransmission interval. instance_rounds:
    rounds that one consensus instance may take. inputs: distinct | random. parameters: the engine's own settings, whose
    type its spec names.
    """

    consensus: EngineName = PLAIN_SWAPS
    handshake: str = "alternating"
    depth: int = 4
    horizon: str = "abort"
    window_ns: int = 300_000
    period_ns: int = 300_000
    rounds: int = 1
    instances: int = 1
    settle_ns: int = 0
    f: int = 0
    retry_ns: int = 100_000
    instance_rounds: int = 1
    inputs: str = "distinct"
    seed: int = 0
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def length_ns(self) -> int:
        """From the beginning of the first round or instance to the end of the last one's period."""
        return max(self.rounds, self.instances) * self.period_ns

    @staticmethod
    def from_json(data: dict[str, Any]) -> ProtocolConfig:
        """The inverse of ``dataclasses.asdict``."""
        engine = data["consensus"]
        own = engine if isinstance(engine, str) else OwnEngine.from_json(engine)
        return ProtocolConfig(**{**data, "consensus": own})


@dataclass(frozen=True, slots=True)
class Program:
    """What runs on a node. role: one of ROLES; a ``member`` takes part in the run's protocol, a ``client`` asks them, a
    ``relay`` is a cell: a switch that carries the members' swaps hop by hop.

    name and parameters: which program of that role, and its settings. A member's is the service that it replicates,
    with the settings of its log; empty where nothing but consensus is run. How members agree is the run's
    (ProtocolConfig.consensus, ProtocolConfig.parameters), and stands there once. A client's is the service that it
    asks for, with what it does.
    """

    role: str = MEMBER
    name: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """One node: its number, its ports in order, its own NICs' addresses, the protocol, and this life's epoch.

    Ports to members come before those to others. ``node`` numbers run over all hosts of the fabric; ``members`` are
    the numbers of those that take part, in order. ``start_ns`` is when round 0 begins, counted on the run's clock
    (usually 0). keeps: the node's disk may be needed by a later life, so that its machine has to persist what must
    survive. lies: what it says that its machine does not. clock: the node's own, by which its machine tells the time;
    None: it tells true time. ways: of the swaps that cells carry, those that this node is on, as an end or between;
    its ports lead to its neighbours then, whoever it swaps with. None of them: ports lead to those it swaps with.
    """

    node: int
    name: str
    peers: tuple[Peer, ...]
    nics: dict[str, str]
    members: tuple[int, ...]
    protocol: ProtocolConfig
    seed: int = 0
    epoch: int = 1
    start_ns: int = 0
    program: Program = Program()
    keeps: bool = False
    lies: tuple[Lie, ...] = ()
    clock: Clock | None = None
    ways: tuple[Way, ...] = ()

    @property
    def n(self) -> int:
        """How many nodes take part."""
        return len(self.members)

    def member_ports(self) -> dict[int, int]:
        """The members that are peers, each with the first port to it."""
        ports: dict[int, int] = {}
        for port, peer in enumerate(self.peers):
            if peer.node in self.members:
                ports.setdefault(peer.node, port)
        return ports


def node_config_from_json(data: dict[str, Any]) -> NodeConfig:
    """The inverse of ``dataclasses.asdict``."""
    return NodeConfig(
        **{
            **data,
            "peers": tuple(Peer(**peer) for peer in data["peers"]),
            "members": tuple(data["members"]),
            "protocol": ProtocolConfig.from_json(data["protocol"]),
            "program": Program(**data["program"]),
            "lies": tuple(map(Lie.from_json, data["lies"])),
            "clock": Clock.from_json(data["clock"]) if data["clock"] else None,
            "ways": tuple(Way(**way) for way in data["ways"]),
        }
    )
