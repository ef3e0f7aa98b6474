"""Plans for runs on real NICs, small and with windows wide enough for a busy machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from builders import everyone

from testbed.nodes.core.config import ProtocolConfig
from testbed.plan import Fault, Plan, derive_seed
from testbed.topologies.build import make_fabric
from testbed.topologies.impairment import Impairment

WINDOW_NS = 100_000_000


def make_plan(
    kind: str = "pair",
    sizes: dict[str, int] | None = None,
    *,
    rounds: int = 5,
    faults: Sequence[Fault] = (),
    impairment: Impairment | None = None,
    window_ns: int = WINDOW_NS,
    **protocol: Any,
) -> Plan:
    """Swaps among all hosts; all times of the plan in units of the window."""
    seed = 7
    fabric = make_fabric(kind, sizes)
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
    config = ProtocolConfig(rounds=rounds, window_ns=window_ns, period_ns=window_ns, **protocol)
    duration_ns = rounds * window_ns + window_ns // 2
    return Plan("story", seed, fabric, config, everyone(fabric), tuple(faults), duration_ns, window_ns)


@pytest.fixture
def plan_of() -> Callable[..., Plan]:
    """See make_plan."""
    return make_plan
