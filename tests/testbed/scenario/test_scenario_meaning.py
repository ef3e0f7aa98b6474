"""What a scenario means: selectors, merging, measured delays, faults, seeds, times."""

from __future__ import annotations

import json
import pickle
import random
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from testbed.faults import VERBS, describe
from testbed.nodes.core.config import node_config_from_json
from testbed.nodes.core.disk import State
from testbed.nodes.core.lies import Lie, LieKind
from testbed.nodes.core.moments import Moment
from testbed.plan import VERBS as ATOMIC
from testbed.plan import Fault, Plan, derive_seed
from testbed.scenario import (
    Scenario,
    ScenarioError,
    as_written,
    compile_plan,
    explain,
    from_data,
    load,
    parse,
    unmet,
)
from testbed.scenario.model import Expectation, MeasuredDelays
from testbed.scenario.samples import load_table
from testbed.scenario.selectors import parse_selector
from testbed.topologies.build import make_fabric
from testbed.topologies.impairment import Impairment

ROOT = Path(__file__).resolve().parents[3]
STAR = "name: x\ntopology: {kind: star, hosts: 4}\n"
CLOS = "name: x\ntopology: {kind: leaf_spine, spines: 2, leaves: 2, hosts_per_leaf: 1}\n"


def directions(scenario: Scenario) -> dict[str, Impairment]:
    """``host1->leaf1`` -> its impairment, without the seed."""
    found = {}
    for link in compile_plan(scenario).fabric.links:
        found[f"{link.a.node}->{link.b.node}"] = link.ab.with_seed(0)
        found[f"{link.b.node}->{link.a.node}"] = link.ba.with_seed(0)
    return found


# -- links -------------------------------------------------------------------------------------------------------


def test_selectors_override_field_by_field_in_the_order_written_and_default_comes_first():
    found = directions(
        parse(
            CLOS + "links:\n"
            '  "leaf*<->spine*": {jitter: 3us, distribution: normal}\n'
            '  "leaf1<->spine1": {delay: 9us}\n'
            "  default: {delay: 5us, jitter: 1us}\n"
        )
    )
    assert found["host1->leaf1"] == Impairment(delay_ns=5000, jitter_ns=1000)
    assert found["leaf2->spine1"] == Impairment(delay_ns=5000, jitter_ns=3000, distribution="normal")
    assert found["leaf1->spine1"] == Impairment(delay_ns=9000, jitter_ns=3000, distribution="normal")
    assert found["spine1->leaf1"] == found["leaf1->spine1"]


def test_a_selector_matches_either_way_round_and_a_directed_one_only_its_direction():
    found = directions(
        parse(
            CLOS + 'links: {"spine*<->leaf1": {delay: 1us}, "spine*->leaf2": {delay: 2us}, "host1->leaf1": {loss: 1%}}'
        )
    )
    assert found["leaf1->spine2"].delay_ns == found["spine2->leaf1"].delay_ns == 1000
    assert (found["spine1->leaf2"].delay_ns, found["leaf2->spine1"].delay_ns) == (2000, 0)
    assert (found["host1->leaf1"].loss, found["leaf1->host1"].loss) == (0.01, 0.0)


def test_a_selector_may_hit_both_ends_of_one_pattern():
    assert parse_selector("*<->*").both_ways
    found = directions(parse(CLOS + 'links: {"*->*": {delay: 1us}}'))
    assert {impairment.delay_ns for impairment in found.values()} == {1000}


def test_every_direction_has_a_seed_of_its_own_made_from_the_scenarios():
    plan = compile_plan(parse(CLOS + "seed: 5"))
    seeds = [seed for link in plan.fabric.links for seed in (link.ab.seed, link.ba.seed)]
    assert len(set(seeds)) == len(seeds)
    assert plan.fabric.links[2].ba.seed == derive_seed(5, "link", 2, "ba")
    assert compile_plan(parse(CLOS + "seed: 6")).fabric.links[2].ba.seed != plan.fabric.links[2].ba.seed


