"""A few nodes whose logs a test holds, on a network of equal delays."""

from __future__ import annotations

from typing import Any

from builders import engine
from network import Build, Network

from testbed.explore.model import all_pairs
from testbed.nodes.core import Decide, Life, Readable
from testbed.nodes.core.config import START_NS, ProtocolConfig
from testbed.nodes.core.moments import Moment
from testbed.nodes.frames import Message

RETRY_NS = 1_000
DELAY_NS = 100


class LogCluster:
    """Nodes n0, n1 .. told: node -> what it was told, and when. doomed: node -> the moments at which its life ends."""

    def __init__(self, consensus: str, n: int, build: Build, **doomed: list[Moment]) -> None:
        self.net = Network(all_pairs(n, ProtocolConfig(consensus=consensus, retry_ns=RETRY_NS)), build=build)
        self.net.doomed |= doomed
        self.net.record = self._record  # type: ignore[method-assign]
        self.told: dict[str, list[tuple[int, Decide]]] = {name: [] for name in self.net.nodes}
        self.readable: list[tuple[int, Readable]] = []
        for name in self.net.nodes:
            self.net.start(name)
        self.play(5 * RETRY_NS)  # somebody leads, and beats

    def _record(self, node: object, effect: object) -> None:
        if isinstance(effect, Decide):
            self.told[node.config.name].append((self.net.now_ns, effect))  # type: ignore[attr-defined]
        elif isinstance(effect, Readable):
            self.readable.append((self.net.now_ns, effect))

    def machine(self, name: str) -> Any:
        """The engine itself."""
        return engine(self.net.nodes[name].machine)

    def play(self, for_ns: int) -> None:
        self.net.play(max(self.net.now_ns, START_NS) + for_ns, DELAY_NS)

    def submit(self, name: str, value: bytes) -> None:
        self.net.nodes[name]._do(self.machine(name).submit(value, self.net.now_ns))

    def read(self, name: str, number: int, mode: str) -> None:
        self.net.nodes[name]._do(self.machine(name).read(number, mode, self.net.now_ns))

    def hear(self, name: str, src: int, message: Message) -> None:
        """``name`` hears this from ``src``, however late."""
        machine = self.machine(name)
        self.net.nodes[name]._do(machine.on_message(machine.ports[src], message, Life(1, 1), self.net.now_ns))

    def cut(self, *alone: str) -> None:
        """These hear nobody and nobody hears them."""
        names = list(self.net.nodes)
        self.net.cuts = {(src, dst) for src in names for dst in names if (src in alone) != (dst in alone)}
        self.net.wire = [way for way in self.net.wire if (self.net.names[way.frame.key.src] in alone) == (
            self.net.names[way.frame.dst] in alone)]  # fmt: skip

    def sent(self) -> dict[str, int]:
        """How many frames each node has sent."""
        return {name: node._driver._sent for name, node in self.net.nodes.items()}

    def values(self, name: str) -> list[bytes]:
        return [decide.value for _, decide in self.told[name]]

    def firsts(self) -> set[bytes]:
        """What was told as entry 0, anywhere."""
        return {decide.value for told in self.told.values() for _, decide in told if decide.instance == 0}
