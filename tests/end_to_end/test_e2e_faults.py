"""Every fault means the same under sim and on a real kernel: every event of every node at the same instant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from testbed.engines.sim import SimEngine
from testbed.engines.vkernel.engine import VKernelEngine
from testbed.faults import VERBS
from testbed.history import History
from testbed.nodes.core.record import Overrun, Received, Sent, Struck
from testbed.plan import VERBS as ATOMIC
from testbed.plan import Plan
from testbed.verdicts import judge

pytestmark = [pytest.mark.slow, pytest.mark.kernel]

FABRIC = {"kind": "leaf_spine", "spines": 2, "leaves": 3, "hosts_per_leaf": 1}
TABLE: dict[str, dict[str, Any]] = {
    "nic_down": {},
    "nic_up": {},
    "nic_mute": {},
    "nic_unmute": {},
    "nic_half": {"direction": "tx"},
    "nic_deaf": {"to": "host*"},
    "nic_hear": {"to": ["host1", "host2"]},
    "partition": {},
    "heal": {},
    "flap": {"every": "400us", "for": "150us", "times": 3},
    "node_pause": {},
    "node_resume": {},
    "node_slow": {"by": "20us"},
    "node_quick": {},
    "node_kill": {},
    "node_restart": {"state": "kept"},
    "rolling_restart": {"every": "500us", "for": "200us", "state": "kept"},
    "churn": {"every": "400us", "for": "200us"},
    "clock_step": {"by": "70us"},
    "clock_drift": {"drift": "-4000ppm"},
    "link_down": {"reroute": "400us"},
    "link_up": {"reroute": "400us"},
    "switch_kill": {"reroute": "400us"},
    "switch_restart": {"reroute": "400us"},
    "jitter": {"jitter": "9us", "loss": "5%"},
    "delay": {"delay": "30us"},
    "loss": {"burst_loss": {"p": "5%", "r": "50%"}},
    "duplicate": {"duplicate": "5%"},
    "corrupt": {"corrupt": "5%"},
    "rate_limit": {"rate": "100mbit"},
    "unimpair": {},
    "reroute": {},
    "disk_free": {},
    "disk_full": {},
}
"""What each verb says besides whom and when; disk_full comes last, for whom it strikes is dead from then on."""

EVERY_ROUNDS = 7
FOR = "1ms"


def orders(when: str, hosts: list[str]) -> list[dict[str, Any]]:
    """Each verb once, one after the other. when: timed, triggered, or following, both with what ends it FOR later."""
    found = []
    for place, (verb, says) in enumerate(TABLE.items()):
        round_ = 3 + EVERY_ROUNDS * place
        order: dict[str, Any] = {"do": verb, **says}
        if VERBS[verb].strikes == "links":
            order["links"] = [f"{host}<->*" for host in hosts]
        elif VERBS[verb].strikes == "link":
            order["links"] = ["leaf1<->spine1", "leaf2<->spine2"][: len(hosts)]
        elif VERBS[verb].strikes == "fabric":
            pass
        elif VERBS[verb].strikes == "switch":
            order["on"] = ["spine2", "leaf3"][: len(hosts)]
        elif verb == "partition":
            order["groups"] = [hosts, [host for host in ("host1", "host2", "host3") if host not in hosts]]
        else:
            order["on"] = hosts
        if verb == "churn":  # which has no other beginning
            order |= {"from": f"round {round_}", "until": f"round {round_ + EVERY_ROUNDS // 2}"}
        elif when == "triggered":
            order["when"] = {"node": "host1", "enters": "REFLECTING", "round": round_}
        else:
            order["at"] = f"round {round_} + 20us"
        if when != "timed" and "for" not in says and (VERBS[verb].undo or verb == "node_restart"):
            order["for"] = FOR
        found.append(order)
    return found


def rows(history: History) -> list[tuple[int, str, str]]:
    return sorted((event.t_ns, event.node, repr(event.what)) for event in history.events)


def test_the_table_holds_every_verb() -> None:
    assert TABLE.keys() == VERBS.keys()
    carried_out = {verb.atomic for verb in VERBS.values()} | {verb.undo for verb in VERBS.values()} - {""}
    assert carried_out | {"reroute"} == set(ATOMIC)


HELD_UP = """
at round 3 + 10us node_slow host1,host2 by 33us
when host2 enters TENTATIVE in round 5: node_slow host3 by 7us for 900us
at round 6 node_pause host1 for 400us
at round 7 + 60us node_slow host1 by 90us
at round 8 + 50us node_resume host1
when host2 enters REFLECTING in round 12: node_quick host1,host2
when host1 enters TENTATIVE in round 15: node_pause host1 for 700us
at round 16 + 20us node_slow host1 by 20us
at round 16 + 90us clock_step host1 by -15us
at round 20 node_quick host1
at round 25 node_slow host* by 3us
when host2 sends 2 in round 26 after 5us: node_restart host2 state kept
at round 28 + 10us node_kill host3 for 300us state kept
at round 30 + 5us nic_down host2 for 100us
at round 35 node_slow host* by 40us
at round 38 node_quick host1,host2
when host1 enters TENTATIVE in round 40: clock_step host3 by 40us
at round 45 node_quick host3
"""
"""Slow nodes that are paused, killed and made quick again, amid events too, and whose clocks are set meanwhile."""


def test_slow_nodes_are_held_up_alike_whatever_else_befalls_them(kernel, plan_of: Callable[..., Plan]) -> None:
    protocol = {"horizon": "reconcile", "rounds": 60, "window": "140us", "period": "200us"}
    clocks = {"host3": {"offset": "-30us"}}
    star = {"kind": "star", "hosts": 3}
    plan = plan_of(star, {"delay": "10us", "jitter": "2us"}, protocol, faults=HELD_UP, clocks=clocks, capture=False)
    assert_the_same(SimEngine().run(plan), VKernelEngine().run(plan))


def test_a_slow_nodes_process_serves_others_and_its_nic_has_no_more_room_than_it_has(
    kernel, plan_of: Callable[..., Plan]
) -> None:
    """Both nodes are in one process. A frame a round comes in while host2 is at the first, more than there is room for;
    it is told of it by the first that comes in when it goes on."""
    protocol = {"rounds": 4150, "window": "12us", "depth": 2}
    slow = [{"from": "round 10", "until": "round 4140", "do": "node_slow", "on": "host2", "by": "1s"}]
    plan = plan_of({"kind": "pair"}, {"delay": "5us"}, protocol, faults=slow)
    one, other = SimEngine().run(plan), VKernelEngine().run(plan)
    assert other.meta["agent_processes"] == 1
    assert_the_same(one, other)
    (overrun,) = other.events.of_kind(Overrun)
    fidelity = [judge(plan, history).fidelity for history in (one, other)]
    assert [found.overrun for found in fidelity] == [overrun.what.frames] * 2
    assert [found.trusted for found in fidelity] == [True, True], [found.reasons for found in fidelity]


@pytest.mark.parametrize(
    "change",
    [
        {"do": "rate_limit", "rate": "1gbit"},
        {"do": "jitter", "delay": "3us", "jitter": "1us"},
        {"do": "loss", "loss": "100%"},
    ],
)
def test_a_change_of_a_link_keeps_what_is_in_its_queue(
    kernel, plan_of: Callable[..., Plan], change: dict[str, Any]
) -> None:
    """Three frames wait for a slow link to host1 as it changes: they leave it when and as they would have, in the
    kernel as under sim, and what comes later fares by the new setting."""
    star, slow = {"kind": "star", "hosts": 4}, {"switch1->host1": {"rate": "2mbit"}}
    protocol = {"window": "20ms", "rounds": 3, "depth": 2, "handshake": "simultaneous"}
    links = {"default": {"delay": "5us"}, **slow}
    fault = {"at": "round 1 + 100us", "links": ["switch1->host1"], **change}
    plans = [plan_of(star, {}, protocol, links=links, faults=faults) for faults in ([], [fault])]
    before, one, other = SimEngine().run(plans[0]), SimEngine().run(plans[1]), VKernelEngine().run(plans[1])
    assert_the_same(one, other)
    struck_ns = 20_000_000 + 100_000

    def arrived(history: History, sent_before_ns: int) -> list[tuple[int, str]]:
        sent = {event.what.key for event in history.events.of_kind(Sent) if event.t_ns < sent_before_ns}
        return [
            (event.t_ns, str(event.what.key))
            for event in history.events.of_kind(Received)
            if event.node == "host1" and event.what.key in sent and event.t_ns > struck_ns
        ]

    waiting = arrived(before, struck_ns)
    assert len(waiting) == 3
    assert arrived(other, struck_ns) == waiting
    assert len(arrived(other, 1 << 62)) == (3 if change["do"] == "loss" else 6)


def assert_the_same(one: History, other: History) -> None:
    assert other.complete, other.meta
    for mine, theirs in zip(rows(one), rows(other), strict=True):
        assert mine == theirs


@pytest.mark.parametrize("hosts", [["host1"], ["host3", "host1"]], ids=["one", "several"])
@pytest.mark.parametrize("when", ["timed", "triggered", "following"])
def test_every_verb_means_the_same(kernel, plan_of: Callable[..., Plan], when: str, hosts: list[str]) -> None:
    protocol = {"horizon": "reconcile", "rounds": EVERY_ROUNDS * len(TABLE) + 10}
    plan = plan_of(FABRIC, {"delay": "15us", "jitter": "5us"}, protocol, faults=orders(when, hosts), capture=False)
    one, other = SimEngine().run(plan), VKernelEngine().run(plan)
    assert_the_same(one, other)
    struck = {event.what.verb for event in one.events.of_kind(Struck)}
    assert {VERBS[verb].atomic for verb in TABLE} | {"reroute"} <= struck
    swaps = [judge(plan, history).bisynchrony.swaps for history in (one, other)]
    assert swaps[0] == swaps[1]
