"""Measured delays, in every form in which people have them: the same delays are read from each, and what is none is
told in a line that says what to do.

The files are written here, by the forms' public descriptions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from testbed.engines.sim import SimEngine
from testbed.nodes.frames import Frame, FrameKey, Kind, Message, encode
from testbed.pcapng import Packets, Wires, write_packets
from testbed.runs import begin_run, write_run
from testbed.scenario import ScenarioError, compile_plan, explain, parse
from testbed.scenario.model import MeasuredDelays
from testbed.scenario.samples import Samples, load_samples
from testbed.verdicts import judge

US = 1000
_DRAW = random.Random(5)
DELAYS_US = [round(_DRAW.uniform(40, 90), 3) for _ in range(60)]
PAIR = "name: p\ntopology: {kind: pair}\nprotocol: {consensus: none, depth: 2, window: 300us, rounds: 40}\nseed: 3\n"


def read(directory: Path, text: str | bytes, name: str = "delays.txt", **keys: object) -> Samples:
    file = directory / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_samples(MeasuredDelays(file=name, **keys), directory)


def check(samples: Samples, *origin: str, scale: float = 1.0) -> None:
    """They are DELAYS_US, and it is said where they come from."""
    assert np.allclose(samples.delays_ns, np.array(DELAYS_US) * US * scale, atol=1.0)
    assert all(words in samples.origin for words in origin), samples.origin


# -- tables ----------------------------------------------------------------------------------------------------------


def table(*columns: Sequence[object], head: str = "", separator: str = ",") -> str:
    return (head + "\n" if head else "") + "".join(
        separator.join(map(str, row)) + "\n" for row in zip(*columns, strict=True)
    )


TABLES: dict[str, tuple[str, dict[str, object]]] = {
    "one column": (table(DELAYS_US), {}),
    "named, in its name's unit": (table([d / 1000 for d in DELAYS_US], head="delay (ms)"), {}),
    "a unit of its own": (table([f"{d * 1000:.0f} ns" for d in DELAYS_US], head="delay"), {}),
    "units behind blanks": (table([f"{d / 1000:.6f} ms" for d in DELAYS_US]), {}),
    "semicolons and decimal commas": (
        table(range(60), [str(d).replace(".", ",") for d in DELAYS_US], head="n;delay_us", separator=";"),
        {},
    ),
    "tabs": (table(["a"] * 60, DELAYS_US, separator="\t"), {"column": 2}),
    "blanks, behind a comment": ("# by hand\n" + table(range(60), DELAYS_US, separator="  "), {}),
    "beside a clock and constants": (
        table([1.7e9 + n for n in range(60)], [64] * 60, DELAYS_US, head="time,ttl,delay"),
        {},
    ),
    "round trips": (table([2 * d for d in DELAYS_US], head="rtt_us"), {"of": "rtt"}),
}


@pytest.mark.parametrize("form", TABLES)
def test_a_table_is_read_however_it_is_written(tmp_path: Path, form: str) -> None:
    text, keys = TABLES[form]
    check(read(tmp_path, text, **keys), "of a table")


def test_rows_in_which_nothing_arrived_are_left_out_and_counted(tmp_path: Path) -> None:
    cells = [cell for d in DELAYS_US for cell in (d, "lost")]
    check(read(tmp_path, table(cells, head="delay_us")), "60 delays in us in column 1 (delay_us)", "60 rows without")


CLOCKS: dict[str, tuple[str, str]] = {
    "dates": (table([f"2026-03-01T10:00:{n:02}" for n in range(60)], DELAYS_US), "1 holds dates or times of day"),
    "since 1970": (table([1_750_000_000 + n / 9 for n in range(60)], DELAYS_US), "1 holds times since 1970"),
    "since 1970, in ms, in any order": (table([1_750_000_000_000 + n * n % 7 for n in range(60)], DELAYS_US), "1970"),
    "a stopwatch": (table([f"{n * 0.1:.1f}" for n in range(60)], DELAYS_US), "1 grows from row to row"),
}


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_column_of_times_is_not_mistaken_for_delays(tmp_path: Path, clock: str) -> None:
    text, why = CLOCKS[clock]
    with pytest.raises(ValueError, match=r"these are no delays; column 2 may be: say column: 2$") as told:
        read(tmp_path, text, column=1)
    assert why in str(told.value)
    check(read(tmp_path, text))  # nobody has to say it: only one column looks like delays


def test_delays_that_were_sorted_look_like_a_clock_which_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"if they are, and somebody sorted them, shuffle the rows \(shuf\)$"):
        read(tmp_path, table(sorted(DELAYS_US)))


BAD_TABLES: list[tuple[str | bytes, dict[str, object], str]] = [
    ("\n \n", {}, "is empty"),
    ("delay\n5\nx\n", {}, "row 3 holds no delay in column delay"),
    ("dear diary\n", {}, "holds no delays: it is no capture, no table with numbers, and not what ping, owping or"),
    ("5\n-4\n", {}, "row 2 holds no delay"),
    ("a,b\n1,2\n3,4\n", {"column": "c"}, "has no column 'c'; there are a, b"),
    ("1\n2\n", {"column": 3}, "has no column 3; it has 1"),
    ("1\n2\n", {"column": "delay"}, "none that have names: give its number"),
    ("5\n5\n", {}, "at least two different delays; found 2"),
    ("0,52\n0,61\n", {}, "one number with a comma; say which column"),
    (table(DELAYS_US, DELAYS_US, head="there,back"), {}, "columns 1 (there), 2 (back) look like delays; say which"),
    (table(DELAYS_US), {"between": ("a", "b")}, "is a table, which has no 'between'"),
    (b"\x1f\x8b\x08\x00rest", {}, "is compressed; unpack it first"),
    (b"5\n\xff6\n", {}, "neither a capture nor text in UTF-8"),
    (b"5\n\x006\n", {}, "holds zero bytes"),
]


@pytest.mark.parametrize(("text", "keys", "line"), BAD_TABLES)
def test_what_holds_no_delays_is_told_in_a_line(
    tmp_path: Path, text: str | bytes, keys: dict[str, object], line: str
) -> None:
    with pytest.raises(ValueError, match=r"delays\.txt") as told:
        read(tmp_path, text, **keys)
    assert line in str(told.value)
    assert "\n" not in str(told.value)


# -- what programs print ---------------------------------------------------------------------------------------------


def ping(delays_us: Sequence[float]) -> str:
    lines = ["PING 10.0.0.2 (10.0.0.2) 56(84) bytes of data."]
    for number, delay in enumerate(delays_us, 1):
        answer = f"64 bytes from 10.0.0.2: icmp_seq={number} ttl=64 time={2 * delay / 1000:.6f} ms"
        lines += [answer] + [answer + " (DUP!)"] * (number == 7)
    stats = f"{len(delays_us)} packets transmitted, {len(delays_us)} received, 0% packet loss, time 59000ms"
    return "\n".join([*lines, "", "--- 10.0.0.2 ping statistics ---", stats, "rtt min/avg/max/mdev = 1/2/3/4 ms"])


def owping_raw(delays_us: Sequence[float], set_: int = 1) -> str:
    """Sequence number, stamp, whether the clock is set, its error, the same of the receiver, TTL; and one lost."""
    rows = []
    for number, delay in enumerate(delays_us):
        sent = (3_980_000_000 + number) << 32
        arrived = sent + round(delay * 1e-6 * 2**32)
        rows.append(f"{number} {sent:020d} {set_} 1.2e-05 {arrived:020d} 1 1.3e-05 61")
    return "\n".join([*rows, f"{len(rows)} {3_990_000_000 << 32:020d} 1 1.2e-05 {0:020d} 0 0 255"]) + "\n"


def owping_told(delays_us: Sequence[float]) -> str:
    rows = [
        f"seq_no={number:<10} delay={delay / 1000:.6f} ms (sync, err=0.02 ms)" for number, delay in enumerate(delays_us)
    ]
    return "\n".join(["--- owping statistics from [a]:8760 to [b]:8980 ---", *rows, "seq_no=60 *LOST*"])


def sockperf(delays_us: Sequence[float], what: str, factor: float) -> str:
    """The full log: what the run was, a heading, and a row for each message."""
    rows = [f"{n}, {n * 0.01:.9f}, {n * 0.01 + 2e-6 * d:.9f}, {factor * d:.3f}" for n, d in enumerate(delays_us)]
    head = ["[Valid Duration] RunTime=1.000 sec; SentMessages=60; ReceivedMessages=60", "-" * 30]
    return "\n".join([*head, f"packet, txTime(sec), rxTime(sec), {what}(usec)", *rows, "-" * 30])


PRINTED: dict[str, tuple[str, tuple[str, ...]]] = {
    "ping": (ping(DELAYS_US), ("60 round trips of ping; halved, as if both ways took the same",)),
    "owping -R": (owping_raw(DELAYS_US), ("60 records of owping -R, 1 lost",)),
    "owping -R, not set": (owping_raw(DELAYS_US, 0), ("60 by clocks that nothing set",)),
    "owping -v": (owping_told(DELAYS_US), ("60 records of owping -v, 1 lost",)),
    "sockperf": (sockperf(DELAYS_US, "latency", 1), ("60 latencies of sockperf",)),
    "sockperf --full-rtt": (sockperf(DELAYS_US, "rtt", 2), ("60 round trips of sockperf; halved",)),
}


@pytest.mark.parametrize("program", PRINTED)
def test_what_programs_print_is_recognised(tmp_path: Path, program: str) -> None:
    text, origin = PRINTED[program]
    check(read(tmp_path, text), *origin)


def test_whoever_knows_better_says_what_a_value_is(tmp_path: Path) -> None:
    check(read(tmp_path, ping(DELAYS_US), of="delay"), "of ping", scale=2.0)
    check(read(tmp_path, owping_raw(DELAYS_US), of="rtt"), "halved", scale=0.5)


@pytest.mark.parametrize(
    ("text", "keys", "line"),
    [
        (ping(DELAYS_US), {"column": 2}, "is what ping prints, which has no 'column'; leave that key out"),
        (owping_raw([-5.0, 9.0]), {}, "some packets arrive before they leave; set the clocks of both ends"),
        (ping([]) + "icmp_seq=1 ttl=64 time=4 ms\n", {}, "1 round trip of ping"),
    ],
)
def test_what_programs_print_in_vain_is_told(tmp_path: Path, text: str, keys: dict[str, object], line: str) -> None:
    with pytest.raises(ValueError, match=r"delays\.txt") as told:
        read(tmp_path, text, **keys)
    assert line in str(told.value)


# -- captures --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def a_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Runs on a fabric of one switch, whose hosts are 50us from it, give or take 10."""

    def run(capture: str) -> Path:
        directory = tmp_path_factory.mktemp("run") / "run"
        text = PAIR.replace("pair", "star, hosts: 3") + "links: {default: {delay: 50us, jitter: 10us}}\n" + capture
        plan = compile_plan(parse(text))
        history = SimEngine().run(plan, directory.with_name("work"))
        begin_run(directory, text, plan)
        write_run(directory, text, plan, history, judge(plan, history))
        return directory

    return run


