"""Plans for runs on real NICs, small and with windows wide enough for a busy machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from nodes.core.config import NodeConfig, Peer, ProtocolConfig
from testbed.plan import Fault, Plan, derive_seed
from topologies.build import make_fabric
from topologies.impairment import Impairment

WINDOW_NS = 100_000_000


def make_plan(
    kind: str = "pair",
    parameters: dict[str, int] | None = None,
    *,
    rounds: int = 5,
    faults: Sequence[Fault] = (),
    impairment: Impairment | None = None,
    window_ns: int = WINDOW_NS,
    **protocol: Any,
) -> Plan:
    """Swaps among all hosts; all times of the plan in units of the window."""
    seed = 7
    fabric = make_fabric(kind, parameters)
    if impairment is not None:
        links = tuple(
            replace(
                link,
                ab=impairment.with_seed(derive_seed(seed, "link", index, "ab")),
                ba=impairment.with_seed(derive_seed(seed, "link", index, "ba")),
            )
            for index, link in enumerate(fabric.links)
        )
        fabric = replace(fabric, links=links)
    ends = {end.node: end for link in fabric.links for end in (link.a, link.b)}
    config = ProtocolConfig(rounds=rounds, window_ns=window_ns, period_ns=window_ns, **protocol)
    nodes = tuple(
        NodeConfig(
            node=number,
            name=host,
            peers=tuple(
                Peer(place, other, ends[host].nic, ends[other].mac)
                for place, other in enumerate(fabric.hosts)
                if other != host
            ),
            nics={ends[host].nic: ends[host].mac},
            members=tuple(range(len(fabric.hosts))),
            protocol=config,
        )
        for number, host in enumerate(fabric.hosts)
    )
    duration_ns = rounds * window_ns + window_ns // 2
    return Plan("story", seed, fabric, nodes, tuple(faults), duration_ns, window_ns)


@pytest.fixture
def plan_of() -> Callable[..., Plan]:
    """See make_plan."""
    return make_plan
