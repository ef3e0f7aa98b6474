"""The agent on real NICs: what it hands to its machine, in which order, and what can't bring it down."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from testbed.nodes.agent.journal import Journal, Row, decode_rows, read_journal
from testbed.nodes.agent.loop import Agent
from testbed.nodes.agent.nic import Nic
from testbed.nodes.agent.process import Process
from testbed.nodes.core import Effects, Life, Port, Send, SetTimer, SwapId, Transition
from testbed.nodes.core import LinkState as State
from testbed.nodes.core.config import START_NS, NodeConfig, Peer, ProtocolConfig
from testbed.nodes.core.moments import Moment
from testbed.nodes.core.record import Dropped, Overrun, Received, Refused, Sent, Started, TimerFired, What
from testbed.nodes.frames import Frame, FrameKey, Kind, Message, encode


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, stdout=subprocess.DEVNULL)


LEFT, RIGHT = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
SIZE = 1 << 22
Namespace = Callable[[Callable[[], None]], None]


class Script:
    """A machine that does what it is told and remembers what it was given."""

    def __init__(self, answers: dict[object, Effects] | None = None) -> None:
        self.answers = answers or {}
        self.seen: list[object] = []
        self.times: list[int] = []

    def _answer(self, what: object, now_ns: int) -> Effects:
        self.seen.append(what)
        self.times.append(now_ns)
        return self.answers.get(what, [])

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        return self._answer("start", now_ns)

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        return self._answer(("frame", int.from_bytes(message.body, "big")), now_ns)

    def on_timer(self, name: str, now_ns: int) -> Effects:
        return self._answer(name, now_ns)


def said(number: int) -> Message:
    """A message that tells its number."""
    return Message(Kind.SWAP, 0, 1, number.to_bytes(16, "big"))


def frame(seq: int, src: int = 0, dst: int = 1) -> Frame:
    """The ``seq``-th frame, to node 1 if not from it; its message tells ``seq`` too."""
    return Frame(FrameKey(src, 1, seq), dst, 0, said(seq))


def on_wire(seq: int, message: Message, peer_epoch: int = 0) -> bytes:
    """What the agent's ``seq``-th frame looks like on the wire."""
    return encode(Frame(FrameKey(1, 1, seq), 0, peer_epoch, message), LEFT, RIGHT)


def agent_of(node: int, machine: Script, fd: int = -1, channel: socket.socket | None = None, **rest: Any) -> Agent:
    """The agent of node 0 on ``left`` or node 1 on ``right``; each is the other's peer."""
    if fd < 0:
        fd = os.memfd_create("journal")
        os.truncate(fd, SIZE)
    nics, macs = ("left", "right"), ("02:00:00:00:00:01", "02:00:00:00:00:02")
    config = NodeConfig(
        node=node,
        name=f"host{node + 1}",
        peers=(Peer(1 - node, f"host{2 - node}", nics[node], macs[1 - node]),),
        nics={nics[node]: macs[node]},
        members=(0, 1),
        protocol=ProtocolConfig(),
    )
    channel = channel or socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)[1]
    return Agent(config, machine, journal=Journal(fd, SIZE), channel=channel, **{"moments": (), **rest})


class Bench:
    """An agent as node 1 on ``right``, and a raw socket as its peer, node 0, on ``left``."""

    def __init__(
        self, machine: Script, moments: tuple[Moment, ...] = (), clock: str = "read", zero_in_ns: int = 0
    ) -> None:
        self.machine = machine
        self.fd = os.memfd_create("journal")
        os.truncate(self.fd, SIZE)
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.agent = agent_of(1, machine, self.fd, theirs, moments=moments, clock=clock)
        self.peer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.peer.bind(("left", 0x88B5))
        self.process = Process([self.agent])
        self.process.start(time.time_ns() + zero_in_ns, -1)

    def put(self, *frames: Frame) -> None:
        for one in frames:
            self.peer.send(encode(one, RIGHT, LEFT))

    def until(self, done: Callable[[], bool]) -> None:
        for _ in range(2000):
            if done():
                return
            self.process.wait(0.01)
        raise AssertionError(f"did not happen; seen {self.machine.seen}")

    def rows(self, *kinds: type[What]) -> list[Row]:
        return [row for row in decode_rows(read_journal(self.fd, SIZE)) if not kinds or type(row.what) in kinds]

    def of(self, kind: type[What]) -> list[Any]:
        """What was recorded of one kind."""
        return [row.what for row in self.rows(kind)]


