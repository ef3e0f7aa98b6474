"""What the command line said that was not so, or said nothing of: each of it once, as it was found."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from calling import call, data

SCENARIO = """\
name: small
topology: {kind: pair}
links:
  default: {delay: 50us, jitter: 1us}
protocol: {consensus: oae, depth: 2, window: 110us, rounds: 50}
seed: 7
expect: {agreement: holds, splits: 0}
"""
STUDY = """\
name: small
scenario: small.yaml
sweep: {parameter: links.default.jitter, from: 4us, to: 20us, steps: 3}
sim: {batch: 50, rounds: 100}
seed: 1
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "small.yaml").write_text(SCENARIO)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def process(*words: str) -> list[str]:
    return [sys.executable, "-m", "testbed.cli.main", *words]


def test_an_expectation_of_none_at_all_is_told_with_the_others(here: Path) -> None:
    assert "expected   splits 0, agreement holds: held" in call("run", "small.yaml").stdout
    page = (here / "runs" / "small" / "report.html").read_text()
    assert "splits 0, agreement holds" in page


def test_what_is_not_shown_is_where_it_is_said_to_be(here: Path) -> None:
    """A report shows the first fifty of the breaks."""
    many = ("run", "small.yaml", "--set", "links.default.jitter=40us", "--set", "protocol.rounds=400")
    shown = call(*many, "--set", "expect.splits=400").stdout
    more = re.search(r"and (\d+) more in (\S+)", shown)
    assert more is not None
    verdicts = json.loads((here / "runs" / "small" / more[2]).read_text())
    assert len(verdicts["bisynchrony"]["breaks"]) == int(more[1]) + 8 > 50


def test_explain_and_run_count_the_same_instances(here: Path) -> None:
    of_run = data("run", "nic-crash-mid-swap", "--set", "protocol.rounds=100")["verdicts"]["consensus"]["instances"]
    told = re.search(r"100 \((\d+) instances of 6, the last one cut off after 4\)", _explained())
    assert told is not None
    assert int(told[1]) == of_run == 17


def _explained() -> str:
    return call("explain", "nic-crash-mid-swap", "--set", "protocol.rounds=100").stdout


def test_a_run_without_rounds_is_not_listed_with_none_of_them(here: Path) -> None:
    assert call("run", "kv-on-paxos").exit_code == 0
    (row,) = data("list", "runs")
    assert "rounds" not in row["story"]
    assert re.search(r"\d+ of \d+ instances decided, ", row["story"])


@pytest.mark.parametrize("verb", ["run small.yaml --json", "list engines --json", "explain small.yaml", "ps --json"])
def test_a_full_disk_is_told_whatever_is_buffered(here: Path, verb: str) -> None:
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        command = process(*verb.split())
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, env=buffered, timeout=120, check=False
        )
    told = "testbed: error: No space left on device; make room, or work in another directory\n"
    assert (done.returncode, done.stderr) == (2, told)


@pytest.mark.parametrize("gone", ["engine", "consensus"])
def test_a_replay_of_what_is_no_more_says_what_there_is(here: Path, gone: str) -> None:
    data("run", "small.yaml", "--out", "kept")
    name, old, new = {
        "engine": ("meta.json", '"engine": "sim"', '"engine": "warp"'),
        "consensus": ("plan.json", '"consensus": "oae"', '"consensus": "phlogiston"'),
    }[gone]
    text = (here / "kept" / name).read_text()
    assert old in text
    (here / "kept" / name).write_text(text.replace(old, new))
    result = call("replay", "kept")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert {"engine": "warp: there are sim, vkernel, live", "consensus": "phlogiston"}[gone] in result.stderr


def test_a_study_that_was_edited_leaves_the_results_of_the_one_before(here: Path) -> None:
    first = data("study", "study.yaml", "--jobs", "0")
    assert data("study", "study.yaml", "--jobs", "0")["directory"] == first["directory"] == "runs/study-small"
    (here / "study.yaml").write_text(STUDY.replace("steps: 3", "steps: 2"))
    second = data("study", "study.yaml", "--jobs", "0")
    assert (second["directory"], len(second["grid"])) == ("runs/study-small-2", 2)
    assert json.loads((here / first["directory"] / "results.json").read_text())["grid"] == first["grid"]
    again = data("study", f"{second['directory']}/study.yaml", "--jobs", "0")
    assert again["directory"] == second["directory"]


