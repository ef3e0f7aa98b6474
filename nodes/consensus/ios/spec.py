"""Ios as an engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from testbed.nodes.consensus.ios.machine import Delegate, IosMachine
from testbed.nodes.consensus.ios.messages import BODIES, falsify, says
from testbed.nodes.consensus.ios.pitfalls import Pitfall
from testbed.nodes.consensus.multi_paxos import spec as multi_paxos
from testbed.nodes.consensus.spec import LOG, RETRIES, EngineSpec, minority
from testbed.nodes.core import CONFIRMED
from testbed.nodes.core.config import NodeConfig, ProtocolConfig


@dataclass(frozen=True, slots=True)
class Parameters(multi_paxos.Parameters):
    """IOS's own settings, beside those of multi_paxos."""

    replication: int = field(
        default=0,
        metadata={
            "about": "Members that must vote for an entry, the leader and its coordinator among them (0: a "
            "majority); a new leader asks so many that any such quorum is met.",
            "ge": 0,
            "le": 1 << 16,
        },
    )
    delegate: Delegate = field(
        default=Delegate.ROTATE,
        metadata={
            "about": "Who coordinates: one heard member after another (rotate), always the next after the "
            "leader (next), or who has submitted the entry (submitter)."
        },
    )


def _build(config: NodeConfig, pitfalls: Collection[str]) -> IosMachine:
    own: Parameters = SPEC.parameters_of(config.protocol)
    planted = frozenset(Pitfall(name) for name in pitfalls)
    delegate = Delegate(own.delegate)
    return IosMachine(config, planted, own.patience, own.drift_ppm, own.replication, delegate)


def _wrong(protocol: ProtocolConfig, n: int) -> str:
    """Quorums that there are not, or that bear too little."""
    own: Parameters = SPEC.parameters_of(protocol)
    if own.replication == 0:
        return ""
    if not 2 <= own.replication <= n:
        return f"a leader and a coordinator replicate among {n} members; take replication from 2 to {n}, or 0"
    bears = min(n - own.replication, own.replication - 1)
    if protocol.f > bears:
        return f"replication {own.replication} of {n} bears {bears} crashes, not f = {protocol.f}; change either"
    return ""


def _settle_ns(protocol: ProtocolConfig, n: int, longest_ns: int) -> int:
    """As for Multi-Paxos; and of an entry each of f coordinators may die on the way, and RETRIES orders or reports get
    lost, each of which is seen after two intervals; a report comes two delays later than a vote."""
    own: Parameters = SPEC.parameters_of(protocol)
    orders = protocol.f + RETRIES
    return multi_paxos.settled_ns(own, protocol, n, longest_ns) + orders * (2 * protocol.retry_ns + 2 * longest_ns)


SPEC = EngineSpec(
    name="ios",
    title="Ios: Multi-Paxos whose leader delegates the replication of each entry to another member",
    build=_build,
    made_of_swaps=False,
    most_f=minority,
    rule="f < n/2",
    settle_ns=_settle_ns,
    wrong=_wrong,
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
