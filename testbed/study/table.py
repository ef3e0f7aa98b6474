"""``trials.parquet``: the trials that a study's results are made of, a row each, with the units of their columns.

Every column has its meaning as the field metadata ``about`` in the file itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from testbed.study.trials import Trial

_COUNTS = pa.map_(pa.string(), pa.int64())
_LOAD = pa.struct(
    [
        pa.field(name, kind, metadata={"about": about})
        for name, kind, about in (
            ("operations", pa.int64(), "operations that clients asked for"),
            ("latencies_ns", pa.list_(pa.int64()), "of each that was answered, from call to result, ns"),
            ("slowest_ns", pa.int64(), "the longest that any operation was waited for, ns"),
            ("outage_ns", pa.int64(), "the longest that somebody waited and nobody was answered, ns"),
            ("messages", pa.int64(), "messages that members sent until the last answer"),
            ("attempts", pa.map_(pa.int64(), pa.int64()), "rounds, ballots or terms -> decisions that took so many"),
        )
    ]
)
_COLUMNS = (
    ("key", pa.string(), "identity of the trial: a hash of plan, seeds and code"),
    ("variant", pa.string(), "name of the study's variant"),
    ("engine", pa.string(), "sim or vkernel"),
    ("x", pa.float64(), "swept value: ns for times, bit/s for rates, of 1 for shares, else the number"),
    ("seeds", pa.list_(pa.uint64()), "seeds of the trial's runs, in order"),
    ("rounds", pa.int64(), "rounds judged"),
    ("broken", pa.int64(), "rounds in which bisynchrony broke"),
    ("broken_by_run", pa.list_(pa.list_(pa.int64())), "numbers of the broken rounds, a list for each run"),
    ("kinds", _COUNTS, "kind of break -> rounds in which some swap broke that way"),
    ("causes", _COUNTS, "cause of a break -> rounds"),
    ("swaps", _COUNTS, "outcome -> swaps"),
    ("instances", pa.int64(), "instances of consensus that began"),
    ("decided", pa.int64(), "instances decided at every node that lived through them"),
    ("disagreements", pa.int64(), "instances decided differently at two nodes"),
    ("invalid", pa.int64(), "decisions on a value that nobody proposed"),
    (
        "disagreeing",
        pa.list_(pa.struct([("seed", pa.uint64()), ("instance", pa.int64())])),
        "the first of the instances that disagree",
    ),
    ("full", pa.int64(), "runs whose delays and losses were judged; of the others only outcomes are recorded"),
    ("trust", pa.string(), "trusted, not_checked or not_trusted"),
    ("reasons", pa.list_(pa.string()), "why it is not trusted"),
    ("unchecked", pa.list_(pa.string()), "what was not checked, and why"),
    ("fixed_cost_ns", pa.float64(), "median extra delay of a frame against sim, ns (vkernel)"),
    ("quantiles_apart_ns", pa.float64(), "greatest difference of delay quantiles to sim beyond that, ns (vkernel)"),
    ("loads", pa.list_(_LOAD), "what clients saw, one of each run; see its fields"),
    (
        "contradicted",
        pa.list_(pa.struct([("seed", pa.uint64()), ("what", pa.string())])),
        "the runs in which something contradicts something",
    ),
    ("seconds", pa.float64(), "real time that the trial took, s"),
)
SCHEMA = pa.schema([pa.field(name, kind, metadata={"about": about}) for name, kind, about in _COLUMNS])


def write_trials(path: Path, trials: Sequence[Trial]) -> None:
    """Put the table in ``path``'s place in one step."""
    rows = [asdict(trial) for trial in trials]
    for row in rows:
        row["disagreeing"] = [{"seed": seed, "instance": instance} for seed, instance in row["disagreeing"]]
        row["contradicted"] = [{"seed": seed, "what": what} for seed, what in row["contradicted"]]
        row["loads"] = [load._asdict() for load in row["loads"]]
        for name in ("kinds", "causes", "swaps"):
            row[name] = list(row[name].items())
    partial = path.with_suffix(".new")
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), partial, compression="zstd")
    partial.replace(path)
