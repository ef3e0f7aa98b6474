"""What the end-to-end stories are given: plans from scenarios in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from testbed.plan import Plan
from testbed.scenario import compile_plan, from_data


@pytest.fixture(scope="session")
def plan_of() -> Callable[..., Plan]:
    """A plan from a scenario in place; ``protocol`` and ``link`` are updates of defaults."""

    def make(topology: dict[str, Any], link: dict[str, Any], protocol: dict[str, Any], **rest: Any) -> Plan:
        document = {
            "name": "story",
            "topology": topology,
            "links": {"default": link},
            "protocol": {"consensus": "none", "depth": 4, "window": "300us", "rounds": 100, **protocol},
            "seed": 1,
            **rest,
        }
        return compile_plan(from_data(document))

    return make
