"""Stepping through a space-time diagram: what happens next, and what each node knows then."""

from __future__ import annotations

import re

from testbed.engines.sim import SimEngine
from testbed.history import History
from testbed.plan import Plan
from testbed.report.spacetime import instance_diagram, swap_diagram
from testbed.report.steps import instance_steps, swap_steps
from testbed.scenario import compile_plan, parse
from testbed.verdicts import judge
from testbed.verdicts.model import Verdicts

LOST = """
name: last-message
topology: {kind: pair}
links: {default: {delay: 10us}}
protocol: {consensus: none, depth: 2, window: 70us, rounds: 2}
faults:
  - at 15us nic_mute host1
"""
DISAGREE = """
name: floodset
topology: {kind: star, hosts: 3}
links: {default: {delay: 10us}}
protocol: {consensus: floodset, depth: 2, window: 70us, rounds: 8, f: 1}
faults:
  - {when: {node: host1, enters: REFLECTING, round: 2}, do: nic_down}
  - {at: 250us, do: node_kill, on: host2}
"""


def run(text: str) -> tuple[Plan, History, Verdicts]:
    plan = compile_plan(parse(text))
    history = SimEngine().run(plan)
    return plan, history, judge(plan, history)


def test_a_split_is_told_from_its_first_message_to_its_end() -> None:
    plan, history, verdicts = run(LOST)
    first = verdicts.bisynchrony.breaks[0]
    assert first.kind == "split"
    steps = swap_steps(plan, history, first)
    assert [step.said for step in steps] == [
        "host1 sends message 1 to host2",
        "host1 is tentative",
        "host2 is tentative",
        "message 1 comes in at host2",
        "host2 sends message 2 to host1",
        "host2 is reflecting",
        "host2 ends: committed",
        "fault 0, nic_mute, strikes host1",
        "message 2 is lost at host1-eth0: mute",
        "the window ends",
        "host1 ends: aborted",
    ]
    assert [step.t_ns for step in steps] == sorted(step.t_ns for step in steps)
    offered = "has offered its own value, holds none of the other end"
    assert steps[3].knows == {"host1": offered, "host2": offered}
    assert steps[6].knows["host2"] == "holds the other end's value, and has committed"
    assert steps[9].knows["host1"] == offered, "and can't know that the other end committed"
    assert steps[-1].knows["host1"] == "has given up and keeps its own value"


def test_a_message_that_the_link_lost_is_lost_without_further_reasons() -> None:
    plan, history, verdicts = run(
        LOST.split("faults", maxsplit=1)[0].replace("10us}", "10us, loss: 20%}").replace("rounds: 2", "rounds: 40")
    )
    found = [one for one in verdicts.bisynchrony.breaks if one.cause == "lost"]
    said = [step.said for step in swap_steps(plan, history, found[0])]
    assert "message 2 is lost at host2-eth0" in said


def test_all_that_a_diagram_draws_comes_at_a_step() -> None:
    plan, history, verdicts = run(LOST)
    first = verdicts.bisynchrony.breaks[0]
    drawn = {int(at) for at in re.findall(r'data-at="(-?\d+)"', swap_diagram(plan, history, first))}
    assert drawn <= {step.t_ns for step in swap_steps(plan, history, first)}
    assert len(drawn) > 2


def test_a_disagreement_is_told_by_rounds_and_decisions() -> None:
    plan, history, verdicts = run(DISAGREE)
    assert verdicts.consensus is not None
    (found,) = verdicts.consensus.disagreements[:1]
    steps = instance_steps(plan, history, found)
    said = [step.said for step in steps]
    for node, values in found.decisions.items():
        assert f"{node} decides {values[0]}" in said
        assert steps[-1].knows[node] in (f"decided {values[0]}", "has crashed")
    assert any(re.fullmatch(r"round \d+: host3 hears .*", line) for line in said)
    drawn = {int(at) for at in re.findall(r'data-at="(-?\d+)"', instance_diagram(plan, history, found))}
    assert drawn <= {step.t_ns for step in steps} | {event_ns for event_ns in drawn if event_ns < steps[0].t_ns}
