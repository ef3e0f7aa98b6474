"""A run is a directory: everything needed to judge it again, replay it, or open it in Wireshark.

======================  ==============================================================================================
``scenario.yaml``       the scenario's text as it was given
``plan.json``           the plan with every seed (testbed.plan.Plan.to_json)
``events.parquet``      History.events; columns below
``hops.parquet``        History.hops; columns below
``frames.pcapng``       every frame at every captured interface, nanosecond stamps on the run's clock
``verdicts.json``       testbed.verdicts.model.Verdicts
``meta.json``           written last: format, engine, complete, why, and History.meta
======================  ==============================================================================================

``events``: t_ns int64, node str, kind str, round int32, peer str, step int32, key_src, key_epoch, key_seq int64 (null
together: no key), info str, value str, at_ns int64. ``hops``: t_ns int64, node str, nic str, what str, key_src,
key_epoch, key_seq int64, dst int32, round int32, step int32, corrupt bool. See testbed.history for their meaning; rows
keep their order.

Equal runs give byte-identical files: no wall-clock time, host name or path goes into them. Every file is written beside
its place and then renamed, so that an interrupted write leaves the old file or the new one, never half of one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from nodes.frames import FrameKey
from testbed.history import Event, History, Hop
from testbed.pcapng import write_capture
from testbed.plan import Plan

if TYPE_CHECKING:
    from testbed.verdicts.model import Verdicts

FORMAT = "oae-testbed run 1"
SCENARIO, PLAN, EVENTS, HOPS = "scenario.yaml", "plan.json", "events.parquet", "hops.parquet"
FRAMES, VERDICTS, META = "frames.pcapng", "verdicts.json", "meta.json"

T = TypeVar("T")
_OF_FINISHED = {"engine", "complete", "why", "meta"}  # in meta.json, once the run is

_KEY = [("key_src", pa.int64()), ("key_epoch", pa.int64()), ("key_seq", pa.int64())]
EVENT_SCHEMA = pa.schema(
    [
        ("t_ns", pa.int64()),
        ("node", pa.string()),
        ("kind", pa.string()),
        ("round", pa.int32()),
        ("peer", pa.string()),
        ("step", pa.int32()),
        *_KEY,
        ("info", pa.string()),
        ("value", pa.string()),
        ("at_ns", pa.int64()),
    ]
)
HOP_SCHEMA = pa.schema(
    [
        ("t_ns", pa.int64()),
        ("node", pa.string()),
        ("nic", pa.string()),
        ("what", pa.string()),
        *_KEY,
        ("dst", pa.int32()),
        ("round", pa.int32()),
        ("step", pa.int32()),
        ("corrupt", pa.bool_()),
    ]
)


class RunDirectoryError(Exception):
    """The directory can't be used as asked; the text says why and what to do."""


def begin_run(directory: Path, scenario_text: str, plan: Plan, replace: bool = False) -> None:
    """Claim ``directory`` before the engine runs: the scenario, the plan, and a mark that the run is unfinished.

    A directory that exists must be empty or hold an unfinished run or a run of the same plan; ``replace`` also lets a
    finished run of another plan go. Raises RunDirectoryError otherwise: what is not ours is never touched.
    """
    _check_target(directory, plan, replace)
    directory.mkdir(parents=True, exist_ok=True)
    _write_json(directory / META, {"format": FORMAT, "finished": False})
    for name in (VERDICTS, FRAMES, EVENTS, HOPS):  # of an earlier run: they belong to what has just been given up
        (directory / name).unlink(missing_ok=True)
    _write_text(directory / SCENARIO, scenario_text)
    _write_text(directory / PLAN, plan.to_json())


def write_run(
    directory: Path, scenario_text: str, plan: Plan, history: History, verdicts: Verdicts, replace: bool = False
) -> None:
    """The whole run into ``directory`` (claimed with begin_run, or to be claimed). Raises RunDirectoryError."""
    begin_run(directory, scenario_text, plan, replace)
    _write(directory / EVENTS, lambda path: _write_table(_events_table(history.events), path))
    _write(directory / HOPS, lambda path: _write_table(_hops_table(history.hops), path))
    captured = directory / history.engine / FRAMES
    if captured.exists():  # the engine saw real frames: they say more than what can be made of the history
        os.replace(captured, directory / FRAMES)
    else:
        _write(directory / FRAMES, lambda path: write_capture(path, plan, history))
    _write_json(directory / VERDICTS, verdicts.to_dict())
    meta = {
        "format": FORMAT,
        "finished": True,
        "engine": history.engine,
        "complete": history.complete,
        "why": history.why,
        "meta": history.meta,
    }
    _write_json(directory / META, meta)


