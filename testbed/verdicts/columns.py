"""The record of frames as columns: what the fidelity verdict counts with. Gathered from the history in one place."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from testbed.history import WHATS, History, Hops, Table, frame_ids
from testbed.nodes.core import Propose, Resolve, RoundStart
from testbed.nodes.core.record import (
    KINDS,
    Died,
    Dropped,
    Overrun,
    Received,
    Refused,
    Sent,
    Started,
    Struck,
    TimerFired,
)
from testbed.verdicts.paths import Paths

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

CODE = {what: code for code, what in enumerate(WHATS)}


class Sends(NamedTuple):
    """Frames that nodes sent, in order. frame: numbered from 0, the same number in every table; peer: a node number;
    size: in bytes."""

    t_ns: Ints
    node: Ints
    peer: Ints
    frame: Ints
    size: Ints


class Refusals(NamedTuple):
    """Frames that the system refused to send."""

    t_ns: Ints
    node: Ints
    frame: Ints


class Arrivals(NamedTuple):
    """Frames that nodes handled. stamp_ns: when they came in; readable: whether the machine got them."""

    t_ns: Ints
    stamp_ns: Ints
    node: Ints
    frame: Ints
    readable: Bools


class Sightings(NamedTuple):
    """Frames at interfaces. nic: the number of the direction that the interface sends (Paths.directions). what: its
    CODE."""

    t_ns: Ints
    nic: Ints
    what: Ints
    frame: Ints
    corrupt: Bools


class Timers(NamedTuple):
    """Timers that fired, and when they were due."""

    t_ns: Ints
    due_ns: Ints
    node: Ints


class Begun(NamedTuple):
    """Rounds that began at nodes, or instances for engines that are not made of rounds. told: by their own event, not
    only by how a swap of theirs ended."""

    t_ns: Ints
    node: Ints
    round: Ints
    told: Bools


class Deeds(NamedTuple):
    """What happened at nodes, in order. stirs: whether something came to the node (its start, a frame, a timer, a
    fault) rather than from it."""

    t_ns: Ints
    node: Ints
    stirs: Bools


_STIRS = (Started, Died, Received, Dropped, Overrun, TimerFired, Struck)


class Columns:
    """refused: frames that the system refused to send; no_room: which of them found the queue full.
    unreadable: how many frames came in at each node that could not be read. frames: how many different ones there are.
    sender: of each frame, -1 where nobody told of sending it.
    """

    def __init__(self, history: History, paths: Paths) -> None:
        events, hops = history.events, history.hops
        sent, refused = events.table(Sent), events.table(Refused)
        received, dropped = events.table(Received), events.table(Dropped)
        ids = frame_ids(sent, refused, received, dropped, hops)
        self.frames = max((int(part.max(initial=-1)) for part in ids), default=-1) + 1
        self.sends = Sends(sent.t_ns, _wide(sent.node), sent["dst"], ids[0], sent["size"])
        self.sender = np.full(self.frames, -1, dtype=np.int64)
        self.sender[self.sends.frame] = self.sends.node
        self.refused = Refusals(refused.t_ns, _wide(refused.node), ids[1])
        self.no_room = refused["why"].where("ENOBUFS")
        self.arrivals = _arrivals(received, dropped, ids[2], ids[3])
        unreadable = _wide(dropped.node)[ids[3] < 0]
        self.unreadable = np.bincount(unreadable[unreadable >= 0], minlength=len(paths.hosts))
        self.sightings = _sightings(hops, paths, ids[4])
        timers = events.table(TimerFired)
        self.timers = Timers(timers.t_ns, timers["due_ns"], _wide(timers.node))
        self.begun = _begun(history, paths)
        self.deeds = _deeds(history)


def _arrivals(received: Table, dropped: Table, received_ids: Ints, dropped_ids: Ints) -> Arrivals:
    keyed = np.flatnonzero(dropped_ids >= 0)
    order = np.argsort(np.concatenate((received.order, dropped.order[keyed])), kind="stable")

    def both(one: Ints, other: Ints) -> Ints:
        return np.concatenate((one, other[keyed])).astype(np.int64)[order]

    readable = np.concatenate((np.ones(len(received), dtype=bool), np.zeros(len(keyed), dtype=bool)))
    return Arrivals(
        both(received.t_ns, dropped.t_ns),
        both(received["at_ns"], dropped["at_ns"]),
        both(_wide(received.node), _wide(dropped.node)),
        both(received_ids, dropped_ids),
        readable[order],
    )


def _sightings(hops: Hops, paths: Paths, ids: Ints) -> Sightings:
    nics = {place: index for index, place in enumerate(paths.nics)}
    nic = np.array([nics.get(place, -1) for place in hops.places] or [-1], dtype=np.int64)[hops.place]
    rows = np.flatnonzero(nic >= 0)
    return Sightings(hops.t_ns[rows], nic[rows], hops.what[rows].astype(np.int64), ids[rows], hops.corrupt[rows])


def _begun(history: History, paths: Paths) -> Begun:
    events = history.events
    if not paths.in_rounds:
        proposed = events.table(Propose)
        return Begun(proposed.t_ns, _wide(proposed.node), proposed["instance"], np.ones(len(proposed), dtype=bool))
    rounds, resolved = events.table(RoundStart), events.table(Resolve)
    return Begun(
        np.concatenate((rounds.t_ns, resolved.t_ns)),
        _wide(np.concatenate((rounds.node, resolved.node))),
        np.concatenate((rounds["round"], resolved["swap_round"])),
        np.concatenate((np.ones(len(rounds), dtype=bool), np.zeros(len(resolved), dtype=bool))),
    )


def _deeds(history: History) -> Deeds:
    tables = [(table, table.kind in _STIRS) for table in map(history.events.table, KINDS)]
    order = np.argsort(np.concatenate([table.order for table, _ in tables]), kind="stable")
    return Deeds(
        np.concatenate([table.t_ns for table, _ in tables])[order],
        _wide(np.concatenate([table.node for table, _ in tables]))[order],
        np.concatenate([np.full(len(table), stirs) for table, stirs in tables])[order],
    )


def _wide(numbers: NDArray[np.int32]) -> Ints:
    return numbers.astype(np.int64)
