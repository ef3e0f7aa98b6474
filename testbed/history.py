"""What happened: one record format for every engine. Verdicts read it and nothing else.

``events``: what the nodes did and what befell them, in the order in which it happened at each node, sorted by time over
all. ``hops``: where each frame was when, at every interface of the fabric (empty when nothing was captured).

Both are kept in columns, a table per kind of event (testbed.nodes.core.record), so that recording, judging and storing
millions of rows cost little. Who reads a story goes through them as typed rows, which are made when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from heapq import merge
from operator import itemgetter
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from testbed.columns import Pick, codes, gather, grouped
from testbed.nodes.core.record import KINDS, What, schema
from testbed.nodes.frames import FrameKey
from testbed.topologies.fabric import Fabric

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

WHATS = ("in", "out", "lost", "limit", "cut", "mute", "unknown", "dup")
"""What a hop can be, see Hop."""

NOBODY = -1
"""The node number of an event that belongs to none."""


class Event(NamedTuple):
    """One thing that happened at a node ("": at none), ``t_ns`` on the run's clock. what: see
    testbed.nodes.core.record."""

    t_ns: int
    node: str
    what: What


class Hop(NamedTuple):
    """A frame at an interface. what: in (arrived), out (left, after its delay), or lost, limit, cut, mute, unknown
    (dropped here: by netem's loss, a full queue, a dead carrier, a muted NIC, no forwarding entry), dup (a copy made by
    the network leaves here too). dst: the node number that the frame is for, -1 when unknown."""

    t_ns: int
    node: str
    nic: str
    what: str
    key: FrameKey
    dst: int = -1
    round: int = -1
    step: int = -1
    corrupt: bool = False


def node_names(fabric: Fabric) -> tuple[str, ...]:
    """The names that events' node numbers stand for: a host's place is its number, switches follow."""
    return (*fabric.hosts, *fabric.switches)


# -- columns ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of texts or bytes: ``codes`` are places in ``values``, which are all different, in the order in which
    they first appear."""

    codes: NDArray[np.int32]
    values: Sequence[Any]

    def where(self, *wanted: Any) -> Mask:
        """Which rows hold one of these values."""
        places = [place for place, value in enumerate(self.values) if value in wanted]
        if len(places) == 1:
            return np.asarray(self.codes == places[0])
        return np.isin(self.codes, places)

    def tolist(self) -> list[Any]:
        """The plain values."""
        values = self.values
        return [values[code] for code in self.codes.tolist()]

    def take(self, rows: Any) -> Coded:
        """Some of the rows."""
        kept, first, codes = np.unique(self.codes[rows], return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first))
        values = [self.values[code] for code in kept[np.argsort(first)].tolist()]
        return Coded(rank[codes].astype(np.int32), values)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Coded)
            and np.array_equal(self.codes, other.codes)
            and list(self.values) == list(other.values)
        )

    __hash__ = None  # type: ignore[assignment]  # columns are compared, never keys


ColumnData = Ints | Mask | Coded


@dataclass(frozen=True, slots=True)
class Table:
    """All events of one kind, in order. order: each one's place among all events of the run. node: node numbers.

    ``table[name]``: a column of the kind, as numbers, flags, or Coded for texts and bytes.
    """

    kind: type[What]
    names: tuple[str, ...]
    order: Ints
    t_ns: Ints
    node: NDArray[np.int32]
    columns: Mapping[str, ColumnData]

    def __len__(self) -> int:
        return len(self.t_ns)

    def __getitem__(self, name: str) -> Any:
        return self.columns[name]

    def rows(self) -> Iterator[Event]:
        """The events."""
        names = (*self.names, "")  # NOBODY
        nodes = [names[number] for number in self.node.tolist()]
        plain = [self.columns[column.name].tolist() for column in schema(self.kind).columns]
        return map(Event, self.t_ns.tolist(), nodes, schema(self.kind).whats(plain, len(self)))

    def take(self, rows: Any) -> Table:
        """Some of the rows, by mask or places."""
        columns = {
            name: column.take(rows) if isinstance(column, Coded) else column[rows]
            for name, column in self.columns.items()
        }
        return Table(self.kind, self.names, self.order[rows], self.t_ns[rows], self.node[rows], columns)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Table)
            and self.kind is other.kind
            and self.names == other.names
            and all(np.array_equal(getattr(self, name), getattr(other, name)) for name in ("order", "t_ns", "node"))
            and all(same_column(self.columns[name], other.columns[name]) for name in self.columns)
        )

    __hash__ = None  # type: ignore[assignment]


