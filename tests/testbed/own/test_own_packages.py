"""What an installed package brings: examples/own_fault_package, put where Python finds packages, without installing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from testbed import plugins
from testbed.cli.main import app
from testbed.scenario import ScenarioError, compile_plan, parse

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "own_fault_package"


def installed(site: Path, name: str, points: Mapping[str, Mapping[str, str]]) -> None:
    """What an installer leaves of a package beside its files."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [line for group, its in points.items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in its.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder on Python's path with the example installed."""
    site = tmp_path / "site"
    shutil.copytree(EXAMPLE / "src", site)
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed(site, project["name"], project["entry-points"])
    shutil.copy(EXAMPLE / "scenario.yaml", tmp_path)
    return site


@pytest.fixture
def typed(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """``testbed`` with these words, where packages are found on that path."""

    def forget() -> None:
        plugins.installed.cache_clear()
        for name in [name for name in sys.modules if name.partition(".")[0] == "oae_rack"]:
            del sys.modules[name]

    def ran(*words: str) -> Result:
        forget()
        return CliRunner().invoke(app, words)

    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    yield ran
    forget()


def test_a_package_brings_a_fabric_a_protocol_and_a_fault(
    typed: Callable[..., Result], site: Path, tmp_path: Path
) -> None:
    ran = typed("run", "scenario.yaml", "--json")
    assert ran.exit_code == 0, ran.stderr
    assert json.loads(ran.stdout)["verdicts"]["consensus"]["instances"] == 60
    plan = json.loads((tmp_path / "runs" / "rack-power" / "plan.json").read_text())
    assert [name for name, _ in plan["protocol"]["consensus"]["sources"]] == ["engine", "registers"]
    assert str(tmp_path) not in json.dumps(plan)
    verbs = [fault["verb"] for fault in plan["faults"]]
    assert verbs == ["switch_kill", "switch_restart", *["node_kill"] * 2, *["node_restart"] * 2]
    shutil.rmtree(site)  # the plan needs no package
    assert "the same, byte for byte" in typed("replay", "runs/rack-power").stdout


def test_what_packages_bring_is_listed_without_being_imported(typed: Callable[..., Result], site: Path) -> None:
    for file in (site / "oae_rack").glob("*.py"):
        file.write_text("raise AssertionError('imported')\n")
    for kind, name in (("faults", "rack_power"), ("topologies", "two_racks"), ("consensus", "first_wins")):
        assert f"{name}" in typed("list", kind).stdout.splitlines()[-1]
        assert "brought by oae-rack 1.0" in typed("list", kind).stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("group", "name", "asked", "what"),
    [
        ("engines", "paxos", ("explain", "paxos-leader-crash"), "engines"),
        ("topologies", "star", ("topo", "show", "star"), "topologies"),
        ("faults", "node_kill", ("explain", "paxos-leader-crash"), "faults"),
        ("engines", "paxos", ("list", "consensus"), "engines"),
    ],
)
def test_a_name_that_ships_is_refused(
    typed: Callable[..., Result], site: Path, group: str, name: str, asked: tuple[str, ...], what: str
) -> None:
    installed(site, "other", {f"oae_testbed.{group}": {name: "other:Thing"}})
    ran = typed(*asked)
    assert ran.exit_code == 2, ran.stdout
    told = f"'{name}' is brought by other 1.0 and by the testbed itself ({what}); uninstall one of them, or rename it"
    assert told in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_two_packages_with_one_name_are_refused(typed: Callable[..., Result], site: Path) -> None:
    installed(site, "other", {"oae_testbed.engines": {"first_wins": "other:Thing"}})
    assert "'first_wins' is brought by oae-rack 1.0 and by other 1.0" in typed("explain", "scenario.yaml").stderr


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("faults.py", "import nothing_at_all\n", "rack_power of oae-rack 1.0 can't be loaded: ModuleNotFoundError"),
        ("faults.py", "def rack_power(order, fabric):\n    return 3\n", "rack_power is made of 3; a list of orders"),
        (
            "faults.py",
            "def rack_power(order, fabric):\n    return ['at 1ms node_kil host1']\n",
            "faults.0.do: rack_power makes 'at 1ms node_kil host1'",
        ),
        (
            "faults.py",
            "def rack_power(order, fabric):\n    return order['x']\n",
            "rack_power can't be made: KeyError: 'x'",
        ),
        ("topology.py", "TwoRacks = 3\n", "two_racks of oae-rack 1.0 is no class"),
        ("topology.py", "def TwoRacks(hosts):\n    return 1 / 0\n", "two_racks can't be built: ZeroDivisionError"),
        ("engine.py", "import time\n", "oae_rack/engine.py:1: imports time"),
    ],
)
def test_a_mistake_in_a_package_is_one_line(
    typed: Callable[..., Result], site: Path, file: str, text: str, told: str
) -> None:
    (site / "oae_rack" / file).write_text(text)
    ran = typed("explain", "scenario.yaml")
    assert ran.exit_code == 2, ran.stdout
    assert told in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_a_fault_of_ones_own_needs_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/faults.md has it."""
    page = (EXAMPLE.parents[1] / "docs" / "faults.md").read_text(encoding="utf-8")
    (function,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "mine.py").write_text(function, encoding="utf-8")
    order = '{do: "mine.py:rack_power", rack: leaf1, at: 10ms, for: 5ms}'
    assert order in function
    text = f"name: x\ntopology: {{kind: leaf_spine}}\nprotocol: {{rounds: 100}}\nfaults:\n  - {order}\n"
    plan = compile_plan(parse(text, "x.yaml", tmp_path))
    assert [(fault.verb, fault.target) for fault in plan.faults[:3]] == [
        ("switch_kill", "leaf1"),
        ("switch_restart", "leaf1"),
        ("node_kill", "host1"),
    ]
    with pytest.raises(ScenarioError, match=r"x\.yaml:5: faults\.0\.do: mine\.py:rack can.t be found; there is"):
        parse(text.replace("rack_power", "rack"), "x.yaml", tmp_path)
    with pytest.raises(ScenarioError, match=r"mine\.py:rack_power can't be made: line 3: KeyError: 'rack'"):
        parse(text.replace("rack: leaf1, ", ""), "x.yaml", tmp_path)


def test_nothing_looks_for_packages_before_somebody_asks() -> None:
    """It takes longer than all else that the start of the command line, or of an agent, does."""
    for first in ("testbed.cli.main", "testbed.nodes.agent.process"):
        code = f"import {first}, sys; print('importlib.metadata' in sys.modules)"
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert ran.stdout == "False\n"
