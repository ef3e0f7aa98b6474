"""A run is a directory: everything needed to judge it again, replay it, or open it in Wireshark (FILES).

``events/<kind>.parquet``: order int64 (the row's place among all events of the run), t_ns int64, node str (null: none),
and the kind's own columns (testbed.nodes.core.record; numbers as int64). ``hops``: t_ns int64, node str, nic str, what
str, key_src int32, key_epoch, key_seq int64, dst int32, round int64, step int32, corrupt bool. Texts and bytes are
dictionary-coded; rows keep their order.

Equal runs give byte-identical files: no wall-clock time, host name or path goes into them. Every file is written beside
its place and then renamed, so that an interrupted write leaves the old file or the new one, never half of one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from testbed import arrow
from testbed.errors import UserError
from testbed.history import NOBODY, WHATS, Coded, Events, History, Hops, Table, node_names
from testbed.nodes.core.record import KINDS, What, schema
from testbed.pcapng import write_simulated
from testbed.plan import FRAMES, FRAMES_FOLDER, Plan

if TYPE_CHECKING:
    from testbed.verdicts.model import Verdicts

FORMAT = "oae-testbed run 4"
SCENARIO, PLAN, EVENTS, HOPS = "scenario.yaml", "plan.json", "events", "hops.parquet"
VERDICTS, META = "verdicts.json", "meta.json"
RUNS, LATEST = "runs", "latest"

FILES = {
    SCENARIO: "the scenario's text as it was given",
    PLAN: "the plan with every seed",
    f"{EVENTS}/": "what happened: a table for each kind of event that there was",
    HOPS: "where each frame was when, if `capture:` is not off",
    FRAMES: "every frame at every interface, nanosecond stamps on the run's clock (of `live`: since the epoch)",
    f"{FRAMES_FOLDER}/": f"in place of {FRAMES}: a file for each link and node that `capture:` names",
    VERDICTS: "what is judged of it",
    META: "written last: format, engine, whether it is complete, why not, and what the engine says of itself",
    "report.html": "all of it as a page",
}
"""What a run's directory holds."""

T = TypeVar("T")
_OF_FINISHED = {"engine", "complete", "why", "meta"}  # in meta.json, once the run is


class RunDirectoryError(UserError):
    """The directory can't be used as asked; the text says why and what to do."""


def begin_run(directory: Path, scenario_text: str, plan: Plan, replace: bool = False) -> None:
    """Claim ``directory`` before the engine runs: the scenario, the plan, and a mark that the run is unfinished.

    A directory that exists must be empty or hold an unfinished run or a run of the same plan; ``replace`` also lets a
    finished run of another plan go. Raises RunDirectoryError otherwise: what is not ours is never touched.
    """
    _check_target(directory, plan, replace)
    directory.mkdir(parents=True, exist_ok=True)
    _write_json(directory / META, {"format": FORMAT, "finished": False})
    for name in (VERDICTS, FRAMES, HOPS):  # of an earlier run: they belong to what has just been given up
        (directory / name).unlink(missing_ok=True)
    for name in (EVENTS, FRAMES_FOLDER):
        shutil.rmtree(directory / name, ignore_errors=True)
    _write_text(directory / SCENARIO, scenario_text)
    _write_text(directory / PLAN, plan.to_json())


def write_run(
    directory: Path, scenario_text: str, plan: Plan, history: History, verdicts: Verdicts, replace: bool = False
) -> None:
    """The whole run into ``directory`` (claimed with begin_run, or to be claimed). Raises RunDirectoryError."""
    begin_run(directory, scenario_text, plan, replace)
    (directory / EVENTS).mkdir()
    for kind in KINDS:
        if history.events.count(kind):
            _write_table(directory / _events_file(kind), events_table(history.events.table(kind)))
    _write_table(directory / HOPS, hops_table(history.hops))
    _put_captures(directory, plan, history)
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


def _put_captures(directory: Path, plan: Plan, history: History) -> None:
    """Those of an engine that saw real frames, which say more than what can be made of the history; else these."""
    captured, made = directory / history.engine, directory / ".captures.part"
    names = list(plan.capture_files)
    try:
        if not (captured / names[0]).exists():
            captured = made
            captured.mkdir()
            write_simulated(captured, plan, history)
        for name in names:
            (directory / name).parent.mkdir(exist_ok=True)
            os.replace(captured / name, directory / name)
    finally:
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(directory / history.engine / FRAMES_FOLDER, ignore_errors=True)  # is empty


