"""Rings, tori, lattices, dragonflies, Clos networks, dumbbells, BCubes: the textbooks' numbers, and right paths.

Where a formula is known (nodes, links, diameter, links that the narrowest cut through the middle crosses) the fabric
must meet it for every size that hypothesis draws, not only for the ones in pictures.
"""

from __future__ import annotations

from itertools import combinations
from math import ceil, prod

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.topologies.base import MOST_HOSTS
from testbed.topologies.build import KINDS, fabric, make_fabric
from testbed.topologies.fabric import Fabric, Place, fabric_from_json
from testbed.topologies.paths import hop_bound, strangers
from testbed.topologies.routes import Routes

sizes = st.integers
RINGS = st.fixed_dictionaries({"switches": sizes(3, 12), "hosts_per_switch": sizes(1, 3)})
TORI = st.fixed_dictionaries({"x": sizes(2, 5), "y": sizes(2, 3), "z": sizes(1, 3), "hosts_per_switch": sizes(1, 2)})
LATTICES = st.fixed_dictionaries({"rows": sizes(1, 5), "columns": sizes(2, 6)})
DRAGONFLIES = st.fixed_dictionaries({"a": sizes(1, 3), "p": sizes(1, 2), "h": sizes(1, 2)})
CLOSES = st.fixed_dictionaries(
    {name: sizes(1, 3) for name in ("pods", "leaves", "aggregations", "cores", "oversubscription")}
)
DUMBBELLS = st.fixed_dictionaries({"left": sizes(1, 6), "right": sizes(1, 6)})
BCUBES = st.fixed_dictionaries({"n": sizes(2, 3), "levels": sizes(1, 3)})
ANY = st.one_of(
    *(
        st.tuples(st.just(kind), parameters)
        for kind, parameters in (
            ("ring", RINGS),
            ("torus", TORI),
            ("lattice", LATTICES),
            ("dragonfly", DRAGONFLIES),
            ("clos", CLOSES),
            ("dumbbell", DUMBBELLS),
            ("bcube", BCUBES),
        )
    )
)
some = settings(max_examples=12, deadline=None)


def graph_of(built: Fabric, nodes: tuple[str, ...] | None = None) -> nx.Graph:
    """Its nodes and links, of ``nodes`` only where given; two links between the same two nodes would show as one."""
    graph: nx.Graph = nx.Graph()
    graph.add_nodes_from(nodes or (*built.hosts, *built.switches))
    graph.add_edges_from(
        (link.a.node, link.b.node) for link in built.links if link.a.node in graph and link.b.node in graph
    )
    return graph


def cut(graph: nx.Graph, half: set[str]) -> int:
    """Links that leave ``half``."""
    return sum((one in half) != (other in half) for one, other in graph.edges)


# -- the textbooks' numbers ------------------------------------------------------------------------------------------


