"""What happened in a run, as Arrow tables: those of its directory, and others made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from testbed.api.table import texts, with_meanings
from testbed.history import History, frame_ids
from testbed.history import Table as Rows
from testbed.nodes.core import Invoke, Return
from testbed.nodes.core.meanings import EVENTS, FIRST, HOPS
from testbed.nodes.core.record import KINDS, Dropped, Received, Sent, schema
from testbed.nodes.registry import service_spec
from testbed.plan import Plan
from testbed.runs import events_table, hops_table, text_column
from testbed.verdicts.bisynchrony import COMMITTED, SWAP_ENDS, SWAP_KINDS, Swaps, every_swap
from testbed.verdicts.model import Bisynchrony, Fidelity
from testbed.verdicts.values import operation_name

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_OUTCOMES = ("committed", "aborted", "split", "blocked", "excluded")

_EVENTS = {
    "order": "the event's place among all events of the run",
    "t_ns": "when, on the run's clock, whose zero is the start of round 0",
    "node": "at which node; null: at none",
    "kind": "what kind of event; events_of(kind) has its own columns",
    "round": "the round that it belongs to; null where it names none",
}
_FRAMES = {
    "src": "the node that sent it",
    "dst": "the node that it is for",
    "epoch": "in which life of its own the sender sent it",
    "seq": "its number among the frames of that life",
    "round": "the round that it belongs to",
    "step": "which step of the handshake it carries",
    "size_bytes": "its length where software sees it",
    "sent_ns": "when it was handed to the NIC",
    "arrived_ns": "when it first arrived at the receiver's NIC; null: never",
    "handled_ns": "when the receiver acted on it; null: never",
    "delay_ns": "from sent_ns to arrived_ns",
    "fate": "received, dropped (it arrived, and was not for the machine) or lost (it never arrived)",
}
_SWAPS = {
    "round": "the round",
    "low": "the end with the lower number",
    "high": "the other end",
    "outcome": "committed or aborted (both atomic), split, blocked, or excluded (an end was not alive)",
    "broke": "how it broke bisynchrony: split, blocked, late or skew; null: it did not",
    "low_end": "how the low end ended: committed, aborted, in_doubt; null: it never did",
    "high_end": "how the high end ended",
    "low_ns": "when the low end first said so, on the run's clock; null: never",
    "high_ns": "when the high end first said so",
    "skew_ns": "how far apart the two were",
}
_ROUNDS = {
    "round": "the round",
    "starts_ns": "when it starts on the run's clock",
    "broken": "whether bisynchrony broke in it",
    **{name: f"of its swaps, how many ended {name}" for name in _OUTCOMES},
}
_OPERATIONS = {
    "operation": "its name: client, life, number",
    "client": "the host that asked",
    "call": "what it asked for, in words",
    "result": "what it was told, in words; null: nothing by the run's end",
    "called_ns": "when it asked, on the run's clock",
    "returned_ns": "when it was told; null: never",
    "latency_ns": "from the call to the result",
}
_BREAKS = {
    "round": "the round",
    "link": "the two ends",
    "kind": "split, blocked, late or skew",
    "cause": "late, lost, crashed, corrupted, paused, slow, clock or unknown",
    "frame": "the frame that caused it",
    "hop": "the interface where that was lost or held up; empty when nothing was captured",
    "detail": "a sentence with the figures",
}
_FIDELITY = {
    "direction": "a link, one way",
    "n": "delays compared",
    "ok": "whether nothing was off",
    "remark": "what was not checked here, and why",
    "fixed_cost_ns": "how far the realised delays lie above those asked for, as a whole",
    "median_asked_ns": "the median delay asked for",
    "median_realised_ns": "the median delay that was realised",
    "p99_asked_ns": "the 99th percentile asked for",
    "p99_realised_ns": "the 99th percentile that was realised",
    "loss_asked": "the share of frames that was to be lost",
    "loss_realised": "the share that was",
}

MEANINGS: dict[str, dict[str, str]] = {
    "events": _EVENTS,
    "frames": _FRAMES,
    "rounds": _ROUNDS,
    "swaps": _SWAPS,
    "breaks": _BREAKS,
    "operations": _OPERATIONS,
    "fidelity": _FIDELITY,
}
"""What the columns of the tables hold that are made here, by the names of Run's."""

KIND_NAMES = tuple(schema(kind).name for kind in KINDS)
"""The kinds of events, as tables and files call them."""


