"""Cells on a real kernel and on the simulator: one run, every row alike, and the closed forms of a path of cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import pytest

from testbed.engines.sim import SimEngine
from testbed.engines.vkernel.engine import VKernelEngine
from testbed.nodes.core import Resolve
from testbed.nodes.core.record import Died, Struck
from testbed.plan import Plan
from testbed.scenario import compile_plan, from_data
from testbed.scenario.drawn import drawn_scenario
from testbed.study.closed_forms import recovered, split_forms, swap_forms
from testbed.study.statistics import clopper_pearson
from testbed.verdicts import judge
from testbed.verdicts.comparison import compare
from testbed.verdicts.model import Bisynchrony

CELLS = {"switches": "cells"}
STAR = {"kind": "star", "hosts": 2}
LINE = {"kind": "dumbbell", "left": 1, "right": 1}
TREE = {"kind": "leaf_spine", "spines": 2, "leaves": 3, "hosts_per_leaf": 1}
JITTER = {"delay": "15us", "jitter": "9us"}
DRAWN = [
    number
    for number, document in ((number, drawn_scenario(number)) for number in range(150))
    if document.get("switches") == "cells" and document["topology"]["kind"] != "fat_tree" and document["faults"]
]


@pytest.mark.kernel
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_two_hosts_and_a_cell_are_one_run_in_both_engines(kernel, plan_of: Callable[..., Plan], depth: int) -> None:
    window = f"{33 * depth}us"
    plan = plan_of(STAR, JITTER, {"depth": depth, "window": window, "period": "300us", "rounds": 150}, **CELLS)
    one, other = SimEngine().run(plan), VKernelEngine().run(plan)
    found = compare(one, other)
    assert found.equal, found.parts_at
    assert found.only_reference == found.only_other == 0
    verdicts = judge(plan, one)
    assert verdicts.fidelity.trusted
    assert judge(plan, other).bisynchrony == verdicts.bisynchrony
    assert {item.link for item in verdicts.bisynchrony.links} == {"host1<->switch1", "host2<->switch1"}
    assert 5 < verdicts.bisynchrony.swaps["split"] == sum(item.swaps["split"] for item in verdicts.bisynchrony.links)


FAULTS = [
    {"at": "2ms", "do": "node_kill", "on": "leaf1", "for": "3ms"},
    {"at": "8ms", "do": "node_pause", "on": "leaf2", "for": "2ms"},
    {"at": "12ms", "do": "nic_down", "on": "leaf3-eth1", "for": "2ms"},
    {"at": "16ms", "do": "link_down", "links": "leaf1<->spine*", "for": "2ms"},
    {"at": "20ms", "do": "nic_mute", "on": "role:spine", "for": "1ms"},
    {"at": "23ms", "do": "partition", "groups": [["host1", "leaf1"], ["spine1", "spine2"]], "for": "2ms"},
    {"when": {"node": "leaf2", "enters": "COMMITTED", "round": 95}, "do": "node_kill", "for": "1ms"},
    {"when": {"node": "spine1", "after_sends": 2, "round": 105}, "do": "nic_mute", "on": "spine1", "for": "1ms"},
    {
        "when": {"node": "leaf3", "enters": "REFLECTING", "round": 110},
        "do": "node_pause",
        "on": "leaf1",
        "for": "500us",
    },
    {"at": "36ms", "do": "clock_step", "on": "leaf1", "by": "40us"},
]


@pytest.mark.slow
@pytest.mark.kernel
def test_faults_at_cells_mean_the_same_in_both(kernel, plan_of: Callable[..., Plan]) -> None:
    """Three hosts that decide over two tiers of cells which die, wait, fall silent and have clocks of their own."""
    protocol = {"consensus": "oae", "f": 1, "rounds": 160, "window": "134us", "period": "250us"}
    plan = plan_of(TREE, {"delay": "8us", "jitter": "3us"}, protocol, faults=FAULTS, **CELLS)
    one, other = SimEngine().run(plan), VKernelEngine().run(plan)
    found = compare(one, other)
    assert found.equal, found.parts_at
    verdicts = judge(plan, one)
    assert judge(plan, other).bisynchrony == verdicts.bisynchrony
    assert judge(plan, other).consensus == verdicts.consensus
    assert one.events.count(Struck) > 20
    assert {event.node for event in one.events.of_kind(Died)} == {"leaf1", "leaf2"}
    assert len(verdicts.bisynchrony.broken_rounds) > 3
    assert {item.kind for item in verdicts.bisynchrony.breaks} == {"split"}
    assert verdicts.consensus is not None
    assert not verdicts.consensus.disagreements


@pytest.mark.slow
@pytest.mark.kernel
@pytest.mark.parametrize("horizon", ["hold", "reconcile"])
def test_losses_on_a_path_of_cells_are_made_good_alike(kernel, plan_of: Callable[..., Plan], horizon: str) -> None:
    protocol = {"horizon": horizon, "window": "150us", "period": "400us", "rounds": 200, "retry": "130us"}
    link = {"delay": "8us", "jitter": "3us", "loss": "3%", "duplicate": "1%"}
    plan = plan_of(LINE, link, protocol, **CELLS)
    one, other = SimEngine().run(plan), VKernelEngine().run(plan)
    found = compare(one, other)
    assert found.equal, found.parts_at
    swaps = judge(plan, one).bisynchrony.swaps
    assert swaps["split"] == 0
    assert swaps["blocked"] > 20


@pytest.mark.slow
@pytest.mark.kernel
@pytest.mark.parametrize("number", DRAWN[:2])
def test_plans_drawn_at_random_are_one_run_over_cells_too(kernel, number: int) -> None:
    """Fabrics, impairments and faults as they come; cells are struck as well."""
    plan = compile_plan(from_data(drawn_scenario(number)))
    one, other = SimEngine().run(plan), VKernelEngine().run(plan)
    found = compare(one, other)
    assert found.equal, found.parts_at
    verdicts = judge(plan, one)
    assert not verdicts.fidelity.reasons
    assert _seen_by_both(judge(plan, other).bisynchrony) == _seen_by_both(verdicts.bisynchrony)


_TOLD_APART = ("lost", "corrupted")


def _seen_by_both(found: Bisynchrony) -> Bisynchrony:
    """All of it, but for one thing: the simulator is told that a link lost a frame; on a kernel one sees only that it
    went no further, and if an unreadable one comes when it was due, it may have been that one."""
    return replace(
        found,
        breaks=tuple(
            replace(one, cause="lost or corrupted", hop="", detail="") if one.cause in _TOLD_APART else one
            for one in found.breaks
        ),
    )


@pytest.mark.parametrize(("depth", "window"), [(2, 101), (3, 145), (4, 180), (4, 197)])
def test_a_path_of_cells_meets_its_closed_form(plan_of: Callable[..., Plan], depth: int, window: int) -> None:
    """Of the ends, and of every link: how often swaps commit, split and abort. Ten comparisons at each of four points,
    with 1 % of error for all together."""
    rounds = 4000
    protocol = {"depth": depth, "window": f"{window}us", "period": "400us", "rounds": rounds}
    plan = plan_of(LINE, {**JITTER, "loss": "1%"}, protocol, **CELLS, capture=False)
    found = judge(plan, SimEngine(events="outcomes", hops=False).run(plan)).bisynchrony
    told, by_link = swap_forms(plan, (0, 1)), split_forms(plan, (0, 1))
    assert sum(by_link.values()) == pytest.approx(told.split, abs=1e-6)
    names = plan.fabric.hosts
    expected = {f"{names[low]}<->{names[high]}": p for (low, high), p in by_link.items()}
    assert expected.keys() == {item.link for item in found.links}
    counted = [(found.swaps[outcome], getattr(told, outcome)) for outcome in ("committed", "split", "aborted")]
    counted += [(item.swaps["split"], expected[item.link]) for item in found.links]
    for count, p in counted:
        assert clopper_pearson(count, rounds, 1 - 0.01 / (4 * len(counted))).holds(p)


QUESTIONS = 3


@pytest.mark.parametrize("switches", ["plain", "cells"])
def test_what_was_lost_is_made_good_from_the_nearest_that_knows(plan_of: Callable[..., Plan], switches: str) -> None:
    """Step 4 was lost on one of three links; host1 asks every 100us. How often one, two, three questions were enough
    meets the chain that closed_forms has for cells, and the other one for plain switches; 1 % of error for all six."""
    loss, rounds, period_ns, window_ns = 0.1, 1500, 2_000_000, 100_000
    protocol = {"horizon": "reconcile", "window": "100us", "period": "2ms", "retry": "100us", "rounds": rounds}
    plan = plan_of(LINE, {"delay": "5us", "loss": loss}, protocol, switches=switches, capture=False)
    history = SimEngine(events="outcomes", hops=False).run(plan)
    ends: dict[tuple[int, str], list[tuple[int, str]]] = defaultdict(list)
    for event in history.events.of_kind(Resolve):
        assert isinstance(event.what, Resolve)
        ends[event.what.swap.round, event.node].append((event.t_ns, event.what.outcome.value))
    asked = [
        (told[1][0] - round_ * period_ns - window_ns) // 100_000 if len(told) > 1 else rounds
        for (round_, node), told in ends.items()
        if node == "host1" and told[0][1] == "in_doubt" and ends[round_, "host2"][0][1] == "committed"
    ]
    assert len(asked) > 120
    forms = recovered(3, loss, QUESTIONS, switches == "cells")
    for count, p in enumerate(forms, 1):
        enough = sum(number <= count for number in asked)
        assert clopper_pearson(enough, len(asked), 1 - 0.01 / (2 * QUESTIONS)).holds(p)


def test_cells_need_fewer_questions_the_longer_the_way() -> None:
    assert recovered(1, 0.1, 4) == pytest.approx(recovered(1, 0.1, 4, cells=False))
    for links in (2, 3, 6):
        forms = zip(recovered(links, 0.1, 4), recovered(links, 0.1, 4, cells=False), strict=True)
        assert all(over_cells > over_plain for over_cells, over_plain in forms)


def test_with_the_same_impairments_cells_and_plain_switches_have_one_closed_form(plan_of: Callable[..., Plan]) -> None:
    """Cells do not move the break point: they tell on which link it broke."""
    protocol = {"window": "190us", "period": "400us"}
    plain, cells = (
        plan_of(LINE, {**JITTER, "loss": "1%"}, protocol, switches=switches) for switches in ("plain", "cells")
    )
    assert swap_forms(plain, (0, 1)) == swap_forms(cells, (0, 1))
    with pytest.raises(ValueError, match="no cell carries"):
        split_forms(plain, (0, 1))
