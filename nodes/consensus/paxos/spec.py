"""Paxos as an engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from testbed.nodes.consensus.ballots import decided_ns
from testbed.nodes.consensus.paxos.machine import PATIENCE, PaxosMachine
from testbed.nodes.consensus.paxos.messages import BODIES, falsify, says
from testbed.nodes.consensus.paxos.roles import Pitfall
from testbed.nodes.consensus.spec import EngineSpec, minority
from testbed.nodes.core.config import NodeConfig, ProtocolConfig


@dataclass(frozen=True, slots=True)
class Parameters:
    """Paxos's own settings."""

    patience: int = field(
        default=PATIENCE,
        metadata={
            "about": "Retransmissions that a proposer is given before the next in line takes over.",
            "ge": 1,
            "le": 1000,
        },
    )
    value_bytes: int = field(
        default=0,
        metadata={
            "about": "How many bytes the proposed values have; 0: they are the bare numbers.",
            "ge": 0,
            "le": 1 << 20,
        },
    )


def _build(config: NodeConfig, pitfalls: Collection[str]) -> PaxosMachine:
    own: Parameters = SPEC.parameters_of(config.protocol)
    return PaxosMachine(config, frozenset(Pitfall(name) for name in pitfalls), own.patience, own.value_bytes)


def _settle_ns(protocol: ProtocolConfig, n: int, longest_ns: int) -> int:
    """Takeovers, and the last in line asking."""
    own: Parameters = SPEC.parameters_of(protocol)
    return decided_ns(protocol, n, longest_ns, own.patience)


SPEC = EngineSpec(
    name="paxos",
    title="single-decree Paxos, one instance after another, with takeover by rank",
    build=_build,
    made_of_swaps=False,
    most_f=minority,
    rule="f < n/2",
    settle_ns=_settle_ns,
    carries="bytes",
    parameters=Parameters,
    pitfalls=tuple(Pitfall),
    says=says,
    bodies=BODIES,
    falsify=falsify,
)
