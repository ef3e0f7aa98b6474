"""From the raw results of a run (testbed.engines.live.supervisor) to its History.

A job directory holds: ``plan.json``; ``result.json`` (whether the run was complete, facts about it, and the node that
each line of ``faults.txt`` is about); ``journal-<node>.txt`` and ``faults.txt`` (testbed.nodes.agent.journal);
``capture.json`` and ``capture-<n>.blocks`` (testbed.engines.live.capture). ``failure.json`` instead means that nothing
was run.
"""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from testbed.engines.base import SCRATCH, EngineUnavailable
from testbed.engines.live.sightings import FRAME_COLUMNS, Sightings, at_all_nics, identify_all, join, read_sightings
from testbed.errors import UserError
from testbed.history import NOBODY, WHATS, Events, History, Hops, Ints, TableBuilder, node_names, packed
from testbed.nodes.agent.journal import Rows, decode_all
from testbed.nodes.core.own import OwnEngineError
from testbed.nodes.core.record import KINDS, Overrun, Received, Started, Struck, TimerFired, What
from testbed.pcapng import Packets, Wires, fault_notes, write_captures
from testbed.plan import Nic, Plan
from testbed.quantiles import quantile

TIMER_TOLERANCE_NS = {"live": 1_000_000, "vkernel": 0}
"""How late a timer may fire and still count as on time. Wall clock: what the wake-up of an idle process takes on an
otherwise idle machine stays below 1 ms; beyond it, something else held the node up. Virtual time: timers fire on their
nanosecond, as in sim; so much as one more, and a swap that a node's slow clock ends late would be late in sim alone."""

STAMP_TOLERANCE_NS = {"live": 1_000, "vkernel": 0}
"""How far two stamps of one run may be off from each other. In virtual time nothing that is done costs any."""

PRINTED = ("output.txt", "console.log")
"""What a supervisor prints goes there: on this host, and in a guest."""

_POWERING_OFF = ("sysrq: ", "reboot: ")
_LEAST_FREE_BYTES = 1 << 20

_NONE = np.empty(0, dtype=np.int64)
LAG_QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)


class RunFailed(UserError):  # noqa: N818 (the outcome of a run)
    """The supervisor ended without results; the text says why and where its traceback is."""


class Tap(NamedTuple):
    """One file of captured frames and the interfaces it is about: index -> (node, nic). ahead_ns: how far the clock of
    its stamps is ahead of the run's."""

    path: Path
    interfaces: dict[int, Nic]
    ahead_ns: int = 0


def collect(directory: Path, plan: Plan, engine_name: str) -> History:
    """Reads the raw results in ``directory``. Raises EngineUnavailable or RunFailed when there are none, OwnEngineError
    where the user's own engine is why."""
    _raise_failure(directory)
    result = json.loads((directory / "result.json").read_text(encoding="utf-8"))
    meta: dict[str, Any] = result["meta"]
    with _without_gc():
        events = _events(directory, plan, result["struck"])
        hops = _hops(directory, plan, meta["zero_ns"]) if plan.capture else Hops()
    tolerance_ns = TIMER_TOLERANCE_NS[engine_name]
    meta |= {
        "timer_tolerance_ns": tolerance_ns,
        "stamp_tolerance_ns": STAMP_TOLERANCE_NS[engine_name] + meta.get("clocks_apart_ns", 0),
        "timer_lag_ns": _lag_quantiles(events),
        "frames": events.count(Received),
        "ring_drops": int(events.table(Overrun)["frames"].sum()),
    }
    return History(engine_name, events, hops, meta, result["complete"], result["why"])