def test_frames_reach_the_machine_and_its_answers_the_peer(on_nics: Namespace) -> None:
    def story() -> None:
        bench = Bench(Script({("frame", 1): [Send(0, said(70))]}))
        bench.put(frame(1))
        bench.until(lambda: ("frame", 1) in bench.machine.seen)
        assert bench.peer.recv(100) == on_wire(1, said(70), peer_epoch=1)
        ((t_ns, received),) = bench.rows(Received)
        assert received[:-1] == (FrameKey(0, 1, 1), 0, 1)
        assert 0 <= received.at_ns <= t_ns
        assert [sent.key for sent in bench.of(Sent)] == [(1, 1, 1)]

    on_nics(story)


def test_one_process_serves_several_nodes(on_nics: Namespace) -> None:
    """Node 0 on ``left`` speaks at its timer, node 1 on ``right`` answers, and node 0 hears it."""

    def story() -> None:
        wake = [SetTimer("speak", 1_000_000)]
        scripts = [Script({"start": wake, "speak": [Send(0, said(7))]}), Script({("frame", 7): [Send(0, said(8))]})]
        agents = [agent_of(node, script) for node, script in enumerate(scripts)]
        process = Process(agents)
        process.start(time.time_ns(), -1)
        for _ in range(2000):
            if ("frame", 8) in scripts[0].seen:
                break
            process.wait(0.01)
        assert [script.seen for script in scripts] == [["start", "speak", ("frame", 8)], ["start", ("frame", 7)]]

    on_nics(story)


def test_a_round_sent_in_one_batch_arrives_in_order(on_nics: Namespace) -> None:
    def story() -> None:
        many = [said(number) for number in range(150)]  # more than one sendmmsg takes
        bench = Bench(Script({"start": [Send(0, one) for one in many]}))
        bench.until(lambda: True)
        assert [bench.peer.recv(100) for _ in many] == [on_wire(seq, one) for seq, one in enumerate(many, 1)]

    on_nics(story)


def test_on_a_wall_clock_a_node_is_set_up_long_before_round_0(on_nics: Namespace) -> None:
    """Were all to wait for one instant, the last of many hosts would come up long after round 0 has begun."""

    def story() -> None:
        bench = Bench(Script(), zero_in_ns=3_600_000_000_000)
        assert bench.machine.times == [START_NS]
        ((t_ns, started),) = bench.rows(Started)
        assert started.told_ns == START_NS > t_ns

    on_nics(story)


def test_what_gathered_during_a_pause_is_handled_by_time_at_the_instant_of_resumption(on_nics: Namespace) -> None:
    def story() -> None:
        for clock in ("stamp", "read"):
            start: Effects = [SetTimer("first", 100_000_000), SetTimer("second", 300_000_000)]
            bench = Bench(Script({"start": start, "first": [SetTimer("never", 10**12)]}), clock=clock)
            bench.put(frame(1))
            time.sleep(0.15)  # "first" becomes due between the frames
            bench.put(frame(2), frame(3))
            time.sleep(0.3)  # "second" becomes due after them
            bench.put(frame(4))
            time.sleep(0.01)
            bench.agent.resumed()
            resumed_ns = bench.agent.latest_ns
            bench.process.wait(0)
            bench.until(lambda: ("frame", 4) in bench.machine.seen)  # noqa: B023
            order = ["start", ("frame", 1), "first", ("frame", 2), ("frame", 3), "second", ("frame", 4)]
            assert bench.machine.seen == order
            assert all(now_ns >= resumed_ns for now_ns in bench.machine.times[1:])
            if clock == "stamp":
                assert set(bench.machine.times[1:]) == {bench.agent.latest_ns}
            assert [type(row.what) for row in bench.rows()][1:] == [
                Received, TimerFired, Received, Received, TimerFired, Received,
            ]  # fmt: skip

    on_nics(story)