def test_a_run_of_ones_own_is_measured_between_two_of_its_interfaces(a_run: Callable[..., Path]) -> None:
    """Its delays are those that the second link was asked for: the first one's lie before the first interface."""
    run = a_run("")
    with pytest.raises(ValueError, match=r"has frames of 6 interfaces; say from which to which, as between: \[host"):
        load_samples(MeasuredDelays(file="frames.pcapng"), run)
    samples = load_samples(MeasuredDelays(file="frames.pcapng", between=("host1-eth0", "host2-eth0")), run)
    assert len(samples.delays_ns) == 40
    assert all(40_000 <= delay < 60_000 for delay in samples.delays_ns)
    assert samples.origin == "a capture: 40 frames seen at host1-eth0 and host2-eth0"
    with pytest.raises(ValueError, match="has no frames of the interface 'host9-eth0'; there are host1-eth0, host2-"):
        load_samples(MeasuredDelays(file="frames.pcapng", between=("host9-eth0", "host2-eth0")), run)
    with pytest.raises(ValueError, match="both ends of a wire see a frame at the same time"):
        load_samples(MeasuredDelays(file="frames.pcapng", between=("host1-eth0", "switch1-eth1")), run)


def test_the_files_of_two_nodes_need_no_more_than_their_names(a_run: Callable[..., Path]) -> None:
    run = a_run("capture: {nodes: [host1, host2]}\n") / "frames"
    samples = load_samples(MeasuredDelays(file="host1.pcapng", received="host2.pcapng"), run)
    assert len(samples.delays_ns) == 40  # those that go the other way are none of theirs
    assert all(40_000 <= delay < 60_000 for delay in samples.delays_ns)