def same_column(one: ColumnData, other: ColumnData) -> bool:
    """Whether two columns hold the same."""
    if isinstance(one, Coded) or isinstance(other, Coded):
        return one == other
    return np.array_equal(one, other)


# -- events ----------------------------------------------------------------------------------------------------------


class Events(Sequence[Event]):
    """The events of a run, a table per kind. As a sequence: typed rows in order."""

    def __init__(self, names: tuple[str, ...], tables: Mapping[type[What], Table]) -> None:
        self.names = names
        self._tables = dict(tables)

    @staticmethod
    def of(events: Iterable[Event], names: tuple[str, ...]) -> Events:
        """These events, in the order given. names: the nodes, see node_names."""
        number = {name: place for place, name in enumerate(names)} | {"": NOBODY}
        recorder = Recorder(names)
        recorder.rows += [(t_ns, number[node], type(what), what) for t_ns, node, what in events]
        return recorder.events()

    def table(self, kind: type[What]) -> Table:
        """The events of one kind."""
        return self._tables.get(kind) or _empty(kind, self.names)

    def count(self, *kinds: Any) -> int:
        """How many events there are of these kinds."""
        return sum(len(self.table(kind)) for kind in kinds)

    def of_kind(self, *kinds: type[What]) -> Iterator[Event]:
        """The events of these kinds only, in order."""
        streams = [zip(self.table(kind).order.tolist(), self.table(kind).rows(), strict=True) for kind in kinds]
        return (event for _, event in merge(*streams, key=itemgetter(0)))

    @cached_property
    def _all(self) -> list[Event]:
        found: list[Any] = [None] * len(self)
        for table in self._tables.values():
            for place, event in zip(table.order.tolist(), table.rows(), strict=True):
                found[place] = event
        return found

    def __len__(self) -> int:
        return sum(map(len, self._tables.values()))

    def __iter__(self) -> Iterator[Event]:
        return iter(self._all)

    @overload
    def __getitem__(self, place: int) -> Event: ...
    @overload
    def __getitem__(self, place: slice) -> list[Event]: ...
    def __getitem__(self, place: int | slice) -> Event | list[Event]:
        return self._all[place]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Events):
            return NotImplemented
        return self.names == other.names and all(self.table(kind) == other.table(kind) for kind in KINDS)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Events({len(self)} of {len(self.names)} nodes)"


def _empty(kind: type[What], names: tuple[str, ...]) -> Table:
    return TableBuilder(kind, names).table()


Row = tuple[int, int, type[What], Any]
"""An event as it is recorded: when, the node's number, its kind, what."""

_T_NS, _NODE, _KIND, _WHAT = range(4)

_PACKED_FROM_ROWS = 1 << 12  # few enough that they are still in the processor's cache when they are packed


