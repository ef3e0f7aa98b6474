"""A user's mistakes: each is one line that says where, what, and what to do. Nothing but ScenarioError comes out."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.nodes.registry import engine_specs
from testbed.scenario import ScenarioError, compile_plan, load, parse
from testbed.scenario.load import split_path

ROOT = Path(__file__).resolve().parents[3]
BASE = "name: x\ntopology: {kind: leaf_spine}\n"
RAFT = BASE + "protocol: {consensus: raft, f: 1, parameters: {"
CELLS = BASE + "switches: cells\n"
SERVING = " or ".join(spec.name for spec in engine_specs() if spec.can_serve)
SERVED = BASE + "protocol: {consensus: paxos, participants: 'host[123]'}\nservice: kv\n"

MISTAKES = [
    ("", "f.yaml:1: the document is empty"),
    ("- a", "f.yaml:1: a scenario is a mapping"),
    ("name: [", "f.yaml:1: this is not YAML"),
    ("name: x\n---\nname: y", "f.yaml:2: this is not YAML"),
    ("name: x", "topology: is missing"),
    ("topology: {kind: pair}", "name: is missing"),
    (BASE + "name: y", "f.yaml:3: name: stands twice, first in line 1"),
    (BASE + "protocl: {}", "f.yaml:3: protocl: unknown key 'protocl'; did you mean 'protocol'?"),
    (
        BASE + "protocol:\n  rounds: 3\n  windw: 3us",
        "f.yaml:5: protocol.windw: unknown key 'windw'; did you",
    ),
    (BASE + "protocol: {window: 0us}", "protocol.window: must be more than 0"),
    (BASE + "protocol: {window: 300}", "protocol.window: 300 has no unit; write 300us"),
    (BASE + "protocol: {window: -300}", "protocol.window: must be a time such as 50us, not -300"),
    (BASE + "links: {default: {rate: 1e400}}", "links.default.rate: must be a rate such as 10gbit, not inf"),
    (BASE + "protocol: {window: 300us, period: 100us}", "protocol.window: is longer than period"),
    (BASE + "switches: cell", "f.yaml:3: switches: 'cell' is not known here; did you mean 'cells'?"),
    (
        CELLS + "protocol: {consensus: paxos}",
        "switches: cells carry swaps, and paxos is not made of them; take floodset",
    ),
    (CELLS + "protocol: {handshake: simultaneous}", "switches: cells carry alternating handshakes, not simultaneous"),
    (CELLS + "lies: [{kind: silent, on: host1}]", "switches: hosts tell no lies to cells; take plain switches"),
    (
        CELLS + "protocol: {consensus: oae}\nservice: kv\nclients: {hosts: host8}",
        "switches: cells carry swaps, and a service's hosts say more than that; take plain",
    ),
    ("name: x\ntopology: {kind: pair}\nswitches: cells", "f.yaml:3: switches: pair has no switch that could be a cell"),
    (CELLS + "faults: [{at: 1us, do: switch_kill, on: leaf1}]", "leaf1 is a cell here, a node like hosts; node_kill"),
    (CELLS + "faults: [{at: 1us, do: disk_full, on: leaf1}]", "leaf1 is a cell, which keeps nothing on a disk"),
    (
        CELLS + "faults: [{at: 1us, do: node_restart, on: leaf1, state: kept}]",
        "state: is lost at leaf1 in any case: a cell keeps nothing on a disk",
    ),
    (
        CELLS + "faults: [{at: 1us, do: link_down, links: leaf1<->spine1, reroute: 1us}]",
        "faults.0.reroute: is for plain switches; cells carry along the trees of the fabric",
    ),
    (
        CELLS + "faults: [{when: {node: leaf1, enters: COMMITTED, peer: host1}, do: node_kill}]",
        "when.peer: means nothing at leaf1: a cell is no end of a swap",
    ),
    (
        CELLS + "faults: [{when: {node: host1, enters: COMMITTED, peer: leaf1}, do: node_kill}]",
        "faults.0.when.peer: leaf1 takes no part in the protocol",
    ),
    (
        CELLS + "faults: [{at: 1us, do: partition, groups: [[host1], [host2]]}]",
        "faults.0.groups: part nobody: with cells all frames come from neighbours; name those cells as well",
    ),
    (
        CELLS + "faults: [{at: 1us, do: nic_deaf, on: host1, to: host2}]",
        "faults.0.to: with cells all frames come from neighbours; name those cells as well",
    ),
    (BASE + "protocol: {depth: 1}", "protocol.depth: must be at least 2 for an alternating handshake"),
    (BASE + "protocol: {rounds: 0}", "protocol.rounds: must be at least 1"),
    (BASE + "protocol: {rounds: '3'}", "protocol.rounds: must be a whole number"),
    (BASE + "protocol: {consensus: oea}", "protocol.consensus: 'oea' is not known here; did you mean 'oae'"),
    (BASE + "protocol: {consensus: oae, f: 4}", "protocol.f: 4 is too large: oae needs f < n/2"),
    (BASE + "protocol: {consensus: ben_or, f: 4}", "protocol.f: 4 is too large: ben_or needs f < n/2"),
    (BASE + "protocol: {consensus: paxos, f: 4}", "protocol.f: 4 is too large: paxos needs f < n/2"),
    (BASE + "protocol: {consensus: floodset, f: 8}", "protocol.f: 8 is too large: floodset needs f < n "),
    (
        BASE + "protocol:\n  consensus: paxos\n  parameters:\n    patienc: 3",
        "f.yaml:6: protocol.parameters.patienc: unknown key 'patienc'; did you mean 'patience'?",
    ),
    (RAFT + "voters: 9}}", "f.yaml:3: protocol.parameters: there is no member 8; 8 hosts take part, counted from 0"),
    (RAFT + "changes: [{at_ns: 1ms, members: [0, 0]}]}}", "protocol.parameters: a member votes once; name it once"),
    (RAFT + "changes: [{at_ns: 1ms, members: []}]}}", "protocol.parameters.changes.0.members: "),
    (RAFT + "transfers: [{at_ns: 2ms}, {at_ns: 1ms}]}}", "protocol.parameters: changes, and transfers, stand in the "),
    (RAFT + "voters: 2}}", "protocol.parameters: 2 voters bear fewer than f = 1 crashes; name more voters, or lower f"),
    (RAFT + "changes: [{at: 1ms}]}}", "protocol.parameters.changes.0.at: unknown key 'at'"),
    (
        RAFT + "patience: 3}, inputs: random}",
        "f.yaml:3: protocol.inputs: random has no meaning here: what is submitted to raft differs",
    ),
    (
        BASE + "protocol: {consensus: paxos, participants: 'host[123]', inputs: random}\nservice: kv\n"
        "clients: {hosts: host8}",
        "f.yaml:3: protocol.inputs: random has no meaning here: the service's clients say what is put in order",
    ),
    (BASE + "protocol: {consensus: paxos}\nservice: kw", "f.yaml:4: service: 'kw' is not known here; there are "),
    (BASE + "protocol: {consensus: paxos}\nservice: kv", "f.yaml:4: service: is asked for by nobody; add clients:"),
    (BASE + "clients: {hosts: host1}", "f.yaml:3: clients: ask for nothing: there is no service; add service: kv"),
    (
        BASE + "protocol: {consensus: ben_or}\nservice: kv\nclients: {hosts: host8}",
        f"f.yaml:4: service: needs a log of bytes, and ben_or decides a bit at a time; take {SERVING}",
    ),
    (BASE + "service: kv\nclients: {hosts: host8}", "service: needs a log of bytes, and none decides nothing; take"),
    (SERVED + "clients: {operations: 3}", "f.yaml:5: clients.hosts: is missing; add it"),
    (SERVED + "clients: {hosts: hosst8}", "clients.hosts.0: 'hosst8' matches no host; did you mean 'host8'?"),
    (SERVED + "clients: {hosts: host3}", "clients.hosts: host3 takes part in the protocol; a client does not"),
    (SERVED + "clients: {hosts: host8, opertions: 3}", "clients.opertions: unknown key 'opertions'; did you mean"),
    (SERVED + "clients: {hosts: host8, think: 1us, every: 1us}", "clients.every: stands beside think"),
    (SERVED + "clients: {hosts: host8, mix: {gett: 3}}", "f.yaml:5: clients.mix.gett: unknown key 'gett'; did you"),
    (SERVED + "clients: {hosts: host8, mix: {keys: 0}}", "clients.mix.keys: must be at least 1, not 0"),
    (SERVED + "clients: {hosts: host8, mix: {get: 0, put: 0, cas: 0}}", "clients.mix: get, put and cas are all 0"),
    (BASE + "protocol: {consensus: paxos, parameters: {patience: 0}}", "patience: must be at least 1, not 0"),
    (BASE + "protocol: {consensus: floodset, parameters: {early_deciding: 1}}", "must be true or false, not 1"),
    (BASE + "protocol: {parameters: {patience: 3}}", "unknown key 'patience'; nothing can stand here"),
    (
        BASE + "protocol: {consensus: paxos, rounds: 3}",
        "protocol.rounds: paxos has no rounds of swaps; say how many instances: are run, in place of rounds:",
    ),
    (
        BASE + "protocol: {consensus: oae, instances: 3}",
        "protocol.instances: oae is made of rounds of swaps; say how many rounds: are run, in place of instances:",
    ),
    (
        BASE + "protocol: {consensus: paxos, neighbourhood: tree}",
        "protocol.neighbourhood: tree, but in paxos every member speaks with every other; take all, or an engine that "
        "does with neighbours: none",
    ),
    (BASE + "protocol: {neighbourhood: links}", "neighbourhood: links leaves host1 without a neighbour; take another"),
    (BASE + "protocol: {neighbourhood: ring}", "protocol.neighbourhood: 'ring' is not known here; there are all, tree"),
    (
        "name: x\ntopology: {kind: lattice}\nprotocol: {consensus: paxos}",
        "host1 can't reach host3 (hosts do not forward), but in paxos every member speaks with every other; take "
        "another fabric, fewer participants, or an engine that does with neighbours: none",
    ),
    (
        "name: x\ntopology: {kind: lattice}\nprotocol: {neighbourhood: all}",
        "neighbourhood: all, but host1 can't reach host3: hosts do not forward; take reach",
    ),
    (BASE + "protocol: {neighbourhood_width: 3}", "neighbourhood_width: means nothing with neighbourhood all"),
    (BASE + "protocol: {participants: host1}", "protocol.participants: a protocol needs two participants"),
    (BASE + "protocol: {participants: [hosst1]}", "did you mean 'host1'?"),
    (
        BASE + "clocks: {host1: {sync: {every: 1ms, within: 499us}}}\n"
        "faults: [{at: 0s, do: clock_drift, on: host2, drift: 3000ppm},"
        " {at: 1ms, do: clock_drift, on: host1, drift: 900ppm, for: 2ms},"
        " {at: 2ms, do: clock_drift, on: host1, drift: 1200ppm}]",
        "faults.2.drift: can't be at host1: a clock set every 1000000 ns to within 499000 ns drifting 2100000 ppb",
    ),
    (
        BASE + "clocks: {host1: {sync: {every: 1ms, within: 499us}}}\n"
        "faults: [{when: {node: host1, after_sends: 1}, do: clock_drift, drift: 2000ppm}]",
        "faults.0.drift: can't be at host1: a clock set every 1000000 ns to within 499000 ns drifting 2000000 ppb",
    ),
    (BASE + "faults: [{when: {node: 'role:rack', after_sends: 1}, do: nic_mute}]", "no role 'rack' in this fabric"),
    (BASE + "capture: yes", "capture: must be true or false"),
    (BASE + "seed: -1", "seed: must be at least 0"),
    (BASE + "nodes: containr", "nodes: 'containr' is not known here; did you mean 'container'?"),
    (BASE + "nodes: {cpus: 1}", "nodes.kind: is missing; add it"),
    (BASE + "nodes: {kind: vm}", "nodes.kind: 'vm' is not known here; there is container"),
    (BASE + "nodes: {kind: container, cpu: 1}", "nodes.cpu: unknown key 'cpu'; did you mean 'cpus'?"),
    (BASE + "nodes: {kind: container, cpus: 0}", "nodes.cpus: must be at least 0.01, not 0"),
    (BASE + "nodes: {kind: container, memory: 64}", "nodes.memory: 64 is no size; write a number and KiB, MiB or GiB"),
    (BASE + "nodes: {kind: container, memory: 9MiB}", "memory: 9MiB are too little to start a node in; 32MiB at least"),
    (BASE + "nodes: {kind: container, memory: 9999999GiB}", "must be whole bytes, 1024GiB at most"),
    (BASE + "engine: simm", "engine: 'simm' is not known here; did you mean 'sim'?"),
    (BASE + "links: {'leaf*<->core*': {delay: 5us}}", 'links."leaf*<->core*": leaf*<->core* matches no link'),
    (BASE + "links: {leaf1: {delay: 5us}}", "links.leaf1: 'leaf1' is no link selector"),
    (BASE + "links: {default: {delai: 5us}}", "links.default.delai: unknown key 'delai'; did you mean 'delay'?"),
    (BASE + "links: {default: {loss: 110%}}", "links.default.loss: '110%' does not lie between"),
    (BASE + "links: {default: {distribution: gauss}}", "links.default.distribution: 'gauss' is not known"),
    (BASE + "links: {default: {distribution: {file: no.csv}}}", "links.default.distribution: no.csv can't be read"),
    (BASE + "links: {default: {loss: 1%, burst_loss: {p: 1%, r: 1%}}}", "burst_loss: stands beside loss"),
    (BASE + "links: {default: {jitter: 3s}}", "links.default.jitter: must be at most 2147483647"),
    (BASE + "faults: [{at: 1ms, do: nic_mute, on: host33}]", "faults.0.on: no host 'host33' in this fabric"),
    (BASE + "faults: [{at: 1ms, do: nic_mute, on: leaf1}]", "faults.0.on: leaf1 is a switch"),
    (BASE + "faults: [{at: 1ms, do: node_kill, on: host1-eth0}]", "'host1-eth0' is an interface"),
    (
        BASE + "faults: [{at: 1ms, do: nic_mut, on: host3}]",
        "'nic_mut' is not known here; did you mean 'nic_mute'",
    ),
    (BASE + "faults: [{at: 1ms, do: nic_mute}]", "faults.0.on: is missing"),
    (BASE + "faults: [{do: nic_mute, on: host1}]", "faults.0: give either at:"),
    (BASE + "faults: [{at: 1, do: nic_mute, on: host1}]", "faults.0.at: 1 has no unit"),
    (BASE + "faults: [{at: round x, do: nic_mute, on: host1}]", "faults.0.at: 'round x' is no instant"),
    (BASE + "faults: [{at: 0us, do: nic_half, on: host1}]", "faults.0.direction: is missing"),
    (BASE + "faults: [{at: 0us, do: nic_up, on: host1, for: 1us}]", "faults.0.for: makes no sense with nic_up"),
    (BASE + "faults: [{at: 0us, do: nic_up, on: host1, jitter: 1us}]", "faults.0.jitter: goes with jitter only"),
    (BASE + "faults: [{at: 0us, do: jitter}]", "faults.0: jitter changes nothing"),
    (BASE + "faults: [{at: 0us, do: jitter, jitter: 1us, links: a}]", "faults.0.links.0: 'a' is no link selector"),
    (BASE + "faults: [{at: 0us, do: node_kill, on: host1, state: kept}]", "faults.0.state: makes no sense"),
    (BASE + "faults: [{at: 0us, do: nic_mute, on: host1, state: kept}]", "faults.0.state: goes with node_restart, or"),
    (
        BASE + "faults: [{at: 0us, do: node_restart, on: host1, state: keep}]",
        "faults.0.state: 'keep' is not known here; did you mean 'kept'?",
    ),
    (BASE + "faults: [{at: 0us, do: node_restart, on: host1, keep_state: true}]", "unknown key 'keep_state'"),
    (BASE + "faults: [{at: 0us, do: disk_full, on: host1-eth0}]", "is an interface; this verb strikes a whole node"),
    (BASE + "faults: [{at: 0us, do: disk_free, on: host1, for: 1us}]", "for: makes no sense with disk_free"),
    (
        BASE + "faults: [{do: node_kill, when: {node: host1, after_writes: 1, round: 0}}]",
        "faults.0.when.round: does not go with after_writes",
    ),
    (
        BASE + "faults: [{do: node_kill, when: {node: host1, after_writes: 1, peer: host2}}]",
        "faults.0.when.peer: goes with enters and leaves only",
    ),
    (BASE + "faults: [{do: nic_mute, when: {node: hst1, enters: REFLECTING}}]", "faults.0.when.node: no host 'hst1'"),
    (BASE + "faults: [{do: nic_mute, when: {node: host1, enters: X}}]", "faults.0.when.enters: 'X' is not known here"),
    (BASE + "faults: [{do: nic_mute, when: {node: host1}}]", "faults.0.when: give exactly one of enters"),
    (BASE + "faults: [{do: nic_mute, when: {node: host1, after_sends: 1, round: 1}}]", "round: 1 is never run"),
    (BASE + "faults: [at 1ms nic_mute]", "faults.0.on: is missing"),
    (
        BASE + "faults: [at 1ms nic_mut host3]",
        "column 8: here stands a verb such as nic_down, not 'nic_mut'; did you mean",
    ),
    (
        BASE + "faults: [nic_mute host3]",
        "column 1: here stands when it strikes, not 'nic_mute'; there are at, from, when",
    ),
    (BASE + "faults: [at 1 nic_mute host3]", "faults.0: '1' has no unit"),
    (
        BASE + "faults: [at 1ms nic_mute host3 four 5ms]",
        "column 23: here stands for, every or another setting, not 'four'",
    ),
    (BASE + "faults: [at 1ms nic_mute host3 for]", "column 26: here stands a value, but the line ends"),
    (BASE + "faults: [at 1ms nic_mute host3 for 1ms for 2ms]", "column 31: for stands twice"),
    (BASE + "faults: [at 1ms partition host1]", "column 23: here stands '|' or '->' and the hosts on the other side"),
    (BASE + "faults: [at 1ms partition host1 | hst]", "faults.0.groups.1: no host 'hst' in this fabric"),
    (BASE + "faults: ['at 1ms partition host1,host2 | host1,host2']", "faults.0.groups: part nobody"),
    (
        BASE + "faults: ['when host1 sees X: nic_mute host3']",
        "column 12: here stands what happens there, not 'sees'; did",
    ),
    (BASE + "faults: [when host1 enters REFLECTING nic_mute host3]", "column 30: here stands ':' behind the moment"),
    (BASE + "faults: [{at: 0us, do: partition}]", "faults.0.groups: is missing; say who is parted"),
    (BASE + "faults: [{at: 0us, do: partition, on: host1, groups: [host1, host2]}]", "faults.0.on: does not go with"),
    (BASE + "faults: [{at: 0us, do: nic_deaf, on: host1}]", "faults.0.to: is missing; say what hosts"),
    (BASE + "faults: [at 0us nic_deaf host1 to host1]", "faults.0.to: host1 is the host itself; name others"),
    (BASE + "faults: [{at: 0us, do: flap, on: host1}]", "faults.0.every: is missing; flap needs it"),
    (BASE + "faults: [{at: 0us, do: flap, on: host1, every: 1ms}]", "faults.0.every: needs an end: give either until:"),
    (BASE + "faults: [from 0s to 1s flap host1 every 1ms for 1ms]", "faults.0.for: must be shorter than every"),
    (BASE + "faults: [from 0s to 9s flap host1 every 1us]", "faults.0.every: makes 9000000 faults; 10000 are the most"),
    (BASE + "faults: [from 2ms to 1ms nic_mute host1]", "faults.0.until: 1ms is not after 2ms, from:"),
    (BASE + "faults: [from 2ms churn host1 every 1ms for 1ms]", "faults.0.until: is missing; churn goes on from:"),
    (BASE + "lies: [{kind: silent}]", "lies.0.on: is missing; say which host lies"),
    (BASE + "lies: [{kind: lie, on: host1}]", "lies.0.kind: 'lie' is not known here; there are equivocate, withhold"),
    (BASE + "lies: [{kind: silent, on: host9x}]", "lies.0.on: no host 'host9x' in this fabric"),
    (BASE + "lies: [{kind: silent, on: host1, to: host2}]", "lies.0.to: does not go with silent"),
    (BASE + "lies: [{kind: withhold, on: host1}]", "lies.0.to: is missing; say from whom"),
    (BASE + "lies: [{kind: withhold, on: host1, to: host1}]", "lies.0.to: host1 has none of them as a peer"),
    (BASE + "lies: [{kind: delay, on: host1}]", "lies.0.by: is missing; say how much later"),
    (BASE + "lies: [{kind: replay, on: host1, by: 1us}]", "lies.0.by: goes with delay only"),
    (BASE + "lies: [{kind: replay, on: host1, from: 2us, until: 1us}]", "lies.0.until: 1us is not after 2us"),
    (BASE + "lies: [{kind: replay, on: host1, until: 1us, for: 1us}]", "lies.0.for: stands beside until"),
    (
        BASE + "lies: [{kind: replay, when: {node: host1, after_sends: 1}, from: 1us}]",
        "lies.0.from: does not go with when",
    ),
    (
        BASE + "lies: [{kind: replay, on: host2, when: {node: host1, after_sends: 1}}]",
        "lies.0.on: must be host1 alone",
    ),
    (BASE + "lies: [{kind: replay, on: host1, unti: 1us}]", "unknown key 'unti'; did you mean 'until'?"),
    (BASE + "expect: {kinds: [splt]}", "expect.kinds.0: 'splt' is not known here; did you mean 'split'?"),
    ("name: x\ntopology: {kind: fat_tree, k: 3}", "f.yaml:2: topology: k must be even, not 3"),
    ("name: x\ntopology: {kind: fat_tre}", "f.yaml:2: topology: no topology 'fat_tre'; did you mean 'fat_tree'?"),
    ("name: x\ntopology: {kind: star, host: 1}", "topology.host: unknown key 'host'; did you mean 'hosts'?"),
    ("name: x\ntopology: {kind: star, hosts: 0}", "topology.hosts: must be at least 1"),
    ("name: x\ntopology: {kind: leaf_spine, spines: 99999999999999999999}", "topology.spines: must be at most 65535"),
    ("name: x\ntopology: star", "topology: must be a mapping with kind: or custom:"),
    ("name: x\ntopology: {custom: {file: a.py, class: X}}", "topology.custom.file: there is no file 'a.py'"),
    ("name: x/y\ntopology: {kind: pair}", "name: 'x/y' may only hold"),
    ("name: !!python/object:os.system x", "the tag tag:yaml.org,2002:python/object:os.system is not used"),
    ("? [a]\n: 3", "a key must be text"),
    ("a: &a [*a]", "nested too deeply"),
    ("[" * 3000, "nested too deeply"),
    ("\x00", "f.yaml:1: this is not YAML"),
]


@pytest.mark.parametrize(("text", "says"), MISTAKES)
def test_a_mistake_is_one_clear_line(text, says):
    with pytest.raises(ScenarioError) as caught:
        parse(text, "f.yaml")
    assert says in str(caught.value)
    for line in caught.value.problems:
        assert "\n" not in line
        assert re.match(r"f\.yaml:\d+: ", line), line


def test_all_mistakes_of_a_document_are_told_at_once_in_its_order():
    with pytest.raises(ScenarioError) as caught:
        parse(BASE + "seed: -1\nprotocol: {rounds: 0, depth: x}\nfalts: []", "f.yaml")
    assert [line.split(": ")[1] for line in caught.value.problems] == [
        "seed",
        "protocol.depth",
        "protocol.rounds",
        "falts",
    ]


def test_billions_of_laughs_are_cut_short():
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{after}: &{after} [{','.join('*' + before for _ in range(9))}]\n"
        for before, after in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(ScenarioError, match="more than 100000 values"):
        parse(bomb)


def test_a_file_that_is_not_there_or_not_text_is_told_so(tmp_path):
    with pytest.raises(ScenarioError, match="can't be read"):
        load(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"name: x\n\xff\xfe")
    with pytest.raises(ScenarioError, match=r"bytes\.yaml:2: not UTF-8 text"):
        load(tmp_path / "bytes.yaml")


def test_the_error_survives_a_process_border():
    error = ScenarioError(["a: b", "c: d"])
    assert pickle.loads(pickle.dumps(error)).problems == ("a: b", "c: d")


SHIPPED = [file.read_text() for file in sorted((ROOT / "scenarios").glob("*.yaml"))]
SPLINTERS = st.sampled_from(
    ["", "{", "}", "[", "]", ":", ": ", "- ", "0", "-1", "1e9", "us", "null", "true", '"', "'", "*", "&a ", "!x ", "#",
     "\n", "  ", "\t", "host1", "nic_down", "links", "\u2028", "🙂", ".nan", ".inf", "9" * 20, "<<", "|", ">", "%", "@"]
)  # fmt: skip


@st.composite
def mutated(draw):
    """A shipped scenario with pieces cut out, doubled, or splinters put in."""
    text = draw(st.sampled_from(SHIPPED))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        piece = draw(st.one_of(SPLINTERS, st.text(max_size=4), st.just(text[start:end] * 2)))
        text = text[:start] + piece + text[end:]
    return text


@settings(max_examples=150, deadline=None)
@given(mutated())
def test_mutated_scenarios_compile_or_raise_scenario_error(text):
    problems = problems_of(lambda: compile_plan(parse(text, "f.yaml")))
    assert all(re.fullmatch(r"f\.yaml:\d+: .+", line) for line in problems), problems


def problems_of(act) -> tuple[str, ...]:
    """The problems that ``act`` is refused for, none when it goes well; any other exception goes through."""
    try:
        act()
    except ScenarioError as error:
        return error.problems or ("",)
    return ()


values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["5us", "1%", "host1"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
PATHS = ["name", "topology", "topology.kind", "topology.hosts", "links", "links.default", "links.default.jitter",
         "links.default.distribution", "links.default.burst_loss", "protocol", "protocol.window", "protocol.f",
         "protocol.participants", "service", "clients", "clients.hosts", "clients.mix", "faults", "faults.0",
         "faults.0.do", "faults.0.on", "faults.0.at", "faults.0.when",
         "faults.0.when.node", "faults.0.for", "seed", "expect", "expect.kinds", "capture", "epsilon"]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PATHS), values)
def test_any_value_anywhere_is_taken_or_refused_as_a_scenario_error(path, value):
    base = parse(
        "name: x\ntopology: {kind: star, hosts: 4}\nfaults: [{at: 1us, do: nic_down, on: host1}]\n"
        "links: {default: {delay: 1us}}\n"
    )
    problems = problems_of(lambda: compile_plan(base.with_override(path, value)))
    assert all("\n" not in line and line for line in problems)


@given(st.text(max_size=20))
def test_any_override_path_is_read_or_refused(path):
    problems = problems_of(lambda: split_path(path))
    assert all(line.startswith("override") for line in problems)
