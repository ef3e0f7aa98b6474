"""What the message-passing engines share: instances side by side, messages in and out, lives of nodes.

An instance begins at a node when a value is proposed to it there, and goes on until it is done, also beside others.
Every member has a port to every other. A node that starts anew without its state stays out of the instances before
the first one in which it is proposed to: it may have promised or said something in them that it no longer knows, and
to act on that would be to contradict itself. One that has its disk goes on with all of them: what an event changes is
persisted before anything that comes of it is said. Messages of instances that have not begun here wait; they are not
persisted, and are lost with a life as if lost on their way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from testbed.nodes.core import Decide, Effects, Life, Note, Port, Propose, Send
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.disk import Written, pack, unpack
from testbed.nodes.frames import Kind, Message

_JOINED, _TOLD, _INSTANCE = "joined", "told", "instance"  # what the keys on the disk begin with
_TELLING: dict[str, type[Propose | Decide]] = {kind.__name__: kind for kind in (Propose, Decide)}


class InstanceMachine(ABC):
    """The frame of an engine (testbed.nodes.core.Consensus) that runs up to ``config.protocol.instances`` instances.

    A message's ``round`` is its instance, ``step`` its type. Timers are named ``<verb> <instance>``.
    """

    def __init__(self, config: NodeConfig) -> None:
        self.config = config
        self.rank = config.members.index(config.node)
        self.ports = config.member_ports()
        self.first_instance = 0
        self.begun: set[int] = set()
        self.early: dict[int, list[tuple[int, Message]]] = {}  # instances that have not begun here -> (sender, message)
        # Proposed and decided at the latest instant, to be told again after a restart with kept state: the crash may
        # have come when the state was kept and they were not on record yet.
        self.told: list[Propose | Decide] = []
        self.told_ns = -(1 << 62)
        self.written = Written(config.keeps)

    # -- what an engine adds -----------------------------------------------------------------------------------------

    @abstractmethod
    def begin(self, instance: int, value: bytes, now_ns: int) -> Effects:
        """The instance begins at this node, which proposes ``value`` in it."""

    @abstractmethod
    def resume(self, now_ns: int) -> Effects:
        """The node came up again with its state kept: set the timers of all open instances anew."""

    @abstractmethod
    def receive(self, src: int, message: Message, now_ns: int) -> Effects:
        """Member ``src`` said something about instance ``message.round``, which has begun here (or which this life
        stays out of)."""

    @abstractmethod
    def expire(self, verb: str, instance: int, now_ns: int) -> Effects:
        """The timer ``<verb> <instance>`` is due."""

    @abstractmethod
    def known(self, instance: int) -> bytes | None:
        """What a later life must know of ``instance``; None: nothing, for it has not begun here."""

    @abstractmethod
    def recall(self, instance: int, known: bytes) -> None:
        """An earlier life knew this of ``instance``."""

    # -- events ------------------------------------------------------------------------------------------------------

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        """First life: all is to come. Kept state: go on with everything. A fresh restart waits to be proposed to."""
        if disk:
            self._recall(disk)
            self.told_ns = now_ns
            return [*self.told, *self.resume(now_ns)]
        if self.config.epoch > 1:
            self.first_instance = self.config.protocol.instances
        return self.keep([])

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:  # noqa: ARG002
        """What is not for this machine is noted and dropped."""
        src, instance = self.config.peers[port].node, message.round
        if message.kind is not Kind.DATA:
            return [Note("stray", instance, "no message of this engine", message)]
        if src not in self.ports or instance >= self.config.protocol.instances:
            return [Note("stray", instance, "not from a member, or no such instance", message)]
        self._at(now_ns)
        if instance not in self.begun and not self.stays_out(instance):
            self.early.setdefault(instance, []).append((src, message))
            return []
        return self.keep(self.receive(src, message, now_ns), instance)

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """``<verb> <instance>``."""
        self._at(now_ns)
        verb, _, number = name.partition(" ")
        return self.keep(self.expire(verb, int(number), now_ns), int(number))

    def awaits(self, now_ns: int) -> int | None:  # noqa: ARG002 - whatever the time is
        """The lowest instance in which others have spoken, and this node has not."""
        return min(self.early, default=None)

    def propose(self, instance: int, value: bytes, now_ns: int) -> Effects:
        """The instance begins here, with what others have said in it by now."""
        fresh = self.first_instance == self.config.protocol.instances and self.config.epoch > 1
        if instance in self.begun or (self.stays_out(instance) and not fresh):
            return [Note("late", instance, "proposed in already, or stayed out of")]
        if not 0 <= instance < self.config.protocol.instances:
            return [Note("late", instance, "there is no such instance")]
        if fresh:
            self.first_instance = instance
        self._at(now_ns)
        self.begun.add(instance)
        effects = self.begin(instance, value, now_ns)
        self.told += [effect for effect in effects if isinstance(effect, Propose)]
        for src, message in self.early.pop(instance, ()):
            effects += self.receive(src, message, now_ns)
        return self.keep(effects, instance)

    # -- what a later life must know -------------------------------------------------------------------------------

    def keep(self, effects: Effects, *instances: int) -> Effects:
        """The effects of an event that concerned ``instances``, behind all that must be on the disk before them."""
        if not self.written.keeps:
            return effects
        told = [(type(one).__name__, one.instance, one.value.hex(), *one[2:]) for one in self.told]
        wanted: dict[str, bytes | None] = {_JOINED: pack(self.first_instance)}
        wanted |= {f"{_INSTANCE} {instance}": self.known(instance) for instance in instances}
        wanted[_TOLD] = pack(*told)
        return [*self.written.news(wanted), *effects]

    def _recall(self, disk: Mapping[str, bytes]) -> None:
        self.written.read(disk)
        (self.first_instance,) = unpack(disk[_JOINED])
        for key, data in disk.items():
            kind, _, number = key.partition(" ")
            if kind == _INSTANCE:
                self.recall(int(number), data)
                if not self.stays_out(int(number)):
                    self.begun.add(int(number))
        for what, instance, value, *rest in unpack(disk[_TOLD]):
            self.told.append(_TELLING[what](instance, bytes.fromhex(value), *rest))

    # -- help --------------------------------------------------------------------------------------------------------

    def send(self, peer: int, instance: int, step: int, body: bytes, flags: int = 0) -> Send:
        """A message to another member."""
        return Send(self.ports[peer], Message(Kind.DATA, instance, step, body, flags))

    def stays_out(self, instance: int) -> bool:
        """Whether an earlier life may have acted in ``instance`` in a way that this one does not know of."""
        return instance < self.first_instance

    def decide(self, instance: int, value: bytes, needed: int) -> Decide:
        """The decision of ``instance``, to which ``needed`` (1, 2, ..) rounds of the algorithm led.

        Decide.round counts on from the instance's first round as the round engines do: instance * instance_rounds.
        """
        round_ = instance * self.config.protocol.instance_rounds + needed - 1
        decision = Decide(instance, value, round_)
        self.told.append(decision)
        return decision

    def _at(self, now_ns: int) -> None:
        """An event at ``now_ns``: what an earlier instant told is on record by now."""
        if now_ns != self.told_ns:
            self.told, self.told_ns = [], now_ns
