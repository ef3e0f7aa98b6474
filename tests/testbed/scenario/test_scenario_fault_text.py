"""Faults as lines of text: the same orders as the mappings, there and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.faults import VERBS, describe
from testbed.scenario import compile_plan, parse
from testbed.scenario.model import FaultOrder

BASE = "name: t\ntopology: {kind: leaf_spine, spines: 2, leaves: 2, hosts_per_leaf: 2}\nprotocol: {rounds: 100}\n"

ALIKE = {
    "at 10ms partition host1,host2 | host3": {"at": "10ms", "do": "partition", "groups": [["host1", "host2"], "host3"]},
    "from 0s to 2s flap host3 every 50ms": {"from": "0s", "until": "2s", "do": "flap", "on": "host3", "every": "50ms"},
    "when host2 enters REFLECTING: node_kill host2 for 5ms": {
        "when": {"node": "host2", "enters": "REFLECTING"},
        "do": "node_kill",
        "on": "host2",
        "for": "5ms",
    },
    "when host1 sends 3 in round 5 after 2us : node_kill": {
        "when": {"node": "host1", "after_sends": 3, "round": 5, "after": "2us"},
        "do": "node_kill",
    },
    "when host1 leaves TENTATIVE with host2: nic_half host3-eth0 tx": {
        "when": {"node": "host1", "leaves": "TENTATIVE", "peer": "host2"},
        "do": "nic_half",
        "on": "host3-eth0",
        "direction": "tx",
    },
    "at round 40 + 50us nic_down host1 , host2 for 2ms": {
        "at": "round 40 + 50us",
        "do": "nic_down",
        "on": ["host1", "host2"],
        "for": "2ms",
    },
    "at 1ms jitter links leaf*<->spine*,host1->leaf1 delay 30us loss 5% for 2ms": {
        "at": "1ms",
        "do": "jitter",
        "links": ["leaf*<->spine*", "host1->leaf1"],
        "delay": "30us",
        "loss": "5%",
        "for": "2ms",
    },
    "at 1ms jitter burst_loss p=10%,r=50% for 2ms": {
        "at": "1ms",
        "do": "jitter",
        "burst_loss": {"p": "10%", "r": "50%"},
        "for": "2ms",
    },
}


@pytest.mark.parametrize("text", ALIKE)
def test_a_line_and_its_mapping_are_one_order(text: str) -> None:
    assert FaultOrder.model_validate(text) == FaultOrder.model_validate(ALIKE[text])


def names() -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(["host1", "host?", "host[23]", "host4"]), min_size=1, max_size=3, unique=True)


@st.composite
def orders(draw: st.DrawFn) -> dict[str, Any]:
    """Any verb, at an instant or a moment, with what it needs and some of what it may have."""
    times = st.sampled_from(["1ns", "20us", "1500ns", "3ms"])
    verb = VERBS[draw(st.sampled_from(sorted(VERBS)))]
    order: dict[str, Any] = {"do": verb.name}
    over_and_over = verb.name in ("flap", "churn")
    begin = "from" if over_and_over else draw(st.sampled_from(["at", "from", "when"]))
    if begin == "when":
        key = draw(st.sampled_from(["enters", "leaves", "after_sends", "after_writes"]))
        moment = {"node": "host1", key: "REFLECTING" if key in ("enters", "leaves") else draw(st.integers(1, 99))}
        if key != "after_writes":
            moment |= draw(st.sampled_from([{}, {"round": 7}]))
        if key in ("enters", "leaves"):
            moment |= draw(st.sampled_from([{}, {"peer": "host2"}]))
        order["when"] = moment | draw(st.sampled_from([{}, {"after": "5us"}]))
    else:
        order[begin] = draw(st.sampled_from(["0s", "10ms", "round 3", "round 3 + 20us"]))
    if over_and_over:
        order["until"] = "20ms"
    if over_and_over or verb.name == "rolling_restart":
        order |= {"every": "5ms", "for": draw(times)}
    elif verb.undo:
        order |= {"for": draw(times)}
    if verb.name == "partition":
        order["groups"] = [draw(names()), draw(names())]
        order |= draw(st.sampled_from([{}, {"one_way": True}]))
    elif verb.name == "unimpair":
        order["links"] = "leaf*->spine*"
    elif verb.strikes == "fabric":
        pass
    elif verb.strikes == "links":
        order |= {"links": "leaf*->spine*", "delay": draw(times), "distribution": "normal", "loss": 0.125}
        order |= {"duplicate": 0.5, "corrupt": 0.25, "rate": "1mbit"}
    elif verb.strikes == "link":
        order |= {"links": ["leaf1<->spine1"], "reroute": draw(times)}
    else:
        order["on"] = draw(names())
    if verb.name in ("clock_step", "node_slow"):
        order["by"] = draw(st.sampled_from(["5us", "1500ns"]))
    if verb.name == "clock_drift":
        order["drift"] = draw(st.sampled_from(["20ppm", "-1500ppb"]))
    if verb.name == "nic_half":
        order["direction"] = draw(st.sampled_from(["tx", "rx"]))
    if verb.name == "nic_deaf":
        order["to"] = draw(names())
    if verb.undo == "node_restart":
        order["state"] = draw(st.sampled_from(["kept", "torn"]))
    return order


@settings(max_examples=300, deadline=None, derandomize=True)
@given(orders())
def test_what_is_spelled_reads_as_the_same_order(order: dict[str, Any]) -> None:
    meant = FaultOrder.model_validate(order)
    assert FaultOrder.model_validate(meant.text()) == meant
    assert FaultOrder.model_validate(meant.text()).text() == meant.text()


def test_what_explain_prints_may_be_pasted_and_means_the_same() -> None:
    """All lines of a plan as one text, with a comment: it strikes the same hosts at the same instants."""
    written = """faults: |
  at 1ms partition host1,host2 | host3 for 2ms   # and back
  from 5ms to 7ms flap host4 every 1ms

  when host2 enters REFLECTING with host3 in round 20: node_kill host2 for 5ms
  at 20ms nic_half host1 rx for 1ms
  at 30ms loss links host1->*,*->host2 loss 5% delay 3us for 1ms
  at 40ms jitter burst_loss p=5%,r=50% duplicate 1% corrupt 1% rate 1gbit distribution normal jitter 1us
  at 50ms unimpair
  at 60ms link_down links host1<->* reroute 1ms for 5ms
"""
    plan = compile_plan(parse(BASE + written))
    lines = [describe(plan.faults, number, plan.fabric) for number in range(len(plan.faults))]
    again = compile_plan(parse(BASE + "faults: |\n" + "".join(f"  {line}\n" for line in lines)))
    assert len(again.faults) == len(lines) == 6 + 4 + 2 + 2 + 2 + 1 + 1 + 4
    assert [describe(again.faults, number, again.fabric) for number in range(len(lines))] == lines
    assert [(fault.links, fault.impairment) for fault in again.faults] == [
        (fault.links, fault.impairment) for fault in plan.faults
    ]