def test_measured_delays_from_a_csv(tmp_path):
    rng = random.Random(1)
    rows = [rng.gauss(50, 5) for _ in range(5000)]
    (tmp_path / "d.csv").write_text("host,delay\n" + "".join(f"a,{value:.3f}\n" for value in rows))
    found = directions(parse(STAR + "links: {default: {distribution: {file: d.csv, column: delay}}}", "s", tmp_path))
    impairment = found["host1->switch1"]
    assert impairment.distribution == "table"
    assert impairment.delay_ns == pytest.approx(50_000, abs=300)
    assert impairment.jitter_ns == pytest.approx(5_000, abs=200)
    assert len(impairment.table) == 4096
    # delay and jitter given: the shape stays, place and width are the user's.
    found = directions(
        parse(
            STAR + "links: {default: {delay: 1ms, jitter: 1us, distribution: {file: d.csv, column: 2}}}", "s", tmp_path
        )
    )
    assert (found["host1->switch1"].delay_ns, found["host1->switch1"].jitter_ns) == (1_000_000, 1_000)


@pytest.mark.parametrize("suffix", ["pcap", "pcapng"])
def test_measured_delays_from_captures(tmp_path, suffix):
    from scapy.layers.l2 import Ether
    from scapy.packet import Raw
    from scapy.utils import PcapNgWriter, PcapWriter

    def write(name, stamps):
        file = tmp_path / f"{name}.{suffix}"
        writer = PcapWriter(str(file), nano=True) if suffix == "pcap" else PcapNgWriter(str(file))
        with writer:
            for number, at_us in stamps:
                frame = Ether(dst="02:00:00:00:00:02") / Raw(number.to_bytes(50, "big"))
                frame.time = 1_700_000_000 + at_us * 1e-6
                writer.write(frame)
        return file

    sent = write("sent", [(number, number * 100) for number in range(20)])
    received = write("received", [(number, number * 100 + 40 + number) for number in range(20)])
    mean, _, _ = load_table(MeasuredDelays(file=sent.name, received=received.name), tmp_path)
    assert mean == pytest.approx(49_500, abs=1_000)
    both = write("both", [item for n in range(20) for item in ((n, n * 100), (n, n * 100 + 30 + n))])
    mean, _, _ = load_table(MeasuredDelays(file=both.name), tmp_path)
    assert mean == pytest.approx(39_500, abs=1_000)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("delay\nx\n", "row 2 holds no delay"),
        ("5\n5\n", "two different"),
        ("a,b\n1,2\n", "no column"),
    ],
)
def test_bad_sample_files_are_told(tmp_path, text, says):
    (tmp_path / "d.csv").write_text(text)
    column = "c" if says == "no column" else "1"
    with pytest.raises(ScenarioError, match=says):
        parse(STAR + f"links: {{default: {{distribution: {{file: d.csv, column: {column}}}}}}}", "s", tmp_path)


def test_warnings_say_what_is_probably_not_meant():
    warned = parse(
        STAR + "links: {default: {delay: 1us, jitter: 5us, correlation: 25%}}\n"
        "protocol: {consensus: oae, f: 1, rounds: 2}\n"
        "faults: [{at: 1s, do: nic_down, on: host1}]",
        "f.yaml",
    ).warnings
    text = "\n".join(warned)
    assert "f.yaml:3: links.default.jitter: reaches 4us below zero" in text
    assert "f.yaml:3: links.default.correlation: netem takes the correlated draw modulo" in text
    assert "protocol.rounds: 2 are too few for one instance: oae with f = 1 takes 6 rounds" in text
    assert "faults.0.at: 1s lies behind the last round" in text
    slow = parse(STAR + "links: {default: {delay: 50us}}\nprotocol: {window: 300us, depth: 4}")
    assert "no swap can complete: 4 messages take 400us" in slow.warnings[0]


# -- the plan ----------------------------------------------------------------------------------------------------


def test_on_is_a_key_and_not_a_truth_value():
    """YAML 1.1 reads ``on:`` as true; this document does not."""
    scenario = parse(STAR + "faults:\n  - at: 1us\n    do: nic_down\n    on: host2\n")
    assert compile_plan(scenario).faults == (Fault("nic_down", at_ns=1000, target="host2", nic="host2-eth0"),)


