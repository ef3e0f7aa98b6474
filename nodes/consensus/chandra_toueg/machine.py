"""Chandra and Toueg's consensus on one node: rounds with a rotating coordinator (JACM 1996, fig. 6). See notes.md."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from testbed.nodes import frames
from testbed.nodes.consensus.chandra_toueg.detector import BEAT, SUSPECT, Detector
from testbed.nodes.consensus.chandra_toueg.messages import ANSWER, Message, Step, read
from testbed.nodes.consensus.chandra_toueg.pitfalls import Pitfall
from testbed.nodes.consensus.instances import InstanceMachine
from testbed.nodes.core import CancelTimer, Effects, Life, Note, Port, Propose, Send, SetTimer
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.disk import pack, unpack

PATIENCE = 4  # heartbeats that may stay out before a node is suspected for the first time

_ASKING = (Step.ESTIMATE, Step.PROPOSAL, Step.NACK, Step.ROUND)
"""Who says this knows of no decision, and is told it. (An acknowledgement may just have come after the others.)"""


class Estimate(NamedTuple):
    """What a node told the coordinator of ``round``: it would decide ``value``, which it adopted in ``adopted``."""

    round: int
    adopted: int
    value: bytes


class Decision(NamedTuple):
    """Of an instance, and the round that led to it."""

    round: int
    value: bytes


@dataclass(slots=True)
class Instance:
    """An undecided instance: this node is in ``round`` and would decide ``value``, which it adopted in ``adopted``.

    As coordinator of the round: proposal: what it has proposed (None: nothing yet), and who answered that, with yes or
    no. estimates: of the round and of later ones that this node coordinates, each sender's latest.
    """

    value: bytes
    adopted: int = 0
    round: int = 0
    proposal: bytes | None = None
    estimates: dict[int, Estimate] = field(default_factory=dict)
    replies: dict[int, bool] = field(default_factory=dict)


class ChandraTouegMachine(InstanceMachine):
    """Instances of Chandra and Toueg's consensus side by side (testbed.nodes.core.Consensus).

    The algorithm assumes that every message between live nodes arrives; this is made true by asking: a node that has
    waited for retry_ns says again what it waits for an answer to. Whoever has acknowledged a proposal stays in its
    round until the decision comes, its coordinator is suspected, or somebody is in a later round.
    """

    def __init__(self, config: NodeConfig, pitfalls: Collection[Pitfall] = (), patience: int = PATIENCE) -> None:
        super().__init__(config)
        self.pitfalls = frozenset(pitfalls)
        self.majority = config.n // 2 + 1
        self.needed = config.protocol.f + 1 if Pitfall.MAJORITY_OF_F in self.pitfalls else self.majority
        retry_ns = config.protocol.retry_ns
        grows = Pitfall.TIMEOUTS_DO_NOT_GROW not in self.pitfalls
        self.detector = Detector(tuple(self.ports), retry_ns, patience * retry_ns, grows)
        self.open: dict[int, Instance] = {}
        self.decided: dict[int, Decision] = {}

    # -- instances ---------------------------------------------------------------------------------------------------

    def begin(self, instance: int, value: bytes, now_ns: int) -> Effects:
        """Enter the first round with the own input."""
        self.open[instance] = Instance(value)
        return [Propose(instance, value), *self.detector.watch(now_ns), *self._enter(instance, 1, now_ns)]

    def resume(self, now_ns: int) -> Effects:
        """Watch the others again, and ask when it is time to."""
        if not self.open:
            return []
        return [*self.detector.watch(now_ns), *(self._await_retry(instance, now_ns) for instance in self.open)]

    def known(self, instance: int) -> bytes | None:
        """The decision; before that the round, the estimate and the proposal. Others' estimates and answers are asked
        for again."""
        decided = self.decided.get(instance)
        if decided is not None:
            return pack(decided.round, decided.value.hex())
        state = self.open.get(instance)
        if state is None:
            return None
        proposal = None if state.proposal is None else state.proposal.hex()
        return pack(state.value.hex(), state.adopted, state.round, proposal)

    def recall(self, instance: int, known: bytes) -> None:
        """The inverse of known."""
        data = unpack(known)
        if len(data) == 2:
            round_, decided = data
            self.decided[instance] = Decision(round_, bytes.fromhex(decided))
            return
        value, adopted, round_, proposal = data
        state = self.open[instance] = Instance(bytes.fromhex(value), adopted, round_)
        if proposal is not None:
            state.proposal, state.replies = bytes.fromhex(proposal), {self.config.node: True}
        elif self._coordinates(round_):
            state.estimates[self.config.node] = Estimate(round_, adopted, state.value)

    # -- the failure detector ----------------------------------------------------------------------------------------

    def on_message(self, port: Port, message: frames.Message, life: Life, now_ns: int) -> Effects:
        """A heartbeat is of no instance. Whatever a member says, it lives."""
        src = self.config.peers[port].node
        if message.kind is not frames.Kind.DATA or src not in self.ports:
            return super().on_message(port, message, life, now_ns)
        beats = message.step == Step.ALIVE
        effects = self.detector.hear(src, life.epoch, beats, now_ns)
        return effects if beats else effects + super().on_message(port, message, life, now_ns)

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """``beat``, ``suspect <node>``, or one of an instance."""
        verb, _, number = name.partition(" ")
        if verb not in (BEAT, SUSPECT):
            return super().on_timer(name, now_ns)
        self._at(now_ns)
        if not self.detector.watches:
            return []
        if verb == BEAT:
            alive = frames.Message(frames.Kind.DATA, 0, Step.ALIVE, b"")
            return [self.detector.beat(now_ns), *(Send(port, alive) for port in self.ports.values())]
        self.detector.suspect(int(number))
        watched = tuple(self.open)
        return self.keep(self._give_up(int(number), now_ns), *watched)

    def _give_up(self, suspect: int, now_ns: int) -> Effects:
        """Wherever the suspect coordinates, go on to the next round."""
        effects: Effects = []
        for instance, state in list(self.open.items()):
            if self._coordinator(state.round) == suspect:
                if state.adopted < state.round:
                    effects.append(self._say(instance, suspect, Message(Step.NACK, state.round)))
                effects += self._enter(instance, state.round + 1, now_ns)
        return effects

    # -- rounds ------------------------------------------------------------------------------------------------------

    def _coordinator(self, round_: int) -> int:
        return self.config.members[(round_ - 1) % self.config.n]

    def _coordinates(self, round_: int) -> bool:
        return self._coordinator(round_) == self.config.node

    def _move(self, state: Instance, round_: int) -> None:
        state.round, state.proposal, state.replies = round_, None, {}
        state.estimates = {src: told for src, told in state.estimates.items() if told.round >= round_}

    def _enter(self, instance: int, round_: int, now_ns: int) -> Effects:
        """Phase 1, and, when the coordinator is suspected already, phase 3 and the round after."""
        state = self.open[instance]
        self._move(state, round_)
        if self._coordinates(round_):
            state.estimates[self.config.node] = Estimate(round_, state.adopted, state.value)
            return [self._await_retry(instance, now_ns), *self._propose(instance, state, self.config.node, now_ns)]
        coordinator = self._coordinator(round_)
        estimate = self._say(instance, coordinator, self._estimate(state))
        if coordinator not in self.detector.suspects:
            return [self._await_retry(instance, now_ns), estimate]
        nack = self._say(instance, coordinator, Message(Step.NACK, round_))
        return [estimate, nack, *self._enter(instance, round_ + 1, now_ns)]

    def _propose(self, instance: int, state: Instance, newest: int, now_ns: int) -> Effects:
        """Phase 2, when a majority's estimates are here, ``newest``'s the last: the one that was adopted last is
        proposed, and adopted by the proposer."""
        told = {src: one for src, one in state.estimates.items() if one.round == state.round}
        if state.proposal is not None or len(told) < self.majority:
            return []
        chosen = max((told[src] for src in sorted(told)), key=lambda one: one.adopted)  # the first of equals
        if Pitfall.ESTIMATE_NOT_LOCKED in self.pitfalls and newest in told:
            chosen = told[newest]
        state.proposal = state.value = chosen.value
        state.adopted = state.round
        state.replies[self.config.node] = True
        proposal = Message(Step.PROPOSAL, state.round, value=chosen.value)
        effects: Effects = [self._await_retry(instance, now_ns)]
        effects += [self._say(instance, node, proposal) for node in self.ports]
        return effects + self._count(instance, state, now_ns)

    def _count(self, instance: int, state: Instance, now_ns: int) -> Effects:
        """Phase 4: a majority has answered; if all of them with yes, the proposal is decided."""
        if state.proposal is None:
            return []
        if sum(state.replies.values()) >= self.needed:
            return self._decide(instance, Decision(state.round, state.proposal))
        if len(state.replies) < self.majority:
            return []
        over = Message(Step.ROUND, state.round + 1)
        return [*(self._say(instance, node, over) for node in self.ports), *self._enter(instance, over.round, now_ns)]

    def _decide(self, instance: int, decision: Decision, told_by: int | None = None) -> Effects:
        """Reliable broadcast: who decides has told all the others before."""
        self.decided[instance] = decision
        self.open.pop(instance, None)
        effects: Effects = []
        if told_by is None or Pitfall.NO_RELIABLE_BROADCAST not in self.pitfalls:
            effects += [self._tell(instance, node) for node in self.ports if node != told_by]
        effects += [self.decide(instance, decision.value, decision.round), CancelTimer(f"retry {instance}")]
        return effects if self.open or not self.detector.watches else effects + self.detector.rest()

    # -- messages ----------------------------------------------------------------------------------------------------

    def receive(self, src: int, message: frames.Message, now_ns: int) -> Effects:
        """Another member said something."""
        instance, said = message.round, read(message)
        if said is None:
            return [Note("stray", instance, "no message of Chandra and Toueg", message)]
        if instance in self.decided:
            silent = Pitfall.NO_RELIABLE_BROADCAST in self.pitfalls
            return [self._tell(instance, src)] if said.step in _ASKING and not silent else []
        if said.step is Step.DECIDE:
            return self._decide(instance, Decision(said.round, said.value), src)
        if self.stays_out(instance):
            absent = Note("absent", instance, "this life began after the instance", message)
            return [absent, *self._pass_on(instance, src, said)]
        state = self.open[instance]
        match said.step:
            case Step.ESTIMATE:
                return self._take_estimate(instance, state, src, said, now_ns)
            case Step.PROPOSAL:
                return self._reply(instance, state, src, said, now_ns)
            case Step.ROUND:
                return self._catch_up(instance, state, src, said.round, bool(message.flags & ANSWER), now_ns)
        if said.round != state.round or not self._coordinates(said.round):
            return []  # the answer to a proposal that was given up
        state.replies.setdefault(src, said.step is Step.ACK)
        return self._count(instance, state, now_ns)

    def _pass_on(self, instance: int, src: int, said: Message) -> Effects:
        """A life that stays out coordinates no round, and is not to be waited for though it lives."""
        if said.step not in (Step.ESTIMATE, Step.ROUND) or not self._coordinates(said.round):
            return []
        return [self._answer(instance, src, said.round + 1)]

    def _take_estimate(self, instance: int, state: Instance, src: int, said: Message, now_ns: int) -> Effects:
        if not self._coordinates(said.round):
            return []
        if said.round < state.round:
            return [self._answer(instance, src, state.round)]
        if src not in state.estimates or state.estimates[src].round < said.round:
            state.estimates[src] = Estimate(said.round, said.adopted, said.value)
        return self._propose(instance, state, src, now_ns)

    def _reply(self, instance: int, state: Instance, src: int, said: Message, now_ns: int) -> Effects:
        """Phase 3. A proposal of a round that this node has left in vain will not be adopted any more."""
        if self._coordinator(said.round) != src:
            return []
        if said.round < state.round:
            step = Step.ACK if state.adopted == said.round else Step.NACK
            return [self._say(instance, src, Message(step, said.round))]
        if said.round > state.round:
            self._move(state, said.round)
        state.value, state.adopted = said.value, said.round
        return [self._await_retry(instance, now_ns), self._say(instance, src, Message(Step.ACK, said.round))]

    def _catch_up(self, instance: int, state: Instance, src: int, round_: int, answers: bool, now_ns: int) -> Effects:
        """``src`` is in ``round_``: to go on to it is as good as to suspect the coordinators of those between."""
        if round_ > state.round:
            return self._enter(instance, round_, now_ns)
        if round_ < state.round:
            return [] if answers else [self._answer(instance, src, state.round)]
        waits = self._coordinator(round_) == src and state.adopted < round_
        return [self._say(instance, src, self._estimate(state))] if waits else []

    # -- what is said again ------------------------------------------------------------------------------------------

    def expire(self, verb: str, instance: int, now_ns: int) -> Effects:  # noqa: ARG002 - there is only one verb
        """``retry``: ask again whomever this node waits for."""
        state = self.open.get(instance)
        if state is None:
            return []
        effects: Effects = [self._await_retry(instance, now_ns)]
        if not self._coordinates(state.round):
            asked = Message(Step.ROUND, state.round) if state.adopted == state.round else self._estimate(state)
            return [*effects, self._say(instance, self._coordinator(state.round), asked)]
        if state.proposal is None:
            heard = {src for src, told in state.estimates.items() if told.round == state.round}
            asked = Message(Step.ROUND, state.round)
        else:
            heard, asked = set(state.replies), Message(Step.PROPOSAL, state.round, value=state.proposal)
        return effects + [self._say(instance, node, asked) for node in self.ports if node not in heard]

    def _await_retry(self, instance: int, now_ns: int) -> SetTimer:
        return SetTimer(f"retry {instance}", now_ns + self.config.protocol.retry_ns)

    # -- help --------------------------------------------------------------------------------------------------------

    def _estimate(self, state: Instance) -> Message:
        return Message(Step.ESTIMATE, state.round, state.adopted, state.value)

    def _tell(self, instance: int, node: int) -> Send:
        decision = self.decided[instance]
        return self._say(instance, node, Message(Step.DECIDE, decision.round, value=decision.value))

    def _answer(self, instance: int, node: int, round_: int) -> Send:
        """That round is over: it is ``round_`` now."""
        return self._say(instance, node, Message(Step.ROUND, round_), ANSWER)

    def _say(self, instance: int, node: int, message: Message, flags: int = 0) -> Send:
        return self.send(node, instance, message.step, message.body(), flags)
