"""Zab on one node (Junqueira, Reed, Serafini 2011; ZooKeeper's Zab 1.0). See notes.md."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from testbed.nodes import frames
from testbed.nodes.consensus.logs import LogMachine, Vows, read_base
from testbed.nodes.consensus.zab.election import Choice, Election, Standing
from testbed.nodes.consensus.zab.history import History, Txn, Zxid
from testbed.nodes.consensus.zab.messages import (
    Flag,
    Message,
    Step,
    of_standing,
    pack_txn,
    read,
    read_choice,
    read_standing,
    read_txn,
    read_txns,
)
from testbed.nodes.consensus.zab.pitfalls import Pitfall
from testbed.nodes.core import CancelTimer, Effects, Note, Persist, Send, SetTimer
from testbed.nodes.core.config import NodeConfig

PATIENCE = 4  # heartbeats that may stay away before a leader is given up, or a quorum
BATCH = 64  # transactions that are said again in one message, at most
MOST_DOUBLINGS = 4  # of the wait for a leader that does not lead yet

_FURTHEST = 1024  # slots ahead of the history in which proposals wait for those before them

_TICK, _SETTLE = "tick", "settle"
_TO_LEADERS = (Step.CEPOCH, Step.ACK_EPOCH, Step.ACK, Step.PONG)


class Role(StrEnum):
    """What a node is."""

    LOOKING = "looking"  # for a leader
    FOLLOWING = "following"
    LEADING = "leading"


@dataclass(slots=True)
class Peer:
    """What a leader knows of one that follows it. heard_ns: when it last said something. learns: its word does not
    count. standing: the one that it told with the epoch. synced: it has taken over the history. acked: it has all below
    that slot; -1: nothing is known. beaten: where the history ended at the last beat. again: up to where it was said
    again. answered: the latest ping that it has answered. lately: of the epoch and the history, what it was told since
    the last beat; it is told once."""

    heard_ns: int
    learns: bool = False
    standing: Standing | None = None
    synced: bool = False
    acked: int = -1
    beaten: int = 0
    again: int = -1
    answered: int = 0
    lately: set[Step] = field(default_factory=set)


class Asked(NamedTuple):
    """A read that waits for a quorum to answer ``ping`` or a later one. slot: what was committed when it came."""

    ping: int
    slot: int
    reader: int
    ticket: bytes


@dataclass(slots=True)
class Reign:
    """What a leader knows. epoch: the one that it proposes, once a quorum follows it; promised: who has promised it.
    discovered: a quorum has, and what this node has is where the epoch begins; established: a quorum has that too.
    counter: its transactions so far. pings: its heartbeats so far."""

    since_ns: int
    epoch: int | None = None
    peers: dict[int, Peer] = field(default_factory=dict)
    promised: set[int] = field(default_factory=set)
    discovered: bool = False
    established: bool = False
    begins: int = 0
    counter: int = 0
    pings: int = 0
    reads: list[Asked] = field(default_factory=list)

    def counting(self) -> list[Peer]:
        """The others whose word counts."""
        return [peer for peer in self.peers.values() if not peer.learns]


class ZabMachine(LogMachine):
    """Zab (testbed.nodes.core.Log): elections of whoever has the newest history, and under the leader three phases:
    discovery (a quorum promises an epoch), synchronisation (a quorum takes over the leader's history), broadcast.

    accepted: the epoch that was promised last (acceptedEpoch); current: the one in which a leader's history was last
    taken over (currentEpoch). ``tick`` comes every retry_ns: who looks for a leader, or leads, says so again; who
    follows looks whether its leader was heard within ``patience`` of them. The wait for one that does not lead yet
    doubles with every leader that does not last.
    """

    def __init__(
        self,
        config: NodeConfig,
        pitfalls: Collection[Pitfall] = (),
        patience: int = PATIENCE,
        batch: int = BATCH,
    ) -> None:
        super().__init__(config, patience)
        self.pitfalls = frozenset(pitfalls)
        self.patience_ns = patience * config.protocol.retry_ns
        self.batch = batch
        self.quorum = config.n // 2 + 1
        self.accepted = 0
        self.current = 0
        self.history = History()
        self.committed = 0
        self.role = Role.LOOKING
        self.election = Election(self.pitfalls)
        self.follows: int | None = None
        self.promised_to: int | None = None  # to whom this life promised the accepted epoch
        self.heard_ns = 0  # the leader that it follows
        self.greeted = False  # that leader has told its epoch
        self.early: dict[int, Txn] = {}  # slot -> what was proposed in this epoch before what is to stand before it
        self.claim = 0  # how many are committed, as was said in this epoch
        self.up_to_date = False  # that leader leads, and this node has its history
        self.settled_ns: int | None = None  # since when it follows one that leads, or leads
        self.failed = 0  # leaders in a row that did not last
        self.reign: Reign | None = None

    # -- the frame -----------------------------------------------------------------------------------------------------

    def begin(self, now_ns: int) -> Effects:
        """Look for a leader."""
        return [self._await_tick(now_ns), *self._look(now_ns)]

    def resume(self, now_ns: int) -> Effects:
        """The same: what was heard from a leader is not on the disk."""
        return self.begin(now_ns)

    def leader(self) -> int | None:
        """One whose history a quorum has."""
        if self.reign is not None:
            return self.config.node if self.reign.established else None
        return self.follows if self.up_to_date else None

    def vows(self) -> Vows:
        """Both epochs, and where the history begins."""
        accepted = self.current if Pitfall.EPOCH_PROMISE_NOT_KEPT in self.pitfalls else self.accepted
        return (accepted, self.current, self.learns_only, self.history.start, *self.history.before)

    def known(self, slot: int) -> bytes | None:
        """The transaction."""
        txn = self.history.at(slot)
        return None if txn is None else pack_txn(txn)

    def recall(self, vows: Vows, slots: Mapping[int, bytes]) -> None:
        """The inverse of both. What is committed is learned anew."""
        self.accepted, self.current, self.learns_only, start, epoch, counter = vows
        self.term = self.accepted
        txns = [txn for txn in map(read_txn, slots.values()) if txn is not None]
        self.history = History(start, Zxid(epoch, counter), txns)
        self.committed = start

    def forget(self) -> Iterable[int]:
        """The base stands for what this history has; where it came from elsewhere, there is nothing to forget."""
        first, slot = self.history.start, self.base.slot
        if not first < slot <= self.history.end:
            return ()
        self.history.forget(slot)
        return range(first, slot)

    def keep(self, effects: Effects) -> Effects:
        """Kept before anything is said; epochs and the history that belongs to them in one batch."""
        kept = super().keep(effects)
        if Pitfall.ACKNOWLEDGES_BEFORE_PERSISTED in self.pitfalls:
            kept.sort(key=lambda effect: isinstance(effect, Persist))
        if Pitfall.SYNC_NOT_ATOMIC in self.pitfalls:
            kept = [one._replace(sync=True, more=False) if isinstance(one, Persist) else one for one in kept]
        return kept

    def append(self, entry: bytes, now_ns: int) -> Effects:
        """As leader: into the history, and to all that have what is before it."""
        reign = self._reign()
        reign.counter += 1
        slot, txn = self.history.end, Txn(Zxid(self.accepted, reign.counter), entry)
        self.history.append(txn)
        self.touched.add(slot)
        told = self._proposal(slot, [txn])
        effects = [self._say(node, told) for node, peer in reign.peers.items() if peer.synced]
        return effects + self._advance(now_ns)

    def confirm(self, reader: int, ticket: bytes, mode: str, now_ns: int) -> Effects:  # noqa: ARG002 - only the index
        """What is committed when it comes, once a quorum has said after that that it has promised no later epoch."""
        reign = self._reign()
        if Pitfall.READ_UNCONFIRMED in self.pitfalls:
            return self.answer_read(reader, ticket, self.committed)
        reign.pings += 1
        reign.reads.append(Asked(reign.pings, self.committed, reader, ticket))
        return [*self._ping(), *self._confirmed()]

    def expire(self, name: str, now_ns: int) -> Effects:
        """``tick``: every retry_ns. ``settle``: no better candidate has turned up."""
        if name == _SETTLE:
            return self._elect(now_ns) if self.role is Role.LOOKING else []
        return [self._await_tick(now_ns), *self._tick(now_ns)]

    def receive(self, src: int, heard: frames.Message, now_ns: int) -> Effects:
        """Another member said something."""
        said = read(heard)
        if said is None:
            return [Note("stray", heard.round, "no message of Zab", heard)]
        if said.step is Step.VOTE:
            return self._heard_vote(src, said, now_ns)
        if said.step in _TO_LEADERS:
            return self._heard_follower(src, said, now_ns)
        if self.role is not Role.FOLLOWING or src != self.follows or said.epoch < self.accepted:
            return []
        if said.step is not Step.NEWEPOCH and said.epoch != self.accepted:
            return []
        self.heard_ns = now_ns
        return self._heard_leader(src, said, now_ns)

    def _tick(self, now_ns: int) -> Effects:
        match self.role:
            case Role.LOOKING:
                return self._tell_vote()
            case Role.FOLLOWING if now_ns >= self.heard_ns + self._wait_ns():
                return self._look(now_ns)
            case Role.FOLLOWING:
                return [] if self.up_to_date else [*([] if self.greeted else self._greet()), *self._tell_vote()]
            case Role.LEADING:
                return self._beat(now_ns)

    # -- phase 0: who is to lead ---------------------------------------------------------------------------------------

    @property
    def counts(self) -> bool:
        """Whether this node's word counts: no earlier life has said what it does not know of."""
        return not self.learns_only or Pitfall.FRESH_LIFE_VOTES in self.pitfalls

    def standing(self) -> Standing:
        """How far this node is."""
        return Standing(self.current, self.history.last, self.history.end)

    def _wait_ns(self) -> int:
        """One that leads is heard every retry_ns; until it does, it takes as many delays as the phases have."""
        return self.patience_ns << (min(self.failed, MOST_DOUBLINGS) if self.settled_ns is None else 0)

    def _look(self, now_ns: int) -> Effects:
        """In a new election, for oneself at first."""
        if self.role is not Role.LOOKING:
            lasted = self.settled_ns is not None and now_ns >= self.settled_ns + self.patience_ns
            self.failed = 0 if lasted else self.failed + 1
        self.role, self.follows, self.reign = Role.LOOKING, None, None
        self.up_to_date, self.settled_ns = False, None
        if Pitfall.ONE_EPOCH_FOR_BOTH in self.pitfalls:
            self.current = self.accepted
        self._vote_anew(self.election.clock + 1)
        return [*self._tell_vote(), *self._count(now_ns)]

    def _vote_anew(self, clock: int) -> None:
        self.election.begin(clock, self.config.node, Choice(self.standing(), self.rank))

    def _tell_vote(self) -> Effects:
        return [self._say(node, self._vote()) for node in self.ports]

    def _vote(self) -> Message:
        """For whom; a leader says that it leads."""
        leads = self.role is Role.LEADING
        choice = Choice(self.standing(), self.rank) if leads else self.election.votes[self.config.node]
        numbers = self.election.clock, *of_standing(choice.standing), choice.rank
        return Message(Step.VOTE, self.accepted, numbers, (), Flag.LEADS if leads else self._learns())

    def _heard_vote(self, src: int, said: Message, now_ns: int) -> Effects:
        clock = said.numbers[0]
        if Flag.LEADS in said.flags:
            return self._found(src, clock, read_choice(said), now_ns)
        effects: Effects = []
        waits = self.role is Role.FOLLOWING and (src == self.follows or not self.up_to_date)
        if waits and clock > self.election.clock:  # its leader does not lead any more, or does not yet
            effects = self._look(now_ns)
        if self.role is Role.LOOKING and Flag.LEARNS not in said.flags and self.counts:
            return effects + self._weigh(src, clock, read_choice(said), now_ns)
        return [self._say(src, self._vote())] if self.role is Role.LEADING else effects

    def _found(self, src: int, clock: int, leads: Choice, now_ns: int) -> Effects:
        """One that leads, or is about to: this node votes for it too, unless it has another leader by now."""
        if self.role is Role.LEADING or self.up_to_date or src == self.follows or leads.rank >= self.config.n:
            return []
        self.election.clock = clock  # of the leader's election, so that its next one is seen to be a later one
        self.election.votes[self.config.node] = leads
        return self._join(src, now_ns)

    def _weigh(self, src: int, clock: int, heard: Choice, now_ns: int) -> Effects:
        """A vote of an election before this one is answered only: who has cast it catches up."""
        election, me = self.election, self.config.node
        if heard.rank >= self.config.n:
            return []
        if clock < election.clock:
            return [self._say(src, self._vote())]
        newer = clock > election.clock
        if newer:
            self._vote_anew(clock)
        election.votes[src] = heard
        news = election.adopts(me, heard) or newer
        effects = [CancelTimer(_SETTLE), *self._tell_vote()] if news else []
        return effects + self._count(now_ns)

    def _count(self, now_ns: int) -> Effects:
        """All vote alike: that is it. A quorum does: wait for a better candidate a little."""
        alike = self.election.alike(self.config.node) if self.counts else 0
        if alike == self.config.n:
            return self._elect(now_ns)
        if alike < self.quorum or self.election.settling:
            return []
        self.election.settling = True
        return [SetTimer(_SETTLE, now_ns + self.config.protocol.retry_ns)]

    def _would_lead(self) -> bool:
        """Whether a quorum, this node among it, votes for it."""
        election, me = self.election, self.config.node
        return self.counts and election.votes[me].rank == self.rank and election.alike(me) >= self.quorum

    def _elect(self, now_ns: int) -> Effects:
        self.election.settling = False
        if self.election.alike(self.config.node) < self.quorum:
            return []
        chosen = self.config.members[self.election.votes[self.config.node].rank]
        ended: Effects = [CancelTimer(_SETTLE)]
        return ended + (self._lead(now_ns) if chosen == self.config.node else self._join(chosen, now_ns))

    # -- following -----------------------------------------------------------------------------------------------------

    def _join(self, leader: int, now_ns: int) -> Effects:
        self.role, self.follows, self.heard_ns, self.greeted = Role.FOLLOWING, leader, now_ns, False
        return self._greet()

    def _greet(self) -> Effects:
        assert self.follows is not None
        return [self._say(self.follows, Message(Step.CEPOCH, self.accepted, (), (), self._learns()))]

    def _heard_leader(self, src: int, said: Message, now_ns: int) -> Effects:
        """The one that this node follows, in the epoch that it has promised or in a later one."""
        match said.step:
            case Step.NEWEPOCH:
                return self._promise(src, said.epoch)
            case Step.NEWLEADER:
                return self._take_over(src, said)
        if self.current != said.epoch and Pitfall.COMMITS_OLD_EPOCH_WITHOUT_SYNC not in self.pitfalls:
            return self._pong(src, said)
        effects: Effects = []
        if said.step is Step.PROPOSE:
            effects = self._accept(src, said)
        self.claim = max(self.claim, said.numbers[1] if said.step is Step.PROPOSE else said.numbers[0])
        if self.current == said.epoch and (said.step is not Step.PING or Flag.LEADS in said.flags):
            self.up_to_date = True
            self.settled_ns = now_ns if self.settled_ns is None else self.settled_ns
        return [*effects, *self._commit(min(self.claim, self.history.end)), *self._pong(src, said)]

    def _promise(self, src: int, epoch: int) -> Effects:
        """Discovery: an epoch is promised to one leader, once."""
        self.greeted = True
        if epoch > self.accepted:
            self.accepted = self.term = epoch
            self.promised_to = src
            self.up_to_date, self.claim = False, 0
            self.early.clear()
        promised = Flag.PROMISED if self.promised_to == src else Flag(0)
        numbers = of_standing(self.standing())
        return [self._say(src, Message(Step.ACK_EPOCH, epoch, numbers, (), promised | self._learns()))]

    def _take_over(self, src: int, said: Message) -> Effects:
        """Synchronisation: the epoch begins with this history. Once it has begun here, this comes late; unless it is a
        state in place of transactions that are lacking, and are there no more."""
        if self.current == said.epoch and said.numbers[0] <= self.history.end:
            return self._acknowledge(src)
        taken = self._taken(said)
        if taken is None:
            return []
        self.current = said.epoch
        return [*taken, *self._acknowledge(src)]

    def _taken(self, said: Message) -> Effects | None:
        """What comes of the history that is told; None: it is none, or goes on from where this one does not get to."""
        slot, before, (state, *parts) = said.numbers[0], Zxid(*said.numbers[1:]), said.parts or (b"",)
        txns, end = read_txns(parts), self.history.end
        if txns is None:
            return None
        if state:
            base, first = read_base(state), self.history.start
            if base is None or base.slot != slot or slot <= self.slot:
                return None
            self.history = History(slot, before, txns)
            self.touched |= set(range(first, max(end, self.history.end)))
            self.committed = slot
            return self.take_on(state)
        if self.history.zxid_before(slot) != before:
            return None
        self.history.take_over(slot, txns, Pitfall.TAIL_NOT_CUT in self.pitfalls)
        self.touched |= set(range(slot, max(end, self.history.end)))
        return []

    def _accept(self, src: int, said: Message) -> Effects:
        """Broadcast: transactions in the order in which they were proposed; the leader says again what is missing."""
        slot, txns, end = said.numbers[0], read_txns(said.parts), self.history.end
        if txns is None or self.current != said.epoch:
            return []
        if Pitfall.ACCEPTS_PAST_GAP in self.pitfalls:
            slot = min(slot, end)
        for place, txn in enumerate(txns, slot):
            if end <= place < end + _FURTHEST:
                self.early[place] = txn
        while (txn_here := self.early.pop(self.history.end, None)) is not None:
            self.touched.add(self.history.end)
            self.history.append(txn_here)
        return [] if slot > end else self._acknowledge(src)

    def _acknowledge(self, src: int) -> Effects:
        return [self._say(src, Message(Step.ACK, self.accepted, (self.history.end,), (), self._learns()))]

    def _pong(self, src: int, said: Message) -> Effects:
        if said.step is not Step.PING:
            return []
        return [self._say(src, Message(Step.PONG, said.epoch, said.numbers[1:], (), self._learns()))]

    def _commit(self, slot: int) -> Effects:
        """All below ``slot`` is committed: tell it."""
        self.committed = max(self.committed, slot)
        effects: Effects = []
        while self.slot < self.committed and (txn := self.history.at(self.slot)) is not None:
            effects += self.tell(txn.data, txn.zxid.epoch)
        return effects

    # -- leading -------------------------------------------------------------------------------------------------------

    def _reign(self) -> Reign:
        assert self.reign is not None, "only a leader is asked this"
        return self.reign

    def _lead(self, now_ns: int) -> Effects:
        self.role, self.reign = Role.LEADING, Reign(now_ns)
        return self._choose_epoch(now_ns)

    def _heard_follower(self, src: int, said: Message, now_ns: int) -> Effects:
        effects: Effects = []
        if self.role is Role.LOOKING and said.step is Step.CEPOCH and self._would_lead():
            effects = self._elect(now_ns)  # another waits for no better candidate any more
        return effects if self.reign is None else [*effects, *self._heard_by_leader(self.reign, src, said, now_ns)]

    def _heard_by_leader(self, reign: Reign, src: int, said: Message, now_ns: int) -> Effects:
        learns = Flag.LEARNS in said.flags
        if said.step is Step.CEPOCH:
            peer = reign.peers.setdefault(src, Peer(now_ns))
            peer.heard_ns, peer.learns = now_ns, learns
            return self._greeted(src, said.epoch, now_ns)
        if said.epoch != reign.epoch:
            return []
        if src not in reign.peers:  # it was taken for dead
            reign.peers[src] = Peer(now_ns, learns)
            return [self._say(src, Message(Step.NEWEPOCH, said.epoch))]
        peer = reign.peers[src]
        peer.heard_ns, peer.learns = now_ns, learns
        if said.step is Step.ACK_EPOCH:
            return self._heard_promise(src, peer, said, now_ns)
        if said.step is Step.PONG:
            if said.numbers[0] <= reign.pings:
                peer.answered = max(peer.answered, said.numbers[0])
            return self._confirmed()
        return self._heard_ack(src, peer, said.numbers[0], now_ns)

    # discovery

    def _greeted(self, src: int, promised: int, now_ns: int) -> Effects:
        """One more follows. One that has promised a later epoch can't follow in this one: another begins."""
        reign = self._reign()
        self.term = max(self.term, promised)
        if reign.epoch is None:
            return self._choose_epoch(now_ns)
        if promised > reign.epoch:
            return self._look(now_ns)
        peer = reign.peers[src]
        if Step.NEWEPOCH in peer.lately:
            return []
        peer.lately.add(Step.NEWEPOCH)
        return [self._say(src, Message(Step.NEWEPOCH, reign.epoch))]

    def _choose_epoch(self, now_ns: int) -> Effects:
        """A quorum follows: an epoch above all that it has promised."""
        reign = self._reign()
        if 1 + len(reign.counting()) < self.quorum:
            return []
        reign.epoch = self.accepted = self.term = self.term + 1
        self.promised_to = self.config.node
        asks = [self._say(node, Message(Step.NEWEPOCH, reign.epoch)) for node in reign.peers]
        return [*asks, *self._discover(now_ns)]

    def _heard_promise(self, src: int, peer: Peer, said: Message, now_ns: int) -> Effects:
        """Of those who promise nobody may know more than this node, with whose history the epoch is to begin."""
        reign = self._reign()
        standing = peer.standing = read_standing(said.numbers)
        if reign.discovered:
            peer.synced, peer.acked = False, -1 if peer.learns else peer.acked
            return self._synchronise(src, peer)
        if Flag.PROMISED not in said.flags or peer.learns:
            return []
        behind = standing.key(self.pitfalls) > self.standing().key(self.pitfalls)
        if behind and Pitfall.BEHIND_AND_LEADS not in self.pitfalls:
            return self._look(now_ns)
        reign.promised.add(src)
        return self._discover(now_ns)

    def _discover(self, now_ns: int) -> Effects:
        """A quorum has promised: discovery is over."""
        reign = self._reign()
        if 1 + len(reign.promised) < self.quorum:
            return []
        reign.discovered = True
        reign.begins = self.history.end
        self.current = self.accepted
        effects: Effects = []
        for node, peer in reign.peers.items():
            if peer.standing is not None:
                effects += self._synchronise(node, peer)
        return effects + self._advance(now_ns)

    # synchronisation

    def _synchronise(self, node: int, peer: Peer) -> Effects:
        """Tell it where its history parts from this one, and what stands there; a state, where that is not kept."""
        if Step.NEWLEADER in peer.lately:
            return []
        peer.lately.add(Step.NEWLEADER)
        slot = None if peer.synced or peer.standing is None else self.history.shared(peer.standing.last)
        state = b"" if slot is not None else self.base.pack()
        slot = self.history.start if slot is None else slot
        before = self.history.zxid_before(slot)
        assert before is not None, "it is kept from there on"
        parts = (state, *map(pack_txn, self.history.since(slot)))
        return [self._say(node, Message(Step.NEWLEADER, self.accepted, (slot, *before), parts))]

    def _heard_ack(self, src: int, peer: Peer, slot: int, now_ns: int) -> Effects:
        """It has all below ``slot``."""
        reign = self._reign()
        if not reign.discovered or slot > self.history.end:
            return []
        joins, goes_on = not peer.synced, peer.acked < slot == peer.again
        peer.synced, peer.acked = True, max(peer.acked, slot)
        knows = not (joins and reign.established)
        effects = self._advance(now_ns)
        if not knows:
            effects.append(self._say(src, self._word()))
        return effects + (self._feed(src, peer) if joins or goes_on else [])

    def _feed(self, node: int, peer: Peer) -> Effects:
        """What it lacks, or the first of it; a state where that is there no more."""
        if peer.acked < self.history.start:
            return self._synchronise(node, peer)
        txns = self.history.since(peer.acked, self.batch)
        peer.again = peer.acked + len(txns)
        return [self._say(node, self._proposal(peer.acked, txns))] if txns else []

    # broadcast

    def _proposal(self, slot: int, txns: Collection[Txn]) -> Message:
        return Message(Step.PROPOSE, self.accepted, (slot, self.committed), tuple(map(pack_txn, txns)))

    def _word(self) -> Message:
        return Message(Step.COMMIT, self.accepted, (self.committed,))

    def _advance(self, now_ns: int) -> Effects:
        """What a quorum has is committed: first all with which the epoch began, of whatever epochs that is, for a
        quorum has taken it over in this one; then transaction by transaction."""
        reign = self._reign()
        acked = sorted([self.history.end, *(peer.acked for peer in reign.counting())], reverse=True)
        slot = acked[self.quorum - 1] if len(acked) >= self.quorum else -1
        if Pitfall.COMMITS_BEFORE_QUORUM_SYNCED in self.pitfalls:
            slot = max(slot, reign.begins)
        early = Pitfall.PROPOSES_BEFORE_QUORUM_SYNCED in self.pitfalls
        begins = not reign.established and (slot >= reign.begins or early)
        if begins:
            reign.established, self.settled_ns = True, now_ns
        if not begins and slot <= self.committed:
            return []
        told = self._commit(slot) if slot > self.committed else []
        return [*told, *(self._say(node, self._word()) for node, peer in reign.peers.items() if peer.synced)]

    def _beat(self, now_ns: int) -> Effects:
        """A leader that hears no quorum, or that none follows in time, is none. Others are told what they wait for."""
        reign = self._reign()
        for node in [node for node, peer in reign.peers.items() if now_ns >= peer.heard_ns + self._wait_ns()]:
            del reign.peers[node]
        since_ns = now_ns - reign.since_ns
        alone = since_ns >= self._wait_ns() and 1 + len(reign.counting()) < self.quorum
        if alone or (since_ns >= 2 * self._wait_ns() and not reign.established):
            return self._look(now_ns)
        reign.pings += 1
        effects: Effects = []
        for node, peer in reign.peers.items():
            effects += self._repeat(node, peer)
        return [*effects, *self._ping()]

    def _repeat(self, node: int, peer: Peer) -> Effects:
        """What was said to it before the last beat and is not answered yet."""
        reign, lately, beaten = self._reign(), peer.lately, peer.beaten
        peer.lately, peer.beaten = set(), self.history.end
        if reign.epoch is None or Step.NEWLEADER in lately:
            return []
        if peer.synced:
            return self._feed(node, peer) if peer.acked < beaten else []
        if peer.standing is None or not reign.discovered:
            return [self._say(node, Message(Step.NEWEPOCH, reign.epoch))]
        return self._synchronise(node, peer)

    # -- reads ---------------------------------------------------------------------------------------------------------

    def _ping(self) -> Effects:
        """A heartbeat, and a question: does this node still lead?"""
        reign = self._reign()
        if not reign.discovered:
            return []
        leads = Flag.LEADS if reign.established else Flag(0)
        ping = Message(Step.PING, self.accepted, (self.committed, reign.pings), (), leads)
        return [self._say(node, ping) for node in reign.peers]

    def _confirmed(self) -> Effects:
        """The reads that a quorum has confirmed."""
        reign = self._reign()
        answered = sorted([reign.pings, *(peer.answered for peer in reign.counting())], reverse=True)
        until = answered[self.quorum - 1] if len(answered) >= self.quorum else 0
        ready = [one for one in reign.reads if one.ping <= until]
        reign.reads = [one for one in reign.reads if one.ping > until]
        return [effect for one in ready for effect in self.answer_read(one.reader, one.ticket, one.slot)]

    # -- help ----------------------------------------------------------------------------------------------------------

    def _learns(self) -> Flag:
        return Flag(0) if self.counts else Flag.LEARNS

    def _say(self, node: int, said: Message) -> Send:
        return Send(self.ports[node], said.frame())

    def _await_tick(self, now_ns: int) -> SetTimer:
        return SetTimer(_TICK, now_ns + self.config.protocol.retry_ns)
