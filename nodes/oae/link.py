"""One end of the bilateral link: atomic swaps of register values with one peer, as a sans-I/O machine.

What an end does in which state is a table (testbed.nodes.oae.table), also drawn in docs/link.md; here it is found out
what has happened, and the table's deeds are done.

States per swap: TENTATIVE (the own value is offered) -> REFLECTING (the peer's value is here and goes back) ->
COMMITTED (the last message that this end expects has come). See arXiv 2603.03743 for the states and Borrill,
arXiv 2602.20444, for the claim; the message format is our own (docs/wire-format.md).

Handshakes. ``alternating`` with depth k >= 2: the lower node number sends step 1, steps alternate, each end commits
on the last step that it receives. ``simultaneous``: both send step 1 at once and commit on the other's; step 2 is the
answer to a step 1 that comes again (reconcile only).

Horizon policies, applied when the window W has passed without the evidence: ``abort`` ends the swap in bounded time and
may split; ``hold`` stays in doubt, never splits and may block; ``reconcile`` holds and repeats its last message until
the peer answers, also over restarts with kept state. Two Generals (Gray 1978): no policy is bounded and split-free.

A reconciling end remembers a resolved swap for as long as the peer may ask about it: until a frame of a later round
says that the peer has nothing in doubt of the rounds before (the flag SETTLED). This stays true over any restart: what
is resolved stays so, and a life that has lost its state asks about nothing. What is remembered is what a disk has to
hold; messages of the round to come are not among it, and are lost with a life as if they had been lost on their way.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from testbed.nodes.core import (
    Effect,
    Effects,
    Life,
    LinkState,
    Note,
    Outcome,
    Port,
    Resolve,
    Send,
    SwapId,
    Transition,
    swap_id,
)
from testbed.nodes.core.disk import pack, unpack
from testbed.nodes.frames import EMPTY_BODY, Kind, Message
from testbed.nodes.oae.table import TABLE, Act, Deed, LinkEvent, Remark

HANDSHAKES = ("alternating", "simultaneous")
HORIZONS = tuple(TABLE)

# Classes, and members of enumerations, that every message asks for: looking one up takes as long as a small deed.
_SEND: Final = Send
_MESSAGE: Final = Message
_TRANSITION: Final = Transition
_SWAP: Final = Kind.SWAP
_RESET: Final = Kind.RESET
_STRAY: Final = LinkEvent.STRAY
_COMMITTED: Final = LinkState.COMMITTED
_IN_DOUBT: Final = LinkState.IN_DOUBT

_OPEN: Final = (LinkState.TENTATIVE, LinkState.REFLECTING)
_PROGRESS: Final = (LinkEvent.STEP, LinkEvent.LAST, LinkEvent.FINAL)
_RESOLVED: Final = (LinkState.COMMITTED, LinkState.ABORTED)
SETTLED: Final = 2
"""Frame flag: of the rounds before this one, the sender has no swap left that it will ask about (reconcile only)."""


@dataclass(slots=True, init=False)
class End:
    """One end's knowledge of one swap. got, sent: the latest steps received and sent (0 = none).

    deadline_ns: its horizon, on the run's clock. peer_epoch: the peer's life, as known when the round began. flags and
    peer_flags travel with the values; the link gives a meaning to SETTLED alone.
    """

    id: SwapId
    value: bytes
    deadline_ns: int
    peer_epoch: int
    flags: int
    state: LinkState
    peer_value: bytes
    peer_flags: int
    got: int
    sent: int
    doubted: bool  # was in doubt at its horizon: what it brings later comes too late for its round
    abandoned: bool  # the peer has lost its state: nothing that we could send would resolve this

    def __init__(  # written out so that it can be compiled: one is made at each end of every swap
        self,
        id: SwapId,
        value: bytes,
        deadline_ns: int,
        peer_epoch: int,
        flags: int = 0,
        state: LinkState = LinkState.IDLE,
        peer_value: bytes = EMPTY_BODY,
        peer_flags: int = 0,
        got: int = 0,
        sent: int = 0,
        doubted: bool = False,
        abandoned: bool = False,
    ) -> None:
        self.id, self.value, self.deadline_ns, self.peer_epoch, self.flags = id, value, deadline_ns, peer_epoch, flags
        self.state, self.peer_value, self.peer_flags = state, peer_value, peer_flags
        self.got, self.sent, self.doubted, self.abandoned = got, sent, doubted, abandoned


@cache
def _steps(handshake: str, depth: int, initiates: bool, horizon: str) -> tuple[LinkEvent, ...]:
    """What step 0, 1, .. is to an end that hears it for the first time."""
    if handshake == "simultaneous":
        return (LinkEvent.STRAY, LinkEvent.FINAL, LinkEvent.FINAL)
    mine = range(0 if initiates else 1, depth + 1, 2)
    last = mine[-1]
    new = LinkEvent.LAST if last < depth else LinkEvent.FINAL
    events = [
        (new if step == last else LinkEvent.STEP) if step in mine else LinkEvent.STRAY for step in range(depth + 1)
    ]
    if horizon != "reconcile":
        events[0] = LinkEvent.STRAY  # it only asks, and nobody is asked under the other policies
    return tuple(events)


_NO_END: Final = End(SwapId(-1, -1, -1), b"", 0, 0)  # of a swap of which nothing is known; it is never changed
_NO_MESSAGE: Final = Message(Kind.SWAP, -1, 0)  # of an event that no message brings
_NO_LIFE: Final = Life(0, 0)


@dataclass(slots=True)
class Link:
    """This node's end of the link to ``peer``. Drive it with start, on_message, expire and retry.

    depth: k, ignored by the simultaneous handshake. first_epoch: the earliest life whose state this end still holds (a
    kept state spans several lives). peer_epoch: the peer's life as last heard of. round: the latest one that has begun
    here or was left to an earlier life. settled: the peer asks about nothing of the rounds before it. told: the round
    whose ending was told last. early: messages of the round to come. steps: what each step is to this end, when new.

    Rounds of ``ends``, so that nobody need look through all of them: unresolved: of those neither resolved nor
    abandoned, in order; resolved: of those that are, in order; changed: those of which ``news`` is to tell, if the
    disk is kept (keeps).
    """

    me: int
    peer: int
    port: Port
    depth: int
    handshake: str
    horizon: str
    first_epoch: int
    keeps: bool = False
    peer_epoch: int = 0
    round: int = -1
    settled: int = 0
    told: int = -1
    ends: dict[int, End] = field(default_factory=dict)
    early: list[tuple[Message, Life]] = field(default_factory=list)
    unresolved: list[int] = field(default_factory=list)
    resolved: list[int] = field(default_factory=list)
    changed: set[int] = field(default_factory=set)
    steps: tuple[LinkEvent, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown handshake or horizon, or an alternating depth below 2."""
        if self.handshake not in HANDSHAKES:
            raise ValueError(f"handshake {self.handshake!r} is none of {', '.join(HANDSHAKES)}")
        if self.horizon not in HORIZONS:
            raise ValueError(f"horizon {self.horizon!r} is none of {', '.join(HORIZONS)}")
        if self.handshake == "alternating" and self.depth < 2:
            raise ValueError(f"an alternating handshake needs a depth of 2 or more, not {self.depth}")
        self.steps = _steps(self.handshake, self.depth, self.initiates, self.horizon)

    @property
    def initiates(self) -> bool:
        """Whether this end sends step 1 unasked."""
        return self.handshake == "simultaneous" or self.me < self.peer

    # -- what happens ------------------------------------------------------------------------------------------------

    def start(self, round_: int, value: bytes, deadline_ns: int, now_ns: int, flags: int = 0) -> Effects:
        """Round ``round_`` begins: offer ``value``. A start after the deadline (the node was held up) sends nothing."""
        self.round = round_
        self._forget()
        end = self.ends[round_] = End(swap_id(round_, self.me, self.peer), value, deadline_ns, self.peer_epoch, flags)
        self.unresolved.append(round_)
        opens = self.initiates and now_ns <= deadline_ns
        effects = self._react(end, LinkEvent.OPEN if opens else LinkEvent.AWAIT)
        waiting, self.early = self.early, []
        for message, life in waiting:
            effects += self.on_message(message, life, now_ns)
        return effects

    def on_message(self, message: Message, life: Life, now_ns: int) -> Effects:
        """A SWAP or RESET from the peer."""
        _, round_, _, _, flags = message
        epoch, _ = life
        end = self.ends.get(round_, _NO_END)
        if epoch < self.peer_epoch:
            return self._react(end, LinkEvent.STALE, message)
        self.peer_epoch = epoch
        if not self._answers_me(message, life):
            return self._react(end, self._unknown(message), message)
        if flags & SETTLED:
            self.settled = max(self.settled, round_)
        if end is _NO_END:
            return self._react(end, self._without_end(message), message, life)
        event = self._event(end, message)
        if now_ns > end.deadline_ns and event in _PROGRESS and end.state in _OPEN:
            # the horizon's timer is late itself (the node was held up)
            return [*self._react(end, LinkEvent.HORIZON), *self._react(end, event, message)]
        return self._react(end, event, message)

    def expire(self, now_ns: int) -> Effects:
        """The horizon of the current round has come."""
        end = self.ends.get(self.round)
        return self._react(end, LinkEvent.HORIZON) if end is not None and now_ns >= end.deadline_ns else []

    def retry(self) -> Effects:
        """Reconcile: repeat the last message of each swap in doubt. An initiator that has sent none opens the swap now;
        the other end leaves that to it, unless it has restarted and may know nothing: then step 0 asks."""
        effects: Effects = []
        for end in self.in_doubt():
            if end.sent or self.initiates or end.peer_epoch != self.peer_epoch:
                effects += self._react(end, LinkEvent.RETRY)
        return effects

    def in_doubt(self) -> list[End]:
        """The swaps that a reconciling end still works on."""
        if self.horizon != "reconcile":
            return []
        return [end for round_ in self.unresolved if (end := self.ends[round_]).state is _IN_DOUBT]

    def committed(self) -> End | None:
        """The current round's swap when it has committed here by its horizon, else None."""
        end = self.ends.get(self.round)
        return end if end is not None and end.state is _COMMITTED and not end.doubted else None

    def resume(self) -> Effects:
        """After a restart with kept state: tell the ending told last again; the crash may have swallowed it."""
        end = self.ends.get(self.told)
        return [self._resolution(end)] if end is not None else []

    # -- what a later life must know -------------------------------------------------------------------------------

    def known(self) -> bytes:
        """What is remembered of the peer."""
        return pack(self.first_epoch, self.peer_epoch, self.settled, self.told)

    def news(self) -> dict[int, bytes | None]:
        """What is remembered of each swap that has changed since this was asked; None: it has been forgotten."""
        changed, self.changed = sorted(self.changed), set()
        return {round_: self._known_end(round_) for round_ in changed}

    def _known_end(self, round_: int) -> bytes | None:
        end = self.ends.get(round_)
        if end is None:
            return None
        return pack(
            end.value.hex(),
            end.deadline_ns,
            end.peer_epoch,
            end.flags,
            end.state,
            end.peer_value.hex(),
            end.peer_flags,
            end.got,
            end.sent,
            end.doubted,
            end.abandoned,
        )

    def recall(self, known: bytes, ends: Mapping[int, bytes], round_: int) -> None:
        """What an earlier life remembered, in which ``round_`` was the latest to begin."""
        self.first_epoch, self.peer_epoch, self.settled, self.told = unpack(known)
        self.round = round_
        for number, data in sorted(ends.items()):
            value, deadline_ns, peer_epoch, flags, state, peer_value, *rest = unpack(data)
            end = self.ends[number] = End(
                swap_id(number, self.me, self.peer),
                bytes.fromhex(value),
                deadline_ns,
                peer_epoch,
                flags,
                LinkState(state),
                bytes.fromhex(peer_value),
                *rest,
            )
            if end.state in _RESOLVED:
                self.resolved.append(number)
            elif not end.abandoned:
                self.unresolved.append(number)

    # -- what has happened -------------------------------------------------------------------------------------------

    def _answers_me(self, message: Message, life: Life) -> bool:
        """Whether this life may act on the message: an opening always (its sender may not know yet that we have
        restarted, and learns it from our answer), an answer only when it answers a life whose state we hold."""
        kind, _, step, _, _ = message
        _, answers = life
        opening = kind is _SWAP and step == 1
        return opening or answers == 0 or answers >= self.first_epoch

    def _event(self, end: End, message: Message) -> LinkEvent:
        """Of a swap that has begun here."""
        kind, _, step, _, _ = message
        if kind is _RESET:
            return LinkEvent.RESET
        event = self.steps[step] if step < len(self.steps) else _STRAY
        if event is _STRAY:
            return event
        if step <= end.got or end.state is _COMMITTED:
            # The peer repeats itself: our answer was lost. Answers to answers only climb, and so come to an end.
            return LinkEvent.AGAIN if step == end.got and self._answer_sent(end) > step else LinkEvent.OLD
        return event

    def _without_end(self, message: Message) -> LinkEvent:
        """Of a swap of which this end knows nothing, not yet or not any more."""
        if message.round <= self.round:
            return self._unknown(message)
        if message.round == self.round + 1 and message.kind is Kind.SWAP:
            return LinkEvent.EARLY  # the peer's round began a moment before ours
        return LinkEvent.FAR

    def _unknown(self, message: Message) -> LinkEvent:
        """Of a swap that this life knows nothing of."""
        nobody_waits = message.kind is Kind.RESET or message.round < self.settled
        return LinkEvent.PAST if nobody_waits else LinkEvent.UNKNOWN

    def _answer_sent(self, end: End) -> int:
        """The step that answers a peer which repeats itself: the latest sent, and 2 where nothing but 1 was."""
        return 2 if self.handshake == "simultaneous" else end.sent

    # -- what is done about it ---------------------------------------------------------------------------------------

    def _react(self, end: End, event: LinkEvent, message: Message = _NO_MESSAGE, life: Life = _NO_LIFE) -> Effects:
        """The deeds of the table for ``event`` in the end's state."""
        effects: Effects = []
        for deed in _DEEDS[self.horizon][end.state][event]:
            effect = deed(self, end, message, life)
            if effect is not None:
                effects.append(effect)
        if self.keeps and end is not _NO_END:
            self.changed.add(end.id.round)
        return effects

    def _resolution(self, end: End) -> Resolve:
        self.told, _, _ = end.id
        if end.state is _COMMITTED:
            return Resolve(end.id, Outcome.COMMITTED, end.peer_value)
        return Resolve(end.id, Outcome.ABORTED if end.state is LinkState.ABORTED else Outcome.IN_DOUBT, end.value)

    def _send(self, end: End, step: int) -> Send:
        end.sent = step
        flags = end.flags
        if self.horizon == "reconcile" and self._asks_about_nothing_before():
            flags |= SETTLED
        round_, _, _ = end.id
        return _SEND(self.port, _MESSAGE(_SWAP, round_, step, end.value, flags))

    def _asks_about_nothing_before(self) -> bool:
        return not self.unresolved or self.unresolved[0] >= self.round

    def _close(self, end: End) -> None:
        """This end asks about the swap no more."""
        round_, _, _ = end.id
        place = bisect_left(self.unresolved, round_)
        if self.unresolved[place : place + 1] == [round_]:
            del self.unresolved[place]

    def _forget(self) -> None:
        """Drop what no later frame can need: resolved swaps, except those that the peer may still ask about."""
        keep_from = self.settled if self.horizon == "reconcile" else self.round
        gone = self.resolved[: bisect_left(self.resolved, keep_from)]
        if not gone:
            return
        for round_ in gone:
            del self.ends[round_]
        del self.resolved[: len(gone)]
        if self.keeps:
            self.changed.update(gone)