def test_a_slow_node_takes_its_time_for_each_and_others_in_its_process_go_on(on_nics: Namespace) -> None:
    """Node 1 takes 50 ms for each of three frames and a timer; node 0, in the same process, has a timer meanwhile."""

    def story() -> None:
        for clock in ("stamp", "read"):
            fast = Script({"start": [Send(0, said(number)) for number in (1, 2, 3)] + [SetTimer("tick", 60_000_000)]})
            slow = Script({"start": [SetTimer("late", 10_000_000)]})
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)[1]
            agents = [
                agent_of(0, fast, channel=channel, clock=clock),
                agent_of(1, slow, channel=theirs, clock=clock, slow_ns=50_000_000, told=True),
            ]
            process = Process(agents)
            process.start(time.time_ns(), -1)
            woken_for_nothing = []
            while len(slow.seen) < 4 or len(fast.seen) < 2:
                process.wait(0.01)
                if agents[1].busy:
                    ready = {fd for fd, _ in process._epoll.poll(0)}
                    woken_for_nothing.append(ready & set(agents[1].nic_fds()))
            assert woken_for_nothing, "no frame ever waited"
            assert not any(woken_for_nothing), "frames that wait for a busy node wake its process"
            assert fast.seen == ["start", "tick"]
            assert all(later - now_ns >= 50_000_000 for now_ns, later in pairwise(slow.times))
            ours.send(b"slow 0 0")
            while len(slow.seen) < 5:
                process.wait(0.01)
            assert sorted(map(str, slow.seen)) == ["('frame', 1)", "('frame', 2)", "('frame', 3)", "late", "start"]

    on_nics(story)


def test_time_never_runs_backwards(on_nics: Namespace) -> None:
    def story() -> None:
        bench = Bench(Script({"start": [SetTimer("tick", 1_000_000)]}), clock="stamp")
        bench.machine.answers["tick"] = [SetTimer("tock", 2_000_000)]
        for seq in range(50):
            bench.put(frame(seq))
            bench.process.wait(0.001)
        times = [row.t_ns for row in bench.rows()]
        assert times == sorted(times)

    on_nics(story)


def test_random_bytes_and_foreign_frames_are_dropped_with_their_reason(on_nics: Namespace) -> None:
    def story() -> None:
        bench = Bench(Script())
        source = random.Random(7)
        for _ in range(300):
            length = source.choice([0, 1, 40, 46, 60, 200, 1486])
            bench.peer.send(RIGHT + LEFT + b"\x88\xb5" + source.randbytes(length))
        bench.put(frame(1, src=5), frame(2, dst=9))  # not from the peer's number, not for this node
        bench.peer.send(encode(frame(3), bytes.fromhex("020000000009"), LEFT))  # another address
        bench.peer.send(encode(frame(4), RIGHT, bytes.fromhex("020000000009")))  # an unknown sender
        damaged = bytearray(encode(frame(5), RIGHT, LEFT))
        damaged[30] ^= 4
        bench.peer.send(bytes(damaged))
        bench.put(frame(6))
        bench.until(lambda: bench.machine.seen != ["start"])
        assert bench.machine.seen == ["start", ("frame", 6)]
        drops = bench.of(Dropped)
        assert len(drops) == 305
        assert {drop.why for drop in drops} == {"corrupt", "short", "foreign"}
        assert [drop.key.seq for drop in drops if drop.key is not None] == [1, 2, 3, 4]

    on_nics(story)


