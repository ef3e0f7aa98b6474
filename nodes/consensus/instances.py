"""What the message-passing engines share: instances one after another, messages in and out, lives of nodes.

Instance i begins at start_ns + i * period_ns and goes on until it is done, also beside the ones that follow.
Every member has a port to every other. A node that starts anew without its state stays out of the instances that
began before: it may have promised or said something in them that it no longer knows, and to act on that would be to
contradict itself. One that has its disk goes on with all of them: what an event changes is persisted before anything
that comes of it is said. Messages that came early are not, and are lost with a life as if lost on their way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from nodes.core import Decide, Effects, Life, Note, Port, Propose, Send, SetTimer
from nodes.core.config import NodeConfig
from nodes.core.disk import Written, pack, unpack
from nodes.frames import Kind, Message

_JOINED, _TOLD, _INSTANCE = "joined", "told", "instance"  # what the keys on the disk begin with
_TELLING: dict[str, type[Propose | Decide]] = {kind.__name__: kind for kind in (Propose, Decide)}


class InstanceMachine(ABC):
    """The frame of a machine (nodes.core.Machine) that runs ``config.protocol.instances`` instances.

    A message's ``round`` is its instance, ``step`` its type. Timers are named ``instance`` (the next one
    begins) and ``<verb> <instance>``.
    """

    def __init__(self, config: NodeConfig) -> None:
        self.config = config
        self.rank = config.members.index(config.node)
        self.ports: dict[int, Port] = {}
        for port, peer in enumerate(config.peers):
            if peer.node in config.members:
                self.ports.setdefault(peer.node, port)
        self.first_instance = 0
        self.next_instance = 0
        self.early: dict[int, list[tuple[int, Message]]] = {}  # instances that have not begun here -> (sender, message)
        # Proposed and decided in the latest event, to be told again after a restart with kept state: the crash may have
        # come when the state was kept and they were not on record yet.
        self.told: list[Propose | Decide] = []
        self.written = Written(config.keeps)

    # -- what an engine adds -----------------------------------------------------------------------------------------

    @abstractmethod
    def begin(self, instance: int, now_ns: int) -> Effects:
        """The instance begins at this node."""

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
        """First life or fresh restart: join from the next instance on. Kept state: go on with everything."""
        if disk:
            self._recall(disk)
            return [*self.told, *self.resume(now_ns), *self._await_instance()]
        if self.config.epoch > 1:
            # strictly later: the last life may have begun, and ended, an instance at this very instant
            begun = (now_ns - self.config.start_ns) // self.config.protocol.period_ns + 1
            self.first_instance = self.next_instance = max(0, begun)
        first = self.next_instance
        return self.keep(self._begin_due(now_ns) or self._await_instance(), first)

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:  # noqa: ARG002
        """What is not for this machine is noted and dropped."""
        src, instance = self.config.peers[port].node, message.round
        if message.kind is not Kind.DATA:
            return [Note("stray", instance, "no message of this engine", message)]
        if src not in self.ports or instance >= self.config.protocol.instances:
            return [Note("stray", instance, "not from a member, or no such instance", message)]
        self.told = []
        due = self.next_instance
        effects = self._begin_due(now_ns)  # at one instant frames come before timers
        if instance >= self.next_instance:
            self.early.setdefault(instance, []).append((src, message))
            return self.keep(effects, due)
        return self.keep(effects + self.receive(src, message, now_ns), due, instance)

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """``instance`` or ``<verb> <instance>``."""
        self.told = []
        if name == "instance":
            due = self.next_instance
            return self.keep(self._begin_due(now_ns), due)
        verb, _, number = name.partition(" ")
        return self.keep(self.expire(verb, int(number), now_ns), int(number))

    # -- what a later life must know -------------------------------------------------------------------------------

    def keep(self, effects: Effects, *instances: int) -> Effects:
        """The effects of an event that concerned ``instances``, behind all that must be on the disk before them."""
        if not self.written.keeps:
            return effects
        told = [(type(one).__name__, one.instance, one.value.hex(), *one[2:]) for one in self.told]
        wanted: dict[str, bytes | None] = {_JOINED: pack(self.first_instance, self.next_instance)}
        wanted |= {f"{_INSTANCE} {instance}": self.known(instance) for instance in instances}
        wanted[_TOLD] = pack(*told)
        return [*self.written.news(wanted), *effects]

    def _recall(self, disk: Mapping[str, bytes]) -> None:
        self.written.read(disk)
        self.first_instance, self.next_instance = unpack(disk[_JOINED])
        for key, data in disk.items():
            kind, _, number = key.partition(" ")
            if kind == _INSTANCE:
                self.recall(int(number), data)
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

    def _start_ns(self, instance: int) -> int:
        return self.config.start_ns + instance * self.config.protocol.period_ns

    def _begin_due(self, now_ns: int) -> Effects:
        """Begin the next instance if it is due. If more are, the timer fires again at once: one event begins one, so
        that a crash after some of its sends can't swallow what this node proposes in another."""
        instance = self.next_instance
        if instance >= self.config.protocol.instances or now_ns < self._start_ns(instance):
            return []
        self.next_instance += 1
        effects = self.begin(instance, now_ns)
        self.told += [effect for effect in effects if isinstance(effect, Propose)]
        for src, message in self.early.pop(instance, ()):
            effects += self.receive(src, message, now_ns)
        return effects + self._await_instance()

    def _await_instance(self) -> Effects:
        if self.next_instance >= self.config.protocol.instances:
            return []
        return [SetTimer("instance", self._start_ns(self.next_instance))]
