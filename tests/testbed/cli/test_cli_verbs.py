"""Every verb as a user calls it: what it prints, its JSON, its exit code, and what a user's mistake looks like."""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from calling import call, data
from needs import MOOT, NOBODY, lacking
from typer.testing import CliRunner

from testbed.actions.run import claimed
from testbed.cli.common import load_scenario
from testbed.cli.doctor import engines_ready, examine
from testbed.cli.fabrics import Running
from testbed.cli.main import app
from testbed.cli.replay import first_difference
from testbed.processes import own_mark, state_folder
from testbed.runs import read_run
from testbed.scenario import compile_plan

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


needs_namespaces = pytest.mark.usefixtures("namespaces")


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


def test_list_names_what_there_is_each_with_its_story(here: Path) -> None:
    listed = {kind: {row["name"]: row["story"] for row in data("list", kind)} for kind in ("engines", "consensus")}
    assert set(listed["engines"]) == {"sim", "vkernel", "live"}
    assert {"none", "oae", "paxos"} <= set(listed["consensus"])
    assert all(story for kind in listed.values() for story in kind.values())


def test_scenarios_are_listed_with_their_stories_by_a_verb_of_their_own(here: Path) -> None:
    assert {"nic-crash-mid-swap", "cell-crash", "slow-node"} <= {row["name"] for row in data("scenarios")}
    assert data("scenarios") == data("list", "scenarios")