def read_run(directory: Path) -> tuple[str, Plan, History, Verdicts]:
    """The inverse of write_run. Raises RunDirectoryError when there is no finished run in ``directory``."""
    from testbed.verdicts.model import Verdicts

    meta = _read_meta(directory)
    if meta is None:
        raise RunDirectoryError(f"{directory} holds no run: {META} is missing or not a testbed's")
    if not meta["finished"]:
        raise RunDirectoryError(
            f"the run in {directory} was not finished; run it again: testbed run SCENARIO --out {directory}"
        )
    text = _read(directory / SCENARIO, lambda path: path.read_bytes().decode())
    plan = _read(directory / PLAN, lambda path: Plan.from_json(path.read_bytes().decode()))
    history = History(
        engine=meta["engine"],
        events=_read(directory / EVENTS, _read_events),
        hops=_read(directory / HOPS, _read_hops),
        meta=meta["meta"],
        complete=meta["complete"],
        why=meta["why"],
    )
    verdicts = _read(directory / VERDICTS, lambda path: Verdicts.from_dict(json.loads(path.read_bytes())))
    return text, plan, history, verdicts


def engine_of(directory: Path) -> str | None:
    """The engine of the finished run in ``directory``; None where there is none."""
    meta = _read_meta(directory)
    return meta["engine"] if meta and meta["finished"] else None


def _read(path: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(path)
    except FileNotFoundError:
        raise RunDirectoryError(f"{path} is missing; run the scenario again") from None
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise RunDirectoryError(f"{path} is damaged: {why}; run the scenario again") from error


# -- directories and files -----------------------------------------------------------------------------------------


def _check_target(directory: Path, plan: Plan, replace: bool) -> None:
    if not directory.exists():
        return
    if not directory.is_dir():
        raise RunDirectoryError(f"{directory} is a file; name a directory for the run")
    if not any(directory.iterdir()):
        return
    meta = _read_meta(directory)
    if meta is None:
        raise RunDirectoryError(f"{directory} is not empty and holds no run; name another directory, or empty it")
    if replace or not meta["finished"]:
        return
    try:
        same = (directory / PLAN).read_bytes() == plan.to_json().encode()
    except OSError:  # half deleted, perhaps: not ours to write over
        same = False
    if not same:
        raise RunDirectoryError(f"{directory} holds a finished run of another plan; name another directory")


def _read_meta(directory: Path) -> dict[str, Any] | None:
    try:
        meta = json.loads((directory / META).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    ours = isinstance(meta, dict) and meta.get("format") == FORMAT
    whole = ours and (_OF_FINISHED if meta.get("finished") else {"finished"}) <= meta.keys()
    return meta if whole else None


def _write(path: Path, make: Callable[[Path], None]) -> None:
    """Make a new file and put it in ``path``'s place in one step."""
    fresh = path.with_name(f".{path.name}.part")
    try:
        make(fresh)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def _write_text(path: Path, text: str) -> None:
    def make(fresh: Path) -> None:
        fresh.write_bytes(text.encode())

    _write(path, make)


def _write_json(path: Path, data: Any) -> None:
    _write_text(path, json.dumps(data, indent=1, sort_keys=True) + "\n")


# -- tables --------------------------------------------------------------------------------------------------------


def _write_table(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd", version="2.6", write_statistics=True, store_schema=False)


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _key_columns(keys: Sequence[FrameKey | None]) -> list[list[int | None]]:
    return [[None if key is None else key[part] for key in keys] for part in range(3)]


def _events_table(events: list[Event]) -> pa.Table:
    t_ns, node, kind, round_, peer, step, key, info, value, at_ns = _columns(events, len(Event._fields))
    columns = [t_ns, node, kind, round_, peer, step, *_key_columns(key), info, value, at_ns]
    return _table(columns, EVENT_SCHEMA)


def _hops_table(hops: list[Hop]) -> pa.Table:
    t_ns, node, nic, what, key, dst, round_, step, corrupt = _columns(hops, len(Hop._fields))
    return _table([t_ns, node, nic, what, *_key_columns(key), dst, round_, step, corrupt], HOP_SCHEMA)


def _table(columns: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _read_columns(path: Path, schema: pa.Schema) -> list[list[Any]]:
    with pq.ParquetFile(path) as file:
        table = file.read()
    return [table.column(name).to_pylist() for name in schema.names]


def _keys(src: list[Any], epoch: list[Any], seq: list[Any]) -> list[FrameKey | None]:
    return [None if row[0] is None else FrameKey(*row) for row in zip(src, epoch, seq, strict=True)]


def _read_events(path: Path) -> list[Event]:
    t_ns, node, kind, round_, peer, step, src, epoch, seq, info, value, at_ns = _read_columns(path, EVENT_SCHEMA)
    keys = _keys(src, epoch, seq)
    rows = zip(t_ns, node, kind, round_, peer, step, keys, info, value, at_ns, strict=True)
    return [Event(*row) for row in rows]


def _read_hops(path: Path) -> list[Hop]:
    t_ns, node, nic, what, src, epoch, seq, dst, round_, step, corrupt = _read_columns(path, HOP_SCHEMA)
    keys = _keys(src, epoch, seq)
    rows = zip(t_ns, node, nic, what, keys, dst, round_, step, corrupt, strict=True)
    return [Hop(*row) for row in rows]
