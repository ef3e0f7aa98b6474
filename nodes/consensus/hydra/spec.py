"""Hydra as an engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from testbed.nodes.consensus.hydra.machine import SITES, HydraMachine
from testbed.nodes.consensus.hydra.messages import BODIES, falsify, says
from testbed.nodes.consensus.hydra.pitfalls import Pitfall
from testbed.nodes.consensus.multi_paxos import spec as multi_paxos
from testbed.nodes.consensus.spec import LOG, RETRIES, EngineSpec, minority
from testbed.nodes.core.config import NodeConfig, ProtocolConfig


@dataclass(frozen=True, slots=True)
class Parameters(multi_paxos.Parameters):
    """Hydra's own settings, beside those of multi_paxos, which each site runs."""

    sites: int = field(
        default=SITES,
        metadata={
            "about": "The members in their order are split into so many, of sizes that differ by one at the most.",
            "ge": 1,
            "le": 1 << 16,
        },
    )


def _build(config: NodeConfig, pitfalls: Collection[str]) -> HydraMachine:
    own: Parameters = SPEC.parameters_of(config.protocol)
    planted = frozenset(Pitfall(name) for name in pitfalls)
    return HydraMachine(config, planted, own.sites, own.patience, own.drift_ppm)


def _wrong(protocol: ProtocolConfig, n: int) -> str:
    """More sites than members, or sites that bear too little."""
    own: Parameters = SPEC.parameters_of(protocol)
    if own.sites > n > 1:
        return f"{n} members can't be split into {own.sites} sites; take {n} at the most"
    bears = minority(n // min(own.sites, n))
    if protocol.f > bears:
        return f"the smallest of {own.sites} sites bears {bears} crashes, not f = {protocol.f}; take fewer, or lower f"
    return ""


def _most_f(n: int) -> int:
    """With as many sites as there are by default."""
    return minority(n // min(SITES, n))


def _settle_ns(protocol: ProtocolConfig, n: int, longest_ns: int) -> int:
    """An entry in its site, word of it to the others, what they give up for it in theirs, and word of that; who misses
    any of it asks one after another. All sites together have f leaders to lose."""
    own: Parameters = SPEC.parameters_of(protocol)
    largest = -(-n // min(own.sites, n))
    entry_ns = multi_paxos.settled_ns(own, protocol, largest, longest_ns)
    skip_ns = multi_paxos.settled_ns(own, replace(protocol, f=0), largest, longest_ns)
    word_ns = longest_ns + RETRIES * n * protocol.retry_ns + 2 * longest_ns
    return entry_ns + skip_ns + 2 * word_ns


SPEC = EngineSpec(
    name="hydra",
    title="Hydra (a reconstruction): Multi-Paxos inside each site, and one order of all sites' logs without a leader",
    build=_build,
    made_of_swaps=False,
    most_f=_most_f,
    rule="f < (members of the smallest of two sites)/2",
    settle_ns=_settle_ns,
    wrong=_wrong,
    properties=("agreement", "validity", "integrity", "order", "termination"),
    order=LOG,
    reads=(LOG,),
    leads=True,
    carries="bytes",
    parameters=Parameters,
    pitfalls=tuple(Pitfall),
    says=says,
    bodies=BODIES,
    falsify=falsify,
)
