"""Good runs are not accused. The promise is one in a thousand at most; benchmarks/bench_trust.py counts them."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.engines.sim import SimEngine
from testbed.engines.sim.kernel_record import as_a_kernel_records
from testbed.plan import Plan
from testbed.scenario import compile_plan, from_data, load
from testbed.scenario.drawn import drawn_scenario
from testbed.verdicts import judge

FEW_HOSTS = [number for number in range(60) if drawn_scenario(number)["topology"].get("kind") in ("pair", "star")]

ACCUSED = sorted((Path(__file__).parent / "accused").glob("*.yaml"))
"""Drawn runs that were accused once, each with the reason. Written down, for what a number draws changes with every
verb and engine that is added."""


@pytest.mark.parametrize("number", FEW_HOSTS[:24])
def test_a_good_run_drawn_at_random_is_not_accused(number: int) -> None:
    """A queue that was drawn too short is full, and that is said: it is left out."""
    data = drawn_scenario(number)
    data["links"]["default"].pop("limit", None)
    _assert_not_accused(compile_plan(from_data(data)))


@pytest.mark.parametrize("path", ACCUSED, ids=lambda path: path.stem)
def test_a_good_run_that_was_accused_once_is_not_any_more(path: Path) -> None:
    _assert_not_accused(compile_plan(load(path)))


def _assert_not_accused(plan: Plan) -> None:
    """As sim records it, and as a kernel would."""
    history = SimEngine().run(plan)
    for told in (history, as_a_kernel_records(history)):
        fidelity = judge(plan, told).fidelity
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
