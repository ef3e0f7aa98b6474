"""The tables of a run: the same as in its files, and what is made of them agrees with the history and the verdict."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import testbed
from testbed.nodes.core.record import Dropped, Received, Sent
from testbed.runs import read_run

LOSSY = {
    "name": "lossy",
    "topology": {"kind": "leaf_spine", "spines": 1, "leaves": 2, "hosts_per_leaf": 1},
    "links": {"default": {"delay": "5us", "jitter": "1us", "loss": 0.05, "duplicate": 0.02, "corrupt": 0.02}},
    "protocol": {"consensus": "none", "depth": 4, "horizon": "abort", "window": "100us", "rounds": 60},
    "seed": 11,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> testbed.Run:
    return testbed.run(LOSSY, keep=tmp_path_factory.mktemp("runs") / "lossy")


@pytest.fixture(scope="module")
def served() -> testbed.Run:
    scenario = testbed.load("all-reduce").with_({"clients.operations": 9, "protocol.instances": 12})
    return testbed.run(scenario.with_({"faults": [], "expect": {}}))


def test_events_of_a_kind_and_hops_are_those_of_the_runs_directory(run: testbed.Run) -> None:
    assert run.directory is not None
    files = {path.stem: path for path in (run.directory / "events").glob("*.parquet")}
    assert {"sent", "received", "resolve"} <= files.keys()
    for kind, path in files.items():
        assert_same(run.events_of(kind).to_arrow(), pq.read_table(path))
    assert_same(run.hops.to_arrow(), pq.read_table(run.directory / "hops.parquet"))
    assert len(run.events_of("decide")) == 0


def assert_same(one: pa.Table, other: pa.Table) -> None:
    """Whatever codes a dictionary gives its texts."""
    assert one.column_names == other.column_names
    assert one.to_pylist() == other.to_pylist()


def test_all_events_stand_in_one_table_in_order(run: testbed.Run) -> None:
    assert run.directory is not None
    _, _, history, _ = read_run(run.directory)
    rows = run.events.rows()
    assert [row["order"] for row in rows] == list(range(len(history.events)))
    assert [(row["t_ns"], row["node"] or "") for row in rows] == [(one.t_ns, one.node) for one in history.events]
    kinds = [type(event.what).__name__.lower() for event in history.events]
    assert [row["kind"].replace("_", "") for row in rows] == kinds
    assert {row["round"] for row in rows if row["kind"] == "timer_fired"} <= {None}


def test_frames_tell_what_became_of_each_that_was_sent(run: testbed.Run) -> None:
    """Held against a join made the slow way."""
    assert run.directory is not None
    _, _, history, _ = read_run(run.directory)
    arrived: dict[object, int] = {}
    handled: dict[object, int] = {}
    for event in history.events.of_kind(Received, Dropped):
        what = event.what
        assert isinstance(what, Received | Dropped)
        if what.key is not None:
            arrived[what.key] = min(what.at_ns, arrived.get(what.key, what.at_ns))
        if isinstance(what, Received):
            handled.setdefault(what.key, event.t_ns)
    wanted = []
    for event in history.events.of_kind(Sent):
        assert isinstance(event.what, Sent)
        key, at = event.what.key, arrived.get(event.what.key)
        fate = "received" if key in handled else "lost" if at is None else "dropped"
        delay = None if at is None else at - event.t_ns
        wanted.append((history.names[key.src], key.seq, event.t_ns, at, handled.get(key), delay, fate))
    names = ("src", "seq", "sent_ns", "arrived_ns", "handled_ns", "delay_ns", "fate")
    assert [tuple(row[name] for name in names) for row in run.frames.rows()] == wanted
    assert {"received", "lost"} <= set(run.frames["fate"])


def test_swaps_and_rounds_add_up_to_the_verdict(run: testbed.Run) -> None:
    verdict, swaps, rounds = run.verdict.bisynchrony, run.swaps.to_pandas(), run.rounds.to_pandas()
    assert len(verdict.broken_rounds) > 3
    assert swaps.outcome.value_counts().to_dict() == verdict.swaps
    broke = swaps[swaps.broke.notna()]
    links = broke.low.astype(str) + "<->" + broke.high.astype(str)
    told = [(one.round, one.link, one.kind) for one in verdict.breaks]
    assert sorted(zip(broke["round"], links, broke.broke, strict=True)) == sorted(told)
    assert tuple(rounds[rounds.broken]["round"]) == verdict.broken_rounds
    assert len(rounds) == verdict.rounds
    assert rounds[list(verdict.swaps)].sum().to_dict() == verdict.swaps
    split = swaps[swaps.outcome == "split"]
    assert set(split.low_end) | set(split.high_end) == {"committed", "aborted"}
    assert (swaps.skew_ns.dropna() == (swaps.low_ns - swaps.high_ns).abs().dropna()).all()
    assert len(run.breaks) == len(verdict.breaks)


def test_operations_are_those_that_clients_asked_for(served: testbed.Run) -> None:
    verdict, rows = served.verdict.service, served.operations.rows()
    assert verdict is not None
    assert verdict.done > 3
    latencies = sorted(row["latency_ns"] for row in rows if row["latency_ns"] is not None)
    assert (len(latencies), len(rows) - len(latencies)) == (verdict.done, verdict.open)
    assert latencies[-1] == verdict.latency_ns[verdict.at.index(1.0)]
    assert all(row["returned_ns"] - row["called_ns"] == row["latency_ns"] for row in rows if row["result"] is not None)
    assert rows[0]["client"] in served.fabric.hosts


def test_without_rounds_of_swaps_the_tables_of_swaps_are_empty(served: testbed.Run) -> None:
    assert len(served.swaps) == len(served.rounds) == len(served.breaks) == 0
    assert served.rounds.to_pandas().empty
    with pytest.raises(testbed.Error, match="no swap was judged"):
        served.spacetime()


def test_every_column_is_told_of(run: testbed.Run, served: testbed.Run) -> None:
    kinds = [run.events_of(kind) for kind in ("sent", "received", "resolve", "died")]
    for table in (
        *kinds,
        run.hops,
        run.events,
        run.frames,
        run.swaps,
        run.rounds,
        run.breaks,
        run.fidelity,
        served.operations,
    ):
        assert list(table.about) == table.columns


def test_texts_are_categories_and_no_nanosecond_is_rounded(run: testbed.Run) -> None:
    frame = run.frames.to_pandas()
    assert isinstance(frame.src.dtype, pd.CategoricalDtype)
    assert frame.arrived_ns.dtype == pd.Int64Dtype()
    assert frame.sent_ns.dtype == "int64"
    assert run.frames.to_polars()["fate"].dtype == pl.Categorical
    exact = testbed.Table(pa.table({"t_ns": [2**60 + 1, None]}))
    assert exact.to_pandas().t_ns[0] == 2**60 + 1
    assert pl.DataFrame(exact)["t_ns"].to_list() == [2**60 + 1, None]


def test_an_opened_run_is_the_run_that_was_kept(run: testbed.Run, tmp_path: Path) -> None:
    assert run.directory is not None
    opened = testbed.open_run(run.directory)
    assert opened.verdict.to_dict() == run.verdict.to_dict()
    assert_same(opened.frames.to_arrow(), run.frames.to_arrow())
    assert opened.scenario == run.scenario == testbed.Scenario.from_dict(LOSSY)
    saved = testbed.run(LOSSY).save(tmp_path / "saved")
    for name in ("hops.parquet", "events/sent.parquet", "frames.pcapng", "verdicts.json", "plan.json"):
        assert (saved / name).read_bytes() == (run.directory / name).read_bytes()
    assert "<svg" in (saved / "report.html").read_text(encoding="utf-8")


def test_a_run_whose_expectation_fails_says_so() -> None:
    failing = testbed.run({**LOSSY, "expect": {"bisynchrony": "holds"}})
    assert failing.expectations.held is False
    assert failing.expectations.unmet == ("bisynchrony: expected holds, found breaks",)
    assert "failed" in failing.verdict._repr_html_()


def test_a_notebook_shows_each_thing(run: testbed.Run) -> None:
    assert all(word in run._repr_html_() for word in ("lossy on sim", "split", "trusted"))
    assert run.spacetime()._repr_svg_().startswith('<svg style="background:#fff')
    whole = next(row["round"] for row in run.rounds.rows() if not row["broken"])
    assert run.spacetime(round=whole).title.startswith(f"round {whole}, host1<->host2: ")
    assert "<svg" in run.fabric._repr_svg_()
    assert "<svg" in run.scenario._repr_html_()
    assert run.frames._repr_html_().count("<tr>") == 11
    assert "<script" not in run._repr_html_() + run.frames._repr_html_()


def test_names_that_hold_markup_are_shown_as_they_are() -> None:
    told = testbed.Scenario(**{**LOSSY, "description": "<b>bold</b>"})._repr_html_()
    assert "&lt;b&gt;bold" in told
    assert "<b>bold" not in told
