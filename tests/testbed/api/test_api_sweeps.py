"""Sweeps count what single runs show, with exact intervals, however many workers there are; studies keep and resume."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from families import children

import testbed
from testbed.plan import derive_seed
from testbed.study.statistics import clopper_pearson

TIGHT = {
    "name": "tight",
    "topology": {"kind": "pair"},
    "links": {"default": {"delay": "10us", "jitter": "1us"}},
    "protocol": {"consensus": "none", "depth": 2, "window": "26us", "rounds": 30},
    "seed": 3,
}


def test_a_row_adds_up_what_single_runs_show() -> None:
    jitters, runs = ["2us", "5us"], 6
    found = testbed.sweep(TIGHT, {"links.default.jitter": jitters}, runs=runs, jobs=0, confidence=0.95)
    for jitter, row in zip(jitters, found.rows(), strict=True):
        scenario = testbed.Scenario.from_dict(TIGHT).with_({"links.default.jitter": jitter})
        single = [testbed.run(scenario, seed=derive_seed(3, "run", index)).verdict.bisynchrony for index in range(runs)]
        broken = sum(len(one.broken_rounds) for one in single)
        assert (row["rounds"], row["broken_rounds"]) == (sum(one.rounds for one in single), broken)
        assert row["broken_runs"] == sum(not one.holds for one in single)
        assert row["committed"] == sum(one.swaps["committed"] for one in single)
        assert (row["p_round_low"], row["p_round_high"]) == clopper_pearson(broken, row["rounds"], 0.95)
        assert (row["p_run_low"], row["p_run_high"]) == clopper_pearson(row["broken_runs"], runs, 0.95)
        assert row["p_round"] == broken / row["rounds"]
        assert row["p_disagree"] is None  # nothing is proposed
    assert found["broken_rounds"][0] < found["broken_rounds"][1]


def test_the_table_is_the_same_with_workers_and_in_a_thread() -> None:
    told: list[tuple[int, int]] = []
    swept = {"links.default.jitter": ["2us", "5us"], "protocol.horizon": ["abort", "hold"]}
    alone = testbed.sweep(TIGHT, swept, runs=26, jobs=0, progress=lambda done, of: told.append((done, of)))
    among = asyncio.run(asyncio.to_thread(testbed.sweep, TIGHT, swept, runs=26, jobs=1))
    assert told[-1] == (104, 104)
    assert alone.to_arrow().drop(["seconds"]) == among.to_arrow().drop(["seconds"])
    assert alone.columns[:2] == ["links.default.jitter_ns", "protocol.horizon"]
    assert alone["links.default.jitter_ns"].tolist() == [2000, 2000, 5000, 5000]
    assert alone["protocol.horizon"].tolist() == ["abort", "hold", "abort", "hold"]
    assert alone.curve().svg.startswith("<svg")
    assert "<svg" in alone._repr_html_()
    assert children(os.getpid()) == {}


def test_a_value_that_makes_no_sense_is_told_before_anything_runs() -> None:
    def never(done: int, of: int) -> None:
        raise AssertionError("something ran")

    with pytest.raises(testbed.Error, match=r"protocol\.depth"):
        testbed.sweep(TIGHT, {"protocol.depth": [2, -1]}, runs=1, jobs=0, progress=never)


def test_engines_without_rounds_are_swept_by_their_instances() -> None:
    voting = {"consensus": "paxos", "window": "1ms", "instances": 3, "f": 1}
    voters = {"name": "voters", "topology": {"kind": "star", "hosts": 3}, "protocol": voting}
    found = testbed.sweep(voters, {"links.default.delay": ["5us", "10us"]}, runs=2, jobs=0)
    assert found["rounds"].tolist() == [0, 0]
    assert found.rows()[0]["p_round"] is found.rows()[0]["p_run"] is None
    assert found["instances"].tolist() == [6, 6]
    assert found["p_disagree"].tolist() == [0, 0]
    assert found.curve("disagree").svg.startswith("<svg")
    with pytest.raises(testbed.Error, match="nothing was counted that p_round"):
        found.curve()


STUDY = {
    "name": "small",
    "scenario": TIGHT,
    "sweep": {"parameter": "links.default.jitter", "values": ["2us", "5us"]},
    "sim": {"rounds": 100, "batch": 50},
}


def test_a_study_that_is_kept_is_opened_as_it_was_and_goes_on(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    first = testbed.run_study(STUDY, tmp_path / "kept", jobs=0)
    again = testbed.run_study(STUDY, tmp_path / "kept", jobs=0, progress=lambda *done: told.append(done))
    assert [one for one in told if one[0].endswith(": sim")] == [("as given: sim", 4, 4)]  # nothing was left to do
    opened = testbed.open_study(tmp_path / "kept")
    assert opened.to_dict() == again.to_dict() == first.to_dict()
    assert opened.points.rows() == first.points.rows()
    assert [row["x"] for row in opened.points.rows()] == [2000.0, 5000.0]
    assert sum(opened.trials["rounds"]) == sum(opened.points["rounds"])
    assert len(opened.break_points) == len(opened.expectations) == 0
    assert (tmp_path / "kept" / "report.html").is_file()
    assert "<svg" in opened._repr_html_()


def test_a_study_that_is_not_kept_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scenario = testbed.Scenario.from_dict(TIGHT)
    found = testbed.run_study({**STUDY, "scenario": scenario}, jobs=0)
    assert found.directory is None
    assert sum(found.trials["rounds"]) == 200
    assert list(tmp_path.iterdir()) == []