def read_run(directory: Path) -> tuple[str, Plan, History, Verdicts]:
    """The inverse of write_run. Raises RunDirectoryError when there is no finished run in ``directory``."""
    from testbed.verdicts.model import Verdicts

    meta = _read_meta(directory)
    if meta is None:
        other = _format_of(directory)
        if other.startswith(FORMAT.rpartition(" ")[0]) and other != FORMAT:
            again = f"run its scenario again: testbed run {directory / SCENARIO}"
            raise RunDirectoryError(
                f"{directory} holds a run of another version ({other}; this one reads {FORMAT}); {again}"
            )
        raise RunDirectoryError(f"{directory} holds no run: {META} is missing or not a testbed's")
    if not meta["finished"]:
        raise RunDirectoryError(
            f"the run in {directory} was not finished; run it again: testbed run SCENARIO --out {directory}"
        )
    text = _read(directory / SCENARIO, lambda path: path.read_bytes().decode())
    plan = _read(directory / PLAN, lambda path: Plan.from_json(path.read_bytes().decode()))
    _check_engine(directory, plan)
    history = History(
        engine=meta["engine"],
        events=_read(directory / EVENTS, lambda path: _read_events(path, node_names(plan.fabric))),
        hops=_read(directory / HOPS, _read_hops),
        meta=meta["meta"],
        complete=meta["complete"],
        why=meta["why"],
    )
    verdicts = _read(directory / VERDICTS, lambda path: Verdicts.from_dict(json.loads(path.read_bytes())))
    return text, plan, history, verdicts


