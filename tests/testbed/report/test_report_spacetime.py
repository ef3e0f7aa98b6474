"""Space-time diagrams: their structure, from runs of which it is known what happened. No pixels."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import cache

import pytest

from testbed.engines.sim import SimEngine
from testbed.history import History
from testbed.plan import Plan
from testbed.report.spacetime import instance_caption, instance_diagram, nanoseconds, swap_diagram
from testbed.scenario import compile_plan, parse
from testbed.verdicts import judge
from testbed.verdicts.model import Break, Disagreement, Verdicts

SVG = "{http://www.w3.org/2000/svg}"
LATE = """
name: late
topology: {kind: leaf_spine, spines: 1, leaves: 2, hosts_per_leaf: 1}
links: {default: {delay: 15us, jitter: 10us}}
protocol: {consensus: none, depth: 4, window: 270us, rounds: 100}
seed: 1
"""
LOST = """
name: lost
topology: {kind: star, hosts: 2}
links: {default: {delay: 10us}, "switch1->host1": {delay: 10us, loss: 20%}}
protocol: {consensus: none, depth: 2, window: 100us, rounds: 50}
seed: 1
"""
CUT_OFF = """
name: cut-off
topology: {kind: star, hosts: 3}
links: {default: {delay: 10us}}
protocol: {consensus: floodset, depth: 2, window: 100us, rounds: 8, f: 1}
faults: [{at: 310us, do: nic_down, on: host1}]
seed: 1
"""


@cache
def run(text: str) -> tuple[Plan, History, Verdicts]:
    plan = compile_plan(parse(text))
    history = SimEngine().run(plan)
    return plan, history, judge(plan, history)


def drawn(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def of_kind(root: ET.Element, kind: str) -> list[ET.Element]:
    return [element for element in root.iter() if kind in element.get("class", "").split()]


def texts(root: ET.Element, kind: str) -> list[str]:
    return [element.text or "" for element in of_kind(root, kind) if element.tag == f"{SVG}text"]


def first(verdicts: Verdicts, cause: str) -> Break:
    return next(item for item in verdicts.bisynchrony.breaks if item.cause == cause)


def test_a_late_frame_is_followed_through_the_switches_past_the_window() -> None:
    plan, history, verdicts = run(LATE)
    root = drawn(swap_diagram(plan, history, first(verdicts, "late")))
    assert texts(root, "name") == ["host1", "leaf1", "spine1", "leaf2", "host2"]
    assert texts(root, "step") == ["1", "2", "3", "4"]
    (window,) = [element for element in of_kind(root, "window") if element.tag == f"{SVG}line"]
    legs = of_kind(root, "guilty")
    assert len(legs) == 4  # four links
    end = max(float(leg.get("y2", 0)) for leg in legs)
    assert end > float(window.get("y1", 0)), "the breaking frame ends below the line of the window"
    assert not of_kind(root, "lost")


def test_a_late_frame_is_highlighted_and_no_other() -> None:
    plan, history, verdicts = run(LATE)
    root = drawn(swap_diagram(plan, history, first(verdicts, "late")))
    colours = {leg.get("stroke") for leg in of_kind(root, "guilty")}
    others = {leg.get("stroke") for leg in of_kind(root, "frame")} - colours
    assert len(colours) == 1
    assert others
    assert texts(root, "resolve") == ["aborted", "committed"]


def test_over_cells_every_hop_is_a_frame_and_every_node_on_the_way_has_states() -> None:
    plan, history, verdicts = run(LATE.replace("protocol:", "switches: cells\nprotocol:"))
    root = drawn(swap_diagram(plan, history, first(verdicts, "late")))
    assert texts(root, "name") == ["host1", "leaf1", "spine1", "leaf2", "host2"]
    assert texts(root, "step") == [step for step in "1234" for _ in range(4)]
    assert len(of_kind(root, "guilty")) == 1
    told = texts(root, "resolve")
    split = told.index("committed")
    assert told == ["aborted"] * split + ["committed"] * (5 - split)


def test_a_lost_frame_ends_in_a_cross_that_names_the_place() -> None:
    plan, history, verdicts = run(LOST)
    broken = first(verdicts, "lost")
    root = drawn(swap_diagram(plan, history, broken))
    assert texts(root, "lost") == [f"lost at {broken.hop}"]
    assert texts(root, "title") == [f"round {broken.round}, host1<->host2: split (lost)"]


RETRIED = """
name: retried
topology: {kind: star, hosts: 2}
links: {default: {delay: 10us}}
protocol: {consensus: none, depth: 4, window: 100us, horizon: reconcile, rounds: 20}
faults: [{at: 250us, do: nic_down, on: host1, for: 1ms}]
seed: 1
"""


def test_nothing_is_drawn_below_the_nodes_and_no_words_upon_each_other() -> None:
    """A reconciling end repeats itself for long after the window: those frames lie outside the picture."""
    plan, history, verdicts = run(RETRIED)
    root = drawn(swap_diagram(plan, history, first(verdicts, "crashed")))
    bottom = max(float(line.get("y2", 0)) for line in of_kind(root, "node"))
    assert all(float(word.get("y", 0)) <= bottom + 17 for word in of_kind(root, "step"))
    words = [word for word in of_kind(root, "lost") if word.tag == f"{SVG}text"]
    assert len(words) > 2
    places = [(word.get("text-anchor"), float(word.get("x", 0)), float(word.get("y", 0))) for word in words]
    for anchor, x, y in places:
        for other_anchor, other_x, other_y in places:
            facing = anchor == "start" and other_anchor == "end" and other_x > x
            assert not facing or abs(y - other_y) >= 13


def test_without_captured_hops_frames_go_straight_from_end_to_end() -> None:
    plan, history, verdicts = run(LOST)
    blind = History(history.engine, history.events, meta=history.meta)
    root = drawn(swap_diagram(plan, blind, first(verdicts, "lost")))
    assert texts(root, "name") == ["host1", "host2"]
    assert texts(root, "lost") == ["never arrived"]


def test_a_disagreement_shows_who_heard_whom_and_what_was_decided() -> None:
    plan, history, verdicts = run(CUT_OFF)
    assert verdicts.consensus is not None
    found = verdicts.consensus.disagreements[0]
    root = drawn(instance_diagram(plan, history, found))
    assert texts(root, "name") == ["host1", "host2", "host3"]
    assert len(texts(root, "propose")) == 3
    decided = [value for values in found.decisions.values() for value in values]
    assert sorted(texts(root, "decide")) == sorted(f"decides {value}" for value in decided)
    assert len(texts(root, "round")) == plan.protocol.instance_rounds
    heard = [element for element in of_kind(root, "heard") if element.tag == f"{SVG}line"]
    assert len(heard) == 2 * plan.protocol.instance_rounds  # host2 and host3 hear each other, host1 nobody
    assert "nic down" in texts(root, "fault")


TWO_TRUTHS = """
name: two-truths
topology: {kind: star, hosts: 5}
links: {default: {delay: 20us}}
protocol: {consensus: floodset, window: 250us, rounds: 60, f: 1, participants: "host[123]"}
service: kv
clients: {hosts: "host[45]", operations: 9, think: 200us, timeout: 10ms, mix: {get: 0, put: 1, cas: 0, keys: 1}}
faults: ["at 5ms partition host1,host4 | host2,host3,host5"]
seed: 22
"""


def test_values_that_a_picture_has_no_room_for_go_by_letters_and_are_told_below_it() -> None:
    """Entries of a log, in words; clients take no part in an instance, and are not in its picture."""
    plan, history, verdicts = run(TWO_TRUTHS)
    assert verdicts.consensus is not None
    found = verdicts.consensus.disagreements[0]
    root = drawn(instance_diagram(plan, history, found))
    assert texts(root, "name") == ["host1", "host2", "host3"]
    assert sorted(set(texts(root, "decide"))) == ["decides A", "decides B"]
    assert set(texts(root, "propose")) <= {f"proposes {letter}" for letter in "ABC"}
    decided, *meaning = instance_caption(plan, history, found)
    assert decided == "host1 decided A, host2 decided B, host3 decided B."
    assert [line[:3] for line in meaning[:2]] == ["A: ", "B: "]
    assert re.fullmatch(r"\[(host[45]\.1\.\d+ put k0 host[45]\.1\.\d+(; )?)+\]", meaning[0][3:]), meaning


def test_a_crashed_node_ends_in_a_cross() -> None:
    text = CUT_OFF.replace("nic_down", "node_kill")
    plan, history, _ = run(text)
    root = drawn(instance_diagram(plan, history, Disagreement(1, {"host2": ("1",), "host3": ("0",)})))
    assert texts(root, "died") == ["crashed"]
    assert len([element for element in of_kind(root, "died") if element.tag == f"{SVG}path"]) == 1


def test_all_ids_that_arrows_refer_to_exist() -> None:
    plan, history, verdicts = run(LATE)
    svg = swap_diagram(plan, history, first(verdicts, "late"))
    assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= set(re.findall(r'id="([^"]+)"', svg))


def test_the_frame_that_a_verdict_blames_is_the_one_that_stands_out() -> None:
    plan, history, verdicts = run(LATE)
    found = first(verdicts, "late")
    assert found.key is not None
    assert found.frame.endswith(f"(#{found.key.seq})")
    drawings = [drawn(swap_diagram(plan, history, broken)) for broken in (found, replace(found, key=None))]
    assert [bool(of_kind(root, "guilty")) for root in drawings] == [True, False]


@pytest.mark.parametrize(
    ("value", "text"), [(5, "5 ns"), (1500, "1.5 µs"), (300_000, "300 µs"), (2_500_000, "2.5 ms"), (10**9, "1 s")]
)
def test_times_for_people(value: int, text: str) -> None:
    assert nanoseconds(value) == text