def test_a_sweep_without_a_break_point_prints_what_it_found(here: Path) -> None:
    shown = call("study", "study.yaml", "--jobs", "0").stdout
    rows = [line.split() for line in shown.splitlines() if re.match(r"as given +\d+ µs", line)]
    assert [row[2:6:2] for row in rows] == [["4", "102"], ["12", "102"], ["20", "102"]]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("study", "small.yaml"), "small.yaml is a scenario, not a study: testbed run small.yaml"),
        (("run", "study.yaml"), "study.yaml is a study, not a scenario: testbed study study.yaml"),
        (("explain", "study.yaml"), "study.yaml is a study, not a scenario: testbed study study.yaml"),
        (("run", "jitter-leaf-spine"), "one of studies of that name: testbed study jitter-leaf-spine"),
        (("study", "clean-live"), "one of scenarios of that name: testbed run clean-live"),
    ],
)
def test_a_scenario_and_a_study_that_are_mistaken_for_each_other(here: Path, words: tuple[str, ...], told: str) -> None:
    result = call(*words)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert told in result.stderr


def test_compare_accounts_for_every_frame_and_fails_when_ends_differ(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs of the simulator, of another seed each, in place of two engines: they part as engines must not."""
    from testbed.cli.common import load_scenario
    from testbed.engines.sim import SimEngine
    from testbed.scenario import compile_plan
    from testbed.verdicts.comparison import compare

    rough = ["links.default.jitter=40us"]
    histories = [SimEngine().run(compile_plan(load_scenario("small.yaml", rough, seed))) for seed in (1, 2)]
    apart = compare(*histories)
    assert apart.resolutions_differ > 0
    same = call("compare", "small.yaml", "--other", "sim")
    assert (same.exit_code, "0 at others, 0 arrived on sim only, 0 on sim only" in same.stdout) == (0, True)
    monkeypatch.setattr("testbed.cli.compare.compared", lambda *_: apart)
    shown = call("compare", "small.yaml")
    assert shown.exit_code == 1
    line = next(line for line in shown.stdout.splitlines() if line.startswith("frames "))
    everywhere = apart.frames + apart.only_reference + apart.only_other
    assert sum(map(int, re.findall(r"\d+", line))) == everywhere


def test_ctrl_c_says_how_to_go_on(here: Path) -> None:
    """A study goes on where it was; what a run has not finished, it begins again."""
    (here / "long.yaml").write_text(STUDY.replace("rounds: 100", "rounds: 100000"))
    words = ("study", "long.yaml", "--jobs", "0")
    study = subprocess.Popen(process(*words), stderr=subprocess.PIPE, text=True)
    _await(here / "runs" / "study-small" / "trials.jsonl", study)
    study.send_signal(signal.SIGINT)
    _, said = study.communicate(timeout=60)
    assert study.returncode == 130
    kept = "what is measured is kept in runs/study-small, and this goes on from there"
    assert said.endswith(f"testbed: interrupted; {kept}: testbed study long.yaml --jobs 0\n")
    words = ("run", "small.yaml", "--set", "protocol.rounds=100000")
    run = subprocess.Popen(process(*words), stderr=subprocess.PIPE, text=True)
    _await(here / "runs" / "small" / "plan.json", run)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert (run.returncode, said) == (
        130,
        "testbed: interrupted; to begin again: testbed run small.yaml --set protocol.rounds=100000\n",
    )


def _await(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or not path.stat().st_size:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)


def test_readmes_first_look_begins_with_what_it_needs() -> None:
    """Its commands are found only in the environment that the first line makes."""
    readme = Path(__file__).parents[3] / "README.md"
    first_look = readme.read_text(encoding="utf-8").partition("## A first look")[2].partition("```sh\n")[2]
    assert first_look.startswith("make setup && . .venv/bin/activate")
    assert shutil.which("testbed", path=str(Path(sys.executable).parent))