def events(history: History) -> pa.Table:
    """All events, whatever their kind, in order."""
    tables = [(place, history.events.table(kind)) for place, kind in enumerate(KINDS)]
    tables = [(place, rows) for place, rows in tables if len(rows)]
    order = _joined([rows.order for _, rows in tables])
    at = np.argsort(order, kind="stable")
    kind = _joined([np.full(len(rows), place) for place, rows in tables])[at]
    node = _joined([rows.node for _, rows in tables])[at].astype(np.int32)
    round_ = _joined([_round_of(rows) for _, rows in tables])[at]
    columns = [
        pa.array(order[at]),
        pa.array(_joined([rows.t_ns for _, rows in tables])[at]),
        text_column(node, history.names),
        text_column(kind.astype(np.int32), KIND_NAMES),
        pa.array(round_, mask=round_ < 0),
    ]
    return with_meanings(pa.table(columns, names=list(_EVENTS)), _EVENTS)


def events_of(history: History, kind: str) -> pa.Table:
    """What ``events/<kind>.parquet`` holds. Raises KeyError for a kind that there is not."""
    known = dict(zip(KIND_NAMES, KINDS, strict=True))
    found = events_table(history.events.table(known[kind]))
    told = {**FIRST, **EVENTS[kind][1]}
    return with_meanings(found, {name: told[name].meaning for name in found.column_names})


def hops(history: History) -> pa.Table:
    """What ``hops.parquet`` holds."""
    found = hops_table(history.hops)
    return with_meanings(found, {name: HOPS[name].meaning for name in found.column_names})


def frames(history: History) -> pa.Table:
    """A row for each frame that a node sent, and what became of it."""
    sent, received, dropped = (history.events.table(kind) for kind in (Sent, Received, Dropped))
    ids, came, refused = frame_ids(sent, received, dropped)
    frames_in_all = 1 + max(int(one.max(initial=-1)) for one in (ids, came, refused))
    arrived = np.full(frames_in_all, np.iinfo(np.int64).max)
    handled = arrived.copy()
    for numbers, rows in ((came, received), (refused, dropped)):
        known = numbers >= 0
        np.minimum.at(arrived, numbers[known], rows["at_ns"][known])
    np.minimum.at(handled, came[came >= 0], received.t_ns[came >= 0])
    arrived, handled = arrived[ids], handled[ids]
    lost, unhandled = arrived == np.iinfo(np.int64).max, handled == np.iinfo(np.int64).max
    fate = np.select([~unhandled, ~lost], [0, 1], 2).astype(np.int32)
    columns = [
        text_column(sent["key_src"].astype(np.int32), history.names),
        text_column(sent["dst"].astype(np.int32), history.names),
        *(pa.array(sent[name]) for name in ("key_epoch", "key_seq", "round", "step", "size")),
        pa.array(sent.t_ns),
        pa.array(arrived, mask=lost),
        pa.array(handled, mask=unhandled),
        pa.array(np.where(lost, 0, arrived - sent.t_ns), mask=lost),
        text_column(fate, ("received", "dropped", "lost")),
    ]
    return with_meanings(pa.table(columns, names=list(_FRAMES)), _FRAMES)


class _Outcome(NamedTuple):
    """Every swap and, as places in _OUTCOMES and by the model's names, what became of it."""

    swaps: Swaps
    outcome: NDArray[np.int32]
    broke: Mask


def _outcomes(plan: Plan, history: History) -> _Outcome:
    swaps = every_swap(plan, history)
    kind = np.array(SWAP_KINDS)[swaps.kind]
    whole = np.where(swaps.low_end == SWAP_ENDS.index(COMMITTED), 0, 1)
    apart = [_OUTCOMES.index(name) for name in ("split", "blocked", "excluded")]
    outcome = np.select([kind == _OUTCOMES[place] for place in apart], apart, whole)
    return _Outcome(swaps, outcome.astype(np.int32), (kind != "") & (kind != "excluded"))


def swaps(plan: Plan, history: History) -> pa.Table:
    """A row for each swap of each judged round."""
    found, outcome, broke = _outcomes(plan, history)
    never = [end == SWAP_ENDS.index("") for end in (found.low_end, found.high_end)]
    columns = [
        pa.array(found.round),
        *(text_column(end.astype(np.int32), history.names) for end in (found.low, found.high)),
        text_column(outcome, _OUTCOMES),
        text_column(np.where(broke, found.kind, -1).astype(np.int32), SWAP_KINDS),
        *(
            text_column(np.where(none, -1, end).astype(np.int32), SWAP_ENDS)
            for none, end in zip(never, (found.low_end, found.high_end), strict=True)
        ),
        *(pa.array(t_ns, mask=none) for none, t_ns in zip(never, (found.low_ns, found.high_ns), strict=True)),
        pa.array(np.abs(found.low_ns - found.high_ns), mask=never[0] | never[1]),
    ]
    return with_meanings(pa.table(columns, names=list(_SWAPS)), _SWAPS)


