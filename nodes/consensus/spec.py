"""What an engine of consensus says about itself: each folder of testbed.nodes.consensus declares one EngineSpec in its
spec.py.

Nothing outside its folder names an engine. Whoever needs to know something about one (the scenario's checks, the plan,
verdicts, reports, the conformance tests) asks its spec through testbed.nodes.registry.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from testbed.nodes.core import CONFIRMED, Consensus, Log
from testbed.nodes.core.config import NodeConfig, ProtocolConfig
from testbed.nodes.core.layout import Bodies
from testbed.nodes.core.lies import VALUES, LieKind
from testbed.nodes.core.text import Says, body_text
from testbed.nodes.frames import Message

RETRIES = 5
"""Retransmissions that a message is given to come through when the time to settle is reckoned."""

INSTANCES, LOG, PARTIAL = "instances", "log", "partial"
"""How an engine puts decisions in order, see EngineSpec.order."""

LOCAL = "local"
READS = (LOG, *CONFIRMED, LOCAL)
"""How a service may read: as an entry of the log; without one, when the engine says that it may
(testbed.nodes.core.Log); or from what is here, old as it may be, of which the engine knows nothing."""

CARRIES = ("bytes", "number", "bit")
"""What a value may be, see EngineSpec.carries."""

Falsified = Callable[[NodeConfig, Message, int], Message | None]
"""testbed.nodes.core.lies.Falsify, of a node."""

SettleTime = Callable[[ProtocolConfig, int, int], int]


@dataclass(frozen=True, slots=True)
class NoParameters:
    """An engine without parameters of its own."""


def swaps_settle_ns(protocol: ProtocolConfig, n: int, longest_ns: int) -> int:  # noqa: ARG001 - a link has two ends
    """A round's own time, and then what is late: the handshake that began last, and reconcile's questions."""
    steps = 1 if protocol.handshake == "simultaneous" else protocol.depth
    late_ns = protocol.period_ns + protocol.window_ns + steps * longest_ns
    return late_ns + (2 * protocol.retry_ns + 2 * longest_ns if protocol.horizon == "reconcile" else 0)


def nothing_wrong(protocol: ProtocolConfig, n: int) -> str:  # noqa: ARG001 - whatever the parameters are
    """For engines whose parameters are right wherever their bounds hold."""
    return ""


def one_period(f: int) -> int:  # noqa: ARG001 - the same for every f
    """For engines whose instances take one period each."""
    return 1


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One engine. name: its folder's, and what a scenario calls it. title: what it is, in a line.

    build: a machine from its configuration, with the pitfalls named planted in it. made_of_swaps: whether its messages
    are swaps in rounds, so that rounds can be judged; the others send messages and count instances. most_f: the most
    crashes that it bears among n nodes, and ``rule``, the same in words. rounds_per_instance: rounds that one instance
    takes with f. settle_ns: from the beginning of the last instance (of swaps: of the last round) until whatever is to
    come of it has come, of the protocol, the number of members and the longest one-way delay. properties: what is
    promised and checked (testbed.verdicts.consensus); none: nobody decides anything. indulgent: whether agreement
    holds whatever is late, lost or restarted with its state; else only while no window is missed. all_pairs: whether
    every two members must be peers. parameters: a frozen dataclass of its own settings (``protocol.parameters`` of a
    scenario), each with a default; a field's metadata says what it means (about), may bound it (ge, gt, le, lt), say
    that it is a time (``time: True``), and give an example that tells more than the default; it may be a list of such
    dataclasses. wrong: what is wrong with them among so many members, in a line, where bounds don't say it; empty:
    nothing.
    order: ``instances``, each proposed in and decided by itself (testbed.nodes.core.Consensus), one ``log`` of all that
    is submitted (testbed.nodes.core.Log), or a ``partial`` order of it (testbed.nodes.core.PartialLog), with a
    parameter ``classes``.
    recovers: whether it keeps nothing on a disk, and a later life takes part again when the others have told it what it
    must know; of whom no more than f may be down, or on their way back, at a time. Other engines need what an earlier
    life left on its disk. reads: the ways of READS, besides ``local``, that it has for a service to read. leads:
    whether it has a leader.
    carries: what a value may be: any ``bytes``, a ``number`` (testbed.nodes.core.values), or of one a ``bit``, the
    lowest.
    pitfalls: known bugs that can be planted, each of which the conformance tests must find. says: what the body of a
    message of its means, in words (for traces). bodies: the forms of these bodies, for other programs. falsify: what a
    message of its says when it tells another value, the first, second .. one; None: of a message that tells none.
    Without it nobody can lie about values.
    """

    name: str
    title: str
    build: Callable[[NodeConfig, Collection[str]], Consensus | Log]
    made_of_swaps: bool
    most_f: Callable[[int], int]
    rule: str
    settle_ns: SettleTime
    rounds_per_instance: Callable[[int], int] = one_period
    properties: tuple[str, ...] = ("agreement", "validity", "termination")
    indulgent: bool = True
    all_pairs: bool = True
    parameters: type = NoParameters
    wrong: Callable[[ProtocolConfig, int], str] = nothing_wrong
    order: str = INSTANCES
    recovers: bool = False
    reads: tuple[str, ...] = (LOG,)
    leads: bool = False
    carries: str = "number"
    pitfalls: tuple[str, ...] = ()
    says: Says = body_text
    bodies: Bodies = field(default_factory=dict, hash=False)
    falsify: Falsified | None = None

    @property
    def decides(self) -> bool:
        """Whether there is anything to decide in it."""
        return bool(self.properties)

    @property
    def keeps_a_log(self) -> bool:
        """Whether values are submitted to it, in one order or a partial one."""
        return self.order != INSTANCES

    @property
    def can_serve(self) -> bool:
        """Whether a log of entries can be made of it: it carries bytes, or in rounds numbers that stand for them."""
        return self.decides and (self.carries == "bytes" or (self.carries == "number" and self.made_of_swaps))

    @property
    def read_modes(self) -> tuple[str, ...]:
        """How a service on it may read, if there can be one: what it has itself, and what needs no engine; but where
        each node has an order of its own, having applied as many entries as another is no sign of having applied the
        same."""
        if not self.can_serve:
            return ()
        return self.reads if self.order == PARTIAL else (*self.reads, LOCAL)

    @property
    def lies(self) -> tuple[LieKind, ...]:
        """The lies that make sense in it."""
        return tuple(kind for kind in LieKind if self.falsify is not None or kind not in VALUES)

    def parameters_of(self, protocol: ProtocolConfig) -> Any:
        """The engine's own settings in ``protocol``, as its parameters type."""
        return self.parameters(**protocol.parameters)


def minority(n: int) -> int:
    """The most crashes that leave a majority of n."""
    return (n - 1) // 2
