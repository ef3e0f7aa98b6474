"""Fast Paxos as an engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from testbed.nodes.consensus.ballots import decided_ns
from testbed.nodes.consensus.fast_paxos.machine import AUTO, PATIENCE, FastPaxosMachine, most_fast_crashes
from testbed.nodes.consensus.fast_paxos.messages import BODIES, falsify, says
from testbed.nodes.consensus.fast_paxos.roles import Pitfall
from testbed.nodes.consensus.spec import EngineSpec, minority
from testbed.nodes.core.config import NodeConfig, ProtocolConfig


@dataclass(frozen=True, slots=True)
class Parameters:
    """Fast Paxos's own settings."""

    fast_crashes: int = field(
        default=AUTO,
        metadata={
            "about": "Crashes with which the fast ballot still decides (E); -1: as many as n > 2E + f allows.",
            "ge": AUTO,
            "le": 1 << 16,
        },
    )
    proposers: int = field(
        default=1,
        metadata={
            "about": "How many members offer their values at once; when they are several, values collide.",
            "ge": 1,
            "le": 1 << 16,
        },
    )
    fast: bool = field(default=True, metadata={"about": "false: classic ballots only."})
    patience: int = field(
        default=PATIENCE,
        metadata={
            "about": "Retransmissions that a ballot's owner is given before the next in line takes over.",
            "ge": 1,
            "le": 1000,
        },
    )


def _build(config: NodeConfig, pitfalls: Collection[str]) -> FastPaxosMachine:
    own: Parameters = SPEC.parameters_of(config.protocol)
    return FastPaxosMachine(
        config,
        frozenset(Pitfall(name) for name in pitfalls),
        fast_crashes=own.fast_crashes,
        proposers=own.proposers,
        fast=own.fast,
        patience=own.patience,
    )


def _wrong(protocol: ProtocolConfig, n: int) -> str:
    """Fast quorums that are too small."""
    own: Parameters = SPEC.parameters_of(protocol)
    most = most_fast_crashes(n, protocol.f)
    if own.fast_crashes <= most:
        return ""
    return (
        f"fast_crashes: {own.fast_crashes} is too large: {n} members must be more than 2 * fast_crashes + f, and "
        f"f is {protocol.f}; take {most} at most"
    )


def _settle_ns(protocol: ProtocolConfig, n: int, longest_ns: int) -> int:
    """The fast ballot is given up after retry_ns; then it is Paxos."""
    own: Parameters = SPEC.parameters_of(protocol)
    return protocol.retry_ns + decided_ns(protocol, n, longest_ns, own.patience)


SPEC = EngineSpec(
    name="fast_paxos",
    title="Fast Paxos: two message delays unless values collide, then a classic ballot",
    build=_build,
    made_of_swaps=False,
    most_f=minority,
    rule="f < n/2",
    settle_ns=_settle_ns,
    carries="bytes",
    parameters=Parameters,
    wrong=_wrong,
    pitfalls=tuple(Pitfall),
    says=says,
    bodies=BODIES,
    falsify=falsify,
)
