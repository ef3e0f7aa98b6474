"""Good runs are not accused. The promise is one in a thousand at most; benchmarks/bench_trust.py counts them."""

from __future__ import annotations

import pytest
from damage import Damage

from testbed.engines.sim import SimEngine
from testbed.scenario import compile_plan, from_data
from testbed.scenario.drawn import drawn_scenario
from testbed.verdicts import judge

FEW_HOSTS = [number for number in range(60) if drawn_scenario(number)["topology"].get("kind") in ("pair", "star")]


BEHIND_A_BURST = 1230  # FIFO order without jitter, on a link whose burst has just ended: it was accused
OVERTAKEN = (
    38  # a frame waits at a rate; when that ends, later ones leave between it and the one it waited for: accused
)

COPY_FOR_THE_DEAD = 520  # of a frame's two copies one is handled, and the other comes when the node is dead: accused

LOST_BEFORE_THE_DEAF = (
    463  # what a deaf NIC keeps from its host was left out, and what was lost before it was not: accused
)


@pytest.mark.parametrize(
    "number", [*FEW_HOSTS[:24], BEHIND_A_BURST, OVERTAKEN, COPY_FOR_THE_DEAD, LOST_BEFORE_THE_DEAF]
)
def test_a_good_run_drawn_at_random_is_not_accused(number: int) -> None:
    """As sim records it, and as a kernel would; a queue that was drawn too short is full, and that is said."""
    data = drawn_scenario(number)
    data["links"]["default"].pop("limit", None)
    plan = compile_plan(from_data(data))
    history = SimEngine().run(plan)
    for engine in ("sim", "vkernel"):
        fidelity = judge(plan, Damage.of(plan, history, engine).history()).fidelity
        assert fidelity.limit_drops == 0
        assert fidelity.reasons == ()


@pytest.mark.parametrize("first", ["nic_up", "link_up"])
def test_a_cable_between_two_hosts_and_the_nic_at_its_end_come_up_as_one(first: str) -> None:
    """Without a switch the link's carrier is that NIC's: whichever of the two comes up first, frames pass again."""
    ups = {"nic_up": {"on": "host2"}, "link_up": {"links": "host1<->host2"}}
    faults = [
        {"at": "2ms", "do": "link_down", "links": "host1<->host2"},
        {"at": "2500us", "do": "nic_down", "on": "host2"},
        *({"at": "3ms" if verb == first else "5ms", "do": verb, **whom} for verb, whom in ups.items()),
    ]
    data = {
        "name": "cable",
        "topology": {"kind": "pair"},
        "links": {"default": {"delay": "10us"}},
        "protocol": {"window": "200us", "rounds": 30},
        "faults": faults,
    }
    plan = compile_plan(from_data(data))
    verdicts = judge(plan, SimEngine().run(plan))
    assert verdicts.fidelity.reasons == ()
    assert verdicts.bisynchrony.swaps["aborted"] == 5  # those of the rounds from 2 ms to 3 ms