def test_every_kind_of_damage_to_a_frame_is_survived(on_nics: Namespace) -> None:
    def story() -> None:
        bench = Bench(Script())
        source = random.Random(8)
        whole = encode(frame(1), RIGHT, LEFT)
        for _ in range(500):
            wire = bytearray(whole)
            for _ in range(source.randint(1, 6)):
                wire[source.randrange(14, 60)] = source.randrange(256)
            bench.peer.send(bytes(wire[: source.choice([60, 60, 60, source.randint(14, 60)])]))
        bench.put(frame(2))
        bench.until(lambda: ("frame", 2) in bench.machine.seen)

    on_nics(story)


def test_the_agent_outlives_its_carrier(on_nics: Namespace) -> None:
    def story() -> None:
        refused = said(9)
        bench = Bench(Script({"start": [SetTimer("talk", 200_000_000)], "talk": [Send(0, refused), Send(0, refused)]}))
        bench.put(frame(1))
        bench.until(lambda: ("frame", 1) in bench.machine.seen)
        ip("link set right down")
        bench.until(lambda: "talk" in bench.machine.seen)
        assert [refused.why for refused in bench.of(Refused)] == ["ENETDOWN"] * 2
        ip("link set right up")
        for nic in ("right", "left"):
            ip(f"link show dev {nic}")  # asking has the kernel act on the new carrier now
        bench.put(frame(2))
        bench.until(lambda: ("frame", 2) in bench.machine.seen)

    on_nics(story)


def test_a_ring_that_was_too_small_says_how_many_frames_it_lost(on_nics: Namespace) -> None:
    def story() -> None:
        bench = Bench(Script())
        bench.put(*(frame(seq) for seq in range(5000)))
        bench.until(lambda: len(bench.machine.seen) >= 4097)
        bench.put(frame(6000))
        bench.until(lambda: ("frame", 6000) in bench.machine.seen)
        assert [overrun.frames for overrun in bench.of(Overrun)] == [5000 - 4096]
        assert bench.of(Dropped) == []

    on_nics(story)


def test_a_fault_strikes_before_the_transition_it_waits_for_and_after_what_was_sent(on_nics: Namespace) -> None:
    def story() -> None:
        before, after = said(1), said(2)
        enters = Transition(SwapId(0, 0, 1), State.IDLE, State.TENTATIVE)
        bench = Bench(Script(), moments=(Moment(index=4, enters="TENTATIVE"),))
        bench.machine.answers[("frame", 7)] = [Send(0, before), enters, Send(0, after)]
        child = os.fork()
        if child == 0:
            bench.put(frame(7))
            bench.until(lambda: ("frame", 7) in bench.machine.seen)
            os._exit(0)
        word, index, _ = bench.channel.recv(100).split()
        assert (word, index) == (b"strike", b"4")
        assert bench.peer.recv(100) == on_wire(1, before, peer_epoch=1)
        bench.peer.setblocking(False)
        try:
            sent = bench.peer.recv(100)
        except BlockingIOError:
            sent = b""
        assert sent == b""  # it stands still until the fault has struck
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert [type(row.what) for row in bench.rows()][1:] == [Received, Sent, Transition]

    on_nics(story)


def test_receiving_takes_no_system_call_and_keeps_the_kernels_stamp(on_nics: Namespace) -> None:
    def story() -> None:
        nic: Nic[str] = Nic("right", 16)
        peer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        peer.bind(("left", 0x88B5))
        assert nic.mac == RIGHT
        assert nic.ring.head_ns() == -1
        for lap in range(10):  # several times around the ring
            before_ns = time.time_ns()
            for seq in range(10):
                peer.send(encode(frame(10 * lap + seq), RIGHT, LEFT))
            time.sleep(0.002)
            os.close(os.dup(nic.fileno()))
            for seq in range(10):
                assert before_ns <= nic.ring.head_ns() <= time.time_ns()
                assert nic.ring.take() == encode(frame(10 * lap + seq), RIGHT, LEFT)
            assert nic.ring.head_ns() == -1

    on_nics(story)
