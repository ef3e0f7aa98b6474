"""FloodSet as an engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial

from testbed.nodes.consensus.floodset.algorithm import BODIES, FloodSet, Pitfall, falsify, rounds_needed, says
from testbed.nodes.consensus.spec import EngineSpec, swaps_settle_ns
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.oae.rounds import RoundMachine


@dataclass(frozen=True, slots=True)
class Parameters:
    """FloodSet's own settings."""

    early_deciding: bool = field(
        default=True,
        metadata={
            "about": "Whether it decides in min(f' + 2, f + 1) rounds, of f' actual crashes, and not always in f + 1."
        },
    )


def _build(config: NodeConfig, pitfalls: Collection[str]) -> RoundMachine:
    own: Parameters = SPEC.parameters_of(config.protocol)
    planted = frozenset(Pitfall(name) for name in pitfalls)
    return RoundMachine(config, partial(FloodSet, early_deciding=own.early_deciding, pitfalls=planted))


SPEC = EngineSpec(
    name="floodset",
    title="synchronous, early deciding; its safety rests on the window",
    build=_build,
    made_of_swaps=True,
    most_f=lambda n: n - 1,
    rule="f < n",
    rounds_per_instance=rounds_needed,
    settle_ns=swaps_settle_ns,
    indulgent=False,
    parameters=Parameters,
    pitfalls=tuple(Pitfall),
    says=says,
    bodies=BODIES,
    falsify=falsify,
)
