"""Multi-Paxos as an engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from testbed.nodes.consensus.multi_paxos.machine import DRIFT_PPM, PATIENCE, MultiPaxosMachine
from testbed.nodes.consensus.multi_paxos.messages import BODIES, falsify, says
from testbed.nodes.consensus.multi_paxos.roles import Pitfall
from testbed.nodes.consensus.spec import LOG, RETRIES, EngineSpec, minority
from testbed.nodes.core import CONFIRMED
from testbed.nodes.core.config import NodeConfig, ProtocolConfig


@dataclass(frozen=True, slots=True)
class Parameters:
    """Multi-Paxos's own settings."""

    patience: int = field(
        default=PATIENCE,
        metadata={
            "about": "Heartbeats, one every retry, that a leader may leave out before the next in line takes "
            "over; a lease lasts as long.",
            "ge": 2,
            "le": 1000,
        },
    )
    drift_ppm: int = field(
        default=DRIFT_PPM,
        metadata={
            "about": "How much a clock gains or loses at the most, in parts per million; reads by lease are "
            "safe up to that.",
            "ge": 0,
            "lt": 1_000_000,
        },
    )


def _build(config: NodeConfig, pitfalls: Collection[str]) -> MultiPaxosMachine:
    own: Parameters = SPEC.parameters_of(config.protocol)
    planted = frozenset(Pitfall(name) for name in pitfalls)
    return MultiPaxosMachine(config, planted, own.patience, own.drift_ppm)


def _settle_ns(protocol: ProtocolConfig, n: int, longest_ns: int) -> int:
    own: Parameters = SPEC.parameters_of(protocol)
    return settled_ns(own, protocol, n, longest_ns)


def settled_ns(own: Parameters, protocol: ProtocolConfig, n: int, longest_ns: int) -> int:
    """Takeovers until a ballot is left alone, that ballot, an entry on its way through it, and who missed it asking.

    Each of f leaders may die on the way, the next in line after the last one's heartbeat; each takeover doubles the
    wait of the one after it, also until it is longer than two phases take, after which nobody interferes any more.
    """
    wait_ns = own.patience * protocol.retry_ns
    phases_ns = 4 * longest_ns
    takeovers = protocol.f
    while wait_ns << takeovers < phases_ns:
        takeovers += 1
    waits_ns = n * wait_ns * ((1 << takeovers) - 1 + protocol.f)
    ballot_ns = phases_ns + 2 * RETRIES * protocol.retry_ns
    entry_ns = RETRIES * wait_ns + 3 * longest_ns
    asking_ns = 2 * longest_ns + 2 * RETRIES * protocol.retry_ns
    return waits_ns + ballot_ns + entry_ns + asking_ns


SPEC = EngineSpec(
    name="multi_paxos",
    title="Multi-Paxos: one log, a stable leader with phase 1 behind it, takeover by rank",
    build=_build,
    made_of_swaps=False,
    most_f=minority,
    rule="f < n/2",
    settle_ns=_settle_ns,
    properties=("agreement", "validity", "integrity", "order", "termination"),
    order=LOG,
    reads=(LOG, *CONFIRMED),
    leads=True,
    carries="bytes",
    parameters=Parameters,
    pitfalls=tuple(Pitfall),
    says=says,
    bodies=BODIES,
    falsify=falsify,
)