# -- the deeds ---------------------------------------------------------------------------------------------------------

_Do = Callable[[Link, End, Message, Life], Effect | None]


def _take(_link: Link, end: End, message: Message, _life: Life) -> None:
    _, _, end.got, end.peer_value, end.peer_flags = message


def _open(link: Link, end: End, _message: Message, _life: Life) -> Send:
    return link._send(end, 1)


def _answer(link: Link, end: End, message: Message, _life: Life) -> Send:
    return link._send(end, message.step + 1)


def _repeat(link: Link, end: End, _message: Message, _life: Life) -> Send:
    return link._send(end, link._answer_sent(end))


def _ask(link: Link, end: End, _message: Message, _life: Life) -> Send:
    return link._send(end, end.sent or int(link.initiates))


def _reset(link: Link, _end: End, message: Message, _life: Life) -> Send:
    return Send(link.port, Message(Kind.RESET, message.round, message.step))


def _tell(link: Link, end: End, _message: Message, _life: Life) -> Resolve:
    return link._resolution(end)


def _keep(link: Link, _end: End, message: Message, life: Life) -> None:
    link.early.append((message, life))


def _abandon(link: Link, end: End, _message: Message, _life: Life) -> None:
    end.abandoned = True
    link._close(end)


_ACTS: dict[Act, _Do] = {
    Act.TAKE: _take,
    Act.OPEN: _open,
    Act.ANSWER: _answer,
    Act.REPEAT: _repeat,
    Act.ASK: _ask,
    Act.RESET: _reset,
    Act.TELL: _tell,
    Act.KEEP: _keep,
    Act.ABANDON: _abandon,
}


def _entering(state: LinkState) -> _Do:
    resolves = state in _RESOLVED

    def enter(link: Link, end: End, _message: Message, _life: Life) -> Transition:
        old, end.state = end.state, state
        if resolves:
            link._close(end)
            insort(link.resolved, end.id.round)
        elif state is _IN_DOUBT:
            end.doubted = True
        return _TRANSITION(end.id, old, state)

    return enter


def _remarking(remark: Remark) -> _Do:
    def note(_link: Link, _end: End, message: Message, _life: Life) -> Note:
        return Note(remark.what, message.round, remark.text.format(step=message.step), message)

    return note


def _doing(deed: Deed) -> _Do:
    if isinstance(deed, Act):
        return _ACTS[deed]
    return _entering(deed) if isinstance(deed, LinkState) else _remarking(deed)


_DEEDS: Final = {
    horizon: {
        state: {event: tuple(map(_doing, deeds)) for event, deeds in rows.items()} for state, rows in states.items()
    }
    for horizon, states in TABLE.items()
}
"""The table with functions in place of names."""