@contextmanager
def _without_gc() -> Iterator[None]:
    """Millions of small tuples are made and none is garbage: searching them for cycles would take half the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _raise_failure(directory: Path) -> None:
    path = directory / "failure.json"
    if path.exists():
        failure = json.loads(path.read_text(encoding="utf-8"))
        if all(failure["unavailable"]):
            raise EngineUnavailable(*failure["unavailable"])
        if "own" in failure:
            raise OwnEngineError(failure["own"])
        raise RunFailed(failure["error"] + _pointer("traceback", directory / "failure.txt"))
    if not (directory / "result.json").exists():
        raise RunFailed(f"the supervisor ended without results: {_last_words(directory)}")


def _last_words(directory: Path) -> str:
    if shutil.disk_usage(directory).free < _LEAST_FREE_BYTES:
        return f"no space is left in {directory}"
    for path in (directory / name for name in PRINTED):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        said = [line for line in lines if line.strip() and not line.startswith(_POWERING_OFF)]
        if said:
            return said[-1] + _pointer("all that it said", path)
    return "it said nothing; SIGKILL does that"


def _pointer(what: str, path: Path) -> str:
    """Where to read on, unless it is gone by then."""
    return "" if SCRATCH in str(path) else f" ({what}: {path})"


# -- events ----------------------------------------------------------------------------------------------------------


class _Stream(NamedTuple):
    """One file of rows: what is in it, by kind, and the node of each of its lines."""

    rows: dict[type[What], Rows]
    nodes: NDArray[np.int32]

    @staticmethod
    def read(path: Path, nodes: Sequence[int] | int) -> _Stream:
        rows = decode_all(path.read_bytes())
        lines = sum(len(found.places) for found in rows.values())
        return _Stream(rows, np.broadcast_to(np.array(nodes, dtype=np.int32), (lines,)))


def _events(directory: Path, plan: Plan, struck: Sequence[str]) -> Events:
    """All nodes' rows and the faults, by time; at equal times faults first, then nodes in the plan's order."""
    names = node_names(plan.fabric)
    number = {name: place for place, name in enumerate(names)} | {"": NOBODY}
    streams = [_Stream.read(directory / "faults.txt", [number[name] for name in struck])]
    streams += [_Stream.read(directory / f"journal-{name}.txt", number[name]) for name in plan.names]
    builders = {kind: TableBuilder(kind, names) for kind in KINDS}
    for kind, place, order in _ordered(streams, plan.duration_ns):
        rows = streams[place].rows[kind]
        builders[kind].add(order, rows.t_ns, streams[place].nodes[packed(rows.places, np.int64)], rows.columns)
    return Events(names, {kind: builder.table() for kind, builder in builders.items()})


def _ordered(streams: Sequence[_Stream], until_ns: int) -> Iterator[tuple[type[What], int, Ints]]:
    """(kind, stream, the rows' places among all events of the run); -1 for rows after ``until_ns``."""
    pieces = [(kind, place, rows) for place, stream in enumerate(streams) for kind, rows in stream.rows.items()]
    sizes = [len(rows.places) for _, _, rows in pieces]
    t_ns = np.concatenate([_NONE, *(packed(rows.t_ns, np.int64) for _, _, rows in pieces)])
    line = np.concatenate([_NONE, *(packed(rows.places, np.int64) for _, _, rows in pieces)])
    stream = np.repeat([place for _, place, _ in pieces], sizes)
    by_time = np.lexsort((line, stream, t_ns))
    order = np.empty(len(t_ns), dtype=np.int64)
    order[by_time] = np.arange(len(t_ns))
    order[t_ns > until_ns] = -1  # the last ones: the others stay numbered without a gap
    for (kind, place, _), end, size in zip(pieces, np.cumsum(sizes).tolist(), sizes, strict=True):
        yield kind, place, order[end - size : end]


def _lag_quantiles(events: Events) -> dict[str, int]:
    """How late timers fired: quantile -> ns. Left out: those that came due while a fault held their node up."""
    begun: dict[str, list[tuple[int, int]]] = {name: [(-1, 0)] for name in events.names}  # (order, since when)
    for kind in (Started, Struck):
        table = events.table(kind)
        for order, event in zip(table.order.tolist(), table.rows(), strict=True):
            if isinstance(event.what, Started):
                told_ns = event.what.told_ns  # a first life's is before the run; what counts is when it was up
                begun[event.node].append((order, told_ns if told_ns >= 0 else event.t_ns))
            elif isinstance(event.what, Struck) and event.what.verb == "node_resume":
                begun[event.node].append((order, event.t_ns))
    timers = events.table(TimerFired)
    counted = np.zeros(len(timers), dtype=bool)
    for number, name in enumerate(events.names):
        orders, since_ns = np.array(sorted(begun[name])).T
        mine = timers.node == number
        since = since_ns[np.searchsorted(orders, timers.order[mine]) - 1]
        counted[mine] = timers["due_ns"][mine] >= since
    lags = np.sort((timers.t_ns - timers["due_ns"])[counted]).tolist()
    return {f"{q:g}": quantile(lags, q) for q in LAG_QUANTILES if lags}


# -- hops ------------------------------------------------------------------------------------------------------------


def taps(directory: Path) -> list[Tap]:
    """The files of captured frames in a job directory."""
    path = directory / "capture.json"
    if not path.exists():
        return []
    return [
        Tap(
            directory / item["file"],
            {int(number): (node, nic) for number, (node, nic) in item["interfaces"].items()},
            item.get("ahead_ns", 0),
        )
        for item in json.loads(path.read_text(encoding="utf-8"))
    ]


def sightings(directory: Path, plan: Plan) -> tuple[list[Nic], Sightings]:
    """The frames at the fabric's interfaces, by time, and those interfaces by place."""
    places: dict[Nic, int] = {}
    parts = []
    for tap in taps(directory):
        for place in tap.interfaces.values():
            places.setdefault(place, len(places))
        part = read_sightings(tap.path)
        numbers = np.full(max([*tap.interfaces, *part.place.tolist()], default=0) + 1, NOBODY)
        for ifindex, place in tap.interfaces.items():
            numbers[ifindex] = places[place]
        part = part._replace(place=numbers[part.place], at_ns=part.at_ns - tap.ahead_ns)
        parts.append(part.take(np.flatnonzero(part.place != NOBODY)))
    seen = join(parts)
    return at_all_nics(plan.fabric, list(places), seen.take(np.argsort(seen.at_ns, kind="stable")))


def _hops(directory: Path, plan: Plan, zero_ns: int) -> Hops:
    """Where each frame was when, of those that can be told apart and of the time until the run's end."""
    places, seen = sightings(directory, plan)
    whole, columns = identify_all(seen.wires)
    rows = np.flatnonzero(whole[seen.wire] & (seen.at_ns - zero_ns <= plan.duration_ns))
    seen = seen.take(rows)
    place, order = _as_they_come(seen.place)
    return Hops(
        [places[number] for number in order],
        t_ns=seen.at_ns - zero_ns,
        place=place,
        what=np.where(seen.outgoing, WHATS.index("out"), WHATS.index("in")),
        **dict(zip(FRAME_COLUMNS, columns[seen.wire].T, strict=True)),
    )


def _as_they_come(places: Ints) -> tuple[Ints, list[int]]:
    """These places numbered anew, in the order in which they come up, and that order."""
    order, first, back = np.unique(places, return_index=True, return_inverse=True)
    by_first = np.argsort(first)
    return np.argsort(by_first)[back], order[by_first].tolist()


# -- pcapng ----------------------------------------------------------------------------------------------------------


def write_pcapng(directory: Path, plan: Plan, history: History, zero_ns: int = 0) -> None:
    """The frames captured in a job directory, byte for byte, in the plan's capture files there. zero_ns: the instant
    since the epoch that their stamps count from."""
    places, seen = sightings(directory, plan)
    packets = Packets(seen.place.astype(np.int32), seen.at_ns - zero_ns, seen.outgoing, seen.wire, Wires.of(seen.wires))
    write_captures(directory, plan, places, packets, fault_notes(plan, history, history.meta["zero_ns"] - zero_ns))


__all__ = ["RunFailed", "collect", "write_pcapng"]
