"""From the raw results of a run (testbed.engines.live.supervisor) to its History.

A job directory holds: ``plan.json``; ``result.json`` (whether the run was complete, facts about it);
``journal-<node>.txt`` (nodes.agent.journal); ``faults.txt`` (the same with the node in front); ``capture.json``
and ``capture-<n>.blocks`` (testbed.engines.live.capture). ``failure.json`` instead means that nothing was run.
"""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from heapq import merge
from pathlib import Path
from typing import Any, NamedTuple

from nodes.agent.journal import Row, decode, decode_all
from testbed.engines.base import SCRATCH, EngineUnavailable
from testbed.engines.live.capture import Sighting, identify, read_sightings
from testbed.history import Event, History, Hop
from testbed.pcapng import Packet, interface_name, write_packets
from testbed.plan import Plan

TIMER_TOLERANCE_NS = {"live": 1_000_000, "vkernel": 1_000}
"""How late a timer may fire and still count as on time. Wall clock: what the wake-up of an idle process takes on an
otherwise idle machine stays below 1 ms; beyond it, something else held the node up. Virtual time: handling an interrupt
takes some ten nanoseconds, and only code that reads the clock over and over takes more."""

PRINTED = ("output.txt", "console.log")
"""What a supervisor prints goes there: on this host, and in a guest."""

_POWERING_OFF = ("sysrq: ", "reboot: ")
_LEAST_FREE_BYTES = 1 << 20

LAG_QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)


class RunFailed(RuntimeError):  # noqa: N818 (the outcome of a run)
    """The supervisor ended without results; the text says why and where its traceback is."""


class Tap(NamedTuple):
    """One file of captured frames and the interfaces it is about: index -> (node, nic)."""

    path: Path
    interfaces: dict[int, tuple[str, str]]


def collect(directory: Path, plan: Plan, engine_name: str) -> History:
    """Reads the raw results in ``directory``. Raises EngineUnavailable or RunFailed when there are none."""
    _raise_failure(directory)
    result = json.loads((directory / "result.json").read_text(encoding="utf-8"))
    meta: dict[str, Any] = result["meta"]
    with _without_gc():
        events = _events(directory, plan)
        hops = _hops(directory, plan, meta["zero_ns"]) if plan.capture else []
    tolerance_ns = TIMER_TOLERANCE_NS[engine_name]
    meta |= {
        "timer_tolerance_ns": tolerance_ns,
        "timer_lag_ns": _lag_quantiles(events),
        "frames": sum(event.kind == "recv" for event in events),
        "ring_drops": sum(event.kind == "drop" and event.info.startswith("ring:") for event in events),
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


def _events(directory: Path, plan: Plan) -> list[Event]:
    """All nodes' rows and the faults, by time; at equal times faults first, then nodes in the plan's order."""
    streams = [_faults(directory / "faults.txt")]
    for config in plan.nodes:
        data = (directory / f"journal-{config.name}.txt").read_bytes()
        streams.append([_event(config.name, row) for row in decode_all(data)])
    return [event for event in merge(*streams, key=lambda event: event.t_ns) if event.t_ns <= plan.duration_ns]


def _faults(path: Path) -> list[Event]:
    events = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line:
            node, _, rest = line.partition("\t")
            events.append(_event(node, decode(rest)))
    return sorted(events, key=lambda event: event.t_ns)


def _event(node: str, row: Row) -> Event:
    return Event(row.t_ns, node, *row[1:])


def _lag_quantiles(events: list[Event]) -> dict[str, int]:
    """How late timers fired: quantile -> ns. Left out: those that came due while a fault held their node up."""
    begun_ns: dict[str, int] = {}
    lags = []
    for event in events:
        if event.kind == "start" or (event.kind == "fault" and event.info == "node_resume"):
            begun_ns[event.node] = event.at_ns if event.at_ns >= 0 else event.t_ns
        elif event.kind == "timer" and event.at_ns >= begun_ns.get(event.node, 0):
            lags.append(event.t_ns - event.at_ns)
    lags.sort()
    return {f"{q:g}": lags[min(len(lags) - 1, int(q * len(lags)))] for q in LAG_QUANTILES if lags}


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
        )
        for item in json.loads(path.read_text(encoding="utf-8"))
    ]


def sightings(tap: Tap) -> Iterator[tuple[Sighting, str, str]]:
    """The frames of one file at the fabric's own interfaces, each with its node and NIC."""
    for sighting in read_sightings(tap.path):
        place = tap.interfaces.get(sighting.ifindex)
        if place is not None:
            yield sighting, *place


def _hops(directory: Path, plan: Plan, zero_ns: int) -> list[Hop]:
    """Where each frame was when: at captured interfaces as seen, at hosts' own NICs derived from their neighbours.

    A veth passes a frame on in no time: what came into a switch's port left the host's NIC at that instant, and what
    left the port arrived at the host.
    """
    far_ends = _host_ends(plan)
    hops = []
    for tap in taps(directory):
        for sighting, node, nic in sightings(tap):
            known = identify(sighting.wire)
            if known is None:
                continue
            frame, corrupt = known
            t_ns = sighting.at_ns - zero_ns
            here = Hop(
                t_ns,
                node,
                nic,
                "out" if sighting.outgoing else "in",
                frame.key,
                frame.dst,
                frame.message.round,
                frame.message.step,
                corrupt,
            )
            far = far_ends.get((node, nic))
            if far is None:
                hops.append(here)
            elif sighting.outgoing:
                hops += [here, here._replace(node=far[0], nic=far[1], what="in")]
            else:
                hops += [here._replace(node=far[0], nic=far[1], what="out"), here]
    return sorted((hop for hop in hops if hop.t_ns <= plan.duration_ns), key=lambda hop: hop.t_ns)


def _host_ends(plan: Plan) -> dict[tuple[str, str], tuple[str, str]]:
    """A switch's port that leads to a host -> that host's NIC."""
    switches = set(plan.fabric.switches)
    ends = {}
    for link in plan.fabric.links:
        for one, other in ((link.a, link.b), (link.b, link.a)):
            if one.node in switches and other.node not in switches:
                ends[one.node, one.nic] = (other.node, other.nic)
    return ends


# -- pcapng ----------------------------------------------------------------------------------------------------------


def write_pcapng(directory: Path, target: Path) -> int:
    """All frames captured in a job directory, byte for byte, as one pcapng file; returns how many."""
    packets: list[Packet] = []
    places: dict[tuple[str, str], int] = {}
    for tap in taps(directory):
        for node, nic in tap.interfaces.values():
            places.setdefault((node, nic), len(places))
        packets += [
            Packet(places[node, nic], sighting.at_ns, sighting.wire, sighting.outgoing)
            for sighting, node, nic in sightings(tap)
        ]
    packets.sort(key=lambda packet: packet.stamp_ns)
    return write_packets(target, [interface_name(*nic) for nic in places], packets)


__all__ = ["RunFailed", "collect", "write_pcapng"]
