"""One end of the bilateral link: atomic swaps of register values with one peer, as a sans-I/O machine.

States per swap: TENTATIVE (the own value is offered) -> REFLECTING (the peer's value is here and goes back) ->
COMMITTED (the last message that this end expects has come). See arXiv 2603.03743 for the states and Borrill,
arXiv 2602.20444, for the claim; the message format is our own (docs/wire-format.md).

Handshakes. ``alternating`` with depth k >= 2: the lower node number sends step 1, steps alternate, each end commits
on the last step that it receives. ``simultaneous``: both send step 1 at once and commit on the other's.

Horizon policies, applied when the window W has passed without the evidence: ``abort`` ends the swap in bounded time and
may split; ``hold`` stays in doubt, never splits and may block; ``reconcile`` holds and repeats its last message until
the peer answers, also over restarts with kept state. Two Generals (Gray 1978): no policy is bounded and split-free.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nodes.core import Effects, LinkState, Note, Outcome, Port, Resolve, Send, SwapId, Transition, swap_id
from nodes.frames import EMPTY_VALUE, Frame, Kind

HANDSHAKES = ("alternating", "simultaneous")
HORIZONS = ("abort", "hold", "reconcile")

_OPEN = (LinkState.TENTATIVE, LinkState.REFLECTING)
_RESOLVED = (LinkState.COMMITTED, LinkState.ABORTED)
_REMEMBERED_ROUNDS = 4096  # how many resolved swaps a reconciling end can still answer for


@dataclass(slots=True)
class Sequence:
    """Numbers the frames of one node in one life; its links share it."""

    epoch: int
    last: int = 0

    def next(self) -> int:
        """The number of the next frame."""
        self.last += 1
        return self.last


@dataclass(slots=True)
class End:
    """One end's knowledge of one swap. got, sent: the highest steps received and sent (0 = none).

    flags and peer_flags travel with the values; the link gives them no meaning.
    """

    id: SwapId
    value: bytes
    deadline_ns: int
    flags: int = 0
    state: LinkState = LinkState.TENTATIVE
    peer_value: bytes = EMPTY_VALUE
    peer_flags: int = 0
    got: int = 0
    sent: int = 0
    abandoned: bool = False  # the peer has lost its state: nothing that we could send would resolve this


@dataclass(slots=True)
class Link:
    """This node's end of the link to ``peer``. Drive it with start, on_frame, expire and retry.

    depth: k, ignored by the simultaneous handshake. sequence: shared by the node's links; its epoch is the node's.
    first_epoch: the earliest life whose state this end still holds (a kept state spans several lives).
    """

    me: int
    peer: int
    port: Port
    depth: int
    handshake: str
    horizon: str
    sequence: Sequence
    first_epoch: int
    peer_epoch: int = 0
    round: int = -1
    ends: dict[int, End] = field(default_factory=dict)
    early: list[Frame] = field(default_factory=list)

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
        end = self.ends[round_] = End(swap_id(round_, self.me, self.peer), value, deadline_ns, flags)
        effects: Effects = [Transition(end.id, LinkState.IDLE, LinkState.TENTATIVE)]
        if self.initiates and now_ns <= deadline_ns:
            effects.append(self._send(end, 1))
        waiting, self.early = self.early, []
        for frame in waiting:
            effects += self.on_frame(frame, now_ns)
        return effects

    def on_frame(self, frame: Frame, now_ns: int) -> Effects:
        """A SWAP or RESET slot from the peer."""
        if frame.src != self.peer or frame.epoch < self.peer_epoch or not self._addressed_to_me(frame):
            return [Note("stale", frame.round, "of another life or another node", frame)]
        self.peer_epoch = frame.epoch
        end = self.ends.get(frame.round)
        if end is None:
            return self._unknown_round(frame)
        if frame.kind is Kind.RESET:
            end.abandoned = end.state not in _RESOLVED
            return [Note("peer_lost_state", frame.round, "", frame)]
        if not self._is_my_step(frame.step):
            return [Note("stray", frame.round, f"step {frame.step} is not mine to receive", frame)]
        if frame.step <= end.got:
            return self._duplicate(end, frame)
        return self._progress(end, frame, now_ns)

    def expire(self, now_ns: int) -> Effects:
        """The horizon of the current round has come."""
        end = self.ends.get(self.round)
        return self._expire(end) if end is not None and now_ns >= end.deadline_ns else []

    def retry(self) -> Effects:
        """Reconcile: repeat the last message of every swap in doubt."""
        return [self._send(end, end.sent) for end in self.in_doubt() if end.sent]

    def in_doubt(self) -> list[End]:
        """The swaps that a reconciling end still works on."""
        if self.horizon != "reconcile":
            return []
        return [end for end in self.ends.values() if end.state is LinkState.IN_DOUBT and not end.abandoned]

    def committed(self) -> End | None:
        """The current round's swap when it has committed here, else None."""
        end = self.ends.get(self.round)
        return end if end is not None and end.state is LinkState.COMMITTED else None

    def resume(self) -> Effects:
        """After a restart with kept state: tell again how the latest swap ended; the crash may have swallowed it."""
        end = self.ends.get(self.round)
        return [self._resolution(end)] if end is not None and end.state in _RESOLVED else []

    # -- inside ------------------------------------------------------------------------------------------------------

    def _addressed_to_me(self, frame: Frame) -> bool:
        """Whether this life may act on the frame: an opening always (its sender may not know yet that we have
        restarted, and learns it from our answer), an answer only when it answers a life whose state we hold."""
        opening = frame.kind is Kind.SWAP and frame.step == 1
        ours = opening or frame.peer_epoch == 0 or self.first_epoch <= frame.peer_epoch <= self.sequence.epoch
        return frame.dst == self.me and ours

    def _is_my_step(self, step: int) -> bool:
        if not 1 <= step <= self._steps:
            return False
        return self.handshake == "simultaneous" or step % 2 == (0 if self.initiates else 1)

    def _unknown_round(self, frame: Frame) -> Effects:
        if frame.kind is Kind.RESET:
            return [Note("stale", frame.round, "reset of a forgotten round", frame)]
        if frame.round == self.round + 1 or self.round < 0:
            self.early.append(frame)  # the peer's round began a moment before ours
            return []
        if self.horizon == "reconcile" and frame.round < self.round:
            return [
                Note("no_state", frame.round, "answered with a reset", frame),
                Send(self.port, self._frame(Kind.RESET, frame.round, frame.step, EMPTY_VALUE, 0)),
            ]
        return [Note("stale", frame.round, "of a forgotten round", frame)]

    def _duplicate(self, end: End, frame: Frame) -> Effects:
        note = Note("duplicate", frame.round, f"step {frame.step} again", frame)
        if self.horizon == "reconcile" and frame.step == end.got and end.sent > frame.step:
            return [note, self._send(end, end.sent)]  # the peer repeats itself: our answer was lost
        return [note]

    def _progress(self, end: End, frame: Frame, now_ns: int) -> Effects:
        if end.state is LinkState.ABORTED:
            return [Note("late", frame.round, f"step {frame.step} after the abort", frame)]
        effects: Effects = []
        if now_ns > end.deadline_ns and end.state in _OPEN:
            effects += self._expire(end)  # the horizon's timer is late itself (the node was held up)
            if self.horizon == "abort":
                return [*effects, Note("late", frame.round, f"step {frame.step} after the horizon", frame)]
        end.got, end.peer_value, end.peer_flags = frame.step, frame.value, frame.flags
        if end.state is LinkState.TENTATIVE:
            effects.append(self._move(end, LinkState.REFLECTING))
        if frame.step < self._steps:
            effects.append(self._send(end, frame.step + 1))
        if frame.step == self.last_expected:
            effects += [self._move(end, LinkState.COMMITTED), self._resolution(end)]
        return effects

    def _expire(self, end: End) -> Effects:
        if end.state not in _OPEN:
            return []
        aborts = self.horizon == "abort"
        move = self._move(end, LinkState.ABORTED if aborts else LinkState.IN_DOUBT)
        return [move, self._resolution(end)]

    def _move(self, end: End, state: LinkState) -> Transition:
        old, end.state = end.state, state
        return Transition(end.id, old, state)

    @staticmethod
    def _resolution(end: End) -> Resolve:
        if end.state is LinkState.COMMITTED:
            return Resolve(end.id, Outcome.COMMITTED, end.peer_value)
        return Resolve(end.id, Outcome.ABORTED if end.state is LinkState.ABORTED else Outcome.IN_DOUBT, end.value)

    def _send(self, end: End, step: int) -> Send:
        end.sent = max(end.sent, step)
        return Send(self.port, self._frame(Kind.SWAP, end.id.round, step, end.value, end.flags))

    def _frame(self, kind: Kind, round_: int, step: int, value: bytes, flags: int) -> Frame:
        epoch, seq = self.sequence.epoch, self.sequence.next()
        return Frame(kind, self.me, self.peer, epoch, self.peer_epoch, round_, step, seq, value, flags)

    def _forget(self) -> None:
        """Drop what no later frame can need: resolved swaps, except those that a reconciling end may be asked about."""
        keep_from = self.round - _REMEMBERED_ROUNDS if self.horizon == "reconcile" else self.round
        gone = [round_ for round_, end in self.ends.items() if round_ < keep_from and end.state in _RESOLVED]
        for round_ in gone:
            del self.ends[round_]