def test_ports_lead_to_all_other_participants_in_order():
    plan = compile_plan(parse(STAR + 'protocol: {participants: ["host[124]"], f: 1, consensus: oae, rounds: 6}'))
    assert plan.names == ("host1", "host2", "host4")
    assert plan.members == (0, 1, 3)
    assert [(peer.node, peer.nic, peer.mac) for peer in plan.node_config("host2").peers] == [
        (0, "host2-eth0", "02:00:00:00:00:01"),
        (3, "host2-eth0", "02:00:00:00:00:04"),
    ]
    assert plan.node_config("host2").nics == {"host2-eth0": "02:00:00:00:00:02"}
    assert plan.protocol.instance_rounds == 6


def test_times_and_defaults_of_the_protocol():
    plan = compile_plan(parse(STAR + "links: {default: {delay: 10us}}\nprotocol: {window: 200us, rounds: 7}"))
    protocol = plan.protocol
    assert (protocol.window_ns, protocol.period_ns, protocol.retry_ns) == (200_000, 200_000, 200_000)
    assert plan.epsilon_ns == 200_000
    # seven rounds, then a window and four messages of two hops each
    assert plan.duration_ns == 7 * 200_000 + 200_000 + 4 * 20_000
    assert compile_plan(parse(STAR + "settle: 1ms")).duration_ns == 300_000 + 1_000_000


def test_a_run_lasts_until_its_last_fault_is_over():
    plan = compile_plan(parse(STAR + "settle: 0us\nfaults: [{at: 1ms, do: nic_mute, on: host1, for: 5ms}]"))
    assert plan.duration_ns == 6_000_000


# -- faults ------------------------------------------------------------------------------------------------------


def faults_of(*orders: str) -> tuple[Fault, ...]:
    listed = "".join(f"  - {order}\n" for order in orders)
    return compile_plan(parse(STAR + "protocol: {rounds: 100}\nfaults:\n" + listed)).faults


@pytest.mark.parametrize(
    ("verb", "undo"),
    [
        ("nic_down", "nic_up"),
        ("nic_mute", "nic_unmute"),
        ("node_pause", "node_resume"),
        ("node_kill", "node_restart"),
        ("disk_full", "disk_free"),
        ("node_slow, by: 20us", "node_quick"),
    ],
)
def test_for_compiles_to_the_undoing_fault(verb, undo):
    begun, ended = faults_of(f"{{at: 1ms, do: {verb}, on: host2, for: 2ms}}")
    assert (begun.verb, begun.at_ns, begun.follows) == (verb.partition(",")[0], 1_000_000, -1)
    assert (ended.verb, ended.follows, ended.after_ns, ended.target) == (undo, 0, 2_000_000, "host2")


def test_a_moment_of_several_nodes_strikes_at_each_and_selectors_name_them_as_elsewhere():
    one, other, *more = faults_of("{when: {node: 'host[23]', enters: REFLECTING, round: 4}, do: node_kill, for: 1ms}")
    assert [(one.node, one.target, one.moment.index), (other.verb, other.follows)] == [
        ("host2", "host2", 0),
        ("node_restart", 0),
    ]
    assert [(fault.node, fault.target, fault.follows) for fault in more] == [("host3", "host3", -1), ("", "host3", 2)]
    by_role = faults_of("{when: {node: 'role:host', enters: REFLECTING}, do: nic_mute, on: host1}")
    assert [fault.node for fault in by_role] == ["host1", "host2", "host3", "host4"]
    assert {fault.target for fault in by_role} == {"host1"}


def test_lies_are_told_by_and_to_whom_selectors_mean():
    document = STAR + "protocol: {consensus: floodset, rounds: 100, f: 1}\nlies:\n"
    told = "  - {kind: withhold, on: 'role:host', to: 'tier:0'}\n"
    assert [node.node for node in compile_plan(parse(document + told)).nodes if node.lies] == [0, 1, 2, 3]
    told = "  - {kind: silent, when: {node: 'host[12]', after_sends: 1, round: 5}}\n"
    assert [node.node for node in compile_plan(parse(document + told)).nodes if node.lies] == [0, 1]


