"""Fabrics from files of users': what they say, and what is said of files that are wrong."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.actions.find import check_kind
from testbed.cli.common import named_fabric
from testbed.engines.sim import SimEngine
from testbed.errors import UserError
from testbed.plan import Plan
from testbed.scenario import ScenarioError, compile_plan, load, parse
from testbed.topologies.fabric import Fabric, Place
from testbed.topologies.impairment import CLEAN, Impairment
from testbed.verdicts import judge

LEAF_SPINE_ADJ = """\
# Two spines over two leaves.
spine1 leaf1 leaf2 role=spine tier=2
spine2 leaf1 leaf2 role=spine tier=2
leaf1 a b role=leaf group=rack1
leaf2 c d role=leaf group=rack2
a leaf1            # a link said at both ends is one link
"""

GRAPHML = """\
<?xml version="1.0"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key id="r" for="node" attr.name="role" attr.type="string"/>
  <key id="t" for="node" attr.name="tier" attr.type="int"/>
  <key id="b" for="edge" attr.name="bw" attr.type="double"/>
  <key id="d" for="edge" attr.name="delay" attr.type="string"/>
  <key id="l" for="edge" attr.name="LinkLabel" attr.type="string"/>
  <graph edgedefault="undirected">
    <node id="hub"><data key="r">hub</data><data key="t">3</data></node>
    <node id="n1"/>
    <node id="n2"><data key="r">server</data></node>
    <edge source="hub" target="n1"><data key="b">100</data><data key="d">5us</data><data key="l">fibre</data></edge>
    <edge source="n2" target="hub"/>
  </graph>
</graphml>
"""

CLAB = """\
name: two-leaves
topology:
  kinds:
    nokia_srlinux: {image: ghcr.io/nokia/srlinux}
  nodes:
    spine: {kind: nokia_srlinux, labels: {oae-role: spine, oae-tier: 2}}
    br-left: {kind: bridge}
    br-right: {kind: bridge}
    h1: {kind: linux, image: debian}
    h2:
  links:
    - endpoints: ["br-left:eth1", "spine:e1-1"]
    - endpoints: ["spine:e1-2", "br-right:eth1"]
    - type: veth
      endpoints:
        - {node: h1, interface: eth1}
        - {node: br-left, interface: eth2}
    - endpoints: [h2:eth1, br-right:eth2]
"""


def fabric_of(tmp_path: Path, name: str, text: str, more: str = "") -> Fabric:
    return plan_of(tmp_path, name, text, more).fabric


def plan_of(tmp_path: Path, name: str, text: str, more: str = "", rest: str = "") -> Plan:
    (tmp_path / name).write_text(text)
    (tmp_path / "s.yaml").write_text(f"name: x\ntopology: {{kind: from_file, file: {name}{more}}}\n{rest}")
    return compile_plan(load(tmp_path / "s.yaml"))


def joined(built: Fabric) -> set[frozenset[str]]:
    return {frozenset((link.a.node, link.b.node)) for link in built.links}


def test_an_adjacency_list_says_who_is_joined_to_whom_and_what_is_what(tmp_path):
    built = fabric_of(tmp_path, "two.adj", LEAF_SPINE_ADJ)
    assert built.name == "two"
    assert built.hosts == ("a", "b", "c", "d")
    assert built.switches == ("leaf1", "leaf2", "spine1", "spine2")
    assert len(built.links) == 8
    assert built.place("spine2") == Place("spine", 2)
    assert built.place("leaf1") == Place("leaf", 1, "rack1")
    assert built.place("a") == Place("host", 0)


def test_where_nothing_is_said_a_node_with_one_link_is_a_host(tmp_path):
    assert fabric_of(tmp_path, "t.txt", "s h1 h2 h3\n").switches == ("s",)
    assert fabric_of(tmp_path, "t.txt", "h1 h2\n").switches == ()
    assert fabric_of(tmp_path, "t.txt", "m h1 h2 kind=host\n").hosts == ("h1", "h2", "m")
    assert fabric_of(tmp_path, "t.txt", "s h1 h2 x\nx kind=switch\n").switches == ("s", "x")


def test_hosts_can_be_put_on_the_switches_of_a_bare_graph(tmp_path):
    built = fabric_of(
        tmp_path, "wan.adj", "paris rome bonn\nrome bonn\nlima kind=switch paris\n", ", hosts_per_switch: 2"
    )
    assert built.switches == ("bonn", "lima", "paris", "rome")
    assert len(built.hosts) == 8
    assert built.hosts[0] == "host1"


def test_without_networkx_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(ScenarioError, match=r"GraphML is read by networkx .*: pip install 'oae-testbed\[graphml\]'"):
        fabric_of(tmp_path, "g.graphml", GRAPHML)


def test_graphml_is_read_with_roles_and_with_what_mininet_knows_of_links(tmp_path):
    built = fabric_of(tmp_path, "g.graphml", GRAPHML)
    assert (built.hosts, built.switches) == (("n1", "n2"), ("hub",))
    assert built.place("hub") == Place("hub", 3)
    assert built.place("n2") == Place("server", 0)
    ways = {link.name: link.ab.with_seed(0) for link in built.links}
    assert ways == {"hub<->n1": Impairment(delay_ns=5000, rate_bps=100_000_000), "hub<->n2": CLEAN}


def test_a_directed_graph_is_one_link_for_both_ways(tmp_path):
    text = GRAPHML.replace("undirected", "directed").replace(
        '<edge source="n2" target="hub"/>', '<edge source="n2" target="hub"/><edge source="hub" target="n2"/>'
    )
    assert len(fabric_of(tmp_path, "g.graphml", text).links) == 2


def test_a_topology_of_containerlabs_is_read_in_both_its_forms(tmp_path):
    built = fabric_of(tmp_path, "lab.clab.yml", CLAB)
    assert built.hosts == ("h1", "h2")
    assert built.switches == ("br-left", "br-right", "spine")
    assert joined(built) == {
        frozenset(pair) for pair in (("br-left", "spine"), ("br-right", "spine"), ("h1", "br-left"), ("h2", "br-right"))
    }
    assert built.place("spine") == Place("spine", 2)


@pytest.mark.parametrize("name", ["lab.clab.yml", "lab.yml"])
def test_a_topology_of_containerlabs_is_taken_where_a_fabric_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It was "topology: must be a mapping with kind: or custom:"; a scenario had to be written that names the file."""
    (tmp_path / name).write_text(CLAB)
    monkeypatch.chdir(tmp_path)
    built = named_fabric(name, ["links.default.delay=2ms"])
    assert (built.name, built.hosts) == ("lab", ("h1", "h2"))
    assert {link.ab.delay_ns for link in built.links} == {2_000_000}
    with pytest.raises(UserError, match=rf"{name} is a topology of containerlab's: testbed up {name}, or name it in"):
        check_kind(Path(name), "scenarios")


