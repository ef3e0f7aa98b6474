"""The contract of a protocol: events in, effects out. No clock, no socket, no random source in here.

A Machine is given an event and the time (integer nanoseconds since the run's start) and returns effects, in the
order in which they must happen. Whoever runs it (the simulator, the agent on a NIC, a model checker) performs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol

from testbed.nodes.core.commuting import Commuting
from testbed.nodes.frames import Frame, Message

Port = int
"""A node's attachment to one peer: a NIC and the peer's address behind it. Ports count from 0 in peer order."""


class SwapId(NamedTuple):
    """One bilateral swap: its round and its two ends (node numbers, ``low < high``)."""

    round: int
    low: int
    high: int


def swap_id(round_: int, one: int, other: int) -> SwapId:
    """The identity of the swap of ``round_`` between two nodes, whichever asks."""
    return SwapId(round_, one, other) if one < other else SwapId(round_, other, one)


class LinkState(StrEnum):
    """The states of one end of a swap (arXiv 2603.03743: delivery is not commitment, reflection is)."""

    IDLE = "IDLE"
    TENTATIVE = "TENTATIVE"
    REFLECTING = "REFLECTING"
    COMMITTED = "COMMITTED"
    ABORTED = "ABORTED"
    IN_DOUBT = "IN_DOUBT"


class Outcome(StrEnum):
    """How one end of a swap ended, or that it had not ended at the horizon (``in_doubt``)."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    IN_DOUBT = "in_doubt"


class Life(NamedTuple):
    """Whose word a message is. epoch: the sender's life (1, 2, ..); answers: which life of ours it knew (0: none)."""

    epoch: int
    answers: int


class Send(NamedTuple):
    """Say ``message`` to the peer behind ``port``. Who says it, in which life and as its how-manieth frame is stamped
    by the driver."""

    port: Port
    message: Message


class SetTimer(NamedTuple):
    """Call ``on_timer(name)`` at ``at_ns``; setting a name again moves it."""

    name: str
    at_ns: int


class CancelTimer(NamedTuple):
    """Forget the timer ``name``; unknown names are no error."""

    name: str


class Transition(NamedTuple):
    """An end of a swap leaves ``old`` and enters ``new``: the moment at which a fault may be asked to strike.

    What stands before it in the list of effects has been done in ``old``; what stands after it is done in ``new``.
    """

    swap: SwapId
    old: LinkState
    new: LinkState


class Resolve(NamedTuple):
    """This end of ``swap`` ended with ``outcome``; ``value`` is the peer's when committed, its own otherwise."""

    swap: SwapId
    outcome: Outcome
    value: bytes


class Decide(NamedTuple):
    """This node decides ``value`` in consensus instance ``instance``; ``round`` is the round that led to it.

    In a log: ``value`` is its entry number ``instance``, and ``round`` the term (ballot, view) of whoever brought it
    there; the first one is 1.
    """

    instance: int
    value: bytes
    round: int


class Propose(NamedTuple):
    """This node enters ``value`` into ``instance``: what validity is judged against. In a log: it submits ``value``;
    its life's number ``instance``, 0, 1, .., or whichever number its holder goes by."""

    instance: int
    value: bytes


class Install(NamedTuple):
    """In place of the entries below ``below``, which this node lacks, the holder of a log takes on ``state``, which
    another holder made of them (Log.compact); what is decided here goes on with entry ``below``."""

    below: int
    state: bytes


class Readable(NamedTuple):
    """The answer to Log.read of that ``number``: once the holder has taken in all entries below ``below``, what it
    reads is as new as anything that was over when it asked."""

    number: int
    below: int


class Apply(NamedTuple):
    """This replica of a service applies ``value`` as entry ``entry`` of its log."""

    entry: int
    value: bytes


class Invoke(NamedTuple):
    """This client asks for ``call``, a command of the service. operation: its number, which no other of the run has."""

    operation: int
    call: bytes


class Return(NamedTuple):
    """``operation`` is over, with ``result``. One that never returns may have happened, or may happen yet, or never."""

    operation: int
    result: bytes


class RoundStart(NamedTuple):
    """A round begins at this node; ``offered`` is the register that it offers in the round's swaps."""

    round: int
    offered: bytes = b""


class Note(NamedTuple):
    """A remark for the history only: ``what`` is one word, ``text`` is free, ``about`` the message that it concerns.

    If that is the message in hand, the driver puts the frame that brought it in its place.
    """

    what: str
    round: int = -1
    text: str = ""
    about: Message | Frame | None = None


class Persist(NamedTuple):
    """Keep ``data`` under ``key`` on this node's disk, in place of what was there; None: keep nothing under it.

    What stands after it in the list of effects is done when it is durable, unless ``sync`` is false: then it is durable
    with the next one that is synced. more: the next one belongs to it; a later life finds both or neither.
    """

    key: str
    data: bytes | None
    sync: bool = True
    more: bool = False


