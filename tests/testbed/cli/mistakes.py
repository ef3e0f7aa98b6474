"""What users get wrong: the files that lie in the directory where they work, what they type, and what they are told."""

from __future__ import annotations

LONG = "x" * 300

PAIR = "name: x\ntopology: {kind: pair}\n"
SMALL = """\
name: small
topology: {kind: pair}
links:
  default: {delay: 50us, jitter: 20us}
protocol: {consensus: none, depth: 2, window: 110us, rounds: 50}
seed: 7
"""
OF_SMALL = "name: s\nscenario: small.yaml\n"
SWEEP = "sweep: {parameter: links.default.jitter, from: 1us, to: 2us, steps: 2}\n"


def measured(what: str) -> str:
    """A scenario with such delays."""
    return PAIR + f"links: {{default: {{distribution: {{{what}}}}}}}\n"


def custom(file: str) -> str:
    """A scenario whose fabric is the class Ring in this file."""
    return f"name: x\ntopology: {{custom: {{file: {file}, class: Ring}}}}\n"


def answers(*times_ms: float) -> str:
    """What ping prints."""
    return "".join(f"64 bytes from 10.0.0.2: icmp_seq={n} ttl=64 time={ms} ms\n" for n, ms in enumerate(times_ms, 1))


FILES: dict[str, str | bytes] = {
    # what works
    "small.yaml": SMALL,
    "st.yaml": OF_SMALL + SWEEP,
    "play.yml": "- hosts: nowhere\n",
    "delays.csv": "t,rtt\n1,2\n2,5\n",
    "ping.txt": answers(0.05, 0.06),
    # what is no document
    "broken.yaml": "name: x\ntopology: {kind: pair}\n  oops: [\n",
    "tab.yaml": "name: x\n\ttopology: {kind: pair}\n",
    "empty.yaml": "",
    "list.yaml": "- a\n- b\n",
    "word.yaml": "hello\n",
    "json.yaml": '{"name": "x"}\n',
    "binary.yaml": bytes(range(256)),
    "latin.yaml": "name: caf\xe9\n".encode("latin-1"),
    "wide.yaml": "name: x\n".encode("utf-16"),
    "notes.txt": "dear diary\n",
    "full/letter.txt": "mine",
    "unfinished/meta.json": '{"format": "oae-testbed run 4", "finished": false}',
    # scenarios
    "unknown.yaml": PAIR + "protocl: {}\n",
    "doubled.yaml": PAIR + "name: y\n",
    "no_name.yaml": "topology: {kind: pair}\n",
    "h1.yaml": PAIR + "faults: [{at: 1ms, do: nic_down, on: h1}]\n",
    "typo_fault.yaml": PAIR + "faults: [{at: 1ms, do: nic_donw, on: host1}]\n",
    "never.yaml": PAIR + "faults: [{at: -1ms, do: nic_down, on: host1}]\n",
    "when.yaml": PAIR + "faults: [{when: {node: host1, enters: NIRVANA}, do: nic_down}]\n",
    "partition.yaml": PAIR + "faults: [at 1ms partition host1 | host3]\n",
    "lies.yaml": PAIR + "lies: [{kind: fib, on: host1}]\n",
    "custom_gone.yaml": custom("gone.py"),
    "custom_raises.yaml": custom("raises.py"),
    "custom_syntax.yaml": custom("syntax.py"),
    "custom_no.yaml": custom("no_class.py"),
    "no_class.py": "x = 1\n",
    "draws.py": "import random\n",
    "raises.py": "raise RuntimeError('no')\n",
    "syntax.py": "def (:\n",
    # studies
    "s_noparam.yaml": OF_SMALL + "sweep: {from: 1us, to: 2us, steps: 2}\n",
    "s_unknown.yaml": OF_SMALL + SWEEP.replace("jitter", "jitr"),
    "s_back.yaml": OF_SMALL + SWEEP.replace("1us", "9us"),
    "s_unit.yaml": OF_SMALL + SWEEP.replace("us", ""),
    "s_steps.yaml": OF_SMALL + SWEEP.replace("steps: 2", "steps: 0"),
    "s_gone.yaml": OF_SMALL.replace("small", "gone") + SWEEP,
    "s_batch.yaml": OF_SMALL + SWEEP + "sim: {batch: -1}\n",
    # fabrics
    "bad.graphml": "<graphml><graph>",
    "bad.adj": "a b\nb c d e=\n",
    "lonely.adj": "",
    # measured delays
    "measured_gone.yaml": measured("file: gone.csv"),
    "measured_clock.yaml": measured("file: clock.csv"),
    "measured_column.yaml": measured("file: delays.csv, column: rrt"),
    "measured_key.yaml": measured("file: delays.csv, colum: rtt"),
    "zero.csv": "",
    "one.csv": "5\n5\n",
    "clock.csv": "".join(f"{1_750_000_000 + second}\n" for second in range(20)),
    "fractions.csv": "0,5\n0,7\n",
    "negative.csv": "d\n5\n-3\n",
    "mixed.csv": "d\n5\nfive\n",
    "gz.csv": b"\x1f\x8b\x08\x00abc",
    "text.pcapng": "no capture\n",
    "junk.pcapng": b"\x0a\x0d\x0d\x0a junk that is no block",
    "cut.pcapng": bytes.fromhex("0a0d0d0a1c0000004d3c2b1a01000000ffffffff"),
}
"""By name; some are what they should be."""

