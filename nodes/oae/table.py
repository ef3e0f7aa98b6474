"""What one end of a swap does, as a table: horizon policy -> state -> event -> deeds, in the order they happen.

Link works from this table, and docs/link.md is drawn from it; a test walks through everything that a link can come to
and finds each row in use, and no row missing. What an event is, Link finds out by comparing numbers: which round a
message is about, which of the handshake's steps it is, what this end has got and sent so far.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from testbed.nodes.core import LinkState


class LinkEvent(StrEnum):
    """What happens to one end of a swap. Steps are those that are this end's to receive."""

    OPEN = "its round begins, and this end is to open the handshake"
    AWAIT = "its round begins, and the peer opens the handshake, or it is too late for that"
    STEP = "a new step; this end has to wait for more of them"
    LAST = "the last step that this end waits for; the answer to it ends the handshake"
    FINAL = "the last step that this end waits for, which ends the handshake"
    AGAIN = "the latest step once more, though it has been answered: the answer may be lost"
    OLD = "a step that brings nothing new and wants no answer"
    STRAY = "a step that is not this end's to receive"
    RESET = "the peer holds no state of this swap"
    HORIZON = "the window has passed"
    RETRY = "the time has come to ask again, and it is this end's to speak"
    EARLY = "a message of the round that begins next"
    FAR = "a message of a round that is further ahead"
    UNKNOWN = "about a swap that this life knows nothing of; the peer may be waiting for an answer"
    PAST = "about a swap that this life knows nothing of; nobody waits for an answer"
    STALE = "a message kept until its round began; meanwhile the peer has begun another life"


class Act(StrEnum):
    """What an end does besides entering a state and remarking on something."""

    TAKE = "take the peer's value"
    OPEN = "send step 1"
    ANSWER = "send the next step"
    REPEAT = "send the answer again"
    ASK = "send the latest step again"  # if none was sent: step 1 where this end initiates, else 0, which only asks
    RESET = "send RESET"
    TELL = "tell the ending"
    KEEP = "keep the message until its round begins"
    ABANDON = "ask no more about this swap"


class Remark(NamedTuple):
    """A note for the history. ``{step}`` stands for the message's."""

    what: str
    text: str


LATE = Remark("late", "step {step} after the abort")
DUPLICATE = Remark("duplicate", "step {step} brings nothing new")
NOT_MINE = Remark("stray", "step {step} is not mine to receive")
LOST_STATE = Remark("peer_lost_state", "")
FAR_AHEAD = Remark("stale", "of a round that is far from beginning")
NOTHING_KNOWN = Remark("stale", "of a swap that this life knows nothing of")
NO_STATE = Remark("no_state", "answered with a reset")
OLD_LIFE = Remark("stale", "kept since before the peer restarted")

Deed = LinkState | Act | Remark
Deeds = tuple[Deed, ...]
Rows = dict[LinkEvent, Deeds]
States = dict[LinkState, Rows]

IDLE, TENTATIVE, REFLECTING = LinkState.IDLE, LinkState.TENTATIVE, LinkState.REFLECTING
COMMITTED, ABORTED, IN_DOUBT = LinkState.COMMITTED, LinkState.ABORTED, LinkState.IN_DOUBT

# Rows that several states, or policies, share.
_ANYWHERE: Rows = {
    LinkEvent.UNKNOWN: (NOTHING_KNOWN,),
    LinkEvent.PAST: (NOTHING_KNOWN,),
}
_IDLE: Rows = {
    **_ANYWHERE,
    LinkEvent.OPEN: (TENTATIVE, Act.OPEN),
    LinkEvent.AWAIT: (TENTATIVE,),
    LinkEvent.EARLY: (Act.KEEP,),
    LinkEvent.FAR: (FAR_AHEAD,),
}
_BEGUN: Rows = {
    **_ANYWHERE,
    LinkEvent.STRAY: (NOT_MINE,),
    LinkEvent.RESET: (Act.ABANDON, LOST_STATE),
}
_REPEATED: Rows = {LinkEvent.AGAIN: (DUPLICATE,), LinkEvent.OLD: (DUPLICATE,)}  # in TENTATIVE only step 0 can be
_TENTATIVE: Rows = {
    **_BEGUN,
    LinkEvent.STALE: (OLD_LIFE,),
    LinkEvent.STEP: (Act.TAKE, REFLECTING, Act.ANSWER),
    LinkEvent.LAST: (Act.TAKE, REFLECTING, Act.ANSWER, COMMITTED, Act.TELL),
    LinkEvent.FINAL: (Act.TAKE, REFLECTING, COMMITTED, Act.TELL),
}
_REFLECTING: Rows = {
    **_BEGUN,
    **_REPEATED,
    LinkEvent.STEP: (Act.TAKE, Act.ANSWER),
    LinkEvent.LAST: (Act.TAKE, Act.ANSWER, COMMITTED, Act.TELL),
    LinkEvent.FINAL: (Act.TAKE, COMMITTED, Act.TELL),
}
_ENDED: Rows = {**_BEGUN, **_REPEATED, LinkEvent.HORIZON: ()}
_LATE: Rows = {**_ENDED, LinkEvent.STEP: (LATE,), LinkEvent.LAST: (LATE,), LinkEvent.FINAL: (LATE,)}
_DOUBTING: Rows = {**_REFLECTING, LinkEvent.HORIZON: ()}  # as in REFLECTING, but too late for the round
_DOUBT: Rows = {LinkEvent.HORIZON: (IN_DOUBT, Act.TELL)}
_ABORT: Rows = {LinkEvent.HORIZON: (ABORTED, Act.TELL)}
# Reconcile: what is lost is said again, and who asks about a swap that this life knows nothing of is told so.
_REPEATING: Rows = {
    **_REPEATED,
    LinkEvent.AGAIN: (DUPLICATE, Act.REPEAT),
    LinkEvent.UNKNOWN: (NO_STATE, Act.RESET),
}

TABLE: dict[str, States] = {
    "abort": {
        IDLE: _IDLE,
        TENTATIVE: {**_TENTATIVE, **_ABORT},
        REFLECTING: {**_REFLECTING, **_ABORT},
        COMMITTED: _ENDED,
        ABORTED: _LATE,
    },
    "hold": {
        IDLE: _IDLE,
        TENTATIVE: {**_TENTATIVE, **_DOUBT},
        REFLECTING: {**_REFLECTING, **_DOUBT},
        COMMITTED: _ENDED,
        IN_DOUBT: _DOUBTING,
    },
    "reconcile": {
        IDLE: {**_IDLE, LinkEvent.UNKNOWN: (NO_STATE, Act.RESET)},
        TENTATIVE: {**_TENTATIVE, **_DOUBT, **_REPEATING},
        REFLECTING: {**_REFLECTING, **_DOUBT, **_REPEATING},
        COMMITTED: {**_ENDED, **_REPEATING},
        IN_DOUBT: {**_DOUBTING, **_REPEATING, LinkEvent.RETRY: (Act.ASK,)},
    },
}
"""Every state that an end can be in under a policy, every event that can come to it there, and what it does.

IDLE stands for a swap of which nothing is known: its round has not begun here, or it is over and forgotten, or an
earlier life's. What is not in the table cannot happen."""
