"""Studies end to end on `sim`: what they measure, that they resume, and that nothing finished is lost."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from families import children, stat_of

from testbed.engines.base import EngineUnavailable
from testbed.engines.sim import SimEngine
from testbed.nodes.core.record import Died
from testbed.scenario import ScenarioError
from testbed.study import confirm, runner
from testbed.study.document import Study, load_study
from testbed.study.evidence import Count, confidence_sequence
from testbed.study.runner import specimen
from testbed.study.search import BreakPoint
from testbed.study.trials import StudyBusyError, Trial, TrialStore, read_trials
from testbed.verdicts import judge

PAIR = {
    "name": "small",
    "scenario": {
        "name": "small",
        "topology": {"kind": "pair"},
        "links": {"default": {"delay": "50us", "jitter": "5us"}},
        "protocol": {"consensus": "none", "depth": 2, "window": "110us"},
    },
    "sweep": {"parameter": "links.default.jitter", "from": "4us", "to": "20us", "steps": 5},
    "break_point": {"probability": 0.05, "confidence": 0.95, "resolution": 0.2, "rounds": 8000},
    "sim": {"batch": 100},
    "expect_closed_form": True,
    "seed": 1,
}
STAR = {
    "name": "indulgence",
    "scenario": {
        "name": "indulgence",
        "topology": {"kind": "star", "hosts": 4},
        "links": {"default": {"delay": "30us", "jitter": "30us"}},
        "protocol": {"consensus": "oae", "depth": 2, "window": "90us", "f": 1, "inputs": "random"},
    },
    "sweep": {"parameter": "links.default.jitter", "values": ["30us"]},
    "measure": "disagreement",
    "crashes": {"nodes": 1},
    "runs": 120,
    "variants": [
        {"name": "oae", "set": {"protocol.consensus": "oae"}, "expect": {"disagreements": "none"}},
        {"name": "floodset", "set": {"protocol.consensus": "floodset"}, "expect": {"disagreements": "some"}},
    ],
    "seed": 3,
}


def study(tmp_path: Path, document: dict[str, Any]) -> Study:
    path = tmp_path / "written.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return load_study(path)


def run_study(*given: Any, **options: Any) -> dict[str, Any]:
    """The results as results.json has them."""
    return runner.run_study(*given, **options).to_dict()


def timeless(results: dict[str, Any]) -> dict[str, Any]:
    """Results without what depends on the machine's speed and the file's place."""
    copy = json.loads(json.dumps(results))
    copy.pop("source")
    for variant in copy["variants"]:
        for row in variant["sim"]:
            row.pop("seconds")
    return copy  # type: ignore[no-any-return]


def test_finds_the_break_point_of_a_pair_and_meets_the_closed_form(tmp_path: Path) -> None:
    """Two uniform delays of 50 us +- J past W = 110 us: P(split) = (2J - 10 us)^2 / (8 J^2), 0.05 at 7.31 us."""
    results = run_study(study(tmp_path, PAIR), tmp_path / "out", jobs=0)
    (variant,) = results["variants"]
    found = variant["break_point"]
    assert found["status"] == "bracketed"
    assert found["lo"] <= 7_310 <= found["hi"]
    assert all(item["held"] for item in results["expectations"])
    assert results["missing"] == []
    assert all((row["trust"], row["full"]) == ("trusted", 1) for row in variant["sim"])
    assert max(row["runs"] for row in variant["sim"]) > 1
    table = pq.read_table(tmp_path / "out" / "trials.parquet")
    assert table.num_rows == len(read_trials(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == json.loads(json.dumps(results))


def test_the_table_of_trials_says_what_its_columns_mean(tmp_path: Path) -> None:
    run_study(study(tmp_path, {**STAR, "runs": 20}), tmp_path / "out", jobs=0)
    table = pq.read_table(tmp_path / "out" / "trials.parquet")
    assert table.schema.names == [field.name for field in dataclasses.fields(Trial)]
    assert all(field.metadata[b"about"] for field in table.schema)
    assert not any("null" in str(field.type) for field in table.schema)
    rows = table.to_pylist()
    assert {row["variant"] for row in rows} == {"oae", "floodset"}
    found = [place for row in rows for place in row["disagreeing"]]
    assert sum(row["disagreements"] for row in rows) == len(found) > 0
    assert {place["seed"] for place in found} < {seed for row in rows for seed in row["seeds"]}
    assert all(sum(count for _, count in row["swaps"]) == 6 * row["rounds"] for row in rows)


def test_variants_that_come_to_the_same_share_their_trials_and_keep_their_names(tmp_path: Path) -> None:
    small = {**PAIR, "sim": {"batch": 50, "rounds": 50}, "variants": [{"name": "a"}, {"name": "b"}]}
    small.pop("break_point")
    results = run_study(study(tmp_path, small), tmp_path / "out", jobs=0)
    one, other = results["variants"]
    assert one["sim"] == other["sim"]
    assert len(read_trials(tmp_path / "out")) == 5
    rows = pq.read_table(tmp_path / "out" / "trials.parquet").to_pylist()
    assert [(row["variant"], row["x"]) for row in rows] == [
        (name, x) for name in "ab" for x in (4_000, 8_000, 12_000, 16_000, 20_000)
    ]


def test_a_search_goes_on_where_runs_judge_fewer_rounds_than_they_have(tmp_path: Path) -> None:
    """Everybody dies in round 9 of 50: each run tells of nine rounds, and the looks want 50, 100, 200."""
    dying = {**PAIR["scenario"], "faults": [{"at": "1ms", "do": "node_kill", "on": "*"}]}
    results = run_study(study(tmp_path, {**PAIR, "scenario": dying, "sim": {"batch": 50}}), tmp_path / "out", jobs=0)
    (variant,) = results["variants"]
    assert all(row["rounds"] >= 50 for row in variant["sim"])
    assert results["notes"][0].startswith("as given: the rounds of a run depend on each other (the plan has faults)")


def test_a_note_on_several_variants_is_told_once(tmp_path: Path) -> None:
    """It stood there once for each, and so did that there is no closed form."""
    faults = [{"at": "1ms", "do": "node_kill", "on": "host2"}]
    small = {**PAIR, "scenario": {**PAIR["scenario"], "faults": faults}, "sim": {"batch": 10, "rounds": 10}}
    small |= {"sweep": {"parameter": "protocol.depth", "values": [2]}, "variants": [{"name": "a"}, {"name": "b"}]}
    small.pop("break_point")
    notes = run_study(study(tmp_path, small), tmp_path / "out", jobs=0)["notes"]
    assert [note.partition(":")[0] for note in notes] == ["all variants"] * len(notes)
    assert any("depend on each other" in note for note in notes)


def test_a_study_in_which_no_round_can_be_judged_is_refused(tmp_path: Path) -> None:
    dead = {**PAIR["scenario"], "faults": [{"at": "0us", "do": "node_kill", "on": "*"}]}
    with pytest.raises(ScenarioError, match=r"as given at 4 µs: no round can be judged"):
        run_study(study(tmp_path, {**PAIR, "scenario": dead}), tmp_path / "out", jobs=0)


def test_a_sweep_of_f_runs_whole_instances_at_every_point(tmp_path: Path) -> None:
    """floodset with f crashes takes f + 1 rounds and more; instances cut to those of the least f never ended."""
    swept = {**STAR, "sweep": {"parameter": "protocol.f", "values": [1, 3]}, "runs": 20}
    swept["scenario"] = {**STAR["scenario"], "links": {"default": {"delay": "10us"}}}
    swept["variants"] = [{"name": "floodset", "set": {"protocol.consensus": "floodset"}}]
    results = run_study(study(tmp_path, swept), tmp_path / "out", jobs=0)
    rows = results["variants"][0]["sim"]
    assert [(row["instances"], row["decided"]) for row in rows] == [(20, 20), (20, 20)]
    assert rows[1]["rounds"] > rows[0]["rounds"]


def test_vkernel_confirms_inside_the_sweep_and_where_the_parameter_can_be(tmp_path: Path) -> None:
    loss = {"parameter": "links.default.loss", "values": [0.0, 0.05, 0.1]}
    document = {**PAIR, "sweep": loss, "vkernel": {"points": 3, "rounds": 10, "span": 3}}
    for estimate, xs in ((0.05, [0.05 / 3, 0.05, 0.1]), (0.02, [0.02 / 3, 0.02, 0.06])):
        found = BreakPoint("bracketed", 0.05, 0.95, True, 0.0, 0.1, estimate)
        loaded = study(tmp_path, document)
        assert confirm.confirm_at(loaded.document, found) == pytest.approx(xs)
    depth = {**PAIR, "sweep": {"parameter": "protocol.depth", "values": [2, 4]}, "vkernel": {"points": 3, "span": 2}}
    found = BreakPoint("bracketed", 0.05, 0.95, True, 2.0, 4.0, 2.4)
    assert confirm.confirm_at(study(tmp_path, depth).document, found) == [2.0, 4.0]


def test_intervals_hold_although_the_search_chose_when_to_stop(tmp_path: Path) -> None:
    (variant,) = run_study(study(tmp_path, PAIR), tmp_path / "out", jobs=0)["variants"]
    for row in variant["sim"]:
        assert row["looked"]
        assert (row["low"], row["high"]) == confidence_sequence(Count(row["broken"], row["rounds"]), 0.95, 0.05)


def test_a_window_swept_upwards_finds_the_fall_of_the_curve(tmp_path: Path) -> None:
    """Two uniform delays of 50 us +- 20 us past W: P(split) = (140 us - W)^2 / (2 (40 us)^2), 0.05 at W = 127.35 us.
    It goes down as the window grows, which no one says: the search sees it."""
    window = {"parameter": "protocol.window", "from": "104us", "to": "144us", "steps": 6}
    scenario = {**PAIR["scenario"], "links": {"default": {"delay": "50us", "jitter": "20us"}}}
    results = run_study(study(tmp_path, {**PAIR, "scenario": scenario, "sweep": window}), tmp_path / "out", jobs=0)
    found = results["variants"][0]["break_point"]
    assert (found["status"], found["rising"]) == ("bracketed", False)
    assert found["lo"] <= 127_350 <= found["hi"]
    assert results["expectations"][0]["held"]


def test_no_two_points_of_a_search_share_their_draws(tmp_path: Path) -> None:
    """A search aims where its counts point: the same draws again would confirm what chance had shown there."""
    run_study(study(tmp_path, PAIR), tmp_path / "out", jobs=0)
    seeds = [seed for trial in read_trials(tmp_path / "out") for seed in trial.seeds]
    assert len(seeds) == len(set(seeds)) > 10


def test_the_same_study_gives_the_same_results_on_workers_and_without(tmp_path: Path) -> None:
    small = {**PAIR, "sim": {"batch": 50, "rounds": 100}}
    small.pop("break_point")
    alone = run_study(study(tmp_path, small), tmp_path / "alone", jobs=0)
    shared = run_study(study(tmp_path, small), tmp_path / "shared", jobs=2)
    assert timeless(alone) == timeless(shared)


def test_a_finished_study_runs_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_study(study(tmp_path, PAIR), tmp_path / "out", jobs=0)

    def never(task: object) -> Trial:
        raise AssertionError("a finished trial was run again")

    monkeypatch.setattr(runner, "do_task", never)
    assert timeless(run_study(study(tmp_path, PAIR), tmp_path / "out", jobs=0)) == timeless(first)


def test_its_own_directory_is_enough_to_run_it_again(tmp_path: Path) -> None:
    first = run_study(study(tmp_path, PAIR), tmp_path / "out", jobs=0)
    again = run_study(load_study(tmp_path / "out" / "study.yaml"), tmp_path / "again", jobs=0)
    assert timeless(first) == timeless(again)


def test_another_seed_gives_other_trials(tmp_path: Path) -> None:
    small = {**PAIR, "sim": {"batch": 50, "rounds": 50}}
    small.pop("break_point")
    run_study(study(tmp_path, small), tmp_path / "out", jobs=0)
    before = {trial.key for trial in read_trials(tmp_path / "out")}
    run_study(study(tmp_path, {**small, "seed": 2}), tmp_path / "out", jobs=0)
    after = {trial.key for trial in read_trials(tmp_path / "out")}
    assert before < after


@pytest.mark.slow
def test_sigkill_in_the_middle_loses_no_finished_trial_and_leaves_no_process(tmp_path: Path) -> None:
    path = tmp_path / "written.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                **PAIR,
                "sim": {"batch": 400},
                "break_point": {**PAIR["break_point"], "resolution": 0.03, "rounds": 16_000},
            },
            sort_keys=False,
        )
    )
    whole = run_study(load_study(path), tmp_path / "whole", jobs=2)
    command = [sys.executable, "-m", "testbed.cli.main", "study", str(path), "--out", str(tmp_path / "cut")]
    trials = tmp_path / "cut" / "trials.jsonl"
    survivors: set[str] = set()
    for enough in (1, 4, 9):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while process.poll() is None and (not trials.exists() or trials.read_bytes().count(b"\n") < enough):
            assert time.monotonic() < deadline, "the study makes no progress"
            time.sleep(0.01)
        started = children(process.pid)
        process.kill()
        process.wait()
        kept = {trial.key for trial in read_trials(tmp_path / "cut")}
        assert survivors <= kept
        survivors = kept
        _assert_gone(started)
    again = run_study(load_study(path), tmp_path / "cut", jobs=2)
    assert survivors <= {trial.key for trial in read_trials(tmp_path / "cut")}
    assert timeless(again) == timeless(whole)


def _assert_gone(started: dict[int, str]) -> None:
    deadline = time.monotonic() + 30
    for pid, when in started.items():
        while (fields := stat_of(pid)) and fields[19] == when and fields[0] not in "ZX":
            assert time.monotonic() < deadline, f"process {pid} outlived its study"
            time.sleep(0.02)


def test_an_interrupt_ends_the_study_cleanly(tmp_path: Path) -> None:
    path = tmp_path / "written.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                **PAIR,
                "sim": {"batch": 400},
                "break_point": {**PAIR["break_point"], "resolution": 0.0001, "rounds": 900_000},
            },
            sort_keys=False,
        )
    )
    words = ["study", str(path), "--out", str(tmp_path / "cut")]
    command = [sys.executable, "-m", "testbed.cli.main", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    trials = tmp_path / "cut" / "trials.jsonl"
    while not trials.exists() or not trials.read_bytes():
        assert process.poll() is None
        time.sleep(0.02)
    started = children(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in error
    *progress, last = error.splitlines()
    kept = f"what is measured is kept in {tmp_path / 'cut'}, and this goes on from there"
    assert last.decode() == f"testbed: interrupted; {kept}: testbed {' '.join(words)}"
    told = rb"testbed: as given: sim: \d+% \(\d+ of \d+\)(, some [^()]+ left)?"
    assert all(re.fullmatch(told, line) for line in progress), progress  # how far it was, and nothing else
    _assert_gone(started)


def test_a_line_cut_short_is_dropped_and_the_rest_kept(tmp_path: Path) -> None:
    trial = Trial("a", "v", "sim", 1.0, (2**64 - 1,), 10, 1, broken_by_run=((3,),), disagreeing=((2**63, 4),))
    with TrialStore(tmp_path) as store:
        store.add(trial)
    with (tmp_path / "trials.jsonl").open("ab") as file:
        file.write(b'{"of another": "format"}\n{"key": "b", "var')
    with TrialStore(tmp_path) as store:
        assert store.trials == {"a": trial}
        store.add(Trial("c", "v", "sim", 1.0, (1,), 10, 1))
    assert [trial.key for trial in read_trials(tmp_path)] == ["a", "c"]


def test_two_studies_in_one_directory_are_refused(tmp_path: Path) -> None:
    with TrialStore(tmp_path), pytest.raises(StudyBusyError, match="another process"):
        TrialStore(tmp_path)


@pytest.mark.slow
def test_floodset_disagrees_where_oae_does_not(tmp_path: Path) -> None:
    """Jitter far past the window and a crash in every run: oae stays silent at worst, floodset contradicts itself."""
    loaded = study(tmp_path, STAR)
    results = run_study(loaded, tmp_path / "out", jobs=0)
    oae, floodset = results["variants"]
    assert oae["sim"][0]["instances"] == floodset["sim"][0]["instances"] == 120
    assert oae["sim"][0]["disagreements"] == 0
    assert floodset["sim"][0]["disagreements"] > 0
    assert all(item["held"] for item in results["expectations"])
    found = floodset["specimens"][0]
    plan, history = specimen(loaded, "floodset", found["x"], found["seed"])
    consensus = judge(plan, history).consensus
    assert consensus is not None
    assert found["instance"] in [item.instance for item in consensus.disagreements]
    assert history.events.count(Died) == 1


def test_without_the_virtual_time_kernel_sim_goes_on_and_the_user_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoKernel:
        name = "vkernel"

        def check(self, plan: object) -> None:
            raise EngineUnavailable("engine vkernel", "no kernel source package is installed", "apt-get install it")

    monkeypatch.setattr(confirm, "engine_by_name", lambda _name: NoKernel())
    document = {**PAIR, "vkernel": {"points": 2, "rounds": 10}, "expect_engines_agree": True}
    results = run_study(study(tmp_path, document), tmp_path / "out", jobs=0)
    assert results["missing"] == ["engine vkernel: no kernel source package is installed. apt-get install it"]
    assert results["variants"][0]["vkernel"] == []
    assert results["variants"][0]["break_point"]["status"] == "bracketed"
    unseen = [item for item in results["expectations"] if item["held"] is None]
    assert len(unseen) == 2  # the break points, the delays


def test_what_was_confirmed_is_told_in_units_and_beside_the_closed_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sim stands in for the real kernel: only the telling is looked at."""
    monkeypatch.setattr(confirm, "engine_by_name", lambda _name: SimEngine())
    document = {**PAIR, "vkernel": {"points": 2, "rounds": 400, "span": 1.4}, "expect_engines_agree": True}
    results = run_study(study(tmp_path, document), tmp_path / "out", jobs=0)
    [variant] = results["variants"]
    assert {row["x"] for row in variant["vkernel"]} <= {point["x"] for point in variant["closed_form"]}
    overlap = next(item for item in results["expectations"] if "overlap" in item["what"])
    low, high = (variant["break_point"][end] / 1000 for end in ("lo", "hi"))
    assert overlap["seen"].startswith(f"sim [{low:.5g} µs, {high:.5g} µs], vkernel [")
