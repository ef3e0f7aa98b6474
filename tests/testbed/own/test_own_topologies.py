"""A topology of the user's own, as people bring it from Mininet, on the command line and in a scenario."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from testbed.cli.main import app

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "own_topology"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the example's files, in which the user works."""
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def shown(*words: str) -> dict[str, list[str]]:
    """A fabric's links, each with what it does there."""
    ran = typed("topo", "show", *words, "--json")
    assert ran.exit_code == 0, ran.output
    fabric = json.loads(ran.stdout)
    return {f"{link['a']['node']}<->{link['b']['node']}": link["ab"] for link in fabric["links"]}


def one_line(result: Result) -> str:
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    return line


def test_a_scenario_runs_on_it_and_says_more_of_its_links(here: Path) -> None:
    ran = typed("run", "scenario.yaml", "--json")
    assert ran.exit_code == 0
    plan = json.loads((here / "runs" / "own-topology" / "plan.json").read_text())
    (row,) = [link["ab"] for link in plan["fabric"]["links"] if (link["a"]["node"], link["b"]["node"]) == ("s1", "s2")]
    assert (row["delay_ns"], row["jitter_ns"], row["loss"], row["limit"]) == (2_000_000, 300_000, 0.01, 50)


@pytest.mark.parametrize(
    "words",
    [
        ("--custom", "mine.py", "comb,2"),
        ("--custom", "mine.py", "comb,teeth=2"),
        ("--custom", "mine.py:comb,2"),
        ("--custom", "mine.py", "Comb,2"),
        ("--custom", "mine.py", "--set", "teeth=2"),
    ],
    ids=" ".join,
)
def test_it_is_named_as_mininet_takes_it(here: Path, words: tuple[str, ...]) -> None:
    assert list(shown(*words)) == ["h1<->s1", "h2<->s2", "s1<->s2"]


def test_the_command_line_draws_exports_and_impairs_it(here: Path) -> None:
    assert "h2  eth0=s2" in typed("topo", "draw", "--custom", "mine.py", "comb,2").stdout
    exported = typed("export", "containerlab", "--custom", "mine.py", "comb,2")
    assert exported.stdout == "comb-containerlab/comb.clab.yml\n"
    slower = shown("--custom", "mine.py", "comb,2", "--set", "links.default.delay=10ms")
    assert {link["delay_ns"] for link in slower.values()} == {10_000_000}  # type: ignore[call-overload]


def test_a_scenario_that_ships_runs_on_it(here: Path) -> None:
    ran = typed("run", "clean-live", "-e", "sim", "--custom", "mine.py:comb,3,0ms", "--set", "protocol.rounds=3")
    assert ran.exit_code in (0, 1), ran.output  # the scenario's expectations are of another fabric
    plan = json.loads((here / "runs" / "clean-live" / "plan.json").read_text())
    assert plan["fabric"]["hosts"] == ["h1", "h2", "h3"]
    kept = (here / "runs" / "clean-live" / "scenario.yaml").read_text()
    assert "mine.py" in kept  # what was run, not what ships


def test_a_script_that_starts_mininet_is_read_and_starts_nothing(here: Path) -> None:
    """What stands under __main__ is Mininet's own business; what stands outside would touch the host."""
    script = (here / "mine.py").read_text(encoding="utf-8")
    guarded, inside = script.split('if __name__ == "__main__":')
    bare = guarded + "\n".join(line.removeprefix("    ") for line in inside.splitlines()[1:]) + "\n"
    (here / "bare.py").write_text(bare, encoding="utf-8")
    told = one_line(typed("topo", "show", "--custom", "bare.py", "comb"))
    assert "bare.py can't be run: line 25: it starts Mininet as it is read; let that stand under if __name__ ==" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--custom", "nine.py"), "--custom nine.py: there is no file 'nine.py'"),
        (("--custom", "mine.py", "coomb"), "no class 'coomb' in mine.py; did you mean 'comb'?"),
        (("--custom", "mine.py:comb", "comb"), "one of them says which topology is meant"),
        (("--custom", "mine.py", "comb,2,slow=1ms"), "give all arguments by place, as comb,2,3, or all by name"),
        (("--custom", "mine.py", "comb,2", "--set", "slow=1ms"), "the arguments are given by place already"),
        (("--custom", "mine.py", "comb,two"), "comb can't be built: line 13: can only concatenate"),
        (("--custom", "mine.py", "comb,2,soon"), "delay='soon' is no time; write a number and ns, us, ms or s"),
        (("--custom", "empty.py"), "name one of those in empty.py: there is none"),
        (("--custom", "two.py"), "name one of those in two.py: A, B"),
        (("--custom", "broken.py"), "broken.py can't be run: line 2: invalid syntax"),
        (("--custom", "leaves.py"), "leaves.py can't be run: line 1: SystemExit: 3"),
        ((), "name a topology"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_line(here: Path, words: tuple[str, ...], told: str) -> None:
    (here / "empty.py").write_text("x = 1\n")
    (here / "two.py").write_text("from mininet.topo import Topo\nclass A(Topo): pass\nclass B(Topo): pass\n")
    (here / "broken.py").write_text("x = 1\nx = = 2\n")
    (here / "leaves.py").write_text("raise SystemExit(3)\n")
    assert told in one_line(typed("topo", "show", *words))
