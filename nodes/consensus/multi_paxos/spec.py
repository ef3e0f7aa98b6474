"""Multi-Paxos as an engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from testbed.nodes.consensus.ballots import takeovers
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
    """Takeovers, each by the next in line after the last leader's heartbeat; an entry on its way through the ballot
    that is left alone, and who missed it asking."""
    until = takeovers(protocol, longest_ns, own.patience)
    entry_ns = RETRIES * own.patience * protocol.retry_ns + 3 * longest_ns
    asking_ns = 2 * longest_ns + 2 * RETRIES * protocol.retry_ns
    return n * until.waits_ns + until.ballot_ns + entry_ns + asking_ns


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
