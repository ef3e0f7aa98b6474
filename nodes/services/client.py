"""A client: asks replicas for operations, again and elsewhere when no answer comes, and records what it saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from testbed.nodes.core import CancelTimer, Effects, Invoke, Life, Note, Port, Return, Send, SetTimer
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.frames import Message
from testbed.nodes.services.log import Operation, operation_number, pack_entry, parts_of, session_of
from testbed.nodes.services.messages import Step, read_answer, say, step_of
from testbed.nodes.services.spec import Load

_NEXT = "next"


@dataclass(frozen=True, slots=True)
class ClientParameters:
    """operations: how many are asked for in a life. think_ns: from an answer to the next call (closed loop). every_ns:
    from one call to the next, answered or not (open loop; 0: closed). timeout_ns: without an answer for so long the
    next replica is asked. place: which of the clients this is, one of ``of``. mix: the service's (ServiceSpec.mix)."""

    operations: int
    think_ns: int
    every_ns: int
    timeout_ns: int
    place: int = 0
    of: int = 1
    mix: dict[str, Any] = field(default_factory=dict)


class Client:
    """Asks for ``load`` (testbed.nodes.core.Machine), from start_ns on.

    An operation keeps its number however often it is asked for, and happens once at most. Clients begin with different
    replicas; one that lets an operation time out is left for the next. A client keeps nothing over a restart: a new
    life is a session of its own and begins anew; what the last one left open stays open.
    """

    def __init__(self, config: NodeConfig, load: Load, parameters: ClientParameters) -> None:
        self.config = config
        self.load = load
        self.parameters = parameters
        self.next_sequence = 0
        self.open: dict[int, bytes] = {}  # sequence -> the call, of operations without an answer
        self.replica: Port = config.node % len(config.peers)
        self.seen = 0  # entries that had been applied when the latest of the answers was given

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:  # noqa: ARG002 - nothing is kept
        """The first operation is asked for when the run's clock starts."""
        return [SetTimer(_NEXT, max(now_ns, self.config.start_ns))]

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:  # noqa: ARG002
        """An answer; one that comes again changes nothing."""
        answer = read_answer(message.body) if step_of(message) is Step.ANSWER else None
        if answer is None:
            return [Note("stray", message.round, "no answer to a client", message)]
        self.seen = max(self.seen, message.round)
        number, result = answer
        session, sequence = parts_of(number)
        done = self.open.pop(sequence, None) if session == self._session else None
        if done is None:
            return []
        self.load.returned(done, result)
        effects: Effects = [Return(number, result), CancelTimer(_timeout(sequence))]
        if self.parameters.every_ns == 0:
            effects.append(SetTimer(_NEXT, now_ns + self.parameters.think_ns))
        return effects

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """``next``: the next operation. ``timeout <sequence>``: ask again."""
        if name == _NEXT:
            return self._invoke(now_ns)
        self.replica = (self.replica + 1) % len(self.config.peers)
        return self._ask(int(name.split()[1]), now_ns)

    @property
    def _session(self) -> int:
        return session_of(self.config.node, self.config.epoch)

    def _invoke(self, now_ns: int) -> Effects:
        sequence = self.next_sequence
        if sequence >= self.parameters.operations:
            return []
        self.next_sequence += 1
        call = self.open[sequence] = self.load.call(sequence, now_ns)
        effects: Effects = [Invoke(self._number(sequence), call), *self._ask(sequence, now_ns)]
        if self.parameters.every_ns:
            effects.append(SetTimer(_NEXT, now_ns + self.parameters.every_ns))
        return effects

    def _ask(self, sequence: int, now_ns: int) -> Effects:
        request = pack_entry([Operation(self._number(sequence), min(self.open), self.open[sequence])])
        return [
            Send(self.replica, say(Step.REQUEST, request, self.seen)),
            SetTimer(_timeout(sequence), now_ns + self.parameters.timeout_ns),
        ]

    def _number(self, sequence: int) -> int:
        return operation_number(self.config.node, self.config.epoch, sequence)


def _timeout(sequence: int) -> str:
    return f"timeout {sequence}"
