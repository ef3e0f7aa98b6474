"""How newcomers find about: what there is, what each thing is, the last run, how much is said, what shells complete."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from calling import call, data
from typer.testing import CliRunner

from testbed.actions import origin
from testbed.actions.catalogue import ROWS, Kind
from testbed.cli.main import app
from testbed.cli.output import QUIET, VERBOSE, set_level
from testbed.cli.usage import split_level
from testbed.nodes.registry import engine_spec, engine_specs
from testbed.runs import make_latest

SCENARIO = """\
name: small
topology: {kind: pair}
links:
  default: {delay: 50us, jitter: 1us}
protocol: {consensus: none, depth: 2, window: 110us, rounds: 20}
seed: 7
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "small.yaml").write_text(SCENARIO)
    yield tmp_path
    set_level("")


def test_version_is_that_of_the_package(here: Path) -> None:
    assert call("--version").stdout == f"testbed {version('oae-testbed')}\n"


def test_a_folder_that_nobody_installed_has_no_version_and_runs_all_the_same(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(origin, "version", unknown)
    assert call("--version").stdout == "testbed (not installed)\n"
    assert call("run", "small.yaml").exit_code == 0
    assert "OAE testbed (not installed), " in (here / "runs" / "small" / "report.html").read_text()


def test_list_counts_what_each_of_its_kinds_lists(here: Path) -> None:
    counted = {row["name"]: row["count"] for row in data("list")}
    assert counted == {kind.value: len(data("list", kind.value)) for kind in Kind}
    assert counted["scenarios"] > 30
    assert counted["runs"] == 0
    assert "testbed list scenarios" in call("list").stdout


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.RUNS])
def test_show_knows_all_that_list_names(here: Path, kind: Kind) -> None:
    names = [name for name, _ in ROWS[kind]()]
    for name in (names[0], names[-1]):
        (shown,) = data("show", name, "--kind", kind.value)
        assert (shown["kind"], shown["name"]) == (kind.value, name)
        assert shown["story"] in dict(ROWS[kind]())[name]
    assert names[0] in call("show", names[0]).stdout


def test_show_tells_what_a_thing_consists_of(here: Path) -> None:
    assert "spines=2" in call("show", "leaf_spine").stdout
    assert "8 hosts, 6 switches, 16 links" in call("show", "leaf_spine").stdout
    assert "at 10ms nic_mute host3 for 2ms" in call("show", "nic_mute").stdout
    assert SCENARIO.rstrip() in call("show", "small.yaml").stdout
    assert "answer_not_kept" in call("show", "paxos").stdout
    assert "testbed study jitter-leaf-spine" in call("show", "jitter-leaf-spine").stdout


@pytest.mark.parametrize("name", [spec.name for spec in engine_specs() if fields(spec.parameters)])
def test_show_tells_what_may_be_set_of_an_engine_as_a_scenario_has_it(here: Path, name: str) -> None:
    """What is shown goes into a scenario as it stands; each setting is explained above."""
    (shown,) = data("show", name, "--kind", "consensus")
    told = shown["text"].splitlines()
    for parameter in fields(engine_spec(name).parameters):
        place = next(place for place, line in enumerate(told) if line.startswith(f"    {parameter.name}: "))
        about = itertools.takewhile(lambda line: line.startswith("    # "), reversed(told[:place]))
        assert parameter.metadata["about"] in " ".join(line.removeprefix("    # ") for line in reversed([*about]))
    (here / "whole.yaml").write_text(f"name: whole\ntopology: {{kind: star, hosts: 6}}\n{shown['text']}\n")
    parameters = data("explain", "whole.yaml")["protocol"]["parameters"]
    assert set(parameters) == {parameter.name for parameter in fields(engine_spec(name).parameters)}


def test_show_tells_what_stands_in_the_lists_of_an_engines_settings(here: Path) -> None:
    told = " ".join(call("show", "raft").stdout.replace("#", "").split())
    assert "changes: [{at_ns: 5ms, members: [0, 1, 2]}]" in told
    assert "in the order of their times. (Default: [])" in told
    assert "- members: The voters: their places among the members, from 0." in told


def test_no_command_is_shown_for_an_engine_that_would_refuse_it(here: Path) -> None:
    """`none` decides nothing: there is no valence to tell."""
    assert data("show", "none")[0]["commands"] == ["testbed run nic-crash-mid-swap --set protocol.consensus=none"]
    assert "testbed flp oae" in data("show", "oae")[0]["commands"]


def test_show_says_what_may_have_been_meant(here: Path) -> None:
    result = call("show", "leaf_spin")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "leaf_spin: nothing of that name; did you mean 'leaf_spine'?" in result.stderr
    assert "testbed list tells what there is" in call("show", "xyzzy").stderr


def test_the_last_run_has_a_name(here: Path) -> None:
    for seed in ("1", "2"):
        data("run", "small.yaml", "--seed", seed)
    assert (here / "runs" / "latest").readlink() == Path("small-2")
    assert [row["name"] for row in data("list", "runs")] == ["runs/small", "runs/small-2"]
    assert data("show", "latest")[0]["name"] == "runs/small-2"
    assert data("report", "latest") == {"report": "runs/small-2/report.html"}
    assert data("replay", "runs/latest")["same"]
    data("run", "small.yaml", "--seed", "1")
    assert (here / "runs" / "latest").readlink() == Path("small")
    data("run", "small.yaml", "--seed", "2", "--out", "elsewhere")
    assert (here / "runs" / "latest").readlink() == Path("small")
    data("clean", "--runs", "runs")
    assert not list((here / "runs").iterdir())