def make_latest(directory: Path) -> None:
    """runs/latest leads to this run from now on: in one step, so that of runs side by side it leads to one of them.

    Nothing is done for a run that is elsewhere, nor where something else than a link of ours has the name.
    """
    link = directory.parent / LATEST
    if directory.parent.name != RUNS or directory.name == LATEST or (link.exists() and not link.is_symlink()):
        return
    fresh = link.with_name(f".{LATEST}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(directory.name)
    fresh.replace(link)


def _check_engine(directory: Path, plan: Plan) -> None:
    from testbed.nodes.registry import engine_spec

    try:
        engine_spec(plan.protocol.consensus)
    except ValueError as error:
        raise RunDirectoryError(
            f"the run in {directory} can't be read here: {error}; read it with the version that it was made with"
        ) from None


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


def told_runs(folder: Path) -> list[tuple[str, str]]:
    """The runs in ``folder``: each one's directory, and in a line what came of it."""
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    directories = [path for path in entries if path.is_dir() and not path.is_symlink()]  # LATEST leads to one of them
    found = [(str(directory), told_run(directory)) for directory in directories]
    return [(directory, told) for directory, told in found if told is not None]


def told_run(directory: Path) -> str | None:
    """In a line what came of the run in ``directory``; None where there is none."""
    meta = _read_meta(directory)
    return None if meta is None else _told(directory, meta)


def _told(directory: Path, meta: dict[str, Any]) -> str:
    if not meta["finished"]:
        return "not finished"
    try:
        verdicts = json.loads((directory / VERDICTS).read_text(encoding="utf-8"))
        rounds, broken = (verdicts["bisynchrony"][name] for name in ("rounds", "broken_rounds"))
        consensus = verdicts.get("consensus")
        fidelity = str(verdicts["fidelity"]["answer"]).replace("_", " ")
        name, seed = verdicts["name"], verdicts["seed"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"on {meta['engine']}; its {VERDICTS} can't be read: {error}"
    came = [f"{len(broken)} of {rounds} rounds broken"] if rounds else []
    if consensus:
        done = "decided" if consensus["of"] == "instances" else "delivered"
        came.append(f"{consensus['decided']} of {consensus['instances']} {consensus['of']} {done}")
    return f"{name} on {meta['engine']}, seed {seed}: {', '.join([*came, fidelity])}"


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
    meta = _any_meta(directory)
    whole = meta.get("format") == FORMAT and (_OF_FINISHED if meta.get("finished") else {"finished"}) <= meta.keys()
    return meta if whole else None


def _format_of(directory: Path) -> str:
    """What the run in ``directory`` calls its format, "" where nothing does."""
    return str(_any_meta(directory).get("format", ""))


def _any_meta(directory: Path) -> dict[str, Any]:
    """Whoever's it is; empty where there is none."""
    try:
        meta = json.loads((directory / META).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return meta if isinstance(meta, dict) else {}


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


def record_files(directory: Path) -> list[str]:
    """The files of a run that tell what happened, below ``directory``: equal runs have equal ones."""
    events = sorted(path.relative_to(directory).as_posix() for path in (directory / EVENTS).glob("*.parquet"))
    captures = sorted(path.relative_to(directory).as_posix() for path in (directory / FRAMES_FOLDER).glob("*.pcapng"))
    return [*events, HOPS, *(captures or [FRAMES])]


def _events_file(kind: type[What]) -> str:
    return f"{EVENTS}/{schema(kind).name}.parquet"


def _write_table(path: Path, table: pa.Table) -> None:
    numbers = [column.name for column in table.schema if pa.types.is_integer(column.type)]

    def make(fresh: Path) -> None:
        pq.write_table(
            table,
            fresh,
            compression="zstd",
            version="2.6",
            write_statistics=True,
            store_schema=False,
            use_dictionary=[column.name for column in table.schema if pa.types.is_dictionary(column.type)],
            column_encoding=dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),  # times and counters: neighbours are close
        )

    _write(path, make)


_ARROW = {int: pa.int64(), bool: pa.bool_(), str: pa.string(), bytes: pa.binary()}


def text_column(codes: np.ndarray[Any, Any], values: Iterable[str]) -> pa.Array:
    """A column of texts, some of which may be the same; a negative code is null.

    Each text is in the dictionary once: a column whose dictionary repeats itself is written without one, and Arrow 26
    then leaves bytes of its levels as they were in memory.
    """
    places: dict[str, int] = {}
    place = np.array([*(places.setdefault(value, len(places)) for value in values), NOBODY], dtype=np.int32)
    return pa.DictionaryArray.from_arrays(arrow.numbers(place[codes], codes < 0), arrow.texts([*places], pa.string()))


def _column(column: Any, holds: type) -> pa.Array:
    if isinstance(column, Coded):
        return pa.DictionaryArray.from_arrays(arrow.numbers(column.codes), arrow.texts(column.values, _ARROW[holds]))
    return arrow.numbers(column)


def events_table(table: Table) -> pa.Table:
    """What ``events/<kind>.parquet`` holds of the events of one kind."""
    columns = {
        "order": arrow.numbers(table.order),
        "t_ns": arrow.numbers(table.t_ns),
        "node": text_column(table.node, table.names),
    }
    columns |= {column.name: _column(table[column.name], column.holds) for column in schema(table.kind).columns}
    return pa.table(columns)


def hops_table(hops: Hops) -> pa.Table:
    """What ``hops.parquet`` holds."""
    nodes, nics = zip(*hops.places, strict=True) if hops.places else ((), ())
    columns = {
        "t_ns": arrow.numbers(hops.t_ns),
        "node": text_column(hops.place, nodes),
        "nic": text_column(hops.place, nics),
    }
    columns["what"] = text_column(hops.what.astype(np.int32), WHATS)
    rest = hops.columns()
    return pa.table(columns | {name: arrow.numbers(rest[name]) for name in _REST_OF_HOP})


_REST_OF_HOP = ("key_src", "key_epoch", "key_seq", "dst", "round", "step", "corrupt")


def _read_table(path: Path, coded: Iterable[str]) -> dict[str, Any]:
    """The columns of a file; those named in ``coded`` as Coded."""
    with pq.ParquetFile(path) as file:
        table = file.read()
    wanted = set(coded)
    return {
        name: _coded(table.column(name)) if name in wanted else arrow.from_arrow(table.column(name))
        for name in table.column_names
    }


def _coded(column: pa.ChunkedArray) -> Coded:
    """A column of texts or bytes, its values in the order in which they first appear; null is -1."""
    whole = column.dictionary_encode().combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0) if whole.num_chunks else pa.nulls(0, column.type).dictionary_encode()
    codes = arrow.from_arrow(pa.chunked_array([whole.indices]), NOBODY)
    return Coded(codes.astype(np.int32), whole.dictionary.to_pylist())


def _places(column: Coded, names: Iterable[Any]) -> np.ndarray[Any, Any]:
    """The places in ``names`` of a column's values. Raises KeyError for a value that is not there."""
    place = {name: number for number, name in enumerate(names)}
    return np.array([*(place[value] for value in column.values), NOBODY], dtype=np.int32)[column.codes]


def _read_events(directory: Path, names: tuple[str, ...]) -> Events:
    if not directory.is_dir():
        raise FileNotFoundError(directory)
    tables = {}
    for kind in KINDS:
        path = directory.parent / _events_file(kind)
        if not path.exists():
            continue
        tables[kind] = _read(path, partial(_read_kind, kind=kind, names=names))
    events = Events(names, tables)
    if any(len(table) and table.order[-1] >= len(events) for table in tables.values()):
        raise ValueError("rows are missing")
    return events


def _read_kind(path: Path, kind: type[What], names: tuple[str, ...]) -> Table:
    columns = schema(kind).columns
    found = _read_table(path, ["node", *(column.name for column in columns if column.holds in (str, bytes))])
    own = {column.name: found[column.name] for column in columns}
    return Table(kind, names, found["order"], found["t_ns"], _places(found["node"], names), own)


def _read_hops(path: Path) -> Hops:
    found = _read_table(path, ["node", "nic", "what"])
    node, nic = found["node"], found["nic"]
    width = max(1, len(nic.values))
    pairs, place = np.unique(node.codes.astype(np.int64) * width + nic.codes, return_inverse=True)
    places = [(node.values[pair // width], nic.values[pair % width]) for pair in pairs.tolist()]
    rest = {name: found[name] for name in _REST_OF_HOP}
    return Hops(places, t_ns=found["t_ns"], place=place, what=_places(found["what"], WHATS), **rest)
