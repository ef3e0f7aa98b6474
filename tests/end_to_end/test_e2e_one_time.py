"""One time for both engines: sim and vkernel are one run, row by row and to the nanosecond."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.engines.sim import SimEngine
from testbed.engines.vkernel.engine import VKernelEngine
from testbed.history import History
from testbed.nodes.core.record import Died, Received, Sent, Started, Struck
from testbed.plan import Plan
from testbed.scenario import compile_plan, from_data, load, unmet
from testbed.scenario.drawn import drawn_scenario
from testbed.verdicts import judge
from testbed.verdicts.comparison import compare

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
ENGINES = {"sim": SimEngine, "vkernel": VKernelEngine}
LINK = {"delay": "10us", "jitter": "1us"}
REFLECTING = {"node": "host2", "enters": "REFLECTING", "round": 3}


def both(plan: Plan) -> tuple[History, History]:
    return SimEngine().run(plan), VKernelEngine().run(plan)


def assert_one_run(one: History, other: History) -> None:
    assert one.complete
    assert other.complete, other.why
    found = compare(one, other)
    assert found.parts_at == ()
    assert found.equal
    assert found.frames_same == found.frames > 0
    assert found.only_reference == found.only_other == found.resolutions_differ == 0


# -- a moment strikes all its targets, in whatever order they stand ----------------------------------------------------


@pytest.fixture(params=["sim", pytest.param("vkernel", marks=[pytest.mark.slow, pytest.mark.kernel])])
def engine(request: pytest.FixtureRequest) -> Any:
    if request.param == "vkernel":
        request.getfixturevalue("kernel")
    return ENGINES[request.param]()


def test_the_node_of_a_moment_does_nothing_more_wherever_it_stands_among_the_targets(
    engine: Any, plan_of: Callable[..., Plan]
) -> None:
    """host2 is struck as it is about to enter REFLECTING: the send that follows in its machine's answer never is."""
    order = {"when": REFLECTING, "do": "node_kill", "on": ["host3", "host2"]}
    history = engine.run(plan_of({"kind": "star", "hosts": 3}, LINK, {"rounds": 6}, faults=[order]))
    struck_ns = next(event.t_ns for event in history.events.of_kind(Struck))
    then = [type(what) for t_ns, node, what in history.events if node == "host2" and t_ns >= struck_ns]
    assert sorted(kind.__name__ for kind in then) == ["Died", "Received", "Struck", "Transition"]
    assert {event.node for event in history.events.of_kind(Died)} == {"host2", "host3"}


TRIANGLE = """
from mininet.topo import Topo

class Triangle(Topo):
    def build(self):
        hosts = [self.addHost(f"host{number}") for number in (1, 2, 3)]
        for one, other in ((0, 1), (1, 2), (0, 2)):
            self.addLink(hosts[one], hosts[other])
"""


def test_both_nics_of_a_node_are_mute_from_its_moment_on(engine: Any, tmp_path: Path) -> None:
    """host1 has a NIC for each of its two peers and opens both swaps in one go; the moment lies between the two."""
    (tmp_path / "triangle.py").write_text(TRIANGLE)
    document = {
        "name": "two-nics",
        "topology": {"custom": {"file": "triangle.py", "class": "Triangle"}},
        "links": {"default": LINK},
        "protocol": {"consensus": "none", "depth": 4, "window": "300us", "rounds": 6},
        "faults": [{"when": {"node": "host1", "after_sends": 1, "round": 3}, "do": "nic_mute"}],
        "seed": 1,
    }
    history = engine.run(compile_plan(from_data(document, base_dir=tmp_path)))
    struck_ns = [event.t_ns for event in history.events.of_kind(Struck)]
    assert len(struck_ns) == 2
    assert struck_ns[0] == struck_ns[1]
    got_through = {event.what.key for event in history.events.of_kind(Received)}
    sent = [what.key for _, node, what in history.events.of_kind(Sent) if (node, what.round) == ("host1", 3)]
    assert [key in got_through for key in sent] == [True, False]


