"""The fabrics: named, numbered and wired as they should be; forwarding that reaches everybody and never loops."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mininet.topo import Topo
from mininet.util import buildTopo

from testbed.topologies.base import FabricTopo
from testbed.topologies.build import KINDS, fabric, make_fabric, make_topo, natural
from testbed.topologies.draw import describe, draw_dot, draw_mermaid, draw_text
from testbed.topologies.fabric import Fabric, fabric_from_json
from testbed.topologies.impairment import CLEAN, GilbertElliott, Impairment
from testbed.topologies.paths import hop_bound
from testbed.topologies.routes import Routes

ROOT = Path(__file__).resolve().parents[2]

small_fabrics = st.one_of(
    st.just(("pair", {})),
    st.builds(lambda hosts: ("star", {"hosts": hosts}), st.integers(1, 12)),
    st.builds(
        lambda spines, leaves, hosts: (
            "leaf_spine",
            {"spines": spines, "leaves": leaves, "hosts_per_leaf": hosts},
        ),
        st.integers(1, 4),
        st.integers(1, 5),
        st.integers(1, 4),
    ),
    st.builds(lambda half: ("fat_tree", {"k": 2 * half}), st.integers(1, 3)),
)


@pytest.mark.parametrize(
    ("kind", "parameters", "hosts", "switches", "links"),
    [
        ("pair", {}, 2, 0, 1),
        ("star", {"hosts": 5}, 5, 1, 5),
        ("leaf_spine", {"spines": 2, "leaves": 4, "hosts_per_leaf": 2}, 8, 6, 16),
        # Al-Fares et al.: k pods of k switches, (k/2)^2 cores, k^3/4 hosts, 3 k^3/4 links
        ("fat_tree", {"k": 4}, 16, 20, 48),
        ("fat_tree", {"k": 6}, 54, 45, 162),
    ],
)
def test_each_kind_has_the_size_that_its_definition_says(kind, parameters, hosts, switches, links):
    built = make_fabric(kind, parameters)
    assert (len(built.hosts), len(built.switches), len(built.links)) == (hosts, switches, links)


def test_hosts_are_numbered_in_natural_order_and_addressed_by_their_number():
    built = make_fabric("star", {"hosts": 300})
    assert built.hosts[1] == "host2"
    assert built.hosts[9:11] == ("host10", "host11")
    ends = {link.a.node: link.a for link in built.links}
    assert ends["host1"].mac == "02:00:00:00:00:01"
    assert ends["host300"].mac == "02:00:00:00:01:2c"
    assert ends["host300"].nic == "host300-eth0"


def test_every_interface_name_and_address_is_used_once():
    built = make_fabric("fat_tree", {"k": 6})
    ends = [end for link in built.links for end in (link.a, link.b)]
    assert len({end.nic for end in ends}) == len(ends)
    assert len({end.mac for end in ends}) == len(ends)
    assert all(len(end.nic) <= 15 for end in ends)


def shortest(built: Fabric) -> nx.Graph:
    graph = nx.Graph()
    graph.add_edges_from((link.a.node, link.b.node) for link in built.links)
    return graph


@settings(max_examples=40, deadline=None)
@given(small_fabrics)
def test_following_the_entries_reaches_every_host_on_a_shortest_path(choice):
    """Shortest paths visit no node twice, so this is also the proof that no frame can loop."""
    built = make_fabric(*choice)
    routes, graph = Routes(built), shortest(built)
    for host in built.hosts:
        lengths = nx.single_source_shortest_path_length(graph, host) if host in graph else {}
        for peer in built.hosts:
            if peer != host:
                assert len(routes.path(host, peer)) == lengths[peer] <= hop_bound(built)


@st.composite
def random_topos(draw):
    """Connected switches with extra links at random, and hosts with one or two NICs on them."""
    switches = draw(st.integers(1, 7))
    topo = Topo()
    for number in range(1, switches + 1):
        topo.addSwitch(f"sw{number}")
        if number > 1:
            topo.addLink(f"sw{number}", f"sw{draw(st.integers(1, number - 1))}")
    for _ in range(draw(st.integers(0, 6))):
        one, other = draw(st.integers(1, switches)), draw(st.integers(1, switches))
        if one != other:
            topo.addLink(f"sw{one}", f"sw{other}")
    for number in range(1, draw(st.integers(2, 6)) + 1):
        topo.addHost(f"h{number}")
        for switch in draw(st.lists(st.integers(1, switches), min_size=1, max_size=2)):
            topo.addLink(f"h{number}", f"sw{switch}")
    return topo


@settings(max_examples=60, deadline=None)
@given(random_topos())
def test_any_topology_of_a_users_gets_shortest_paths_too(topo):
    built = fabric(topo, "random")
    routes = Routes(built)
    between = nx.Graph()
    between.add_nodes_from(built.switches)
    between.add_edges_from((a, b) for a, b in topo.links() if a.startswith("sw") and b.startswith("sw"))
    behind = {host: {far for a, far in topo.links() if a == host} for host in built.hosts}
    for host in built.hosts:
        for peer in built.hosts:
            if host == peer:
                continue
            least = min(nx.shortest_path_length(between, one, other) for one in behind[host] for other in behind[peer])
            path = routes.path(host, peer)
            assert len(path) == least + 2
            # The way back uses the same pair of NICs, so that an answer comes back to the port that asked.
            assert routes.port(host, peer).nic == built.links[path[0].link].a.nic
            assert routes.port(peer, host).mac == built.links[path[0].link].a.mac


def test_equal_paths_are_shared_out_evenly_over_spines_and_cores():
    for kind, parameters, upper in (("leaf_spine", {}, "spine"), ("fat_tree", {"k": 4}, "core")):
        built = make_fabric(kind, parameters)
        routes = Routes(built)
        used = Counter(
            crossing
            for host in built.hosts
            for peer in built.hosts
            if host != peer
            for crossing in routes.path(host, peer)
            if upper in built.links[crossing.link].name
        )
        uppermost = sum(upper in link.name for link in built.links)
        assert len(used) == 2 * uppermost, "some link is never used"
        assert len(set(used.values())) == 1, "some link carries more than another"


@pytest.mark.parametrize(
    ("kind", "parameters", "says"),
    [
        ("fat_tree", {"k": 3}, "k must be even, not 3"),
        ("star", {"hosts": 0}, "hosts must be at least 1, not 0"),
        ("star", {"hosts": -5}, "hosts must be at least 1"),
        ("star", {"hosts": 70_000}, "more than 65535"),
        ("leaf_spine", {"leaves": 10**9, "hosts_per_leaf": 10**9}, "more than 65535"),
        ("fat_tree", {"k": 10**6}, "more than 65535"),
        ("leaf_spine", {"leaves": 60_000, "spines": 30_000, "hosts_per_leaf": 1}, "links between switches"),
        ("star", {"hosts": 20_000}, "switch1-eth10000 is longer than Linux takes"),
        ("rng", {}, "no topology 'rng'"),
        ("pair", {"hosts": 2}, "pair has no parameter 'hosts'"),
        ("star", {"hosts": 2.5}, "must be a whole number"),
        ("star", {"hosts": True}, "must be a whole number"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(kind, parameters, says):
    with pytest.raises(ValueError, match=says) as caught:
        make_fabric(kind, parameters)
    assert "\n" not in str(caught.value)


def topo_of(*links: tuple[str, str]) -> Topo:
    topo = Topo()
    for name in dict.fromkeys(name for link in links for name in link):
        (topo.addSwitch if name.startswith("s") else topo.addHost)(name)
    for one, other in links:
        topo.addLink(one, other)
    return topo


def test_hosts_that_cannot_reach_each_other_are_no_fabric():
    with pytest.raises(ValueError, match="h1 cannot reach h2"):
        fabric(topo_of(("h1", "s1"), ("h2", "s2")))
    # Hosts do not forward: a chain of hosts joins its neighbours only.
    with pytest.raises(ValueError, match="h1 cannot reach h3"):
        fabric(topo_of(("h1", "h2"), ("h2", "h3")))
    lonely = topo_of(("h1", "s1"), ("h2", "s1"))
    lonely.addHost("h3")
    with pytest.raises(ValueError, match="h3 has no link"):
        fabric(lonely)
    with pytest.raises(ValueError, match="at least one host"):
        fabric(Topo())
    with pytest.raises(ValueError, match="longer than Linux takes"):
        fabric(topo_of(("a-very-long-host", "s1"), ("h2", "s1")))


def test_a_triangle_of_hosts_with_direct_links_is_a_fabric():
    built = fabric(topo_of(("h1", "h2"), ("h2", "h3"), ("h3", "h1")))
    routes = Routes(built)
    assert {len(routes.path(a, b)) for a in built.hosts for b in built.hosts if a != b} == {1}
    assert len(routes.nics("h2")) == 2


def test_the_impairments_of_a_mininet_topos_links_are_the_fabrics():
    hurt = Impairment(delay_ns=5, seed=9)
    custom = FabricTopo()
    custom.addHost("h1")
    custom.addHost("h2")
    custom.addLink("h1", "h2", ab=hurt)
    (link,) = fabric(custom).links
    assert (link.ab, link.ba) == (hurt, CLEAN)


def test_a_fabric_survives_json():
    import json
    from dataclasses import asdict

    built = make_fabric("fat_tree", {"k": 2})
    assert fabric_from_json(json.loads(json.dumps(asdict(built)))) == built


AS_MN_DOES = """
import sys
sys.path = [place for place in sys.path if place not in ("", {root!r})]
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
from mininet.util import buildTopo
customs = {{}}
exec(compile(open({file!r}).read(), {file!r}, "exec"), customs, customs)
topo = buildTopo(customs["topos"], {wanted!r})
print(len(topo.hosts()), len(topo.switches()), len(topo.links()))
assert len({{topo.nodeInfo(name)["dpid"] for name in topo.switches()}}) == len(topo.switches())
"""


@pytest.mark.parametrize(
    ("wanted", "size"),
    [
        ("pair", "2 0 1"),
        ("star,4", "4 1 4"),
        ("leaf_spine,2,4,2", "8 6 16"),
        ("fat_tree,k=4", "16 20 48"),
        ("torus,3,3,2", "18 18 63"),
        ("lattice,3,3", "9 0 20"),
        ("bcube,2,2", "4 4 8"),
    ],
)
def test_mn_custom_loads_the_files_as_they_stand(wanted, size, tmp_path):
    """``mn --custom`` runs the file's text, with the repository not on its path."""
    file = ROOT / "topologies" / f"{wanted.split(',')[0]}.py"
    script = AS_MN_DOES.format(root=str(ROOT), file=str(file), wanted=wanted)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.strip() == size, done.stderr