def test_what_goes_into_a_pipe_is_not_broken_into_lines_of_a_terminal(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """grep finds a scenario with its whole story, and no line is filled up with blanks."""
    monkeypatch.delenv("COLUMNS")  # by which one may say how wide it is to be all the same
    lines = call("scenarios").stdout.splitlines()
    told = data("scenarios")
    assert [line.split() for line in lines] == [[row["name"], *row["story"].split()] for row in told]
    assert lines == [line.rstrip() for line in lines]


def test_a_study_says_how_far_it_has_come_where_no_display_can_be_drawn(here: Path) -> None:
    shares = re.findall(r"^testbed: as given: sim: +(\d+)% ", call("study", "study.yaml").stderr, re.MULTILINE)
    assert [shares[0], shares[-1]] == ["0", "100"]
    assert len(shares) > 2


def test_list_tells_what_came_of_runs(here: Path) -> None:
    assert data("list", "runs") == []
    run = data("run", "small.yaml")
    (row,) = data("list", "runs")
    assert row["name"] == run["directory"]
    assert "on sim" in row["story"]
    assert "rounds broken" in row["story"]
    (here / row["name"] / "meta.json").write_text('{"format": "oae-testbed run 4", "finished": false}')
    assert data("list", "runs")[0]["story"] == "not finished"


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
    assert {"scenario.yaml", "plan.json", "events", "verdicts.json", "report.html"} <= {
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


@needs_namespaces
def test_runs_on_different_engines_do_not_overwrite_each_other(here: Path) -> None:
    quick = ("run", "clean-live", "--set", "protocol.rounds=5")
    directories = [data(*quick, "--engine", engine)["directory"] for engine in ("sim", "live", "sim", "live")]
    assert directories == ["runs/clean-live", "runs/clean-live-2"] * 2
    assert [read_run(here / directory)[2].engine for directory in directories[:2]] == ["sim", "live"]


def test_runs_side_by_side_do_not_write_into_each_other(here: Path) -> None:
    """As a loop over seeds in a shell starts them."""
    command = [sys.executable, "-m", "testbed.cli.main", "run", "small.yaml", "--json", "--set", "protocol.rounds=500"]
    started = [subprocess.Popen([*command, "--seed", str(seed)], stdout=subprocess.PIPE, cwd=here) for seed in range(4)]
    results = [json.loads(process.communicate(timeout=120)[0]) for process in started]
    assert [process.returncode for process in started] == [0] * 4
    assert len({result["directory"] for result in results}) == 4
    for seed, result in enumerate(results):
        assert read_run(here / result["directory"])[1].seed == seed


def test_a_directory_in_which_a_run_goes_on_is_left_to_it(here: Path) -> None:
    plan = compile_plan(load_scenario("small.yaml", None))
    with claimed(Path("mine"), SCENARIO, plan, "sim"):
        result = call("run", "small.yaml", "--out", "mine")
    assert result.exit_code == 2
    assert result.stderr == "testbed: error: mine: another run goes on there; name another directory\n"
    assert call("run", "small.yaml", "--out", "mine").exit_code == 0


def test_replay_gives_the_same_bytes(here: Path) -> None:
    data("run", "small.yaml", "--out", "kept")
    result = data("replay", "kept")
    assert (result["same"], result["differing_files"], result["difference"]) == (True, [], None)
    assert result["events"] > 300
    assert "byte for byte" in call("replay", "kept").stdout


@pytest.mark.slow
@pytest.mark.kernel
def test_a_run_on_vkernel_is_replayed_byte_for_byte_with_what_was_captured(here: Path, kernel: Path) -> None:
    assert call("run", "reconcile-restart", "--engine", "vkernel", "--out", "real").exit_code == 0
    assert "byte for byte" in call("replay", "real").stdout


def test_a_run_takes_no_more_memory_than_it_may(here: Path) -> None:
    many = ("run", "small.yaml", "--set", "protocol.rounds=5000")
    done = call(*many, "--memory", "1M")
    assert done.exit_code == 2
    assert "it may take 1.0 MB. Run fewer rounds at a time" in done.stderr
    assert call("run", "small.yaml", "--memory", "1G").exit_code == 0
    assert "--memory: 'lots' is no amount of memory" in call(*many, "--memory", "lots").stderr
    assert (
        "--memory bounds runs on sim only, and this one is on live"
        in call(*many, "-e", "live", "--memory", "1G").stderr
    )


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


def test_the_report_tells_only_commands_that_work(here: Path) -> None:
    """A measured delay is named by a path that counts from the scenario, and the run directory is elsewhere."""
    (here / "delays.csv").write_text("40\n50\n60\n")
    measured = SCENARIO.replace("jitter: 20us", "distribution: {file: delays.csv}").replace("delay: 50us, ", "")
    (here / "measured.yaml").write_text(measured)
    data("run", "measured.yaml", "--out", "with space")
    page = (here / "with space" / "report.html").read_text()
    assert "testbed replay &#39;with space&#39;" in page
    assert "scenario.yaml --engine" not in page
    data("run", "small.yaml", "--out", "kept")
    assert "testbed run kept/scenario.yaml --engine sim" in (here / "kept" / "report.html").read_text()


def test_run_repeats_the_warnings_of_its_scenario(here: Path) -> None:
    wide = ("run", "small.yaml", "--set", "links.default.jitter=90us", "--out", "wide")
    assert "reaches 40us below zero" in " ".join(call(*wide).stdout.split())
    (warning,) = data(*wide)["warnings"]
    assert warning.startswith("small.yaml:4: links.default.jitter: ")


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


def test_a_run_that_was_not_finished_tells_how_to_go_on(here: Path) -> None:
    data("run", "small.yaml", "--out", "kept")
    (here / "kept" / "meta.json").write_text('{"format": "oae-testbed run 4", "finished": false}')
    for verb in ("replay", "report"):
        result = call(verb, "kept")
        assert result.exit_code == 2
        assert "run it again: testbed run SCENARIO --out kept" in result.stderr
    assert call("run", "small.yaml", "--out", "kept").exit_code == 0
    assert call("replay", "kept").exit_code == 0


@pytest.mark.parametrize("damage", ["missing", "empty", "another's", "a folder"])
def test_a_damaged_run_names_the_file(here: Path, damage: str) -> None:
    data("run", "small.yaml", "--out", "kept")
    for name in ("scenario.yaml", "plan.json", "events/resolve.parquet", "hops.parquet", "verdicts.json"):
        if name == "scenario.yaml" and damage in ("empty", "another's"):
            continue  # it is kept for people: any text will do
        path = here / "kept" / name
        whole = path.read_bytes()
        path.unlink()
        if damage == "a folder":
            path.mkdir()
        elif damage != "missing":
            path.write_text("" if damage == "empty" else '{"x": 1}')
        for verb in ("report", "replay"):
            result = call(verb, "kept")
            assert result.exit_code == 2
            lacking = "kept/events is damaged: rows are missing"  # a kind of which there was nothing has no file
            told = lacking if damage == "missing" and name.startswith("events") else f"kept/{name} is "
            assert result.stderr.startswith(f"testbed: error: {told}")
            assert result.stderr.endswith("; run the scenario again\n")
        if damage == "a folder":
            path.rmdir()
        path.write_bytes(whole)


def test_a_run_beside_a_half_deleted_one(here: Path) -> None:
    first = data("run", "small.yaml")["directory"]
    (here / first / "plan.json").unlink()
    assert data("run", "small.yaml")["directory"] == "runs/small-2"
    result = call("run", "small.yaml", "--out", first)
    assert (result.exit_code, "name another directory" in result.stderr) == (2, True)


def test_a_run_of_another_version_is_told_as_such(here: Path) -> None:
    data("run", "small.yaml", "--out", "kept")
    (here / "kept" / "meta.json").write_text('{"format": "oae-testbed run 1", "finished": true}')
    told = call("report", "kept").stderr
    assert "kept holds a run of another version (oae-testbed run 1; this one reads oae-testbed run " in told
    assert told.endswith("run its scenario again: testbed run kept/scenario.yaml\n")
    assert call("run", "small.yaml", "--out", "kept").exit_code == 2


@pytest.mark.parametrize("text", ['{"format": "oae-testbed run 4"}', '{"format": 4}', "[]", "no JSON"])
def test_a_mark_that_is_not_whole_marks_no_run(here: Path, text: str) -> None:
    data("run", "small.yaml", "--out", "kept")
    (here / "kept" / "meta.json").write_text(text)
    assert (
        call("report", "kept").stderr == "testbed: error: kept holds no run: meta.json is missing or not a testbed's\n"
    )
    assert call("run", "small.yaml", "--out", "kept").exit_code == 2


def test_a_replay_without_the_frames_says_so_before_it_runs(here: Path) -> None:
    data("run", "small.yaml", "--out", "kept")
    frames = here / "kept" / "frames.pcapng"
    frames.write_bytes(frames.read_bytes()[:-20])
    result = call("replay", "kept")
    assert (result.exit_code, result.stdout) == (1, "frames.pcapng differ: events and hops are the same\n")
    frames.unlink()
    result = call("replay", "kept")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("testbed: error: kept/frames.pcapng is missing")


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a study that is done: ``out``. Tests work in copies of it."""
    folder = tmp_path_factory.mktemp("studied")
    (folder / "small.yaml").write_text(SCENARIO)
    (folder / "study.yaml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        data("study", "study.yaml", "--out", "out", "--jobs", "0")
    return folder


@pytest.mark.parametrize("text", ["", '{"x": 1}', "[]", '{"variants": [', "\xff"])
def test_a_damaged_study_is_no_defect_and_goes_on(here: Path, studied: Path, text: str) -> None:
    shutil.copytree(studied / "out", here / "out")
    results = here / "out" / "results.json"
    whole = json.loads(results.read_text())
    results.write_text(text, encoding="latin-1")
    result = call("report", "out")
    assert result.exit_code == 2
    assert result.stderr.startswith("testbed: error: out/results.json is damaged: ")
    assert "go on with: testbed study out/study.yaml --out out" in result.stderr
    assert call("study", "out/study.yaml", "--out", "out", "--jobs", "0").exit_code == 0
    assert json.loads(results.read_text()) == whole | {"source": "out/study.yaml"}


def test_a_study_never_writes_over_files_of_the_user(here: Path) -> None:
    """It keeps a study.yaml of its own in its directory: in the user's, that would be the user's document."""
    result = call("study", "study.yaml", "--out", ".", "--jobs", "0")
    assert result.exit_code == 2
    assert "name another directory with --out" in result.stderr
    assert (here / "study.yaml").read_text() == STUDY


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "os error"), "No space left on device; make room"),
        (OSError(errno.EROFS, "os error", "runs/small"), "runs/small: Read-only file system; work in"),
        (OSError(errno.EACCES, "os error", "runs"), "runs: Permission denied; work in"),
        (PermissionError("a sentence of ours"), "a sentence of ours"),
    ],
)
def test_what_the_host_refuses_is_the_users_business(
    here: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, told: str
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("testbed.runs.begin_run", refuse)
    result = call("run", "small.yaml")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"testbed: error: {told}")


def test_an_error_of_the_system_that_no_user_can_mend_stays_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EBADF, "os error")

    monkeypatch.setattr("testbed.cli.common.find_document", fail)
    assert isinstance(CliRunner().invoke(app, ["run", "small.yaml"]).exception, OSError)


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


@pytest.mark.parametrize("verb", ["--help", "run --help", "schema", "topo list", "run small.yaml"])
def test_a_reader_that_goes_away_is_no_failed_expectation(here: Path, verb: str) -> None:
    command = [sys.executable, "-m", "testbed.cli.main", *verb.split()]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, cwd=here, timeout=120, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize("verb", ["--help", "run --help", "schema"])
def test_a_full_disk_under_what_is_printed_is_one_clear_line(here: Path, verb: str) -> None:
    """Also where what is printed is buffered, and a part of it still waits when the program ends."""
    command = [sys.executable, "-m", "testbed.cli.main", *verb.split()]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=here, env=buffered, timeout=120, check=False
        )
    told = "testbed: error: No space left on device; make room, or work in another directory\n"
    assert (done.returncode, done.stderr) == (2, told)


@pytest.mark.parametrize("verb", ["schema", "doctor", "topo list"])
def test_a_terminal_that_knows_only_ascii_is_enough(here: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    monkeypatch.setenv("COLUMNS", "30")
    done = testbed(*verb.split(), cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    json_text = testbed(*verb.split(), "--json", cwd=here).stdout
    assert json_text.isascii()
    assert json.loads(json_text)


@pytest.mark.parametrize(
    ("kernel", "source", "told"),
    [
        ("ok", "missing", "ready"),
        ("missing", "ok", "wants its kernel built once: testbed kernel build"),
        ("missing", "missing", "lacks kernel source"),
    ],
)
def test_doctor_says_what_vkernel_wants(kernel: str, source: str, told: str) -> None:
    state = {"virtual-time kernel": kernel, "kernel source": source}
    checks = [replace(check, state=state.get(check.name, "ok")) for check in examine()]
    assert engines_ready(checks) == {"sim": "ready", "vkernel": told, "live": "ready"}


def test_doctor_shortens_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut to fit, or broken over lines, a path would be of no use."""
    monkeypatch.setenv("COLUMNS", "60")
    shown = call("doctor").stdout
    assert [check.found for check in examine() if check.found not in shown] == []
    assert "\u2026" not in shown
    assert "..." not in shown


@pytest.mark.parametrize("verb", ["compare", "up", "capture", "export"])
def test_help_is_wrapped_for_the_terminal_and_not_for_the_source(verb: str) -> None:
    """A line ends where the next word would not have fitted, but for a paragraph's last."""
    width = 80
    shown = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": str(width)}).stdout
    text = shown.partition("Usage:")[2].partition("\n")[2].partition("╭")[0]
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in paragraph.splitlines()]
        for line, following in itertools.pairwise(lines):
            assert len(line) + 1 + len(following.split()[0]) > width - 2, line


def test_help_loads_nothing_heavy() -> None:
    """Quick start-up, told by what is imported: a wall-clock limit would fail on a loaded machine."""
    code = (
        "import sys, testbed.cli.main;"
        "heavy = {'numpy', 'scipy', 'pyarrow', 'matplotlib', 'pydantic', 'mininet', 'networkx', 'scapy', 'yaml',"
        "'rich'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


# -- fabrics -----------------------------------------------------------------------------------------------------------


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
def test_hosts_have_tc_though_the_user_has_not(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user of Debian has no /usr/sbin in PATH."""
    if shutil.which("tc", path="/usr/sbin:/sbin") is None:
        lacking("tools", "tc is not installed (Debian: iproute2)")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert {check.name: check.state for check in examine()}["ip and tc"] == "ok"
    done = testbed("up", "pair", "--json", "-x", "host1 tc -V", cwd=here)
    assert done.returncode == 0, done.stdout


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


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where an ordinary user, too, finds its state, and that of nobody else: pytest's own folders are root's alone."""
    with tempfile.TemporaryDirectory(prefix="oae-state-") as folder:
        os.chmod(folder, 0o777)
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


@needs_namespaces
def test_a_fabric_in_the_background_is_listed_entered_and_ended(here: Path, state: Path, python: list[str]) -> None:
    """As this user, and as an ordinary one in a user namespace."""
    os.chmod(here, 0o777)

    def verb_of(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*python, "-m", "testbed.cli.main", *argv],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    user = NOBODY if os.geteuid() == 0 and python != [sys.executable] else os.geteuid()
    up = verb_of("up", "pair", "--detach", "--name", "first", "--json")
    assert up.returncode == 0, up.stderr
    try:
        again = verb_of("up", "pair", "--detach", "--name", "first")
        assert (again.returncode, "a fabric of that name is up" in again.stderr) == (2, True)
        assert verb_of("up", "pair", "--detach").returncode == 0
        listed = json.loads(verb_of("ps", "--json").stdout)["fabrics"]
        assert {entry["name"]: entry["nodes"] for entry in listed} == {
            "first": ["host1", "host2"],
            "pair": ["host1", "host2"],
        }
        inside = verb_of("exec", "--fabric", "first", "host2", "sh", "-c", "ls /sys/class/net; exit 7")
        assert (inside.returncode, sorted(inside.stdout.split())) == (7, ["host2-eth0", "lo"])
        assert verb_of("exec", "-f", "first", "host1", "nonesuch").returncode == 127
        which = verb_of("exec", "host1", "true")
        assert (which.returncode, "several fabrics of yours are up" in which.stderr) == (2, True)
        done = verb_of("down", "pair", "--json")
        assert done.returncode == 0, done.stderr
        ended = json.loads(done.stdout)["ended"]
        assert [entry["name"] for entry in ended] == ["pair"]
        assert verb_of("exec", "host1", "true").returncode == 0  # the one that is left needs no naming
    finally:
        verb_of("down")
    assert json.loads(verb_of("ps", "--json").stdout) == {"fabrics": []}
    assert [path.name for path in state.iterdir()] == [f"oae-testbed-{user}"]
    assert not list(state.glob("oae-testbed-*/fabric-*"))


def test_a_fabric_that_only_another_process_namespace_can_see_is_not_taken_for_gone(here: Path) -> None:
    """As `testbed clean`, run in a node of it, finds its state file: it names a process that is not there."""
    boot, _, _ = own_mark().partition(":")
    there, gone = (state_folder() / f"fabric-{name}.json" for name in ("1", "2"))
    for path, mark in ((there, f"{boot}:1:77:77"), (gone, "of-another-boot:1:77:77")):
        path.write_text(json.dumps(asdict(Running(1 << 22, 77, mark, "pair(hosts=2)", "pair"))))
    assert data("ps")["fabrics"] == []
    assert (there.exists(), gone.exists()) == (True, False)
    assert data("clean")["found"] == []
    assert there.exists()


@needs_namespaces
@pytest.mark.parametrize("streams", ["<&-", "<&- >&- 2>&-", "</dev/null"])
def test_up_ends_where_nobody_can_type(here: Path, streams: str) -> None:
    """As services start it: nobody at the prompt, or not even a standard input."""
    command = f"exec {sys.executable} -m testbed.cli.main up pair {streams}"
    assert (
        subprocess.run(["bash", "-c", command], cwd=here, capture_output=True, timeout=60, check=False).returncode == 0
    )


@needs_namespaces
def test_up_advises_what_up_can_do(here: Path) -> None:
    """It has no --engine to choose another one with."""
    if next(check.state for check in examine() if check.name == "netem") == "ok":
        lacking(MOOT, "this kernel has netem: nothing is refused")
    done = testbed("up", "small.yaml", "-x", "nodes", cwd=here)
    assert (done.returncode, done.stdout) == (2, "")
    assert "testbed: error: engine live with delay and jitter" in done.stderr
    assert "bring up a bare topology" in done.stderr


@needs_namespaces
def test_the_advice_of_up_names_hosts_that_there_are(here: Path) -> None:
    if next(check.state for check in examine() if check.name == "netem") == "ok":
        lacking(MOOT, "this kernel has netem: nothing is refused")
    (here / "two.adj").write_text("core anna ben\n")
    (here / "two.yaml").write_text(
        "name: two\ntopology: {kind: from_file, file: two.adj}\nlinks: {default: {delay: 1ms}}\n"
    )
    done = testbed("up", "two.yaml", "-x", "nodes", cwd=here)
    assert "(testbed up ... -e vkernel -x 'anna ping -c 3 ben')" in done.stderr