def test_the_file_counts_from_the_scenario_and_the_plan_holds_the_whole_fabric(tmp_path, monkeypatch):
    folder = tmp_path / "deep"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (folder / "two.adj").write_text(LEAF_SPINE_ADJ)
    (folder / "s.yaml").write_text(
        "name: x\ntopology: {kind: from_file, file: two.adj}\nlinks: {default: {delay: 5us, jitter: 1us}}\n"
        "protocol: {window: 100us, rounds: 20}\n"
    )
    written = compile_plan(load("../deep/s.yaml")).to_json()
    (folder / "two.adj").unlink()
    plan = Plan.from_json(written)
    verdicts = judge(plan, SimEngine().run(plan))
    assert verdicts.bisynchrony.rounds == 20
    assert sum(verdicts.bisynchrony.swaps.values()) == 20 * 6


def test_a_chain_of_hosts_has_neighbours_only(tmp_path):
    """Hosts do not forward, so who takes part speaks with whoever frames get to."""
    plan = plan_of(tmp_path, "chain.adj", "a b kind=host\nb c kind=host\nc kind=host\n")
    assert [plan.peers(member) for member in (0, 1, 2)] == [(1,), (0, 2), (1,)]


MISTAKES = [
    ("t.adj", "a b\nc d\n", r"t\.adj:2: no path of links joins c and a; add a link"),
    ("t.adj", "# nothing\n", r"t\.adj: no node in it"),
    ("t.adj", "a b\na a\n", r"t\.adj:2: a link of a to itself"),
    ("t.adj", "a b\nrole=spine\n", r"t\.adj:2: 'role=spine' stands before any node"),
    ("t.adj", "s h1 h2 rol=spine\n", r"t\.adj:1: s: unknown 'rol'; there are kind, role, tier, group"),
    ("t.adj", "s h1 h2 role=\n", r"t\.adj:1: s: role has no value; write role=\.\.\., without spaces"),
    ("t.adj", "s h1 h2 tier=top\n", r"t\.adj:1: tier 'top' must be a whole number"),
    ("t.adj", "s h1 h2\n\nh1 kind=router\n", r"t\.adj:1: h1: kind 'router' is not known; write host or switch"),
    ("t.adj", "a b c\nb c\n", r"t\.adj: no host in it; say kind: host of some nodes, or .* hosts_per_switch: 1"),
    ("t.adj", "s h/1 h2\n", r"t\.adj: the node name 'h/1' can't be used"),
    ("t.adj", "s a-very-long-name h2\n", r"t\.adj: the interface name a-very-long-name-eth0 is longer than Linux"),
    (
        "t.dot",
        "graph {}",
        r"t\.dot: its ending tells no format; name one with format: adjacency, graphml, containerlab",
    ),
    ("none.adj", None, r"none\.adj: can't be read: No such file or directory; paths count from the scenario"),
    ("t.graphml", "<graphml>\n<node\n</graphml>", r"t\.graphml:3: this is not XML"),
    ("t.graphml", "<a/>", r"t\.graphml: this is not GraphML"),
    ("t.graphml", GRAPHML.replace(">100<", ">fast<"), r"t\.graphml: this is not GraphML: .*fast"),
    ("t.graphml", GRAPHML.replace("5us", "5"), r"t\.graphml: hub<->n1: delay='5' is no time"),
    ("t.graphml", GRAPHML.replace('"hub"><data key="r">hub', '"hub"><data key="r">a b'), "role='a b' can't be used"),
    ("t.yml", "name: [", r"t\.yml:1: this is not YAML"),
    ("t.yml", "name: x\n", r"t\.yml:1: no mapping topology: in it"),
    ("t.yml", "topology:\n  links: []\n", r"t\.yml:1: no mapping topology\.nodes: in it"),
    (
        "t.yml",
        CLAB.replace("[h2:eth1, br-right:eth2]", "[h2:eth1, host:eth2]"),
        r"t\.yml:18: no node 'host' under nodes:",
    ),
    ("t.yml", CLAB.replace("[h2:eth1, br-right:eth2]", "[h2:eth1]"), r't\.yml:18: a link is endpoints: \["node1:eth1"'),
    ("t.yml", CLAB.replace("veth", "macvlan"), r"t\.yml:14: a link is endpoints: .*; other kinds can't be built"),
    ("t.yml", CLAB.replace("oae-tier", "oae-teir"), r"t\.yml:6: spine: unknown 'teir'; there are kind, role, tier"),
    (
        "t.yml",
        CLAB.replace("    h2:\n", "    h2: linux\n"),
        r"t\.yml:10: h2 must be a mapping \(kind: linux\), not 'linux'",
    ),
]