def test_the_registry_and_the_files_name_the_same_topologies():
    for name, kind in KINDS.items():
        assert buildTopo({name: kind.topo}, name).hosts() == make_topo(name).hosts()
        assert kind.description
        assert "``" not in kind.description, "people read this: no marks of docstrings"


def test_drawings_name_every_node_and_what_impaired_links_do():
    built = make_fabric("pair")
    assert draw_dot(built) == (
        'graph "pair" {\n  rankdir=BT;\n  node [fontname="sans-serif"];\n'
        '  edge [fontname="sans-serif"];\n  "host1" [shape=ellipse];\n'
        '  "host2" [shape=ellipse];\n  "host1" -- "host2";\n}\n'
    )
    assert draw_mermaid(built) == "graph BT\n  host1((host1))\n  host2((host2))\n  host1 --- host2\n"
    assert draw_text(built) == "pair: 2 hosts, 0 switches, 1 links\n  host1  eth0=host2\n  host2  eth0=host1\n"
    tree = make_fabric("fat_tree", {"k": 4})
    for drawing in (draw_dot(tree), draw_mermaid(tree), draw_text(tree)):
        assert all(node in drawing for node in (*tree.hosts, *tree.switches))


def test_an_impairment_in_words():
    assert describe(CLEAN) == "clean"
    assert describe(Impairment(delay_ns=20_000, jitter_ns=1_500, distribution="normal", loss=0.01, order="fifo")) == (
        "20us +- 1.5us normal, loss 1%, fifo"
    )
    assert "bursty loss p=0.01 r=0.5" in describe(Impairment(burst_loss=GilbertElliott(0.01, 0.5)))


def test_natural_order_puts_host2_before_host10():
    assert sorted(["host10", "host2", "agg1", "host1"], key=natural) == ["agg1", "host1", "host2", "host10"]
