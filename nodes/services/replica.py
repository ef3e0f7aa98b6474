"""What replicas have in common, however their log comes about: requests, entries applied once, answers, the state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from enum import StrEnum
from typing import NamedTuple

from testbed.nodes.consensus.spec import LOG
from testbed.nodes.core import Apply, Effects, Note, Port, Send
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.disk import pack, unpack
from testbed.nodes.frames import Message
from testbed.nodes.services.log import Operation, Sessions, read_entry
from testbed.nodes.services.messages import Step, pack_answer, read_answer, say, step_of
from testbed.nodes.services.spec import LogParameters, ServiceSpec


class Pitfall(StrEnum):
    """Known bugs of replicas that can be planted."""

    READ_BEHIND_CLIENT = "read_behind_client"  # whoever is asked to read locally reads, however far it is behind
    ANSWERS_TOO_SOON = "answers_too_soon"  # whoever is asked says what will come of it, before it stands in the log
    HAPPENS_AGAIN = "happens_again"  # what stands in two entries happens twice


class Read(NamedTuple):
    """A command that only reads, and waits until ``below`` entries have been applied here."""

    port: Port
    number: int
    command: bytes
    below: int


class Applied(NamedTuple):
    """An entry, and what clients that wait here are told of its operations."""

    apply: Apply
    answers: list[Send]


class Replica(ABC):
    """A member's copy of ``service``, to which the entries of a log are applied in their order
    (testbed.nodes.core.Machine, with what its subclasses add: by_instances.py, by_log.py).

    Whoever a client asks answers it when it has applied the operation. One that stands in several entries happens in
    the first (Sessions).

    What only reads need not become an entry (LogParameters.reads). A local read waits until as many entries have been
    applied here as by the latest answer that the client has had, from whichever replica: so each client sees a state
    that never goes back and in which its own operations have happened, and all is sequentially consistent.
    """

    def __init__(
        self, config: NodeConfig, service: ServiceSpec, parameters: LogParameters, pitfalls: Collection[str] = ()
    ) -> None:
        self.config = config
        self.service = service
        self.state = service.build(pitfalls)
        self.parameters = parameters
        self.pitfalls = frozenset(pitfalls)
        self.sessions = Sessions(again=Pitfall.HAPPENS_AGAIN in self.pitfalls)
        self.applied = 0  # how many entries
        self.base = 0  # the first that the latest snapshot does not stand for
        self.pending: dict[int, Operation] = {}  # asked for and not applied, by number, in the order in which they came
        self.asking: dict[int, Port] = {}  # operation -> the client that waits for the answer
        self.reads: dict[int, Read] = {}  # those that wait for entries, by operation
        self.members = [port for port, peer in enumerate(config.peers) if peer.node in config.members]

    @abstractmethod
    def order(self, operation: Operation, now_ns: int) -> Effects:
        """A client asks for it here for the first time: see to it that it comes into the log."""

    def request(self, port: Port, message: Message, now_ns: int) -> Effects:
        """A client asks."""
        operations = read_entry(message.body)
        if not operations:
            return [Note("stray", message.round, "no request", message)]
        effects: Effects = []
        for operation in operations:
            result = self.sessions.result(operation.number)
            if self.parameters.reads != LOG and self.service.only_reads(operation.command):
                effects += self.read(Read(port, operation.number, operation.command, message.round), now_ns)
            elif result is not None:
                effects.append(self.answer(port, operation.number, result))
            elif not self.sessions.happened(operation.number):
                self.asking[operation.number] = port
                if Pitfall.ANSWERS_TOO_SOON in self.pitfalls:
                    effects.append(self.answer(port, operation.number, self._foreseen(operation.command)))
                effects += self.order(operation, now_ns)
        return effects

    def _foreseen(self, command: bytes) -> bytes:
        """What comes of it, if it is the next."""
        before = self.state.snapshot()
        result = self.state.apply(command)
        self.state.restore(before)
        return result

    def read(self, read: Read, now_ns: int) -> Effects:  # noqa: ARG002 - engines are asked in a subclass
        """A client wants to read what is here, if that is no older than what it knows."""
        if Pitfall.READ_BEHIND_CLIENT in self.pitfalls:
            read = read._replace(below=0)
        self.reads[read.number] = read
        return self.answered_reads()

    def answered_reads(self) -> Effects:
        """Those that have waited for long enough."""
        ready = [read for read in self.reads.values() if read.below <= self.applied]
        for read in ready:
            del self.reads[read.number]
        return [self.answer(read.port, read.number, self.state.apply(read.command)) for read in ready]

    def answer(self, port: Port, number: int, result: bytes) -> Send:
        """To a client."""
        return Send(port, say(Step.ANSWER, pack_answer(number, result), self.applied))

    def apply(self, value: bytes) -> Applied:
        """The next entry."""
        answers = []
        self.applied += 1
        for operation in read_entry(value) or ():
            self.sessions.apply(operation, self.state)
            self.pending.pop(operation.number, None)
            port = self.asking.pop(operation.number, None)
            result = self.sessions.result(operation.number)
            if port is not None and result is not None:
                answers.append(self.answer(port, operation.number, result))
        return Applied(Apply(self.applied - 1, value), answers)

    def snapshot(self) -> bytes:
        """What the entries applied have come to."""
        return pack(self.applied, self.state.snapshot().hex(), self.sessions.snapshot().hex())

    def take_on(self, snapshot: bytes) -> None:
        """That of another replica, or of an earlier life."""
        applied, state, sessions = unpack(snapshot)
        self.state.restore(bytes.fromhex(state))
        self.sessions.restore(bytes.fromhex(sessions))
        self.applied = self.base = applied
        self.pending = {
            number: operation for number, operation in self.pending.items() if not self.sessions.happened(number)
        }


def says(message: Message) -> str:
    """A message of a service in words."""
    step = step_of(message)
    if step is None:
        return "not of a service"
    if step in (Step.REQUEST, Step.TOLD):
        return f"{step.name.lower()} of {len(read_entry(message.body) or ())} operations"
    if step is Step.ANSWER:
        answered = read_answer(message.body)
        return "answer" if answered is None else f"answer to operation {answered[0]}"
    return f"{step.name.lower()} {message.round}"