def test_a_capture_that_is_cut_off_or_sees_nothing_twice_is_told(tmp_path: Path) -> None:
    wires = [encode(Frame(FrameKey(1, 1, n), 2, 0, Message(Kind.SWAP, n, 1)), bytes(6), bytes(6)) for n in range(3)]
    packets = Packets(np.zeros(3, np.int32), np.arange(3), np.ones(3, bool), np.arange(3), Wires.of(wires))
    write_packets(tmp_path / "one.pcapng", ["host1-eth0"], packets)
    with pytest.raises(ValueError, match=r"one.pcapng: no frame is seen at a first time and a second"):
        load_samples(MeasuredDelays(file="one.pcapng"), tmp_path)
    whole = (tmp_path / "one.pcapng").read_bytes()
    with pytest.raises(ValueError, match=r"cut.pcapng can't be read as a capture: a block is damaged, or"):
        read(tmp_path, whole[:-10], "cut.pcapng")
    with pytest.raises(ValueError, match=r"is a capture, which has no 'column'; leave that key out"):
        read(tmp_path, whole, "one.pcapng", column=2)


# -- in a scenario ---------------------------------------------------------------------------------------------------


def test_explain_says_where_delays_come_from(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(ping(DELAYS_US))
    scenario = parse(PAIR + "links: {default: {distribution: {file: p.txt}}}", "s.yaml", tmp_path)
    assert "\nmeasured delays\n  default  p.txt: 60 round trips of ping; halved, as if" in explain(scenario)


def test_a_scenario_names_the_place_and_the_file(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(ping(DELAYS_US))
    with pytest.raises(ScenarioError, match=r"^s.yaml:5: links.default.distribution: p.txt is what ping prints"):
        parse(PAIR + "links: {default: {distribution: {file: p.txt, column: 1}}}", "s.yaml", tmp_path)


LEVEL = "41\n43\n41\n43\n41\n43\n"
"""42 us on average, 1 us to either side."""


def test_a_delay_that_was_said_before_is_not_replaced_in_silence(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(LEVEL)
    before = "links:\n  default: {delay: 5us, jitter: 2us}\n"
    [warning] = parse(PAIR + before + "  host1<->host2: {distribution: {file: d.csv}}", "s.yaml", tmp_path).warnings
    assert warning == (
        's.yaml:7: links."host1<->host2".distribution: leaves delay and jitter as an earlier line, or the topology, '
        "says; for what was measured, write delay: 42000ns, jitter: 1000ns here"
    )
    for said in ("delay: 42us, jitter: 1us, ", "delay: 9us, jitter: 3us, "):
        text = f"{PAIR}{before}  host1<->host2: {{{said}distribution: {{file: d.csv}}}}"
        assert parse(text, "s.yaml", tmp_path).warnings == ()
    assert parse(PAIR + "links: {default: {distribution: {file: d.csv}}}", "s.yaml", tmp_path).warnings == ()


def test_a_delay_that_the_users_class_says_is_not_replaced_in_silence(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(LEVEL)
    (tmp_path / "two.py").write_text(
        "from mininet.topo import Topo\n\n\nclass Two(Topo):\n    def build(self):\n"
        "        self.addLink(self.addHost('a'), self.addHost('b'), delay='7us')\n"
    )
    custom = PAIR.replace("{kind: pair}", "{custom: {file: two.py, class: Two}}")
    text = custom + "links: {a<->b: {distribution: {file: d.csv}}}"
    [warning] = parse(text, "s.yaml", tmp_path).warnings
    assert warning.endswith(
        "leaves delay as an earlier line, or the topology, says; for what was measured, write delay: 42000ns here"
    )