def test_half_a_nic_and_restarts():
    half, whole = faults_of("{at: 1ms, do: nic_half, on: host2, direction: tx, for: 1us}")
    assert (half.direction, whole.verb) == ("tx", "nic_unmute")
    kill, restart = faults_of("{at: 1ms, do: node_restart, on: host2, state: kept, for: 1us}")
    assert (kill.verb, kill.state, restart.verb, restart.state) == ("node_kill", "lost", "node_restart", "kept")
    (at_once,) = faults_of("{at: 1ms, do: node_restart, on: host2, state: kept}")
    assert (at_once.verb, at_once.state) == ("node_restart", "kept")


@pytest.mark.parametrize(
    ("order", "keeper"),
    [
        ("{at: 1ms, do: node_restart, on: host2, state: lost}", False),
        ("{at: 1ms, do: node_restart, on: host2}", False),
        ("{at: 1ms, do: node_restart, on: host2, state: kept}", True),
        ("{at: 1ms, do: node_kill, on: host2, state: unsynced_lost, for: 1us}", True),
        ("{at: 1ms, do: node_restart, on: host2, state: torn, for: 1us}", True),
        ("{at: 1ms, do: disk_full, on: host2}", True),
        ("{when: {node: host2, after_writes: 3}, do: nic_mute, on: host1}", True),
    ],
)
def test_a_node_persists_where_its_disk_is_of_any_use(order: str, keeper: bool):
    plan = compile_plan(parse(STAR + f"protocol: {{rounds: 100}}\nfaults:\n  - {order}\n"))
    assert plan.keepers == ({"host2"} if keeper else set())
    assert Plan.from_json(plan.to_json()) == plan


def test_an_instant_may_count_from_a_round():
    first, second = faults_of("{at: round 3, do: nic_down, on: host1}", "{at: round 3 + 20us, do: nic_up, on: host1}")
    assert (first.at_ns, second.at_ns) == (900_000, 920_000)


def test_a_moment_knows_its_fault_its_peer_and_its_round():
    first, second, third = faults_of(
        "{at: 1ms, do: nic_down, on: host4}",
        "{do: node_kill, when: {node: host2, enters: REFLECTING, round: 17, peer: host3, after: 5us}}",
        "{do: node_kill, on: host1, when: {node: host2, after_sends: 2}}",
    )
    assert first.moment is None
    assert second.moment == Moment(index=1, enters="REFLECTING", round=17, peer=2)
    assert (second.node, second.target, second.after_ns) == ("host2", "host2", 5_000)
    assert third.moment == Moment(index=2, after_sends=2)
    assert (third.node, third.target) == ("host2", "host1")


def test_a_triggered_fault_on_several_hosts_strikes_them_at_one_instant():
    lead, other, undo_lead, undo_other = faults_of(
        '{do: nic_down, on: "host[34]", for: 1ms, when: {node: host1, leaves: TENTATIVE, round: 2}}'
    )
    assert (lead.nic, other.nic) == ("host3-eth0", "host4-eth0")
    assert (other.moment, other.follows, other.after_ns) == (None, 0, 0)
    assert [(undo.verb, undo.follows, undo.after_ns) for undo in (undo_lead, undo_other)] == [
        ("nic_up", 0, 1_000_000),
        ("nic_up", 1, 1_000_000),
    ]


def test_a_burst_of_jitter_changes_only_the_fields_it_names():
    plan = compile_plan(
        parse(
            CLOS + 'links: {default: {delay: 20us}, "leaf*<->spine*": {delay: 30us, distribution: normal}}\n'
            "protocol: {rounds: 100}\n"
            'faults: [{at: 1ms, for: 2ms, do: jitter, links: ["leaf1->spine*", "host1<->leaf1"], jitter: 9us}]'
        )
    )
    first, second, third, fourth = plan.faults
    changed = {fault.links: fault.impairment for fault in (first, second)}
    assert sorted(impairment.delay_ns for impairment in changed.values()) == [20_000, 30_000]
    assert {impairment.jitter_ns for impairment in changed.values()} == {9_000}
    assert {impairment.seed for impairment in changed.values()} == {0}, "engines reseed"
    assert sum(map(len, changed)) == 4
    assert (third.verb, third.links, third.follows) == ("unimpair", first.links, 0)
    assert (fourth.verb, fourth.links, fourth.follows) == ("unimpair", second.links, 1)