Effect = (
    Send
    | SetTimer
    | CancelTimer
    | Transition
    | Resolve
    | Decide
    | Propose
    | Install
    | Readable
    | Apply
    | Invoke
    | Return
    | RoundStart
    | Note
    | Persist
)
Effects = list[Effect]


class Machine(Protocol):
    """A protocol on one node, deterministic: equal states answer equal events with equal effects.

    State is plain data that testbed.nodes.core.snapshot makes comparable and hashable; it is lost with the life, but
    for what was persisted (which ``NodeConfig.keeps`` asks for). It holds the protocol and nothing of the wire: frames
    are numbered, and those of a peer's earlier lives dropped, by the driver.
    """

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        """The node comes up, with what the lives before it persisted; the disk is empty in a first life, and where
        all was lost. Called once, before all else."""

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        """The peer behind ``port`` said ``message``. Duplicates and strays come through here too."""

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """The timer ``name`` is due; ``now_ns`` may lie past its time when the node was held up."""


class Consensus(Machine, Protocol):
    """A machine that decides on values which are proposed to it from outside, instance by instance (from 0).

    Whoever holds it (testbed.nodes.core.inputs, testbed.nodes.services.by_instances) proposes; it makes up no value of
    its own. Of each instance a node's first proposal counts. One that can't be taken is told by a Note("late") and
    changes nothing: a second one in an instance; one in an instance that this node has to stay out of; in an engine
    whose instances occupy rounds, one that comes when the first of them has begun. An instance that is decided here has
    been proposed in, or is stayed out of: what the others say of an instance waits until this node proposes in it.

    A Propose effect tells when a value enters its instance, a Decide what was decided. After a restart with the disk
    kept the latest of both are told again, and instances go on as they stood; a proposal that had not entered is lost.
    Without the disk, an engine whose instances occupy rounds takes part from the next instance on; any other stays out
    of all instances until it is proposed to, and for good of those before that one: who proposes in an instance
    vouches that no earlier life of this node took part in it or in a later one.
    """

    def awaits(self, now_ns: int) -> int | None:
        """The instance that waits for this node's proposal now, the lowest first: its first round is due, or others
        have spoken in it already. None: none does. Proposing in it makes it wait no longer."""

    def propose(self, instance: int, value: bytes, now_ns: int) -> Effects:
        """Enter ``value`` into ``instance``: at once, or when its first round begins. Raises ValueError for a value
        that the engine can't carry (EngineSpec.carries)."""


INDEX, LEASE = "index", "lease"
CONFIRMED = (INDEX, LEASE)
"""How a read is made safe without an entry of its own: whoever leads hears from a quorum first that it still does; or a
quorum has promised it to follow nobody else for a while, by its clocks."""


class Log(Machine, Protocol):
    """Puts values that are submitted at any member into one order, the same at all of them (total order broadcast).

    Its holder (testbed.nodes.core.inputs, testbed.nodes.services.by_log) is told of the entries by Decide(index, value,
    term): 0, 1, 2 .. without holes, each once in a life; or of many at a time by Install(below, state), in place of the
    entries below ``below`` that were not told yet. What an engine puts into its log besides is never told. A life that
    finds the disk kept tells the log again: the latest state that it was given, or that it took on, then what it learns
    to be decided behind that.

    An entry is there once for each submission, however often the engine said it. A life without the disk of those
    before it only learns, for it may have promised what it no longer knows; it may submit.
    """

    def submit(self, value: bytes, now_ns: int) -> Effects:
        """Enter ``value`` (Propose). It is put in order as soon as somebody can, for as long as this life lasts. Raises
        ValueError for a value that the engine can't carry (EngineSpec.carries)."""

    def compact(self, index: int, state: bytes, now_ns: int) -> Effects:
        """The holder vouches: ``state`` stands for all entries below ``index``, which are those that it has been told.
        The engine may forget them, and gives the state to whoever lacks them. Raises ValueError for another index."""

    def read(self, number: int, mode: str, now_ns: int) -> Effects:
        """The holder wants to read what it has made of the log, and asks when it may: Readable(number, below), at once
        or later, for as long as this life lasts. ``number``: any of 64 bits that it has not asked with before.
        ``mode``: one of CONFIRMED that the engine offers (EngineSpec.reads)."""


class PartialLog(Log, Protocol):
    """A log of which only what conflicts has one order (testbed.nodes.core.commuting): each life is told all of it, in
    an order of its own in which whatever conflicts stands as it does everywhere. Decide counts what this life was told.

    Its holders' states commute where values do, so that equal sets of entries leave them alike.
    """

    def order_by(self, commuting: Commuting) -> None:
        """Before all else: which values that will be submitted commute."""