# -- what becomes of disks ---------------------------------------------------------------------------------------------

DISKS = [
    {"when": {"node": "host1", "after_writes": 40}, "do": "node_kill", "for": "400us", "state": "torn"},
    {"when": {"node": "host2", "after_writes": 61}, "do": "node_restart", "state": "unsynced_lost"},
    {"when": {"node": "host3", "after_writes": 50}, "do": "node_restart", "state": "kept", "for": "200us"},
    {"at": "round 12 + 30us", "do": "disk_full", "on": "host4", "for": "1ms"},
    {"at": "round 13", "do": "node_restart", "on": "host4", "state": "kept"},
    {"at": "round 17", "do": "node_restart", "on": "host4", "state": "torn"},
]


@pytest.mark.slow
@pytest.mark.kernel
@pytest.mark.parametrize("consensus", ["oae", "paxos", "chandra_toueg", "fast_paxos", "epaxos"])
def test_disks_that_tear_lose_and_fill_up_do_so_alike_and_agreement_holds(
    kernel, consensus: str, plan_of: Callable[..., Plan]
) -> None:
    counted = {"rounds": 30} if consensus == "oae" else {"rounds": None, "instances": 30}
    protocol = {"consensus": consensus, "f": 1, "retry": "100us", **counted}
    plan = plan_of({"kind": "star", "hosts": 5}, LINK, protocol, faults=DISKS)
    one, other = both(plan)
    assert_one_run(one, other)
    died = [event.what.why for event in one.events.of_kind(Died) if event.node == "host4"]
    assert died[:2] == ["disk full", "disk full"]  # it comes up while there is no room, and dies of its next write
    assert one.events.count(Started) == 5 + 5
    consensus_of = judge(plan, one).consensus
    assert consensus_of is not None
    assert consensus_of.disagreements == consensus_of.invalid == ()


# -- lies --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.kernel
def test_one_equivocating_host_splits_floodset_in_both_and_nothing_else_is_wrong(kernel) -> None:
    shipped = load(SCENARIOS / "floodset-equivocation.yaml")
    plan = compile_plan(shipped)
    one, other = both(plan)
    assert_one_run(one, other)
    verdicts = [judge(plan, history) for history in (one, other)]
    for verdict in verdicts:
        assert unmet(shipped.expect, verdict.to_dict()) == []
        assert verdict.lies == {"host1": {"equivocate": 4, "wrong_value": 16}}


# -- nothing is lost on the way in -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.kernel
def test_however_many_frames_come_in_at_one_instant_all_are_handled(kernel, plan_of: Callable[..., Plan]) -> None:
    """Each pair of 60 hosts opens its swap at once: more frames than the kernel usually lets wait to be taken in."""
    plan = plan_of({"kind": "star", "hosts": 60}, {"delay": "10us"}, {"window": "1ms", "rounds": 1})
    one, other = both(plan)
    assert other.events.count(Received) == 4 * 60 * 59 / 2
    assert other.meta["backlog_drops"] == 0
    assert other.meta["agent_processes"] == 1  # no fault strikes a node, so that all may share one
    assert_one_run(one, other)


# -- the same run ------------------------------------------------------------------------------------------------------

DRAWN = (0, 3, 4, 5, 7, 13, 24, 41)
"""Six engines, fabrics of 2 to 16 hosts, no cells, and none that draws very many messages. All engines are compared by
test_e2e_engines_agree.py."""


@pytest.mark.slow
@pytest.mark.kernel
@pytest.mark.parametrize("number", DRAWN)
def test_random_plans_are_the_same_run_in_both(kernel, number: int) -> None:
    """Any fabric, any impairment, any engine, any faults; `testbed compare --random` runs more of them. Those
    over cells are test_e2e_cells.py's."""
    data = drawn_scenario(number)
    assert "switches" not in data
    assert_one_run(*both(compile_plan(from_data(data))))
