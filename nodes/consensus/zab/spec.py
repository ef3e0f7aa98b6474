"""Zab as an engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from testbed.nodes.consensus.spec import LOG, RETRIES, EngineSpec, minority
from testbed.nodes.consensus.zab.machine import BATCH, MOST_DOUBLINGS, PATIENCE, ZabMachine
from testbed.nodes.consensus.zab.messages import BODIES, falsify, says
from testbed.nodes.consensus.zab.pitfalls import Pitfall
from testbed.nodes.core import INDEX
from testbed.nodes.core.config import NodeConfig, ProtocolConfig


@dataclass(frozen=True, slots=True)
class Parameters:
    """Zab's own settings."""

    patience: int = field(
        default=PATIENCE,
        metadata={
            "about": "Heartbeats, one every retry, that may stay away before a follower gives its leader up, "
            "or a leader its followers.",
            "ge": 2,
            "le": 1000,
        },
    )
    batch: int = field(
        default=BATCH,
        metadata={"about": "Most transactions that are said again in one message.", "ge": 1, "le": 10_000},
    )


def _build(config: NodeConfig, pitfalls: Collection[str]) -> ZabMachine:
    own: Parameters = SPEC.parameters_of(config.protocol)
    return ZabMachine(config, frozenset(Pitfall(name) for name in pitfalls), own.patience, own.batch)


def _settle_ns(protocol: ProtocolConfig, n: int, longest_ns: int) -> int:  # noqa: ARG001 - however many there are
    """Each of f leaders may die on the way, and leaders may fail until the wait for one is long enough for the three
    phases; then the submission is handed over again, put in order, and its commitment told."""
    own: Parameters = SPEC.parameters_of(protocol)
    patience_ns = own.patience * protocol.retry_ns
    lost_ns = RETRIES * protocol.retry_ns
    phases_ns = 8 * longest_ns + 3 * lost_ns
    failures = protocol.f
    while failures < MOST_DOUBLINGS and patience_ns << failures < phases_ns:
        failures += 1
    waits_ns = 3 * patience_ns * ((2 << failures) - 1)
    elections_ns = (failures + 1) * (2 * longest_ns + lost_ns)
    entry_ns = patience_ns + 2 * (2 * longest_ns + lost_ns)
    return waits_ns + elections_ns + phases_ns + entry_ns


SPEC = EngineSpec(
    name="zab",
    title="Zab: epochs promised, a quorum brought up to date, then broadcast in the primary's order",
    build=_build,
    made_of_swaps=False,
    most_f=minority,
    rule="f < n/2",
    settle_ns=_settle_ns,
    properties=("agreement", "validity", "integrity", "order", "termination"),
    order=LOG,
    reads=(LOG, INDEX),
    leads=True,
    carries="bytes",
    parameters=Parameters,
    pitfalls=tuple(Pitfall),
    says=says,
    bodies=BODIES,
    falsify=falsify,
)