@pytest.mark.parametrize(("name", "text", "says"), MISTAKES)
def test_a_file_that_is_wrong_is_one_line_with_its_name_and_line(tmp_path, name, text, says):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ScenarioError) as caught:
        parse(f"name: x\ntopology: {{kind: from_file, file: {name}}}", "s.yaml", tmp_path)
    (line,) = caught.value.problems
    assert re.search(r"s\.yaml:2: topology\.file: ", line)
    assert re.search(says, line), line


def test_a_file_that_is_no_text_or_too_large_is_told_so(tmp_path):
    scenario = "name: x\ntopology: {kind: from_file, file: t.adj}"
    (tmp_path / "t.adj").write_bytes(b"a b\n\xff")
    with pytest.raises(ScenarioError, match=r"t\.adj:2: not UTF-8 text"):
        parse(scenario, "s.yaml", tmp_path)
    (tmp_path / "t.adj").write_bytes(b"#" * 8_000_001)
    with pytest.raises(ScenarioError, match=r"8000001 bytes are more than a fabric's file can have"):
        parse(scenario, "s.yaml", tmp_path)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 7), st.data())
def test_a_graph_comes_back_as_it_was_written_in_every_format(tmp_path_factory, n, data):
    """A random tree of switches with extra links, and a host on each."""
    tmp_path = tmp_path_factory.mktemp("graph")
    graph: nx.Graph = nx.Graph()
    for number in range(2, n + 1):
        graph.add_edge(f"s{number}", f"s{data.draw(st.integers(1, number - 1))}")
    for number in range(1, n + 1):
        graph.add_edge(f"s{number}", f"h{number}")
        if (far := data.draw(st.integers(1, n))) != number:
            graph.add_edge(f"s{number}", f"s{far}")
    for name in graph:
        graph.nodes[name]["kind"] = "host" if name.startswith("h") else "switch"
    adjacency = "".join(f"{name} {' '.join(graph[name])} kind={kind}\n" for name, kind in graph.nodes(data="kind"))
    clab = "topology:\n  nodes:\n" + "".join(
        f"    {name}: {{kind: {'linux' if name.startswith('h') else 'bridge'}}}\n" for name in graph
    )
    clab += "  links:\n" + "".join(f"    - endpoints: [{one}:e, {other}:e]\n" for one, other in graph.edges)
    written = {"g.adj": adjacency, "g.graphml": "\n".join(nx.generate_graphml(graph)), "g.yml": clab}
    for name, text in written.items():
        built = fabric_of(tmp_path, name, text)
        assert joined(built) == {frozenset(edge) for edge in graph.edges}
        assert set(built.hosts) == {name for name in graph if name.startswith("h")}
        assert len(built.links) == graph.number_of_edges()
