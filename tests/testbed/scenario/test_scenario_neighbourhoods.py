"""Neighbourhoods: who is whose peer, and that everything after the scenario follows it."""

from __future__ import annotations

import json
from collections import Counter

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.engines.sim import SimEngine
from testbed.nodes.core import Resolve
from testbed.plan import Plan
from testbed.scenario import compile_plan, parse
from testbed.scenario.neighbourhoods import neighbours, pairs
from testbed.topologies.build import make_fabric
from testbed.verdicts import judge

STAR = make_fabric("star", {"hosts": 2})


def edges(kind: str, n: int, width: int = 0) -> list[tuple[int, int]]:
    return pairs(kind, range(n), STAR, width)


def test_a_tree_hangs_each_member_under_an_earlier_one() -> None:
    assert edges("tree", 6) == [(0, 1), (0, 2), (1, 3), (1, 4), (2, 5)]
    assert edges("tree", 5, width=3) == [(0, 1), (0, 2), (0, 3), (1, 4)]
    assert edges("tree", 3, width=1) == [(0, 1), (1, 2)]


def test_groups_know_their_own_and_their_first_ones_each_other() -> None:
    inside = [(0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5), (6, 7)]
    assert edges("groups", 8, width=3) == sorted([*inside, (0, 3), (0, 6), (3, 6)])
    assert edges("groups", 8) == edges("groups", 8, width=3)
    assert edges("groups", 4, width=9) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]


def test_a_lattice_has_open_borders() -> None:
    assert edges("lattice", 5, width=3) == [(0, 1), (0, 3), (1, 2), (1, 4), (3, 4)]
    assert edges("lattice", 9) == edges("lattice", 9, width=3)
    assert edges("lattice", 3, width=1) == [(0, 1), (1, 2)]


def test_links_are_those_without_a_switch_between() -> None:
    pair = make_fabric("pair", {})
    assert pairs("links", (0, 1), pair) == [(0, 1)]
    assert pairs("links", (0,), pair) == []
    assert pairs("links", (0, 1), STAR) == []


@given(st.sampled_from(["tree", "groups", "lattice"]), st.integers(2, 60), st.integers(0, 12))
def test_every_neighbourhood_joins_all_members_and_is_mutual(kind: str, n: int, width: int) -> None:
    members = [3 * place + 1 for place in range(n)]
    found = pairs(kind, members, STAR, width)
    assert found == sorted(set(found))
    graph: nx.Graph[int] = nx.Graph(found)
    assert set(graph) == set(members)
    assert nx.is_connected(graph)
    peers = neighbours(members, found)
    assert all(member in peers[peer] and peer != member for member in members for peer in peers[member])


FABRIC = """
name: near
topology: {kind: leaf_spine, spines: 2, leaves: 3, hosts_per_leaf: 3}
links: {default: {delay: 5us, jitter: 1us}}
"""


def plan_of(protocol: str) -> Plan:
    return compile_plan(parse(FABRIC + f"protocol: {{window: 100us, rounds: 20, {protocol}}}"))


def test_a_plan_of_neighbours_runs_and_only_neighbours_swap() -> None:
    plan = plan_of("neighbourhood: lattice")
    assert plan.peers(4) == (1, 3, 5, 7)
    assert [peer.node for peer in plan.node_config("host5").peers] == [1, 3, 5, 7]
    assert Plan.from_json(plan.to_json()) == plan
    history = SimEngine().run(plan)
    swaps = Counter(event.what.swap[1:] for event in history.events.of_kind(Resolve))
    assert swaps == dict.fromkeys(edges("lattice", 9), 2 * 20)
    verdicts = judge(plan, history)
    assert (verdicts.bisynchrony.rounds, verdicts.bisynchrony.broken_rounds) == (20, ())
    assert sum(verdicts.bisynchrony.swaps.values()) == 20 * 12


def test_switches_forward_what_neighbours_send_and_nothing_else() -> None:
    """Engines that set up real bridges need no more entries than frames need."""
    whole, near = plan_of("neighbourhood: all"), plan_of("neighbourhood: tree")
    entries = {(switch, mac) for switch, table in near.fabric.forwarding.items() for mac in table}
    assert entries < {(switch, mac) for switch, table in whole.fabric.forwarding.items() for mac in table}
    crossed = set()
    for low, high in edges("tree", 9):
        for src, dst in ((low, high), (high, low)):
            port = whole.routes.port(whole.fabric.hosts[src], whole.fabric.hosts[dst])
            for crossing in whole.routes.path(whole.fabric.hosts[src], whole.fabric.hosts[dst])[:-1]:
                link = whole.fabric.links[crossing.link]
                crossed.add(((link.b if crossing.way == "ab" else link.a).node, port.mac))
    assert entries == crossed
    for switch, table in near.fabric.forwarding.items():
        assert table.items() <= whole.fabric.forwarding[switch].items()


def test_a_node_that_speaks_to_a_stranger_is_refused_by_the_map() -> None:
    from testbed.verdicts.paths import NoPathError, Paths

    paths = Paths(plan_of("neighbourhood: tree"))
    assert paths.path(0, 1)
    with pytest.raises(NoPathError, match="host4 has no port to host6"):
        paths.path(3, 5)


def test_what_all_share_stands_once_in_a_plan() -> None:
    """The size of a plan grows with its hosts and their neighbours, not with all pairs of hosts."""
    data = json.loads(plan_of("neighbourhood: lattice").to_json())
    assert set(data["nodes"][0]) == {"node", "seed", "peers", "program", "lies", "clock"}
    assert data["protocol"]["rounds"] == 20
    text = json.dumps(data["nodes"]) + json.dumps(data["protocol"])
    assert "02:00" not in text
    assert "host" not in text


def test_a_thousand_hosts_are_a_plan_of_two_megabytes() -> None:
    fabric = "name: wide\ntopology: {kind: leaf_spine, spines: 8, leaves: 40, hosts_per_leaf: 25}\n"
    text = compile_plan(parse(fabric + "protocol: {neighbourhood: groups}")).to_json()
    assert len(json.loads(text)["nodes"]) == 1000
    assert len(text) < 2_000_000


@pytest.mark.parametrize(
    ("topology", "pairs_there", "peers_of_first"),
    [
        ("{kind: lattice, rows: 3, columns: 4}", 29, (1, 4, 5)),
        ("{kind: bcube, n: 3, levels: 2}", 18, (1, 2, 3, 6)),
        ("{kind: torus, x: 2, y: 2}", 6, (1, 2, 3)),
    ],
)
def test_where_a_scenario_names_none_peers_are_all_that_frames_reach(topology, pairs_there, peers_of_first) -> None:
    """Eight neighbours on a lattice, those of its switches on a BCube, everybody where switches join everybody."""
    plan = compile_plan(parse(f"name: x\ntopology: {topology}\nprotocol: {{window: 100us, rounds: 3}}"))
    assert tuple(plan.peers(0)) == peers_of_first
    verdicts = judge(plan, SimEngine().run(plan))
    assert verdicts.bisynchrony.broken_rounds == ()
    assert sum(verdicts.bisynchrony.swaps.values()) == 3 * pairs_there


def test_a_part_of_a_lattice_where_all_reach_each_other_can_run_consensus() -> None:
    """Four hosts in a square are joined by six links."""
    text = "name: x\ntopology: {kind: lattice}\nprotocol: {consensus: oae, f: 1, rounds: 6, participants: %s}"
    plan = compile_plan(parse(text % "[host1, host2, host4, host5]"))
    assert plan.nodes[0].peers is None
    assert judge(plan, SimEngine().run(plan)).bisynchrony.broken_rounds == ()
