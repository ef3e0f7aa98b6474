"""A member's end of swaps that cells carry: a wrapper around its machine, which speaks with the other ends as ever.

The node's ports lead to its neighbours, the cells; the machine inside has a port to each end that it swaps with. What
it says goes to the next cell on the way there, in an envelope that names both ends and the lives in which they speak
(testbed.nodes.frames.Carried): a hop's own frames tell of the lives of the hop's two nodes only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from testbed.nodes.core import Effect, Effects, Life, Machine, Note, Port, Send
from testbed.nodes.core.config import NodeConfig, Peer, Way
from testbed.nodes.core.disk import Written, pack, unpack
from testbed.nodes.frames import Carried, Message, carried, carry

_LIFE = "carried life "  # no machine's keys begin with this


def inner_config(config: NodeConfig) -> NodeConfig:
    """What the machine inside is told: its peers are the other ends, in order."""
    far = [way.high if way.low == config.node else way.low for way in config.ways]
    nearest = [config.peers[_port(config, way)] for way in config.ways]
    peers = tuple(Peer(node, f"node {node}", by.nic, by.mac) for node, by in zip(far, nearest, strict=True))
    return replace(config, peers=peers, ways=())


def _port(config: NodeConfig, way: Way) -> Port:
    return way.to_high if way.low == config.node else way.to_low


class CarriedEnd:
    """``machine``, whose swaps cells carry (testbed.nodes.core.Machine). machine: made from
    ``inner_config(config)``."""

    def __init__(self, config: NodeConfig, machine: Machine) -> None:
        self.config = config
        self.machine = machine
        self.ports = [_port(config, way) for way in config.ways]  # by the machine's port
        self.ends = [peer.node for peer in inner_config(config).peers]
        self.inner = {end: port for port, end in enumerate(self.ends)}
        self.lives = [Life(0, 0) for _ in self.ends]
        self.written = Written(config.keeps)

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        """The node comes up; it remembers the other ends' lives where its disk was kept."""
        known = {key: data for key, data in disk.items() if key.startswith(_LIFE)}
        self.written.read(known)
        for key, data in known.items():
            self.lives[int(key.removeprefix(_LIFE))] = Life(*unpack(data))
        return self._sent(self.machine.on_start(now_ns, {key: disk[key] for key in disk.keys() - known.keys()}))

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:  # noqa: ARG002
        """What a cell brings of another end."""
        known = carried(message)
        inner = None if known is None or known.dst != self.config.node else self.inner.get(known.src)
        if known is None or inner is None or self.ports[inner] != port:
            return [Note("stray", message.round, "carries nothing for this end", message)]
        if known.epoch < self.lives[inner].epoch:
            about = f"the sender is in epoch {self.lives[inner].epoch}"
            return [Note("stale", message.round, about, message)]
        self.lives[inner] = spoken = Life(known.epoch, known.answers)
        said = Message(known.kind, message.round, message.step, known.body, message.flags)
        effects = self._sent(self.machine.on_message(inner, said, spoken, now_ns), said, message)
        if not self.written.keeps:
            return effects
        return [*self.written.news({**self.written.held, f"{_LIFE}{inner}": pack(*spoken)}), *effects]

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """A timer of the machine."""
        return self._sent(self.machine.on_timer(name, now_ns))

    # -- inside ------------------------------------------------------------------------------------------------------

    def _sent(self, effects: Effects, said: Message | None = None, brought_by: Message | None = None) -> Effects:
        """With what is said in envelopes; a note about what was ``said`` is one about the message that brought it."""
        return [self._outside(effect, said, brought_by) for effect in effects]

    def _outside(self, effect: Effect, said: Message | None, brought_by: Message | None) -> Effect:
        if isinstance(effect, Send):
            inner, (kind, round_, step, body, flags) = effect
            envelope = Carried(
                kind, self.config.node, self.ends[inner], self.config.epoch, self.lives[inner].epoch, body
            )
            return Send(self.ports[inner], carry(envelope, round_, step, flags))
        if isinstance(effect, Note) and said is not None and effect.about is said:
            return effect._replace(about=brought_by)
        return effect