class Recorder:
    """Takes events down as they happen. ``rows`` is appended to directly, which is the cheapest that there is; ``pack``
    turns what has gathered into columns, which take a fraction of the room."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.rows: list[Row] = []
        self._packed = 0
        self._tables = {kind: TableBuilder(kind, names) for kind in KINDS}

    def pack(self, least: int = _PACKED_FROM_ROWS) -> None:
        """Into columns, when there are at least so many rows that are not yet."""
        rows = self.rows
        if len(rows) < least:
            return
        for kind, chosen in grouped(rows, _KIND).items():
            order = np.array(chosen, dtype=np.int64) + self._packed
            self._tables[kind].add_rows(order, [rows[place] for place in chosen])
        self._packed += len(rows)
        rows.clear()

    def count(self) -> int:
        """How many have been taken down."""
        return self._packed + len(self.rows)

    def events(self) -> Events:
        """All that was recorded."""
        self.pack(1)
        return Events(self.names, {kind: growing.table() for kind, growing in self._tables.items()})


_Values = Sequence[int] | NDArray[Any]


class TableBuilder:
    """A table under construction, from pieces of its columns in any order."""

    def __init__(self, kind: type[What], names: tuple[str, ...]) -> None:
        self.kind, self.names, self.schema = kind, names, schema(kind)
        self._fixed: list[tuple[Ints, Ints, NDArray[np.int32]]] = []
        self._pieces: list[list[NDArray[Any]]] = [[] for _ in self.schema.columns]
        self._codes: list[dict[Any, int]] = [{} for _ in self.schema.columns]
        self._picks: tuple[Pick, ...] = (
            ((_T_NS,), None),
            ((_NODE,), None),
            *(
                ((_WHAT, *path), known if column.holds in (str, bytes) else None)
                for path, known, column in zip(self.schema.paths(), self._codes, self.schema.columns, strict=True)
            ),
        )

    def add(self, order: Ints, t_ns: _Values, node: _Values, columns: Sequence[Sequence[Any]]) -> None:
        """More rows; ``columns`` are those of the kind's schema."""
        self._fixed.append((order, packed(t_ns, np.int64), packed(node, np.int32)))
        for place, (column, values) in enumerate(zip(self.schema.columns, columns, strict=True)):
            if column.holds in (str, bytes):
                self._pieces[place].append(codes(values, self._codes[place]))
            else:
                self._pieces[place].append(packed(values, _DTYPES[column.holds]))

    def add_rows(self, order: Ints, rows: list[Row]) -> None:
        """More rows, as they were recorded."""
        t_ns, node, *columns = gather(rows, self._picks)
        self._fixed.append((order, t_ns, node.astype(np.int32)))
        for pieces, column, values in zip(self._pieces, self.schema.columns, columns, strict=True):
            pieces.append(values.astype(_DTYPES[column.holds]))

    def table(self) -> Table:
        """All rows so far, by ``order``; those for which it is negative are left out."""
        order, t_ns, node = (
            _joined([piece[place] for piece in self._fixed], dtype)
            for place, dtype in enumerate((np.int64, np.int64, np.int32))
        )
        columns: dict[str, ColumnData] = {}
        for column, pieces, known in zip(self.schema.columns, self._pieces, self._codes, strict=True):
            joined = _joined(pieces, _DTYPES[column.holds])
            columns[column.name] = Coded(joined, list(known)) if column.holds in (str, bytes) else joined
        table = Table(self.kind, self.names, order, t_ns, node, columns)
        if len(order) == 0 or (order[0] >= 0 and bool(np.all(order[1:] > order[:-1]))):
            return table
        rows = np.argsort(order, kind="stable")
        return table.take(rows[order[rows] >= 0])


def packed(values: Sequence[Any] | NDArray[Any], dtype: type[Any]) -> NDArray[Any]:
    """``values`` as an array of their own; of plain ones in less than half the time that np.array takes."""
    if isinstance(values, np.ndarray | memoryview):
        return np.asarray(values).astype(dtype)
    return np.fromiter(values, dtype=dtype, count=len(values))


_DTYPES: dict[type, type[Any]] = {int: np.int64, bool: np.bool_, str: np.int32, bytes: np.int32}


def _joined(pieces: Sequence[NDArray[Any]], dtype: type[Any]) -> NDArray[Any]:
    return np.concatenate(pieces) if pieces else np.empty(0, dtype=dtype)


# -- hops ------------------------------------------------------------------------------------------------------------

_HOP_COLUMNS = {
    "t_ns": np.int64,
    "place": np.int32,
    "what": np.int8,
    "key_src": np.int32,
    "key_epoch": np.int64,
    "key_seq": np.int64,
    "dst": np.int32,
    "round": np.int64,
    "step": np.int32,
    "corrupt": np.bool_,
}
_CODE = {what: code for code, what in enumerate(WHATS)}


