"""Every verb as a user calls it: what it prints, its JSON, its exit code, and what a user's mistake looks like."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from testbed.cli.main import app
from testbed.cli.replay import first_difference

SCENARIO = """\
name: small
topology: {kind: pair}
links:
  default: {delay: 50us, jitter: 20us}
protocol: {consensus: none, depth: 2, window: 110us, rounds: 50}
seed: 7
"""
STUDY = """\
name: small
scenario: small.yaml
sweep: {parameter: links.default.jitter, from: 4us, to: 20us, steps: 3}
sim: {batch: 50, rounds: 100}
seed: 1
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty directory to work in, with a scenario and a study."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    (tmp_path / "small.yaml").write_text(SCENARIO)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def call(*words: str) -> Result:
    result = CliRunner().invoke(app, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def data(*words: str) -> Any:
    result = call(*words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


# -- what works ------------------------------------------------------------------------------------------------------


def test_topo_lists_shows_and_draws() -> None:
    assert {"pair", "star", "leaf_spine", "fat_tree"} <= {kind["kind"] for kind in data("topo", "list")}
    fabric = data("topo", "show", "leaf_spine", "--set", "spines=1", "--set", "leaves=2")
    assert fabric["switches"] == ["leaf1", "leaf2", "spine1"]
    assert "host1<->leaf1" in call("topo", "show", "leaf_spine").stdout
    assert call("topo", "draw", "pair", "--format", "mermaid").stdout.startswith("graph")
    assert "--" in data("topo", "draw", "pair", "-f", "dot")["drawing"]


def test_topo_takes_a_scenario_too(here: Path) -> None:
    assert data("topo", "show", "small.yaml")["links"][0]["ab"]["jitter_ns"] == 20_000


def test_schema_is_a_json_schema() -> None:
    assert "properties" in data("schema")
    assert "sweep" in data("schema", "study")["properties"]


def test_explain_says_what_will_be_done(here: Path) -> None:
    assert "110us" in call("explain", "small.yaml").stdout
    assert data("explain", "small.yaml", "--seed", "9")["seed"] == 9


def test_run_judges_keeps_and_reports(here: Path) -> None:
    result = data("run", "small.yaml")
    directory = here / result["directory"]
    assert result["verdicts"]["bisynchrony"]["rounds"] == 50
    assert result["verdicts"]["bisynchrony"]["swaps"]["split"] > 0
    assert {"scenario.yaml", "plan.json", "events.parquet", "verdicts.json", "report.html"} <= {
        path.name for path in directory.iterdir()
    }
    assert (directory / "scenario.yaml").read_text() == SCENARIO


def test_run_shows_the_first_breaks_to_people(here: Path) -> None:
    shown = call("run", "small.yaml").stdout
    assert "host1<->host2" in shown
    assert "split" in shown
    assert "fidelity" in shown


def test_run_takes_overrides_and_another_seed(here: Path) -> None:
    calm = data("run", "small.yaml", "--set", "links.default.jitter=1us", "--out", "calm")
    assert calm["verdicts"]["bisynchrony"]["broken_rounds"] == []
    assert data("run", "small.yaml", "--seed", "8", "--out", "other")["verdicts"]["seed"] == 8
    again = data("run", "calm/scenario.yaml", "--out", "again")
    assert again["verdicts"] == calm["verdicts"]


def test_runs_of_different_plans_do_not_overwrite_each_other(here: Path) -> None:
    first = data("run", "small.yaml")["directory"]
    assert data("run", "small.yaml")["directory"] == first
    assert data("run", "small.yaml", "--seed", "8")["directory"] != first


def test_replay_gives_the_same_bytes(here: Path) -> None:
    data("run", "small.yaml", "--out", "kept")
    result = data("replay", "kept")
    assert (result["same"], result["differing_files"], result["difference"]) == (True, [], None)
    assert result["events"] > 300
    assert "byte for byte" in call("replay", "kept").stdout


@pytest.mark.slow
@pytest.mark.kernel
def test_a_run_on_vkernel_is_replayed_byte_for_byte_with_what_was_captured(here: Path) -> None:
    from testbed.engines.vkernel.kernel import find_kernel

    if find_kernel() is None:
        pytest.skip("the virtual-time kernel has not been built (make kernel)")
    assert call("run", "reconcile-restart", "--engine", "vkernel", "--out", "real").exit_code == 0
    assert "byte for byte" in call("replay", "real").stdout


def test_replay_notices_a_difference(here: Path) -> None:
    data("run", "small.yaml", "--out", "kept")
    plan = here / "kept" / "plan.json"
    plan.write_text(plan.read_text().replace('"jitter_ns": 20000', '"jitter_ns": 20001'))
    result = call("replay", "kept")
    assert result.exit_code == 1
    assert "differ" in result.stdout


def test_first_difference_tells_lists_apart() -> None:
    assert first_difference([1, 2], [1, 2]) is None
    assert first_difference([1, 2], [1, 3]) == "record 1 was 2, is now 3"
    assert first_difference([1], [1, 2]) == "there were 1 records, now there are 2"


def test_report_is_written_anew(here: Path) -> None:
    data("run", "small.yaml", "--out", "kept")
    before = (here / "kept" / "report.html").read_text()
    (here / "kept" / "report.html").unlink()
    assert data("report", "kept") == {"report": "kept/report.html"}
    assert (here / "kept" / "report.html").read_text() == before


def test_study_runs_and_reports(here: Path) -> None:
    result = data("study", "study.yaml", "--out", "out", "--jobs", "0")
    (variant,) = result["variants"]
    assert [row["rounds"] for row in variant["sim"]] == [100, 100, 100]
    assert {"results.json", "trials.parquet", "report.html", "plot.svg", "plot.png"} <= {
        path.name for path in (here / "out").iterdir()
    }
    assert data("report", "out") == {"report": "out/report.html"}
    assert "small" in call("study", "study.yaml", "--out", "out", "--jobs", "0").stdout


def test_kernel_status_and_doctor_tell_the_state() -> None:
    assert {"kernel", "cache", "source", "missing_tools"} == data("kernel", "status").keys()
    result = data("doctor")
    assert result["engines"]["sim"] == "ready"
    assert all(check["state"] in ("ok", "limited", "missing") for check in result["checks"])
    assert all(check["advice"] for check in result["checks"] if check["state"] == "missing")


def test_clean_removes_runs_of_ours_and_nothing_else(here: Path) -> None:
    data("run", "small.yaml")
    (here / "runs" / "thesis").mkdir()
    (here / "runs" / "thesis" / "plan.json").write_text("mine")
    found = data("clean", "--runs", "runs", "--dry-run")
    assert [entry["name"] for entry in found["found"]] == ["runs/small"]
    assert (here / "runs" / "small").exists()
    data("clean", "--runs", "runs")
    assert not (here / "runs" / "small").exists()
    assert (here / "runs" / "thesis" / "plan.json").exists()
    assert "Nothing to clean." in call("clean", "--runs", "runs").stdout


def test_down_without_a_fabric_is_friendly(here: Path) -> None:
    result = call("down")
    assert result.exit_code == 0
    assert result.stdout == "No fabric of yours is up.\n"
    assert data("down") == {"ended": []}


# -- exit codes --------------------------------------------------------------------------------------------------------


def test_a_failed_expectation_is_exit_code_1(here: Path) -> None:
    text = SCENARIO + "expect: {bisynchrony: holds}\n"
    (here / "hopeful.yaml").write_text(text)
    result = call("run", "hopeful.yaml")
    assert result.exit_code == 1
    assert "bisynchrony: expected holds, found breaks" in result.stdout
    assert call("run", "hopeful.yaml", "--set", "expect.bisynchrony=breaks", "--out", "b").exit_code == 0


MISTAKES: list[tuple[list[str], str]] = [
    (["run", "nowhere.yaml"], "there is no such scenario"),
    (["run", "broken.yaml"], "broken.yaml:3"),
    (["run", "unknown.yaml"], "did you mean 'protocol'?"),
    (["run", "small.yaml", "--engine", "warp"], "there are sim, live, vkernel"),
    (["run", "small.yaml", "--set", "protocol.window"], "key=value"),
    (["run", "small.yaml", "--set", "protocol.window=0us"], "protocol.window"),
    (["run", "small.yaml", "--set", "protocol.wndow=5us"], "wndow"),
    (["run", "small.yaml", "--out", "full"], "full is not empty"),
    (["explain", "small.yaml", "--set", "topology.kind=torus"], "torus"),
    (["topo", "show", "torus"], "neither a topology"),
    (["topo", "show", "leaf_spine", "--set", "spines=many"], "whole number"),
    (["topo", "show", "leaf_spine", "--set", "spines=0"], "at least 1"),
    (["topo", "show", "leaf_spine", "--set", "rings=2"], "no parameter"),
    (["study", "nowhere"], "there is no such study"),
    (["study", "small.yaml", "--out", "x"], "sweep: is missing"),
    (["replay", "nowhere"], "no such run directory"),
    (["replay", "full"], "holds no run"),
    (["report", "full"], "holds no run"),
    (["report", "nowhere"], "no such directory"),
    (["up", "torus"], "neither a topology"),
    (["up", "--json"], "--json goes with --exec"),
]


@pytest.mark.parametrize(
    ("words", "told"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_a_users_mistake_is_exit_code_2_and_one_clear_line(here: Path, words: list[str], told: str) -> None:
    (here / "broken.yaml").write_text("name: x\ntopology: {kind: pair}\n  oops: [\n")
    (here / "unknown.yaml").write_text("name: x\ntopology: {kind: pair}\nprotocl: {}\n")
    (here / "full").mkdir()
    (here / "full" / "letter.txt").write_text("mine")
    result = call(*words)
    assert result.exit_code == 2
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("testbed: error: ")
    assert (here / "full" / "letter.txt").read_text() == "mine"


@pytest.mark.parametrize("words", [["frobnicate"], ["run"], ["run", "--jitter"], ["topo", "draw", "pair", "-f", "png"]])
def test_a_wrong_command_line_is_exit_code_2(words: list[str]) -> None:
    assert call(*words).exit_code == 2


# -- as a process ------------------------------------------------------------------------------------------------------


def testbed(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "testbed.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120, check=False)


testbed.__test__ = False  # type: ignore[attr-defined]  # a helper, whatever its name looks like


def test_as_a_process_mistakes_leave_no_traceback(here: Path) -> None:
    done = testbed("run", "nowhere.yaml", cwd=here)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("testbed: error: nowhere.yaml: there is no such scenario")
    assert done.stderr.count("\n") == 1


def test_as_a_process_json_is_all_that_stdout_holds(here: Path) -> None:
    done = testbed("run", "small.yaml", "--json", cwd=here)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdicts"]["name"] == "small"


def test_a_reader_that_goes_away_is_no_error(here: Path) -> None:
    command = f"{sys.executable} -m testbed.cli.main schema | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=here, timeout=120, check=False)
    assert "Traceback" not in done.stderr


def test_help_loads_nothing_heavy() -> None:
    """Quick start-up, told by what is imported: a wall-clock limit would fail on a loaded machine."""
    code = (
        "import sys, testbed.cli.main;"
        "heavy = {'numpy', 'scipy', 'pyarrow', 'matplotlib', 'pydantic', 'mininet', 'scapy', 'yaml', 'rich'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


# -- fabrics -----------------------------------------------------------------------------------------------------------


def namespaces_work() -> bool:
    from testbed.engines.base import EngineUnavailable
    from testbed.engines.live.isolation import check_isolation

    try:
        check_isolation()
    except EngineUnavailable:
        return False
    return True


needs_namespaces = pytest.mark.skipif("not namespaces_work()", reason="this host gives no namespaces")


@needs_namespaces
def test_up_runs_commands_in_hosts(here: Path) -> None:
    done = testbed("up", "pair", "--json", "-x", "host1 ping -c 1 -W 2 host2", "-x", "host2 false", cwd=here)
    assert done.stdout, done.stderr
    results = json.loads(done.stdout)
    assert results[0]["exit_code"] == 0, done.stderr
    assert "1 received" in results[0]["output"]
    assert (results[1]["exit_code"], done.returncode) == (1, 1)


@needs_namespaces
def test_up_runs_commands_where_nobody_has_logged_in(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Services and CI have no SHELL, no USER, no TERM."""
    for name in set(os.environ) - {"PATH", "HOME", "XDG_RUNTIME_DIR"}:
        monkeypatch.delenv(name)
    done = testbed("up", "pair", "--json", "-x", "host1 echo one && echo two", "-x", "nodes", cwd=here)
    assert done.returncode == 0, done.stderr
    assert [result["output"] for result in json.loads(done.stdout)] == [
        "one\ntwo\n",
        "available nodes are: \nhost1 host2\n",
    ]


@needs_namespaces
def test_down_ends_a_running_fabric_and_only_that(here: Path) -> None:
    command = [sys.executable, "-m", "testbed.cli.main", "up", "pair", "-x", "host1 sleep 600"]
    process = subprocess.Popen(command, cwd=here, stderr=subprocess.PIPE)
    bystander = subprocess.Popen(["sleep", "600"])
    try:
        deadline = time.monotonic() + 60
        while not list(here.glob("oae-testbed-*/fabric-*.json")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        done = testbed("down", "--json", cwd=here)
        assert [entry["pid"] for entry in json.loads(done.stdout)["ended"]] == [process.pid]
        assert process.wait(30) == 130
        assert bystander.poll() is None
        assert not list(here.glob("oae-testbed-*/fabric-*"))
    finally:
        for child in (process, bystander):
            child.kill()
            child.wait()
        if process.stderr:
            process.stderr.close()