def lines_of(*orders: str, seed: int = 0, hosts: int = 4) -> list[str]:
    """What orders compile to, in the text form."""
    listed = "".join(f"  - {order!r}\n" for order in orders)
    text = (
        f"name: t\nseed: {seed}\ntopology: {{kind: star, hosts: {hosts}}}\nprotocol: {{rounds: 100}}\nfaults:\n{listed}"
    )
    plan = compile_plan(parse(text))
    return [describe(plan.faults, number, plan.fabric) for number in range(len(plan.faults))]


def test_a_partition_is_deafness_between_hosts_that_share_no_group():
    assert lines_of("at 1ms partition host1,host2 | host3 for 2ms") == [
        "at 1ms nic_deaf host1-eth0 to host3",
        "at 1ms nic_deaf host2-eth0 to host3",
        "at 1ms nic_deaf host3-eth0 to host1,host2",
        "at 3ms nic_hear host1-eth0 to host3",
        "at 3ms nic_hear host2-eth0 to host3",
        "at 3ms nic_hear host3-eth0 to host1,host2",
    ]


def test_who_is_in_both_groups_of_a_partition_is_a_bridge():
    assert lines_of("at 1ms partition host1,host2 | host2,host3") == [
        "at 1ms nic_deaf host1-eth0 to host3",
        "at 1ms nic_deaf host3-eth0 to host1",
    ]


def test_a_one_way_partition_makes_the_second_side_deaf_only():
    assert lines_of("at 1ms partition host1,host2 -> host2,host3") == ["at 1ms nic_deaf host3-eth0 to host1,host2"]


def test_heal_makes_all_hear():
    assert lines_of("at 2ms heal", "at 3ms heal host2") == [
        *(f"at 2ms nic_hear host{number}-eth0" for number in (1, 2, 3, 4)),
        "at 3ms nic_hear host2-eth0",
    ]


def test_a_partition_at_a_moment_strikes_all_its_hosts_with_it():
    first, second, _, _ = faults_of("when host2 enters REFLECTING in round 3: partition host1 | host2 for 1ms")
    assert (first.moment.index, first.node, first.target) == (0, "host2", "host1")
    assert (second.follows, second.after_ns, second.target) == (0, 0, "host2")


def test_a_flap_is_down_half_of_its_period_or_as_long_as_it_says():
    assert lines_of("from 1ms to 3ms flap host3 every 1ms") == [
        "at 1ms nic_down host3-eth0",
        "at 1500us nic_up host3-eth0",
        "at 2ms nic_down host3-eth0",
        "at 2500us nic_up host3-eth0",
    ]
    assert lines_of("when host1 leaves TENTATIVE in round 2: flap host3 every 1ms times 2 for 10us") == [
        "when host1 leaves TENTATIVE in round 2: nic_down host3-eth0",
        "when host1 leaves TENTATIVE in round 2 after 10us: nic_up host3-eth0",
        "when host1 leaves TENTATIVE in round 2 after 1ms: nic_down host3-eth0",
        "when host1 leaves TENTATIVE in round 2 after 1010us: nic_up host3-eth0",
    ]


def test_hosts_of_a_rolling_restart_take_turns():
    assert lines_of("at 1ms rolling_restart host[13] every 5ms for 1ms state kept") == [
        "at 1ms node_kill host1",
        "at 2ms node_restart host1 state kept",
        "at 6ms node_kill host3",
        "at 7ms node_restart host3 state kept",
    ]


