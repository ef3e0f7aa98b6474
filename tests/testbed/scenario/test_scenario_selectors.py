"""Selectors by role and tier: which links and hosts they mean, and what is said when they mean none."""

from __future__ import annotations

import pytest

from testbed.scenario import ScenarioError, compile_plan, explain, parse
from testbed.scenario.selectors import parse_selector, selected
from testbed.topologies.build import make_fabric

TREE = make_fabric("fat_tree", {"k": 4})


def meant(text: str, fabric=TREE) -> set[tuple[str, str]]:
    """(sender, receiver) of every direction that a selector means."""
    ways = set()
    for index, way in selected(fabric, parse_selector(text)):
        link = fabric.links[index]
        ends = (link.a.node, link.b.node)
        ways.add(ends if way == "ab" else ends[::-1])
    return ways


def test_a_role_means_all_links_at_its_nodes_both_ways():
    assert meant("role:core") == meant("core*<->*")
    assert len(meant("role:core")) == 2 * 16


def test_a_pair_of_tiers_means_the_links_between_them_both_ways():
    assert meant("tier:core-aggregation") == meant("core*<->agg*") == meant("tier:aggregation-core")
    assert meant("tier:3-2") == meant("tier:core-aggregation")
    assert meant("tier:0-edge") == meant("host*<->edge*")
    everything = meant("tier:host-edge") | meant("tier:edge-aggregation") | meant("tier:aggregation-core")
    assert everything == meant("*<->*")


def test_roles_and_groups_stand_where_names_do_also_for_one_direction():
    assert meant("role:edge->role:aggregation") == meant("edge*->agg*")
    assert meant("role:edge->agg1") == {("edge1", "agg1"), ("edge2", "agg1")}
    assert meant("group:pod2<->role:core") == meant("agg[34]<->core*")


def test_a_group_by_itself_means_all_links_at_it():
    rack = make_fabric("leaf_spine")
    assert meant("group:leaf2", rack) == meant("leaf2<->*", rack) | meant("host[34]<->*", rack)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("role:spine", "no role 'spine' in this fabric; there are core, edge, host, aggregation"),
        ("tier:core-leaf", "no role 'leaf' in this fabric; there are core, edge"),
        ("tier:4-3", "no tier 4 in this fabric; there are 0, 1, 2, 3"),
        ("tier:core-edge", "tier:core-edge matches no link; there are tier:aggregation-edge, tier:core-aggregation"),
        ("group:pod9->host1", "no group 'pod9' in this fabric; there are pod1, pod2, pod3, pod4"),
        ("role:core->role:edge", "role:core->role:edge matches no link; there are agg1<->core1"),
        ("kind:core->host1", "'kind:core': nodes are told apart by name, role: and group:, not by kind:"),
        ("tier:core", "'tier:core' is no link selector"),
        ("role:", "'role:' is no link selector; write host1<->leaf1, leaf.*, role:spine, tier:leaf-spine or"),
    ],
)
def test_what_means_nothing_is_told_with_what_there_is(text, says):
    with pytest.raises(ValueError, match=says):
        meant(text)


SCENARIO = """
name: roles
topology: {kind: leaf_spine}
links:
  default: {delay: 5us}
  role:spine: {delay: 20us}
  tier:leaf-host: {jitter: 1us}
"""


def test_a_scenario_takes_them_for_links_participants_and_faults_and_explains_them():
    scenario = parse(
        SCENARIO + "protocol: {participants: [group:leaf1, 'group:leaf2', host5]}\n"
        "faults:\n  - {at: 10us, do: nic_mute, on: group:leaf1}\n"
        "  - {at: 20us, do: jitter, loss: 1%, links: role:spine}\n"
    )
    plan = compile_plan(scenario)
    delays = {link.name: (link.ab.delay_ns, link.ab.jitter_ns) for link in plan.fabric.links}
    assert delays["host1<->leaf1"] == (5000, 1000)
    assert delays["leaf1<->spine2"] == (20000, 0)
    assert scenario.resolved.participants == ("host1", "host2", "host3", "host4", "host5")
    (mute, _) = scenario.resolved.orders
    assert [host for host, _ in mute.targets] == ["host1", "host2"]
    told = explain(scenario)
    assert "  default         16 links: host1<->leaf1, host2<->leaf1, host3<->leaf2, ... leaf4<->spine2\n" in told
    assert "  role:spine      8 links: leaf1<->spine1, leaf1<->spine2, leaf2<->spine1, ... leaf4<->spine2\n" in told


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("  role:spin: {delay: 1us}", "no role 'spin' in this fabric; there are host, leaf, spine"),
        ("protocol: {participants: 'role:server'}", "protocol.participants.0: no role 'server' in this fabric"),
        ("protocol: {participants: 'role:leaf'}", "protocol.participants.0: 'role:leaf' matches no host"),
        ("faults: [{at: 1us, do: nic_mute, on: 'role:leaf'}]", "role:leaf means no host that takes part"),
        ("faults: [{at: 1us, do: nic_mute, on: 'group:west'}]", "faults.0.on: no group 'west' in this fabric"),
    ],
)
def test_a_scenarios_mistakes_are_told_where_they_stand(more, says):
    with pytest.raises(ScenarioError) as caught:
        parse(SCENARIO + more)
    assert says in str(caught.value)
    assert len(caught.value.problems) == 1, caught.value.problems
