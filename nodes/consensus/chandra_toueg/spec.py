"""Chandra and Toueg's consensus as an engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from testbed.nodes.consensus.chandra_toueg.machine import PATIENCE, ChandraTouegMachine
from testbed.nodes.consensus.chandra_toueg.messages import BODIES, falsify, says
from testbed.nodes.consensus.chandra_toueg.pitfalls import Pitfall
from testbed.nodes.consensus.spec import RETRIES, EngineSpec, minority
from testbed.nodes.core.config import NodeConfig, ProtocolConfig


@dataclass(frozen=True, slots=True)
class Parameters:
    """Chandra and Toueg's own settings."""

    patience: int = field(
        default=PATIENCE,
        metadata={
            "about": "Heartbeats, one every retry, that may stay out before a node is suspected for the first "
            "time; with each suspicion in vain it is given twice as long.",
            "ge": 2,
            "le": 1000,
        },
    )


def _build(config: NodeConfig, pitfalls: Collection[str]) -> ChandraTouegMachine:
    own: Parameters = SPEC.parameters_of(config.protocol)
    return ChandraTouegMachine(config, frozenset(Pitfall(name) for name in pitfalls), own.patience)


def _settle_ns(protocol: ProtocolConfig, n: int, longest_ns: int) -> int:
    """Suspicions in vain until timeouts are long enough for heartbeats that are late or lost; then those of the dead,
    one coordinator after another; and a round for each coordinator, whose four phases may each have to be asked for.
    """
    own: Parameters = SPEC.parameters_of(protocol)
    timeout_ns = own.patience * protocol.retry_ns
    learning_ns = 0
    while timeout_ns < RETRIES * protocol.retry_ns + 2 * longest_ns:
        learning_ns += timeout_ns + longest_ns
        timeout_ns *= 2
    round_ns = 4 * longest_ns + RETRIES * protocol.retry_ns
    return learning_ns + (protocol.f + 1) * timeout_ns + n * round_ns


SPEC = EngineSpec(
    name="chandra_toueg",
    title="Chandra and Toueg: a rotating coordinator, and a failure detector that learns to wait",
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