def test_churn_comes_of_the_runs_seed_and_leaves_its_hosts_up_for_as_long_as_it_says_on_average():
    """40 hosts for 2 s, up 9 ms and down 1 ms: 8,000 deaths are expected, in a band of four standard deviations."""
    churn = "from 0s to 2s churn host* every 9ms for 1ms"
    lines = lines_of(churn, seed=5, hosts=40)
    assert lines == lines_of(churn, seed=5, hosts=40)
    assert lines != lines_of(churn, seed=6, hosts=40)
    deaths = sum("node_kill" in line for line in lines)
    assert abs(deaths - 8000) < 4 * 0.9 * 8000**0.5  # of a renewal process whose gaps vary by 9 ms around 10 ms
    assert sum("node_restart" in line for line in lines) == deaths


def test_every_verb_compiles_to_verbs_that_plans_know():
    for verb in VERBS.values():
        assert verb.atomic in ATOMIC
        assert verb.undo in ("", *ATOMIC)


def test_faults_in_words():
    star = make_fabric("star", {"hosts": 3})
    faults = (
        Fault("nic_mute", at_ns=10_000_000, target="host3", nic="host3-eth0"),
        Fault("nic_down", moment=Moment(1, enters="REFLECTING", round=17, peer=2), node="host2", target="host2"),
        Fault("node_restart", follows=0, after_ns=5000, target="host3", state=State.KEPT),
        Fault("nic_up", follows=1, after_ns=2_000_000, target="host2", nic="host2-eth0"),
        Fault("node_kill", moment=Moment(4, after_writes=2), node="host1", target="host1", after_ns=1500),
        Fault("node_kill", moment=Moment(5, after_sends=3, round=8), node="host1", target="host3"),
        Fault("nic_deaf", at_ns=0, target="host1", nic="host1-eth0", peers=("host2", "host3")),
        Fault("impair", at_ns=5, links=((0, "ab"), (0, "ba"), (2, "ba")), impairment=Impairment(7, 1, loss=0.25)),
        Fault("unimpair", at_ns=6, links=tuple((link, way) for link in range(3) for way in ("ab", "ba"))),
        Fault("link_down", at_ns=7, links=((0, "ab"), (1, "ab"))),
    )
    assert [describe(faults, number, star) for number in range(len(faults))] == [
        "at 10ms nic_mute host3-eth0",
        "when host2 enters REFLECTING with host3 in round 17: nic_down host2",
        "at 10005us node_restart host3 state kept",
        "when host2 enters REFLECTING with host3 in round 17 after 2ms: nic_up host2-eth0",
        "when host1 writes 2 after 1500ns: node_kill host1",
        "when host1 sends 3 in round 8: node_kill host3",
        "at 0ns nic_deaf host1-eth0 to host2,host3",
        "at 5ns jitter links host1<->switch1,switch1->host3 delay 7ns jitter 1ns loss 0.25",
        "at 6ns unimpair",
        "at 7ns link_down links host1<->switch1,host2<->switch1",
    ]


# -- lies --------------------------------------------------------------------------------------------------------


def test_lies_are_data_of_the_nodes_that_tell_them():
    written = """
protocol: {consensus: oae, rounds: 6}
lies:
  - {kind: equivocate, on: "host[12]", to: [host2, host3], from: round 1, for: 20us}
  - {kind: delay, by: 5us, when: {node: host1, enters: REFLECTING, round: 2, after: 1us}, for: 7us}
"""
    plan = compile_plan(parse(STAR + written))
    told = Lie(LieKind.EQUIVOCATE, (1, 2), 300_000, 320_000)
    later = Lie(LieKind.DELAY, (), 0, 0, Moment(-1, enters="REFLECTING", round=2), 1_000, 7_000, 5_000)
    assert plan.nodes[0].lies == (told, later)
    assert plan.nodes[1].lies == (replace(told, to=(2,)),)  # nobody lies to itself
    assert plan.liars == {0, 1}
    assert Plan.from_json(plan.to_json()) == plan
    config = plan.node_config("host1")
    assert node_config_from_json(json.loads(json.dumps(asdict(config)))) == config
    shown = explain(parse(STAR + written))
    assert "  host1 equivocate to host2, host3 from 300us until 320us" in shown
    assert "  host1 delay by 5us 1us after it enters REFLECTING in round 2 on for 7us" in shown


