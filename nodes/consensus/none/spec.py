"""Swaps without consensus, as an engine."""

from __future__ import annotations

from collections.abc import Collection

from testbed.nodes.consensus.spec import EngineSpec, swaps_settle_ns
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.oae.rounds import BODIES, RoundMachine, falsify, says


def _build(config: NodeConfig, pitfalls: Collection[str]) -> RoundMachine:  # noqa: ARG001 - there are none
    return RoundMachine(config)


SPEC = EngineSpec(
    name="none",
    title="rounds of swaps between neighbours; nothing is decided",
    build=_build,
    made_of_swaps=True,
    most_f=lambda n: n,
    rule="any f",
    settle_ns=swaps_settle_ns,
    properties=(),
    all_pairs=False,
    says=says,
    bodies=BODIES,
    falsify=falsify,
)
