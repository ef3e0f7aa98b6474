"""EPaxos* as an engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from testbed.nodes.consensus.epaxos.machine import PATIENCE, EPaxosMachine, most_e
from testbed.nodes.consensus.epaxos.messages import BODIES, falsify, says
from testbed.nodes.consensus.epaxos.pitfalls import Pitfall
from testbed.nodes.consensus.spec import PARTIAL, RETRIES, EngineSpec, minority
from testbed.nodes.core.config import NodeConfig, ProtocolConfig


@dataclass(frozen=True, slots=True)
class Parameters:
    """EPaxos*'s own settings."""

    classes: int = field(
        default=2,
        metadata={
            "about": "Inputs conflict when their numbers are the same modulo this; with 1 all are put into one order.",
            "ge": 1,
            "le": 1000,
        },
    )
    e: int = field(
        default=-1, metadata={"about": "So many crashes leave the fast path open; -1: as many as can.", "ge": -1}
    )
    patience: int = field(
        default=PATIENCE,
        metadata={
            "about": "Intervals of retry in which a command may stand still before the next in line recovers it.",
            "ge": 2,
            "le": 1000,
        },
    )


def _build(config: NodeConfig, pitfalls: Collection[str]) -> EPaxosMachine:
    own: Parameters = SPEC.parameters_of(config.protocol)
    planted = frozenset(Pitfall(name) for name in pitfalls)
    return EPaxosMachine(config, planted, own.patience, own.e)


def _wrong(protocol: ProtocolConfig, n: int) -> str:
    own: Parameters = SPEC.parameters_of(protocol)
    if own.e <= most_e(n):
        return ""
    f = minority(n)
    return f"e is {own.e}; {n} members bear f = {f}, and with n >= 2e + f - 1 and e <= f no e above {most_e(n)}"


def _settle_ns(protocol: ProtocolConfig, n: int, longest_ns: int) -> int:
    """Somebody's turn to recover a command after f of those before it died of it, its recovery; what was given up
    brought in once more; and who missed it being told.

    A ballot doubles the wait for the next one, as often as it takes until a recovery lasts no longer.
    """
    own: Parameters = SPEC.parameters_of(protocol)
    tick_ns = own.patience * protocol.retry_ns
    recovery_ns = 6 * longest_ns + 3 * RETRIES * protocol.retry_ns
    doublings = protocol.f
    while tick_ns << doublings < recovery_ns:
        doublings += 1
    turns_ns = (n + 1) * tick_ns * ((2 << doublings) - 1)
    path_ns = 4 * longest_ns + 2 * RETRIES * protocol.retry_ns
    return 2 * (turns_ns + (1 + protocol.f) * recovery_ns) + path_ns + RETRIES * tick_ns + 2 * longest_ns


SPEC = EngineSpec(
    name="epaxos",
    title="EPaxos*: no leader, two delays for what commutes, explicit recovery of the rest",
    build=_build,
    made_of_swaps=False,
    most_f=minority,
    rule="f < n/2",
    settle_ns=_settle_ns,
    properties=("agreement", "validity", "integrity", "order", "termination"),
    order=PARTIAL,
    carries="bytes",
    parameters=Parameters,
    wrong=_wrong,
    pitfalls=tuple(Pitfall),
    says=says,
    bodies=BODIES,
    falsify=falsify,
)