def test_where_all_lie_nobody_is_left_to_be_judged():
    [warning] = parse(STAR + 'lies: [{kind: silent, on: "*"}]').warnings
    assert "all participants lie" in warning


# -- overrides, copies, the schema, expectations -----------------------------------------------------------------


def test_overrides_reach_every_place():
    scenario = load(ROOT / "scenarios" / "nic-crash-mid-swap.yaml")
    changed = (
        scenario.with_override("links.default.jitter", "12us")
        .with_override('links."leaf*<->spine*".jitter', "3us")
        .with_override("protocol.f", "2")
        .with_override("faults[0].at", "2ms")
        .with_override("faults.1.when.round", 3)
        .with_override("links.'host1->leaf1'.loss", "1%")
        .with_override("engine", "vkernel")
    )
    found = directions(changed)
    assert (found["host2->leaf1"].jitter_ns, found["leaf1->spine1"].jitter_ns) == (12_000, 3_000)
    assert (found["host1->leaf1"].loss, changed.protocol.f, changed.engine) == (0.01, 2, "vkernel")
    faults = compile_plan(changed).faults
    assert faults[0].at_ns == 2_000_000
    assert faults[1].moment is not None
    assert faults[1].moment.round == 3
    assert directions(scenario)["host2->leaf1"].jitter_ns == 1_000, "the first one stays as it was"
    with pytest.raises(ScenarioError, match="unknown key 'widow'; did you mean 'window'"):
        scenario.with_override("protocol.widow", "3us")
    with pytest.raises(ScenarioError, match="no place in a list of 2"):
        scenario.with_override("faults.7.at", "3us")


def test_another_seed_changes_seeds_and_nothing_else():
    scenario = load(ROOT / "scenarios" / "nic-crash-mid-swap.yaml")
    other = scenario.with_override("seed", 8)
    assert compile_plan(other).seed == 8
    assert compile_plan(other) == compile_plan(parse(_text("nic-crash-mid-swap").replace("seed: 7", "seed: 8")))
    assert directions(other) == directions(scenario)
    with pytest.raises(ScenarioError, match="seed: must be at least 0"):
        scenario.with_override("seed", -3)


def test_a_scenario_survives_pickle_and_its_own_data():
    scenario = load(ROOT / "scenarios" / "reconcile-restart.yaml")
    plan = compile_plan(scenario)
    assert compile_plan(pickle.loads(pickle.dumps(scenario))) == plan
    assert compile_plan(from_data(as_written(scenario))) == plan
    dumped = json.loads(scenario.written.model_dump_json(exclude_unset=True, by_alias=True))
    assert compile_plan(from_data(dumped)) == plan
    assert Plan.from_json(plan.to_json()) == plan
    assert plan.keepers == {"host1"}


def test_a_topology_of_the_users_own(tmp_path):
    (tmp_path / "ring.py").write_text(
        "from mininet.topo import Topo\n\nclass Ring(Topo):\n    def build(self, size=3):\n"
        "        for n in range(size):\n            self.addSwitch(f's{n}')\n"
        "            self.addLink(self.addHost(f'h{n}'), f's{n}')\n"
        "        for n in range(size):\n            self.addLink(f's{n}', f's{(n + 1) % size}')\n"
    )
    scenario = parse("name: x\ntopology: {custom: {file: ring.py, class: Ring, args: {size: 5}}}", "s", tmp_path)
    plan = compile_plan(scenario)
    assert plan.fabric.hosts == ("h0", "h1", "h2", "h3", "h4")
    with pytest.raises(ScenarioError, match=r"topology\.custom\.class: no class 'Rign' in ring\.py"):
        scenario.with_override("topology.custom.class", "Rign")
    with pytest.raises(ScenarioError, match=r"Ring can't be built: Ring\.build\(\) got an unexpected keyword"):
        scenario.with_override("topology.custom.args.sise", 3)


