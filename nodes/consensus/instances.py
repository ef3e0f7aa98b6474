"""What the message-passing engines share: instances one after another, frames in and out, lives of nodes.

Instance i begins at start_ns + i * period_ns and goes on until it is done, also beside the ones that follow.
Every member has a port to every other. A node that starts anew without its state stays out of the instances that
began before: it may have promised or said something in them that it no longer knows, and to act on that would be to
contradict itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from nodes.core import Decide, Effects, Note, Port, Send, SetTimer
from nodes.core.config import NodeConfig
from nodes.frames import Frame, Kind


class InstanceMachine(ABC):
    """The frame of a machine (nodes.core.Machine) that runs ``config.protocol.rounds`` instances.

    A frame's ``round`` is its instance, ``step`` its message type. Timers are named ``instance`` (the next one
    begins) and ``<verb> <instance>``.
    """

    def __init__(self, config: NodeConfig) -> None:
        self.config = config
        self.rank = config.members.index(config.node)
        self.ports: dict[int, Port] = {}
        for port, peer in enumerate(config.peers):
            if peer.node in config.members:
                self.ports.setdefault(peer.node, port)
        self.epoch = config.epoch
        self.frames_sent = 0
        self.peer_epochs: dict[int, int] = {}
        self.started = False
        self.first_instance = 0
        self.next_instance = 0
        self.early: dict[int, list[Frame]] = {}  # frames of instances that have not begun here
        self.decisions: list[Decide] = []  # of the latest event, to be told again after a restart with kept state

    # -- what an engine adds -----------------------------------------------------------------------------------------

    @abstractmethod
    def begin(self, instance: int, now_ns: int) -> Effects:
        """The instance begins at this node."""

    @abstractmethod
    def resume(self, now_ns: int) -> Effects:
        """The node came up again with its state kept: set the timers of all open instances anew."""

    @abstractmethod
    def receive(self, instance: int, frame: Frame, now_ns: int) -> Effects:
        """A frame of an instance that has begun (or that this life stays out of) came from another member."""

    @abstractmethod
    def expire(self, verb: str, instance: int, now_ns: int) -> Effects:
        """The timer ``<verb> <instance>`` is due."""

    # -- events ------------------------------------------------------------------------------------------------------

    def on_start(self, now_ns: int) -> Effects:
        """First life or fresh restart: join from the next instance on. Kept state: go on with everything."""
        decided, self.decisions = self.decisions, []
        if self.started:
            return [*decided, *self.resume(now_ns), *self._await_instance()]  # the crash may have swallowed decisions
        self.started = True
        if self.epoch > 1:
            # strictly later: the last life may have begun, and ended, an instance at this very instant
            begun = (now_ns - self.config.start_ns) // self.config.protocol.period_ns + 1
            self.first_instance = self.next_instance = max(0, begun)
        return self._begin_due(now_ns) or self._await_instance()

    def restarted(self, epoch: int) -> None:
        """The same state begins another life (nodes.core.Restartable)."""
        self.epoch, self.frames_sent = epoch, 0

    def on_frame(self, port: Port, frame: Frame, now_ns: int) -> Effects:
        """Frames that are not for this machine, or come from a life of the peer that is over, are noted and dropped."""
        self.decisions = []
        peer = self.config.peers[port].node
        if frame.kind is not Kind.DATA or (frame.src, frame.dst) != (peer, self.config.node):
            return [Note("stray", frame.round, "no message of this engine for this node", frame)]
        if peer not in self.ports or frame.round >= self.config.protocol.rounds:
            return [Note("stray", frame.round, "not from a member, or no such instance", frame)]
        if frame.epoch < self.peer_epochs.get(peer, 0):
            return [Note("stale", frame.round, f"the sender is in epoch {self.peer_epochs[peer]}", frame)]
        self.peer_epochs[peer] = frame.epoch
        effects = self._begin_due(now_ns)  # at one instant frames come before timers
        if frame.round >= self.next_instance:
            self.early.setdefault(frame.round, []).append(frame)
            return effects
        return effects + self.receive(frame.round, frame, now_ns)

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """``instance`` or ``<verb> <instance>``."""
        self.decisions = []
        if name == "instance":
            return self._begin_due(now_ns)
        verb, _, number = name.partition(" ")
        return self.expire(verb, int(number), now_ns)

    # -- help --------------------------------------------------------------------------------------------------------

    def send(self, peer: int, instance: int, step: int, value: bytes, flags: int = 0) -> Send:
        """A frame to another member."""
        self.frames_sent += 1
        frame = Frame(
            Kind.DATA,
            self.config.node,
            peer,
            self.epoch,
            self.peer_epochs.get(peer, 0),
            instance,
            step,
            self.frames_sent,
            value,
            flags,
        )
        return Send(self.ports[peer], frame)

    def stays_out(self, instance: int) -> bool:
        """Whether an earlier life may have acted in ``instance`` in a way that this one does not know of."""
        return instance < self.first_instance

    def decide(self, instance: int, value: int, needed: int) -> Decide:
        """The decision of ``instance``, to which ``needed`` (1, 2, ..) rounds of the algorithm led.

        Decide.round counts on from the instance's first round as the round engines do: instance * instance_rounds.
        """
        round_ = instance * self.config.protocol.instance_rounds + needed - 1
        decision = Decide(instance, value, round_)
        self.decisions.append(decision)
        return decision

    def _start_ns(self, instance: int) -> int:
        return self.config.start_ns + instance * self.config.protocol.period_ns

    def _begin_due(self, now_ns: int) -> Effects:
        """Begin the next instance if it is due. If more are, the timer fires again at once: one event begins one, so
        that a crash after some of its sends can't swallow what this node proposes in another."""
        instance = self.next_instance
        if instance >= self.config.protocol.rounds or now_ns < self._start_ns(instance):
            return []
        self.next_instance += 1
        effects = self.begin(instance, now_ns)
        for frame in self.early.pop(instance, ()):
            effects += self.receive(instance, frame, now_ns)
        return effects + self._await_instance()

    def _await_instance(self) -> Effects:
        if self.next_instance >= self.config.protocol.rounds:
            return []
        return [SetTimer("instance", self._start_ns(self.next_instance))]
