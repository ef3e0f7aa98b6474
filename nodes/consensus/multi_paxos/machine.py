"""Multi-Paxos on one node: leader, acceptor and learner (Lamport 1998, 2001). See notes.md."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from testbed.nodes import frames
from testbed.nodes.consensus.ballots import Ballots
from testbed.nodes.consensus.logs import LogMachine, Vows
from testbed.nodes.consensus.multi_paxos.messages import Message, Step, pack_votes, read, read_votes
from testbed.nodes.consensus.multi_paxos.roles import Acceptor, Leader, Open, Pitfall, Promise, Read, Vote
from testbed.nodes.core import LEASE, CancelTimer, Effects, Note, Persist, SetTimer
from testbed.nodes.core.config import START_NS, NodeConfig
from testbed.nodes.core.disk import pack, unpack

PATIENCE = 4  # heartbeats that may fail to come before the next in line takes over
DRIFT_PPM = 100  # how much a clock may gain or lose
_MOST_DOUBLINGS = 16
_MOST_TOLD = 64  # slots in answer to one question, and slots that are asked about again at a time
_FURTHEST = 1 << 20  # slots ahead of the first that is not known to be chosen; nobody gets there


class MultiPaxosMachine(LogMachine):
    """One log (testbed.nodes.core.Log).

    The first member opens a ballot as it starts, for all slots at once, and leads from then on: what it is handed it
    proposes in the next slot, in phase 2 alone. Every retry_ns it sends a heartbeat, and again what was not answered.
    One that hears no heartbeat takes over in its turn: the wait grows with the distance in rank from the current
    ballot's owner, and doubles with every ballot until one has lasted. A leader that no quorum answers stops.

    Who answers a heartbeat gives a lease: it promises no other ballot for as long as the first in line waits. A leader
    that holds a quorum's answers reads as it likes for that time, less what clocks may drift.
    """

    def __init__(
        self,
        config: NodeConfig,
        pitfalls: Collection[Pitfall] = (),
        patience: int = PATIENCE,
        drift_ppm: int = DRIFT_PPM,
    ) -> None:
        super().__init__(config, patience)
        self.pitfalls = frozenset(pitfalls)
        self.patience = patience
        self.lease_ns = patience * config.protocol.retry_ns
        # given by the fastest clock, held by the slowest
        held_ns = self.lease_ns * (1_000_000 - drift_ppm) // (1_000_000 + drift_ppm)
        self.held_ns = self.lease_ns if Pitfall.LEASE_IGNORES_DRIFT in pitfalls else held_ns
        self.given_ns = START_NS  # until when no other ballot is promised
        self.ballots = Ballots(config.n)
        self.quorum = self.recovery = config.n // 2 + 1
        self.acceptor = Acceptor(self.pitfalls)
        self.own: Leader | None = None  # this node's ballot, while it has one
        self.led = 0  # the highest ballot of whose leader something was heard when it led
        self.lasted = 0  # the highest ballot that was led for as long as anybody waits
        self.claim = (0, 0)  # a ballot, and how many slots were chosen when its leader said so
        self.certain: set[int] = set()  # slots not told yet of which it is known that they are chosen
        self.asking = False  # the timer ``learn`` is set

    # -- lives -------------------------------------------------------------------------------------------------------

    def begin(self, now_ns: int) -> Effects:
        """The first member opens ballot 1, the others wait for their turn; who only learns, for good."""
        self.term = self.ballots.number(0, 0)
        if self.learns_only:
            return []
        return self._open_ballot(self.term, now_ns) if self.rank == 0 else [self._await_turn(now_ns)]

    def resume(self, now_ns: int) -> Effects:
        """Nobody leads with what is on its disk: what others have promised is not there; nor are leases, so that
        one is taken to be given just now."""
        self.given_ns = now_ns + self.lease_ns
        return [] if self.learns_only else [self._await_turn(now_ns)]

    def vows(self) -> Vows:
        """The promise, and the term: no ballot in which anything that is known here was chosen is above it. A life that
        only learns has no promise to keep, nor has the next one."""
        return self.acceptor.promised, self.learns_only, self.term

    def known(self, slot: int) -> bytes | None:
        """The vote."""
        vote = self.acceptor.votes.get(slot)
        return None if vote is None else pack(vote.ballot, vote.entry.hex())

    def recall(self, vows: Vows, slots: Mapping[int, bytes]) -> None:
        """The same; which votes are for what was chosen is learned anew."""
        self.acceptor.promised, self.learns_only, self.term = vows
        self.lasted = self.term
        for slot, known in slots.items():
            ballot, entry = unpack(known)
            self.acceptor.votes[slot] = Vote(ballot, bytes.fromhex(entry))

    def forget(self) -> list[int]:
        """Votes below the base."""
        dropped = [slot for slot in self.acceptor.votes if slot < self.base.slot]
        for slot in dropped:
            del self.acceptor.votes[slot]
        return dropped

    def keep(self, effects: Effects) -> Effects:
        """Kept before anything is said."""
        kept = super().keep(effects)
        if Pitfall.ANSWER_NOT_KEPT in self.pitfalls:
            kept.sort(key=lambda effect: isinstance(effect, Persist))
        return kept

    # -- events ------------------------------------------------------------------------------------------------------

    def expire(self, name: str, now_ns: int) -> Effects:
        """``beat``: the leader's. ``turn``: take over. ``learn``: ask for what was chosen."""
        if name == "turn":
            return self._open_ballot(self.ballots.number(self.ballots.attempt(self.term) + 1, self.rank), now_ns)
        if name == "learn":
            return self._ask_around(now_ns)
        return self._beat(self.own, now_ns) if self.own is not None else []

    def receive(self, src: int, message: frames.Message, now_ns: int) -> Effects:
        """What is none of this engine's messages is noted and dropped."""
        said = read(message)
        if said is None:
            return [Note("stray", message.round, "no message of Multi-Paxos", message)]
        return self._handle(src, said, now_ns)

    def _handle(self, src: int, said: Message, now_ns: int) -> Effects:
        match said.step:
            case Step.PREPARE:
                return self._prepare(src, said, now_ns)
            case Step.ACCEPT:
                return self._accept(src, said, now_ns)
            case Step.BEAT | Step.COMMIT:
                return self._hear_leader(src, said, now_ns)
            case Step.LEARN:
                return self._teach(src, said.numbers[0])
            case Step.CHOSEN:
                return self._learn(said, now_ns)
            case Step.STATE:
                yielded = self._yield_to(said.ballot, now_ns)
                return [*yielded, *self.take_on(said.data), *self._go_on(now_ns), *self._try_to_lead(now_ns)]
            case Step.REJECT:
                return self._yield_to(said.numbers[0], now_ns)
        own = self.own
        if own is None or said.ballot != own.ballot:
            return []  # the answer to a ballot that was given up
        if said.step is Step.PROMISE:
            votes = read_votes(said.data)
            if votes is None:
                return []
            base = 0 if Pitfall.BASE_SAYS_NOTHING in self.pitfalls else said.numbers[0]
            own.promises[src] = Promise(base, votes)
            return self._try_to_lead(now_ns)
        if said.step is Step.ALIVE:
            own.hear(src, said.numbers[0], now_ns)
            return self._answer_reads(own)
        return self._choose(own, now_ns) if own.accepted(src, said.numbers[0]) else []

    # -- the acceptor ------------------------------------------------------------------------------------------------

    def _prepare(self, src: int, said: Message, now_ns: int) -> Effects:
        kept = now_ns < self.given_ns and Pitfall.LEASE_NOT_KEPT not in self.pitfalls
        if self.learns_only or (kept and said.ballot > self.acceptor.promised):
            return []
        effects = self._yield_to(said.ballot, now_ns)
        if not self.acceptor.prepare(said.ballot):
            return effects + self._reject(src, said.ballot, now_ns)
        start = said.numbers[0]
        votes = {slot: vote for slot, vote in self.acceptor.votes.items() if slot >= start}
        if start < self.base.slot:
            effects.append(self.send(src, said.ballot, Step.STATE, self.base_data or b""))
        promise = Message(Step.PROMISE, said.ballot, (max(start, self.base.slot),), pack_votes(votes))
        return effects + self._tell(src, promise, now_ns)

    def _accept(self, src: int, said: Message, now_ns: int) -> Effects:
        slot, chosen = said.numbers
        if slot > self.slot + _FURTHEST:
            return []
        effects = self._yield_to(said.ballot, now_ns)
        if slot < self.base.slot:  # it was chosen, so that the leader can say nothing else
            if said.ballot < self.acceptor.promised:
                return effects + self._reject(src, said.ballot, now_ns)
        elif not self.acceptor.accept(said.ballot, slot, said.data):
            return effects + self._reject(src, said.ballot, now_ns)
        else:
            self.touched.add(slot)
        self.led = max(self.led, said.ballot)
        effects += self._claimed(said.ballot, chosen, now_ns)
        if self.learns_only:
            return effects
        return effects + self._tell(src, Message(Step.ACCEPTED, said.ballot, (slot,)), now_ns)

    def _hear_leader(self, src: int, said: Message, now_ns: int) -> Effects:
        """A heartbeat, or what is chosen by now."""
        effects = self._yield_to(said.ballot, now_ns)
        if said.ballot < self.acceptor.promised:
            return effects + self._reject(src, said.ballot, now_ns)
        self.led = max(self.led, said.ballot)
        if said.step is Step.BEAT and said.ballot == self.term:
            if said.numbers[1] >= self.patience:
                self.lasted = said.ballot
            if not self.learns_only:
                self.given_ns = now_ns + self.lease_ns
                effects += [
                    self._await_turn(now_ns),
                    *self._tell(src, Message(Step.ALIVE, said.ballot, (said.numbers[2],)), now_ns),
                ]
        return effects + self._claimed(said.ballot, said.numbers[0], now_ns)

    def _reject(self, src: int, ballot: int, now_ns: int) -> Effects:
        return self._tell(src, Message(Step.REJECT, ballot, (self.acceptor.promised,)), now_ns)

    # -- the learner -------------------------------------------------------------------------------------------------

    def _claimed(self, ballot: int, chosen: int, now_ns: int) -> Effects:
        """The leader of ``ballot`` says how many slots are chosen."""
        self.claim = max(self.claim, (ballot, chosen))
        return self._go_on(now_ns)

    def _learn(self, said: Message, now_ns: int) -> Effects:
        """Somebody who knows says what is chosen in a slot: as good as a vote for it in its ballot, and as binding."""
        slot, ballot = said.numbers
        if not self.slot <= slot <= self.slot + _FURTHEST:
            return []
        effects = self._yield_to(max(said.ballot, ballot), now_ns)
        if Pitfall.LEARNED_BINDS_NOT not in self.pitfalls:
            self.acceptor.promised = max(self.acceptor.promised, ballot)
        if self.acceptor.votes.get(slot, Vote(0, b"")).ballot < ballot:
            self.acceptor.votes[slot] = Vote(ballot, said.data)
            self.touched.add(slot)
        self.certain.add(slot)
        return [*effects, *self._go_on(now_ns), *self._try_to_lead(now_ns)]

    def _go_on(self, now_ns: int) -> Effects:
        """Tell what is known to be chosen, slot after slot; ask for what is missing, if it does not come by itself.

        Of a slot that was chosen when the leader of a ballot said so, a vote in that ballot or a later one is for what
        was chosen; one in an earlier ballot need not be.
        """
        effects: Effects = []
        ballot, chosen = self.claim
        if Pitfall.CLAIM_FITS_ANY_VOTE in self.pitfalls:
            ballot = 0
        while (vote := self.acceptor.votes.get(self.slot)) is not None:
            if self.slot not in self.certain and not (self.slot < chosen and vote.ballot >= ballot):
                break
            self.certain.discard(self.slot)
            effects += self.tell(vote.entry, vote.ballot)
        self.certain = {slot for slot in self.certain if slot > self.slot}
        if self.slot < chosen and not self.asking:
            self.asking = True
            effects.append(SetTimer("learn", now_ns + self.config.protocol.retry_ns))
        return effects

    def _ask_around(self, now_ns: int) -> Effects:
        """The leader, if one is known; else all."""
        self.asking = False
        if self.slot >= self.claim[1]:
            return []
        leader = self.leader()
        question = Message(Step.LEARN, self.term, (self.slot,))
        self.asking = True
        again = SetTimer("learn", now_ns + self.config.protocol.retry_ns)
        if leader is None or leader == self.config.node:
            return [again, *self._tell_others(question, set(), now_ns)]
        return [again, *self._tell(leader, question, now_ns)]

    def _teach(self, src: int, since: int) -> Effects:
        effects: Effects = []
        if since < self.base.slot:
            since = self.base.slot
            effects.append(self.send(src, self.term, Step.STATE, self.base_data or b""))
        for slot in range(since, min(since + _MOST_TOLD, self.slot)):
            ballot, entry = self.acceptor.votes[slot]
            told = Message(Step.CHOSEN, self.term, (slot, ballot), entry)
            effects.append(self.send(src, told.ballot, told.step, told.body()))
        return effects

    # -- the leader --------------------------------------------------------------------------------------------------

    def leader(self) -> int | None:
        """The owner of the highest ballot, once it leads."""
        if self.own is not None:
            return self.config.node if self.own.leads else None
        owner = self.config.members[self.ballots.rank(self.term)]
        return owner if self.led == self.term and owner != self.config.node else None

    def append(self, entry: bytes, now_ns: int) -> Effects:
        """Phase 2 in the next slot."""
        assert self.own is not None
        return self._propose(self.own, entry, now_ns)

    def confirm(self, reader: int, ticket: bytes, mode: str, now_ns: int) -> Effects:
        """By a lease that is held, at once. Else by a heartbeat out of turn: who follows another does not answer it."""
        own = self.own
        assert own is not None
        slot = self._reads_from(own)
        if Pitfall.READ_UNCONFIRMED in self.pitfalls or (mode == LEASE and self._holds_lease(own, now_ns)):
            return self.answer_read(reader, ticket, slot)
        own.reads.append(Read(reader, ticket, slot, own.number + 1))
        return [*self._tell_others(self._heartbeat(own, now_ns), set(), now_ns), *self._answer_reads(own)]

    def _reads_from(self, own: Leader) -> int:
        """What comes of the slots below this one misses nothing that anybody was told."""
        return max(self.slot, 0 if Pitfall.READ_BEFORE_FIRST in self.pitfalls else own.first)

    def _holds_lease(self, own: Leader, now_ns: int) -> bool:
        since_ns = own.proven_ns()
        return since_ns is not None and now_ns < since_ns + self.held_ns

    def _answer_reads(self, own: Leader) -> Effects:
        return [one for read in own.confirmed() for one in self.answer_read(read.reader, read.ticket, read.slot)]

    def _heartbeat(self, own: Leader, now_ns: int) -> Message:
        """This node gives itself a lease like any other."""
        self.given_ns = now_ns + self.lease_ns
        return Message(Step.BEAT, own.ballot, (self.slot, own.beats, own.beat(now_ns)))

    def _open_ballot(self, ballot: int, now_ns: int) -> Effects:
        self.term = ballot
        self.own = Leader(ballot, self.quorum, self.recovery, self.slot, self.pitfalls)
        return [CancelTimer("turn"), self._await_beat(now_ns), *self._ask_promises(self.own, now_ns)]

    def _ask_promises(self, own: Leader, now_ns: int) -> Effects:
        """Phase 1a to all that have not answered it, or whose state did not come; this node last, for its answer may
        lead on."""
        own.promises = {node: promise for node, promise in own.promises.items() if promise.base <= self.slot}
        return self._tell_others(
            Message(Step.PREPARE, own.ballot, (own.start,)), set(own.promises), now_ns, with_self=True
        )

    def _try_to_lead(self, now_ns: int) -> Effects:
        """Phase 1 is over: what may have been chosen is proposed again, and then what is pending."""
        own = self.own
        if own is None or not own.may_lead(self.slot):
            return []
        own.leads, own.beats = True, 0
        own.heard = {node: 0 for node in own.promises if node != self.config.node}
        self.led = own.ballot
        inherited = own.inherited(self.slot)
        own.next = own.first = max(inherited, default=self.slot - 1) + 1
        own.promises.clear()
        effects = self._beat(own, now_ns)
        for slot, entry in inherited.items():
            effects += self._ask_votes(own, slot, Open(entry, own.beats), now_ns)
        return effects

    def _propose(self, own: Leader, entry: bytes, now_ns: int) -> Effects:
        own.next += 1
        return self._ask_votes(own, own.next - 1, Open(entry, own.beats), now_ns)

    def _ask_votes(self, own: Leader, slot: int, opened: Open, now_ns: int) -> Effects:
        """Phase 2a to all, this node last: its answer may lead on."""
        own.open[slot] = opened
        accept = Message(Step.ACCEPT, own.ballot, (slot, self.slot), opened.entry)
        return self._tell_others(accept, opened.voters, now_ns, with_self=True)

    def _ask_again(self, own: Leader, slot: int, opened: Open, now_ns: int) -> Effects:
        """Not all have answered for a whole interval."""
        accept = Message(Step.ACCEPT, own.ballot, (slot, self.slot), opened.entry)
        return self._tell_others(accept, opened.voters, now_ns)

    def _choose(self, own: Leader, now_ns: int) -> Effects:
        """A slot more is chosen: those that have none open before them are told."""
        before = self.slot
        reached = self.slot
        while reached in own.chosen:
            reached += 1
        if Pitfall.COMMIT_PAST_HOLE in self.pitfalls:
            reached = max(own.chosen, default=reached - 1) + 1
        effects = self._claimed(own.ballot, reached, now_ns)
        own.chosen = {slot for slot in own.chosen if slot >= self.slot}
        return effects + (self._announce(own, now_ns) if self.slot > before else [])

    def _announce(self, own: Leader, now_ns: int) -> Effects:
        """Others hear of what is chosen with the next entry, or now, if none is on its way."""
        if own.open:
            return []
        return self._tell_others(Message(Step.COMMIT, own.ballot, (self.slot,)), set(), now_ns)

    def _beat(self, own: Leader, now_ns: int) -> Effects:
        """Once every retry_ns: phase 1 again, or a heartbeat and what was not answered for a whole interval."""
        own.beats += 1
        again = self._await_beat(now_ns)
        if not own.leads:
            return [again, *self._ask_promises(own, now_ns)]
        if own.beats > self.patience and not own.alive(self.patience):
            return self._resign(now_ns)
        if own.beats >= self.patience:
            self.lasted = own.ballot
        effects = [again, *self._tell_others(self._heartbeat(own, now_ns), set(), now_ns)]
        late = [(slot, one) for slot, one in own.open.items() if one.since < own.beats - 1]
        for slot, one in late[:_MOST_TOLD]:
            effects += self._ask_again(own, slot, one, now_ns)
        return effects

    def _resign(self, now_ns: int) -> Effects:
        """Nobody answers: it may be that nobody hears, or that nobody is heard."""
        self.own = None
        return [CancelTimer("beat"), self._await_turn(now_ns)]

    def _yield_to(self, ballot: int, now_ns: int) -> Effects:
        """Somebody has opened ``ballot``, above all that were known: its owner is given time."""
        if ballot <= self.term:
            return []
        self.term = ballot
        ended: Effects = [CancelTimer("beat")] if self.own is not None else []
        self.own = None
        return ended if self.learns_only else [*ended, self._await_turn(now_ns)]

    # -- help --------------------------------------------------------------------------------------------------------

    def _tell(self, node: int, said: Message, now_ns: int) -> Effects:
        if node == self.config.node:
            return self._handle(node, said, now_ns)
        return [self.send(node, said.ballot, said.step, said.body())]

    def _tell_others(self, said: Message, but: set[int], now_ns: int, with_self: bool = False) -> Effects:
        """All members but some; this node, if at all, last."""
        own = self.config.node
        effects: Effects = [
            self.send(node, said.ballot, said.step, said.body()) for node in self.ports if node not in but
        ]
        return effects + (self._handle(own, said, now_ns) if with_self and own not in but else [])

    def _await_beat(self, now_ns: int) -> SetTimer:
        return SetTimer("beat", now_ns + self.config.protocol.retry_ns)

    def _await_turn(self, now_ns: int) -> SetTimer:
        """This node's turn comes after those of all ranks between the current ballot's owner and itself."""
        distance = (self.rank - self.ballots.rank(self.term)) % self.config.n or self.config.n
        doublings = self.ballots.attempt(self.term) - self.ballots.attempt(max(1, self.lasted))
        wait_ns = self.patience * self.config.protocol.retry_ns << min(max(0, doublings), _MOST_DOUBLINGS)
        return SetTimer("turn", now_ns + distance * wait_ns)