def test_the_delays_in_a_users_class_count_and_the_scenario_refines_them(tmp_path):
    (tmp_path / "slow.py").write_text(
        "from mininet.topo import Topo\n\nclass Slow(Topo):\n    def build(self, **options):\n"
        "        self.addHost('h0')\n        self.addHost('h1')\n        self.addHost('h2')\n"
        "        self.addLink('h0', 'h1', delay='2ms', loss=10)\n        self.addLink('h1', 'h2', **options)\n"
        "        self.addLink('h0', 'h2')\n"
    )
    text = "name: x\ntopology: {custom: {file: slow.py, class: Slow}}\nprotocol: {window: 50ms}"
    first, *others = compile_plan(parse(text, "s", tmp_path)).fabric.links
    assert [(way.delay_ns, way.loss) for way in (first.ab, first.ba)] == [(2_000_000, 0.1)] * 2
    assert all(way.is_clean for link in others for way in (link.ab, link.ba))
    refined = parse(text + "\nlinks: {default: {delay: 1ms}}", "s", tmp_path)
    assert [(link.ab.delay_ns, link.ab.loss) for link in compile_plan(refined).fabric.links] == [
        (1_000_000, 0.1),
        (1_000_000, 0.0),
        (1_000_000, 0.0),
    ]
    with pytest.raises(
        ScenarioError, match=r"topology\.custom\.class: Slow can't be built: h1<->h2: color='red' can't be"
    ):
        parse(text.replace("class: Slow", "class: Slow, args: {color: red}"), "s", tmp_path)


def verdicts(**changes):
    found = {
        "bisynchrony": {
            "rounds": 9,
            "breaks": [{"kind": "split"}],
            "broken_rounds": [3],
            "swaps": {"split": 1, "blocked": 0},
        },
        "consensus": {"disagreements": [], "invalid": [], "undecided": [4], "decided": 3},
        "service": {"done": 5, "open": 1, "violations": []},
        "fidelity": {"answer": "trusted"},
    }
    return {**found, **changes}


def test_expectations_are_held_against_the_verdicts():
    met = Expectation(
        bisynchrony="breaks", kinds=["split"], splits=1, blocked=0, agreement="holds", validity="holds",
        termination="some", fidelity="trusted",
    )  # fmt: skip
    assert unmet(met, verdicts()) == []
    assert unmet(Expectation(), verdicts(consensus=None)) == []
    assert unmet(Expectation(bisynchrony="holds"), verdicts()) == ["bisynchrony: expected holds, found breaks"]
    assert unmet(Expectation(kinds=["blocked"]), verdicts()) == [
        "kinds of breaks: expected ['blocked'], found ['split']"
    ]
    assert unmet(Expectation(termination="all"), verdicts()) == ["termination: expected all, found some"]
    assert "proposed nothing" in unmet(Expectation(agreement="holds"), verdicts(consensus=None))[0]


def test_expectations_of_a_service_are_held_against_its_verdict():
    assert unmet(Expectation(service="holds", operations="some"), verdicts()) == []
    assert unmet(Expectation(operations="all"), verdicts()) == ["operations: expected all, found some"]
    damaged = {"done": 5, "open": 0, "violations": ["another result than the log's"]}
    assert unmet(Expectation(operations="all"), verdicts(service=damaged)) == []
    assert unmet(Expectation(service="holds"), verdicts(service=damaged)) == ["service: expected holds, found violated"]
    assert unmet(Expectation(service="holds"), verdicts(service=None)) == [
        "service, operations or the like was expected, but the run has no service"
    ]


def test_what_never_happened_meets_no_expectation():
    """No round judged is no bisynchrony, and nothing decided, though nothing was left undecided, no termination."""
    nothing = {"rounds": 0, "breaks": [], "broken_rounds": [], "swaps": {}}
    assert unmet(Expectation(bisynchrony="holds"), verdicts(bisynchrony=nothing)) == [
        "bisynchrony: expected holds, but no round was judged"
    ]
    cut_off = {"disagreements": [], "invalid": [], "undecided": [], "decided": 0}
    for wanted, met in (("all", False), ("some", False), ("none", True)):
        assert (unmet(Expectation(termination=wanted), verdicts(consensus=cut_off)) == []) is met


def _text(name: str) -> str:
    return (ROOT / "scenarios" / f"{name}.yaml").read_text(encoding="utf-8")