def test_a_scenario_that_is_called_latest_goes_round_the_link(here: Path) -> None:
    data("run", "small.yaml")
    (here / "latest.yaml").write_text(SCENARIO.replace("name: small", "name: latest"))
    assert data("run", "latest.yaml")["directory"] == "runs/latest-2"
    assert data("show", "runs/small")[0]["story"].startswith("small on sim")


def test_of_runs_side_by_side_one_is_the_latest_and_no_half_of_a_link_is_left(here: Path) -> None:
    for name in ("a", "b"):
        (here / "runs" / name).mkdir(parents=True)
    children = []
    for name in ("a", "b"):
        child = os.fork()
        if child == 0:
            for _ in range(200):
                make_latest(Path("runs") / name)
                (Path("runs") / "latest").readlink()
            os._exit(0)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    assert (here / "runs" / "latest").readlink().name in ("a", "b")
    assert {path.name for path in (here / "runs").iterdir()} == {"a", "b", "latest"}


@pytest.mark.parametrize(
    ("words", "kept", "said"),
    [
        ("-q run x", "run x", QUIET),
        ("run x --quiet", "run x", QUIET),
        ("run -v x", "run x", VERBOSE),
        ("run x", "run x", ""),
        ("exec -v -f lab host1 ls -v", "exec -f lab host1 ls -v", VERBOSE),
        ("exec host1 ls -q", "exec host1 ls -q", ""),
        ("run -- -q", "run -- -q", ""),
    ],
)
def test_quiet_and_verbose_stand_before_and_after_the_verb(words: str, kept: str, said: str) -> None:
    assert split_level(words.split()) == (kept.split(), said)


def test_verbose_tells_where_an_error_came_from_and_quiet_only_what_it_is(here: Path) -> None:
    (here / "broken.yaml").write_text("name: [\n")
    for words in (("run", "broken.yaml", "-v"), ("-v", "run", "broken.yaml")):
        assert "Traceback" in call(*words).stderr
    for words in (("run", "broken.yaml", "-q"), ("run", "broken.yaml")):
        told = call(*words)
        assert (told.exit_code, told.stderr.count("\n"), "Traceback" in told.stderr) == (2, 1, False)


def test_milestones_name_what_is_done_and_keep_quiet_when_asked(here: Path) -> None:
    (here / "study.yaml").write_text(
        "name: s\nscenario: small.yaml\nsweep: {parameter: links.default.jitter, from: 4us, to: 9us, steps: 2}\n"
        "sim: {batch: 20, rounds: 40}\n"
    )
    assert "testbed: as given: sim: 100% " in call("study", "study.yaml", "--jobs", "0", "--out", "a").stderr
    assert call("study", "study.yaml", "--jobs", "0", "--out", "b", "-q").stderr == ""


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("testbed run nic-crash-m", ["nic-crash-mid-swap"]),
        ("testbed run sma", ["small.yaml"]),
        ("testbed study jitter-le", ["jitter-leaf-spine"]),
        ("testbed up leaf_sp", ["leaf_spine"]),
        ("testbed run small.yaml -e v", ["vkernel"]),
        ("testbed replay runs/", ["runs/small"]),
        ("testbed replay la", ["latest"]),
        ("testbed logs l", ["lab"]),
        ("testbed exec host1", ["host1"]),
        ("testbed atta", ["attach"]),
    ],
)
def test_a_shell_completes_names(here: Path, typed: str, found: list[str]) -> None:
    from dataclasses import asdict

    from testbed.cli.fabrics import Running
    from testbed.processes import own_mark, start_time, state_folder

    me = os.getpid()
    lab = Running(me, start_time(me) or 0, own_mark(), "pair", "lab", 1, {"host1": "", "host2": ""})
    (state_folder() / "fabric-1.json").write_text(json.dumps(asdict(lab)))
    (here / "runs" / "small").mkdir(parents=True)
    (here / "runs" / "small" / "meta.json").write_text("{}")
    asked = {"_TESTBED_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": typed}
    answer = CliRunner().invoke(app, [], env=asked, prog_name="testbed")
    assert [name for name in found if f'"{name}"' in answer.stdout] == found


def test_completion_loads_nothing_heavy(here: Path) -> None:
    code = (
        "import sys, testbed.cli.main; from testbed.cli import completion as c;"
        "[f('') for f in (c.grounds, c.studies, c.engines, c.fabrics, c.nodes, c.runs, c.names)];"
        "heavy = {'numpy', 'scipy', 'pyarrow', 'matplotlib', 'pydantic', 'mininet.net', 'networkx', 'scapy', 'yaml'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_told_and_not_run_takes_no_numbers(here: Path) -> None:
    code = (
        "import sys; from testbed.cli.main import app; app(['explain', 'flapping-nic'], standalone_mode=False);"
        "print('numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    "words", [("list", "scenarios"), ("list", "studies"), ("show", "leaf_spine"), ("topo", "list")]
)
def test_names_are_whole_in_sixty_columns(here: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    shown = call(*words).stdout.split()
    names = [name for name, _ in ROWS[Kind(words[1])]()] if words[0] == "list" else ["leaf_spine"]
    assert [name for name in names if name not in shown] == []
