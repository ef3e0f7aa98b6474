"""One end of the bilateral link: atomic swaps of register values with one peer, as a sans-I/O machine.

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
is resolved stays so, and a life that has lost its state asks about nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nodes.core import Effects, Life, LinkState, Note, Outcome, Port, Resolve, Send, SwapId, Transition, swap_id
from nodes.frames import EMPTY_BODY, Kind, Message

HANDSHAKES = ("alternating", "simultaneous")
HORIZONS = ("abort", "hold", "reconcile")

_OPEN = (LinkState.TENTATIVE, LinkState.REFLECTING)
_RESOLVED = (LinkState.COMMITTED, LinkState.ABORTED)
SETTLED = 2
"""Frame flag: of the rounds before this one, the sender has no swap left that it will ask about (reconcile only)."""


@dataclass(slots=True)
class End:
    """One end's knowledge of one swap. got, sent: the latest steps received and sent (0 = none).

    deadline_ns: its horizon, on the run's clock. peer_epoch: the peer's life, as known when the round began. flags and
    peer_flags travel with the values; the link gives a meaning to SETTLED alone.
    """

    id: SwapId
    value: bytes
    deadline_ns: int
    peer_epoch: int
    flags: int = 0
    state: LinkState = LinkState.TENTATIVE
    peer_value: bytes = EMPTY_BODY
    peer_flags: int = 0
    got: int = 0
    sent: int = 0
    doubted: bool = False  # was in doubt at its horizon: what it brings later comes too late for its round
    abandoned: bool = False  # the peer has lost its state: nothing that we could send would resolve this


@dataclass(slots=True)
class Link:
    """This node's end of the link to ``peer``. Drive it with start, on_message, expire and retry.

    depth: k, ignored by the simultaneous handshake. first_epoch: the earliest life whose state this end still holds (a
    kept state spans several lives). peer_epoch: the peer's life as last heard of. round: the latest one that has begun
    here or was left to an earlier life. settled: the peer asks about nothing of the rounds before it. told: the round
    whose ending was told last. early: messages of the round to come.
    """

    me: int
    peer: int
    port: Port
    depth: int
    handshake: str
    horizon: str
    first_epoch: int
    peer_epoch: int = 0
    round: int = -1
    settled: int = 0
    told: int = -1
    ends: dict[int, End] = field(default_factory=dict)
    early: list[tuple[Message, Life]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown handshake or horizon, or an alternating depth below 2."""
        if self.handshake not in HANDSHAKES:
            raise ValueError(f"handshake {self.handshake!r} is none of {', '.join(HANDSHAKES)}")
        if self.horizon not in HORIZONS:
            raise ValueError(f"horizon {self.horizon!r} is none of {', '.join(HORIZONS)}")
        if self.handshake == "alternating" and self.depth < 2:
            raise ValueError(f"an alternating handshake needs a depth of 2 or more, not {self.depth}")

    @property
    def initiates(self) -> bool:
        """Whether this end sends step 1 unasked."""
        return self.handshake == "simultaneous" or self.me < self.peer

    @property
    def last_expected(self) -> int:
        """The step on which this end commits."""
        if self.handshake == "simultaneous":
            return 1
        return self.depth - self.depth % 2 if self.initiates else self.depth - 1 + self.depth % 2

    @property
    def _steps(self) -> int:
        return 1 if self.handshake == "simultaneous" else self.depth

    # -- what happens ------------------------------------------------------------------------------------------------

    def start(self, round_: int, value: bytes, deadline_ns: int, now_ns: int, flags: int = 0) -> Effects:
        """Round ``round_`` begins: offer ``value``. A start after the deadline (the node was held up) sends nothing."""
        self.round = round_
        self._forget()
        end = self.ends[round_] = End(swap_id(round_, self.me, self.peer), value, deadline_ns, self.peer_epoch, flags)
        effects: Effects = [Transition(end.id, LinkState.IDLE, LinkState.TENTATIVE)]
        if self.initiates and now_ns <= deadline_ns:
            effects.append(self._send(end, 1))
        waiting, self.early = self.early, []
        for message, life in waiting:
            effects += self.on_message(message, life, now_ns)
        return effects

    def on_message(self, message: Message, life: Life, now_ns: int) -> Effects:
        """A SWAP or RESET from the peer."""
        if life.epoch < self.peer_epoch:
            return [Note("stale", message.round, "kept since before the peer restarted", message)]
        self.peer_epoch = life.epoch
        if not self._answers_me(message, life):
            return self._no_state(message)
        if message.flags & SETTLED:
            self.settled = max(self.settled, message.round)
        end = self.ends.get(message.round)
        if end is None:
            return self._unknown_round(message, life)
        if message.kind is Kind.RESET:
            end.abandoned = True
            return [Note("peer_lost_state", message.round, "", message)]
        if not self._is_my_step(message.step):
            return [Note("stray", message.round, f"step {message.step} is not mine to receive", message)]
        if message.step <= end.got or end.state is LinkState.COMMITTED:
            return self._duplicate(end, message)
        return self._progress(end, message, now_ns)

    def expire(self, now_ns: int) -> Effects:
        """The horizon of the current round has come."""
        end = self.ends.get(self.round)
        return self._expire(end) if end is not None and now_ns >= end.deadline_ns else []

    def retry(self) -> Effects:
        """Reconcile: repeat the last message of each swap in doubt. An initiator that has sent none opens the swap now;
        the other end leaves that to it, unless it has restarted and may know nothing: then step 0 asks."""
        return [
            self._send(end, end.sent or int(self.initiates))
            for end in self.in_doubt()
            if end.sent or self.initiates or end.peer_epoch != self.peer_epoch
        ]

    def in_doubt(self) -> list[End]:
        """The swaps that a reconciling end still works on."""
        if self.horizon != "reconcile":
            return []
        return [end for end in self.ends.values() if end.state is LinkState.IN_DOUBT and not end.abandoned]

    def committed(self) -> End | None:
        """The current round's swap when it has committed here by its horizon, else None."""
        end = self.ends.get(self.round)
        return end if end is not None and end.state is LinkState.COMMITTED and not end.doubted else None

    def resume(self) -> Effects:
        """After a restart with kept state: tell the ending told last again; the crash may have swallowed it."""
        end = self.ends.get(self.told)
        return [self._resolution(end)] if end is not None else []

    # -- inside ------------------------------------------------------------------------------------------------------

    def _answers_me(self, message: Message, life: Life) -> bool:
        """Whether this life may act on the message: an opening always (its sender may not know yet that we have
        restarted, and learns it from our answer), an answer only when it answers a life whose state we hold."""
        opening = message.kind is Kind.SWAP and message.step == 1
        return opening or life.answers == 0 or life.answers >= self.first_epoch

    def _is_my_step(self, step: int) -> bool:
        if self.handshake == "simultaneous":
            return step in (1, 2)
        first = 0 if self.horizon == "reconcile" else 1  # step 0 only asks
        return first <= step <= self.depth and step % 2 == (0 if self.initiates else 1)

    def _unknown_round(self, message: Message, life: Life) -> Effects:
        if message.round <= self.round:
            return self._no_state(message)
        if message.round == self.round + 1 and message.kind is Kind.SWAP:
            self.early.append((message, life))  # the peer's round began a moment before ours
            return []
        return [Note("stale", message.round, "of a round that is far from beginning", message)]

    def _no_state(self, message: Message) -> Effects:
        """The message is about a swap that this life knows nothing of; a reconciling peer that asks is told so."""
        if self.horizon != "reconcile" or message.kind is Kind.RESET or message.round < self.settled:
            return [Note("stale", message.round, "of a swap that this life knows nothing of", message)]
        return [
            Note("no_state", message.round, "answered with a reset", message),
            Send(self.port, Message(Kind.RESET, message.round, message.step)),
        ]

    def _duplicate(self, end: End, message: Message) -> Effects:
        note = Note("duplicate", message.round, f"step {message.step} brings nothing new", message)
        answer = 2 if self.handshake == "simultaneous" else end.sent
        # The peer repeats itself: our answer was lost. Answers to answers only climb, and so come to an end.
        if self.horizon == "reconcile" and message.step == end.got and answer > message.step:
            return [note, self._send(end, answer)]
        return [note]

    def _progress(self, end: End, message: Message, now_ns: int) -> Effects:
        if end.state is LinkState.ABORTED:
            return [Note("late", message.round, f"step {message.step} after the abort", message)]
        effects: Effects = []
        if now_ns > end.deadline_ns and end.state in _OPEN:
            effects += self._expire(end)  # the horizon's timer is late itself (the node was held up)
            if self.horizon == "abort":
                return [*effects, Note("late", message.round, f"step {message.step} after the horizon", message)]
        end.got, end.peer_value, end.peer_flags = message.step, message.body, message.flags
        if end.state is LinkState.TENTATIVE:
            effects.append(self._move(end, LinkState.REFLECTING))
        if message.step < self._steps:
            effects.append(self._send(end, message.step + 1))
        if message.step >= self.last_expected:
            effects += [self._move(end, LinkState.COMMITTED), self._resolution(end)]
        return effects

    def _expire(self, end: End) -> Effects:
        if end.state not in _OPEN:
            return []
        end.doubted = self.horizon != "abort"
        move = self._move(end, LinkState.IN_DOUBT if end.doubted else LinkState.ABORTED)
        return [move, self._resolution(end)]

    def _move(self, end: End, state: LinkState) -> Transition:
        old, end.state = end.state, state
        return Transition(end.id, old, state)

    def _resolution(self, end: End) -> Resolve:
        self.told = end.id.round
        if end.state is LinkState.COMMITTED:
            return Resolve(end.id, Outcome.COMMITTED, end.peer_value)
        return Resolve(end.id, Outcome.ABORTED if end.state is LinkState.ABORTED else Outcome.IN_DOUBT, end.value)

    def _send(self, end: End, step: int) -> Send:
        end.sent = step
        flags = end.flags
        if self.horizon == "reconcile" and self._asks_about_nothing_before():
            flags |= SETTLED
        return Send(self.port, Message(Kind.SWAP, end.id.round, step, end.value, flags))

    def _asks_about_nothing_before(self) -> bool:
        return all(end.state in _RESOLVED or end.abandoned for end in self.ends.values() if end.id.round < self.round)

    def _forget(self) -> None:
        """Drop what no later frame can need: resolved swaps, except those that the peer may still ask about."""
        keep_from = self.settled if self.horizon == "reconcile" else self.round
        gone = [round_ for round_, end in self.ends.items() if round_ < keep_from and end.state in _RESOLVED]
        for round_ in gone:
            del self.ends[round_]
