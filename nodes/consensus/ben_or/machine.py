"""Ben-Or on one node: instances of the algorithm one after another, on links that may lose frames. See notes.md."""

from __future__ import annotations

from collections.abc import Collection

from testbed.nodes import frames
from testbed.nodes.consensus.ben_or.algorithm import BenOr, Pitfall
from testbed.nodes.consensus.ben_or.messages import ASK, Message, Phase, read
from testbed.nodes.consensus.instances import InstanceMachine
from testbed.nodes.core import CancelTimer, Effects, Note, Propose, SetTimer, values
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.disk import pack, unpack
from testbed.nodes.core.inputs import draw


class BenOrMachine(InstanceMachine):
    """Instances of Ben-Or one after another (testbed.nodes.core.Machine); t is ``config.protocol.f``.

    Values are bits: of a number that is proposed, the lowest. The algorithm assumes that every message between live
    nodes arrives; this is made true by asking: a node that has waited for retry_ns repeats its message with the flag
    ASK to those that it has not heard in this phase, and who has said something in that phase already says it again.
    """

    def __init__(self, config: NodeConfig, pitfalls: Collection[Pitfall] = ()) -> None:
        super().__init__(config)
        if not 0 <= 2 * config.protocol.f < config.n:
            raise ValueError(f"ben_or bears f < n/2 crashes, not f = {config.protocol.f} of n = {config.n}")
        self.pitfalls = frozenset(pitfalls)
        self.instances: dict[int, BenOr] = {}

    def begin(self, instance: int, value: bytes, now_ns: int) -> Effects:
        """Enter the own bit and report it."""
        state = self._enter(instance, values.to_int(value) & 1)
        return [Propose(instance, values.of_int(state.value)), *self._say(instance, state, state.start(), now_ns)]

    def _enter(self, instance: int, value: int) -> BenOr:
        coin_seed = draw(self.config.seed, self.config.node, instance)
        if Pitfall.COMMON_COIN in self.pitfalls:
            coin_seed = draw(self.config.protocol.seed, instance)
        state = BenOr(self.config.n, self.config.protocol.f, value, coin_seed, self.pitfalls)
        self.instances[instance] = state
        return state

    def resume(self, now_ns: int) -> Effects:
        """What was to be sent when the last life ended may be lost: ask at once."""
        effects: Effects = []
        for instance, state in self.instances.items():
            if not state.done:
                effects += self._ask(instance, state, now_ns)
        return effects

    def expire(self, verb: str, instance: int, now_ns: int) -> Effects:  # noqa: ARG002 - there is only one verb
        """``retry``: nothing has come on for retry_ns."""
        state = self.instances[instance]
        return [] if state.done else self._ask(instance, state, now_ns)

    def known(self, instance: int) -> bytes | None:
        """Where this node is, and all that it has said; what it heard in the phase can be asked for again."""
        state = self.instances.get(instance)
        if state is None:
            return None
        return pack(state.round, state.phase, state.value, state.decision, *state.said.values())

    def recall(self, instance: int, known: bytes) -> None:
        """The inverse of known."""
        round_, phase, value, decision, *said = unpack(known)
        state = self._enter(instance, value)
        state.round, state.decision = round_, decision
        state.phase = Phase(phase)
        for round_, of, value in said:
            state.said[round_, Phase(of)] = Message(round_, Phase(of), value)
        own = state.said.get(state.waiting_for)
        if own is not None and not state.done:
            state.heard[state.waiting_for] = {self.config.node: own.value}

    def receive(self, src: int, message: frames.Message, now_ns: int) -> Effects:
        """Another member said something."""
        instance, said = message.round, read(message)
        if said is None:
            return [Note("stray", instance, "no message of Ben-Or", message)]
        if self.stays_out(instance):
            return [Note("absent", instance, "this life began after the instance", message)]
        state = self.instances[instance]
        effects: Effects = []
        answer = state.said.get((said.round, said.phase))
        if message.flags & ASK and answer is not None:
            effects.append(self.send(src, instance, answer.phase, answer.body()))
        return effects + self._take(instance, state, src, said, now_ns)

    def _take(self, instance: int, state: BenOr, src: int, message: Message, now_ns: int) -> Effects:
        decided_before = state.done
        to_send = state.receive(src, message)
        effects: Effects = []
        if state.decision is not None and not decided_before:
            effects.append(self.decide(instance, values.of_int(state.decision), state.round))
            effects.append(CancelTimer(f"retry {instance}"))
        return effects + (self._say(instance, state, to_send, now_ns) if to_send else [])

    def _say(self, instance: int, state: BenOr, messages: list[Message], now_ns: int) -> Effects:
        """To all others, then to itself."""
        effects: Effects = []
        for message in messages:
            for node in self.ports:
                effects.append(self.send(node, instance, message.phase, message.body()))
        if not state.done:
            effects.append(SetTimer(f"retry {instance}", now_ns + self.config.protocol.retry_ns))
        for message in messages:
            effects += self._take(instance, state, self.config.node, message, now_ns)
        return effects

    def _ask(self, instance: int, state: BenOr, now_ns: int) -> Effects:
        message = state.said[state.waiting_for]
        effects: Effects = [
            self.send(node, instance, message.phase, message.body(), ASK)
            for node in self.ports
            if not state.has_heard(node)
        ]
        return [*effects, SetTimer(f"retry {instance}", now_ns + self.config.protocol.retry_ns)]
