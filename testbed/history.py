"""What happened: one record format for every engine. Verdicts read it and nothing else.

Two tables. ``events``: what the nodes did, in the order in which they did it at each node, sorted by time over all.
``hops``: where each frame was when, at every interface of the fabric (empty when nothing was captured).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nodes.frames import FrameKey

EVENT_KINDS = (
    "start",  # the node came up: ``info`` is fresh or kept
    "round",  # a round began at the node
    "send",  # key, peer, step
    "recv",  # key, peer, step; t_ns is when the node acted on it, ``at_ns`` the stamp of its arrival at the NIC
    "drop",  # arrived and was not for the machine: ``info`` is FrameError.reason or a send error
    "transition",  # ``info`` is OLD>NEW
    "resolve",  # ``info`` is the Outcome, ``value`` the register in hex
    "propose",  # instance in ``step``, value in ``value`` (decimal)
    "decide",  # likewise; round = the round that led to it
    "note",  # ``info`` is what:text
    "timer",  # a timer fired: ``info`` its name, ``at_ns`` when it was due (t_ns - at_ns is the lag)
    "fault",  # a fault struck: ``info`` is verb, ``step`` its index in the plan; node = target
    "died",  # the node's life ended (fault) – its later events belong to a new epoch
)


class Event(NamedTuple):
    """One row of ``events``. Times in ns on the run's clock; -1, -1, "" and None mean: does not apply."""

    t_ns: int
    node: str
    kind: str
    round: int = -1
    peer: str = ""
    step: int = -1
    key: FrameKey | None = None
    info: str = ""
    value: str = ""
    at_ns: int = -1


class Hop(NamedTuple):
    """One row of ``hops``: a frame at an interface. what: in (arrived), out (left, after its delay), or
    lost, limit, cut, mute, unknown (dropped here: by netem's loss, a full queue, a dead carrier, a muted NIC,
    no forwarding entry), dup (a copy made by the network leaves here too)."""

    t_ns: int
    node: str
    nic: str
    what: str
    key: FrameKey
    dst: int = -1  # the node the frame is for
    round: int = -1
    step: int = -1
    corrupt: bool = False


@dataclass(slots=True)
class History:
    """A finished run. engine: sim | vkernel | live. meta: facts for the fidelity verdict, JSON-able:

    ``timer_tolerance_ns`` (how late a timer may fire and still count as on time in this engine), ``limit_drops``
    (interface -> frames dropped by a full queue), ``frames`` (frame bytes seen by the nodes), ``versions``, and so on.
    ``complete`` is False when the run was cut short; ``why`` then says by what.
    """

    engine: str
    events: list[Event] = field(default_factory=list)
    hops: list[Hop] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)
    complete: bool = True
    why: str = ""