@some
@given(RINGS)
def test_a_ring_of_n_has_n_links_a_diameter_of_half_of_it_and_a_cut_of_two(shape):
    built = make_fabric("ring", shape)
    n = shape["switches"]
    circle = graph_of(built, built.switches)
    assert (len(built.switches), circle.number_of_edges()) == (n, n)
    assert len(built.hosts) == n * shape["hosts_per_switch"]
    assert nx.diameter(circle) == n // 2
    assert cut(circle, {f"ring{number}" for number in range(1, n // 2 + 1)}) == 2
    assert hop_bound(built) == n // 2 + 2


@some
@given(TORI)
def test_a_torus_has_a_link_per_dimension_and_the_diameters_of_its_circles_add_up(shape):
    """Dally and Towles, Principles and Practices of Interconnection Networks, 5.2: a k-ary n-cube has n k^n links, a
    diameter of n floor(k/2), and 2 k^(n-1) links across the middle where k is even."""
    built = make_fabric("torus", shape)
    along = [size for size in (shape["x"], shape["y"], shape["z"]) if size > 1]
    grid = graph_of(built, built.switches)
    switches = prod(along)
    assert len(built.switches) == switches
    assert grid.number_of_edges() == sum(switches if size > 2 else switches // 2 for size in along)
    assert nx.diameter(grid) == sum(size // 2 for size in along)
    if shape["x"] % 2 == 0:
        half = {switch for switch in built.switches if built.place(switch).at[0] < shape["x"] // 2}
        assert cut(grid, half) == (2 if shape["x"] > 2 else 1) * switches // shape["x"]


@pytest.mark.parametrize(("k", "n"), [(3, 2), (4, 2), (5, 2), (3, 3), (4, 3)])
def test_a_cubic_torus_is_the_k_ary_n_cube(k, n):
    built = make_fabric("torus", {"x": k, "y": k, "z": k if n == 3 else 1})
    grid = graph_of(built, built.switches)
    assert nx.is_isomorphic(grid, nx.grid_graph([k] * n, periodic=True))
    assert grid.number_of_edges() == n * k**n
    assert {degree for _, degree in grid.degree} == {2 * n}


@some
@given(LATTICES)
def test_a_lattice_joins_each_host_to_its_eight_neighbours(shape):
    """A king's graph: (r - 1) c + r (c - 1) + 2 (r - 1) (c - 1) links; a king crosses the board in its longer side."""
    built = make_fabric("lattice", shape)
    rows, columns = shape["rows"], shape["columns"]
    board = graph_of(built)
    assert built.switches == ()
    assert built.forwarding == {}
    assert len(built.hosts) == rows * columns
    assert len(built.links) == (rows - 1) * columns + rows * (columns - 1) + 2 * (rows - 1) * (columns - 1)
    assert nx.diameter(board) == max(rows, columns) - 1
    left = {host for host in built.hosts if built.place(host).at[0] < columns // 2}
    assert cut(board, left) == 3 * rows - 2
    for one, other in combinations(built.hosts, 2):
        (x, y), (u, v) = built.place(one).at, built.place(other).at
        assert board.has_edge(one, other) == (max(abs(x - u), abs(y - v)) == 1)


def test_a_host_in_the_middle_of_a_lattice_has_eight_nics_and_eight_peers():
    built = make_fabric("lattice", {"rows": 3, "columns": 3})
    routes = Routes(built)
    assert [end.nic for end in routes.nics("host5")] == [f"host5-eth{number}" for number in range(8)]
    assert {routes.port("host5", f"host{peer}").nic for peer in (1, 2, 3, 4, 6, 7, 8, 9)} == {
        end.nic for end in routes.nics("host5")
    }
    with pytest.raises(ValueError, match="host1 cannot reach host9"):
        routes.port("host1", "host9")


@some
@given(DRAGONFLIES)
def test_a_dragonfly_has_one_link_between_each_two_groups_and_three_hops_at_most(shape):
    """Kim and others, 3.1: g = a h + 1 groups, N = a p (a h + 1) hosts; local, global, local reaches everybody."""
    built = make_fabric("dragonfly", shape)
    a, p, h = shape["a"], shape["p"], shape["h"]
    groups = a * h + 1
    routers = graph_of(built, built.switches)
    assert (len(built.switches), len(built.hosts)) == (a * groups, a * p * groups)
    of_group = {router: built.place(router).group for router in built.switches}
    between = [(one, other) for one, other in routers.edges if of_group[one] != of_group[other]]
    joined = {frozenset((of_group[one], of_group[other])) for one, other in between}
    assert len(joined) == len(between) == groups * (groups - 1) // 2
    assert {degree for _, degree in routers.degree} == {a - 1 + h}, "every router has its h ways out"
    assert nx.diameter(routers) <= 3


@some
@given(CLOSES)
def test_a_clos_network_is_as_oversubscribed_as_it_was_asked_to_be(shape):
    built = make_fabric("clos", shape)
    pods, leaves, aggs, cores, over = (
        shape[name] for name in ("pods", "leaves", "aggregations", "cores", "oversubscription")
    )
    assert len(built.hosts) == pods * leaves * aggs * over
    assert len(built.switches) == pods * (leaves + aggs) + aggs * cores
    assert len(built.links) == len(built.hosts) + pods * aggs * (leaves + cores)
    for leaf in (switch for switch in built.switches if built.place(switch).role == "leaf"):
        up = [link for link in built.links if leaf in (link.a.node, link.b.node) and "agg" in link.name]
        down = [link for link in built.links if leaf in (link.a.node, link.b.node) and "host" in link.name]
        assert len(down) == over * len(up)
    assert pods == 1 or hop_bound(built) == 6, "up to a core and down again"


@pytest.mark.parametrize("k", [2, 4, 6])
def test_a_fat_tree_is_the_clos_network_of_k_pods(k):
    half = k // 2
    clos = make_fabric("clos", {"pods": k, "leaves": half, "aggregations": half, "cores": half})
    tree = make_fabric("fat_tree", {"k": k})
    assert (len(clos.hosts), len(clos.switches), len(clos.links)) == (k**3 // 4, 5 * k**2 // 4, 3 * k**3 // 4)
    assert nx.faster_could_be_isomorphic(graph_of(clos), graph_of(tree))
    assert sorted(place.tier for place in clos.places.values()) == sorted(place.tier for place in tree.places.values())


@some
@given(DUMBBELLS)
def test_everything_in_a_dumbbell_meets_on_one_link(shape):
    built = make_fabric("dumbbell", shape)
    routes = Routes(built)
    bottleneck = next(index for index, link in enumerate(built.links) if link.name == "left<->right")
    sides = {host: built.place(host).group for host in built.hosts}
    assert len(built.links) == shape["left"] + shape["right"] + 1
    for one, other in combinations(built.hosts, 2):
        crossed = [crossing.link for crossing in routes.path(one, other)]
        assert (bottleneck in crossed) == (sides[one] != sides[other])


@some
@given(BCUBES)
def test_a_bcube_has_the_counts_of_its_paper_and_hosts_meet_that_differ_in_one_digit(shape):
    """Guo and others, 3.1: n^(k+1) servers, k + 1 levels of n^k switches of n ports, any two servers k + 1 hops (over
    servers) apart at most."""
    built = make_fabric("bcube", shape)
    n, levels = shape["n"], shape["levels"]
    assert len(built.hosts) == n**levels
    assert len(built.switches) == levels * n ** (levels - 1)
    assert len(built.links) == levels * n**levels
    everything = graph_of(built)
    assert {everything.degree[switch] for switch in built.switches} == {n}
    assert {everything.degree[host] for host in built.hosts} == {levels}
    assert nx.diameter(nx.bipartite.projected_graph(everything, built.hosts)) == levels
    apart = set(strangers(built.hosts, built.links))
    routes = Routes(built)
    for one, other in combinations(built.hosts, 2):
        digits = [(int(name[4:]) - 1) // n**level % n for level in range(levels) for name in (one, other)]
        differing = sum(digits[place] != digits[place + 1] for place in range(0, len(digits), 2))
        if differing == 1:
            assert len(routes.path(one, other)) == 2
        else:
            with pytest.raises(ValueError, match="cannot reach"):
                routes.path(one, other)
    assert bool(apart) == (levels > 1)


# -- what all of them owe --------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(ANY)
def test_frames_take_a_shortest_path_without_a_host_between_or_there_is_none(choice):
    """Shortest paths visit no node twice, so this is also the proof that no frame can loop."""
    built = make_fabric(*choice)
    routes = Routes(built)
    everything = graph_of(built)
    hosts = set(built.hosts)
    for one in built.hosts:
        reached = nx.single_source_shortest_path_length(
            everything.subgraph(set(built.switches) | {one}), one
        )  # hosts do not forward
        for other in built.hosts:
            if one == other:
                continue
            near = [reached[far] + 1 for far in everything[other] if far in reached]
            if near:
                assert len(routes.path(one, other)) == min(near) <= max(hop_bound(built), 1)
            else:
                with pytest.raises(ValueError, match=r"cannot reach|no way"):
                    routes.path(one, other)
    assert nx.is_connected(everything)
    assert all(built.place(node).tier == 0 for node in hosts)
    assert all(built.place(node).tier >= 1 for node in built.switches)


@settings(max_examples=20, deadline=None)
@given(ANY)
def test_the_size_told_beforehand_is_the_size_that_is_built(choice):
    kind, parameters = choice
    built = make_fabric(kind, parameters)
    hosts, cables = KINDS[kind].topo.size(**{**KINDS[kind].parameters, **parameters})
    assert hosts == len(built.hosts)
    own = len([link for link in built.links if {link.a.node, link.b.node} <= set(built.switches)])
    direct = len([link for link in built.links if {link.a.node, link.b.node} <= set(built.hosts)])
    more_nics = len(built.links) if kind == "bcube" else 0
    assert own + direct + more_nics <= cables, "so that nothing too large is begun"


def test_equal_choices_give_equal_fabrics_whatever_the_order_in_which_they_are_made():
    for kind in KINDS:
        assert make_fabric(kind) == make_fabric(kind)


@pytest.mark.parametrize(
    ("kind", "parameters", "says"),
    [
        ("ring", {"switches": 2}, "switches must be at least 3, not 2"),
        ("torus", {"x": 1}, "x must be at least 2, not 1"),
        ("lattice", {"rows": 1, "columns": 1}, "a lattice of one host has no link"),
        ("bcube", {"n": 1}, "n must be at least 2, not 1"),
        ("dumbbell", {"left": 0}, "left must be at least 1"),
        ("ring", {"switches": 70_000}, f"ring with 70000 hosts: more than {MOST_HOSTS}"),
        ("torus", {"x": 500, "y": 500}, "torus with 250000 hosts"),
        ("lattice", {"rows": 65_535, "columns": 65_535}, "lattice with 4294836225 hosts"),
        ("lattice", {"rows": 255, "columns": 257}, "lattice with 262140 links between switches"),
        ("dragonfly", {"a": 60_000, "p": 60_000, "h": 60_000}, "dragonfly with"),
        ("dragonfly", {"a": 30, "p": 1, "h": 30}, "dragonfly with 797385 links"),
        ("bcube", {"n": 60_000, "levels": 60_000}, "bcube with"),
        ("clos", {"pods": 60_000, "leaves": 60_000}, "clos with"),
        ("dumbbell", {"left": 60_000, "right": 60_000}, "dumbbell with 120000 hosts"),
    ],
)
def test_what_is_too_small_or_too_large_is_refused_at_once_in_one_line(kind, parameters, says):
    with pytest.raises(ValueError, match=says) as caught:
        make_fabric(kind, parameters)
    assert "\n" not in str(caught.value)


# -- roles and tiers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "tiers"),
    [
        ("leaf_spine", {"host": 0, "leaf": 1, "spine": 2}),
        ("fat_tree", {"host": 0, "edge": 1, "aggregation": 2, "core": 3}),
        ("clos", {"host": 0, "leaf": 1, "aggregation": 2, "core": 3}),
        ("star", {"host": 0, "switch": 1}),
        ("pair", {"host": 0}),
        ("ring", {"host": 0, "ring": 1}),
        ("torus", {"host": 0, "torus": 1}),
        ("lattice", {"host": 0}),
        ("dragonfly", {"host": 0, "router": 1}),
        ("dumbbell", {"host": 0, "side": 1}),
        ("bcube", {"host": 0, "level0": 1, "level1": 2}),
    ],
)
def test_every_node_knows_its_role_and_its_tier(kind, tiers):
    built = make_fabric(kind)
    assert {place.role: place.tier for place in built.places.values()} == tiers
    assert set(built.places) == {*built.hosts, *built.switches}


def test_links_lead_from_a_tier_to_the_next_in_layered_fabrics():
    for kind in ("leaf_spine", "fat_tree", "clos"):
        built = make_fabric(kind)
        steps = {abs(built.place(link.a.node).tier - built.place(link.b.node).tier) for link in built.links}
        assert steps == {1}


def test_pods_racks_and_groups_are_named():
    tree = make_fabric("fat_tree", {"k": 4})
    assert {node for node, place in tree.places.items() if place.group == "pod2"} == {
        "agg3", "agg4", "edge3", "edge4", "host5", "host6", "host7", "host8"
    }  # fmt: skip
    assert make_fabric("leaf_spine").place("host3") == Place("host", 0, "leaf2")
    assert make_fabric("torus", {"x": 2, "y": 2, "z": 2}).place("t2_1_2").at == (1, 0, 1)


def test_places_survive_json_and_plans_from_before_there_were_any_are_read():
    import json
    from dataclasses import asdict

    built = make_fabric("torus")
    data = json.loads(json.dumps(asdict(built)))
    assert fabric_from_json(data) == built
    del data["places"]
    old = fabric_from_json(data)
    assert old.place("t1_1") == Place("switch", 1)
    assert old.place("host1") == Place("host", 0)


def test_a_users_class_says_what_its_nodes_are_or_is_told_what_is_wrong():
    from mininet.topo import Topo

    topo = Topo()
    topo.addHost("h1", role="client", group="west")
    topo.addHost("h2")
    topo.addSwitch("s1", role="hub", tier=4)
    topo.addLink("h1", "s1")
    topo.addLink("h2", "s1")
    built = fabric(topo)
    assert built.places == {"h1": Place("client", 0, "west"), "h2": Place("host", 0), "s1": Place("hub", 4)}
    for options, told in (
        ({"role": "a hub"}, "h3: role='a hub' can't be used"),
        ({"tier": -1}, "h3: tier=-1 must be a whole number"),
        ({"group": 3}, "h3: group=3 must be a name"),
    ):
        bad = Topo()
        bad.addHost("h3", **options)
        with pytest.raises(ValueError, match=told):
            fabric(bad)


def test_a_ring_uses_both_ways_round():
    """Hosts half-way round are spread over both directions; no link is left unused."""
    built = make_fabric("ring", {"switches": 8, "hosts_per_switch": 2})
    routes = Routes(built)
    used = {crossing.link for pair in combinations(built.hosts, 2) for crossing in routes.path(*pair)}
    assert used == set(range(len(built.links)))
    assert max(len(routes.path(*pair)) for pair in combinations(built.hosts, 2)) == ceil(8 / 2) + 2
