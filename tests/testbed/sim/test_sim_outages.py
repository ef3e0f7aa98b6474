"""Links and switches that fail under sim, and forwarding around them."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.engines.sim import SimEngine
from testbed.faults.outages import Outages
from testbed.history import History
from testbed.nodes.core import Resolve
from testbed.plan import Fault, Plan
from testbed.scenario import ScenarioError, compile_plan, from_data
from testbed.topologies.build import make_fabric
from testbed.verdicts import judge

FABRIC = {"kind": "leaf_spine", "spines": 2, "leaves": 2, "hosts_per_leaf": 1}


def plan_of(faults: list[dict[str, Any]], **rest: Any) -> Plan:
    document = {
        "name": "outages",
        "topology": FABRIC,
        "links": {"default": {"delay": "10us"}},
        "protocol": {"window": "300us", "rounds": 100},
        "faults": faults,
        **rest,
    }
    return compile_plan(from_data(document))


def aborted_rounds(plan: Plan, history: History) -> list[int]:
    lost = [event.what.swap.round for event in history.events.of_kind(Resolve) if event.what.outcome != "committed"]
    return sorted(set(lost))


def spines_seen(history: History, from_ns: int, until_ns: int) -> set[str]:
    return {hop.node for hop in history.hops if hop.node.startswith("spine") and from_ns < hop.t_ns < until_ns}


def test_a_dead_spine_costs_what_it_takes_to_forward_around_it() -> None:
    """Down from 6 ms on, forwarded around from 7.5 ms on: rounds 20 to 24 are lost, and no other."""
    healthy = SimEngine().run(plan_of([]))
    spine = "spine1" if "spine1" in spines_seen(healthy, 0, 30_000_000) else "spine2"
    plan = plan_of([{"do": "switch_kill", "on": "spine*", "at": "6ms", "for": "1.5ms"}])
    assert aborted_rounds(plan, SimEngine().run(plan)) == [20, 21, 22, 23, 24]
    plan = plan_of([{"do": "switch_kill", "on": spine, "at": "6ms", "reroute": "1500us"}])
    history = SimEngine().run(plan)
    assert aborted_rounds(plan, history) == [20, 21, 22, 23, 24]
    assert spines_seen(history, 8_000_000, 30_000_000) == {"spine1", "spine2"} - {spine}
    assert str(judge(plan, history).fidelity.answer) == "trusted"


def test_a_link_that_comes_back_is_used_again_when_switches_forward_as_before() -> None:
    order = {"do": "link_down", "links": "leaf1<->spine*", "at": "6ms", "for": "3ms", "reroute": "600us"}
    plan = plan_of([order])
    history = SimEngine().run(plan)
    assert aborted_rounds(plan, history) == list(range(20, 30))
    assert str(judge(plan, history).fidelity.answer) == "trusted"
    assert [fault.verb for fault in plan.faults] == ["link_down", "link_up", "reroute", "reroute"]


def test_a_link_of_a_dead_switch_stays_down_when_the_switch_is_back() -> None:
    outages = Outages(make_fabric("leaf_spine", {"spines": 2, "leaves": 2, "hosts_per_leaf": 1}))
    index = next(place for place, link in enumerate(outages.fabric.links) if link.name == "leaf1<->spine1")
    down, _ = outages.strike(Fault("link_down", links=((index, "ab"),)))
    assert [end.nic for end in down] == [outages.fabric.links[index].a.nic]
    down, up = outages.strike(Fault("switch_kill", target="leaf1"))
    assert {end.node for end in down} == {"leaf1"}
    assert outages.fabric.links[index].a not in down
    down, up = outages.strike(Fault("switch_restart", target="leaf1"))
    assert not down
    assert outages.fabric.links[index].a not in up
    _, up = outages.strike(Fault("link_up", links=((index, "ab"),)))
    assert up == [outages.fabric.links[index].a]
    assert outages.forwarding() == outages.fabric.forwarding


def test_nobody_forwards_in_a_circle_whatever_is_down() -> None:
    """Every pair of links and switches of a fat tree down: each address still ends, or ends where something is down."""
    fabric = make_fabric("fat_tree", {"k": 4})
    far = {end.nic: other for link in fabric.links for end, other in ((link.a, link.b), (link.b, link.a))}
    for place in range(0, len(fabric.links), 5):
        for switch in fabric.switches[::3]:
            outages = Outages(fabric)
            outages.strike(Fault("link_down", links=((place, "ab"),)))
            outages.strike(Fault("switch_kill", target=switch))
            tables = outages.forwarding()
            for start in fabric.switches:
                for mac in list(tables[start])[::4]:
                    node, hops = start, 0
                    while node in tables:
                        node, hops = far[tables[node][mac]].node, hops + 1
                        assert hops <= len(fabric.switches)


BAD = [
    ({"do": "link_down", "at": "1ms"}, "links: is missing"),
    ({"do": "link_down", "at": "1ms", "links": "leaf1<->spine9"}, "matches no link"),
    ({"do": "link_down", "at": "1ms", "on": "host1", "links": "*<->*"}, "does not go with link_down"),
    ({"do": "switch_kill", "at": "1ms"}, "on: is missing"),
    ({"do": "switch_kill", "at": "1ms", "on": "host1"}, "no switch 'host1'"),
    ({"do": "node_kill", "at": "1ms", "on": "host1", "reroute": "1ms"}, "goes with link_down"),
    ({"do": "loss", "at": "1ms", "jitter": "1us"}, "loss: is missing"),
    ({"do": "rate_limit", "at": "1ms"}, "rate: 10mbit"),
]


@pytest.mark.parametrize(("order", "word"), BAD)
def test_an_order_that_makes_no_sense_is_one_clear_line(order: dict[str, Any], word: str) -> None:
    with pytest.raises(ScenarioError, match=word):
        plan_of([order])
