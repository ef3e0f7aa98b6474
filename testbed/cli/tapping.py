"""What `testbed capture` runs inside the namespaces of a running fabric: taps, lines of text, pcapng."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from socket import if_nametoindex
from typing import Any, BinaryIO

import numpy as np

from testbed.cli.output import USER_ERROR
from testbed.engines.live.capture import RETIRE_MS, Tap, enter, tapped_nics
from testbed.engines.live.sightings import Sightings, at_all_nics, identify, join, sightings_in
from testbed.nodes.core.text import message_text
from testbed.nodes.frames import Message, carried
from testbed.pcapng import About, Packets, Wires, packet_blocks, write_head
from testbed.plan import Nic, interface_name
from testbed.topologies.fabric import Fabric, fabric_from_json

_RING_BYTES = 16 << 20
_NOWHERE = -1
_MOST_SHOWN = 32  # bytes of a body, in hexadecimal digits


@dataclass(slots=True)
class _Tapped:
    """A namespace with a tap, the numbers of its interfaces, and what has come since it was last asked."""

    places: dict[int, Nic]
    tap: Tap
    blocks: list[bytes] = field(default_factory=list)

    @staticmethod
    def open(netns: str, nics: Sequence[Nic], ring_bytes: int) -> _Tapped:
        """Joins the namespace."""
        enter(netns)
        blocks: list[bytes] = []
        tap = Tap.open(lambda block: blocks.append(bytes(block)), ring_bytes, ours_only=False)
        return _Tapped({if_nametoindex(nic[1]): nic for nic in nics}, tap, blocks)

    def seen(self, number: dict[Nic, int]) -> Sightings:
        """What has come at its interfaces, their places being those of ``number``."""
        self.tap.drain()
        seen = sightings_in(b"".join(self.blocks))
        self.blocks.clear()
        places = np.full(max([*self.places, *seen.place.tolist()]) + 1, _NOWHERE)
        for ifindex, nic in self.places.items():
            places[ifindex] = number[nic]
        seen = seen._replace(place=places[seen.place])
        return seen.take(np.flatnonzero(seen.place != _NOWHERE))


class _Watch:
    """Taps wherever there is something to be seen of ``nics``."""

    def __init__(self, fabric: Fabric, hosts: dict[str, str], nics: Sequence[Nic]) -> None:
        self._fabric = fabric
        self._place = {nic: place for place, nic in enumerate(nics)}
        self._tapped: list[_Tapped] = []
        own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)  # the fabric's, where switches are
        by_netns: dict[str, list[Nic]] = {}
        for nic in _to_tap(fabric, nics):
            by_netns.setdefault(hosts.get(nic[0], f"/proc/self/fd/{own}"), []).append(nic)
        self._number = {nic: place for place, nic in enumerate(nic for group in by_netns.values() for nic in group)}
        for netns, group in by_netns.items():
            self._tapped.append(_Tapped.open(netns, group, _RING_BYTES // len(by_netns)))
        os.close(own)

    def register(self, poll: select.epoll) -> None:
        """Wakes when there may be something."""
        for tapped in self._tapped:
            poll.register(tapped.tap.socket.fileno(), select.EPOLLIN)

    def seen(self) -> Sightings:
        """What has come since, by time, at the places of the NICs that are watched."""
        seen = join([tapped.seen(self._number) for tapped in self._tapped])
        seen = seen.take(np.argsort(seen.at_ns, kind="stable"))
        places, seen = at_all_nics(self._fabric, list(self._number), seen)
        wanted = np.array([self._place.get(nic, _NOWHERE) for nic in places], dtype=np.int64)
        seen = seen._replace(place=wanted[seen.place])
        return seen.take(np.flatnonzero(seen.place != _NOWHERE))

    def lost(self) -> int:
        """Frames for which the rings had no room."""
        return sum(tapped.tap.dropped() for tapped in self._tapped)


def _to_tap(fabric: Fabric, nics: Sequence[Nic]) -> list[Nic]:
    """Where to look: at a host's NIC there is seen what its switch's port sees."""
    tapped, wanted = tapped_nics(fabric), set(nics)
    found = []
    for link in fabric.links:
        ends = [(end.node, end.nic) for end in (link.a, link.b)]
        for end, other in (ends, ends[::-1]):
            if end in tapped and (end in wanted or (other in wanted and other not in tapped)):
                found.append(end)
    return found


# -- what is told of frames ------------------------------------------------------------------------------------------


def frame_text(wire: bytes, hosts: Sequence[str]) -> str:
    """A frame in one line: one of ours by our decoder, also when it is damaged, any other as Scapy names it."""
    known = identify(wire)
    if known is None:
        return _other_frame(wire)
    (key, dst, peer_epoch, message), corrupt = known
    source, target = _name(key.src, hosts), _name(dst, hosts)
    lives = f"life {key.epoch} to {peer_epoch or '?'}, frame {key.seq}"
    said = message_text(message, lambda told: _shown(told, hosts))
    return f"{source} > {target}: {said} ({lives})" + (" [wrong CRC]" if corrupt else "")


def _shown(message: Message, hosts: Sequence[str]) -> str:
    inside = carried(message)
    if inside is not None:
        ends = f"{_name(inside.src, hosts)} > {_name(inside.dst, hosts)}"
        return f"{inside.kind.name} {ends} {_digits(inside.body)} (life {inside.epoch} to {inside.answers or '?'})"
    return _digits(message.body)


def _name(node: int, hosts: Sequence[str]) -> str:
    return hosts[node] if node < len(hosts) else f"node {node}"


def _digits(body: bytes) -> str:
    digits = body.rstrip(b"\0").hex()
    return digits if len(digits) <= _MOST_SHOWN else f"{digits[:_MOST_SHOWN]}... {len(body)} bytes"


def _other_frame(wire: bytes) -> str:
    from scapy.layers import inet, inet6, l2  # noqa: F401 - takes a while, and only who pings needs it

    return str(l2.Ether(wire).summary())


@cache
def _clock(second: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(second))


def _print_lines(names: Sequence[str], hosts: Sequence[str], seen: Sightings) -> None:
    texts = {wire: frame_text(seen.wires[wire], hosts) for wire in set(seen.wire.tolist())}
    rows = zip(seen.at_ns.tolist(), seen.place.tolist(), seen.outgoing.tolist(), seen.wire.tolist(), strict=True)
    for at_ns, place, outgoing, wire in rows:
        second, ns = divmod(at_ns, 1_000_000_000)
        print(f"{_clock(second)}.{ns:09d} {names[place]} {'out' if outgoing else 'in'} {texts[wire]}")
    sys.stdout.flush()


# -- the capture -----------------------------------------------------------------------------------------------------


def main(descriptor: int) -> int:
    """Reads what to do (testbed.cli.capture) from ``descriptor`` and captures until it is to end."""
    with os.fdopen(descriptor, encoding="utf-8") as file:
        job = json.load(file)
    fabric, nics = fabric_from_json(job["fabric"]), [(node, nic) for node, nic in job["nics"]]
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # the descriptor tells
    try:
        watch = _Watch(fabric, job["hosts"], nics)
    except OSError as error:
        print(f"testbed: error: no capture can be made here: {error}", file=sys.stderr)
        return USER_ERROR
    names = [interface_name(*nic) for nic in nics]
    where = names[0] if len(names) == 1 else f"{len(names)} interfaces"
    print(f"testbed: capturing at {where}; Ctrl-C ends it", file=sys.stderr, flush=True)
    frames = 0
    with open(job["out"], "wb", closefd=False) if job["out"] >= 0 else open(os.devnull, "wb") as out:
        try:
            frames = _capture(watch, job, names, About.of(fabric), out, read)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
    with open(job["report"], "w", encoding="utf-8") as report:
        report.write(json.dumps({"frames": frames, "lost": watch.lost(), "interfaces": names}))
    return 0


def _capture(watch: _Watch, job: dict[str, Any], names: Sequence[str], about: About, out: BinaryIO, stop: int) -> int:
    """How many frames there were."""
    write_head(out, names, about=about)
    out.flush()
    poll = select.epoll()
    poll.register(stop, select.EPOLLIN)
    watch.register(poll)
    left = job["count"]
    frames, over = 0, False
    deadline = time.monotonic() + job["seconds"] if job["seconds"] else None
    while not over and left != 0:
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = poll.poll(timeout)
        over = any(fd == stop for fd, _ in ready) or (deadline is not None and time.monotonic() >= deadline)
        if over:
            time.sleep(3 * RETIRE_MS / 1000)  # the kernel hands a half-full block over after RETIRE_MS
        seen = watch.seen()
        seen = seen.take(np.arange(len(seen.at_ns))[:left])
        if not len(seen.at_ns):
            continue
        left = None if left is None else left - len(seen.at_ns)
        wires = Wires.of(seen.wires)
        packets = Packets(seen.place.astype(np.int32), seen.at_ns, seen.outgoing, seen.wire, wires)
        out.write(packet_blocks(packets.noted("" if frames else about.numbered(), ())))
        out.flush()
        frames += len(seen.at_ns)
        if job["lines"]:
            _print_lines(names, about.nodes, seen)
    return frames


if __name__ == "__main__":
    code = USER_ERROR
    with suppress(KeyboardInterrupt):
        code = main(int(sys.argv[1]))
    sys.exit(code)
