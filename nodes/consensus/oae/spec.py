"""The OAE engine."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from testbed.nodes.consensus.oae.algorithm import BODIES, Oae, Pitfall, falsify, rounds_needed, says
from testbed.nodes.consensus.spec import EngineSpec, minority, swaps_settle_ns
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.oae.rounds import RoundMachine


def _build(config: NodeConfig, pitfalls: Collection[str]) -> RoundMachine:
    return RoundMachine(config, partial(Oae, pitfalls=frozenset(Pitfall(name) for name in pitfalls)))


SPEC = EngineSpec(
    name="oae",
    title="deterministic, leaderless and indulgent: never disagrees, whatever is late",
    build=_build,
    made_of_swaps=True,
    most_f=minority,
    rule="f < n/2",
    rounds_per_instance=rounds_needed,
    settle_ns=swaps_settle_ns,
    pitfalls=tuple(Pitfall),
    says=says,
    bodies=BODIES,
    falsify=falsify,
)