def rounds(plan: Plan, history: History) -> pa.Table:
    """A row for each judged round."""
    found, outcome, broke = _outcomes(plan, history)
    numbers, place = np.unique(found.round, return_inverse=True)
    counted = np.zeros((len(numbers), len(_OUTCOMES)), dtype=np.int64)
    np.add.at(counted, (place, outcome), 1)
    broken = np.zeros(len(numbers), dtype=bool)
    broken[place[broke]] = True
    columns = [numbers, numbers * plan.protocol.period_ns, broken, *counted.T]
    return with_meanings(pa.table([pa.array(column) for column in columns], names=list(_ROUNDS)), _ROUNDS)


def operations(plan: Plan, history: History) -> pa.Table:
    """A row for each operation that a client asked for; none where there is no service."""
    returned: dict[int, tuple[int, bytes]] = {}
    for t_ns, _, what in history.events.of_kind(Return):
        if isinstance(what, Return):
            returned.setdefault(what.operation, (t_ns, what.result))
    rows: list[tuple[Any, ...]] = []
    seen: set[int] = set()
    for t_ns, client, what in history.events.of_kind(Invoke):
        if not isinstance(what, Invoke) or what.operation in seen:
            continue
        seen.add(what.operation)
        spec = service_spec(plan.service)
        ended_ns, result = returned.get(what.operation, (None, None))
        told = spec.result_text(result) if result is not None else None
        latency_ns = ended_ns - t_ns if ended_ns is not None else None
        name = operation_name(plan, what.operation)
        rows.append((name, client, spec.call_text(what.call), told, t_ns, ended_ns, latency_ns))
    return _of_rows(rows, _OPERATIONS, {"client": texts})


def breaks(bisynchrony: Bisynchrony) -> pa.Table:
    """A row for each swap that broke bisynchrony."""
    rows = [tuple(getattr(item, name) for name in _BREAKS) for item in bisynchrony.breaks]
    return _of_rows(rows, _BREAKS, dict.fromkeys(("link", "kind", "cause", "hop"), texts))


def fidelity(judged: Fidelity) -> pa.Table:
    """A row for each direction of a link: what was asked of it, and what it did."""
    rows = []
    for one in judged.directions:
        asked, realised = (dict(zip(one.at, values, strict=False)) for values in (one.asked_ns, one.realised_ns))
        quantiles = [table.get(at) for at in (0.5, 0.99) for table in (asked, realised)]
        loss = (one.loss_asked, one.loss_realised)
        rows.append((one.direction, one.n, one.ok, one.remark, one.fixed_cost_ns, *quantiles, *loss))
    return _of_rows(rows, _FIDELITY, {})


_TYPES = {
    "round": pa.int64(),
    "n": pa.int64(),
    "ok": pa.bool_(),
    "loss_asked": pa.float64(),
    "loss_realised": pa.float64(),
}
_WHOLE_NS = ("called_ns", "returned_ns", "latency_ns")


def _of_rows(
    rows: Sequence[Sequence[Any]], about: dict[str, str], special: dict[str, Callable[[Sequence[Any]], pa.Array]]
) -> pa.Table:
    """Few rows of plain values. Times are whole nanoseconds where they were measured, texts are texts."""
    columns = []
    for place, name in enumerate(about):
        values = [row[place] for row in rows]
        if name in special:
            columns.append(special[name](values))
        elif name.endswith("_ns"):
            columns.append(pa.array(values, pa.int64() if name in _WHOLE_NS else pa.float64()))
        else:
            columns.append(pa.array(values, _TYPES.get(name, pa.string())))
    return with_meanings(pa.table(columns, names=list(about)), about)


def _round_of(rows: Rows) -> Ints:
    for name in ("round", "swap_round"):
        if name in rows.columns:
            return np.asarray(rows[name], dtype=np.int64)
    return np.full(len(rows), -1, dtype=np.int64)


def _joined(pieces: Sequence[NDArray[Any]]) -> Ints:
    return np.concatenate(pieces).astype(np.int64) if pieces else np.empty(0, dtype=np.int64)