class Hops(Sequence[Hop]):
    """Where frames were, in order of time. place: which of ``places``, (node, nic) pairs. what: a place in WHATS."""

    t_ns: Ints
    place: NDArray[np.int32]
    what: NDArray[np.int8]
    key_src: NDArray[np.int32]
    key_epoch: Ints
    key_seq: Ints
    dst: NDArray[np.int32]
    round: Ints
    step: NDArray[np.int32]
    corrupt: Mask

    def __init__(self, places: Sequence[tuple[str, str]] = (), **columns: Any) -> None:
        """Columns that are not given are empty, so that ``Hops()`` is no hops."""
        self.places = tuple(places)
        for name, dtype in _HOP_COLUMNS.items():
            setattr(self, name, np.asarray(columns.get(name, ()), dtype=dtype))

    @staticmethod
    def of(hops: Iterable[Hop]) -> Hops:
        """These hops, in the order given."""
        held = list(hops)
        if not held:
            return Hops()
        t_ns, nodes, nics, whats, keys, *rest = zip(*held, strict=True)
        places: dict[tuple[str, str], int] = {}
        place = codes(zip(nodes, nics, strict=True), places)
        columns = (t_ns, place, [_CODE[what] for what in whats], *zip(*keys, strict=True), *rest)
        return Hops(tuple(places), **dict(zip(_HOP_COLUMNS, columns, strict=True)))

    def where(self, *whats: str) -> Mask:
        """Which hops are one of these."""
        return np.isin(self.what, [_CODE[what] for what in whats])

    def take(self, rows: Any) -> Hops:
        """Some of the hops, by mask or places."""
        return Hops(self.places, **{name: getattr(self, name)[rows] for name in _HOP_COLUMNS})

    def columns(self) -> dict[str, NDArray[Any]]:
        """All columns by name."""
        return {name: getattr(self, name) for name in _HOP_COLUMNS}

    def rows(self) -> Iterator[Hop]:
        """The hops, typed."""
        place = self.place.tolist()
        keys = map(FrameKey, self.key_src.tolist(), self.key_epoch.tolist(), self.key_seq.tolist())
        return map(
            Hop,
            self.t_ns.tolist(),
            [self.places[number][0] for number in place],
            [self.places[number][1] for number in place],
            [WHATS[code] for code in self.what.tolist()],
            keys,
            self.dst.tolist(),
            self.round.tolist(),
            self.step.tolist(),
            self.corrupt.tolist(),
        )

    @cached_property
    def _all(self) -> list[Hop]:
        return list(self.rows())

    def __len__(self) -> int:
        return len(self.t_ns)

    def __iter__(self) -> Iterator[Hop]:
        return iter(self._all)

    @overload
    def __getitem__(self, place: int) -> Hop: ...
    @overload
    def __getitem__(self, place: slice) -> list[Hop]: ...
    def __getitem__(self, place: int | slice) -> Hop | list[Hop]:
        return self._all[place]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Hops):
            return NotImplemented
        if self.places == other.places:
            return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in _HOP_COLUMNS)
        return self._all == other._all

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Hops({len(self)} at {len(self.places)} interfaces)"


_EPOCH_BITS, _SEQ_BITS = 15, 32


def frame_ids(*tables: Table | Hops) -> list[Ints]:
    """For each table a column of numbers from 0 on, the same number for the same FrameKey over all of these tables; -1
    for a row without a key. Raises ValueError when there were more than 32,768 lives in all."""
    src, epoch, seq = (
        np.concatenate([_key_column(table, name) for table in tables]) for name in ("key_src", "key_epoch", "key_seq")
    )
    if epoch.max(initial=0) >> _EPOCH_BITS:  # of a damaged or foreign frame: what counts is which are the same
        values, epoch = np.unique(epoch, return_inverse=True)
        if len(values) >> _EPOCH_BITS:
            raise ValueError("more lives of nodes than can be told apart")
    code = src << (_EPOCH_BITS + _SEQ_BITS) | epoch << _SEQ_BITS | seq
    known, ids = np.unique(code, return_inverse=True)
    if len(known) and known[0] < 0:
        ids = ids - 1
    ends = np.cumsum([len(table) for table in tables])
    return [ids[end - len(table) : end].astype(np.int64) for table, end in zip(tables, ends.tolist(), strict=True)]


def _key_column(table: Table | Hops, name: str) -> Ints:
    column = table[name] if isinstance(table, Table) else getattr(table, name)
    return np.asarray(column, dtype=np.int64)


# -- the whole -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class History:
    """A finished run. engine: sim | vkernel | live. meta: facts for the fidelity verdict, JSON-able:

    ``timer_tolerance_ns`` (how late a timer may fire and still count as on time in this engine), ``limit_drops``
    (interface -> frames dropped by a full queue), ``frames`` (frame bytes seen by the nodes), ``versions``, and so on.
    ``complete`` is False when the run was cut short; ``why`` then says by what.
    """

    engine: str
    events: Events
    hops: Hops = field(default_factory=Hops)
    meta: dict[str, Any] = field(default_factory=dict)
    complete: bool = True
    why: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes, by number."""
        return self.events.names