MISTAKES: list[tuple[str, str]] = [
    # run
    ("run", "run: missing argument 'scenario'"),
    ("run nic-crash", "did you mean nic-crash-after-swap or nic-crash-before-swap or nic-crash-mid-swap?"),
    ("run nowhere.yaml", "nowhere.yaml: there is no such scenario; a file is wanted, or one that ships:"),
    ("run nowhere", "nowhere: there is no such scenario; a file is wanted, or one that ships:"),
    ("run nic-crash-mid-swop", "nic-crash-mid-swop: there is no such scenario; did you mean nic-crash-mid-swap?"),
    ("run small.yaml extra", "run: got unexpected extra argument(s) (extra)"),
    ("run small.yaml --engine warp", "engine warp: there are sim, vkernel, live"),
    ("run small.yaml -e", "option '-e' requires an argument"),
    ("run small.yaml -e SIM", "engine SIM: there are sim, vkernel, live"),
    ("run small.yaml --jitter 5us", "run: no such option: --jitter"),
    ("run small.yaml --seed x", "run: invalid value for '--seed': Input should be a valid integer, unable to parse"),
    ("run small.yaml --seed -1", "run: invalid value for '--seed': Input should be greater than or equal to 0"),
    ("run small.yaml --seed 1.5", "run: invalid value for '--seed': Input should be a valid integer, unable to parse"),
    ("run small.yaml --set protocol.window", "--set protocol.window: write it as key=value, for example --set"),
    ("run small.yaml --set =5us", "--set =5us: write it as key=value, for example --set protocol.window=200us"),
    ("run small.yaml --set protocol.window=0us", "small.yaml:5: protocol.window: must be more than 0, not '0us'"),
    (
        "run small.yaml --set protocol.window=-5us",
        "small.yaml:5: protocol.window: '-5us' is no time; write a number and ns, us, ms or s",
    ),
    (
        "run small.yaml --set protocol.window=300",
        "small.yaml:5: protocol.window: 300 has no unit; write 300us or another of ns, us",
    ),
    (
        "run small.yaml --set protocol.window=300xs",
        "small.yaml:5: protocol.window: '300xs' is no time; write a number and ns, us, ms or",
    ),
    (
        "run small.yaml --set protocol.wndow=5us",
        "small.yaml:5: protocol.wndow: unknown key 'wndow'; did you mean 'window'?",
    ),
    (
        "run small.yaml --set protcol.window=5us",
        "small.yaml:1: protcol: unknown key 'protcol'; did you mean 'protocol'?",
    ),
    ("run small.yaml --set protocol=5", "small.yaml:5: protocol: must be a mapping (key: value), not 5"),
    (
        "run small.yaml --set protocol.window.deep=5us",
        "override 'protocol.window.deep': there is nothing below 'window'",
    ),
    ("run small.yaml --set protocol.rounds=0", "small.yaml:5: protocol.rounds: must be at least 1, not 0"),
    ("run small.yaml --set protocol.rounds=many", "small.yaml:5: protocol.rounds: must be a whole number, not 'many'"),
    ("run small.yaml --set protocol.rounds=1e99", "small.yaml:5: protocol.rounds: must be a whole number, not 1e+99"),
    (
        "run small.yaml --set protocol.consensus=paxoss",
        "small.yaml:5: protocol.consensus: 'paxoss' is not known here; did you mean 'paxos'?",
    ),
    (
        "run small.yaml --set links.default.loss=2",
        "small.yaml:4: links.default.loss: 2 does not lie between 0 and 1 (100%)",
    ),
    (
        "run small.yaml --set links.default.loss=150%",
        "small.yaml:4: links.default.loss: '150%' does not lie between 0 and 1 (100%)",
    ),
    (
        "run small.yaml --set links.default.rate=10",
        "small.yaml:4: links.default.rate: 10 has no unit; write 10mbit or another of bit",
    ),
    (
        "run small.yaml --set links.default.delay=1year",
        "small.yaml:4: links.default.delay: '1year' is no time; write a number and ns, us",
    ),
    (
        "run small.yaml --set 'links.h1<->h2.delay=1ms'",
        'small.yaml:3: links."h1<->h2": h1<->h2 matches no link; there are host1<->host2',
    ),
    (
        "run small.yaml --set topology.kind=moebius",
        "small.yaml:2: topology: no topology 'moebius'; there are pair, star, leaf_spine",
    ),
    ("run small.yaml --set topology.hosts=3", "small.yaml:2: topology.hosts: unknown key 'hosts'; there is kind"),
    ("run small.yaml --set seed=x", "small.yaml:6: seed: must be a whole number, not 'x'"),
    (
        "run small.yaml --set expect.bisynchrony=maybe",
        "small.yaml:1: expect.bisynchrony: 'maybe' is not known here; there are holds, breaks",
    ),
    ("run small.yaml --set name=", "small.yaml:1: name: must be text, not None"),
    ("run small.yaml --set name=../up", "small.yaml:1: name: '../up' may only hold letters, digits, '.', '_' and '-'"),
    ("run small.yaml --set nodes=vm", "small.yaml:1: nodes: 'vm' is not known here; there are namespace, container"),
    (
        "run small.yaml --set capture.nodes=host9",
        "small.yaml:1: capture.nodes.0: 'host9' matches no node; did you mean 'host2'?",
    ),
    ("run small.yaml --memory lots", "--memory: 'lots' is no amount of memory; write a number and M or G, such as 4G"),
    ("run small.yaml --memory -4G", "--memory: '-4G' is no amount of memory; write a number and M or G, such as 4G"),
    ("run small.yaml --out full", "full is not empty and holds no run; name another directory, or empty it"),
    ("run small.yaml --out small.yaml", "small.yaml is a file; name a directory for the run"),
    ("run small.yaml --out small.yaml/x", "small.yaml/x: Not a directory; a directory is wanted there"),
    ("run small.yaml --out /proc/nowhere", "/proc/nowhere: No such file or directory; is the name right?"),
    ("run small.yaml --out ''", ". is not empty and holds no run; name another directory, or empty it"),
    ("run small.yaml -i hosts.ini", "--inventory goes with --engine live only, and this run is on sim; leave it out"),
    ("run small.yaml -e live -i nowhere.ini", "nowhere.ini: there is no such inventory"),
    ("run ''", "'': there is no such scenario; a file is wanted, or one that ships: all-reduce"),
    ("run .", ".: there is no such scenario; a file is wanted, or one that ships: all-reduce"),
    ("run full", "full: there is no such scenario; a file is wanted, or one that ships: all-reduce"),
    ("run broken.yaml", "broken.yaml:3: this is not YAML: expected <block end>, but found '<block mapping"),
    ("run unknown.yaml", "unknown.yaml:3: protocl: unknown key 'protocl'; did you mean 'protocol'?"),
    ("run empty.yaml", "empty.yaml:1: the document is empty; `testbed scenarios` names some to begin with"),
    ("run list.yaml", "list.yaml:1: a scenario is a mapping (key: value), not ['a', 'b']"),
    ("run word.yaml", "word.yaml:1: a scenario is a mapping (key: value), not 'hello'"),
    ("run json.yaml", "json.yaml:1: topology: is missing; add it"),
    ("run binary.yaml", "binary.yaml:2: not UTF-8 text: byte 0x80; save it as UTF-8"),
    ("run latin.yaml", "latin.yaml:1: not UTF-8 text: byte 0xe9; save it as UTF-8"),
    ("run wide.yaml", "wide.yaml:1: not UTF-8 text: byte 0xff; save it as UTF-8"),
    ("run tab.yaml", "tab.yaml:2: this is not YAML: found character '\\t' that cannot start any token"),
    ("run notes.txt", "notes.txt:1: a scenario is a mapping (key: value), not 'dear diary'"),
    ("run delays.csv", "delays.csv:1: a scenario is a mapping (key: value), not 't,rtt 1,2 2,5'"),
    ("run junk.pcapng", "junk.pcapng:4: a scenario is a mapping (key: value), not 'junk that is no block'"),
    (f"run {LONG}", "choose a shorter name"),
    (
        "run custom_gone.yaml",
        "custom_gone.yaml:2: topology.custom.file: there is no file 'gone.py', neither beside the scenario nor here",
    ),
    ("run custom_raises.yaml", "custom_raises.yaml:2: topology.custom.file: raises.py can't be run: line 1: no"),
    (
        "run custom_syntax.yaml",
        "custom_syntax.yaml:2: topology.custom.file: syntax.py can't be run: line 1: invalid syntax",
    ),
    ("run h1.yaml", "h1.yaml:3: faults.0.on: no host 'h1' in this fabric; there are host1, host2"),
    ("run typo_fault.yaml", "typo_fault.yaml:3: faults.0.do: 'nic_donw' is not known here; did you mean"),
    (
        "run jitter-leaf-spine",
        "jitter-leaf-spine is no scenario, but there is one of studies of that name: testbed study",
    ),
    (
        "run small.yaml --set links.default.jitter=-1us",
        "small.yaml:4: links.default.jitter: '-1us' is no time; write a number and ns, us",
    ),
    (
        "run small.yaml --set links.default.distribution=gaussian",
        "small.yaml:4: links.default.distribution: 'gaussian' is not known here; there are",
    ),
    (
        "run small.yaml --set links.default.correlation=2",
        "small.yaml:4: links.default.correlation: 2 does not lie between 0 and 1 (100%)",
    ),
    (
        "run small.yaml --set links.default.order=lifo",
        "small.yaml:4: links.default.order: 'lifo' is not known here; did you mean 'fifo'?",
    ),
    ("run small.yaml --set links.default.limit=0", "small.yaml:4: links.default.limit: must be at least 1, not 0"),
    (
        "run small.yaml --set links.default.burst_loss.p=0.2",
        "small.yaml:4: links.default.burst_loss.r: is missing; add it",
    ),
    (
        "run small.yaml --set links.nowhere.delay=1ms",
        "small.yaml:3: links.nowhere: 'nowhere' is no link selector; write host1<->leaf1",
    ),
    ("run small.yaml --set protocol.depth=0", "small.yaml:5: protocol.depth: must be at least 1, not 0"),
    ("run small.yaml --set protocol.depth=256", "small.yaml:5: protocol.depth: must be at most 255, not 256"),
    (
        "run small.yaml --set protocol.horizon=later",
        "small.yaml:5: protocol.horizon: 'later' is not known here; there are abort, hold",
    ),
    (
        "run small.yaml --set protocol.handshake=secret",
        "small.yaml:5: protocol.handshake: 'secret' is not known here; there are",
    ),
    (
        "run small.yaml --set protocol.period=10us",
        "small.yaml:5: protocol.window: is longer than period; a round must end before the",
    ),
    (
        "run small.yaml --set protocol.participants=host9",
        "small.yaml:5: protocol.participants.0: 'host9' matches no host; did you mean",
    ),
    (
        "run small.yaml --set protocol.neighbourhood=street",
        "small.yaml:5: protocol.neighbourhood: 'street' is not known here; did you mean",
    ),
    (
        "run small.yaml --set protocol.parameters.patience=3",
        "small.yaml:5: protocol.parameters.patience: unknown key 'patience'; nothing can",
    ),
    (
        "run small.yaml --set protocol.instances=5",
        "small.yaml:5: protocol.instances: none is made of rounds of swaps; say how many",
    ),
    (
        "run small.yaml --set engine=warp",
        "small.yaml:1: engine: 'warp' is not known here; there are sim, vkernel, live",
    ),
    ("run small.yaml --set service=kv", "small.yaml:1: service: is asked for by nobody; add clients: {hosts: ...}"),
    (
        "run small.yaml --set clients.hosts=host1",
        "small.yaml:1: clients: ask for nothing: there is no service; add service: kv, or",
    ),
    (
        "run small.yaml --set 'faults=at 1ms nic_dwn host1'",
        "small.yaml:1: faults: column 8: here stands a verb such as nic_down, not 'nic_dwn'",
    ),
    (
        "run small.yaml --set 'clocks.host9.drift=20ppm'",
        "small.yaml:1: clocks.host9: 'host9' matches no host; did you mean 'host2'?",
    ),
    (
        "run small.yaml --set 'clocks.host1.drift=20'",
        "small.yaml:1: clocks.host1.drift: must be a drift such as 20ppm or -300ppb, not 20",
    ),
    ("run measured_gone.yaml", "measured_gone.yaml:3: links.default.distribution: gone.csv can't be read: No such"),
    ("run measured_clock.yaml", "measured_clock.yaml:3: links.default.distribution: clock.csv: column 1 holds times"),
    ("run measured_column.yaml", "measured_column.yaml:3: links.default.distribution: delays.csv has no column 'rrt'"),
    ("run measured_key.yaml", "measured_key.yaml:3: links.default.distribution.colum: unknown key 'colum'; did you"),
    ("run doubled.yaml", "doubled.yaml:3: name: stands twice, first in line 1; keep one of them"),
    ("run never.yaml", "never.yaml:3: faults.0.at: '-1ms' is no time; write a number and ns, us, ms or s"),
    ("run no_name.yaml", "no_name.yaml:1: name: is missing; add it"),
    ("run when.yaml", "when.yaml:3: faults.0.when.enters: 'NIRVANA' is not known here; there are IDLE"),
    ("run partition.yaml", "partition.yaml:3: faults.0.groups.1: no host 'host3' in this fabric; did you mean"),
    ("run lies.yaml", "lies.yaml:3: lies.0.kind: 'fib' is not known here; there are equivocate, withhold"),
    # explain
    ("explain", "explain: missing argument 'scenario'"),
    ("explain .", ".: there is no such scenario; a file is wanted, or one that ships: all-reduce"),
    ("explain nowhere", "nowhere: there is no such scenario; a file is wanted, or one that ships:"),
    ("explain small.yaml --seed -1", "small.yaml:6: seed: must be at least 0, not -1"),
    ("explain small.yaml --seed x", "explain: invalid value for '--seed': Input should be a valid integer, unable to"),
    (
        "explain small.yaml --set topology.kind=moebius",
        "small.yaml:2: topology: no topology 'moebius'; there are pair, star, leaf_spine",
    ),
    ("explain small.yaml --out x", "explain: no such option: --out (Possible options: --set)"),
    # compare
    ("compare", "compare what? Name scenarios, or give one of --all and --random N"),
    ("compare nowhere", "nowhere: there is no such scenario; a file is wanted, or one that ships:"),
    ("compare small.yaml --other warp", "engine warp: there are sim, vkernel, live"),
    ("compare small.yaml --reference warp", "engine warp: there are sim, vkernel, live"),
    ("compare small.yaml --random 3", "compare what? Name scenarios, or give one of --all and --random N"),
    ("compare small.yaml --all", "compare what? Name scenarios, or give one of --all and --random N"),
    ("compare --random -1", "compare: invalid value for '--random': Input should be greater than or equal to 0"),
    ("compare --random x", "compare: invalid value for '--random': Input should be a valid integer, unable to"),
    (
        "compare small.yaml broken.yaml",
        "broken.yaml:3: this is not YAML: expected <block end>, but found '<block mapping",
    ),
    # study
    ("study nowhere", "nowhere: there is no such study; a file is wanted, or one that ships: cells, depth"),
    ("study nic-crash-mid-swap", "there is one of scenarios of that name: testbed run nic-crash-mid-swap"),
    ("study st.yaml --out full", "full is not empty and holds no study; name another directory with --out"),
    ("study st.yaml --out st.yaml", "st.yaml is a file; name a directory for the study"),
    ("study st.yaml --jobs -1", "study: invalid value for '--jobs': Input should be greater than or equal to 0"),
    ("study st.yaml --jobs two", "study: invalid value for '--jobs': Input should be a valid integer, unable to parse"),
    (
        "study st.yaml --workers localhost:8786",
        "--workers localhost:8786: write it as dask://HOST:PORT, the address of a Dask",
    ),
    (
        "study st.yaml --workers dask://h:1 --jobs 2",
        "--jobs does not go with --workers: a cluster has as many workers as were started",
    ),
    (
        "study st.yaml --workers dask://",
        "--workers dask://: write it as dask://HOST:PORT, the address of a Dask scheduler",
    ),
    ("study st.yaml --set sim.batch=3", "study: no such option: --set (Possible options: --out)"),
    ("study s_noparam.yaml", "s_noparam.yaml:3: sweep.parameter: is missing; add it"),
    ("study s_unknown.yaml", "s_unknown.yaml:3: sweep: at 1 µs: small.yaml:4: links.default.jitr: unknown key"),
    ("study s_back.yaml", "s_back.yaml:3: sweep: the swept values must ascend and differ by 1 ns"),
    ("study s_unit.yaml", "s_unit.yaml:3: sweep: at 1: small.yaml:4: links.default.jitter: 1 has no unit"),
    ("study s_steps.yaml", "s_steps.yaml:3: sweep.steps: must be at least 2, not 0"),
    ("study s_gone.yaml", "gone.yaml: can't be read: No such file or directory; is the name right?"),
    ("study s_batch.yaml", "s_batch.yaml:4: sim.batch: must be at least 1, not -1"),
    ("study empty.yaml", "empty.yaml:1: the document is empty; `testbed scenarios` names some to begin with"),
    ("study binary.yaml", "binary.yaml: not UTF-8 text; save it as UTF-8"),
    ("study full", "full: there is no such study; a file is wanted, or one that ships: cells, depth"),
    # replay
    ("replay", "replay: missing argument 'directory'"),
    ("replay nowhere", "nowhere: there is no such run directory"),
    ("replay full", "full holds no run: meta.json is missing or not a testbed's"),
    ("replay small.yaml", "small.yaml holds no run: meta.json is missing or not a testbed's"),
    ("replay full -e warp", "full holds no run: meta.json is missing or not a testbed's"),
    ("replay unfinished", "the run in unfinished was not finished; run it again: testbed run SCENARIO --out"),
    # report
    ("report", "report: missing argument 'directory'"),
    ("report nowhere", "nowhere: there is no such directory"),
    ("report full", "full holds no run: meta.json is missing or not a testbed's"),
    ("report small.yaml", "small.yaml holds no run: meta.json is missing or not a testbed's"),
    ("report unfinished", "the run in unfinished was not finished; run it again: testbed run SCENARIO --out"),
    # topo
    ("topo shwo pair", "topo: no such command 'shwo'. Did you mean 'show'?"),
    ("topo show", "name a topology (see `testbed topo list`) or a scenario, or a file of yours with --custom"),
    ("topo show moebius", "moebius: neither a topology (pair, star, leaf_spine, fat_tree, clos, dumbbell"),
    ("topo show leaf_spine --set spines=many", "--set spines=many: spines of leaf_spine must be a whole number"),
    ("topo show leaf_spine --set spines=0", "spines must be at least 1, not 0"),
    ("topo show leaf_spine --set spines=-1", "--set spines=-1: spines of leaf_spine must be a whole number"),
    (
        "topo show leaf_spine --set spines=99999999",
        "leaf_spine with 399999996 links between switches: more than 200000",
    ),
    (
        "topo show leaf_spine --set rings=2",
        "leaf_spine has no parameter 'rings'; it takes spines, leaves, hosts_per_leaf",
    ),
    (
        "topo show leaf_spine --set spines",
        "--set spines: write it as key=value, for example --set protocol.window=200us",
    ),
    ("topo show /", "/: there is no such scenario; a file is wanted, or one that ships: all-reduce"),
    ("topo show from_file", "--set: file: is missing; add it"),
    (
        "topo show from_file --set file=gone.adj",
        "gone.adj: can't be read: No such file or directory; paths count from the scenario",
    ),
    (
        "topo show from_file --set file=bad.graphml",
        "bad.graphml:1: this is not XML: no element found: line 1, column 16",
    ),
    ("topo show from_file --set file=bad.adj", "bad.adj:2: b: unknown 'e'; there are kind, role, tier, group"),
    ("topo show from_file --set file=lonely.adj", "lonely.adj: no node in it; a fabric needs at least one host"),
    (
        "topo show from_file --set file=notes.docx",
        "notes.docx: its ending tells no format; name one with format: adjacency, graphml",
    ),
    (
        "topo show from_file --set file=full",
        "full: its ending tells no format; name one with format: adjacency, graphml",
    ),
    ("topo show fat_tree --set k=3", "k must be even, not 3: half of a switch's ports go up, half down"),
    ("topo draw pair -f png", "topo draw: invalid value for '--format' / '-f': 'png' is not one of 'text', 'svg'"),
    ("topo draw pair -f svg -o full", "full: Is a directory; a file is wanted there"),
    ("topo draw pair -f svg -o nowhere/x.svg", "nowhere/x.svg: No such file or directory; is the name right?"),
    ("topo draw", "name a topology (see `testbed topo list`) or a scenario, or a file of yours with --custom"),
    ("topo list pair", "topo list: got unexpected extra argument(s) (pair)"),
    # export
    ("export", "export: missing argument 'tool'. Choose from: containerlab, kathara, mininet"),
    ("export docker pair", "export: invalid value for 'tool': 'docker' is not one of 'containerlab', 'kathara'"),
    (
        "export containerlab",
        "name a topology (see `testbed topo list`) or a scenario, or a file of yours with --custom",
    ),
    ("export containerlab moebius", "moebius: neither a topology (pair, star, leaf_spine, fat_tree, clos, dumbbell"),
    ("export pair containerlab", "export: invalid value for 'tool': 'pair' is not one of 'containerlab', 'kathara'"),
    ("export containerlab pair -o small.yaml", "small.yaml: File exists; name another, or move what is there"),
    # schema
    ("schema scenari", "schema: invalid value for 'document': 'scenari' is not one of 'scenario', 'study'"),
    ("schema run", "schema: invalid value for 'document': 'run' is not one of 'scenario', 'study'"),
    # list
    ("list everything", "list: invalid value for 'what': 'everything' is not one of 'scenarios', 'studies'"),
    ("list runs x", "list: got unexpected extra argument(s) (x)"),
    # scenarios
    ("scenarios x", "scenarios: got unexpected extra argument(s) (x)"),
    # doctor
    ("doctor x", "doctor: got unexpected extra argument(s) (x)"),
    # up
    ("up leafspine -x pingall", "bcube, from_file) nor a scenario; did you mean leaf_spine?"),
    ("up gone.clab.yml", "gone.clab.yml: there is no such topology"),
    ("up moebius", "moebius: neither a topology (pair, star, leaf_spine, fat_tree, clos, dumbbell"),
    ("up ''", "name a topology (see `testbed topo list`) or a scenario, or a file of yours with --custom"),
    ("up pair -e sim", "up: invalid value for '--engine' / '-e': 'sim' is not one of 'live', 'vkernel'"),
    ("up --custom gone.py", "--custom gone.py: there is no file 'gone.py', neither beside the scenario nor here"),
    (
        "topo show ring --custom no_class.py",
        "no class 'ring' in no_class.py; a Mininet Topo is wanted, and there is none",
    ),
    ("topo show --custom syntax.py", "syntax.py can't be run: line 1: invalid syntax"),
    (
        "run custom_no.yaml",
        "topology.custom.class: no class 'Ring' in no_class.py; a Mininet Topo is wanted, and there",
    ),
    ("run small.yaml --set protocol.consensus=gone.py:Mine", "there is no file 'gone.py', neither beside the scenario"),
    ("explore gone.py:Mine", "there is no file 'gone.py', neither beside the scenario nor here"),
    ("flp draws.py:Mine", "draws.py:1: imports random: a run is a function of its seed"),
    ("explain st.yaml", "st.yaml is a study, not a scenario: testbed study st.yaml"),
    ("study small.yaml", "small.yaml is a scenario, not a study: testbed run small.yaml"),
    ("run st.yaml", "st.yaml is a study, not a scenario: testbed study st.yaml"),
    ("check", "check: missing argument 'engine'"),
    ("check nowhere", "nowhere: there is no such engine (testbed list consensus); mine.py:Mine is one of yours"),
    # serve
    ("serve nowhere", "nowhere: there is no such folder; runs lie in runs/, where testbed run was called"),
    ("serve --port x", "serve: invalid value for '--port': Input should be a valid integer"),
    ("serve --port 99999999", "serve: invalid value for '--port': Input should be less than or equal to 65535"),
    ("up pair -x 'host9 ls'", "--exec 'host9 ls': begin with a node of pair or with a command of Mininet's"),
    ("up pair -x 'h1 ls'", "--exec 'h1 ls': begin with a node of pair or with a command of Mininet's (pingall"),
    ("up pair -x host1", "--exec 'host1': say what host1 is to run, for example 'host1 ip addr'"),
    ("up pair -x ' '", "--exec ' ': begin with a node of pair or with a command of Mininet's (pingall, net"),
    ("up --json", "--json goes with --exec or --detach: without commands to run there is nothing to"),
    ("up --detach -x nodes", "--exec does not go with --detach; run commands in it with: testbed exec host1 ip"),
    ("up pair --nodes vm", "up: invalid value for '--nodes': 'vm' is not one of 'namespace', 'container'"),
    ("up pair --set hosts=3", "pair has no parameter 'hosts'; it takes no parameters"),
    (
        "up small.yaml --set links.default.delay=1",
        "small.yaml:4: links.default.delay: 1 has no unit; write 1us or another of ns, us",
    ),
    # ps
    ("ps x", "ps: got unexpected extra argument(s) (x)"),
    # exec
    ("exec", "exec: missing argument 'node'"),
    ("exec host1", "exec: missing argument 'command'"),
    ("exec host1 ls", "no fabric of yours is up; bring one up with: testbed up --detach leaf_spine"),
    ("exec h1 ls", "no fabric of yours is up; bring one up with: testbed up --detach leaf_spine"),
    ("exec -f pair host1 ls", "no fabric of yours is up; bring one up with: testbed up --detach leaf_spine"),
    ("exec -f nowhere host1 ls", "no fabric of yours is up; bring one up with: testbed up --detach leaf_spine"),
    # capture
    ("capture", "capture: missing argument 'fabric'"),
    ("capture pair", "no fabric of yours is up; bring one up with: testbed up --detach leaf_spine"),
    (
        "capture pair host1 --count 0",
        "capture: invalid value for '--count' / '-c': Input should be greater than or equal",
    ),
    ("capture pair host1 --count x", "capture: invalid value for '--count' / '-c': Input should be a valid integer"),
    (
        "capture pair host1 --seconds 0",
        "capture: invalid value for '--seconds' / '-s': Input should be greater than or",
    ),
    (
        "capture pair host1 --seconds -3",
        "capture: invalid value for '--seconds' / '-s': Input should be greater than or",
    ),
    ("capture pair host1 -o full", "no fabric of yours is up; bring one up with: testbed up --detach leaf_spine"),
    ("capture nowhere host1", "no fabric of yours is up; bring one up with: testbed up --detach leaf_spine"),
    # down
    ("down first", "no fabric of yours is up; bring one up with: testbed up --detach leaf_spine"),
    ("down first second", "down: got unexpected extra argument(s) (second)"),
    # attach, logs
    ("attach first", "no fabric of yours is up; bring one up with: testbed up --detach leaf_spine"),
    ("attach first second", "attach: got unexpected extra argument(s) (second)"),
    ("logs first", "no fabric of yours is up; bring one up with: testbed up --detach leaf_spine"),
    # play
    ("play", "play: missing argument 'playbook'"),
    ("play nowhere", "nowhere: there is no such playbook; a file is wanted, or one that ships: fabric"),
    ("play nowhere.yml", "nowhere.yml: there is no such playbook; a file is wanted, or one that ships:"),
    ("play play.yml -i gone.ini", "gone.ini: there is no such inventory"),
    ("play play.yml -f pair", "no fabric of yours is up; bring one up with: testbed up --detach leaf_spine"),
    ("play play.yml -e x", "--extra x: write it as key=value, for example --extra rounds=100"),
    # fit
    ("fit", "fit: missing argument 'file'"),
    ("fit nowhere.csv", "nowhere.csv can't be read: No such file or directory; is the name right?"),
    ("fit full", "full can't be read: Is a directory; is the name right?"),
    ("fit notes.txt", "notes.txt holds no delays: it is no capture, no table with numbers, and not what"),
    ("fit zero.csv", "zero.csv is empty"),
    ("fit one.csv", "one.csv (2 delays in us in column 1 of a table): a delay table needs at least two"),
    ("fit clock.csv", "clock.csv: column 1 holds times since 1970: these are no delays; no other column"),
    ("fit binary.yaml", "binary.yaml is neither a capture nor text in UTF-8; convert it (iconv -t utf-8)"),
    ("fit junk.pcapng", "junk.pcapng can't be read as a capture: a block is damaged, or the file ends early"),
    ("fit text.pcapng", "text.pcapng holds no delays: it is no capture, no table with numbers, and not what"),
    ("fit delays.csv", "delays.csv: columns 1 (t), 2 (rtt) look like delays; say which, as column: t"),
    ("fit delays.csv --column nope", "delays.csv has no column 'nope'; there are t, rtt"),
    ("fit delays.csv --column 9", "delays.csv has no column 9; it has 2"),
    ("fit delays.csv --column 0", "--column 0: columns count from 1"),
    ("fit delays.csv --unit years", "fit: invalid value for '--unit': 'years' is not one of 'ns', 'us', 'ms', 's'"),
    ("fit delays.csv --between a", "--between a: write it as two interfaces, for example host1-eth0,host2-eth0"),
    ("fit delays.csv --between a,b", "delays.csv is a table, which has no 'between'; leave that key out"),
    ("fit delays.csv --column rtt -e warp", "engine warp: there are sim, vkernel, live"),
    (
        "fit delays.csv --column rtt --frames 1",
        "fit: invalid value for '--frames': Input should be greater than or equal to 2",
    ),
    (
        "fit delays.csv --column rtt --frames 2 -o nowhere/x.svg",
        "nowhere/x.svg: No such file or directory; is the name right?",
    ),
    ("fit small.yaml", "small.yaml: row 2 holds no delay in column name:"),
    ("fit fractions.csv", "fractions.csv: two whole numbers a row may be two columns, or one number with a"),
    ("fit negative.csv --column d", "negative.csv: row 3 holds no delay in column d"),
    ("fit mixed.csv", "mixed.csv: row 3 holds no delay in column d"),
    ("fit gz.csv", "gz.csv is compressed; unpack it first (gunzip)"),
    ("fit cut.pcapng", "cut.pcapng can't be read as a capture: a block is damaged, or the file ends early"),
    ("fit ping.txt --column 2", "ping.txt is what ping prints, which has no 'column'; leave that key out"),
    # explore
    ("explore", "explore needs an engine, such as paxos, or --replay with a schedule"),
    ("explore moebius", "moebius: there is no such engine; there are ben_or, chandra_toueg, epaxos"),
    ("explore link --nodes 0", "explore: invalid value for '--nodes': Input should be greater than or equal to 1"),
    ("explore link --nodes 5", "--nodes 5: a link has 2 ends"),
    (
        "explore paxos --crashes -1",
        "explore: invalid value for '--crashes': Input should be greater than or equal to 0",
    ),
    ("explore paxos --drops x", "explore: invalid value for '--drops': Input should be a valid integer, unable to"),
    ("explore paxos --time never", "--time never: there are still, own, timely"),
    ("explore paxos --network lan", "--network lan: there are any, fifo, set"),
    ("explore paxos --disk wet", "--disk wet: there are kept, unsynced_lost, torn, lost"),
    ("explore paxos --pitfall nothing", "--pitfall nothing: paxos has accept_keeps_promise, answer_not_kept"),
    ("explore paxos --set rounds", "--set rounds: write it as key=value, for example --set depth=3"),
    (
        "explore paxos --set depht=3",
        "--set depht: there are depth, seed, instances, rounds, handshake, horizon, inputs",
    ),
    ("explore paxos --f 9", "--timers: the timers of this engine go on for ever; say how many may fire, such as 2"),
    ("explore link --resume small.yaml", "small.yaml holds no search; name another file with --resume"),
    ("explore link --replay nowhere.json", "nowhere.json: there is no such schedule"),
    (
        "explore link --replay small.yaml",
        "small.yaml is no schedule: rules is missing; testbed explore and testbed search",
    ),
    ("explore link --memory lots", "--memory: 'lots' is no amount of memory; write a number and M or G, such as 4G"),
    ("explore --replay nowhere.json", "nowhere.json: there is no such schedule"),
    ("explore paxos --nodes 1", "--timers: the timers of this engine go on for ever; say how many may fire, such as 2"),
    ("explore paxos --restarts 1 --disk kept --time weird", "--time weird: there are still, own, timely"),
    # search
    ("search", "search: missing argument 'engine'"),
    ("search moebius", "moebius: there is no such engine; there are ben_or, chandra_toueg, epaxos"),
    (
        "search link --schedules 0",
        "search: invalid value for '--schedules': Input should be greater than or equal to 1",
    ),
    ("search link --steps 0", "search: invalid value for '--steps': Input should be greater than or equal to 1"),
    ("search link --seed -1", "search: invalid value for '--seed': Input should be greater than or equal to 0"),
    ("search paxos --pitfall nothing", "--pitfall nothing: paxos has accept_keeps_promise, answer_not_kept"),
    ("search paxos --time soon", "--time soon: there are still, own, timely"),
    # flp
    ("flp", "flp: missing argument 'engine'"),
    ("flp moebius", "moebius: there is no such engine; there are ben_or, chandra_toueg, epaxos"),
    ("flp link", "flp link: name an engine of consensus (testbed list consensus), such as paxos"),
    ("flp none", "none: there is no such engine; there are ben_or, chandra_toueg, epaxos, fast_paxos"),
    ("flp paxos --steps 0", "flp: invalid value for '--steps': Input should be greater than or equal to 1"),
    ("flp paxos --nodes 0", "flp: invalid value for '--nodes': Input should be greater than or equal to 1"),
    (
        "flp paxos --time timely --omissions -1",
        "flp: invalid value for '--omissions': Input should be greater than or equal to 0",
    ),
    # cap
    ("cap nowhere", "nowhere: there is no such scenario; a file is wanted, or one that ships:"),
    ("cap small.yaml", "small: nobody is parted from anybody; name a scenario with a partition"),
    ("cap --consensus none", "--consensus none: there are ben_or, chandra_toueg, epaxos, fast_paxos, floodset"),
    ("cap --consensus moebius", "--consensus moebius: there are ben_or, chandra_toueg, epaxos, fast_paxos, floodset"),
    ("cap --engine warp", "engine warp: there are sim, vkernel, live"),
    # kernel
    ("kernel biuld", "kernel: no such command 'biuld'. Did you mean 'build'?"),
    ("kernel build x", "kernel build: got unexpected extra argument(s) (x)"),
    # image
    ("image biuld", "image: no such command 'biuld'. Did you mean 'build'?"),
    # clean
    ("clean --runs nowhere", "nowhere: there is no such directory"),
    ("clean --runs small.yaml", "small.yaml: Not a directory; a directory is wanted there"),
    ("clean x", "clean: got unexpected extra argument(s) (x)"),
    ("clean --runs full/letter.txt", "full/letter.txt: Not a directory; a directory is wanted there"),
    # no verb at all
    ("frobnicate", "no such command 'frobnicate'"),
    ("rnu small.yaml", "no such command 'rnu'. Did you mean 'run'?"),
    ("--jitter", "no such option: --jitter"),
]
"""What is typed behind ``testbed``, and a part of the one line that comes back."""
